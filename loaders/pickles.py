"""Pickles from others: NumPy arrays and plain containers, nothing else.

A pickle is a program. Two of the raw distributions come as pickles all the same, so this reads them with an interpreter
whose only instructions build numbers, strings, containers and arrays: any other name in the file ends the reading.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from nas360.errors import RawDataError

# kind and size, as NumPy's own pickles spell them; no field lists and no object references by address
_DTYPE = re.compile(r"^[<>=|]?[biufcSUV]\d{1,4}$")
_OBJECT = "O8"


class _ArrayClass:
    """Stands for `numpy.ndarray`, which the file may name but not call (a call could ask for any amount of memory)."""


class _Dtype:
    """Stands for a dtype: NumPy's own takes any state from a pickle, also one that corrupts memory."""

    def __init__(self, code: object, align: object = False, copy: object = True) -> None:
        text = code.decode("latin1") if isinstance(code, bytes) else str(code)
        if text not in (_OBJECT, "b1") and not _DTYPE.match(text):
            raise pickle.UnpicklingError(f"dtype {text[:40]!r} is not a plain number or string type")
        self.value = np.dtype(object) if text == _OBJECT else np.dtype(text)

    def __setstate__(self, state: object) -> None:
        # (version, byte order, no subarray, no names, no fields, and sizes that the code already told)
        if not isinstance(state, tuple) or len(state) < 5 or state[2:5] != (None, None, None):
            raise pickle.UnpicklingError("a dtype has parts")
        order = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("a dtype has no byte order")
        self.value = self.value.newbyteorder(">" if order == ">" else "<")


class _Array:
    """Stands for an array until all of it is read and agrees."""

    def __init__(self, subtype: object, shape: object, typecode: object) -> None:
        if subtype is not _ArrayClass or shape != (0,):
            raise pickle.UnpicklingError("an array is begun in a way NumPy does not")
        self.value: np.ndarray[Any, Any] = np.empty(0, np.uint8)

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], _Dtype):
            raise pickle.UnpicklingError("an array has no plain state")
        _, shape, dtype, is_fortran, data = state
        if not isinstance(shape, tuple) or not all(isinstance(size, int) and size >= 0 for size in shape):
            raise pickle.UnpicklingError("an array has no shape")
        count = math.prod(shape)
        if dtype.value.hasobject:
            if not isinstance(data, list) or len(data) != count:
                raise pickle.UnpicklingError("an array of objects does not hold as many as its shape says")
            flat = np.empty(count, dtype=object)
            for number, item in enumerate(data):
                flat[number] = _plain(item)
        else:
            if not isinstance(data, bytes) or len(data) != count * dtype.value.itemsize:
                raise pickle.UnpicklingError("an array does not hold as many bytes as its shape says")
            flat = np.frombuffer(data, dtype.value)
        self.value = flat.reshape(shape, order="F" if is_fortran else "C")


def _plain(value: Any) -> Any:
    """Put real arrays in the places of those that stand for them."""
    match value:
        case _Array():
            return value.value
        case list():
            return [_plain(item) for item in value]
        case tuple():
            return tuple(_plain(item) for item in value)
        case dict():
            return {_plain(key): _plain(item) for key, item in value.items()}
        case type() | _Dtype():
            raise pickle.UnpicklingError("it holds a type, not data")
        case _:
            return value


def _latin1(text: object, encoding: object = "latin1") -> bytes:
    """How Python 3 writes bytes into a pickle of protocol 2."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError(f"text encoding {str(encoding)[:40]!r} is not latin1")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    """How Python 3 writes no bytes into a pickle of protocol 2."""
    return b""


_ALLOWED: dict[tuple[str, str], object] = {
    ("numpy", "ndarray"): _ArrayClass,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _latin1,
    ("__builtin__", "bytes"): _empty_bytes,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside itself")


def load_pickle(content: bytes, source: str) -> Any:
    """Read a pickle that holds NumPy arrays, numbers, strings and plain containers.

    Args:
        content: the pickle; text that Python 2 wrote comes as `bytes`.
        source: the name of the file, for messages.

    Returns:
        The object; its arrays are read-only.

    Raises:
        RawDataError: when it is damaged or would do anything but build data.
    """
    load: Callable[[], Any] = _Unpickler(io.BytesIO(content), encoding="bytes").load
    try:
        return _plain(load())
    except pickle.UnpicklingError as cause:
        raise RawDataError(
            f"{source}: refused as a pickle: {cause}. Only NumPy arrays and plain containers are read; "
            f"get the file anew from its publisher"
        ) from cause
    except (
        EOFError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        MemoryError,
        RecursionError,
    ) as cause:
        # the interpreter of pickles raises nearly anything on damaged input
        raise RawDataError(f"{source}: damaged pickle ({type(cause).__name__}). Get the file anew") from cause
