"""The three files of the DeepSEA bundle: which of their sequences are wanted, and those alone in memory.

`train.mat` is MATLAB 7.3 and holds 4,400,000 sequences, 17.6 GB when decompressed; `valid.mat` and `test.mat` are of
version 5, 1.8 GB the latter. In all of them the sequences lie along the axis that is stored fastest, so that a few
sequences are scattered over the whole file. It is therefore read once from end to end, block by block, and of every
block what belongs to wanted sequences is kept, a byte a base: 72 MB for the training split, 149 MB for test.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas360.errors import RawDataError
from nas360.loaders.base import Array
from nas360.loaders.raw.matfile import MatArray, open_mat

ARCHIVE = "deepsea_train_bundle.v0.9.tar.gz"
FOLDERS = ("deepsea_train", ARCHIVE.removesuffix(".tar.gz"), ".")
"""Where the files may lie unpacked, in the folder of raw files."""

FILES = ("train.mat", "valid.mat", "test.mat")
# 5.8 GB of arrays; the files hold train.mat compressed
MAX_BYTES = 32 << 30

N_BASES = 4
SEQUENCE_LENGTH = 1000
N_FEATURES = 919
# a base is one of four bits, or none where it is unknown; this tells which sums of bits are that
_ONE_HOT = np.isin(np.arange(1 << N_BASES), [0, *(1 << channel for channel in range(N_BASES))])
_BATCH = 1024


@dataclass(frozen=True)
class SequenceFile:
    """One of the three files, with its arrays checked for their shapes.

    Attributes:
        path: the file.
        name: what to call it in messages.
        stem: `train`, `valid` or `test`; the arrays are `<stem>xdata` and `<stem>data`.
        count: sequences in it.
    """

    path: Path
    name: str
    stem: str
    count: int


def open_file(path: Path, name: str, most: int) -> SequenceFile:
    """Check the shapes of a file's two arrays.

    Args:
        path: the file.
        name: what to call it in messages.
        most: how many sequences the official file holds; more are refused before memory is taken for them.

    Raises:
        RawDataError: when the file is damaged, an array is missing or has another shape, or there are no sequences.
    """
    stem = path.stem
    shapes = {}
    for key in (f"{stem}xdata", f"{stem}data"):
        with open_mat(path, key, name) as array:
            shapes[key] = array.shape
    features, bases = shapes[f"{stem}data"], shapes[f"{stem}xdata"]
    count = features[0]
    if features != (count, N_FEATURES) or bases != (count, N_BASES, SEQUENCE_LENGTH):
        raise RawDataError(
            f"{name}: {stem}xdata and {stem}data have the shapes {bases} and {features}, must be "
            f"(n, {N_BASES}, {SEQUENCE_LENGTH}) and (n, {N_FEATURES}) as MATLAB shows them. Get the bundle anew"
        )
    if not 0 < count <= most:
        raise RawDataError(f"{name}: holds {count:,} sequences, must be 1 to {most:,} as in the official file")
    return SequenceFile(path, name, stem, count)


def read_labels(file: SequenceFile, rows: Array, features: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Some features of some sequences.

    Args:
        file: the file.
        rows: indices of the sequences, ascending.
        features: indices of the features, ascending.

    Returns:
        (len(rows), len(features)) uint8 of zeros and ones.

    Raises:
        RawDataError: when the file is damaged, or one of these values is neither zero nor one.
    """
    key, columns = f"{file.stem}data", np.asarray(features)
    labels = np.zeros((len(columns), len(rows)), np.uint8)
    with open_mat(file.path, key, file.name) as array:
        for (rows_there, columns_there), values in array.blocks():
            row, column = _within(rows, rows_there), _within(columns, columns_there)
            if row.start < row.stop and column.start < column.stop:
                block = values.T[columns[column] - columns_there.start][:, rows[row] - rows_there.start]
                labels[column, row] = _binary(block, key, file.name)
    return labels.T


def read_bases(file: SequenceFile, rows: Array) -> Iterator[npt.NDArray[np.uint8]]:
    """The bases of some sequences.

    Args:
        file: the file.
        rows: indices of the sequences, ascending.

    Yields:
        Batches (n, 4, 1000) uint8 of zeros and ones, in the order of `rows`; a base that is unknown is all zero.

    Raises:
        RawDataError: when the file is damaged, a value is neither zero nor one, or a base is two at once.
    """
    key = f"{file.stem}xdata"
    # positions first, since so it is in the file: what a block adds is then one stretch of memory a position
    bits = np.zeros((SEQUENCE_LENGTH, len(rows)), np.uint8)
    with open_mat(file.path, key, file.name) as array:
        _add_bits(bits, array, rows, key, file.name)
    for start in range(0, len(rows), _BATCH):
        batch = np.ascontiguousarray(bits[:, start : start + _BATCH].T)
        wrong = ~_ONE_HOT[batch]
        if wrong.any():
            sequence, position = np.argwhere(wrong)[0]
            raise RawDataError(
                f"{file.name}: {key!r}: base {position} of sequence {rows[start + sequence]} is more than one of the "
                f"four at once. Get the bundle anew"
            )
        yield batch[:, None, :] >> np.arange(N_BASES, dtype=np.uint8)[:, None] & np.uint8(1)


def _add_bits(bits: npt.NDArray[np.uint8], array: MatArray, rows: Array, key: str, name: str) -> None:
    for (rows_there, channels, positions), values in array.blocks():
        row = _within(rows, rows_there)
        if row.start < row.stop:
            block = _binary(values.T[:, :, rows[row] - rows_there.start], key, name)
            for index, channel in enumerate(range(channels.start, channels.stop)):
                bits[positions, row] |= block[:, index] << np.uint8(channel)


def _within(wanted: Array, there: slice) -> slice:
    """Which of the ascending indices lie in a block."""
    start, stop = np.searchsorted(wanted, [there.start, there.stop])
    return slice(int(start), int(stop))


def _binary(values: Array, key: str, name: str) -> npt.NDArray[np.uint8]:
    is_one = values == 1
    if not (is_one | (values == 0)).all():
        strange = values[~is_one & (values != 0)].ravel()[0]
        raise RawDataError(f"{name}: {key!r} holds {strange}, must be 0 or 1. Get the bundle anew")
    ones: npt.NDArray[np.uint8] = is_one.view(np.uint8)
    return ones
