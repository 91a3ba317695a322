"""Ranks, and improvement over a baseline, as the paper's Table 3 has them.

From the paper's Table 2 these functions give its Table 3 exactly, with one exception: the paper prints the
improvement of DenseNAS as 2.53 % and that of its random search as 0.0 %; the table's own numbers give 0.0 % and 2.53
%. The two columns were swapped.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def task_ranks(errors: FloatArray) -> FloatArray:
    """Rank of every method on every task; equal errors share the average of their places.

    Args:
        errors: (methods, tasks), lower is better; NaN where a method has no value, infinite where it failed (such
            methods share the last places).

    Returns:
        (methods, tasks), 1 is best; NaN where a method has no value. A task ranks all methods with a value on it.

    Example:
        >>> task_ranks(np.array([[0.3], [0.1], [0.3], [np.nan]])).ravel().tolist()
        [2.5, 1.0, 2.5, nan]
    """
    return ranks_along_rows(errors.T).T


def ranks_along_rows(errors: FloatArray) -> FloatArray:
    """Ranks along the last axis, ties averaged, NaN where there is NaN; `task_ranks` for many tables at once.

    Args:
        errors: (..., methods).
    """
    if not errors.shape[-1]:
        return np.full(errors.shape, np.nan)
    order = np.argsort(errors, axis=-1)
    ascending = np.take_along_axis(errors, order, axis=-1)
    place = np.broadcast_to(np.arange(errors.shape[-1]), errors.shape)
    # the first and last place of each run of equal errors
    starts = np.ones(errors.shape, dtype=bool)
    np.not_equal(ascending[..., 1:], ascending[..., :-1], out=starts[..., 1:])
    ends = np.roll(starts, -1, axis=-1)
    first = np.maximum.accumulate(np.where(starts, place, 0), axis=-1)
    last = np.minimum.accumulate(np.where(ends, place, errors.shape[-1])[..., ::-1], axis=-1)[..., ::-1]
    ranks = np.empty(errors.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=-1)
    ranks[np.isnan(errors)] = np.nan
    return ranks


def median_rank(ranks: FloatArray) -> FloatArray:
    """Median over the tasks that each method ran, (methods,); NaN for a method that ran none."""
    return nan_median(ranks)


def mean_rank(ranks: FloatArray) -> FloatArray:
    """Mean over the tasks that each method ran, (methods,); NaN for a method that ran none."""
    return nan_mean(ranks)


def relative_improvement(errors: FloatArray, baseline: FloatArray) -> FloatArray:
    """Median over tasks of (e_base − e) / e_base, over the tasks that both ran.

    Args:
        errors: (methods, tasks), as for `task_ranks`.
        baseline: (tasks,), the baseline's errors.

    Returns:
        (methods,): 0.2 is 20 % better; −∞ where half of the tasks or more failed; NaN without a task in common. A
        task on which the baseline's error is zero counts 0 for an equal method and −∞ for another; one on which the
        baseline failed counts 1, or 0 for a method that failed too.

    Example:
        >>> relative_improvement(np.array([[1.0, 4.0, 3.0]]), np.array([2.0, 4.0, np.nan])).tolist()
        [0.25]
    """
    base = np.broadcast_to(baseline, errors.shape)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        gain = (base - errors) / base
    gain = np.where(np.isinf(base), 1.0, gain)
    gain = np.where(errors == base, 0.0, gain)
    gain = np.where(np.isnan(base) | np.isnan(errors), np.nan, gain)
    return nan_median(gain)


def nan_median(values: FloatArray) -> FloatArray:
    """Median along the last axis over what is not NaN; NaN, without a warning, where nothing is."""
    if not values.shape[-1]:
        return np.full(values.shape[:-1], np.nan)
    ascending = np.sort(values, axis=-1)  # NaN last
    n = (~np.isnan(values)).sum(axis=-1, keepdims=True)
    lower = np.take_along_axis(ascending, np.maximum(n - 1, 0) // 2, axis=-1)
    upper = np.take_along_axis(ascending, np.minimum(n // 2, values.shape[-1] - 1), axis=-1)
    middle: FloatArray = np.where(n % 2 == 1, lower, (lower + upper) / 2)[..., 0]
    return middle


def nan_mean(values: FloatArray) -> FloatArray:
    """Mean along the last axis over what is not NaN; NaN, without a warning, where nothing is."""
    there = ~np.isnan(values)
    n = there.sum(axis=-1)
    total = np.where(there, values, 0.0).sum(axis=-1)
    mean: FloatArray = np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)
    return mean
