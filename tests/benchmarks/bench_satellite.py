"""Satellite: time and memory of preparing as many series as the official files hold.

Run: python tests/benchmarks/bench_satellite.py [SERIES], by default 1,000,000; 60 s and 2 GB are allowed.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import typer
from pyarrow import csv

from nas360.loaders import TASKS
from nas360.loaders.prepare import prepare
from nas360.loaders.satellite import ARRAYS, CSV, open_raw
from nas360.loaders.satellite_files import CLASSES, STEPS
from nas360.loaders.workers import available_cores


def write(folder: Path, n: int, as_arrays: bool) -> None:
    """Random series in one of the two official forms, nine tenths of them for training."""
    rng = np.random.default_rng(0)
    for name, count in zip(ARRAYS if as_arrays else CSV, (n * 9 // 10, n - n * 9 // 10), strict=True):
        values = np.round(rng.uniform(-0.2, 0.9, (count, STEPS)), 5)
        labels = rng.integers(1, CLASSES + 1, count)
        if as_arrays:
            held: Any = {"data": values, "label": labels}
            np.save(folder / name, held, allow_pickle=True)
        else:
            columns = {"label": labels} | {str(step): values[:, step] for step in range(STEPS)}
            csv.write_csv(pa.table(columns), folder / name, csv.WriteOptions(include_header=False))


def preparation(raw: Path, out: Path, workers: int) -> tuple[float, float, float, str]:
    """Seconds of checking alone and of all, peak memory of this process in GB, and the content's hash."""
    start = time.perf_counter()
    open_raw(raw)
    opened = time.perf_counter() - start
    start = time.perf_counter()
    manifest = prepare(TASKS["satellite"], raw, out, workers=workers)
    taken = time.perf_counter() - start
    return opened, taken, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9, manifest.content_sha256


def main() -> None:
    """Prepare both forms of the same series."""
    n = int(sys.argv[1]) if sys.argv[1:] else 1_000_000
    workers = available_cores()
    hashes = set()
    for as_arrays in (False, True):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(folder, n, as_arrays)
            size = sum(path.stat().st_size for path in folder.iterdir())
            # in a process of its own, so that its memory is that of the preparation
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                opened, taken, memory, content = pool.submit(preparation, folder, folder / "repo", workers).result()
            hashes.add(content)
            form = "arrays" if as_arrays else "lines"
            typer.echo(
                f"{n:,} series as {form} ({size / 1e6:,.0f} MB) by {workers}: {taken:.1f} s "
                f"({opened:.1f} s of it to check), {n / taken:,.0f} series/s, {memory:.2f} GB in the main process"
            )
    typer.echo(f"contents: {len(hashes)} (one is right)")


if __name__ == "__main__":
    main()
