"""How long a leaderboard of 10,000 results takes; run with `python tests/benchmarks/bench_leaderboard.py`.

The promise is at most 2 seconds for the plain table, from files on disk to text. Two shapes of the same 10,000 results:
one file a method with ten tasks and five seeds each, as a leaderboard's repository holds them; and one file a run, as a
folder of runs does. Every step is printed, with the total as a ratio to the promise.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console

from nas360.leaderboard.board import rank
from nas360.leaderboard.render import to_rich
from nas360.leaderboard.sources import load_files
from nas360.leaderboard.table import build_table
from nas360.loaders import TASKS
from nas360.results import digest

T = TypeVar("T")

PROMISE_SECONDS = 2.0
METHODS, SEEDS = 200, 5
TEMPLATE = Path(__file__).resolve().parents[1] / "fixtures" / "results" / "v1.0-full.json"


def write_results(folder: Path, one_file_a_run: bool) -> int:
    """Write 10,000 rows; returns their number."""
    rng = np.random.default_rng(0)
    template: dict[str, Any] = json.loads(TEMPLATE.read_text(encoding="utf-8"))
    count = 0
    for method in range(METHODS):
        rows = []
        for spec in (task.spec for task in TASKS.values()):
            for seed in range(SEEDS):
                row = dict(
                    template["results"][1], task=spec.id, seed=seed, score=round(float(rng.uniform(0.2, 0.9)), 6)
                )
                row["metric"] = {"id": spec.metric, "lower_is_better": spec.direction == "lower", "unit": spec.unit}
                row["metric"] |= {"min": spec.bounds[0], "max": spec.bounds[1]}
                row["n_evaluated"] = spec.splits["test"]
                row["dataset"] = dict(row["dataset"], n=spec.splits["test"], repo=spec.repo)
                rows.append(row)
        count += len(rows)
        for number, part in enumerate([[row] for row in rows] if one_file_a_run else [rows]):
            content = dict(template, method=dict(template["method"], name=f"m{method}"), results=part)
            content["digest"] = digest(content)
            path = folder / f"m{method}" / str(number) / "result.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return count


def timed(name: str, function: Callable[[], T]) -> tuple[T, float]:
    """A function's value and its seconds, which are printed."""
    start, busy = time.perf_counter(), time.process_time()
    value = function()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    sys.stdout.write(f"  {name:<28}{seconds:7.3f} s  ({busy:.3f} s of a processor)\n")
    return value, seconds


def bench(one_file_a_run: bool) -> None:
    """Time one shape."""
    specs = {name: task.spec for name, task in TASKS.items()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = write_results(folder, one_file_a_run)
        shape = "one file a run" if one_file_a_run else "one file a method"
        sys.stdout.write(f"{count:,} results, {shape}\n")
        files, load = timed("find, read, check", lambda: load_files([folder]))
        table, build = timed("table", lambda: build_table(files, specs))
        board, ranks = timed("ranks, profiles", lambda: rank(table))
        _, shown = timed("text", lambda: Console(file=io.StringIO(), width=100).print(*to_rich(board)))
        total = load + build + ranks + shown
        sys.stdout.write(
            f"  {'total':<28}{total:7.3f} s, {total / PROMISE_SECONDS:.2f} of the promised {PROMISE_SECONDS:g} s\n"
        )


if __name__ == "__main__":
    bench(one_file_a_run=False)
    bench(one_file_a_run=True)
