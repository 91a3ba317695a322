"""What the folder of a run tells of it, read without trust: its logs, architecture and result as values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nas360.errors import RunError
from nas360.files import MIB, parse_json, read_json, read_text
from nas360.results import ResultFile, SeedRow, load_result

SEARCH_LOG, TRAINING_LOG, ARCHITECTURE, RESULT = "search.jsonl", "log.jsonl", "architecture.json", "result.json"

MAX_BYTES = 64 * MIB
"""Of a log; that of a search of fifty reports has less than one."""

MAX_DEPTH = 24
"""Of lists and objects within each other."""

MAX_DIMENSIONS = 4
"""Of the weights of a mixture."""

State = Literal["begun", "searching", "training", "finished", "failed"]


@dataclass(frozen=True)
class Entry:
    """One report of a search or a training; what it does not tell is None or empty.

    Attributes:
        step: steps done.
        epoch: passes over the data.
        loss: mean training loss since the report before.
        lr: learning rate.
        validation: error on the validation split; of a training, the task's metric there.
        seconds: of the stage so far; of a random search, of this candidate.
        candidate: number of an architecture that was drawn.
        measures: name → any further number.
        entropy: name of a tensor → mean entropy of its mixtures, as a share of the greatest.
        mixture: name of a tensor → its weights.
        architecture: the best so far, or the candidate, in the form of its space.
    """

    step: int
    epoch: float | None = None
    loss: float | None = None
    lr: float | None = None
    validation: float | None = None
    seconds: float | None = None
    candidate: int | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    entropy: Mapping[str, float] = field(default_factory=dict)
    mixture: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    architecture: Mapping[str, Any] | None = None

    def public(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "mixture": {name: weights.tolist() for name, weights in self.mixture.items()}}


@dataclass(frozen=True)
class Log:
    """A log, read.

    Attributes:
        header: its first line: an identity and a plan.
        entries: its reports, in order of their steps.
        steps: of the whole stage; None where nothing tells.
    """

    header: Mapping[str, Any]
    entries: tuple[Entry, ...]
    steps: int | None = None

    @property
    def identity(self) -> Mapping[str, Any]:
        """What is run."""
        identity: Mapping[str, Any] = self.header["identity"]
        return identity

    @property
    def step(self) -> int:
        """Steps that have been reported."""
        return self.entries[-1].step if self.entries else 0

    def public(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"header": self.header, "steps": self.steps, "entries": [entry.public() for entry in self.entries]}


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
    search, training = (_read_log(folder / name) for name in (SEARCH_LOG, TRAINING_LOG))
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
    # a training that a search precedes is planned when that is over, so that only the result tells its length
    row = history.row
    length = None if row is None else row.cost.steps
    if search is not None:
        planned = search.identity.get("search")
        search = replace(search, steps=_steps(planned if isinstance(planned, dict) else search.identity))
    if training is not None:
        training = replace(training, steps=_steps(training.identity) or length)
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
    content = _bounded(read_json(path, MIB, RunError), str(path))
    if not isinstance(content, dict) or not isinstance(content.get("architecture"), dict):
        raise RunError(f"{path} is no architecture of a run: it has no object `architecture`")
    return content


def _read_log(path: Path) -> Log | None:
    if not path.exists():
        return None
    *lines, _ = read_text(path, MAX_BYTES, RunError).split("\n")
    if not lines:
        raise RunError(f"{path}: no whole line, where the log of a run begins with one that says what is run")
    header, *entries = (_parsed(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1))
    if not isinstance(header, dict) or not isinstance(header.get("identity"), dict):
        raise RunError(f"{path} is not the log of a run: its first line has no object `identity`")
    found = tuple(_entry(entry, f"{path}, line {number}") for number, entry in enumerate(entries, start=2))
    for number, (before, after) in enumerate(pairwise(found), start=3):
        if after.step <= before.step:
            raise RunError(f"{path}, line {number}: step {after.step} comes after step {before.step}; they must rise")
    return Log(header, found)


def _parsed(line: str, source: str) -> Any:
    return _bounded(parse_json(line, source, RunError), source)


def _bounded(content: Any, source: str) -> Any:
    """Refuse what is nested too deeply to be written out again."""
    level = [content]
    for _ in range(MAX_DEPTH):
        level = [inner for value in level for inner in _members(value)]
        if not level:
            return content
    raise RunError(f"{source}: nested more than {MAX_DEPTH} deep")


def _members(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _entry(content: Any, source: str) -> Entry:
    if not isinstance(content, dict):
        raise RunError(f"{source}: not a report, which is an object")
    step, candidate = (_whole(content.get(name), name, source) for name in ("step", "candidate"))
    if step is None:
        raise RunError(f"{source}: not a report of this version of nas360, for it has no step")
    numbers = {name: _number(content.get(name), name, source) for name in _NUMBERS}
    error = _number(content.get("validation_error"), "validation_error", source)
    if error is not None:
        numbers["validation"] = error
    entropy = content.get("entropy")
    told = _object(content, "entropy", source) if not isinstance(entropy, int | float) else {"mixture": entropy}
    known = {"step", "candidate", "validation_error", "entropy", *_NUMBERS}
    return Entry(
        step=step,
        candidate=candidate,
        **numbers,
        measures={
            name: number
            for name, value in content.items()
            if name not in known
            and isinstance(value, int | float)
            and not isinstance(value, bool)
            and (number := _number(value, name, source)) is not None
        },
        entropy={
            name: number
            for name, value in told.items()
            if (number := _number(value, f"entropy {_quoted(name)}", source)) is not None
        },
        mixture={name: _weights(value, name, source) for name, value in _object(content, "mixture", source).items()},
        architecture=_object(content, "architecture", source) or None,
    )


_NUMBERS = ("epoch", "loss", "lr", "validation", "seconds")


def _whole(value: Any, name: str, source: str) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53):
        raise RunError(f"{source}: {name} is {_quoted(value)}, not a whole number of 0 or more")
    return value


def _number(value: Any, name: str, source: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300:
        return float(value)
    raise RunError(f"{source}: {name} is {_quoted(value)}, not a number")


def _object(content: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    value = content.get(name)
    if value is not None and not isinstance(value, dict):
        raise RunError(f"{source}: {name} is {_quoted(value)}, not an object")
    return value or {}


def _weights(value: Any, name: str, source: str) -> NDArray[np.float64]:
    """Nested lists of numbers as an array, (…) float64, between 0 and 1."""
    shape: list[int] = []
    level = [value]
    while level and isinstance(level[0], list):
        lengths = {len(part) if isinstance(part, list) else -1 for part in level}
        if len(lengths) > 1 or len(shape) == MAX_DIMENSIONS:
            raise RunError(f"{source}: the mixture {_quoted(name)} is no array of at most {MAX_DIMENSIONS} dimensions")
        shape.append(lengths.pop())
        level = [inner for part in level for inner in part]
    numbers = [_number(number, f"a weight of {_quoted(name)}", source) for number in level]
    # a softmax in float32 leaves [0, 1] by its rounding alone
    if not shape or not level or not all(number is not None and -1e-3 <= number <= 1 + 1e-3 for number in numbers):
        raise RunError(f"{source}: the mixture {_quoted(name)} is no array of weights between 0 and 1")
    return np.array(numbers, dtype=np.float64).reshape(shape)


def _quoted(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "an enormous number"
    return text if len(text) <= 60 else f"{text[:59]}…"


def best_candidate(log: Log) -> Entry | None:
    """The candidate of the least error, of equal ones the first; None where none was drawn or could be trained."""
    tried = [entry for entry in log.entries if entry.candidate is not None and entry.validation is not None]
    return min(tried, key=lambda entry: (entry.validation or 0.0, entry.step), default=None)


def mean_entropy(entry: Entry) -> float | None:
    """Mean over the tensors; None where the report has none."""
    values = list(entry.entropy.values())
    return math.fsum(values) / len(values) if values else None
