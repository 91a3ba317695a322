"""Numeric arrays out of MATLAB files of any version (4, 5 to 7, 7.3), in bounded memory, from untrusted sources.

A file of the official Darcy distribution holds gigabytes in each variable, and MATLAB stores the first axis fastest, so
that one sample's numbers lie all over the file. An array is therefore read as blocks that tile it in the order in which
it is stored; who wants less than the whole takes its part of every block and never holds more than one.

Only plain real numeric arrays are read: cells, structs, objects, text, sparse and complex arrays are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from nas360.errors import RawDataError
from nas360.files import MIB

Array = npt.NDArray[Any]
Block = tuple[tuple[slice, ...], Array]

BLOCK_BYTES = 32 * MIB
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class MissingVariableError(RawDataError):
    """A MATLAB file that has no variable of the name that was asked for."""


@dataclass(frozen=True)
class MatArray:
    """One numeric variable of an open file; nothing of its values has been read yet.

    Attributes:
        shape: sizes as MATLAB's `size` shows them, whatever the file's version (7.3 stores the axes in reverse).
        dtype: native NumPy type of the variable's class.
        blocks: gives an iterator over (where, values): `values` is the part `array[where]`, and the parts tile the
            array, every element once. Blocks hold about `BLOCK_BYTES` where the storage allows it. Raises RawDataError
            when the storage turns out to be damaged.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    blocks: Callable[[], Iterator[Block]]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array in memory, as the file declares it."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


@contextmanager
def open_mat(source: Path | IO[bytes], key: str, name: str | None = None) -> Iterator[MatArray]:
    """Open one variable of a MATLAB file.

    Args:
        source: the file, or a seekable binary stream of it.
        key: name of the variable.
        name: what to call the file in messages; by default its path, or `MATLAB file`.

    Yields:
        The variable; its blocks can be read while the `with` block lasts.

    Raises:
        MissingVariableError: when the file has no such variable.
        RawDataError: when the file is no MATLAB file, is damaged, or the variable is no plain real numeric array.
    """
    if isinstance(source, Path):
        label = name or str(source)
        try:
            stream = source.open("rb")
        except OSError as cause:
            raise RawDataError(f"{label}: cannot be read ({cause.strerror}). Check the name") from cause
        with stream, _open_stream(stream, key, label) as array:
            yield array
    else:
        with _open_stream(source, key, name or "MATLAB file") as array:
            yield array


def read_mat(
    source: Path | IO[bytes],
    key: str,
    *,
    ndim: int | None = None,
    max_bytes: int = 256 * MIB,
    name: str | None = None,
) -> Array:
    """Read one variable of a MATLAB file whole.

    Args:
        source: the file, or a seekable binary stream of it.
        key: name of the variable.
        ndim: how many axes it must have; None admits any (MATLAB knows no fewer than two).
        max_bytes: refuse a variable that declares more, before memory is taken for it.
        name: what to call the file in messages.

    Returns:
        The array with MATLAB's axes, in the native type of its class.

    Raises:
        RawDataError: as `open_mat`, and when the array is larger than `max_bytes` or has another number of axes.
    """
    with open_mat(source, key, name) as array:
        label = name or (str(source) if isinstance(source, Path) else "MATLAB file")
        if ndim is not None and len(array.shape) != ndim:
            raise RawDataError(f"{label}: {key!r} has shape {array.shape}, where {ndim} axes were expected")
        if array.nbytes > max_bytes:
            raise RawDataError(
                f"{label}: {key!r} declares shape {array.shape}, {array.nbytes / MIB:,.0f} MiB; "
                f"at most {max_bytes / MIB:,.0f} MiB are allowed here"
            )
        whole = np.empty(array.shape, array.dtype)
        for where, values in array.blocks():
            whole[where] = values
    return whole


@contextmanager
def _open_stream(stream: IO[bytes], key: str, label: str) -> Iterator[MatArray]:
    """Tell the version by the first bytes, and open the variable."""
    # each version's reader needs the others' never; h5py is imported only when a file is version 7.3
    from nas360.loaders.raw import mat5

    stream.seek(0)
    head = stream.read(512 + len(_HDF5_SIGNATURE))
    if not head:
        raise RawDataError(f"{label}: empty, where a MATLAB file was expected. Download it again")
    # MATLAB puts a text header of 512 bytes before the HDF5 file proper; h5py alone writes none
    if _HDF5_SIGNATURE in (head[: len(_HDF5_SIGNATURE)], head[512:]):
        from nas360.loaders.raw import mat73

        with mat73.open_variable(stream, key, label) as array:
            yield array
    elif head[124:128] in (b"\x00\x01IM", b"\x01\x00MI"):
        yield mat5.find_v5(stream, key, label)
    elif len(head) >= 20 and 0 in head[:4]:
        # documented mark of version 4: later versions begin with four characters of text
        yield mat5.find_v4(stream, key, label)
    else:
        raise RawDataError(
            f"{label}: not a MATLAB file (it begins with {head[:16]!r}). "
            f"Download it again, and check that the server did not send a web page in its place"
        )
