"""Rows whose inputs are the same bytes, within a split and across splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from nas360.files import MIB
from nas360.loaders.base import Array

Digests = npt.NDArray[np.uint64]


def digests(columns: Mapping[str, Array], n: int, block_bytes: int = 16 * MIB) -> Digests:
    """A hash of each row's values, shapes included.

    Args:
        columns: name → array (n, *shape), or an object array (n,) where sizes vary.
        n: rows.
        block_bytes: how much is read at once.

    Returns:
        64 bits of BLAKE2b a row, (n,). Among 10⁶ different rows the chance that any two are taken for one is 3·10⁻⁸.
    """
    found = np.empty(n, dtype=np.uint64)
    values = list(columns.values())
    row_bytes = sum(_largest_row(array) for array in values)
    step = max(1, block_bytes // max(1, row_bytes))
    for start in range(0, n, step):
        stop = min(start + step, n)
        parts = [_row_bytes(array[start:stop]) for array in values]
        rows = parts[0] if len(parts) == 1 else [b"".join(row) for row in zip(*parts, strict=True)]
        hashed = b"".join(blake2b(row, digest_size=8).digest() for row in rows)
        found[start:stop] = np.frombuffer(hashed, dtype="<u8")
    return found


def _largest_row(values: Array) -> int:
    if values.dtype == object:
        return max((value.nbytes for value in values), default=0)
    return values.dtype.itemsize * int(np.prod(values.shape[1:]))


def _row_bytes(values: Array) -> list[bytes]:
    if values.dtype == object:
        return [f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes() for value in values]
    data = np.ascontiguousarray(values).tobytes()
    width = len(data) // max(1, len(values))
    return [data[start : start + width] for start in range(0, len(data), width)] if width else [b""] * len(values)


@dataclass(frozen=True)
class Repeats:
    """Rows of one split whose inputs occur in another split, or before in the same one.

    Attributes:
        rows: their row numbers.
        partners: for each, the first row that has the same input.
        conflicting: for each, whether any row with the same input there has another label.
    """

    rows: npt.NDArray[np.int64]
    partners: npt.NDArray[np.int64]
    conflicting: npt.NDArray[np.bool_]


def repeats_across(x: Digests, y: Digests, other_x: Digests, other_y: Digests) -> Repeats:
    """The rows whose input occurs in another split.

    Args:
        x: digests of inputs, (n,).
        y: digests of labels, (n,).
        other_x: digests of inputs of the other split.
        other_y: digests of its labels.
    """
    values, first, counts = np.unique(other_x, return_index=True, return_counts=True)
    at = np.searchsorted(values, x)
    at[at == len(values)] = 0
    rows = np.flatnonzero(values[at] == x) if len(values) else np.empty(0, np.int64)
    same = _count(_pairs(other_x, other_y), _pairs(x[rows], y[rows]))
    return Repeats(rows, first[at[rows]].astype(np.int64), same < counts[at[rows]])


def repeats_within(x: Digests, y: Digests) -> Repeats:
    """The rows whose input stands before in the same split; of n equal rows n - 1."""
    _, first, inverse, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(first[inverse] != np.arange(len(x)))
    same = _count(_pairs(x, y), _pairs(x[rows], y[rows]))
    return Repeats(rows, first[inverse[rows]].astype(np.int64), same < counts[inverse[rows]])


def _pairs(x: Digests, y: Digests) -> Digests:
    """One number for each pair."""
    shifted = y ^ (y >> np.uint64(29))
    return (x * np.uint64(0x9E3779B97F4A7C15) + shifted * np.uint64(0xBF58476D1CE4E5B9)).astype(np.uint64)


def _count(among: Digests, wanted: Digests) -> npt.NDArray[np.int64]:
    """How often each wanted value occurs."""
    values, counts = np.unique(among, return_counts=True)
    if not len(values):
        return np.zeros(len(wanted), dtype=np.int64)
    at = np.searchsorted(values, wanted)
    at[at == len(values)] = 0
    return np.where(values[at] == wanted, counts[at], 0)
