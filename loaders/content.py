"""A hash of what a dataset says, not of how it is stored.

It survives re-encoding, re-sharding and other batch sizes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

import numpy as np

from nas360.loaders.base import Array, Column, Rows


class ContentHash:
    """SHA-256 over decoded columns, fed in batches.

    Every column has a hash of its own over its values in row order: little-endian bytes for numbers, UTF-8 with its
    length in front for strings, the sizes in front of each value whose size varies. The digest is the hash of the
    columns' types and hashes.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = dict(columns)
        self._hashes = {name: hashlib.sha256() for name in columns}
        self.rows = 0

    def update(self, rows: Rows) -> None:
        """Add rows."""
        lengths = {len(rows[name]) for name in self._columns}
        if len(lengths) != 1:
            raise ValueError(f"columns of different lengths in one batch: {sorted(lengths)}")
        self.rows += lengths.pop()
        for name, column in self._columns.items():
            for part in _parts(rows[name], column):
                self._hashes[name].update(part)

    def hexdigest(self) -> str:
        """The hash of all rows so far."""
        summary = [
            [name, column.dtype, list(column.shape), list(column.names), self._hashes[name].hexdigest()]
            for name, column in self._columns.items()
        ]
        return hashlib.sha256(json.dumps([self.rows, summary]).encode()).hexdigest()


def _parts(values: Array, column: Column) -> Iterator[bytes]:
    if column.dtype == "string":
        texts = [str(value).encode() for value in values]
        yield b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    elif column.ragged:
        for value in values:
            yield np.array(value.shape, dtype="<u4").tobytes()
            yield _little_endian(value)
    else:
        yield _little_endian(values)


def _little_endian(values: Array) -> bytes:
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()


def combine(hashes: Mapping[str, str]) -> str:
    """One hash for the splits of a dataset."""
    return hashlib.sha256(json.dumps(sorted(hashes.items())).encode()).hexdigest()
