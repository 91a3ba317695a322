"""Error against cost as a picture, with the front of lines that no other beats in both. Needs the extra `plots`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nas360.errors import UserError
from nas360.leaderboard.board import Board
from nas360.leaderboard.output.plot_style import listing, logarithmic_ticks, short
from nas360.leaderboard.stats.pareto import CostPoint
from nas360.leaderboard.stats.statistics import Statistics
from nas360.pictures import COLOURS, GREY, MARKERS, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = {"gpu_hours": "GPU-hours, mean over tasks", "parameters": "parameters, mean over tasks"}
MAX_LINES = 24
"""More cannot be told apart; those on a front are drawn first, then those of the least error."""

_Points = Mapping[str, Mapping[str, CostPoint]]
_Looks = Mapping[str, tuple[str, str, str]]  # line id → colour, marker, colour of the marker's edge


def plot_cost(board: Board, statistics: Statistics, path: Path) -> int:
    """Draw mean relative error against GPU-hours and against parameters.

    Hollow points are means over fewer tasks than the board has: they compare with no other and are on no front.

    Args:
        board: the leaderboard.
        statistics: of the same board.
        path: ends in .png, .svg or .pdf. Equal boards give equal files.

    Returns:
        How many lines were left out because more than `MAX_LINES` state a cost.

    Raises:
        UserError: no ranked line states what it cost, or the suffix is not a picture's.
        MissingExtraError: matplotlib is not installed.
    """
    points = {kind: _drawable(statistics.costs.get(kind, {})) for kind in KINDS}
    known = [
        standing.line for standing in board.standings if any(standing.line.id in found for found in points.values())
    ]
    on_front = {line for front in statistics.pareto.values() for line in front}
    least = {line.id: min(found[line.id].error for found in points.values() if line.id in found) for line in known}
    known.sort(key=lambda line: (line.id not in on_front, least[line.id], line.id))
    shown = known[:MAX_LINES]
    looks = {
        # markers come twice, the second time with an edge
        line.id: (colour, MARKERS[index % len(MARKERS)], colour if index < len(MARKERS) else "black")
        for index, line in enumerate(shown)
        for colour in [COLOURS[index % len(COLOURS)]]
    }
    notes = _notes(board, statistics, points, looks)
    kinds = [kind for kind in KINDS if any(line in looks for line in points[kind])]
    rows = -(-len(shown) // 2)
    below = 0.2 + 0.175 * rows + 0.16 * (notes.count("\n") + 1 if notes else 0)
    with picture(path, 7.6, 3.3 + below, layout=None) as figure:
        if not shown:
            raise UserError(
                f"{path}: no cost to draw: no ranked method states its GPU-hours or parameters (cost/gpu_hours and "
                "architecture/params of a result)"
            )
        left, gap = 0.65, 0.5
        width = (7.6 - left - 0.15 - gap * (len(kinds) - 1)) / len(kinds)
        height = 3.3 + below
        shared = None
        for index, kind in enumerate(kinds):
            box = ((left + index * (width + gap)) / 7.6, (below + 0.5) / height, width / 7.6, 2.7 / height)
            axes = figure.add_axes(box, sharey=shared)
            shared = shared or axes
            _draw(axes, points[kind], statistics.pareto.get(kind, ()), looks)
            axes.set_xlabel(KINDS[kind])
            if index == 0:
                axes.set_ylabel("error / best error, mean over tasks")
        _finish_heights(
            shared, [point.error for kind in kinds for line, point in points[kind].items() if line in looks]
        )
        handles = [
            figure.axes[0].plot(
                [], [], linestyle="none", marker=marker, color=colour, markeredgecolor=edge, markersize=6
            )[0]
            for colour, marker, edge in looks.values()
        ]
        figure.legend(
            handles,
            [f" {short(line.name)}" for line in shown],
            loc="upper left",
            bbox_to_anchor=(0.02, (below + 0.02) / height),
            ncols=2,
            frameon=False,
            fontsize=8,
            borderaxespad=0,
            handletextpad=0.2,
        )
        figure.text(0.03, 0.06 / height, notes, fontsize=7.5, color=GREY, va="bottom", linespacing=1.35)
    return len(known) - len(shown)


def _drawable(points: Mapping[str, CostPoint]) -> dict[str, CostPoint]:
    """Points with a place on logarithmic axes."""
    return {
        line: point
        for line, point in points.items()
        if math.isfinite(point.error) and point.error > 0 and math.isfinite(point.cost) and point.cost > 0
    }


def _draw(axes: Axes, points: Mapping[str, CostPoint], front: tuple[str, ...], looks: _Looks) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log")
    stairs = [points[line] for line in front if line in points]
    costs = [point.cost for line, point in points.items() if line in looks]
    low, high = min(costs) / 1.5, max(costs) * 1.5
    if stairs:
        # what a budget buys: the least error at most at this cost
        axes.step(
            [*(point.cost for point in stairs), high],
            [*(point.error for point in stairs), stairs[-1].error],
            where="post",
            color="0.55",
            linewidth=1.2,
            linestyle=(0, (4, 2)),
            zorder=2,
        )
    most = max((point.n_tasks for point in points.values()), default=0)
    for line, (colour, marker, edge) in looks.items():
        if line in points:
            point = points[line]
            face = colour if line in front or point.n_tasks == most else "white"
            axes.plot(
                [point.cost],
                [point.error],
                marker=marker,
                color=colour,
                markerfacecolor=face,
                markeredgecolor=edge,
                markersize=7,
                zorder=3,
            )
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(logarithmic_ticks(low, high)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: _count(tick)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _finish_heights(axes: Axes | None, errors: list[float]) -> None:
    """One scale of errors for all panels; logarithmic where errors differ by more than ten times."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    if axes is None or not errors:
        return
    if max(errors) > 10 * min(errors):
        axes.set_yscale("log")
        low, high = min(errors) / 1.2, max(errors) * 1.3
        axes.yaxis.set_major_locator(FixedLocator(logarithmic_ticks(low, high)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        margin = max(0.05 * (max(errors) - min(errors)), 0.02)
        low, high = min(errors) - margin, max(errors) + margin
    axes.set_ylim(low, high)


def _notes(board: Board, statistics: Statistics, points: _Points, looks: _Looks) -> str:
    notes = []
    names = {standing.line.id: standing.line.name for standing in board.standings}
    n_tasks = len(board.table.specs)
    if any(line in looks for front in statistics.pareto.values() for line in front):
        notes.append("Dashed: the front, which is the least error that a cost buys.")
    if any(point.n_tasks < n_tasks for found in points.values() for line, point in found.items() if line in looks):
        notes.append(f"Hollow: over fewer than {n_tasks} tasks; such means compare with no other.")
    absent = [names[line] for line in names if not any(line in found for found in points.values())]
    if absent:
        notes.append(listing("Without a stated cost: ", absent, 120))
    for kind, found in points.items():
        some = [names[line] for line in looks if line not in found]
        if some and found:
            notes.append(listing(f"Without {KINDS[kind].partition(',')[0]}: ", some, 120))
    return "\n".join(notes)


def _count(value: float) -> str:
    """A number with thousands and millions told by their letter."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{letter}"
    return f"{value:g}"
