"""The distributions of the tests of significance: in closed form, and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nas360.leaderboard.stats.distributions import chi_squared_tail, studentized_range_quantile


def test_two_degrees_are_exponential() -> None:
    for value in (0.1, 1.0, 30.0):
        assert chi_squared_tail(2, value) == pytest.approx(math.exp(-value / 2), rel=1e-14)
    assert chi_squared_tail(7, 0.0) == 1.0
    assert chi_squared_tail(7, 1e9) == 0.0


@pytest.mark.parametrize("degrees", [1, 2, 3, 8, 99, 1000])
def test_the_tail_is_scipys(degrees: int) -> None:
    from scipy.special import chdtrc

    values = [1e-8, 0.01, 0.5, 1, 5, 20, 100, 400, 1000]
    found = [chi_squared_tail(degrees, value) for value in values]
    np.testing.assert_allclose(found, chdtrc(degrees, values), rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("methods", [2, 3, 8, 30, 100, 1000])
def test_the_quantile_is_scipys(methods: int) -> None:
    from scipy.stats import studentized_range

    for probability in (0.1, 0.5, 0.9, 0.95, 0.99):
        expected = studentized_range.ppf(probability, methods, np.inf)
        assert studentized_range_quantile(probability, methods) == pytest.approx(expected, rel=1e-9)


def test_the_range_of_two_is_their_difference() -> None:
    # |a − b| of two normal variables is at most w with probability erf(w / 2)
    for probability in (1e-6, 0.3, 0.999, 1 - 1e-9):
        width = studentized_range_quantile(probability, 2)
        assert math.erf(width / 2) == pytest.approx(probability, rel=1e-12)
