"""Generation of Darcy Flow: speed of the solver, of all processes together, and of reading.

Run it with `python tests/benchmarks/bench_darcy.py`; a number after it is how many samples to generate.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nas360.loaders.darcy_flow import GRID, DarcyPreprocessing, open_raw, read_field
from nas360.loaders.darcy_generate import generate
from nas360.loaders.darcy_pde import coefficient, solve


def show(name: str, value: float, unit: str, ratio: str = "") -> None:
    sys.stdout.write(f"{name:<42}{value:>10.2f} {unit:<12}{ratio}\n")


def solver() -> None:
    rng = np.random.default_rng(0)
    fields = [coefficient(GRID, rng) for _ in range(4)]
    solve(fields[0])
    start = time.perf_counter()
    solutions = [solve(field) for field in fields]
    seconds = (time.perf_counter() - start) / len(fields)
    show("one solve, one core", seconds, "s", f"{solutions[0].iterations} iterations")
    # the owed 1,100 samples in ten minutes on two cores
    show("speed against what is owed", 600 * 2 / 1100 / seconds, "x")


def generation(samples: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        test = max(1, samples // 11)
        start = time.perf_counter()
        generate(folder, samples - test, test, 0, lambda done, total: None)
        seconds = time.perf_counter() - start
        show("generation, all processes", samples / seconds, "samples/s", f"1,100 in {1100 * seconds / samples:.0f} s")
        size = sum(path.stat().st_size for path in folder.iterdir()) / samples
        show("on disk", size / 1e6, "MB a sample", f"{size / (2 * 4 * GRID**2):.2f} of the raw numbers")
        start = time.perf_counter()
        first = next(folder.glob("*smooth1.mat"))
        kept = read_field(first, "sol", samples - test)
        show("reading one variable", 1e3 * (time.perf_counter() - start) / len(kept), "ms a sample")
        rows = next(iter(open_raw(folder).splits["train"]()))
    rows = {"x": np.resize(rows["x"], (64, *kept.shape[1:])), "y": np.resize(rows["y"], (64, *kept.shape[1:]))}
    preprocessing = DarcyPreprocessing(rows["x"], rows["y"])
    copy = best(lambda: (rows["x"].copy(), rows["y"].copy()))
    batch = best(lambda: preprocessing(rows, None))
    show("a batch of 64 against copying its rows", copy / batch, "x")


def best(work: Callable[[], object]) -> float:
    """Shortest of several times, in seconds."""
    times = []
    for _ in range(20):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    solver()
    generation(int(sys.argv[1]) if len(sys.argv) > 1 else 66)
