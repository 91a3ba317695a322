"""Predictions against references: which belongs to which, and everything that is wrong with them.

Faults are collected in a list, and none stops the search for more, so that a user mends a file once. Nothing but NumPy
is needed: the `metric.py` of each dataset repository is made from this very source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Ragged = list[Array]
Kind = Literal["classes", "scores", "maps", "probabilities"]

N_SHOWN = 5
# so many more predictions than rows are still looked through for other faults
SPARE_ROWS = 1000
MAX_SHOWN_LENGTH = 60


@dataclass(frozen=True)
class Expected:
    """What one prediction must be.

    Attributes:
        kind: class index; scores of labels; real map; or map of probabilities.
        shape: shape of one prediction; -1 is a size that its reference decides.
        n_outputs: classes, labels or channels.
        class_names: accepted in place of class indices; empty where the classes have no names.
    """

    kind: Kind
    shape: tuple[int, ...]
    n_outputs: int
    class_names: tuple[str, ...] = ()

    def describe(self) -> str:
        """One prediction in words."""
        if self.kind == "classes":
            names = ", a class name" if self.class_names else ""
            return f"a class index from 0 to {self.n_outputs - 1}{names}, or {self.n_outputs} class scores"
        if self.kind == "scores":
            return f"{self.n_outputs} label scores (real numbers, of which only the order counts)"
        size = " x ".join("L" if size < 0 else str(size) for size in self.shape)
        return f"a map of {size} " + ("real numbers" if self.kind == "maps" else "probabilities from 0 to 1")


def true_values(expected: Expected, values: Array | Sequence[Array]) -> Array | Ragged:
    """References, or a column that goes with them, in the form that the metric takes.

    A list of labels a row becomes a row of 0 and 1. A map that is larger than a prediction is scored over its central
    part. All else stays as it is.

    Args:
        expected: what one prediction is.
        values: one row each.

    Raises:
        ValueError: a label is none of the task's.
    """
    if not isinstance(values, np.ndarray) or values.dtype == object:
        rows = [np.asarray(one) for one in values]
        return multi_hot(rows, expected.n_outputs) if expected.kind == "scores" else rows
    if expected.kind == "scores" and values.shape[1:] != (expected.n_outputs,):
        return multi_hot(list(values), expected.n_outputs)  # lists that happen to be of one length
    maps = expected.kind in ("maps", "probabilities") and values.ndim == 1 + len(expected.shape)
    return central(values, expected.shape) if maps else values


def multi_hot(labels: Sequence[Array], n_labels: int) -> Array:
    """Lists of label indices as rows of 0 and 1, uint8 (n, n_labels).

    Raises:
        ValueError: a label is below 0 or not below `n_labels`.
    """
    out = np.zeros((len(labels), n_labels), dtype=np.uint8)
    rows = np.repeat(np.arange(len(labels)), [len(one) for one in labels])
    index = np.concatenate([*labels, np.empty(0, dtype=np.int64)]).astype(np.int64)
    if index.size and (index.min() < 0 or index.max() >= n_labels):
        raise ValueError(f"labels from {index.min()} to {index.max()}, where 0 to {n_labels - 1} are known")
    out[rows, index] = 1
    return out


def central(maps: Array, shape: tuple[int, ...]) -> Array:
    """The central part of maps, (n, *space) → (n, *shape), along every axis that is larger than `shape` says."""
    for axis, (size, wanted) in enumerate(zip(maps.shape[1:], shape, strict=True), start=1):
        if size > wanted > 0:
            start = (size - wanted) // 2
            maps = maps[(slice(None),) * axis + (slice(start, start + wanted),)]
    return maps


def shown(names: Sequence[str]) -> str:
    """The first few names, quoted and cut, and how many more there are."""
    some = [repr(name if len(name) <= MAX_SHOWN_LENGTH else name[:MAX_SHOWN_LENGTH] + "…") for name in names[:N_SHOWN]]
    more = len(names) - len(some)
    return ", ".join(some) + (f" and {more:,} more" if more else "")


@dataclass(frozen=True)
class Names:
    """What messages call a prediction: its id, or its row where it has none; made only for those that are shown.

    Attributes:
        ids: one id a prediction, or None.
    """

    ids: Sequence[str] | None

    def __getitem__(self, row: int) -> str:
        return f"row {row}" if self.ids is None or row >= len(self.ids) else self.ids[row]

    def shown(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> str:
        """The names of the first few rows, and how many rows there are."""
        more = f" and {len(rows) - N_SHOWN:,} more" if len(rows) > N_SHOWN else ""
        return f"{shown([self[int(row)] for row in rows[:N_SHOWN]])}{more} ({len(rows):,})"


def match(ids: Sequence[str] | None, n: int, reference_ids: Sequence[str], faults: list[str]) -> npt.NDArray[np.int64]:
    """The reference row of each prediction, by id where there are ids, else by order.

    Args:
        ids: one id a prediction, or None.
        n: number of predictions.
        reference_ids: the ids of the references, all different.
        faults: gets what is wrong.

    Returns:
        (n,) indices into the references; -1 where there is none.
    """
    if ids is None:
        if n != len(reference_ids):
            faults.append(
                f"{n:,} predictions without ids for {len(reference_ids):,} rows: give one for each row, in the order "
                "of the split, or give ids"
            )
        return np.where(np.arange(n) < len(reference_ids), np.arange(n), -1)
    if len(ids) != n:
        faults.append(f"{len(ids):,} ids for {n:,} predictions: give one id a prediction")
    position = {name: row for row, name in enumerate(reference_ids)}
    rows = np.array([position.get(name, -1) for name in ids[:n]] + [-1] * (n - len(ids)), dtype=np.int64)
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for name in ids:
        if name in seen:
            twice[name] = None
        seen.add(name)
    missing = [name for name in reference_ids if name not in seen]
    extra = [name for name in dict.fromkeys(ids) if name not in position]
    if missing:
        faults.append(f"ids missing: {shown(missing)} ({len(missing):,} of {len(reference_ids):,})")
    if extra:
        hint = "; none is known: do they belong to another split or task?" if len(missing) == len(reference_ids) else ""
        faults.append(f"ids that the split does not have: {shown(extra)} ({len(extra):,}){hint}")
    if twice:
        faults.append(f"ids given more than once: {shown(list(twice))} ({len(twice):,})")
    return rows


def fit(
    expected: Expected,
    values: Array | Ragged,
    ids: Sequence[str] | None,
    reference_ids: Sequence[str],
    reference_shapes: Sequence[tuple[int, ...]] | None = None,
) -> tuple[Array | Ragged, list[str]]:
    """Bring predictions into the order and form that the metric takes.

    Args:
        expected: what one prediction must be.
        values: predictions, an array with one row each, or a list of arrays of different shapes.
        ids: one id a prediction, or None where the order is that of the references.
        reference_ids: the ids of the references.
        reference_shapes: shape of each reference, where shapes vary.

    Returns:
        The predictions in the order of the references (class indices int64; else numbers as they came), and the faults.
        With faults the values mean nothing.
    """
    faults: list[str] = []
    if not len(values):
        return values, [f"no predictions; {len(reference_ids):,} were expected"]
    unnamed = len(values) - (0 if ids is None else len(ids))
    if unnamed > 2 * len(reference_ids) + SPARE_ROWS:
        # a small packed file can hold very many rows; what is wrong with each would cost more memory than they do
        without = "without ids " if ids is None else f"with {len(ids):,} ids "
        return values, [f"{len(values):,} predictions {without}for {len(reference_ids):,} rows: give one for each row"]
    rows = match(ids, len(values), reference_ids, faults)
    names = Names(ids)
    check = check_ragged if -1 in expected.shape else check_classes if expected.kind == "classes" else check_arrays
    shapes = None if reference_shapes is None else [reference_shapes[row] if row >= 0 else None for row in rows]
    checked = check(expected, values, names, shapes, faults)
    if faults:
        return checked, faults
    order = np.argsort(rows)
    return [checked[index] for index in order] if isinstance(checked, list) else checked[order], faults


def check_classes(expected: Expected, values: Array | Ragged, names: Names, shapes: object, faults: list[str]) -> Array:
    """Class indices from indices, names or scores; (n,) int64."""
    none = np.zeros(len(values), dtype=np.int64)
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if isinstance(values, list) or values.shape[1:] not in ((), (expected.n_outputs,)):
        report_shapes(values, (), expected, names, faults)
        return none
    if values.dtype.kind == "U" and values.ndim == 1:
        return classes_of_names(expected, values, names, faults)
    if values.dtype.kind not in "iuf":
        faults.append(f"predictions are {words_for(values.dtype)}, where {expected.describe()} was expected")
        return none
    finite = report_non_finite(values, names, faults)
    if values.ndim == 2:
        best: npt.NDArray[np.int64] = values.argmax(axis=1).astype(np.int64)
        return best
    wrong = finite & (values != np.floor(values))
    if wrong.any():
        faults.append(
            f"classes that are not whole numbers: {shown_values(values, wrong, names)}; give {expected.describe()}"
        )
    outside = finite & ~wrong & ((values < 0) | (values >= expected.n_outputs))
    if outside.any():
        from_one = values.min() == 1 and values.max() == expected.n_outputs
        hint = "; classes count from 0: were these counted from 1?" if from_one else ""
        faults.append(f"classes outside 0 to {expected.n_outputs - 1}: {shown_values(values, outside, names)}{hint}")
    return values.astype(np.int64) if (finite & ~wrong & ~outside).all() else none


def classes_of_names(expected: Expected, values: Array, names: Names, faults: list[str]) -> Array:
    """Class indices of class names; (n,) int64."""
    index = {name: row for row, name in enumerate(expected.class_names)}
    classes = np.array([index.get(str(value), -1) for value in values], dtype=np.int64)
    if (classes < 0).any():
        known = (
            f"known: {shown(expected.class_names)}" if index else "the classes of this task have no names; give indices"
        )
        faults.append(f"unknown class names: {shown_values(values, classes < 0, names)}; {known}")
    return classes


def check_arrays(
    expected: Expected, values: Array | Ragged, names: Names, shapes: object, faults: list[str]
) -> Array | Ragged:
    """Scores or maps of one shape, as an array."""
    if isinstance(values, np.ndarray) and values.shape[1:] == (1, *expected.shape):
        values = values[:, 0]  # a network's single channel
    if isinstance(values, list) or values.shape[1:] != expected.shape:
        report_shapes(values, expected.shape, expected, names, faults)
    elif values.dtype.kind not in "biuf":
        faults.append(f"predictions are {words_for(values.dtype)}, where {expected.describe()} was expected")
    elif report_non_finite(values, names, faults).all() and expected.kind == "probabilities":
        report_range(values, names, faults)
    return values


def check_ragged(
    expected: Expected,
    values: Array | Ragged,
    names: Names,
    shapes: Sequence[tuple[int, ...] | None] | None,
    faults: list[str],
) -> Ragged:
    """Maps whose shapes vary, as a list of arrays; each must have the shape of its reference."""
    maps = list(values)
    if any(one.dtype.kind not in "biuf" for one in maps):
        faults.append(f"predictions are not numbers, where {expected.describe()} was expected")
        return maps
    if shapes is not None:
        wrong = [row for row, shape in enumerate(shapes) if shape is not None and maps[row].shape != shape]
        if wrong:
            first = wrong[0]
            faults.append(
                f"wrong shape: {names.shown(wrong)}; {names[first]!r} has {maps[first].shape}, expected {shapes[first]}"
            )
    bad = [row for row, one in enumerate(maps) if not np.isfinite(one).all()]
    if bad:
        faults.append(f"NaN or infinity in {names.shown(bad)}")
    elif expected.kind == "probabilities":
        report_range(np.array([[one.min(initial=0), one.max(initial=0)] for one in maps]), names, faults)
    return maps


def report_shapes(
    values: Array | Ragged, shape: tuple[int, ...], expected: Expected, names: Names, faults: list[str]
) -> None:
    """Tell which predictions have not the one shape that all must have."""
    if isinstance(values, list):
        allowed = (shape, (expected.n_outputs,)) if expected.kind == "classes" else (shape,)
        wrong = [row for row, one in enumerate(values) if one.shape not in allowed] or [0]
        which, got = names.shown(wrong), values[wrong[0]].shape
    else:
        which, got = f"all {len(values):,} predictions", values.shape[1:]
    faults.append(f"wrong shape: {which} with {got}, expected {shape}: each prediction must be {expected.describe()}")


def report_non_finite(values: Array, names: Names, faults: list[str]) -> npt.NDArray[np.bool_]:
    """The rows whose numbers are all finite, (n,); tells the others."""
    bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if bad.any():
        faults.append(f"NaN or infinity in {names.shown(np.flatnonzero(bad))}")
    return np.logical_not(bad)


def report_range(values: Array, names: Names, faults: list[str]) -> None:
    """Tell of probabilities outside [0, 1]; values are finite."""
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if low < 0 or high > 1:
        outside = ((values < 0) | (values > 1)).reshape(len(values), -1).any(axis=1)
        hint = (
            "were percent given? Divide by 100" if low >= 0 and high <= 100 else "were logits given? Apply the sigmoid"
        )
        faults.append(
            f"probabilities outside 0 to 1: from {low:g} to {high:g}, in {names.shown(np.flatnonzero(outside))}; {hint}"
        )


def shown_values(values: Array, chosen: Array, names: Names) -> str:
    """The first few chosen rows as value and name, and how many there are."""
    rows = np.flatnonzero(chosen)
    some = ", ".join(f"{shown([str(values[row])])} for {shown([names[row]])}" for row in rows[:N_SHOWN])
    return f"{some} ({len(rows):,} of {len(values):,})"


def words_for(dtype: np.dtype[Any]) -> str:
    """What an array holds, for messages."""
    return {"U": "text", "b": "true or false", "O": "of mixed type"}.get(dtype.kind, f"of type {dtype}")
