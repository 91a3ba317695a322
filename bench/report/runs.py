"""The runs below a folder, read without trust: what cannot be read is told, and stops nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nas360.baselines.history import RESULT, SEARCH_LOG, TRAINING_LOG, History, read_history
from nas360.bench.failures import FAILURES, read_attempts
from nas360.bench.place import Place, Stored
from nas360.errors import RunError, UserError
from nas360.loaders import TASKS
from nas360.results import ResultFile, SeedRow

MAX_RUNS = 20_000
"""Of a report; a page with more is not for reading."""

MAX_WORD = 200
"""Of a method's name and the like, in characters."""

State = Literal["finished", "failed", "unfinished", "unreadable", "waiting"]
STATES: tuple[State, ...] = ("finished", "failed", "unfinished", "unreadable", "waiting")


@dataclass(frozen=True)
class GivenUp:
    """A run that ended without a result, as the benchmark wrote it down.

    Attributes:
        kind: such as a time limit, of the last attempt.
        reason: in words.
        attempts: how often it was tried.
        when: the last time, as it was written.
    """

    kind: str
    reason: str
    attempts: int
    when: str


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        folder: relative to that of the report.
        method: its name; empty where nothing tells. Likewise the next two.
        task: its id.
        seed: its seed.
        history: what its folder tells; None where that is nothing, or cannot be read.
        fault: why it cannot be read.
        given_up: why it was given up, where it was.
    """

    folder: str
    method: str
    task: str
    seed: str
    history: History | None = None
    fault: str = ""
    given_up: GivenUp | None = None

    @property
    def state(self) -> State:
        """How far it is."""
        if self.fault:
            return "unreadable"
        if self.history is not None and self.history.state in ("finished", "failed"):
            return "finished" if self.history.state == "finished" else "failed"
        if self.given_up is not None:
            return "failed"
        return "waiting" if self.history is None else "unfinished"

    @property
    def result(self) -> ResultFile | None:
        """Its result file."""
        return None if self.history is None else self.history.result

    @property
    def row(self) -> SeedRow | None:
        """Its result's row."""
        return None if self.history is None else self.history.row

    def __str__(self) -> str:
        return f"{self.method} on {self.task}, seed {self.seed}" if self.method and self.task else self.folder


@dataclass(frozen=True)
class Runs:
    """All runs of a folder.

    Attributes:
        folder: as it was given.
        all: the runs, by folder.
        stored: what `bench.json` asks for; None where there is none.
        warnings: of what could not be read besides the runs.
    """

    folder: Path
    all: tuple[Run, ...]
    stored: Stored | None = None
    warnings: tuple[str, ...] = ()

    @property
    def finished(self) -> tuple[Run, ...]:
        """Those with a result, good or bad."""
        return tuple(run for run in self.all if run.row is not None)


def read_runs(folder: Path) -> Runs:
    """Read all runs below a folder.

    Args:
        folder: of a benchmark, or any other with run folders at any depth. Links to folders are not followed.

    Raises:
        RunError: there is no such folder, it cannot be read, or it holds no runs or too many.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: there is no such folder. Name one with runs, such as runs, or that of a benchmark")
    warnings: list[str] = []
    stored = None
    try:
        stored = Place(folder).read()
    except UserError as fault:
        warnings.append(f"what was asked for is not known: {fault}")
    planned = {} if stored is None else {cell.folder: cell for cell in stored.cells}
    found = {run.folder: run for run in _below(folder)}
    if not found and not planned:
        raise RunError(
            f"{folder} holds no runs: no folder in it has a {TRAINING_LOG} or {SEARCH_LOG}. Name one that does, such "
            f"as runs, or make some by nas360 run or nas360 bench"
        )
    for place, cell in planned.items():
        run = found.get(place)
        told = (cell.method, cell.task, str(cell.seed))
        if run is None:
            found[place] = Run(place, *told)
        elif not run.method:
            found[place] = Run(place, *told, run.history, run.fault, run.given_up)
    return Runs(folder, tuple(found[name] for name in sorted(found, key=_natural)), stored, tuple(warnings))


def _below(folder: Path) -> Iterator[Run]:
    def refuse(cause: OSError) -> None:
        raise RunError(f"{cause.filename}: cannot be read ({cause.strerror})") from cause

    n = 0
    for name, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        if {TRAINING_LOG, SEARCH_LOG, FAILURES} & {*files}:
            n += 1
            if n > MAX_RUNS:
                raise RunError(f"{folder} holds more than {MAX_RUNS:,} runs; report on a part of it")
            folders.clear()  # what lies in a run's folder belongs to it
            yield _read(folder, Path(name), files)


def _read(top: Path, folder: Path, files: Sequence[str]) -> Run:
    name = folder.relative_to(top).as_posix()
    given_up = _read_failure(folder) if FAILURES in files and RESULT not in files else None
    if not {TRAINING_LOG, SEARCH_LOG} & {*files}:
        return Run(name, *_of_folder(folder), given_up=given_up)
    try:
        history = read_history(folder)
    except UserError as fault:
        return Run(name, *_of_folder(folder), fault=str(fault).replace(f"{folder}{os.sep}", ""), given_up=given_up)
    method, task, seed = (_word(history.identity, key) for key in ("method", "task", "seed"))
    row, result = history.row, history.result
    if row is not None and result is not None:
        method, task, seed = result.method.name, row.task, str(row.seed)
    return Run(name, method, task, seed, history, given_up=given_up)


def _of_folder(folder: Path) -> tuple[str, str, str]:
    """Method, task and seed as the name of a folder tells them, such as runs/gaea/ecg/seed0; else nothing."""
    method, task, seed = folder.resolve().parts[-3:] if len(folder.resolve().parts) > 3 else ("", "", "")
    known = task in TASKS and re.fullmatch(r"seed[0-9]{1,19}", seed)
    return (method, task, seed.removeprefix("seed")) if known else ("", "", "")


def _read_failure(folder: Path) -> GivenUp | None:
    attempts = read_attempts(folder)
    if not attempts:
        return None
    last = attempts[-1]
    return GivenUp(last.reason, last.message, len(attempts), last.when)


def _word(identity: Mapping[str, Any], key: str) -> str:
    value = identity.get(key)
    if isinstance(value, str):
        return value if len(value) <= MAX_WORD else f"{value[: MAX_WORD - 1]}…"
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else ""


def _natural(folder: str) -> tuple[str | int, ...]:
    """Folders by their names, numbers in them by their size: seed2 before seed10."""
    parts = re.split(r"([0-9]{1,18})", folder)
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts))
