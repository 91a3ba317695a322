"""Friedman and Nemenyi: by hand, and against scipy and scikit-posthocs."""

from __future__ import annotations

import numpy as np
import pytest

from nas360.leaderboard.stats.friedman import critical_distance, friedman_statistic, friedman_test

NAN, INF = np.nan, np.inf


def test_by_hand() -> None:
    # three methods in the same order on three tasks: rank sums 3 6 9, 12 / (3·3·4) · (9 + 36 + 81) − 3·3·4 = 6
    errors = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [3.0, 4.0, INF]])
    assert friedman_statistic(errors) == pytest.approx(6)
    found = friedman_test(("a", "b", "c"), errors)
    assert found is not None
    assert found.p == pytest.approx(np.exp(-3))  # chi-squared of two degrees of freedom
    assert found.mean_rank == {"a": 1, "b": 2, "c": 3}
    assert (found.n_tasks, found.n_methods, found.lines) == (3, 3, ("a", "b", "c"))


@pytest.mark.parametrize("values", [1000, 4])
@pytest.mark.parametrize("shape", [(3, 4), (5, 10), (8, 10)])
def test_scipy_has_the_same(shape: tuple[int, int], values: int) -> None:
    from scipy.stats import friedmanchisquare

    errors = np.random.default_rng(0).integers(0, values, shape).astype(np.float64)
    found, expected = friedman_test(tuple(map(str, range(shape[0]))), errors), friedmanchisquare(*errors)
    assert found is not None
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)


def test_all_equal_says_nothing() -> None:
    found = friedman_test(("a", "b", "c"), np.ones((3, 5)))
    assert found is not None
    assert (found.statistic, found.p) == (0.0, 1.0)


def test_only_lines_that_ran_everything_count() -> None:
    errors = np.array([[1.0, 2.0], [NAN, 1.0], [2.0, 3.0], [3.0, 4.0]])
    found = friedman_test(("a", "b", "c", "d"), errors)
    assert found is not None
    assert found.mean_rank == {"a": 1, "c": 2, "d": 3}
    assert friedman_test(("a", "b", "c"), errors[:3]) is None
    assert friedman_test(("a", "c", "d"), errors[[0, 2, 3], :1]) is None
    assert friedman_test((), np.empty((0, 10))) is None


@pytest.mark.parametrize(("k", "quantile"), [(2, 1.960), (3, 2.343), (5, 2.728), (8, 3.031), (10, 3.164)])
def test_distance_by_the_printed_table(k: int, quantile: float) -> None:
    """Quantiles from Demšar (2006), Table 5."""
    assert critical_distance(k, 10) == pytest.approx(quantile * np.sqrt(k * (k + 1) / 60), abs=2e-3)


def test_ten_tasks_and_eight_methods_resolve_three_ranks() -> None:
    assert 3.3 < critical_distance(8, 10) < 3.35


def test_at_the_distance_nemenyis_p_is_alpha() -> None:
    import scikit_posthocs as posthocs
    from scipy.stats import rankdata

    errors = np.random.default_rng(3).random((6, 10))
    p = posthocs.posthoc_nemenyi_friedman(errors.T).to_numpy()
    means = rankdata(errors, axis=0).mean(axis=1)
    apart = np.abs(means[:, None] - means[None, :])
    for alpha in (0.05, 0.3, 0.9):
        np.testing.assert_array_equal(apart > critical_distance(6, 10, alpha), p < alpha)
