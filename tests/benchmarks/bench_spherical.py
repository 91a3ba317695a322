"""Spherical: images projected a second by one core, where the time goes, and a whole preparation with its memory.

Run: python tests/benchmarks/bench_spherical.py [IMAGES], by default 24,000; at least 300 images a second on two cores
and at most 2 GB are owed.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import typer

from nas360.loaders import TASKS
from nas360.loaders.prepare import prepare
from nas360.loaders.spherical import BANDWIDTH, PIECE, rotations
from nas360.loaders.stereographic import image_positions, project
from nas360.loaders.synthetic.cifar100 import write_synthetic
from nas360.loaders.workers import available_cores

ROUNDS = 7


def seconds(work: Callable[[], object]) -> float:
    """Shortest of several times."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def one_core() -> None:
    """A piece of images, and the parts of the work."""
    images = np.random.default_rng(0).integers(0, 256, (PIECE, 3, 32, 32)).astype(np.uint8)
    names = np.array([f"train-{number:05d}" for number in range(PIECE)])
    turns = rotations(names)
    drawing = seconds(lambda: rotations(names))
    positions = seconds(lambda: image_positions(turns, BANDWIDTH, 32, 32))
    whole = seconds(lambda: project(images, turns, BANDWIDTH))
    all_of_it = drawing + whole
    typer.echo(f"one core, {PIECE} images at a time: {PIECE / all_of_it:,.0f} images/s")
    for name, part in (
        ("drawing of rotations", drawing),
        ("positions in the image", positions),
        ("reading, stretching, writing", whole - positions),
    ):
        typer.echo(f"  {name:<30}{100 * part / all_of_it:5.0f} %")


def preparation(raw: Path, out: Path, workers: int) -> tuple[float, float]:
    """Seconds, and peak memory of this process in GB."""
    start = time.perf_counter()
    prepare(TASKS["spherical"], raw, out, workers=workers)
    return time.perf_counter() - start, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


def whole(n: int) -> None:
    """The preparation of a synthetic raw set by one worker a core."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_synthetic(folder, 0, n * 5 // 6, n - n * 5 // 6)
        workers = available_cores()
        # in a process of its own, so that its memory is that of the preparation
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            taken, memory = pool.submit(preparation, folder, folder / "repo", workers).result()
        typer.echo(f"preparation of {n:,} by {workers}: {n / taken:,.0f} images/s, {memory:.2f} GB in the main process")


if __name__ == "__main__":
    one_core()
    whole(int(sys.argv[1]) if sys.argv[1:] else 24_000)
