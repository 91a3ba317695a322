"""What went wrong with a run that gave no result: `failures.jsonl` in its folder, a line an attempt."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from nas360.environment import Record
from nas360.errors import UserError
from nas360.files import MIB, parse_json

FAILURES = "failures.jsonl"

MOST_BYTES = 4 * MIB

LAST_LINES = 20
"""Of what a run printed that its failure keeps."""

Reason = Literal["raised", "time limit", "memory", "killed", "worker lost", "busy"]
"""`raised`: it ended with an error. `time limit`, `memory`: it took more than it was given, or than there was.
`killed`: by a signal from elsewhere. `worker lost`: the cluster's workers died with it again and again. `busy`: another
process was at work in its folder all the time."""


class Attempt(Record):
    """One attempt that failed.

    Attributes:
        reason: the kind of failure.
        message: one line on it.
        when: it ended, UTC, ISO 8601.
        seconds: it took; None where unknown.
        host: the machine.
        exit_code: of the process; below 0 the signal that ended it.
        printed: the last lines that it printed.
    """

    reason: Reason
    message: str
    when: str
    seconds: Annotated[float, Field(ge=0)] | None = None
    host: str = ""
    exit_code: int | None = None
    printed: Annotated[tuple[str, ...], Field(strict=False)] = ()


def make_attempt(
    reason: Reason,
    message: str,
    seconds: float | None = None,
    exit_code: int | None = None,
    printed: tuple[str, ...] = (),
) -> Attempt:
    """An attempt that failed on this machine just now."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    taken = None if seconds is None else round(seconds, 1)
    return Attempt(
        reason=reason,
        message=message,
        when=when,
        seconds=taken,
        host=socket.gethostname(),
        exit_code=exit_code,
        printed=printed,
    )


def add_attempt(folder: Path, attempt: Attempt) -> None:
    """Write an attempt down."""
    folder.mkdir(parents=True, exist_ok=True)
    # in ASCII, where nothing but the end of a line ends one, and any message can be written
    line = json.dumps(attempt.model_dump(mode="json"), allow_nan=False) + "\n"
    with (folder / FAILURES).open("a+b") as stream:
        if stream.seek(0, os.SEEK_END):
            stream.seek(-1, os.SEEK_END)
            # the line before may have been cut by a kill
            line = line if stream.read() == b"\n" else f"\n{line}"
        stream.write(line.encode())


def read_attempts(folder: Path) -> list[Attempt]:
    """The attempts that failed, in order; a line that is damaged, as a kill or a full disk leaves it, is left out.

    Of a file that no benchmark has written, the last `MOST_BYTES` are read.
    """
    path = folder / FAILURES
    try:
        if not path.is_file():
            return []
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - MOST_BYTES))
            lines = stream.read(MOST_BYTES).decode(errors="replace").split("\n")
    except OSError:
        return []
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(Attempt.model_validate(parse_json(line, f"{path}, line {number}")))
        except (UserError, ValidationError):
            continue
    return found
