"""How a search and a training went, as a picture. Needs the extra `plots`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas360.baselines.history import History
from nas360.baselines.reports import Entry, best_candidate
from nas360.errors import RunError
from nas360.pictures import COLOURS, GREY, STYLES, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

Labels = Callable[[str], tuple[tuple[str, ...], tuple[str, ...]]]
"""From the name of a mixture to the labels of its rows and columns; see `spaces.base.Labelled`."""

MAX_PANELS, MAX_LINES = 56, 12
"""Panels of one kind of mixture, and lines in a panel; more cannot be read."""

MAX_NAME = 24
"""Longer names are cut in the picture, in characters."""

ACROSS, PANEL, CURVES, LEGEND, TITLE, TICKS = 7, 1.15, 2.3, 0.15, 0.3, 0.22
"""Panels side by side; heights in inches of a row of them, of the curves, of a legend's line, of a title, of ticks."""

WIDTH = 10.0


@dataclass(frozen=True)
class Panels:
    """The mixtures that belong to the same rows: all those of a kind of cell, say.

    Attributes:
        name: of the kind.
        rows: label of every panel.
        columns: label of every line.
        single: whether a line is all that its tensor has for a row, as the weight of an edge is.
        values: (times, rows, columns) weights, in [0, 1].
        epochs: (times,) of the values.
    """

    name: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    single: tuple[bool, ...]
    values: NDArray[np.float64]
    epochs: NDArray[np.float64]


def plot_search(history: History, path: Path, title: str, labels: Labels | None = None) -> str:
    """Draw a run: its errors and losses, the entropy of the mixture, and every weight of it.

    Args:
        history: of the run.
        path: ends in .png, .svg or .pdf. Equal histories give equal files.
        title: stands above.
        labels: of the mixtures; numbers by default.

    Returns:
        What is left out because there is too much of it, one sentence; empty when all is shown.

    Raises:
        RunError: nothing has been reported yet.
        UserError: the suffix is not a picture's.
        MissingExtraError: matplotlib is not installed.
    """
    entries = () if history.search is None else history.search.entries
    curves = _curves(history)
    groups, left_out = _shown(panels(entries, labels))
    # laid out by hand, which is as good and takes a tenth of the time
    with picture(path, WIDTH, 1.0, layout=None) as figure:
        if not curves and not groups:
            raise RunError(f"{path}: nothing to draw, for {history.folder} has no report yet; wait for the first")
        heights = [TITLE + (CURVES if curves else 0), *map(_height, groups)]
        figure.set_size_inches(WIDTH, sum(heights))
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, hspace=0, squeeze=False)[:, 0]
        parts[0].text(0.5, 1 - 0.15 / heights[0], f" {_text(title)}", ha="center", va="center", fontweight="bold")
        if curves:
            _draw_curves(parts[0], heights[0], curves)
        for part, height, group in zip(parts[1:], heights[1:], groups, strict=True):
            _draw_panels(part, height, group)
    return left_out


def _draw_curves(part: SubFigure, height: float, curves: Sequence[Callable[[Axes], None]]) -> None:
    room = {"left": 0.045, "right": 0.99, "top": 1 - (TITLE + 0.25) / height, "bottom": 0.75 / height, "wspace": 0.25}
    for axes, draw in zip(np.atleast_1d(part.subplots(1, len(curves), gridspec_kw=room)), curves, strict=True):
        draw(axes)
        axes.set_axisbelow(True)
        axes.grid(color="0.9", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)


def _height(group: Panels) -> float:
    """Of a group's part of the picture, in inches."""
    return TITLE + PANEL * -(-len(group.rows) // ACROSS) + _legend(group)[1] + TICKS


def _legend(group: Panels) -> tuple[int, float]:
    """Labels in a line of the legend, as many as surely fit; and its height in inches."""
    longest = max(len(_text(label)) for label in group.columns)
    across = max(1, int(WIDTH / (0.5 + 0.058 * longest)))
    return across, LEGEND * -(-len(group.columns) // across) + 0.05


def panels(entries: Sequence[Entry], labels: Labels | None = None) -> list[Panels]:
    """The mixtures of a search's reports, by what their rows belong to.

    Tensors of one kind (`normal.alpha` and `normal.beta`) with equally many rows share panels. Rows are all dimensions
    but the last; a tensor of one dimension is a column.

    Args:
        entries: reports; those without a mixture are passed over.
        labels: of rows and columns; numbers by default.

    Raises:
        RunError: the shapes change from report to report, or are not those that the labels are for.
    """
    told = [entry for entry in entries if entry.mixture]
    if not told:
        return []
    epochs = np.array([_epoch(entry) for entry in told])
    groups: dict[tuple[str, int], list[tuple[str, NDArray[np.float64]]]] = {}
    for name, first in told[0].mixture.items():
        for entry in told:
            if name not in entry.mixture or entry.mixture[name].shape != first.shape:
                raise RunError(
                    f"the mixture {name!r} at step {entry.step} is not of the shape {first.shape} it began with"
                )
        columns = first.shape[-1] if first.ndim > 1 else 1
        values = np.stack([entry.mixture[name].reshape(-1, columns) for entry in told])
        groups.setdefault((name.rpartition(".")[0] or name, values.shape[1]), []).append((name, values))
    found = []
    for (kind, _), members in groups.items():
        named = [(_labels(name, values, labels), values) for name, values in members]
        columns_of = tuple(label for (_, columns), _ in named for label in columns)
        single = tuple(len(columns) == 1 for (_, columns), _ in named for _ in columns)
        joined = np.concatenate([values for _, values in named], axis=2)
        found.append(Panels(kind, named[0][0][0], columns_of, single, joined, epochs))
    return found


def _labels(name: str, values: NDArray[np.float64], labels: Labels | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    shape = values.shape[1:]
    if labels is None:
        last = name.rpartition(".")[2]
        columns = tuple(f"{last} {number}" for number in range(shape[1])) if shape[1] > 1 else (last,)
        return tuple(map(str, range(shape[0]))), columns
    rows, columns = labels(name)
    if (len(rows), len(columns)) != shape:
        raise RunError(f"the mixture {name!r} has {shape[0]} rows of {shape[1]}, not {len(rows)} of {len(columns)}")
    return rows, columns


def _shown(groups: list[Panels]) -> tuple[list[Panels], str]:
    """What fits: the first rows, and the columns that weigh most somewhere."""
    shown, left_out = [], []
    for group in groups:
        rows = range(len(group.rows))[:MAX_PANELS]
        most = np.argsort(-group.values[:, rows].max(axis=(0, 1), initial=0.0), kind="stable")[:MAX_LINES]
        columns = sorted(int(column) for column in most)
        if len(rows) < len(group.rows):
            left_out.append(f"{len(group.rows) - len(rows)} rows of {group.name}")
        if len(columns) < len(group.columns):
            left_out.append(f"{len(group.columns) - len(columns)} columns of {group.name}, those of the least weights")
        names = tuple(group.columns[column] for column in columns)
        single = tuple(group.single[column] for column in columns)
        values = group.values[:, rows][:, :, columns]
        shown.append(Panels(group.name, group.rows[:MAX_PANELS], names, single, values, group.epochs))
    return shown, f"left out of the picture: {'; '.join(left_out)}" if left_out else ""


def _draw_panels(part: SubFigure, height: float, group: Panels) -> None:
    part.text(0.01, 1 - 0.12 / height, f" {_text(group.name)}: weights over epochs", va="center", fontsize=9)
    rows, (across, legend) = -(-len(group.rows) // ACROSS), _legend(group)
    room = {"left": 0.03, "right": 0.995, "top": 1 - (TITLE + 0.1) / height, "bottom": (legend + TICKS) / height}
    grid = part.subplots(
        rows, ACROSS, sharex=True, sharey=True, squeeze=False, gridspec_kw={**room, "wspace": 0.1, "hspace": 0.3}
    )
    style = [dict(_SINGLE) if single else _style(column) for column, single in enumerate(group.single)]
    style = [{**one, **_points(len(group.epochs))} for one in style]
    top = max(0.05, 1.05 * float(group.values.max(initial=0.0)))
    for number, axes in enumerate(grid.flat):
        if number >= len(group.rows):
            axes.set_axis_off()
            continue
        for column, label in enumerate(group.columns):
            axes.plot(group.epochs, group.values[:, number, column], label=f" {_text(label)}", **style[column])
        axes.set_title(_text(group.rows[number]), fontsize=7, pad=2)
        axes.set_ylim(0, top)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=6, length=2, pad=1.5)
        # more would run into those of the panel beside it
        axes.locator_params(axis="x", nbins=3)
        axes.grid(color="0.92", linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        # below the last panel of a column there may be none
        axes.xaxis.set_tick_params(labelbottom=number + ACROSS >= len(group.rows))
    handles, names = grid.flat[0].get_legend_handles_labels()
    part.legend(
        handles,
        names,
        loc="lower center",
        bbox_to_anchor=(0.5, 0),
        borderaxespad=0,
        borderpad=0.2,
        ncols=min(across, len(names)),
        frameon=False,
        fontsize=7,
        handlelength=2.6,
        columnspacing=1.2,
        labelspacing=0.3,
    )


_SINGLE = {"color": "0.6", "linestyle": "-", "linewidth": 2.2, "zorder": 1.9}
"""Below the others, wide and pale: it is another kind of weight."""


def _style(column: int) -> dict[str, Any]:
    return {
        "color": COLOURS[column % len(COLOURS)],
        # shifted from round to round, so that no pair of colour and style comes twice
        "linestyle": STYLES[(column + column // len(COLOURS)) % len(STYLES)],
        "linewidth": 1.1,
    }


def _points(n: int) -> dict[str, Any]:
    """Where there are few points they are marked: a line through one is not to be seen."""
    return {"marker": "o", "markersize": 3} if n < 3 else {}


def _curves(history: History) -> list[Callable[[Axes], None]]:
    """What the top row shows: as much of it as was reported."""
    found: list[Callable[[Axes], None]] = []
    entries = () if history.search is None else history.search.entries
    training = () if history.training is None else history.training.entries
    if any(entry.candidate is not None for entry in entries):
        found.append(lambda axes: _draw_candidates(axes, history))
    else:
        found += _line("search: validation error", entries, lambda entry: entry.validation, best=True)
    found += _line("search: loss", entries, lambda entry: entry.loss)
    if any(entry.entropy for entry in entries):
        found.append(lambda axes: _draw_entropy(axes, entries))
    found += _line("training: loss", training, lambda entry: entry.loss)
    return found + _line("training: validation", training, lambda entry: entry.validation)


def _line(
    title: str, entries: Sequence[Entry], value: Callable[[Entry], float | None], *, best: bool = False
) -> list[Callable[[Axes], None]]:
    points = [(_epoch(entry), told) for entry in entries if (told := value(entry)) is not None]
    if not points:
        return []

    def draw(axes: Axes) -> None:
        x, y = zip(*points, strict=True)
        axes.plot(x, y, color=COLOURS[0], linewidth=1.4, **_points(len(points)))
        if best:
            least = int(np.argmin(y))
            _mark(axes, x[least], y[least])
            title_here = f"{title}, best {y[least]:.4g}"
        else:
            title_here = title
        _dress(axes, title_here, "epoch")

    return [draw]


def _draw_candidates(axes: Axes, history: History) -> None:
    search = history.search
    entries = () if search is None else search.entries
    tried = [entry for entry in entries if entry.candidate is not None]
    good = [(entry.candidate or 0, entry.validation) for entry in tried if entry.validation is not None]
    failed = [entry.candidate or 0 for entry in tried if entry.validation is None]
    if good:
        x, y = zip(*good, strict=True)
        axes.plot(x, y, "o", color=COLOURS[0], markersize=4, zorder=3)
        axes.step(x, np.minimum.accumulate(np.array(y)), where="post", color=GREY, linewidth=1, linestyle=STYLES[1])
    for number in failed:
        axes.plot([number], [0.97], "x", color=COLOURS[1], markersize=5, transform=axes.get_xaxis_transform())
    best = None if search is None else best_candidate(search)
    title = "validation error of candidates"
    if best is not None:
        _mark(axes, float(best.candidate or 0), best.validation or 0.0)
        title += f", best {best.validation:.4g}"
    _dress(axes, title, f"candidate{', x: could not be trained' if failed else ''}")


def _draw_entropy(axes: Axes, entries: Sequence[Entry]) -> None:
    told = [entry for entry in entries if entry.entropy]
    names = list(dict.fromkeys(name for entry in told for name in entry.entropy))
    for index, name in enumerate(names[:MAX_LINES]):
        points = [(_epoch(entry), entry.entropy[name]) for entry in told if name in entry.entropy]
        axes.plot(*zip(*points, strict=True), label=f" {_text(name)}", **_style(index), **_points(len(points)))
    _dress(axes, "search: entropy, share of the greatest", "epoch")
    # of a search that has hardly moved, no noise is blown up
    axes.set_ylim(min(0.9, 0.95 * min(value for entry in told for value in entry.entropy.values())), 1.02)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2, frameon=False, fontsize=6.5, handlelength=2.4)


def _mark(axes: Axes, x: float, y: float) -> None:
    axes.plot([x], [y], "o", markersize=10, markerfacecolor="none", markeredgecolor=COLOURS[1], zorder=4, clip_on=False)


def _dress(axes: Axes, title: str, below: str) -> None:
    axes.set_title(title, fontsize=8)
    axes.set_xlabel(below, fontsize=7.5, labelpad=2)
    axes.tick_params(labelsize=7)
    axes.ticklabel_format(axis="y", useOffset=False)


def _epoch(entry: Entry) -> float:
    """Where a report stands; a search that knows no epochs counts steps."""
    return float(entry.step) if entry.epoch is None or math.isnan(entry.epoch) else entry.epoch


def _text(text: str) -> str:
    """A text of strangers on one line, not too long."""
    shown = "".join(sign if sign.isprintable() else "?" for sign in text)
    return shown if len(shown) <= 4 * MAX_NAME else f"{shown[: 4 * MAX_NAME - 1]}…"
