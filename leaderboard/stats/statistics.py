"""What a table can and cannot tell apart: the statistics of a board's ranked lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas360.errors import UserError
from nas360.leaderboard.board import Board, Standing
from nas360.leaderboard.stats.bootstrap import LEVEL, MIN_COMMON, Samples, interval, resample
from nas360.leaderboard.stats.friedman import Friedman, critical_distance, friedman_test
from nas360.leaderboard.stats.groups import tie_groups
from nas360.leaderboard.stats.pairwise import holm, log_ratios, wilcoxon, win_rate, wins
from nas360.leaderboard.stats.pareto import CostPoint, cost_points, front
from nas360.leaderboard.stats.stability import with_clone_of_each, without_each_method, without_each_task
from nas360.seeding import derive
from nas360.task import TaskSpec

__all__ = ["CostPoint", "Friedman", "Pair", "Statistics", "analyse"]

FloatArray = npt.NDArray[np.float64]

COSTS = ("gpu_hours", "parameters")

POLICY = (
    "On each task all ranked lines that ran it are ranked; a line's median and mean are over the tasks that it ran, "
    "nothing is filled in for the others, a failed seed counts as an infinite error, a line of fewer than "
    f"{MIN_COMMON} tasks has no interval, and two lines with fewer than {MIN_COMMON} in common are never told apart."
)


@dataclass(frozen=True)
class Pair:
    """Two lines on the tasks that both ran.

    Attributes:
        a: id of the line that stands higher on the board. `b` of the other.
        n_tasks: in common.
        p: of Wilcoxon's signed-rank test on the logarithms of error ratios, exact, two-sided.
        p_holm: adjusted for the number of pairs.
        wins_a: tasks on which a's error is lower. `ties` on which they are equal, `wins_b` on which b's is lower.
    """

    a: str
    b: str
    n_tasks: int
    p: float
    p_holm: float
    wins_a: int
    ties: int
    wins_b: int


@dataclass(frozen=True)
class Statistics:
    """Statistics of the ranked lines of a board, by line id; see `policy` for lines that did not run every task.

    Attributes:
        draws: of the bootstrap.
        seed: of the bootstrap.
        rank_interval: 95 % interval of the median rank, by bootstrap over tasks and seeds; the text of
            `nas360.leaderboard.stats.bootstrap` tells how. A line that ran fewer than six tasks has none.
        mean_rank_interval: the same of the mean rank.
        tie_group: letters such as `a`, `ab`, `b1` (a digit belongs to the letter before it). Two lines share a letter
            exactly when they are not separable: neither has the lower median rank, over the tasks that both ran, in
            97.5 % of the bootstrap's draws. Every pair is judged by itself: of lines that are equal in truth, about one
            pair in twenty is told apart; `pairs` has a test that is adjusted for their number.
        win_rate: line → other line → share of tasks in common that it wins, ties ½; None without one in common.
        friedman: over the lines that ran every task; None with fewer than three of those, or fewer than two tasks.
        nemenyi_distance: critical difference of mean ranks at alpha 0.05 over those lines; None likewise.
        pairs: all pairs, in the board's order.
        without_task: task left out → line → median rank over the others, of lines that ran another.
        without_method: line left out → other line → median rank without it.
        with_clone: line → every line → median rank if that line were entered twice.
        pareto: `"gpu_hours"`, `"parameters"` → ids on the front of mean relative error against the cost, by cost.
        costs: the same → line id → its point, of the lines that state the cost; points of fewer tasks than the board
            has are never on the front.
        policy: what is done about tasks that a line did not run, one sentence.
    """

    draws: int
    seed: int
    rank_interval: Mapping[str, tuple[float, float]]
    mean_rank_interval: Mapping[str, tuple[float, float]]
    tie_group: Mapping[str, str]
    win_rate: Mapping[str, Mapping[str, float | None]]
    friedman: Friedman | None
    nemenyi_distance: float | None
    pairs: tuple[Pair, ...]
    without_task: Mapping[str, Mapping[str, float]]
    without_method: Mapping[str, Mapping[str, float]]
    with_clone: Mapping[str, Mapping[str, float]]
    pareto: Mapping[str, tuple[str, ...]]
    costs: Mapping[str, Mapping[str, CostPoint]]
    policy: str = POLICY


def analyse(board: Board, draws: int = 1000, seed: int = 0) -> Statistics:
    """Compute all statistics of a board.

    Equal boards give equal statistics, whatever the order in which result files were read.

    Args:
        board: from `rank`.
        draws: of the bootstrap, from 1 to 100,000.
        seed: of the bootstrap, ≥ 0.

    Raises:
        UserError: `draws` or `seed` is out of range.
    """
    if not 1 <= draws <= 100_000:
        raise UserError(f"{draws} draws of the bootstrap; between 1 and 100,000 are possible, 1,000 are usual")
    if seed < 0:
        raise UserError(f"the seed of the bootstrap is {seed}; give 0 or a greater whole number")
    standings, specs = board.standings, tuple(board.table.specs.values())
    ids = tuple(standing.line.id for standing in standings)
    errors = board.table.errors([standing.line for standing in standings])
    medians, means, groups = _bootstrap(standings, specs, draws, seed)
    test = friedman_test(ids, errors)
    points = {kind: cost_points(errors, _costs(standings, specs, kind)) for kind in COSTS}
    return Statistics(
        draws=draws,
        seed=seed,
        rank_interval=medians,
        mean_rank_interval=means,
        tie_group=groups,
        win_rate={
            line: {other: None if math.isnan(rate) else float(rate) for other, rate in zip(ids, row, strict=True)}
            for line, row in zip(ids, win_rate(errors), strict=True)
        },
        friedman=test,
        nemenyi_distance=None if test is None else critical_distance(test.n_methods, test.n_tasks),
        pairs=_pairs(ids, errors),
        without_task=_by_name([spec.id for spec in specs], ids, without_each_task(errors)),
        without_method=_by_name(ids, ids, without_each_method(errors)),
        with_clone=_by_name(ids, ids, with_clone_of_each(errors)),
        pareto={kind: tuple(ids[index] for index in front(found, len(specs))) for kind, found in points.items()},
        costs={
            kind: {line: point for line, point in zip(ids, found, strict=True) if point is not None}
            for kind, found in points.items()
        },
    )


_Intervals = dict[str, tuple[float, float]]


def _bootstrap(
    standings: Sequence[Standing], specs: Sequence[TaskSpec], draws: int, seed: int
) -> tuple[_Intervals, _Intervals, dict[str, str]]:
    """Intervals of the median and of the mean rank, and tie groups."""
    if not standings or not specs:
        return {}, {}, {}
    ids = [standing.line.id for standing in standings]
    # errors of a higher-is-better metric lie in [0, 1] as the metric does
    low = np.array([spec.bounds[0] for spec in specs])
    high = np.array([math.inf if spec.bounds[1] is None else spec.bounds[1] for spec in specs])
    drawn = resample(
        [_samples(standing, specs) for standing in standings],
        low,
        high,
        np.array([spec.decimals for spec in specs]),
        draws,
        derive(seed, "bootstrap", "tasks"),
        [derive(seed, "bootstrap", "seeds", name) for name in ids],
    )
    with np.errstate(invalid="ignore"):
        better = drawn.better >= 1 - (1 - LEVEL) / 2
    medians, means = interval(drawn.median_rank), interval(drawn.mean_rank)
    enough = [index for index, standing in enumerate(standings) if len(standing.cells) >= MIN_COMMON]
    return (
        {ids[index]: (float(medians[0, index]), float(medians[1, index])) for index in enough},
        {ids[index]: (float(means[0, index]), float(means[1, index])) for index in enough},
        dict(zip(ids, tie_groups(better | better.T), strict=True)),
    )


def _samples(standing: Standing, specs: Sequence[TaskSpec]) -> Samples:
    most = max((len(cell.seeds) for cell in standing.cells.values()), default=1)
    seeds = np.zeros((len(specs), max(1, most)))
    n_seeds, spread = np.zeros(len(specs), dtype=np.int64), np.zeros(len(specs))
    for task, spec in enumerate(specs):
        cell = standing.cells.get(spec.id)
        if cell is None:
            continue
        if cell.seeds:
            seeds[task, : len(cell.seeds)] = cell.seeds
            n_seeds[task] = len(cell.seeds)
        else:
            seeds[task, 0] = cell.error
            n_seeds[task] = 1
            spread[task] = 0.0 if cell.std is None else cell.std / math.sqrt(cell.n_seeds)
    return Samples(seeds, n_seeds, spread)


def _costs(standings: Sequence[Standing], specs: Sequence[TaskSpec], kind: str) -> FloatArray:
    """Costs (lines, tasks), NaN where unknown."""
    costs = np.full((len(standings), len(specs)), np.nan)
    for line, standing in enumerate(standings):
        for task, spec in enumerate(specs):
            cell = standing.cells.get(spec.id)
            cost = None if cell is None else getattr(cell, kind)
            if cost is not None:
                costs[line, task] = cost
    return costs


def _pairs(ids: Sequence[str], errors: FloatArray) -> tuple[Pair, ...]:
    one, other = np.triu_indices(len(ids), 1)
    if not one.size:
        return ()
    p = wilcoxon(log_ratios(errors[one], errors[other]))
    won, tied = wins(errors)
    columns = (one, other, p, holm(p), won[one, other], tied[one, other], won[other, one])
    return tuple(
        Pair(ids[a], ids[b], wins_a + ties + wins_b, p_one, p_all, wins_a, ties, wins_b)
        for a, b, p_one, p_all, wins_a, ties, wins_b in zip(*(column.tolist() for column in columns), strict=True)
    )


def _by_name(rows: Sequence[str], columns: Sequence[str], values: FloatArray) -> dict[str, dict[str, float]]:
    """Rows → columns → value, without NaN."""
    return {
        row: {column: value for column, value in zip(columns, line, strict=True) if not math.isnan(value)}
        for row, line in zip(rows, values.tolist(), strict=True)
    }
