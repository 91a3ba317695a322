"""Whether the labels of two splits are distributed alike, beside what chance alone makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nas360.loaders.base import Array
from nas360.task import Dense, MultiLabel, Point, TaskSpec

DRAWS = 1000
"""Random partitions that the noise level of class frequencies is taken from."""

_DIGITS = 6

Counts = npt.NDArray[np.int64]


def summarise(y: Array, spec: TaskSpec, group: Array | None) -> dict[str, Any]:
    """What is kept of one split's labels.

    Args:
        y: labels of its rows: classes (n,); label lists (n,) of objects or label values (n, labels); maps.
        spec: the task.
        group: the group of each row (n,), of which all rows have one label; classes are then counted by group.

    Returns:
        `units`, and for classes and labels `counts` (k,), for maps `means` (units,): the mean of what is
        known of each.
    """
    n = spec.output.channels
    if isinstance(spec.output, Point):
        if group is not None:
            y = y[np.unique(group, return_index=True)[1]]
        return {"units": len(y), "counts": np.bincount(y, minlength=n)[:n]}
    if isinstance(spec.output, MultiLabel):
        if y.dtype == object:
            flat = np.concatenate([np.empty(0, np.int64), *y])
            return {"units": len(y), "counts": np.bincount(flat, minlength=n)[:n]}
        return {"units": len(y), "counts": y.sum(axis=0, dtype=np.int64)}
    # NaN stands where a value is not known
    known = [np.asarray(value, dtype=np.float64)[np.isfinite(value)] for value in y]
    return {"units": len(y), "means": np.array([value.mean() for value in known if value.size])}


def compare(
    one: Mapping[str, Any], other: Mapping[str, Any], spec: TaskSpec, rng: np.random.Generator
) -> dict[str, Any]:
    """The shift between two splits, from what `summarise` kept of them.

    Args:
        one: of the first split.
        other: of the second split.
        spec: the task.
        rng: draws the random partitions.

    Returns:
        Plain JSON values. Classes: `total_variation` of the class frequencies, and of random partitions into the same
        sizes its mean (`by_chance`), its 95th percentile and the share that reach it (`p_value`). Labels:
        `largest_difference` of a label's prevalence, `mean_difference`, and how many labels differ at the 5 % level of
        all together (`labels_that_differ`, Bonferroni). Maps: the difference of the mean in units of the deviation
        between maps (`standardised_difference`), and its p-value (Welch).
    """
    if isinstance(spec.output, Point):
        return _classes(one["counts"], other["counts"], rng)
    if isinstance(spec.output, MultiLabel):
        return _labels(one["counts"], one["units"], other["counts"], other["units"])
    return _maps(one["means"], other["means"])


def distribution(summary: Mapping[str, Any], spec: TaskSpec) -> dict[str, Any]:
    """One split's labels as plain JSON values."""
    if isinstance(spec.output, Dense):
        means = summary["means"]
        return {"units": summary["units"], "mean": _short(means.mean()), "deviation_between_maps": _short(means.std())}
    return {"units": summary["units"], "counts": summary["counts"].tolist()}


def _short(value: float) -> float | None:
    """A number of few digits, for sums depend on their order in the last ones; None where it is not defined."""
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None


def _classes(one: Counts, other: Counts, rng: np.random.Generator) -> dict[str, Any]:
    n, m = int(one.sum()), int(other.sum())
    if not n or not m:
        return {}
    distance = 0.5 * np.abs(one / n - other / m).sum()
    both = one + other
    drawn = rng.multivariate_hypergeometric(both, n, size=DRAWS, method="marginals")
    by_chance = 0.5 * np.abs(drawn / n - (both - drawn) / m).sum(axis=1)
    return {
        "total_variation": _short(distance),
        "by_chance": _short(by_chance.mean()),
        "by_chance_95_percent": _short(np.quantile(by_chance, 0.95)),
        "p_value": _short((1 + int((by_chance >= distance - 1e-12).sum())) / (1 + DRAWS)),
    }


def _labels(one: Counts, n: int, other: Counts, m: int) -> dict[str, Any]:
    from scipy.stats import norm

    if not n or not m:
        return {}
    difference = np.abs(one / n - other / m)
    pooled = (one + other) / (n + m)
    noise = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    scores = difference / np.where(noise > 0, noise, 1)
    return {
        "largest_difference": _short(difference.max()),
        "label_of_largest_difference": int(difference.argmax()),
        "mean_difference": _short(difference.mean()),
        "labels_that_differ": int((scores > norm.isf(0.025 / len(one))).sum()),
        "labels": len(one),
    }


def _maps(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> dict[str, Any]:
    from scipy.stats import norm

    if len(one) < 2 or len(other) < 2:
        return {}
    variances = one.var(ddof=1), other.var(ddof=1)
    deviation = np.sqrt((variances[0] + variances[1]) / 2)
    error = np.sqrt(variances[0] / len(one) + variances[1] / len(other))
    difference = float(one.mean() - other.mean())
    return {
        "difference_of_means": _short(difference),
        "standardised_difference": _short(difference / deviation) if deviation > 0 else None,
        "p_value": _short(2 * norm.sf(abs(difference) / error)) if error > 0 else None,
    }
