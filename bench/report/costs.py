"""What the runs of a report cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nas360.bench.report.blocks import Note, Section, Table
from nas360.bench.report.runs import Run, Runs
from nas360.bench.report.words import ABSENT, amount, duration, in_order, mean, task_name, total
from nas360.loaders import TASKS
from nas360.results import SeedRow


def _gpu(hours: float | None) -> str:
    return ABSENT if hours is None else f"{hours:.3g}"


def _memory(mib: float | None) -> str:
    return ABSENT if mib is None else f"{mib:,.0f}"


_COLUMNS: tuple[tuple[str, Callable[[SeedRow], float | None], Callable[[float | None], str]], ...] = (
    ("Search", lambda row: row.cost.search_seconds, duration),
    ("Training", lambda row: row.cost.train_seconds, duration),
    ("GPU\nhours", lambda row: row.cost.gpu_hours, _gpu),
    ("Parameters", lambda row: None if row.architecture is None else row.architecture.params, amount),
    ("Multiply-\nadds", lambda row: None if row.architecture is None else row.architecture.macs, amount),
    ("Peak memory\nMiB", lambda row: row.cost.peak_mem_mb, _memory),
)


def costs(runs: Runs, methods: Sequence[str]) -> Section:
    """Means over the seeds of each method on each task, and sums of all runs of a method.

    Args:
        runs: of the report.
        methods: in the order of the report.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs.finished:
        groups.setdefault((run.task, run.method), []).append(run)
    tasks = in_order((task for task, _ in groups), TASKS)
    rows = [
        (task_name(task), method, str(len(group)), *_means(group))
        for task in tasks
        for method in methods
        if (group := groups.get((task, method)))
    ]
    if not rows:
        return Section("costs", "Costs", ())
    sums = []
    for method in methods:
        own = [run.row for run in runs.finished if run.method == method and run.row is not None]
        if own:
            search, train, gpu = (total(value(row) for row in own) for _, value, _ in _COLUMNS[:3])
            sums.append((method, str(len(own)), duration(search), duration(train), _gpu(gpu)))
    return Section(
        "costs",
        "Costs",
        (
            Table(
                ("Task", "Method", "Runs", *(name for name, _, _ in _COLUMNS)),
                tuple(rows),
                "Of one run: means over seeds",
                frozenset({0, 1}),
            ),
            Table(("Method", "Runs", "Search", "Training", "GPU\nhours"), tuple(sums), "Of all runs together"),
            Note(
                "Times are by the clock, on the machines listed below; multiply-adds are of one sample. Peak memory is "
                "that of the accelerator where one was used, else of the process."
            ),
        ),
    )


def _means(group: Sequence[Run]) -> list[str]:
    rows = [run.row for run in group if run.row is not None]
    return [text(mean(value(row) for row in rows)) for _, value, text in _COLUMNS]
