"""How far every run of a grid is, read from its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from nas360.bench.attempt import ATTEMPT_LOCK, RUN_LOCK
from nas360.bench.failures import read_attempts
from nas360.bench.grid import Cell
from nas360.bench.place import Place
from nas360.errors import ResultError, RunError
from nas360.results import SeedRow, load_result

RESULT = "result.json"

MAX_REASON = 500
"""Of why a result is damaged, in characters."""

State = Literal["done", "failed", "running", "waiting"]


@dataclass(frozen=True)
class CellState:
    """How far a run is.

    Attributes:
        cell: which.
        state: `failed` is a run that ended in failure, or that could not be brought to an end; `waiting` one that is
            neither over nor under way, though it may have begun.
        reason: of a failure.
        score: of a run that is done, the task's metric.
        seconds: that the run has spent, search and predictions included; 0 where unknown.
        stage: of a run under way, `searching` or `training`.
        step: that was reported last.
        steps: of the stage.
        left: seconds to the end of the stage, as its last report lets expect; None before one.
        has_result: whether it has a result that is whole and its own, be it good or a failure.
        retriable: whether a run that failed has no result, so that it may be tried again.
    """

    cell: Cell
    state: State
    reason: str = ""
    score: float | None = None
    seconds: float = 0.0
    stage: str = ""
    step: int = 0
    steps: int | None = None
    left: float | None = None
    has_result: bool = False
    retriable: bool = False

    def public(self) -> dict[str, Any]:
        """As plain JSON values."""
        own = {name: value for name, value in vars(self).items() if name != "cell"}
        return {"method": self.cell.method, "task": self.cell.task, "seed": self.cell.seed, **own}


class Reader:
    """Reads states again and again; what is over is read once."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._over: dict[str, tuple[int, CellState]] = {}

    def read(self, cells: tuple[Cell, ...]) -> list[CellState]:
        """The states of runs, in their order."""
        return [self._state(cell) for cell in cells]

    def _state(self, cell: Cell) -> CellState:
        folder = self._place.folder(cell)
        result = folder / RESULT
        try:
            changed = result.stat().st_mtime_ns
        except OSError:
            return _unfinished(cell, folder)
        known = self._over.get(cell.folder)
        if known is None or known[0] != changed:
            known = self._over[cell.folder] = (changed, _finished(cell, result))
        return known[1]


def _finished(cell: Cell, path: Path) -> CellState:
    try:
        content = load_result(path)
    except ResultError as fault:
        return CellState(cell, "failed", f"its result is damaged: {' '.join(str(fault).split())[:MAX_REASON]}")
    rows = [row for row in content.results if isinstance(row, SeedRow)]
    if not rows:
        return CellState(cell, "failed", f"{path} has no score of a run")
    row, cost = rows[0], rows[0].cost
    if (content.method.name, row.task, row.seed) != (cell.method, cell.task, cell.seed):
        other = f"{content.method.name} on {row.task}, seed {row.seed}"
        return CellState(cell, "failed", f"the result in its folder is that of another run, {other}")
    seconds = sum(part or 0.0 for part in (cost.search_seconds, cost.train_seconds, cost.infer_seconds))
    if row.failure is not None:
        reason = f"{row.failure.stage}: {row.failure.message}"
        return CellState(cell, "failed", reason, seconds=seconds, has_result=True)
    return CellState(cell, "done", score=row.score, seconds=seconds, has_result=True)


def _unfinished(cell: Cell, folder: Path) -> CellState:
    # the lock of an attempt, which may be waited for; that of the run would be refused to a run that begins just now
    if (folder / ATTEMPT_LOCK).exists() and _held(folder / ATTEMPT_LOCK):
        return _under_way(cell, folder, "running")
    attempts = read_attempts(folder)
    if attempts:
        last = attempts[-1]
        return CellState(cell, "failed", f"{last.reason}: {last.message}", seconds=last.seconds or 0.0, retriable=True)
    return _under_way(cell, folder, "waiting")


def _held(path: Path) -> bool:
    try:
        with FileLock(path).acquire(timeout=0):
            return False
    except (Timeout, OSError):
        return True


def _under_way(cell: Cell, folder: Path, state: State) -> CellState:
    from nas360.baselines.history import read_history

    if not (folder / RUN_LOCK).exists():
        return CellState(cell, state)
    try:
        history = read_history(folder)
    except (RunError, ResultError, OSError):
        return CellState(cell, state)  # a file that is just being replaced tells more the next time
    log = history.current
    if log is None:
        return CellState(cell, state, stage=history.state)
    seconds = (log.entries[-1].seconds or 0.0) if log.entries else 0.0
    left = seconds / log.step * (log.steps - log.step) if log.step and log.steps is not None else None
    return CellState(cell, state, "", None, seconds, history.state, log.step, log.steps, left)
