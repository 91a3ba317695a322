"""Performance profiles (Dolan and Moré, 2002), exact, and the area below them.

ρ(τ) is the share of tasks on which a method's error is at most τ times the best error of the methods compared. It is
a step function, continuous from the right, and is kept as its jumps. The rules for what is not an ordinary number: a
method that has no value on a task, or failed, has the ratio ∞ there and the task still counts; 0 / 0 is 1; x / 0 is
∞.

What a profile is not: a ranking that stands by itself. The best error is over the methods compared, so that another
method in the comparison can change the order of those already there. Ranks should be read beside it, and the area for
more than one `tau_max`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

TAU_MAX = 4.0
"""Where areas end, unless told otherwise: four times the best error."""

TAU_MAX_SHORT = 2.0
"""A second, stricter end, shown beside the first because the order of methods can depend on it."""


@dataclass(frozen=True)
class Profile:
    """The profile of one method.

    Attributes:
        tau: where ρ jumps, ascending; begins with 1, whether ρ(1) is zero or not.
        rho: its value from each of `tau` up to the next.
        ratios: error over best error, one a task, from which both were made; infinite where there is no value.
    """

    tau: tuple[float, ...]
    rho: tuple[float, ...]
    ratios: tuple[float, ...]

    def __call__(self, tau: float) -> float:
        """ρ(τ), in [0, 1]; 0 below τ = 1.

        Example:
            >>> profile(np.array([1.0, 1.5, np.inf]))(1.5)
            0.6666666666666666
        """
        index = int(np.searchsorted(self.tau, tau, side="right"))
        return self.rho[index - 1] if index else 0.0

    def area(self, tau_max: float = TAU_MAX) -> float:
        """Area below ρ from 1 to `tau_max`, divided by `tau_max` − 1.

        Returns:
            In [0, 1]; 1 for a method that is best on every task. A task counts linearly less the further its ratio is
            from 1, and nothing from `tau_max` on.
        """
        if not (math.isfinite(tau_max) and tau_max > 1):
            raise ValueError(f"tau_max is {tau_max}; it must be a finite number above 1")
        if not self.ratios:
            return 0.0
        shares = [max(0.0, (tau_max - ratio) / (tau_max - 1)) for ratio in self.ratios]
        return math.fsum(shares) / len(shares)


def error_ratios(errors: FloatArray) -> FloatArray:
    """Error over the best error of the same task.

    Args:
        errors: (methods, tasks), ≥ 0, lower is better; NaN where a method has no value, infinite where it failed.

    Returns:
        (methods, tasks), ≥ 1 or infinite.

    Raises:
        ValueError: a negative error.

    Example:
        >>> error_ratios(np.array([[0.0, 2.0], [1.0, np.nan], [0.0, 1.0]])).tolist()
        [[1.0, 2.0], [inf, inf], [1.0, 1.0]]
    """
    filled = np.where(np.isnan(errors), np.inf, errors)
    if (filled < 0).any():
        raise ValueError("an error is below 0, so that ratios to the best have no meaning")
    best = filled.min(axis=0, initial=np.inf)
    ratios = np.full(filled.shape, np.inf)
    finite = np.isfinite(filled) & (best > 0)
    with np.errstate(over="ignore"):  # a ratio too large for a float is as good as infinite
        np.divide(filled, best, out=ratios, where=finite)
    return np.where(np.isfinite(filled) & (filled == best), 1.0, ratios)


def profile(ratios: FloatArray) -> Profile:
    """The profile of one method.

    Args:
        ratios: (tasks,), one row of `error_ratios`.
    """
    jumps, count = np.unique(ratios[np.isfinite(ratios)], return_counts=True)
    if not jumps.size or jumps[0] > 1:
        jumps, count = np.r_[1.0, jumps], np.r_[0, count]
    rho = np.cumsum(count) / max(1, ratios.size)
    return Profile(tuple(jumps.tolist()), tuple(rho.tolist()), tuple(ratios.tolist()))


def profiles(errors: FloatArray) -> list[Profile]:
    """The profiles of all methods; see `error_ratios` and `profile`."""
    return [profile(row) for row in error_ratios(errors)]
