"""Ranks and improvement: hand-computed cases, a second implementation, and what permuting may not change."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nas360.leaderboard.ranks import (
    mean_rank,
    median_rank,
    nan_mean,
    nan_median,
    ranks_along_rows,
    relative_improvement,
    task_ranks,
)

FloatArray = npt.NDArray[np.float64]
NAN, INF = np.nan, np.inf

# few distinct values, so that ties are common
errors_with_gaps = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, max_side=7),
    elements=st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0, NAN, INF]),
)


def test_ties_gaps_and_failures_by_hand() -> None:
    errors = np.array([[0.1, 3.0, NAN], [0.1, NAN, 2.0], [0.4, 1.0, INF], [0.2, INF, INF]])
    expected = [[1.5, 2.0, NAN], [1.5, NAN, 1.0], [4.0, 1.0, 2.5], [3.0, 3.0, 2.5]]
    ranks = task_ranks(errors)
    np.testing.assert_array_equal(ranks, expected)
    np.testing.assert_allclose(median_rank(ranks), [1.75, 1.25, 2.5, 3.0])
    np.testing.assert_allclose(mean_rank(ranks), [1.75, 1.25, 2.5, 8.5 / 3])


def test_a_method_without_any_task_has_no_rank() -> None:
    ranks = task_ranks(np.array([[NAN, NAN], [1.0, 2.0]]))
    assert np.isnan(median_rank(ranks)[0])
    assert np.isnan(mean_rank(ranks)[0])


@settings(max_examples=100, deadline=None)
@given(errors_with_gaps)
def test_ranks_equal_those_of_scipy(errors: FloatArray) -> None:
    from scipy.stats import rankdata

    expected = np.full(errors.shape, NAN)
    for task, column in enumerate(errors.T):
        there = ~np.isnan(column)
        expected[there, task] = rankdata(column[there], method="average")
    np.testing.assert_array_equal(task_ranks(errors), expected)


@settings(max_examples=50, deadline=None)
@given(errors_with_gaps, st.integers(0, 2**32 - 1))
def test_permuting_methods_or_tasks_permutes_the_ranks(errors: FloatArray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    methods, tasks = rng.permutation(errors.shape[0]), rng.permutation(errors.shape[1])
    ranks, turned = task_ranks(errors), task_ranks(errors[methods][:, tasks])
    np.testing.assert_array_equal(turned, ranks[methods][:, tasks])
    np.testing.assert_array_equal(median_rank(turned), median_rank(ranks)[methods])


@settings(max_examples=50, deadline=None)
@given(errors_with_gaps)
def test_the_ranks_of_a_task_sum_to_a_triangle_number(errors: FloatArray) -> None:
    n = (~np.isnan(errors)).sum(axis=0)
    np.testing.assert_allclose(np.nansum(task_ranks(errors), axis=0), n * (n + 1) / 2)


@pytest.mark.parametrize(
    ("errors", "baseline", "expected"),
    [
        ([1.0, 3.0, 4.0], [2.0, 4.0, 4.0], 0.25),  # 0.5, 0.25, 0: the median is in the middle
        ([1.0, NAN, 4.0], [2.0, 4.0, 4.0], 0.25),  # of 0.5 and 0
        ([1.0, 2.0], [NAN, NAN], NAN),
        ([0.0], [0.0], 0.0),
        ([1.0], [0.0], -INF),
        ([INF], [1.0], -INF),
        ([1.0], [INF], 1.0),
        ([INF], [INF], 0.0),
    ],
)
def test_improvement_by_hand(errors: list[float], baseline: list[float], expected: float) -> None:
    gain = relative_improvement(np.array([errors]), np.array(baseline))
    np.testing.assert_array_equal(gain, [expected])


@settings(max_examples=50, deadline=None)
@given(errors_with_gaps)
def test_the_baseline_improves_on_itself_by_nothing(errors: FloatArray) -> None:
    gain = relative_improvement(errors, errors[0])[0]
    assert gain == 0 or (np.isnan(gain) and np.isnan(errors[0]).all())


@settings(max_examples=50, deadline=None)
@given(errors_with_gaps, st.integers(0, 2**32 - 1))
def test_increasing_maps_of_a_tasks_errors_change_no_rank(errors: FloatArray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mapped = errors * rng.uniform(0.1, 10, errors.shape[1])
    mapped[:, 0] = errors[:, 0] ** 3 + errors[:, 0]
    np.testing.assert_array_equal(task_ranks(mapped), task_ranks(errors))


@settings(max_examples=50, deadline=None)
@given(errors_with_gaps)
def test_a_lower_error_is_never_a_worse_rank(errors: FloatArray) -> None:
    better = errors.copy()
    better[0] /= 2
    assert not (task_ranks(better)[0] > task_ranks(errors)[0]).any()
    before, after = median_rank(task_ranks(errors))[0], median_rank(task_ranks(better))[0]
    assert np.isnan(before) or after <= before


def test_many_tables_at_once_rank_as_one_by_one() -> None:
    errors = np.random.default_rng(0).integers(0, 4, (3, 5, 6)).astype(np.float64)
    errors[errors == 3] = NAN
    for table, ranks in zip(errors, ranks_along_rows(errors), strict=True):
        np.testing.assert_array_equal(ranks, task_ranks(table.T).T)
    assert ranks_along_rows(np.empty((3, 0))).shape == (3, 0)


@settings(max_examples=50, deadline=None)
@given(errors_with_gaps)
def test_medians_and_means_skip_what_is_missing(values: FloatArray) -> None:
    for row, median, mean in zip(values, nan_median(values), nan_mean(values), strict=True):
        there = row[~np.isnan(row)]
        assert (np.isnan(median) and np.isnan(mean)) if not there.size else median == np.median(there)
        np.testing.assert_allclose(mean, there.mean() if there.size else NAN)
