"""The tables and footnotes of a leaderboard as text, which a terminal, Markdown and LaTeX show in their own ways."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nas360.leaderboard.board import Board, Standing, Unranked
from nas360.leaderboard.profiles import TAU_MAX_SHORT
from nas360.leaderboard.stats.statistics import Statistics
from nas360.leaderboard.table import Cell
from nas360.task import TaskSpec

TASKS_A_TABLE = 5
"""Task columns beside a method's name where the width is not known, as in the paper."""

ABSENT = "-"


@dataclass(frozen=True)
class TextTable:
    """A table as text.

    Attributes:
        title: one line.
        header: of the columns; the first is left-aligned, the others are numbers.
        rows: cells; foreign text, not yet escaped for any form.
        expendable: indices of columns that may be left out where the width does not suffice, the first to go first.
        best: (row, column) of cells that are the best of their column.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    expendable: tuple[int, ...] = ()
    best: frozenset[tuple[int, int]] = frozenset()

    def without(self, columns: Sequence[int]) -> TextTable:
        """The same table without these columns."""
        kept = [index for index in range(len(self.header)) if index not in columns]
        return TextTable(
            self.title,
            [self.header[index] for index in kept],
            [[row[index] for index in kept] for row in self.rows],
            tuple(kept.index(index) for index in self.expendable if index in kept),
            frozenset((row, kept.index(column)) for row, column in self.best if column in kept),
        )


@dataclass(frozen=True)
class View:
    """What of a board is shown.

    Attributes:
        statistics: of the board; None shows neither intervals nor what needs them.
        per_task: also the score on every task.
        stability: also how median ranks move when a task or a method is left out.
        pairs: also every pair of methods.
    """

    statistics: Statistics | None = None
    per_task: bool = False
    stability: bool = False
    pairs: bool = False


PLAIN = View()

Fits = Callable[[TextTable], bool]
"""Whether a table is narrow enough."""


def area_ends(board: Board) -> tuple[float, ...]:
    """Where the areas of a board end: a strict end and the board's own, because the order can depend on it."""
    return tuple(sorted({min(TAU_MAX_SHORT, board.tau_max), board.tau_max}))


def ranked_tables(board: Board, view: View, fits: Fits | None = None) -> list[TextTable]:
    """The main table and the scores.

    Args:
        board: the leaderboard.
        view: what is shown.
        fits: scores are spread over as few tables as all fit; None takes `TASKS_A_TABLE` tasks a table.
    """
    found = []
    specs = board.table.specs
    if board.standings:
        found.append(main_table(board, view.statistics))
    if 1 < len(specs) <= TASKS_A_TABLE or (view.per_task and len(specs) > 1):
        found += score_tables(board, fits)
    return found


def main_table(board: Board, statistics: Statistics | None) -> TextTable:
    """Ranks, improvement and areas of the ranked lines."""
    one = len(board.table.specs) == 1
    columns = _one_task(board) if one else _many_tasks(board)
    columns[2:2] = _intervals(board, statistics)
    for index, end in enumerate(area_ends(board)):
        columns.insert(
            len(columns) - (0 if one else 1),
            (f"Area\nτ≤{end:g}", [f"{standing.profile.area(end):.3f}" for standing in board.standings], 1 + 3 * index),
        )
    expendable = sorted((order, index) for index, (_, _, order) in enumerate(columns) if order)
    title = f"Leaderboard on {next(iter(board.table.specs))}" if one else f"Leaderboard over {_n_tasks(board)}"
    return TextTable(
        title,
        [name for name, _, _ in columns],
        [list(row) for row in zip(*(cells for _, cells, _ in columns), strict=True)],
        tuple(index for _, index in expendable),
    )


_Column = tuple[str, list[str], int]  # header, cells, when it may be left out: 0 never, else the lowest goes first


def _n_tasks(board: Board) -> str:
    return f"{len(board.table.specs)} task{'' if len(board.table.specs) == 1 else 's'}"


def _one_task(board: Board) -> list[_Column]:
    ((task, spec),) = board.table.specs.items()
    lines = board.standings
    return [
        ("Method", [standing.line.name for standing in lines], 0),
        ("Rank", [f"{standing.ranks[task]:g}" for standing in lines], 0),
        (
            f"{spec.metric}\n{spec.unit} {arrow(spec)}",
            [score_text(standing.cells[task], spec) for standing in lines],
            0,
        ),
        ("Seeds", [str(standing.cells[task].n_seeds) for standing in lines], 0),
        *_gains(board, {}),
    ]


def _many_tasks(board: Board) -> list[_Column]:
    lines = board.standings
    stars = {standing.line.id: "*" for standing in lines if standing.partial}
    return [
        ("Method", [standing.line.name for standing in lines], 0),
        (
            "Median\nrank",
            [rank_text(standing.median_rank) + stars.get(standing.line.id, "") for standing in lines],
            0,
        ),
        (
            "Mean\nrank",
            [f"{standing.mean_rank:.2f}{stars.get(standing.line.id, '')}" for standing in lines],
            2,
        ),
        *_gains(board, stars),
        ("Tasks", [f"on {len(standing.cells)}" if standing.partial else "all" for standing in lines], 3),
    ]


def _intervals(board: Board, statistics: Statistics | None) -> list[_Column]:
    if statistics is None:
        return []
    ids = [standing.line.id for standing in board.standings]
    columns: list[_Column] = []
    if statistics.rank_interval:
        columns.append(("95 %\ninterval", [_interval(statistics.rank_interval.get(line)) for line in ids], 0))
    if statistics.tie_group:
        columns.append(("Tie\ngroup", [statistics.tie_group.get(line, ABSENT) for line in ids], 0))
    return columns


def _interval(ends: tuple[float, float] | None) -> str:
    return ABSENT if ends is None else range_text(*ends)


def _gains(board: Board, stars: Mapping[str, str]) -> list[_Column]:
    if not board.baseline:
        return []
    cells = [
        percent_text(standing.improvement)
        + (stars.get(standing.line.id, "") if standing.improvement is not None else "")
        for standing in board.standings
    ]
    return [(f"Better than\n{board.baseline}", cells, 5)]


def score_tables(board: Board, fits: Fits | None) -> list[TextTable]:
    """The score of every line on every task, the best of the ranked ones marked."""
    entries: list[Standing | Unranked] = [*board.standings, *board.unranked]
    best = {
        task: min((s.ranks[task] for s in board.standings if task in s.ranks), default=0) for task in board.table.specs
    }

    def make(specs: list[TaskSpec], title: str) -> TextTable:
        return TextTable(
            title,
            ["Method", *(f"{spec.name} {arrow(spec)}" for spec in specs)],
            [[entry.line.name, *(score_text(entry.cells.get(spec.id), spec) for spec in specs)] for entry in entries],
            best=frozenset(
                (row, column)
                for row, standing in enumerate(board.standings)
                for column, spec in enumerate(specs, start=1)
                if standing.ranks.get(spec.id) == best[spec.id] and math.isfinite(standing.cells[spec.id].error)
            ),
        )

    return spread(list(board.table.specs.values()), make, "Scores: mean ± spread over seeds", "Scores, continued", fits)


def spread(
    specs: list[TaskSpec],
    make: Callable[[list[TaskSpec], str], TextTable],
    title: str,
    continued: str,
    fits: Fits | None,
) -> list[TextTable]:
    """Columns of tasks in as few tables as all fit, of about as many tasks each."""
    count = len(specs)

    def split(parts: int) -> list[TextTable]:
        return [
            make(specs[part * count // parts : (part + 1) * count // parts], continued if part else title)
            for part in range(parts)
        ]

    if fits is None:
        return split(-(-count // TASKS_A_TABLE))
    for parts in range(1, count):
        found = split(parts)
        if all(map(fits, found)):
            return found
    return split(count)


def unranked_tables(board: Board) -> list[TextTable]:
    """Lines without a rank, with the place that they would have on each task."""
    if not board.unranked:
        return []
    rows = []
    for entry in board.unranked:
        for task, cell in in_order(board, entry.cells):
            place, count = entry.places[task]
            score = score_text(cell, board.table.specs[task])
            rows.append([entry.line.name, task, score, str(cell.n_seeds), f"{place:g} of {count}"])
    return [TextTable("Not ranked, for the conditions differ", ["Method", "Task", "Score", "Seeds", "Would be"], rows)]


def in_order(board: Board, cells: Mapping[str, Cell]) -> list[tuple[str, Cell]]:
    """Cells in the benchmark's order of tasks."""
    return [(task, cells[task]) for task in board.table.specs if task in cells]


def arrow(spec: TaskSpec) -> str:
    """Which way a metric is better."""
    return "↓" if spec.direction == "lower" else "↑"


def rank_text(rank: float) -> str:
    """A rank with one digit after the point, or two where it needs them."""
    return f"{rank:.1f}" if abs(10 * rank - round(10 * rank)) < 1e-9 else f"{rank:.2f}"


def range_text(low: float, high: float) -> str:
    """From one rank to another."""
    return f"{rank_text(low)}\N{EN DASH}{rank_text(high)}"


def score_text(cell: Cell | None, spec: TaskSpec) -> str:
    """A score and its spread at the task's published precision."""
    if cell is None:
        return ABSENT
    if cell.score is None:
        return f"failed ({cell.n_failed}/{cell.n_seeds})"
    spread = ""
    if cell.std is not None:
        spread = f"±{spread_text(cell.std, spec)}"
    return f"{cell.score:.{spec.decimals}f}{spread}"


def spread_text(std: float, spec: TaskSpec) -> str:
    """A spread over seeds; one that would round to nothing is shown by its first digit."""
    digits = f"{std:.{spec.decimals}f}"
    return digits if float(digits) or not std else format(std, ".1g")


def percent_text(improvement: float | None) -> str:
    """An improvement in percent."""
    if improvement is None:
        return ABSENT
    if math.isinf(improvement):
        return "-∞"
    text = f"{100 * improvement:.1f}%"
    return "0.0%" if text == "-0.0%" else text
