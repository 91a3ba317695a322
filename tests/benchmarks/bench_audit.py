"""Duplicates among 1,000,000 series of 46 values: seconds beside a plain SHA-256 and a search by brute force; memory.

Run: python tests/benchmarks/bench_audit.py [ROWS]. All is in this process, on arrays in memory.
"""

from __future__ import annotations

import hashlib
import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import typer

from nas360.loaders.base import Column
from nas360.loaders.repository.exact_duplicates import digests, repeats_across
from nas360.loaders.repository.near_duplicates import (
    AS_IT_IS,
    Inputs,
    Settings,
    find_near_duplicates,
    sample_rows,
    unit,
)

STEPS = 46
BRUTE = 50
PLANTED = 100

T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What `work` gives, and the seconds it took."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def megabytes() -> float:
    """The largest memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the figures."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    n_test = n // 10
    rng = np.random.default_rng(0)
    # smooth series, as vegetation over a year is: they resemble each other more than noise does
    steps = np.arange(STEPS) / STEPS * 2 * np.pi
    waves = np.stack([np.sin(steps), np.cos(steps), np.sin(2 * steps), np.cos(2 * steps)]).astype(np.float32)
    x = rng.standard_normal((n, 4), dtype=np.float32) @ waves
    for part in np.array_split(x, 100):
        part += 0.3 * rng.standard_normal(part.shape, dtype=np.float32)
    train, test = x[n_test:], x[:n_test]
    test[:PLANTED] = train[:PLANTED] + rng.normal(scale=0.03, size=(PLANTED, STEPS))
    test[PLANTED : 2 * PLANTED] = train[:PLANTED]
    made = megabytes()

    _, plain = timed(lambda: hashlib.sha256(x.data).hexdigest())
    (left, right), hashing = timed(lambda: (digests({"x": test}, len(test)), digests({"x": train}, len(train))))
    labels = np.zeros(n, dtype=np.uint64)
    exact, matching = timed(lambda: repeats_across(left, labels[:n_test], right, labels[n_test:]))
    typer.echo(f"{n:,} rows, {x.nbytes / 1e6:,.0f} MB")
    typer.echo(f"exact duplicates: {hashing + matching:.1f} s, {(hashing + matching) / plain:.1f} x a plain SHA-256")
    typer.echo(f"  found {len(exact.rows):,} of {PLANTED:,}")

    settings, columns = Settings(), {"x": Column("float32", (STEPS,))}
    one = Inputs({"x": test}, columns, np.arange(n_test), left, settings)
    other = Inputs({"x": train}, columns, np.arange(n - n_test), right, settings)
    _, sketching = timed(lambda: other.sketches)
    rows = np.union1d(np.arange(PLANTED), sample_rows(n_test, settings, "test"))
    pairs, search = timed(lambda: find_near_duplicates(one, rows, other, [AS_IT_IS], settings))
    found = {pair.query for pair in pairs}
    typer.echo(f"near duplicates of {len(rows):,} rows: {sketching:.1f} s for sketches, {search:.1f} s for the search")
    typer.echo(f"  found {len(found & set(range(PLANTED))):,} of {PLANTED:,} planted, {len(found):,} in all")

    def brute() -> set[int]:
        wanted = unit(test[:BRUTE].astype(np.float64))
        best = np.full(BRUTE, -1.0)
        for start in range(0, len(train), 8192):
            block = unit(train[start : start + 8192].astype(np.float64))
            products = wanted @ block.T
            products[(test[:BRUTE, None] == train[None, start : start + 8192]).all(axis=2)] = -1
            best = np.maximum(best, products.max(axis=1))
        return set(np.flatnonzero(best >= settings.threshold).tolist())

    expected, slow = timed(brute)
    ours, _ = timed(lambda: find_near_duplicates(one, np.arange(BRUTE), other, [AS_IT_IS], settings))
    same = {pair.query for pair in ours} == expected
    ratio = (slow / BRUTE) / (search / len(rows))
    typer.echo(f"brute force on {BRUTE} rows: {ratio:.0f} x the time of ours for each; same rows found: {same}")
    typer.echo(
        f"memory of the process at the most: {megabytes():,.0f} MB, {made:,.0f} MB when the arrays had been made"
    )


if __name__ == "__main__":
    main()
