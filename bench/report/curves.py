"""How the searches and trainings of a report went: one picture a task, one panel a quantity, one colour a method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from nas360.baselines.history import History
from nas360.baselines.reports import Entry, Log
from nas360.bench.report.blocks import Block, Note, Picture, Section, Table
from nas360.bench.report.drawing import can_draw, svg_of
from nas360.bench.report.looks import Looks
from nas360.bench.report.runs import Run, Runs
from nas360.bench.report.words import ABSENT, in_order, task_name
from nas360.loaders import TASKS
from nas360.pictures import picture

MAX_POINTS = 300
"""Of a curve; of more, evenly spaced ones are drawn, and the last."""

GREATEST = 1e12
"""Values beyond cannot be drawn beside others."""

WIDTH, HEIGHT = 10.0, 2.5
"""Of a picture, in inches; its legend is below."""


@dataclass(frozen=True)
class Curve:
    """One quantity of one run.

    Attributes:
        method: name.
        seed: of the run.
        points: (epoch, value), rising in the first; a search that counts no epochs counts steps.
    """

    method: str
    seed: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Quantity:
    """What a panel shows.

    Attributes:
        title: of the panel.
        log: the one of a run that tells it.
        value: of a report.
        running: whether the least so far is shown, as of candidates, each of which is another network.
    """

    title: str
    log: Callable[[History], Log | None]
    value: Callable[[Entry], float | None]
    running: bool = False


def _search(history: History) -> Log | None:
    return history.search


def _training(history: History) -> Log | None:
    return history.training


def _candidate(entry: Entry) -> float | None:
    return None if entry.candidate is None else entry.validation


def _look(entry: Entry) -> float | None:
    return entry.validation if entry.candidate is None else None


QUANTITIES = (
    Quantity("search: validation error", _search, _look),
    Quantity("search: best candidate's error", _search, _candidate, running=True),
    Quantity("search: loss", _search, lambda entry: entry.loss),
    Quantity("training: loss", _training, lambda entry: entry.loss),
    Quantity("training: validation", _training, lambda entry: entry.validation),
)


def curves(runs: Runs, methods: Sequence[str], known: Looks) -> Section:
    """The learning curves, task by task.

    Args:
        runs: of the report.
        methods: in the order of the report.
        known: how methods are drawn.
    """
    blocks: list[Block] = []
    for task in in_order((run.task for run in runs.all if run.history is not None), TASKS):
        own = [run for method in methods for run in runs.all if (run.method, run.task) == (method, task)]
        panels = [(quantity, found) for quantity in QUANTITIES if (found := list(_curves(own, quantity)))]
        if not panels:
            continue
        name = task_name(task)
        table = _table(panels)
        if can_draw():
            svg = svg_of(lambda path, panels=panels: _draw(path, panels, methods, known))  # type: ignore[misc]  # mypy infers no default
            blocks.append(Picture(svg, name, (table,)))
        else:
            blocks += [Note(name), table]
    if blocks:
        blocks.append(
            Note(
                "Across: passes over the data, and steps for candidates. A method has one colour in all "
                "pictures, and a curve for each seed. Searches are scored on the validation split by the task's error; "
                "losses of different recipes do not compare."
            )
        )
    return Section("curves", "Learning curves", tuple(blocks))


def _curves(runs: Sequence[Run], quantity: Quantity) -> Iterator[Curve]:
    for run in runs:
        log = None if run.history is None else quantity.log(run.history)
        told = [
            # not every search of candidates counts passes, but all of them steps
            (float(entry.step) if entry.epoch is None or quantity.running else entry.epoch, value)
            for entry in ([] if log is None else log.entries)
            if (value := quantity.value(entry)) is not None and abs(value) < GREATEST
        ]
        if not told:
            continue
        if quantity.running:
            told = list(zip((x for x, _ in told), accumulate((y for _, y in told), min), strict=True))
        if all(abs(x) < GREATEST for x, _ in told):
            yield Curve(run.method, run.seed, tuple(told))


def _table(panels: Sequence[tuple[Quantity, Sequence[Curve]]]) -> Table:
    rows = [
        (
            quantity.title,
            curve.method,
            curve.seed or ABSENT,
            str(len(curve.points)),
            *(f"{value:.4g}" for value in (curve.points[0][1], min(y for _, y in curve.points), curve.points[-1][1])),
        )
        for quantity, found in panels
        for curve in found
    ]
    header = ("Quantity", "Method", "Seed", "Reports", "First", "Least", "Last")
    return Table(header, tuple(rows), texts=frozenset({0, 1}))


def thinned(points: Sequence[tuple[float, float]], most: int = MAX_POINTS) -> list[tuple[float, float]]:
    """As many points as can be seen, the first and the last among them.

    Example:
        >>> [x for x, _ in thinned([(x, 0.0) for x in range(10)], most=4)]
        [0, 3, 6, 9]
    """
    n = len(points)
    if n <= most:
        return list(points)
    return [points[round(place * (n - 1) / (most - 1))] for place in range(most)]


def _draw(path: Path, panels: Sequence[tuple[Quantity, Sequence[Curve]]], methods: Sequence[str], known: Looks) -> None:
    shown = in_order((curve.method for _, found in panels for curve in found), methods)
    lines = -(-len(shown) // 5)
    height = HEIGHT + 0.2 * lines
    # laid out by hand, which takes a tenth of the time
    with picture(path, WIDTH, height, layout=None) as figure:
        from matplotlib.lines import Line2D

        n = len(panels)
        grid = {"left": 0.05, "right": 0.99, "top": 1 - 0.3 / height, "bottom": (0.5 + 0.2 * lines) / height}
        # as wide as of four, so that panels of different tasks compare
        grid["right"] = grid["left"] + (grid["right"] - grid["left"]) * max(n, 2) / max(n, 4)
        axes_of = figure.subplots(1, n, squeeze=False, gridspec_kw={**grid, "wspace": 0.26})[0]
        for axes, (quantity, found) in zip(axes_of, panels, strict=True):
            for curve in found:
                points = thinned(curve.points)
                axes.plot(
                    *zip(*points, strict=True),
                    **known[curve.method],
                    linewidth=1.3,
                    alpha=0.85,
                    drawstyle="steps-post" if quantity.running else "default",
                    # a line through one point is not to be seen
                    **({"marker": "o", "markersize": 3} if len(points) < 3 else {}),
                )
            axes.set_title(quantity.title, fontsize=8.5)
            axes.tick_params(labelsize=7)
            axes.ticklabel_format(axis="y", useOffset=False)
            axes.locator_params(axis="x", nbins=5)
            axes.set_axisbelow(True)
            axes.grid(color="0.92", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        handles = [Line2D([], [], linewidth=1.8, **known[method]) for method in shown]
        figure.legend(
            handles,
            [f" {_one_line(method)}" for method in shown],
            loc="lower left",
            bbox_to_anchor=(0.03, 0),
            ncols=5,
            frameon=False,
            fontsize=8,
            handlelength=2.2,
        )


def _one_line(text: str) -> str:
    shown = "".join(sign if sign.isprintable() else "?" for sign in text)
    return shown if len(shown) <= 32 else f"{shown[:31]}…"
