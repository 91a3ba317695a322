"""What went wrong with a run that gave no result: `failures.jsonl` in its folder, a line an attempt."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from nas360.environment import Record
from nas360.errors import UserError
from nas360.files import parse_json

FAILURES = "failures.jsonl"

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
    with (folder / FAILURES).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(attempt.model_dump(mode="json"), allow_nan=False, ensure_ascii=False) + "\n")


def read_attempts(folder: Path) -> list[Attempt]:
    """The attempts that failed, in order; a line that is damaged, as a kill or a full disk leaves it, is left out."""
    path = folder / FAILURES
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(Attempt.model_validate(parse_json(line, f"{path}, line {number}")))
        except (UserError, ValidationError):
            continue
    return found
