"""Pickles from others: NumPy arrays and plain containers, nothing else.

A pickle is a program. Two of the raw distributions come as pickles all the same, so this reads them with an interpreter
whose only instructions build numbers, strings, containers and arrays: any other name in the file ends the reading.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from nas360.errors import RawDataError

# type, byte order and size, as NumPy's own pickles spell them; no field lists and no object references by address
_DTYPE = re.compile(r"^[<>=|]?[biufcOSUV]\d{0,4}$")


class _ArrayClass:
    """Stands for `numpy.ndarray`, which the file may name but not call (a call could ask for any amount of memory)."""


def _empty_array(subtype: object, shape: object, typecode: object) -> np.ndarray[Any, Any]:
    """The empty array that NumPy's pickles begin with; its real shape and content follow and must agree in size."""
    if subtype is not _ArrayClass or shape != (0,):
        raise pickle.UnpicklingError("an array is begun in a way NumPy does not")
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _dtype(code: object, align: object = False, copy: object = True) -> np.dtype[Any]:
    text = code.decode("latin1") if isinstance(code, bytes) else str(code)
    if not _DTYPE.match(text):
        raise pickle.UnpicklingError(f"dtype {text[:40]!r} is not a plain number or string type")
    return np.dtype(text)


def _latin1(text: object, encoding: object = "latin1") -> bytes:
    """How Python 3 writes bytes into a pickle of protocol 2."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError(f"text encoding {str(encoding)[:40]!r} is not latin1")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], object] = {
    ("numpy", "ndarray"): _ArrayClass,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("_codecs", "encode"): _latin1,
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
        The object.

    Raises:
        RawDataError: when it is damaged or would do anything but build data.
    """
    load: Callable[[], Any] = _Unpickler(io.BytesIO(content), encoding="bytes").load
    try:
        return load()
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
