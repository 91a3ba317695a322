"""A search that outlives its process: what was asked and told stands in a file, from which the search goes on."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from nas360.baselines.asha.brackets import Plan
from nas360.baselines.asha.sampling import SamplingSpace
from nas360.baselines.asha.scheduler import Failure, Job, Scheduler, judged
from nas360.errors import RunError
from nas360.files import parse_json, write_bytes

FORMAT = "nas360 asha journal 1"
_CHECKED = re.compile(rb'(\{.*), "check": "([0-9a-f]{8})"\}', re.DOTALL)
_REMEDY = "Bring back the file as it was written, or begin anew in another folder"


class JournalledScheduler:
    """A `Scheduler` whose every answer is on disk before it is given; made by `journalled`.

    Jobs that were in flight when the process before ended are asked again, first of all and in their old order. What
    came of one may be told without that, if its worker has lived on.

    Attributes:
        scheduler: the state, to be looked at only.
    """

    def __init__(self, scheduler: Scheduler, file: BinaryIO, path: Path, check: int) -> None:
        self.scheduler = scheduler
        self._file, self._path, self._check = file, path, check
        self._size = file.seek(0, os.SEEK_END)
        self._again = deque((job.trial, job.rung) for job in scheduler.in_flight)
        self._jobs = {(job.trial, job.rung): job for job in scheduler.in_flight}
        self._broken = False

    def ask(self) -> Job | None:
        """See `Scheduler.ask`.

        Raises:
            RunError: the journal cannot be written. Open it again then; what is in it holds.
        """
        self._refuse_broken()
        while self._again:
            job = self._jobs.pop(self._again.popleft(), None)
            if job is not None:
                return job
        job = self.scheduler.ask()
        if job is not None:
            self._append({"ask": [job.trial, job.rung]})
        return job

    def tell(self, trial: int, rung: int, outcome: float | Failure) -> None:
        """See `Scheduler.tell`.

        Raises:
            RunError: no such job is in flight, or the journal cannot be written.
        """
        self._refuse_broken()
        self.scheduler.check(trial, rung)
        outcome = judged(outcome)
        result = {"failure": outcome.reason} if isinstance(outcome, Failure) else {"error": outcome}
        self._append({"tell": [trial, rung], **result})
        self.scheduler.tell(trial, rung, outcome)
        self._jobs.pop((trial, rung), None)

    def _refuse_broken(self) -> None:
        if self._broken:
            raise RunError(f"{self._path} could not be written before. Open the search again to go on")

    def _append(self, entry: dict[str, Any]) -> None:
        line, check = _line(entry, self._check)
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(None, f"{written} of {len(line)} bytes were written")
            os.fsync(self._file.fileno())
        except OSError as cause:
            self._broken = True
            raise RunError(
                f"{self._path} cannot be written ({cause.strerror}). Make room for it, then run the same again; "
                f"nothing is lost but what is in flight"
            ) from cause
        self._check = check


@contextmanager
def journalled(
    path: Path, plan: Plan, space: SamplingSpace, seed: int, about: Mapping[str, Any] | None = None
) -> Iterator[JournalledScheduler]:
    """A search with a journal: begun if there is none yet, else taken up exactly where it was.

    A journal is JSON lines: what is searched, then one a question and one an answer. Each carries a CRC-32 of itself
    and of all lines before it, so that a line that was changed, moved, doubled or lost is found. A last line that
    lacks its line end was being written when the process died; nobody has acted upon it, and it is dropped.

    Args:
        path: of the journal; beside it stands a lock file, which falls free when the process ends.
        plan: see `Scheduler`.
        space: see `Scheduler`.
        seed: see `Scheduler`.
        about: plain values that tell this search from others (task, recipe, …).

    Raises:
        RunError: another process has the journal; it is of another search, or damaged; or it cannot be written.
    """
    header = {"journal": FORMAT, "plan": plan.to_json(), "space": space.to_json(), "seed": seed, "about": about or {}}
    scheduler = Scheduler(plan, space, seed)
    lock = FileLock(path.with_name(f".{path.name}.lock"))  # stays: to remove it would let two processes lock two files
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as cause:
        raise RunError(f"{path}: another process is at this search. Wait for it, or choose another folder") from cause
    except OSError as cause:
        raise RunError(f"{path} cannot be made or written ({cause.strerror}). Choose another folder") from cause
    try:
        with _opened(path, header) as file:
            size, check = _replay(path, header, scheduler)
            file.truncate(size)
            yield JournalledScheduler(scheduler, file, path, check)
    finally:
        lock.release()


def _opened(path: Path, header: Mapping[str, Any]) -> BinaryIO:
    """The file, to be read and written; if there is none it is made with its first line, whole or not at all."""
    try:
        if not path.exists():
            write_bytes(path, _line(header, 0)[0])
        return path.open("r+b", buffering=0)  # of a buffer, a failed write would be tried again at the end
    except OSError as cause:
        raise RunError(f"{path} cannot be made or written ({cause.strerror}). Choose another folder") from cause


def _replay(path: Path, header: Mapping[str, Any], scheduler: Scheduler) -> tuple[int, int]:
    """Do again what the journal says; the size of its whole lines in bytes, and their check."""
    size = check = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if number > 1 and not line.endswith(b"\n"):
                break  # torn
            entry, check = _entry(line, check, f"{path}, line {number}")
            if number == 1:
                _compare(entry, header, path)
            else:
                _redo(entry, scheduler, f"{path}, line {number}")
            size += len(line)
    if not size:
        raise RunError(f"{path} is empty, no journal of a search. Remove it to begin anew")
    return size, check


def _line(entry: Mapping[str, Any], check: int) -> tuple[bytes, int]:
    """A line with its check."""
    body = json.dumps(entry, allow_nan=False).encode()[:-1]
    check = zlib.crc32(body, check)
    return body + f', "check": "{check:08x}"}}\n'.encode(), check


def _entry(line: bytes, check: int, place: str) -> tuple[dict[str, Any], int]:
    """What a line says, and the check of the journal up to it."""
    found = _CHECKED.fullmatch(line.removesuffix(b"\n")) if line.endswith(b"\n") else None
    if found is None:
        raise RunError(f"{place}: no line of a journal of a search. {_REMEDY}")
    check = zlib.crc32(found[1], check)
    if check != int(found[2], 16):
        raise RunError(f"{place}: this line or one before it was changed, moved, doubled or lost. {_REMEDY}")
    try:
        entry = parse_json(found[1].decode() + "}", place, RunError)
    except UnicodeDecodeError as cause:
        raise RunError(f"{place}: not UTF-8. {_REMEDY}") from cause
    return entry, check


def _compare(found: Mapping[str, Any], header: Mapping[str, Any], path: Path) -> None:
    # through JSON, where tuples are lists
    wanted = json.loads(json.dumps(header))
    differing = [name for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)]
    if differing:
        shown = "; ".join(
            f"{name}: {_short(found.get(name))} there, {_short(wanted.get(name))} here" for name in differing
        )
        raise RunError(f"{path} is the journal of another search ({shown}). Choose another folder, or the same search")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:200] + "…"


def _redo(entry: Mapping[str, Any], scheduler: Scheduler, place: str) -> None:
    """Bring a scheduler on by one line."""
    match entry:
        case {"ask": [int(trial), int(rung)], **rest} if not rest:
            job = scheduler.ask()
            if job is None or (job.trial, job.rung) != (trial, rung):
                asked = "nothing" if job is None else f"trial {job.trial}, rung {job.rung}"
                raise RunError(f"{place}: trial {trial}, rung {rung} was asked where {asked} is due. {_REMEDY}")
        case {"tell": [int(trial), int(rung)], "error": float(error), **rest} if not rest:
            _retell(scheduler, trial, rung, error, place)
        case {"tell": [int(trial), int(rung)], "failure": str(reason), **rest} if not rest:
            _retell(scheduler, trial, rung, Failure(reason), place)
        case _:
            raise RunError(f"{place}: neither a question nor an answer. {_REMEDY}")


def _retell(scheduler: Scheduler, trial: int, rung: int, outcome: float | Failure, place: str) -> None:
    try:
        scheduler.tell(trial, rung, outcome)
    except RunError as cause:
        raise RunError(f"{place}: {cause}. {_REMEDY}") from cause
