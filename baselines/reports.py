"""The logs of a search and of a training, read without trust: reports as values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas360.errors import RunError
from nas360.files import MIB, parse_json, read_text

MAX_BYTES = 64 * MIB
"""Of a log; that of a search of fifty reports has less than one."""

MAX_DEPTH = 24
"""Of lists and objects within each other."""

MAX_DIMENSIONS = 4
"""Of the weights of a mixture."""


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
        configuration: hyper-parameter → value, of a candidate that is tuned.
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
    configuration: Mapping[str, float | str | bool] = field(default_factory=dict)

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


def read_log(path: Path) -> Log | None:
    """Read a log; None when there is none.

    Raises:
        RunError: it is damaged, too large, not strict JSON, or not in the form of this version. Its last line may be
            cut short, as a kill leaves it.
    """
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
    return bounded(parse_json(line, source, RunError), source)


def bounded(content: Any, source: str) -> Any:
    """Foreign JSON that is not nested too deeply to be written out again.

    Raises:
        RunError: it is.
    """
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
        configuration={
            name: value if isinstance(value, str | bool) else _set(value, name, source)
            for name, value in _object(content, "configuration", source).items()
        },
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


def _set(value: Any, name: str, source: str) -> float:
    number = _number(value, f"hyper-parameter {_quoted(name)}", source)
    if number is None:
        raise RunError(f"{source}: hyper-parameter {_quoted(name)} has no value")
    return number


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


def best_of_each(log: Log) -> list[Entry]:
    """Every candidate's report of the least error, the best candidate first; those that failed last."""

    def rank(entry: Entry) -> tuple[bool, float, int]:
        return entry.validation is None, entry.validation or 0.0, entry.step

    best: dict[int, Entry] = {}
    for entry in sorted(log.entries, key=rank):
        if entry.candidate is not None:
            best.setdefault(entry.candidate, entry)
    return list(best.values())


def mean_entropy(entry: Entry) -> float | None:
    """Mean over the tensors; None where the report has none."""
    values = list(entry.entropy.values())
    return math.fsum(values) / len(values) if values else None
