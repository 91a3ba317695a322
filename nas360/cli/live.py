"""How a run is watched: on a terminal bars and the last report below them, elsewhere a line a report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from nas360.cli.output import errors, plain, progress_bars

if TYPE_CHECKING:
    from rich.progress import TaskID

    from nas360.baselines.watch import Report, Watcher

BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
"""From the least to the greatest value of a curve; the second where a terminal knows no others."""

LONG = ("architecture", "best")
"""What titles of a report's `shown` begin with that a log has once, after the last step; a terminal has them always."""

MOST_COLUMNS = 40
"""Of a curve, in characters."""


@contextmanager
def watching(console: Console = errors) -> Iterator[Watcher]:
    """Bars and the last report on a terminal, a line a report elsewhere.

    Args:
        console: by default standard error.
    """
    if not console.is_terminal or console.is_dumb_terminal:
        yield _Lines(console)
        return
    screen = _Screen(console)
    with Live(screen, console=console, refresh_per_second=8):
        yield screen


class _Lines:
    """A line a report, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def note(self, message: str) -> None:
        self._say(message)

    def step(self, done: int, total: int, stage: str) -> None:
        pass

    def report(self, report: Report) -> None:
        last = report.step >= report.steps
        parts = [f"{report.stage}: step {report.step}/{report.steps}", state(report)]
        parts += [f"{title} {text}" for title, text in report.shown.items() if not title.startswith(LONG)]
        left = report.seconds / max(1, report.step) * (report.steps - report.step)
        self._say(", ".join((*parts, f"{report.seconds:.0f} s", f"{left:.0f} s left")))
        for title, text in report.shown.items():
            if last and title.startswith(LONG):
                self._say(f"{report.stage}: {title} {text}")

    def _say(self, text: str) -> None:
        self._console.print(escape(text), highlight=False, soft_wrap=True)


class _Screen:
    """Bars that move with every step; below them the last report, and a curve of its validations so far.

    A stage that only serves another and reports nothing, as predictions that judge a search, loses its bar when a new
    stage begins. What the last report of a stage said stays above the bars when the next stage reports.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = progress_bars(console=console)
        self._tasks: dict[str, TaskID] = {}
        self._done: dict[str, int] = {}
        self._reporting: set[str] = set()
        self._report: Report | None = None
        self._validations: list[float] = []

    def note(self, message: str) -> None:
        self._console.print(escape(message), highlight=False, soft_wrap=True)

    def step(self, done: int, total: int, stage: str) -> None:
        if stage not in self._tasks:
            for other in [name for name in self._tasks if name not in self._reporting]:
                self._bars.remove_task(self._tasks.pop(other))
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        elif done < self._done.get(stage, 0):
            self._bars.reset(self._tasks[stage], total=total)
        self._done[stage] = done
        self._bars.update(self._tasks[stage], completed=done, total=total)

    def report(self, report: Report) -> None:
        before, self._report = self._report, report
        self._reporting.add(report.stage)
        if before is not None and before.stage != report.stage:
            self._console.print(self._told(before))
            self._validations = []
        if report.validation is not None:
            self._validations.append(report.validation)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._bars
        if self._report is not None:
            yield self._told(self._report)

    def _told(self, report: Report) -> Table:
        """A report as a table of titles and texts."""
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        table.add_row(plain(report.stage), Text(state(report)))
        for title, text in report.shown.items():
            table.add_row(Text(plain(title)), Text(plain(text)))
        if len(self._validations) > 1:
            curve = Text(draw_curve(self._validations, MOST_COLUMNS, ascii_only=self._console.options.ascii_only))
            table.add_row(_validation_name(report), curve.append("  " + _summary(self._validations, report)))
        return table


def state(report: Report) -> str:
    """Where a training or search is: epoch, loss, validation; what is unknown is left out."""
    parts = [f"epoch {report.epoch:.2f}"]
    if not math.isnan(report.loss):
        parts.append(f"loss {report.loss:.4f}")
    if report.validation is not None:
        parts.append(f"{_validation_name(report)} {report.validation:.4f}")
    return ", ".join(parts)


def _validation_name(report: Report) -> str:
    # a training reports the task's metric, of which more may be better
    return "validation error" if report.stage == "search" else "validation"


def _summary(values: Sequence[float], report: Report) -> str:
    finite = [value for value in values if math.isfinite(value)]
    best = f", best {min(finite):.4f}" if finite and report.stage == "search" else ""
    return f"first {values[0]:.4f}{best}, last {values[-1]:.4f}"


def draw_curve(values: Sequence[float], columns: int, *, ascii_only: bool = False) -> str:
    """A curve in one line of text, the least value lowest.

    Args:
        values: in order of time; what is not finite becomes `x`, and does not scale the others.
        columns: most characters; of more values, neighbours are averaged.
        ascii_only: use signs that every terminal knows.

    Example:
        >>> draw_curve([0.9, 0.5, 0.45, 0.1], 40)
        '█▅▄▁'
    """
    width = min(columns, len(values))
    bins = [values[len(values) * i // width : len(values) * (i + 1) // width] for i in range(width)]
    means = [_mean(part) for part in bins]
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    signs = []
    for mean in means:
        if not math.isfinite(mean):
            signs.append("x")
        else:
            # halves of the spread, so that it cannot overflow
            share = (mean / 2 - low / 2) / (high / 2 - low / 2) if high / 2 > low / 2 else 0.0
            signs.append(blocks[round(share * (len(blocks) - 1))])
    return "".join(signs)


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(value / len(finite) for value in finite) if finite else math.nan
