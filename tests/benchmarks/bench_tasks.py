"""All tasks: how fast they are prepared and read, and how large they are, against their raw files.

Run: python tests/benchmarks/bench_tasks.py [FOLDER], with raw files as FOLDER/<task>/, or else on the synthetic twins.
Prints a Markdown table. The last column is a ratio of one process: rows of the cache in random order, against indexing
the same arrays in memory; at least 0.8 is wanted. Times are of the machine at hand.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import typer

from nas360.loaders import TASKS
from nas360.loaders.base import Array
from nas360.loaders.data import SplitRows, load_task
from nas360.loaders.prepare import prepare
from nas360.loaders.repository.markdown import table
from nas360.loaders.workers import available_cores

BATCH_SIZE = 64
SECONDS = 0.3
ROUNDS = 5
FOLDERS = {"darcy_flow": "darcy", "spherical": "cifar100"}
"""Where the raw files of a task are called otherwise."""


def size(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def rate(step: Callable[[], int]) -> float:
    """Rows a second of a step that tells how many rows it handled."""
    step()
    rows, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS:
        rows += step()
    return rows / elapsed


def in_memory(column: Array) -> Array:
    """A copy that is no view of a file."""
    copy = np.array(column)
    if copy.dtype == object:
        for row, value in enumerate(column):
            copy[row] = np.array(value)
    return copy


def ratio(rows: SplitRows, names: tuple[str, ...]) -> float:
    """Rows of the cache against the same arrays in memory; both are read, not only pointed at."""
    order = np.random.default_rng(0).permutation(len(rows))
    memory = {name: in_memory(rows.column(name)) for name in names}

    def touch(values: Array) -> None:
        if values.dtype == object:
            for value in values:
                value.copy()

    def cached() -> int:
        for start in range(0, len(order), BATCH_SIZE):
            for values in rows.take(order[start : start + BATCH_SIZE]).values():
                touch(values)
        return len(order)

    def indexed() -> int:
        for start in range(0, len(order), BATCH_SIZE):
            for values in memory.values():
                touch(values[order[start : start + BATCH_SIZE]])
        return len(order)

    return float(np.median([rate(cached) / rate(indexed) for _ in range(ROUNDS)]))


def measure(name: str, raw: Path, work: Path, workers: int) -> tuple[str, ...]:
    """One line of the table."""
    task, repo = TASKS[name], work / name
    start = time.perf_counter()
    manifest = prepare(task, raw, repo, workers=workers)
    prepared = time.perf_counter() - start
    n = sum(split.rows for split in manifest.all_splits())
    start = time.perf_counter()
    rows = load_task(name, repo).rows("train")
    decoded = time.perf_counter() - start
    start = time.perf_counter()
    rows = load_task(name, repo).rows("train")
    opened = time.perf_counter() - start
    found = ratio(rows, tuple(task.loader.columns))
    megabytes = f"{size(raw) / 1e6:,.1f}", f"{size(repo) / 1e6:,.1f}"
    return name, f"{n:,}", f"{n / prepared:,.0f}", *megabytes, f"{decoded:.2f}", f"{1000 * opened:.0f}", f"{found:.2f}"


def main() -> None:
    """Print the table."""
    given = Path(sys.argv[1]) if sys.argv[1:] else None
    workers = available_cores()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ["NAS360_CACHE"] = str(work / "cache")
        for name in TASKS:
            raw = work / "raw" / name if given is None else given / FOLDERS.get(name, name)
            if given is None:
                TASKS[name].write_synthetic(raw, 0)
            lines.append(measure(name, raw, work, workers))
            typer.echo(f"{name} done", err=True)
    typer.echo(f"{'synthetic twins' if given is None else 'raw files at hand'}, {workers} processes\n")
    typer.echo(
        table(
            (
                "task",
                "rows",
                "rows/s prepared",
                "raw MB",
                "dataset MB",
                "first load, s",
                "later load, ms",
                "cache / memory",
            ),
            lines,
        )
    )


if __name__ == "__main__":
    main()
