"""How long the validation of 10,000 result files takes; run with `python tests/benchmarks/bench_validate.py`.

The promise is at most 20 seconds on two cores. One file holds one run, as a folder of runs does; every hundredth has a
fault. The time of one process and of two is printed, with the ratio to the promise.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nas360.leaderboard.validation.places import check_places
from nas360.loaders import TASKS
from nas360.results import digest

FILES = 10_000
PROMISE_SECONDS = 20.0
TEMPLATE = Path(__file__).resolve().parents[1] / "fixtures" / "results" / "v1.0-full.json"


def write_results(folder: Path) -> None:
    """Write the files: 100 methods, ten tasks, ten seeds."""
    template: dict[str, Any] = json.loads(TEMPLATE.read_text(encoding="utf-8"))
    specs = [task.spec for task in TASKS.values()]
    for number in range(FILES):
        method, (task, seed) = number // 100, divmod(number % 100, 10)
        spec = specs[task]
        row = dict(template["results"][1], task=spec.id, seed=seed, score=0.6)
        row["metric"] = {"id": spec.metric, "lower_is_better": spec.direction == "lower", "unit": spec.unit}
        row["metric"] |= {"min": spec.bounds[0], "max": spec.bounds[1]}
        row["n_evaluated"] = spec.splits["test"] - (number % 100 == 99)
        row["dataset"] = dict(row["dataset"], n=spec.splits["test"], repo=spec.repo)
        content = dict(template, method=dict(template["method"], name=f"m{method}"), results=[row], run_id=f"r{number}")
        content["digest"] = digest(content)
        path = folder / f"m{method}" / str(number) / "result.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def bench() -> None:
    """Time both ways."""
    specs = {name: task.spec for name, task in TASKS.items()}
    with tempfile.TemporaryDirectory() as name:
        write_results(Path(name))
        for workers in (1, 2):
            start = time.perf_counter()
            report = check_places([Path(name)], specs, workers)
            seconds = time.perf_counter() - start
            assert len(report.files) == FILES
            assert report.n_errors == FILES // 100
            sys.stdout.write(
                f"{FILES:,} files, {workers} process{'es' if workers > 1 else ''}: {seconds:.2f} s, "
                f"{seconds / PROMISE_SECONDS:.2f} of the promised {PROMISE_SECONDS:g} s\n"
            )


if __name__ == "__main__":
    bench()
