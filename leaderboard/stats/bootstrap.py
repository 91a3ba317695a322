"""The uncertainty of ranks: what they would have been on other tasks of the same kind and with other seeds.

One draw takes as many tasks as there are, with replacement, and for every task drawn a new error of every line: the
mean of as many of its seeds as it has there, with replacement. A task that is drawn twice gets new seeds each time. A
paper's average over seeds has no seeds to draw from; there the error comes from a normal distribution around the
printed mean whose spread is the printed spread over √seeds, and is kept within the metric's range. Where no spread was
printed, and where there is only one seed, the error stays as it is, so that such a line's interval tells of the tasks
alone and is too narrow. Errors are rounded as in the table, so that they tie as often.

Ten tasks are few: the intervals say how far the order of the table hangs on which tasks are in it, and on luck with
seeds; they promise nothing about tasks of another kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas360.leaderboard.ranks import nan_mean, nan_median, ranks_along_rows

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

LEVEL = 0.95
"""How much of the draws an interval holds."""

MIN_COMMON = 6
"""Tasks in common that two lines need to be told apart: with five, even the same winner everywhere has a probability of
2 / 2⁵ > 5 % between equals. An interval needs as many: the median of where five values come from lies
outside all five with that probability."""

_BLOCK = 2_000_000  # errors at a time, which bounds memory; the draws do not depend on it


@dataclass(frozen=True)
class Samples:
    """What one line's errors are drawn from.

    Attributes:
        seeds: (tasks, most seeds), errors, infinite where a seed failed; filled up with anything.
        n_seeds: (tasks,), how many of them hold; 0 where the line did not run the task.
        spread: (tasks,), standard error of a published mean, which is the one seed; else 0.
    """

    seeds: FloatArray
    n_seeds: npt.NDArray[np.int64]
    spread: FloatArray

    def draw(self, tasks: npt.NDArray[np.int64], rng: np.random.Generator) -> FloatArray:
        """Errors, not rounded, in the shape of `tasks`, which holds indices of tasks; NaN where it did not run one."""
        n = self.n_seeds[tasks]
        most = self.seeds.shape[1]
        if most > 1:
            choice = (rng.random((*tasks.shape, most)) * n[..., None]).astype(np.int64)
            values = self.seeds[tasks[..., None], choice]
            if (self.n_seeds < most).any():
                values = np.where(np.arange(most) < n[..., None], values, 0.0)
            errors = values.sum(axis=-1) / np.maximum(n, 1)
        else:
            errors = self.seeds[tasks, 0]
        if self.spread.any():
            errors = errors + rng.standard_normal(tasks.shape) * self.spread[tasks]
        return np.where(n > 0, errors, np.nan)


@dataclass(frozen=True)
class Resampled:
    """Ranks over the draws.

    Attributes:
        median_rank: (draws, lines); NaN in a draw that has none of the line's tasks. `mean_rank` likewise.
        better: (lines, lines), share of the draws in which the row's median rank is below the column's, both over the
            tasks in common; NaN for fewer than `MIN_COMMON` of them.
    """

    median_rank: FloatArray
    mean_rank: FloatArray
    better: FloatArray


def resample(
    samples: Sequence[Samples],
    low: FloatArray,
    high: FloatArray,
    decimals: npt.NDArray[np.int64],
    draws: int,
    rng: np.random.Generator,
    line_rngs: Sequence[np.random.Generator],
) -> Resampled:
    """Draw, rank, and summarise.

    Args:
        samples: of each line.
        low: (tasks,), the least possible error.
        high: (tasks,), the greatest.
        decimals: (tasks,), to which errors are rounded.
        draws: how many, ≥ 1.
        rng: draws the tasks.
        line_rngs: one a line, for its seeds; owned by the line, so that the order of lines does not matter.
    """
    n_lines, n_tasks = len(samples), low.size
    medians, means = np.full((draws, n_lines), np.nan), np.full((draws, n_lines), np.nan)
    better, counted = np.zeros((n_lines, n_lines)), np.zeros((n_lines, n_lines))
    ran = np.array([line.n_seeds > 0 for line in samples], dtype=bool).reshape(n_lines, n_tasks)
    chosen = rng.integers(0, n_tasks, (draws, n_tasks))
    step = max(1, _BLOCK // max(1, n_lines * n_tasks))
    for start in range(0, draws, step):
        block = slice(start, min(start + step, draws))
        tasks = chosen[block]
        errors = np.stack([line.draw(tasks, own) for line, own in zip(samples, line_rngs, strict=True)], axis=-1)
        ranks = np.swapaxes(ranks_along_rows(_tidy(errors, tasks, low, high, decimals)), 1, 2)
        medians[block], means[block] = nan_median(ranks), nan_mean(ranks)
        for rows, columns, wins, n in _compare(ranks, tasks, ran, medians[block]):
            better[np.ix_(rows, columns)] += wins
            counted[np.ix_(rows, columns)] += n
    share = np.divide(better, counted, out=np.full(better.shape, np.nan), where=counted > 0)
    return Resampled(medians, means, share)


def interval(draws: FloatArray, level: float = LEVEL) -> FloatArray:
    """The middle `level` of the draws of each line, (2, lines), at values that were drawn; NaN without any.

    Args:
        draws: (draws, lines), NaN where there is no value.
        level: in (0, 1).
    """
    ascending = np.sort(draws, axis=0)  # NaN last
    n = np.maximum((~np.isnan(draws)).sum(axis=0), 1)
    tail = (1 - level) / 2
    # rounded outwards, and without what a product such as 0.025 * 40 lacks to a whole number
    places = np.stack([np.floor(np.round(tail * (n - 1), 9)), np.ceil(np.round((1 - tail) * (n - 1), 9))])
    return np.take_along_axis(ascending, places.astype(np.int64), axis=0)


def _tidy(
    errors: FloatArray, tasks: npt.NDArray[np.int64], low: FloatArray, high: FloatArray, decimals: npt.NDArray[np.int64]
) -> FloatArray:
    """Errors (draws, slots, lines), within the metric's range (a failure stays infinite) and rounded as the table's."""
    kept = np.where(np.isinf(errors), errors, np.clip(errors, low[tasks][..., None], high[tasks][..., None]))
    scale = 10.0 ** decimals[tasks][..., None]
    rounded: FloatArray = np.rint(kept * scale) / scale
    return rounded


def _compare(
    ranks: FloatArray, tasks: npt.NDArray[np.int64], ran: BoolArray, medians: FloatArray
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray, int]]:
    """For lines that ran the same tasks, against all that ran some same others: in how many draws they were better.

    Args:
        ranks: (draws, lines, slots).
        tasks: (draws, slots), which task a slot is.
        ran: (lines, tasks).
        medians: (draws, lines), over all slots.

    Yields:
        Indices of lines, of other lines, counts of draws (lines, others), draws with a task in common.
    """
    patterns, which = np.unique(ran, axis=0, return_inverse=True)
    which = which.reshape(-1)
    members = [np.flatnonzero(which == index) for index in range(len(patterns))]
    for one, rows in enumerate(members):
        for two, columns in enumerate(members):
            common = patterns[one] & patterns[two]
            if common.sum() < MIN_COMMON:
                continue
            there = common[tasks]

            def over_common(lines: npt.NDArray[np.int64], all_theirs: bool, there: BoolArray = there) -> FloatArray:
                if all_theirs:
                    return medians[:, lines]
                return nan_median(np.where(there[:, None, :], ranks[:, lines], np.nan))

            ours = over_common(rows, bool((common == patterns[one]).all()))
            theirs = over_common(columns, bool((common == patterns[two]).all()))
            wins = (ours[:, :, None] < theirs[:, None, :]).sum(axis=0)
            yield rows, columns, wins.astype(np.float64), int(there.any(axis=1).sum())
