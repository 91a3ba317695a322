"""Leaving out a task or a method, and entering one twice: against the ranks of the changed table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nas360.leaderboard.ranks import median_rank, task_ranks
from nas360.leaderboard.stats.stability import with_clone_of_each, without_each_method, without_each_task

FloatArray = npt.NDArray[np.float64]
NAN, INF = np.nan, np.inf

errors_with_gaps = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0, NAN, INF]),
)


def test_by_hand() -> None:
    errors = np.array([[1.0, 1.0, 3.0], [2.0, 2.0, 1.0], [3.0, 3.0, 2.0]])  # ranks 1 1 3, 2 2 1, 3 3 2
    np.testing.assert_allclose(without_each_task(errors), np.array([[2, 1.5, 2.5], [2, 1.5, 2.5], [1, 2, 3]]))
    np.testing.assert_allclose(without_each_method(errors), np.array([[NAN, 1, 2], [1, NAN, 2], [1, 2, NAN]]))
    # with the first twice its two share 1.5 1.5 3.5, and the second moves to 3 3 1
    np.testing.assert_allclose(with_clone_of_each(errors)[0], [1.5, 3, 4])


@settings(max_examples=60, deadline=None)
@given(errors_with_gaps)
def test_equal_to_ranking_the_changed_table(errors: FloatArray) -> None:
    methods, tasks = errors.shape
    for task in range(tasks):
        expected = median_rank(task_ranks(np.delete(errors, task, axis=1)))
        np.testing.assert_array_equal(without_each_task(errors)[task], expected)
    for method in range(methods):
        left = np.delete(np.arange(methods), method)
        found = without_each_method(errors)[method]
        assert np.isnan(found[method])
        np.testing.assert_array_equal(found[left], median_rank(task_ranks(errors[left])))
        expected = median_rank(task_ranks(np.vstack([errors, errors[method]])))[:methods]
        np.testing.assert_array_equal(with_clone_of_each(errors)[method], expected)


def test_a_clone_of_one_method_can_swap_two_others() -> None:
    """Planted: why the clone test is there."""
    ranks = [[1, 2, 2, 4, 4, 4], [3, 1, 1, 3, 3, 2], [2, 3, 3, 2, 2, 1], [4, 4, 4, 1, 1, 3]]
    errors = np.array(ranks, dtype=np.float64)
    assert median_rank(task_ranks(errors)).tolist() == [3, 2.5, 2, 3.5]
    assert with_clone_of_each(errors)[3].tolist() == [3.5, 2.5, 3, 4]
