"""Ranks, and improvement over a baseline, as the paper's Table 3 has them.

From the paper's Table 2 these functions give its Table 3 exactly, with one exception: the paper prints the
improvement of DenseNAS as 2.53 % and that of its random search as 0.0 %; the table's own numbers give 0.0 % and 2.53
%. The two columns were swapped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    ranks = np.full(errors.shape, np.nan)
    for task in range(errors.shape[1]):
        column = errors[:, task]
        there = ~np.isnan(column)
        _, place, count = np.unique(column[there], return_inverse=True, return_counts=True)
        ranks[there, task] = (np.cumsum(count) - (count - 1) / 2)[place]
    return ranks


def median_rank(ranks: FloatArray) -> FloatArray:
    """Median over the tasks that each method ran, (methods,); NaN for a method that ran none."""
    return _over_tasks(np.median, ranks)


def mean_rank(ranks: FloatArray) -> FloatArray:
    """Mean over the tasks that each method ran, (methods,); NaN for a method that ran none."""
    return _over_tasks(np.mean, ranks)


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
    return _over_tasks(np.median, gain)


def _over_tasks(statistic: Callable[[FloatArray], Any], values: FloatArray) -> FloatArray:
    out = np.full(values.shape[0], np.nan)
    for method, row in enumerate(values):
        there = row[~np.isnan(row)]
        if there.size:
            out[method] = statistic(there)
    return out
