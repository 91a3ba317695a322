"""The two distributions that the tests of significance need; scipy has them too, but is a second at import."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_STEP = 0.05
_NODES: FloatArray = np.arange(-180, 181) * np.float64(_STEP)
"""Normal deviates to integrate over: beyond 9 the density is less than the resolution of a float64, and the error of
equal steps over a bell-shaped curve falls so fast that half as many nodes would do."""


def chi_squared_tail(degrees: int, value: float) -> float:
    """Probability that a chi-squared variable is at least `value`.

    A finite sum, for whole degrees of freedom: of the Poisson distribution for an even number, of its counterpart at
    half steps for an odd one (Abramowitz and Stegun, 26.4.4 and 26.4.5).

    Args:
        degrees: of freedom, ≥ 1.
        value: finite; ≤ 0 gives 1.

    Example:
        >>> round(chi_squared_tail(1, 1.96**2), 3)
        0.05
    """
    if value <= 0:
        return 1.0
    half, odd = value / 2, degrees % 2
    powers = (index + odd / 2 for index in range(degrees // 2))
    terms = [math.exp(power * math.log(half) - half - math.lgamma(power + 1)) for power in powers]
    return math.fsum([math.erfc(math.sqrt(half)) if odd else 0.0, *terms])


def studentized_range_quantile(probability: float, n_methods: int) -> float:
    """Quantile of the range of standard normal variables: of the studentized range, its degrees of freedom infinite.

    Args:
        probability: of at most this range, in (0, 1); to 1e-11 of the quantile below 0.999.
        n_methods: how many variables, ≥ 2.

    Example:
        >>> round(studentized_range_quantile(0.95, 3), 3)
        3.314
    """
    # at most `width` is the range when, from the lowest variable on, all others lie within `width`
    weights = n_methods * _STEP / math.sqrt(2 * math.pi) * np.exp(-(_NODES**2) / 2)
    below = _normal(_NODES)

    def within(width: float) -> float:
        return float(np.sum(weights * (_normal(_NODES + np.float64(width)) - below) ** (n_methods - 1)))

    low, high = 0.0, 40.0  # the furthest that float64 tells from certainty lies below 20
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if within(middle) < probability else (low, middle)
    return high


def _normal(deviates: FloatArray) -> FloatArray:
    """Standard normal distribution function."""
    return np.array([math.erfc(-deviate / math.sqrt(2)) / 2 for deviate in deviates.tolist()])
