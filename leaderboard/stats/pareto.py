"""The front of error against cost: lines that no other beats in both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas360.leaderboard.profiles import error_ratios

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CostPoint:
    """One line in the plane of cost and error.

    Attributes:
        cost: mean over the tasks of `n_tasks`: GPU-hours, or trainable parameters.
        error: mean over the same tasks of error / best error of the board, ≥ 1; infinite after a failure, or where the
            best error is zero and the line's is not.
        n_tasks: tasks with an error and a cost. Fewer than the board has: shown, but never on the front, for means over
            other tasks do not compare.
    """

    cost: float
    error: float
    n_tasks: int


def cost_points(errors: FloatArray, costs: FloatArray) -> list[CostPoint | None]:
    """A point for every line that states a cost somewhere, else None.

    Args:
        errors: (lines, tasks), NaN where a line did not run a task, infinite where it failed.
        costs: (lines, tasks), ≥ 0, NaN where unknown.
    """
    ratios = error_ratios(errors)
    known = ~np.isnan(errors) & ~np.isnan(costs)
    return [
        CostPoint(_mean(cost[there]), _mean(ratio[there]), int(there.sum())) if there.any() else None
        for cost, ratio, there in zip(costs, ratios, known, strict=True)
    ]


def _mean(values: FloatArray) -> float:
    return math.fsum(values) / values.size


def front(points: Sequence[CostPoint | None], n_tasks: int) -> list[int]:
    """Indices of the points on the front, by cost.

    Args:
        points: from `cost_points`.
        n_tasks: how many tasks a point must be about to be comparable.

    Returns:
        Those of finite error to which no other is at least equal in both and better in one. Equal points all stand.

    Example:
        >>> front([CostPoint(1, 2, 3), CostPoint(2, 1, 3), CostPoint(2, 2, 3), None], 3)
        [0, 1]
    """
    full = {
        i: point for i, point in enumerate(points) if point and point.n_tasks == n_tasks and np.isfinite(point.error)
    }
    order = sorted(full, key=lambda index: (full[index].cost, full[index].error, index))
    kept: list[int] = []
    for index in order:
        best = full[kept[-1]] if kept else None
        if best is None or full[index].error < best.error or full[index] == best:
            kept.append(index)
    return kept
