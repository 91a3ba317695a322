"""Brackets of successive halving: how far their rungs are apart, and how many trials begin in each."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from nas360.errors import RunError

Mode = Callable[[int], tuple[int, ...]]
"""From the largest possible number of rungs to the number of rungs of every bracket, in falling order."""


def aggressive(rungs: int) -> tuple[int, ...]:
    """One bracket of as many rungs as there can be: most trials are stopped early."""
    return (rungs,)


def standard(rungs: int) -> tuple[int, ...]:
    """The upper half of the brackets.

    Example:
        >>> standard(3), standard(4)
        ((3, 2), (4, 3, 2))
    """
    return tuple(range(rungs, (rungs - 1) // 2, -1))


def conservative(rungs: int) -> tuple[int, ...]:
    """Every bracket down to that of a single rung, whose trials are all trained to the end.

    Example:
        >>> conservative(3)
        (3, 2, 1)
    """
    return tuple(range(rungs, 0, -1))


@dataclass(frozen=True)
class Bracket:
    """One successive halving.

    Attributes:
        trials: that begin in its lowest rung, at least 1.
        resources: that a trial has spent in all when it is judged, rung for rung, rising (epochs, say).
    """

    trials: int
    resources: tuple[int, ...]

    def __post_init__(self) -> None:
        steps = zip((0, *self.resources), self.resources, strict=False)
        if self.trials < 1 or not self.resources or any(low >= high for low, high in steps):
            raise RunError(
                f"a bracket of {self.trials} trials with rungs at {list(self.resources)}: it needs at least one trial "
                f"and one rung, and resources that rise from at least 1"
            )


@dataclass(frozen=True)
class Plan:
    """Everything about a search but what is drawn and what is seen.

    Attributes:
        eta: one trial in so many is promoted, at least 2.
        brackets: the most aggressive one (most rungs) first.
    """

    eta: int
    brackets: tuple[Bracket, ...]

    def __post_init__(self) -> None:
        if self.eta < 2 or not self.brackets:
            raise RunError(
                f"eta {self.eta} must be at least 2, and there must be a bracket ({len(self.brackets)} came)"
            )

    @property
    def trials(self) -> int:
        """Of all brackets together."""
        return sum(bracket.trials for bracket in self.brackets)

    def least_counts(self) -> tuple[tuple[int, ...], ...]:
        """Trials in every rung of every bracket when nobody is promoted who should not have been, and none fails.

        These very numbers come about where all results of a rung are told before its first promotion is asked, which
        is successive halving. Where better trials are told later, more are promoted.
        """
        return tuple(
            tuple(bracket.trials // self.eta**rung for rung in range(len(bracket.resources)))
            for bracket in self.brackets
        )

    def least_resource(self) -> int:
        """What trials spend together with `least_counts`; a promoted trial goes on from where it was."""
        return sum(
            count * (high - low)
            for bracket, counts in zip(self.brackets, self.least_counts(), strict=True)
            for count, low, high in zip(counts, (0, *bracket.resources), bracket.resources, strict=False)
        )

    def turns(self) -> Iterator[int]:
        """The bracket of trial 0, 1, 2, …: the one that is least filled after it, in proportion; the first if equal.

        It depends on the trial's number only, so that a trial has the same configuration and the same bracket
        whatever was reported before it began.
        """
        # the quotient of two integers is rounded correctly, so that equal ratios are equal floats
        filled = [(1 / bracket.trials, number, 1) for number, bracket in enumerate(self.brackets)]
        heapq.heapify(filled)
        for _ in range(self.trials):
            _, number, count = filled[0]
            yield number
            heapq.heapreplace(filled, ((count + 1) / self.brackets[number].trials, number, count + 1))

    def to_json(self) -> dict[str, Any]:
        """The plan as plain values."""
        brackets = [{"trials": bracket.trials, "resources": list(bracket.resources)} for bracket in self.brackets]
        return {"eta": self.eta, "brackets": brackets}


def ladder(max_resource: int, min_resource: int = 1, eta: int = 4) -> tuple[int, ...]:
    """Resources of the rungs, rising: `max_resource` divided by powers of `eta` and rounded down, while it lasts.

    There are floor(log_eta(max / min)) + 1 of them, as in Algorithm 2 of Li et al. With max / min a power of `eta` they
    are the paper's min·eta^k. Else the paper's top rung would stop short of `max_resource`; counted from above, as
    Determined does it, what reaches the top is trained in full.

    Args:
        max_resource: of the top rung, ≥ `min_resource`.
        min_resource: that the lowest rung has at least, ≥ 1.
        eta: factor between rungs, ≥ 2.

    Raises:
        RunError: a number is out of its range.

    Example:
        >>> ladder(200)
        (3, 12, 50, 200)
        >>> ladder(256, min_resource=4)
        (4, 16, 64, 256)
    """
    if not (1 <= min_resource <= max_resource and eta >= 2):
        raise RunError(
            f"resources from {min_resource} to {max_resource} with eta {eta}: need 1 <= least <= largest, and eta >= 2"
        )
    rungs = [max_resource]
    while max_resource // eta ** len(rungs) >= min_resource:
        rungs.append(max_resource // eta ** len(rungs))
    return tuple(reversed(rungs))


def plan(
    trials: int,
    max_resource: int,
    *,
    min_resource: int = 1,
    eta: int = 4,
    max_rungs: int = 5,
    mode: Mode = aggressive,
) -> Plan:
    """Brackets for so many trials, as Determined's `adaptive_asha` has them.

    The number of rungs is at most `max_rungs`, floor(log_eta(max / min)) + 1, and floor(log_eta(trials)) + 1, with
    which one trial can reach the top. A bracket of m rungs has the top m of the ladder. Trials are shared out in
    proportion to eta^(m-1) / m, so that brackets cost about the same; what is left after rounding down goes to the
    first bracket. Every bracket of the three modes has at least one.

    Source: Determined's documentation and public source, with which NAS-Bench-360 tuned its Wide ResNet.

    Args:
        trials: of all brackets, ≥ 1.
        max_resource: see `ladder`.
        min_resource: see `ladder`.
        eta: see `ladder`.
        max_rungs: of a bracket, ≥ 1.
        mode: which brackets there are.

    Raises:
        RunError: a number is out of its range.

    Example:
        >>> [(bracket.trials, bracket.resources) for bracket in plan(16, 200, mode=standard).brackets]
        [(12, (12, 50, 200)), (4, (50, 200))]
    """
    if trials < 1 or max_rungs < 1:
        raise RunError(f"{trials} trials in at most {max_rungs} rungs: both must be at least 1")
    resources = ladder(max_resource, min_resource, eta)
    depth = 1
    while depth < min(len(resources), max_rungs) and eta**depth <= trials:
        depth += 1
    depths = mode(depth)
    weights = [Fraction(eta ** (rungs - 1), rungs) for rungs in depths]
    shares = [int(trials * weight / sum(weights)) for weight in weights]
    shares[0] += trials - sum(shares)
    return Plan(eta, tuple(Bracket(share, resources[-rungs:]) for share, rungs in zip(shares, depths, strict=True)))
