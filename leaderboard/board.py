"""The leaderboard: which lines of a table rank, in what order, and with what numbers."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from nas360.errors import UnknownNameError, UserError
from nas360.leaderboard.profiles import TAU_MAX, Profile, profiles
from nas360.leaderboard.ranks import mean_rank, median_rank, relative_improvement, task_ranks
from nas360.leaderboard.table import MARKS, Cell, Line, Table

BASELINE = "wrn"


@dataclass(frozen=True)
class Standing:
    """One ranked line.

    Attributes:
        line: which.
        median_rank: over the tasks that it ran; `mean_rank` likewise.
        improvement: median over tasks of (e_base − e) / e_base; None without a baseline or a task in common with it.
        cells: task id → value, of the tasks that it ran.
        ranks: task id → rank among all ranked lines that ran the task.
        profile: over all tasks of the board.
        partial: whether it ran fewer tasks than the board has.
    """

    line: Line
    median_rank: float
    mean_rank: float
    improvement: float | None
    cells: Mapping[str, Cell]
    ranks: Mapping[str, float]
    profile: Profile
    partial: bool


@dataclass(frozen=True)
class Unranked:
    """One line that is shown without a rank.

    Attributes:
        line: which; its `marks` say why.
        cells: task id → value.
        places: task id → (place it would have on that task alone, how many would be ranked).
    """

    line: Line
    cells: Mapping[str, Cell]
    places: Mapping[str, tuple[float, int]]


@dataclass(frozen=True)
class Board:
    """A leaderboard.

    Attributes:
        table: what it was made from.
        standings: ranked lines, by median rank, then mean rank, then id.
        unranked: lines that do not rank under these conditions.
        baseline: id of the line that improvement refers to; None when no ranked line is it.
        included: marks that were let in.
        tau_max: where the profile's area ends.
    """

    table: Table
    standings: tuple[Standing, ...]
    unranked: tuple[Unranked, ...]
    baseline: str | None
    included: tuple[str, ...]
    tau_max: float


def rank(table: Table, baseline: str | None = None, include: Collection[str] = (), tau_max: float = TAU_MAX) -> Board:
    """Rank the lines of a table.

    Args:
        table: errors by line and task.
        baseline: id or method name that improvement refers to. None means `"wrn"` where it is there.
        include: marks of lines that rank although their conditions are not the benchmark's; see `MARKS`.
        tau_max: where the profile's area ends, above 1.

    Raises:
        UnknownNameError: a baseline was named and no ranked line is it.
        UserError: `tau_max` or a mark is not possible.
    """
    if not (math.isfinite(tau_max) and tau_max > 1):
        raise UserError(
            f"tau_max is {tau_max}; it must be a finite number above 1, for a ratio to the best is never below 1"
        )
    unknown = [mark for mark in include if mark not in MARKS]
    if unknown:
        raise UserError(f"no condition {', '.join(map(repr, unknown))} to include. Known: {', '.join(MARKS)}")
    tasks = tuple(table.specs)
    cells: dict[str, dict[str, Cell]] = {line.id: {} for line in table.lines}
    for (line_id, task), cell in table.cells.items():
        cells[line_id][task] = cell
    present = [line for line in table.lines if cells[line.id]]
    ranked = [line for line in present if line.ranks(include)]
    errors = table.errors(ranked)
    ranks = task_ranks(errors)
    base = _find(ranked, baseline)
    gains = relative_improvement(errors, errors[base]) if base is not None else np.full(len(ranked), np.nan)
    standings = [
        Standing(
            line=line,
            median_rank=float(median),
            mean_rank=float(mean),
            improvement=None if np.isnan(gain) else float(gain),
            cells=cells[line.id],
            ranks={task: float(row[column]) for column, task in enumerate(tasks) if not np.isnan(row[column])},
            profile=steps,
            partial=len(cells[line.id]) < len(tasks),
        )
        for line, median, mean, gain, row, steps in zip(
            ranked, median_rank(ranks), mean_rank(ranks), gains, ranks, profiles(errors), strict=True
        )
    ]
    standings.sort(key=lambda standing: (standing.median_rank, standing.mean_rank, standing.line.id))
    columns = {task: np.sort(errors[~np.isnan(errors[:, index]), index]) for index, task in enumerate(tasks)}
    return Board(
        table=table,
        standings=tuple(standings),
        unranked=tuple(_unranked(line, cells[line.id], columns) for line in present if not line.ranks(include)),
        baseline=None if base is None else ranked[base].id,
        included=tuple(mark for mark in MARKS if mark in include),
        tau_max=tau_max,
    )


def _find(lines: list[Line], baseline: str | None) -> int | None:
    """Index of the baseline: by id, else by method name, where a published line goes before one's own run."""
    wanted = baseline or BASELINE
    matches = [index for index, line in enumerate(lines) if line.id == wanted]
    matches += [index for index, line in enumerate(lines) if line.method.name == wanted and line.paper]
    matches += [index for index, line in enumerate(lines) if line.method.name == wanted]
    if not matches and baseline is not None:
        known = ", ".join(line.id for line in lines) or "none at all"
        raise UnknownNameError(f"no ranked method {baseline!r} to be the baseline. Ranked here: {known}")
    return matches[0] if matches else None


def _unranked(line: Line, cells: Mapping[str, Cell], columns: Mapping[str, np.ndarray]) -> Unranked:
    places = {}
    for task, cell in cells.items():
        below = int(np.searchsorted(columns[task], cell.error, side="left"))
        equal = int(np.searchsorted(columns[task], cell.error, side="right")) - below
        places[task] = (below + equal / 2 + 1, len(columns[task]) + 1)
    return Unranked(line, cells, places)
