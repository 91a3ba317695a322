"""Spaces of hyper-parameters, from which trial k draws the same configuration whenever and wherever it is drawn."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from nas360.errors import RunError
from nas360.seeding import derive

_BLOCK = 1024
"""Draws are made so many trials at a time, since a generator costs more than a thousand numbers out of it."""


class Dimension(Protocol):
    """How one hyper-parameter is distributed."""

    def at(self, share: float) -> Any:
        """The value that a share of all draws, in [0, 1), does not exceed (the quantile function)."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The distribution as plain values."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Evenly between two bounds.

    Attributes:
        low: least value.
        high: largest value.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise RunError(f"uniform between {self.low} and {self.high}: give two finite numbers, the lower one first")

    def at(self, share: float) -> float:
        """See `Dimension.at`."""
        # weighted ends rather than low + share * (high - low), whose difference can overflow
        return min(max(self.low * (1 - share) + self.high * share, self.low), self.high)

    def to_json(self) -> dict[str, Any]:
        """See `Dimension.to_json`."""
        return {"kind": "uniform", "low": self.low, "high": self.high}


@dataclass(frozen=True)
class LogUniform:
    """Evenly in the logarithm: 10^U(-4, -1) is `LogUniform(1e-4, 1e-1)`.

    Attributes:
        low: least value, above 0.
        high: largest value.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (0 < self.low < self.high and math.isfinite(self.high)):
            raise RunError(
                f"log-uniform between {self.low} and {self.high}: give two finite numbers above 0, the lower one first"
            )

    def at(self, share: float) -> float:
        """See `Dimension.at`."""
        value = math.exp(math.log(self.low) * (1 - share) + math.log(self.high) * share)
        return min(max(value, self.low), self.high)  # rounding must not leave the range

    def to_json(self) -> dict[str, Any]:
        """See `Dimension.to_json`."""
        return {"kind": "log_uniform", "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Choice:
    """One of some values, all equally likely.

    Attributes:
        values: plain JSON values, none of them twice.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        try:
            # as JSON, since True == 1 == 1.0 in Python
            spelt = [json.dumps(value, allow_nan=False, sort_keys=True) for value in self.values]
        except (TypeError, ValueError) as cause:
            raise RunError(f"choice of {self.values!r}: give plain JSON values only ({cause})") from cause
        if not spelt or len(set(spelt)) < len(spelt):
            raise RunError(f"choice of {self.values!r}: give at least one value, and none twice")

    def at(self, share: float) -> Any:
        """See `Dimension.at`."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def to_json(self) -> dict[str, Any]:
        """See `Dimension.to_json`."""
        return {"kind": "choice", "values": list(self.values)}


@dataclass(frozen=True)
class SamplingSpace:
    """Independent hyper-parameters by name.

    Attributes:
        dimensions: name → distribution.
        first: name → value of trial 0, which is then not drawn: what is known to do; None draws it too.
    """

    dimensions: Mapping[str, Dimension]
    first: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.first is not None and set(self.first) != set(self.dimensions):
            raise RunError(
                f"the first configuration has {', '.join(self.first) or 'nothing'} where the space has "
                f"{', '.join(self.dimensions)}. Give each of them a value"
            )

    def draws(self, seed: int) -> Draws:
        """The configurations of a seed."""
        return Draws(self, seed)

    def to_json(self) -> dict[str, Any]:
        """The space as plain values."""
        dimensions = {name: dimension.to_json() for name, dimension in self.dimensions.items()}
        return dimensions if self.first is None else {"drawn": dimensions, "first": dict(self.first)}


@dataclass(frozen=True)
class Draws:
    """Configuration of every trial: a function of seed, trial and the hyper-parameter's name, and of nothing else.

    So it does not matter in which order trials are drawn, and a further hyper-parameter leaves the others as they were.

    Attributes:
        space: what is drawn from.
        seed: of the search, ≥ 0.

    Example:
        >>> draws = SamplingSpace({"lr": LogUniform(1e-4, 1e-1), "momentum": Choice((0.0, 0.9))}).draws(0)
        >>> draws.configuration(5) == draws.configuration(5)
        True
    """

    space: SamplingSpace
    seed: int
    _blocks: dict[int, dict[str, list[float]]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise RunError(f"seed {self.seed} is below 0. Give one from 0 on")

    def configuration(self, trial: int) -> dict[str, Any]:
        """Name → value.

        Args:
            trial: its number, ≥ 0.
        """
        if trial < 0:
            raise RunError(f"trial {trial}: trials are numbered from 0")
        if trial == 0 and self.space.first is not None:
            return {name: self.space.first[name] for name in self.space.dimensions}
        number, place = divmod(trial, _BLOCK)
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = {
                name: derive(self.seed, "asha", "configuration", name, number).random(_BLOCK).tolist()
                for name in self.space.dimensions
            }
        return {name: dimension.at(block[name][place]) for name, dimension in self.space.dimensions.items()}
