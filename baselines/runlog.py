"""The log of a run: JSON lines, the first of which says what is run."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas360.errors import RunError
from nas360.files import parse_json, write_text


@dataclass(frozen=True)
class RunLog:
    """`log.jsonl`: one line of identity and plan, then one a report with step, epoch, loss, lr, validation, seconds.

    Attributes:
        path: the file.
    """

    path: Path

    def start(self, header: dict[str, Any]) -> None:
        """Begin a new log."""
        write_text(self.path, _line(header))

    def header(self) -> dict[str, Any] | None:
        """The first line; None when there is no log.

        Raises:
            RunError: the file is not a log of a run.
        """
        if not self.path.exists():
            return None
        with self.path.open(encoding="utf-8", errors="replace") as stream:
            first = stream.readline(1 << 20)
        try:
            header = parse_json(first, f"{self.path}, line 1", RunError)
        except RunError as cause:
            raise RunError(
                f"{cause}. The folder holds no run that can be taken up; use --overwrite or another --out"
            ) from cause
        if not isinstance(header, dict) or "identity" not in header:
            raise RunError(f"{self.path} is not the log of a run; use another --out, or --overwrite to replace it")
        return header

    def amend(self, **values: Any) -> None:
        """Put further values into the first line, for what is known only after a search; equal ones change nothing."""
        header = self.header()
        if header is not None and header != header | values:
            write_text(self.path, "".join(map(_line, [header | values, *self.entries()])))

    def append(self, entry: dict[str, Any]) -> None:
        """Add a line. A kill can cut it short; the next one then takes its place."""
        with self.path.open("rb+") as stream:
            if stream.seek(0, os.SEEK_END):
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":
                    stream.seek(0)
                    stream.truncate(stream.read().rfind(b"\n") + 1)
                    stream.seek(0, os.SEEK_END)
            stream.write(_line(entry).encode())

    def entries(self) -> list[dict[str, Any]]:
        """Every whole line after the first."""
        found = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines()[1:]:
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # cut short by a kill
            if isinstance(entry, dict) and isinstance(entry.get("step"), int):
                found.append(entry)
        return found

    def cut(self, step: int) -> None:
        """Keep the first line and the reports up to `step`, those that a checkpoint vouches for."""
        header = self.header()
        if header is not None:
            kept = [entry for entry in self.entries() if entry["step"] <= step]
            write_text(self.path, "".join(map(_line, [header, *kept])))


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, allow_nan=False, ensure_ascii=False) + "\n"
