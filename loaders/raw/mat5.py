"""MATLAB files of versions 4 and 5 to 7, read as a stream.

The format is MathWorks' "MAT-File Format" (R2023b): version 4 is a header of five integers, a name and the numbers;
version 5 is a sequence of tagged elements, of which a variable is one, zlib-compressed or not. SciPy reads both, but is
made for files that one trusts: a single altered byte can crash the interpreter (SciPy 1.17: a segmentation fault within
seconds of random changes), a hostile file decides how much memory it takes, and an honest one is read a whole variable
at a time, gigabytes for the official Darcy files.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import IO, Any, Protocol

import numpy as np

from nas360.errors import RawDataError
from nas360.files import MIB
from nas360.loaders.raw.matfile import BLOCK_BYTES, Array, Block, MatArray, MissingVariableError

# version 5, table 1-1: how numbers are stored. MATLAB stores whole doubles as integers where they fit
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
# version 5, table 1-3: what a variable is
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_OTHER_CLASSES = {
    1: "a cell array",
    2: "a struct",
    3: "an object",
    4: "text",
    5: "a sparse array",
    16: "a function handle",
}
_COMPLEX_FLAG = 0x08
_V4_STORED = ("f8", "f4", "i4", "i2", "u2", "u1")
_V4_REFUSED = ("a complex array", "text", "a sparse array")

_MAX_HEADER_BYTES = 4096  # array name or dimensions; MATLAB allows 63 characters and a few axes
_MAX_VARIABLES = 10_000
_PIECE = MIB


class _Reader(Protocol):
    """Gives exactly `count` bytes, or raises RawDataError."""

    def __call__(self, count: int) -> bytes: ...


def find_v4(stream: IO[bytes], key: str, label: str) -> MatArray:
    """Find a variable in a file of version 4; see `matfile.open_mat`."""
    end = stream.seek(0, os.SEEK_END)
    position = 0
    names: list[str] = []
    while position < end and len(names) < _MAX_VARIABLES:
        variable = _Version4(stream, position, label)
        position = variable.end
        if position > end:
            raise RawDataError(
                f"{label}: truncated; a variable ends at byte {position:,}, the file at {end:,}. Download it again"
            )
        names.append(variable.name)
        if variable.name == key:
            return variable.array()
    raise _missing(key, names, label)


class _Version4:
    """One variable of a file of version 4: its header is read, its values are not."""

    def __init__(self, stream: IO[bytes], position: int, label: str) -> None:
        self._stream, self._label = stream, label
        stream.seek(position)
        read = _plain(stream, label)
        raw = read(20)
        # the first integer is small in the byte order in which it was written
        order = "<" if struct.unpack("<I", raw[:4])[0] < 5000 else ">"
        kind, rows, columns, self._imaginary, name_length = struct.unpack(order + "5i", raw)
        # its decimal digits: machine, nothing, how numbers are stored, full or text or sparse
        machine, other, stored, self._form = kind // 1000, kind // 100 % 10, kind // 10 % 10, kind % 10
        if (
            machine != "<>".index(order)
            or other
            or stored >= len(_V4_STORED)
            or self._form >= len(_V4_REFUSED)
            or not 0 < name_length <= _MAX_HEADER_BYTES
            or min(rows, columns) < 0
        ):
            raise RawDataError(f"{label}: not a MATLAB file, or damaged at byte {position:,}. Download it again")
        self.name = read(name_length).split(b"\x00")[0].decode("latin-1")
        self._shape = (rows, columns)
        self._stored = np.dtype(order + _V4_STORED[stored])
        self._start = position + len(raw) + name_length
        self.end = self._start + rows * columns * self._stored.itemsize * (2 if self._imaginary else 1)

    def array(self) -> MatArray:
        """The variable as a numeric array.

        Raises:
            RawDataError: when it is something else.
        """
        if self._form or self._imaginary:
            raise _not_numeric(self._label, self.name, _V4_REFUSED[self._form])
        return MatArray(self._shape, self._stored.newbyteorder("="), self._blocks)

    def _blocks(self) -> Iterator[Block]:
        self._stream.seek(self._start)
        yield from _slabs(_plain(self._stream, self._label), self._shape, self._stored, self._stored.newbyteorder("="))


def find_v5(stream: IO[bytes], key: str, label: str) -> MatArray:
    """Find a variable in a file of versions 5 to 7; see `matfile.open_mat`."""
    end = stream.seek(0, os.SEEK_END)
    stream.seek(126)
    order = "<" if _plain(stream, label)(2) == b"IM" else ">"
    position = 128
    names: list[str] = []
    while position < end and len(names) < _MAX_VARIABLES:
        stream.seek(position)
        kind, size = struct.unpack(order + "2I", _plain(stream, label)(8))
        body = position + 8
        # unlike other elements, compressed ones are not padded to a multiple of eight bytes
        position = body + size + (0 if kind == _COMPRESSED else -size % 8)
        if body + size > end:
            raise RawDataError(
                f"{label}: truncated; a variable ends at byte {body + size:,}, the file at {end:,}. Download it again"
            )
        if kind not in (_MATRIX, _COMPRESSED):
            continue
        variable = _Variable(stream, body, size, kind == _COMPRESSED, order, label)
        name = variable.name
        names.append(name)
        if name == key:
            return variable.array()
    raise _missing(key, names, label)


class _Variable:
    """One array element of a file of version 5: its header is read, its values are not."""

    def __init__(self, stream: IO[bytes], start: int, size: int, compressed: bool, order: str, label: str) -> None:
        self._stream, self._start, self._size = stream, start, size
        self._compressed, self._order, self._label = compressed, order, label
        read = self._open()
        kind, flags = self._element(read)
        if kind != 6 or len(flags) != 8:
            raise self._damaged("array flags")
        word = struct.unpack(order + "2I", flags)[0]
        self._class, self._flags = word & 0xFF, word >> 8 & 0xFF
        kind, sizes = self._element(read)
        # objects of newer MATLAB classes ("opaque") have no dimensions, and their name stands here
        self._shape: tuple[int, ...] = ()
        if self._class in _CLASSES or self._class in _OTHER_CLASSES:
            if kind != 5 or len(sizes) % 4 or not 8 <= len(sizes) <= 128:
                raise self._damaged("dimensions")
            self._shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
            if min(self._shape) < 0:
                raise self._damaged("dimensions")
            kind, sizes = self._element(read)
        if kind not in (1, 2):
            raise self._damaged("name")
        self.name = sizes.rstrip(b"\x00").decode("latin-1")

    def array(self) -> MatArray:
        """The variable as a numeric array.

        Raises:
            RawDataError: when it is something else.
        """
        if self._class not in _CLASSES or self._flags & _COMPLEX_FLAG:
            found = "a complex array" if self._class in _CLASSES else _OTHER_CLASSES.get(self._class, "an object")
            raise _not_numeric(self._label, self.name, found)
        return MatArray(self._shape, np.dtype(_CLASSES[self._class]), self._blocks)

    def _blocks(self) -> Iterator[Block]:
        read = self._open()
        for _ in range(3):
            self._element(read)
        kind, size, small = self._tag(read)
        if kind not in _STORED:
            raise self._damaged("values")
        stored = np.dtype(self._order + _STORED[kind])
        native = np.dtype(_CLASSES[self._class])
        count = int(np.prod(self._shape, dtype=object))
        if size != count * stored.itemsize or not np.can_cast(stored, native, "same_kind"):
            raise self._damaged(f"values ({size} bytes of {stored} for shape {self._shape})")
        if small is not None:
            tail = iter([small[:size]])
            yield from _slabs(lambda _: next(tail), self._shape, stored, native)
            return
        yield from _slabs(read, self._shape, stored, native)
        if self._compressed:
            # the checksum of the stream stands behind its last byte and is tested when that is read
            self._drain(size)

    def _open(self) -> _Reader:
        """Read from the element's first byte."""
        self._stream.seek(self._start)
        if not self._compressed:
            return _plain(self._stream, self._label)
        self._inflate = _Inflate(self._stream, self._size, self._label)
        kind, _ = struct.unpack(self._order + "2I", self._inflate(8))
        if kind != _MATRIX:
            raise self._damaged("compressed element")
        return self._inflate

    def _drain(self, size: int) -> None:
        self._inflate(-size % 8)
        self._inflate.close()

    def _tag(self, read: _Reader) -> tuple[int, int, bytes | None]:
        """Type and size of a data element, with its bytes if they stand inside the tag."""
        raw = read(8)
        kind, size = struct.unpack(self._order + "2I", raw)
        if kind >> 16:
            if kind >> 16 > 4:
                raise self._damaged("small element")
            return kind & 0xFFFF, kind >> 16, raw[4:]
        return kind, size, None

    def _element(self, read: _Reader) -> tuple[int, bytes]:
        """A short data element whole."""
        kind, size, small = self._tag(read)
        if small is not None:
            return kind, small[:size]
        if size > _MAX_HEADER_BYTES:
            raise self._damaged(f"header ({size} bytes)")
        return kind, read(size + -size % 8)[:size]

    def _damaged(self, what: str) -> RawDataError:
        return RawDataError(
            f"{self._label}: damaged: bad {what} in the variable at byte {self._start - 8:,}. Download it again"
        )


class _Inflate:
    """Exactly as many bytes as asked for out of a zlib stream, never more in memory than those and a piece."""

    def __init__(self, stream: IO[bytes], size: int, label: str) -> None:
        self._stream, self._position, self._left, self._label = stream, stream.tell(), size, label
        self._zlib = zlib.decompressobj()

    def __call__(self, count: int) -> bytes:
        parts = []
        while count > 0:
            part = self._some(count)
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Check that the stream ends here.

        Raises:
            RawDataError: when it does not, or its checksum is wrong.
        """
        while not self._zlib.eof:
            if self._some(1, at_end=True):
                raise RawDataError(f"{self._label}: damaged: a compressed variable holds more than it declares")

    def _some(self, most: int, at_end: bool = False) -> bytes:
        while True:
            piece = self._zlib.unconsumed_tail
            if not piece:
                # another reader may have moved the stream since
                self._stream.seek(self._position)
                piece = self._stream.read(min(_PIECE, self._left))
                self._position += len(piece)
                self._left -= len(piece)
            try:
                out = self._zlib.decompress(piece, most)
            except zlib.error as cause:
                raise RawDataError(f"{self._label}: damaged ({cause}). Download it again") from cause
            if out or (at_end and self._zlib.eof):
                return out
            # without input there can still be output, from matches that the last call had no room for; hence the order
            if self._zlib.eof or not piece:
                raise RawDataError(f"{self._label}: truncated: a compressed variable ends too early. Download it again")


def _plain(stream: IO[bytes], label: str) -> _Reader:
    """Exactly as many bytes as asked for out of the file, from where the stream stands now."""
    position = stream.tell()

    def read(count: int) -> bytes:
        nonlocal position
        stream.seek(position)
        content = stream.read(count)
        if len(content) < count:
            raise RawDataError(f"{label}: truncated at byte {position + len(content):,}. Download it again")
        position += count
        return content

    return read


def _slabs(read: _Reader, shape: tuple[int, ...], stored: np.dtype[Any], native: np.dtype[Any]) -> Iterator[Block]:
    """Blocks along the last axis, which MATLAB stores slowest."""
    slab = int(np.prod(shape[:-1], dtype=object)) * stored.itemsize
    if slab == 0:
        return
    step = max(1, BLOCK_BYTES // slab)
    for start in range(0, shape[-1], step):
        stop = min(start + step, shape[-1])
        values: Array = np.frombuffer(read((stop - start) * slab), stored).astype(native, copy=False)
        yield (
            (*(slice(0, size) for size in shape[:-1]), slice(start, stop)),
            values.reshape((*shape[:-1], stop - start), order="F"),
        )


def _not_numeric(label: str, key: str, found: str) -> RawDataError:
    return RawDataError(f"{label}: {key!r} is {found}, where a real numeric array was expected")


def _missing(key: str, names: list[str], label: str) -> RawDataError:
    found = ", ".join(map(repr, names[:10])) + (" …" if len(names) > 10 else "") if names else "nothing"
    return MissingVariableError(f"{label}: no variable {key!r}. It holds: {found}")
