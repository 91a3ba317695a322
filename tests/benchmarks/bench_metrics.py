"""Metrics against the plain NumPy they consist of, and against scikit-learn, at the sizes of the official test splits.

Run by hand: `python tests/benchmarks/bench_metrics.py`. A ratio below 1 is faster than the other side.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from nas360.metrics import METRICS


def seconds(function: Callable[[], Any], repeats: int = 3) -> float:
    """Best wall time of a few calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def line(name: str, ours: float, other: float, what: str) -> None:
    """One row of the report."""
    sys.stdout.write(f"{name:20} {ours * 1e3:9.1f} ms   {other * 1e3:9.1f} ms   {ours / other:6.2f} x  {what}\n")


def main() -> None:
    """Print the table."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 24, 100_000), rng.integers(0, 24, 100_000)
    ours = seconds(lambda: METRICS["zero_one_error"](a, b, 24))
    line("zero_one_error", ours, seconds(lambda: 100 * np.mean(a != b)), "mean of unequal")

    for name, shape, measure in (
        ("macro_map", (10_231, 200), average_precision_score),
        ("macro_auroc", (149_400, 36), roc_auc_score),
    ):
        scores, labels = rng.random(shape, dtype=np.float32), rng.random(shape) < 0.03
        ours = seconds(lambda: METRICS[name](scores, labels, shape[1]))  # noqa: B023  (called at once)
        line(name, ours, seconds(lambda: np.sort(np.ascontiguousarray(scores.T), axis=1)), "one sort of every label")  # noqa: B023
        line("", ours, seconds(lambda: measure(labels, scores, average="macro"), 1), "scikit-learn")  # noqa: B023

    p, t = rng.random((2, 100, 85, 85), dtype=np.float32)

    def plain_l2() -> Any:
        true = t.reshape(100, -1).astype(np.float64)
        return np.mean(np.linalg.norm(p.reshape(100, -1) - true, axis=1) / np.linalg.norm(true, axis=1))

    line("relative_l2", seconds(lambda: METRICS["relative_l2"](p, t)), seconds(plain_l2), "norm by norm")

    maps = [rng.uniform(3, 40, (size, size)) for size in rng.integers(50, 266, 150)]
    guesses = [one + 1 for one in maps]

    def plain_mae() -> Any:
        return [
            np.abs((g / 2 + g.T / 2) - m)[np.triu(m <= limit, k=k)].mean()
            for g, m in zip(guesses, maps, strict=True)
            for k, limit in ((24, 8), (12, 8), (24, 12), (12, 12))
        ]

    line("mae8", seconds(lambda: METRICS["mae8"](guesses, maps)), seconds(plain_mae), "four masked means a protein")

    scores = rng.random((420, 128, 128), dtype=np.float32)
    mask, ignore = rng.random(scores.shape) < 0.01, rng.random(scores.shape) < 0.01
    ours = seconds(lambda: METRICS["cosmic_fnr"](scores, mask, ignore=ignore))
    line("cosmic_fnr", ours, seconds(lambda: np.sort(scores[~ignore])), "one sort of the pixels")

    record = rng.integers(0, 853, 33_494)
    votes, true, groups = rng.integers(0, 4, len(record)), record % 4, record.astype(str)
    ours = seconds(lambda: METRICS["macro_f1_by_record"](votes, true, 4, groups=groups))
    line(
        "macro_f1_by_record", ours, seconds(lambda: np.unique(groups, return_index=True, return_inverse=True)), "unique"
    )


if __name__ == "__main__":
    main()
