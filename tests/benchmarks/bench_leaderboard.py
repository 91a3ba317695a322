"""How long a leaderboard of 10,000 results takes; run with `python tests/benchmarks/bench_leaderboard.py`.

The promise is at most 2 seconds for the plain table, from files on disk to text, and at most 5 seconds with all
statistics and 1,000 draws of the bootstrap. Two shapes of the same 10,000 results: one file a method with ten tasks and
ten seeds each, as a leaderboard's repository holds them; and one file a run, as a folder of runs does. Every step is
printed, with the totals as ratios to the promises. Last, where the statistics' time goes: with every line on every
task, and with a fifth of the cells missing, which is the hard case, since lines then differ in the tasks they share.
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

from nas360.leaderboard.board import Board, rank
from nas360.leaderboard.output.render import to_rich
from nas360.leaderboard.sources import load_files
from nas360.leaderboard.stats.friedman import critical_distance, friedman_statistic
from nas360.leaderboard.stats.pairwise import holm, log_ratios, wilcoxon, win_rate, wins
from nas360.leaderboard.stats.stability import with_clone_of_each, without_each_method, without_each_task
from nas360.leaderboard.stats.statistics import analyse
from nas360.leaderboard.table import Cell, Line, Table, build_table
from nas360.loaders import TASKS
from nas360.results import digest, load_result

T = TypeVar("T")

TABLE_SECONDS = 2.0
ALL_SECONDS = 5.0
METHODS, SEEDS = 100, 10
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
        told("plain table", total, TABLE_SECONDS)
        statistics, analysed = timed("statistics, 1,000 draws", lambda: analyse(board))
        told("with all statistics", total + analysed, ALL_SECONDS)
        sys.stdout.write(f"  ({len(statistics.pairs):,} pairs)\n")


def told(name: str, seconds: float, promise: float) -> None:
    """Print a total beside its promise."""
    sys.stdout.write(f"  {name:<28}{seconds:7.3f} s, {seconds / promise:.2f} of the promised {promise:g} s\n")


def synthetic_board(missing: float) -> Board:
    """Methods that differ a little, on all tasks but a share of `missing`, without files."""
    rng = np.random.default_rng(0)
    specs = {name: task.spec for name, task in TASKS.items()}
    method = load_result(TEMPLATE).method
    lines = tuple(Line(f"m{index}", f"m{index}", method, False, ()) for index in range(METHODS))
    cells = {}
    for index, line in enumerate(lines):
        for spec in specs.values():
            seeds = rng.uniform(0.4, 0.7, SEEDS) + 0.002 * index
            if rng.random() >= missing:
                error = round(float(seeds.mean()), spec.decimals)
                cells[line.id, spec.id] = Cell(error, 0.5, 0.1, SEEDS, seeds=tuple(seeds.tolist()))
    return rank(Table(specs, lines, cells))


def where_the_time_goes(missing: float) -> None:
    """Time each part of the statistics alone."""
    board = synthetic_board(missing)
    sys.stdout.write(f"statistics of {METHODS} lines, {missing:.0%} of the cells missing\n")
    errors = board.table.errors([standing.line for standing in board.standings])
    one, other = np.triu_indices(len(errors), 1)
    timed("Friedman, Nemenyi", lambda: (friedman_statistic(np.nan_to_num(errors)), critical_distance(METHODS, 10)))
    timed("wins, win rates", lambda: (wins(errors), win_rate(errors)))
    timed("Wilcoxon, Holm", lambda: holm(wilcoxon(log_ratios(errors[one], errors[other]))))
    timed("without a task, a method", lambda: (without_each_task(errors), without_each_method(errors)))
    timed("clones", lambda: with_clone_of_each(errors))
    timed("all, one draw", lambda: analyse(board, draws=1))
    timed("all, 1,000 draws", lambda: analyse(board))


if __name__ == "__main__":
    bench(one_file_a_run=False)
    bench(one_file_a_run=True)
    where_the_time_goes(missing=0.0)
    where_the_time_goes(missing=0.2)
