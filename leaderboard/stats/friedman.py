"""Whether the lines differ at all (Friedman), and how far mean ranks must lie apart (Nemenyi); Demšar, 2006."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas360.leaderboard.ranks import task_ranks
from nas360.leaderboard.stats.distributions import chi_squared_tail, studentized_range_quantile

FloatArray = npt.NDArray[np.float64]

ALPHA = 0.05


@dataclass(frozen=True)
class Friedman:
    """The Friedman test, over the lines that ran every task.

    Attributes:
        statistic: chi-squared, corrected for ties.
        p: probability of at least this statistic if all lines were equal.
        n_tasks: of the board.
        n_methods: lines that ran all of them.
        lines: their ids, in the board's order.
        mean_rank: id → mean rank among these lines alone, which the critical distance is about.
    """

    statistic: float
    p: float
    n_tasks: int
    n_methods: int
    lines: tuple[str, ...]
    mean_rank: Mapping[str, float]


def friedman_statistic(errors: FloatArray) -> float:
    """The statistic, corrected for ties; chi-squared with methods − 1 degrees of freedom if all methods are equal.

    Args:
        errors: (methods, tasks), without NaN; at least two methods and one task.

    Returns:
        ≥ 0; 0 when all methods tie on every task.
    """
    k, n = errors.shape
    ranks = task_ranks(errors)
    # without ties n k (k² − 1) / 12
    spread = float(np.sum((ranks - (k + 1) / 2) ** 2))
    if spread == 0:
        return 0.0
    between = float(np.sum((ranks.sum(axis=1) - n * (k + 1) / 2) ** 2))
    statistic: float = (k - 1) * between / spread
    return statistic


def friedman_test(lines: tuple[str, ...], errors: FloatArray) -> Friedman | None:
    """The test over the lines that ran every task; None with fewer than three of them or fewer than two tasks.

    Args:
        lines: ids.
        errors: (lines, tasks), NaN where a line did not run a task.
    """
    whole = np.logical_not(np.isnan(errors).any(axis=1))
    complete = errors[whole]
    k, n = complete.shape
    if k < 3 or n < 2:
        return None
    statistic = friedman_statistic(complete)
    names = tuple(line for line, kept in zip(lines, whole, strict=True) if kept)
    means = task_ranks(complete).mean(axis=1)
    return Friedman(
        statistic=statistic,
        p=chi_squared_tail(k - 1, statistic),
        n_tasks=n,
        n_methods=k,
        lines=names,
        mean_rank={name: float(mean) for name, mean in zip(names, means, strict=True)},
    )


def critical_distance(n_methods: int, n_tasks: int, alpha: float = ALPHA) -> float:
    """Nemenyi's: mean ranks of two methods that lie further apart than this differ, at level `alpha` over all pairs.

    It is the resolution of a table: no analysis of mean ranks by this test can tell apart what is closer.

    Args:
        n_methods: ≥ 2.
        n_tasks: ≥ 1, on all of which all methods ran.
        alpha: in (0, 1).

    Example:
        >>> round(critical_distance(8, 10), 2)
        3.32
    """
    quantile = studentized_range_quantile(1 - alpha, n_methods)
    return quantile / math.sqrt(2) * math.sqrt(n_methods * (n_methods + 1) / (6 * n_tasks))
