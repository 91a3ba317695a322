"""The critical-difference diagram: mean ranks on an axis, and a bar over those closer than the Nemenyi distance.

From Demšar, 2006, "Statistical comparisons of classifiers over multiple data sets" (JMLR 7), section 3.2.2.
Only methods with a value on every task take part, because the test's ranks need complete rows; the picture names those
left out. Ranks are among the methods of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas360.errors import UserError
from nas360.leaderboard.board import Board
from nas360.leaderboard.output.plot_style import listing, short, text_width
from nas360.leaderboard.stats.statistics import Statistics
from nas360.pictures import GREY, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_LINES = 30
"""More fill no page; the best by mean rank are drawn, with the distance of all."""

ROW = 0.21
"""Height of a name, in inches; a bar takes `BAR`."""

BAR = 0.13
WIDTH = 7.6
"""Of the picture, in inches, unless names are so long that the axis would be shorter than `AXIS`."""

AXIS = 4.0
SIZE = 8.5
"""Of names, in points."""

LABEL = 0.25
"""Inches between the numbers of the axis."""

TOLERANCE = 1e-9
"""Mean ranks are sums of halves over tasks; two that differ by less are equal."""


def plot_critical_difference(board: Board, statistics: Statistics, path: Path) -> int:
    """Draw mean ranks and which of them are not told apart.

    Args:
        board: the leaderboard.
        statistics: of the same board.
        path: ends in .png, .svg or .pdf. Equal boards give equal files.

    Returns:
        How many complete lines were left out because there are more than `MAX_LINES`. The picture names those that did
        not run every task.

    Raises:
        UserError: fewer than three complete lines or two tasks, for which there is no such test; or the suffix is not
            a picture's.
        MissingExtraError: matplotlib is not installed.
    """
    with picture(path, WIDTH, 1.0, layout=None) as figure:
        friedman, distance = statistics.friedman, statistics.nemenyi_distance
        if friedman is None or distance is None:
            raise UserError(
                f"{path}: no critical difference to draw: too few tasks, or methods that ran all of them. "
                "Narrow --tasks to those that more methods ran"
            )
        ordered = sorted(friedman.mean_rank.items(), key=lambda pair: (pair[1], pair[0]))[:MAX_LINES]
        names = {standing.line.id: standing.line.name for standing in board.standings}
        bars = cliques([rank for _, rank in ordered], distance)
        absent = [standing.line.name for standing in board.standings if standing.line.id not in friedman.lines]
        facts = (
            f"Mean ranks over {friedman.n_tasks} tasks of the {friedman.n_methods} methods that ran all of them "
            f"(1 is best).\nFriedman: χ² = {friedman.statistic:.2f}, p {_p(friedman.p)}. "
            f"Critical difference (Nemenyi, alpha 0.05): {distance:.2f}; methods joined by a bar are not told apart."
        )
        if len(ordered) < friedman.n_methods:
            facts += f"\nShown: the best {len(ordered)}."
        if absent:
            facts += "\n" + listing("Left out, without a value on every task: ", absent, 115)
        rows = -(-len(ordered) // 2)
        below = 0.16 + BAR * len(bars) + ROW * rows
        above, words = 0.75, 0.12 + 0.17 * (facts.count("\n") + 1)
        methods = [(short(names[line]), rank) for line, rank in ordered]
        left, right = _room(methods[:rows]), _room(methods[rows:])
        width = max(WIDTH, left + AXIS + right)
        figure.set_size_inches(width, above + below + words)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        # in inches, with the axis of ranks at y = 0
        axes.set_xlim(0, width)
        axes.set_ylim(-below - words, above)
        _draw(axes, methods, bars, distance, (left, width - right))
        axes.text(0.15, -below - 0.06, facts, fontsize=7.5, color=GREY, va="top", linespacing=1.35)
    return friedman.n_methods - len(ordered)


def cliques(ranks: Sequence[float], distance: float) -> list[tuple[int, int]]:
    """Longest runs of mean ranks that lie within the critical difference.

    Args:
        ranks: ascending.
        distance: mean ranks that differ by no more are not told apart.

    Returns:
        (first, last) indices of each run of two or more that no other run contains.

    Example:
        >>> cliques([1.0, 2.0, 2.5, 4.0], 1.5)
        [(0, 2), (2, 3)]
    """
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(index for index, other in enumerate(ranks) if other - rank <= distance + TOLERANCE)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def _draw(
    axes: Axes,
    methods: list[tuple[str, float]],
    bars: list[tuple[int, int]],
    distance: float,
    ends: tuple[float, float],
) -> None:
    count = len(methods)
    rows = -(-count // 2)
    left, right = ends
    # all ranks there are, unless some of the lines are left out
    low, high = 1, max(count, math.ceil(methods[-1][1]))
    scale = (right - left) / (high - low)

    def place(rank: float) -> float:
        return left + (rank - low) * scale

    axes.plot([place(low), place(high)], [0, 0], color="black", linewidth=1.0, solid_capstyle="projecting")
    step = next((step for step in (1, 2, 5, 10) if step * scale > LABEL), 20)
    for tick in range(low, high + 1):
        labelled = tick == low or (tick % step == 0 and (tick - low) * scale > LABEL)
        axes.plot([place(tick)] * 2, [0, 0.09 if labelled else 0.05], color="black", linewidth=1.0)
        if labelled:
            axes.text(place(tick), 0.13, str(tick), ha="center", va="bottom")
    _scale_bar(axes, min(distance, high - low) * scale, distance, left, distance > high - low)
    for number, (first, last) in enumerate(bars):
        height = -0.12 - BAR * number
        span = [place(methods[first][1]) - 0.03, place(methods[last][1]) + 0.03]
        axes.plot(span, [height] * 2, color="black", linewidth=3.2, solid_capstyle="butt", zorder=3)
    top = -0.16 - BAR * len(bars)
    for index, (name, rank) in enumerate(methods):
        on_left = index < rows
        row = index if on_left else count - 1 - index
        height = top - ROW * (row + 0.5)
        edge = left - 0.08 if on_left else right + 0.08
        axes.plot([place(rank)] * 2 + [edge], [0, height, height], color="0.3", linewidth=0.8)
        text = f"{name}  {rank:.2f}" if on_left else f"{rank:.2f}  {name}"
        away = -0.05 if on_left else 0.05
        axes.text(edge + away, height, text, ha="right" if on_left else "left", va="center", fontsize=SIZE)


def _room(methods: list[tuple[str, float]]) -> float:
    """Inches that the names on one side take, with what parts them from the axis and the edge."""
    return 0.5 + max((text_width(f"{name}  {rank:.2f}", SIZE) for name, rank in methods), default=0.0)


def _scale_bar(axes: Axes, length: float, distance: float, start: float, cut: bool) -> None:
    height = 0.5
    axes.plot([start, start + length], [height] * 2, color="black", linewidth=1.4)
    for end in (start, start + length)[: 1 if cut else 2]:
        axes.plot([end] * 2, [height - 0.05, height + 0.05], color="black", linewidth=1.4)
    more = " (longer than the axis)" if cut else ""
    axes.text(start + length / 2, height + 0.06, f"CD = {distance:.2f}{more}", ha="center", va="bottom", fontsize=8)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
