"""The performance profile as a picture. Needs the extra `plots`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas360.errors import UserError
from nas360.leaderboard.board import Board, Standing
from nas360.leaderboard.output.plot_style import short, text_width
from nas360.pictures import COLOURS, GREY, MARKERS, STYLES, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_LINES = 12
"""More cannot be told apart; the best by area are drawn."""

MAX_WIDTH = 4.0
"""How far beyond the area's end the picture goes, as a factor, to show jumps there."""

WIDTH = 7.6
"""Of the picture, in inches, unless names are long."""

AXES = 6.2
"""Inches that the axes take with their numbers, and the lines of the legend without its names."""

TICKS = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, *(digit * 10.0**power for power in range(9) for digit in (8, 10, 20, 40)))


def plot_profile(board: Board, path: Path, look: Callable[[Standing], Mapping[str, Any]] | None = None) -> int:
    """Draw the profiles of a board's ranked lines.

    Args:
        board: the leaderboard.
        path: ends in .png, .svg or .pdf. Equal boards give equal files.
        look: from a line to its colour, dashes and width as matplotlib takes them, for a picture among others; by
            default lines are told apart by their order.

    Returns:
        How many lines were left out because more than `MAX_LINES` rank.

    Raises:
        UserError: no line ranks, or the suffix is not a picture's.
        MissingExtraError: matplotlib is not installed.
    """
    ordered = sorted(board.standings, key=lambda standing: -standing.profile.area(board.tau_max))
    shown = ordered[:MAX_LINES]
    longest = max((ratio for line in shown for ratio in line.profile.ratios if math.isfinite(ratio)), default=1.0)
    # one method far behind would press the others into a corner
    end = 1.05 * max(board.tau_max, min(longest, MAX_WIDTH * board.tau_max))
    # the blank in front keeps a name that begins with an underscore, which hides it from the legend
    labels = [
        f" {short(standing.line.name)}{'*' if standing.partial else ''}  {standing.profile.area(board.tau_max):.2f}"
        for standing in shown
    ]
    with picture(path, WIDTH, 3.9) as figure:
        if not shown:
            raise UserError(f"{path}: nothing to draw, for no method is ranked; see --include and --panel")
        figure.set_size_inches(max(WIDTH, AXES + max(text_width(label, 9) for label in labels)), 3.9)
        axes = figure.add_subplot()
        for index, (standing, label) in enumerate(zip(shown, labels, strict=True)):
            tau, rho = standing.profile.tau, standing.profile.rho
            axes.step(
                [*tau, end],
                [*rho, rho[-1]],
                where="post",
                **(_look(index) if look is None else look(standing)),
                markevery=list(range(len(tau))),  # not at the edge of the picture
                markersize=4.5,
                markerfacecolor="white",
                label=label,
                solid_joinstyle="miter",
                zorder=3 + (len(shown) - index) / 100,
            )
        _dress(axes, board, shown, end)
    return len(ordered) - len(shown)


def _look(index: int) -> dict[str, Any]:
    return {
        "color": COLOURS[index % len(COLOURS)],
        # shifted from round to round, so that no pair of colour and style comes twice
        "linestyle": STYLES[(index + index // len(COLOURS)) % len(STYLES)],
        "linewidth": 1.8 if index < len(STYLES) else 1.2,
        # dashes come twice: the second time with a sign at each jump, for print without colour
        "marker": MARKERS[index - len(STYLES)] if index >= len(STYLES) else None,
    }


def _dress(axes: Axes, board: Board, shown: list[Standing], end: float) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_xlim(1, end)
    axes.set_ylim(0, 1.03)
    ticks = [1.0]
    for tick in sorted(TICKS):
        if tick <= end and math.log(tick / ticks[-1]) > 0.06 * math.log(end):  # else the numbers would overlap
            ticks.append(tick)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    n_tasks = len(board.table.specs)
    axes.set_xlabel("τ: error at most τ times the best error of the methods ranked (log scale)")
    axes.set_ylabel(f"share of {n_tasks} task{'s' if n_tasks > 1 else ''}")
    axes.grid(color="0.9", linewidth=0.6)
    axes.axvline(board.tau_max, color="0.45", linewidth=0.8, linestyle=(0, (2, 2)), zorder=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        title=f"area up to τ = {board.tau_max:g}",
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        handlelength=3.6,
    )
    if any(standing.partial for standing in shown):
        axes.annotate(
            "* did not run every task",
            xy=(1.03, 0.0),
            xycoords="axes fraction",
            fontsize=8,
            color=GREY,
            annotation_clip=False,
        )
