"""A folder of runs as a page: reads, orders, and puts the parts together."""

from __future__ import annotations

from pathlib import Path

from nas360.baselines.method import METHODS
from nas360.bench.report import reproduce
from nas360.bench.report.architectures import architectures
from nas360.bench.report.blocks import Note, Page, Section
from nas360.bench.report.costs import costs
from nas360.bench.report.curves import curves
from nas360.bench.report.drawing import can_draw
from nas360.bench.report.failures import failures
from nas360.bench.report.looks import looks
from nas360.bench.report.overview import overview
from nas360.bench.report.ranking import ranking
from nas360.bench.report.runs import Runs, read_runs
from nas360.bench.report.words import counted, in_order

PANEL = "paper"


def make_report(folder: Path, panel: str = PANEL) -> Page:
    """A report of all runs below a folder.

    Args:
        folder: of a benchmark, or any with runs.
        panel: published numbers to compare with; see `leaderboard.sources.PANELS`.

    Raises:
        RunError: there are no runs, or the folder cannot be read. A run that cannot be read is told in the report.
        UnknownNameError: no such panel.
    """
    runs = read_runs(folder)
    methods = in_order((run.method for run in runs.all if run.method), METHODS)
    known = looks(methods)
    board, profile = ranking(runs, panel, known)
    sections = (
        overview(runs, methods),
        board,
        profile,
        costs(runs, methods),
        curves(runs, methods, known),
        architectures(runs, methods),
        failures(runs),
        *reproduce.sections(runs, methods),
        _about(),
    )
    return Page(_title(folder), _lead(runs, len(methods)), tuple(part for part in sections if part.blocks))


def _title(folder: Path) -> str:
    return f"nas360 report: {folder.resolve().name or 'runs'}"


def _lead(runs: Runs, n_methods: int) -> str:
    n_tasks = len({run.task for run in runs.all if run.task})
    n, known = len(runs.all), len(runs.finished)
    results = "with a result each" if n == known else counted(known, "of them with a result", "of them with results")
    return (
        f"{counted(n, 'run')} of {counted(n_methods, 'method')} on {counted(n_tasks, 'task')} of "
        f"NAS-Bench-360, {results}."
    )


def _about() -> Section:
    from nas360 import __version__

    told = [Note(f"Made by nas360 {__version__} from the files of the runs.")]
    if not can_draw():
        told.append(Note("Without pictures of curves: they need pip install 'nas360[plots]'.", warning=True))
    return Section("about", "About this report", tuple(told))
