"""What the folder of a run tells of it, read without trust: its logs, architecture and result as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from nas360.baselines.reports import Log, best_candidate, bounded, read_log
from nas360.errors import RunError
from nas360.files import MIB, read_json
from nas360.results import ResultFile, SeedRow, load_result

SEARCH_LOG, TRAINING_LOG, ARCHITECTURE, RESULT = "search.jsonl", "log.jsonl", "architecture.json", "result.json"

State = Literal["begun", "searching", "training", "finished", "failed"]


@dataclass(frozen=True)
class History:
    """A run as its folder tells it.

    Attributes:
        folder: of the run.
        search: the search's log; None for a method that does not search.
        training: the final training's log; None before that is begun.
        architecture: what `architecture.json` holds; None before it is found.
        result: the result file; None before the run is over.
    """

    folder: Path
    search: Log | None
    training: Log | None
    architecture: Mapping[str, Any] | None
    result: ResultFile | None

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """What is run, as the run wrote it: method, task, seed, budget and more."""
        log = self.training or self.search
        return {} if log is None else log.identity

    @cached_property
    def row(self) -> SeedRow | None:
        """The result's row; None before the run is over."""
        rows = [] if self.result is None else [row for row in self.result.results if isinstance(row, SeedRow)]
        return rows[0] if rows else None

    @property
    def current(self) -> Log | None:
        """The log of the stage that the run is in, or ended in."""
        if self.search is None:
            return self.training
        # the training's log may be begun before the search is
        trained = self.training is not None and (self.training.entries or self.architecture is not None)
        return self.training if trained else self.search

    @property
    def state(self) -> State:
        """How far it is."""
        if self.result is not None:
            return "failed" if self.row is None or self.row.failure is not None else "finished"
        if self.search is not None and self.current is self.search:
            return "searching"
        return "training" if self.search is not None or self.current is None or self.current.entries else "begun"

    @property
    def found(self) -> Mapping[str, Any] | None:
        """The architecture, in the form of its space: the one that is trained, else the best so far."""
        if self.architecture is not None:
            architecture: Mapping[str, Any] = self.architecture["architecture"]
            return architecture
        if self.search is None or not self.search.entries:
            return None
        return (best_candidate(self.search) or self.search.entries[-1]).architecture

    def public(self) -> dict[str, Any]:
        """As plain JSON values."""
        current = self.current
        return {
            "folder": str(self.folder),
            "state": self.state,
            "step": None if current is None else current.step,
            "steps": None if current is None else current.steps,
            "identity": self.identity,
            "search": None if self.search is None else self.search.public(),
            "training": None if self.training is None else self.training.public(),
            "architecture": self.architecture,
            "result": None if self.result is None else self.result.model_dump(mode="json", by_alias=True),
        }


def read_history(folder: Path) -> History:
    """Read a run's folder.

    Args:
        folder: that `nas360 run` wrote, at whatever moment of the run.

    Raises:
        RunError: it is none, or a file of it is damaged, too large, not strict JSON, or not in the form of this
            version. The last line of a log may be cut short, as a kill leaves it.
        ResultError: the result is damaged.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: there is no such folder. Name the folder of a run, such as runs/wrn/ecg/seed0")
    search, training = (read_log(folder / name) for name in (SEARCH_LOG, TRAINING_LOG))
    if search is None and training is None:
        raise RunError(f"{folder} holds no run: there is neither {TRAINING_LOG} nor {SEARCH_LOG}.{_runs_below(folder)}")
    architecture, result = folder / ARCHITECTURE, folder / RESULT
    history = History(
        folder,
        search,
        training,
        _read_architecture(architecture) if architecture.exists() else None,
        load_result(result) if result.exists() else None,
    )
    row = history.row
    length = None if row is None else row.cost.steps
    if search is not None:
        planned = search.identity.get("search")
        search = replace(search, steps=_steps(planned if isinstance(planned, dict) else search.identity))
    if training is not None:
        training = replace(training, steps=_steps(training.header) or _steps(training.identity) or length)
    return replace(history, search=search, training=training)


def _steps(plan: Mapping[str, Any]) -> int | None:
    steps = plan.get("steps")
    return steps if isinstance(steps, int) and not isinstance(steps, bool) and 0 < steps < 2**53 else None


def _runs_below(folder: Path, shown: int = 3) -> str:
    runs = sorted({path.parent.name for path in folder.glob("*/*.jsonl")})
    if not runs:
        return " Name the folder of a run, such as runs/wrn/ecg/seed0"
    more = f" and {len(runs) - shown} more" if len(runs) > shown else ""
    return f" Name one of the runs in it: {', '.join(runs[:shown])}{more}"


def _read_architecture(path: Path) -> Mapping[str, Any]:
    content = bounded(read_json(path, MIB, RunError), str(path))
    if not isinstance(content, dict) or not isinstance(content.get("architecture"), dict):
        raise RunError(f"{path} is no architecture of a run: it has no object `architecture`")
    return content
