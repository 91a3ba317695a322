"""MATLAB files of version 7.3: HDF5 files whose datasets are the variables, with the axes in reverse.

Read through h5py, behind checks of what HDF5 would allow a hostile file to do: links and external storage would read
other files of this machine, and a dataset can declare chunks of gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import IO, Any

import h5py
import numpy as np

from nas360.errors import RawDataError
from nas360.files import MIB
from nas360.loaders.raw.matfile import Block, MatArray, MissingVariableError

# to lay small chunks side by side in one large block takes three times as long as to read them one by one
TILE_BYTES = MIB
MAX_CHUNK_BYTES = 256 * MIB
# what libhdf5 and h5py raise for damage, by the place where they meet it
_H5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)
_REFUSED_CLASSES = {
    "char": "text",
    "cell": "a cell array",
    "struct": "a struct",
    "function_handle": "a function handle",
}


@contextmanager
def open_variable(stream: IO[bytes], key: str, label: str) -> Iterator[MatArray]:
    """Open one dataset of a file of version 7.3; see `matfile.open_mat`."""
    try:
        # bytes go through Python's stream, so that no second file is opened and locked
        file = h5py.File(stream, "r")
    except _H5_ERRORS as cause:
        raise RawDataError(f"{label}: damaged or truncated HDF5 file ({_reason(cause)}). Download it again") from cause
    with file:
        try:
            dataset = _checked(file, key, label)
            shape, dtype = tuple(reversed(dataset.shape)), dataset.dtype.newbyteorder("=")
        except _H5_ERRORS as cause:
            raise RawDataError(f"{label}: {key!r} cannot be opened ({_reason(cause)}). Download it again") from cause
        yield MatArray(shape, dtype, lambda: _blocks(dataset, key, label))


def _checked(file: Any, key: str, label: str) -> Any:
    """The dataset `key`, once it is known to be a plain numeric array that lies in this file."""
    if key not in file and file.get(key, getlink=True) is None:
        raise MissingVariableError(f"{label}: no variable {key!r}. It holds: {_names(file)}")
    if not isinstance(file.get(key, getlink=True), h5py.HardLink):
        raise RawDataError(f"{label}: {key!r} is a link to somewhere else, where an array was expected")
    dataset = file[key]
    if not isinstance(dataset, h5py.Dataset):
        raise RawDataError(f"{label}: {key!r} is a struct (an HDF5 group), where a numeric array was expected")
    if dataset.external or dataset.is_virtual:
        raise RawDataError(
            f"{label}: {key!r} keeps its values in other files, where an array of this file was expected"
        )
    matlab_class = dataset.attrs.get("MATLAB_class", b"")
    kind = matlab_class.decode("ascii", "replace") if isinstance(matlab_class, bytes) else str(matlab_class)
    if kind in _REFUSED_CLASSES or dataset.dtype.kind not in "fiu" or not dataset.shape:
        found = _REFUSED_CLASSES.get(kind, f"of type {dataset.dtype} and shape {dataset.shape}")
        raise RawDataError(f"{label}: {key!r} is {found}, where a real numeric array was expected")
    if dataset.attrs.get("MATLAB_empty", 0):
        raise RawDataError(f"{label}: {key!r} is empty, where a numeric array was expected")
    chunk = int(np.prod(dataset.chunks or (0,), dtype=object)) * dataset.dtype.itemsize
    if chunk > MAX_CHUNK_BYTES:
        raise RawDataError(
            f"{label}: {key!r} is stored in chunks of {chunk / MIB:,.0f} MiB; at most 256 MiB are allowed"
        )
    return dataset


def _blocks(dataset: Any, key: str, label: str) -> Iterator[Block]:
    """Parts made of whole chunks, so that none is decompressed twice."""
    tile = tile_shape(dataset.shape, dataset.chunks, dataset.dtype.itemsize)
    starts = [range(0, size, step) for size, step in zip(dataset.shape, tile, strict=True)]
    for corner in product(*starts):
        where = tuple(
            slice(start, min(start + step, size)) for start, step, size in zip(corner, tile, dataset.shape, strict=True)
        )
        try:
            values = dataset[where]
        except _H5_ERRORS as cause:
            raise RawDataError(
                f"{label}: {key!r} is damaged or truncated ({_reason(cause)}). Download it again"
            ) from cause
        yield tuple(reversed(where)), values.T.astype(dataset.dtype.newbyteorder("="), copy=False)


def tile_shape(shape: tuple[int, ...], chunks: tuple[int, ...] | None, itemsize: int) -> tuple[int, ...]:
    """Shape of the blocks in which a stored array is read.

    Args:
        shape: the array's sizes in HDF5's order (last axis fastest).
        chunks: its chunk shape; None is contiguous storage.
        itemsize: bytes of an element.

    Returns:
        A multiple of the chunk shape, cut to the array, of at most `TILE_BYTES`, or one chunk if that is larger.

    Example:
        >>> tile_shape((421, 421, 1024), (421, 421, 1), 4)
        (421, 421, 1)
        >>> tile_shape((421, 421, 1024), None, 4)
        (1, 256, 1024)
    """
    tile = list(chunks or (1,) * len(shape))
    for axis in reversed(range(len(shape))):
        room = TILE_BYTES // max(1, int(np.prod(tile, dtype=object)) * itemsize)
        needed = -(-shape[axis] // tile[axis])
        tile[axis] = min(shape[axis], tile[axis] * max(1, min(room, needed)))
        if room < needed:
            break
    return tuple(max(1, min(step, size)) for step, size in zip(tile, shape, strict=True))


def _names(file: Any) -> str:
    names = [name for name in file if not name.startswith("#")]
    return ", ".join(map(repr, names[:10])) + (" …" if len(names) > 10 else "") if names else "nothing"


def _reason(cause: BaseException) -> str:
    return str(cause).splitlines()[0] if str(cause) else type(cause).__name__
