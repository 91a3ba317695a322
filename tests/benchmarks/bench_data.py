"""Batches a second from the memory-mapped cache, against the NumPy array that it holds and against a DataLoader.

Run: python tests/benchmarks/bench_data.py [FOLDER], with a prepared CIFAR-100, or else on its synthetic twin.
The figures of one line come from one process in turn, so that ratios hold where absolute times do not.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import typer

from nas360.loaders import TASKS
from nas360.loaders.data import Batches, SplitRows, TaskData, load_task
from nas360.loaders.prepare import prepare

BATCH_SIZE = 256
SECONDS = 1.0
ROUNDS = 5


def rate(step: Callable[[], int]) -> float:
    """Rows a second of a step that tells how many rows it handled."""
    step()
    rows, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS:
        rows += step()
    return rows / elapsed


def compare(name: str, ours: Callable[[], int], other: Callable[[], int]) -> None:
    """Print the median ratio of several turns, and its range."""
    ratios = []
    for _ in range(ROUNDS):
        mine = rate(ours)
        ratios.append(mine / rate(other))
    low, middle, high = np.quantile(ratios, [0, 0.5, 1])
    typer.echo(f"{name:<66} {middle:8.2f}  ({low:.2f} to {high:.2f})")


def _data(arguments: list[str]) -> TaskData:
    if arguments:
        return load_task("cifar100", arguments[0])
    folder = Path(tempfile.mkdtemp())
    TASKS["cifar100"].write_synthetic(folder, 0)
    prepare(TASKS["cifar100"], folder, folder / "repo")
    return load_task("cifar100", folder / "repo")


def main() -> None:
    """Print the ratios."""
    import datasets
    import torch

    datasets.disable_progress_bars()
    data = _data(sys.argv[1:])
    rows, preprocessing = data.rows("train"), data.preprocessing("train")
    rng = np.random.default_rng(0)
    order = rng.permutation(len(rows))
    memory = {name: np.array(rows.column(name)) for name in data.loader.columns}
    starts = range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE)
    n = len(starts) * BATCH_SIZE

    def take(source: SplitRows) -> int:
        for start in starts:
            source.take(order[start : start + BATCH_SIZE])
        return n

    def index() -> int:
        for start in starts:
            for values in memory.values():
                values[order[start : start + BATCH_SIZE]]
        return n

    def batches(augment: bool) -> int:
        for _ in Batches(rows, preprocessing, BATCH_SIZE, order, np.random.default_rng(0) if augment else None):
            pass
        return len(order)

    plain = datasets.load_dataset(str(data.folder), split="train").with_format("torch")
    sample = torch.utils.data.RandomSampler(plain, generator=torch.Generator().manual_seed(0))
    loader = torch.utils.data.DataLoader(plain, batch_size=BATCH_SIZE, sampler=sample)

    def torch_loader() -> int:
        iterator = iter(loader)
        return sum(len(next(iterator)["y"]) for _ in range(min(2, len(loader))))

    typer.echo(f"rows a second, ratio: median of {ROUNDS} turns (range); {len(rows):,} rows, batch {BATCH_SIZE}")
    compare("memory-mapped rows / the same arrays in memory (at least 0.8)", lambda: take(rows), index)
    compare("TaskData model inputs / DataLoader over with_format('torch')", lambda: batches(False), torch_loader)
    compare("TaskData augmented inputs / DataLoader over with_format('torch')", lambda: batches(True), torch_loader)


if __name__ == "__main__":
    main()
