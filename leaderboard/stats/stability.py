"""How far the median ranks hang on one task, or on which other methods are in the table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nas360.leaderboard.ranks import nan_median, task_ranks

FloatArray = npt.NDArray[np.float64]


def without_each_task(errors: FloatArray) -> FloatArray:
    """Median ranks without one task.

    Args:
        errors: (methods, tasks), as for `task_ranks`.

    Returns:
        (tasks, methods): the row is the task left out; NaN for a method that ran no other.
    """
    ranks = task_ranks(errors)
    kept = ~np.eye(errors.shape[1], dtype=bool)
    return nan_median(np.where(kept[:, None, :], ranks[None], np.nan))


def without_each_method(errors: FloatArray) -> FloatArray:
    """Median ranks without one method, (left out, methods); NaN for the method itself."""
    below, equal = _beside(errors)
    ranks = task_ranks(errors)[None] - below - equal / 2
    own = np.arange(len(errors))
    ranks[own, own] = np.nan
    return nan_median(ranks)


def with_clone_of_each(errors: FloatArray) -> FloatArray:
    """Median ranks when one method is entered a second time with equal errors, (cloned, methods).

    A table whose order hangs on such an entry can be moved by whoever enters variants of one method.
    """
    below, equal = _beside(errors)
    return nan_median(task_ranks(errors)[None] + below + equal / 2)


def _beside(errors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """1 where the first axis' method is better than the second's, and where it is equal; (other, methods, tasks)."""
    other, own = errors[:, None, :], errors[None, :, :]
    return (other < own).astype(np.float64), (other == own).astype(np.float64)
