"""The two forms in which the satellite series are distributed: lines of numbers, and pickled arrays."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from nas360.errors import RawDataError
from nas360.files import MIB
from nas360.loaders.base import Array
from nas360.loaders.raw.npy import npy_header
from nas360.loaders.raw.pickles import load_pickle

STEPS = 46
CLASSES = 24
BLOCK_BYTES = 4 * MIB
BLOCK_ROWS = 16_384
MAX_ARRAY_BYTES = 1024 * MIB  # three times the official file
LARGEST = 1e12  # far beyond any scale of the index, and small enough to be squared and added up
_LAYOUT = f"Each line must be a label from 1 to {CLASSES} and {STEPS} numbers, with commas between and no header line"


@dataclass(frozen=True)
class Lines:
    """Whole lines of a CSV file, read when they are wanted.

    Attributes:
        path: the file.
        first: number of the first of these lines in the file, from 0.
        offset: where they begin, in bytes.
        size: bytes of all of them.
    """

    path: Path
    first: int
    offset: int
    size: int

    def read(self) -> tuple[Array, Array]:
        """The series (n, 46) and their labels (n,) as they stand in the file, float64.

        Raises:
            RawDataError: when a line is not of the official layout.
        """
        import pyarrow as pa
        from pyarrow import csv

        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            content = stream.read(self.size)
        names = [str(column) for column in range(1 + STEPS)]
        try:
            table = csv.read_csv(
                pa.BufferReader(content),
                csv.ReadOptions(column_names=names, use_threads=False, block_size=len(content) + 1),
                csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
                csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float64()), null_values=[], check_utf8=False),
            )
        except pa.ArrowInvalid as cause:
            # the parser counts from the first of these lines
            told = re.sub(r"Row #(\d+)", lambda found: f"line {self.first + int(found[1])}", str(cause)[:200])
            raise RawDataError(f"{self.path.name}: {told}. {_LAYOUT}; get the file anew") from cause
        columns = [column.to_numpy() for column in table.columns]
        return _checked(np.stack(columns[1:], axis=1), columns[0], self.path.name, self.first)


@dataclass(frozen=True)
class Held:
    """Some rows of an array file, held in memory.

    Attributes:
        name: of the file.
        first: number of the first of these rows in the file, from 0.
        values: (n, 46) float64.
        labels: (n,) float64.
    """

    name: str
    first: int
    values: Array
    labels: Array

    def read(self) -> tuple[Array, Array]:
        """The series and their labels, see `Lines.read`."""
        return _checked(self.values, self.labels, self.name, self.first)


Block = Lines | Held


def _checked(values: Array, labels: Array, name: str, first: int) -> tuple[Array, Array]:
    """Both, once every number is one that the official files could hold."""
    # NaN fails the comparison too
    bad = np.flatnonzero(~(np.abs(values) <= LARGEST).all(axis=1))
    if len(bad):
        raise RawDataError(
            f"{name}: {len(bad)} series hold numbers that are not finite or beyond {LARGEST:g}; the first is series "
            f"{first + bad[0] + 1} of the file. Get the file anew"
        )
    bad = np.flatnonzero(~((labels >= 1) & (labels <= CLASSES) & (labels == np.floor(labels))))
    if len(bad):
        raise RawDataError(
            f"{name}: {len(bad)} labels are not whole numbers from 1 to {CLASSES}; the first is {labels[bad[0]]:g}, "
            f"of series {first + bad[0] + 1} of the file. Get the file anew"
        )
    return values, labels


def csv_blocks(path: Path) -> Iterator[tuple[Block, Array]]:
    """All lines of a CSV file in blocks of 4 MiB, each with its series; blank lines at its end do not count.

    Raises:
        RawDataError: when the file is empty or not of the official layout.
    """
    first = offset = 0
    with path.open("rb") as stream:
        size = _end(stream)
        while offset < size:
            stream.seek(offset)
            content = stream.read(min(BLOCK_BYTES, size - offset))
            length = len(content) if offset + len(content) == size else content.rfind(b"\n") + 1
            if length == 0:
                raise RawDataError(f"{path.name}: line {first + 1} has no end. {_LAYOUT}; get the file anew")
            lines = Lines(path, first, offset, length)
            values, _ = lines.read()
            yield lines, values
            first += len(values)
            offset += length
    if first == 0:
        raise RawDataError(f"{path.name}: holds no series. Get the file anew")


def _end(stream: IO[bytes]) -> int:
    """Where the last line that is not blank ends, in bytes."""
    end = stream.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - BLOCK_BYTES)
        stream.seek(start)
        kept = len(stream.read(end - start).rstrip(b" \t\r\n"))
        end = start + kept
        if kept:
            break
    return end


def array_blocks(path: Path) -> Iterator[tuple[Block, Array]]:
    """All rows of a file `satellite_*.npy`, a pickled dictionary of arrays, in blocks, each with its series.

    Raises:
        RawDataError: when the file is not of that layout, or would do anything but build data.
    """
    if path.stat().st_size > MAX_ARRAY_BYTES:
        raise RawDataError(f"{path.name}: more than the {MAX_ARRAY_BYTES // MIB} MiB allowed. Get the file anew")
    with path.open("rb") as stream:
        shape, _, dtype = npy_header(stream, path.name)
        if shape != () or dtype.kind != "O":
            raise RawDataError(f"{path.name}: holds {dtype}{shape}, must be one pickled dictionary. Get the file anew")
        loaded = load_pickle(stream.read(), path.name)
    held = loaded.item() if isinstance(loaded, np.ndarray) and loaded.shape == () else loaded
    values, labels = _field(held, "data", path.name), _field(held, "label", path.name)
    if values.ndim != 2 or values.shape[1] != STEPS or labels.shape != values.shape[:1] or len(values) == 0:
        raise RawDataError(
            f"{path.name}: 'data' is {values.shape} and 'label' {labels.shape}, must be (n, {STEPS}) and (n,)"
        )
    for first in range(0, len(values), BLOCK_ROWS):
        rows = slice(first, first + BLOCK_ROWS)
        part = Held(path.name, first, values[rows].astype(np.float64, copy=False), labels[rows].astype(np.float64))
        yield part, part.read()[0]


def _field(held: object, key: str, source: str) -> Array:
    # a file from Python 2 has its keys in bytes
    value = held.get(key, held.get(key.encode())) if isinstance(held, dict) else None
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
        raise RawDataError(f"{source}: lacks the key {key!r} with an array of numbers. Get the file anew")
    return value
