"""Pickles from others: NumPy arrays and plain containers, nothing else.

A pickle is a program. Two of the raw distributions come as pickles all the same, so this reads them with an interpreter
whose only instructions build numbers, strings, containers and arrays: any other name in the file ends the reading.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import warnings
from typing import Any, Literal

import numpy as np

from nas360.errors import RawDataError

# kind and size, as NumPy's own pickles spell them; no field lists and no object references by address
_DTYPE = re.compile(r"^[<>=|]?[biufcSUV]\d{1,4}$")
_OBJECT = "O8"
# the official CIFAR-100 has about 150,000
MAX_INSTRUCTIONS = 2_000_000


class _ArrayClass:
    """Stands for `numpy.ndarray`, which the file may name but not call (a call could ask for any amount of memory)."""

    __slots__ = ()


_ARRAY_CLASS = _ArrayClass()


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
        if subtype is not _ARRAY_CLASS or shape != (0,):
            raise pickle.UnpicklingError("an array is begun in a way NumPy does not")
        self.shape: tuple[int, ...] = (0,)
        self.order: Literal["C", "F"] = "C"
        self.flat: np.ndarray[Any, Any] | list[Any] = np.empty(0, np.uint8)

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
            self.flat = data
        else:
            if not isinstance(data, bytes) or len(data) != count * dtype.value.itemsize:
                raise pickle.UnpicklingError("an array does not hold as many bytes as its shape says")
            self.flat = np.frombuffer(data, dtype.value)
        self.shape, self.order = shape, "F" if is_fortran else "C"


class _Budget:
    """Bounds what is made anew from parts that a pickle may name again and again.

    What a sound pickle makes takes a byte of the file at least for each byte or object in it.
    """

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise pickle.UnpicklingError("it repeats its parts into more than the file could hold")


class _Plain:
    """Puts real arrays in the places of those that stand for them, once for each object however often it occurs."""

    def __init__(self, budget: _Budget) -> None:
        self.budget = budget
        self.done: dict[int, Any] = {}  # by address, good as long as the loaded object lives
        self.begun: set[int] = set()

    def __call__(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | str | bytes | bytearray):
            return value
        key = id(value)
        if key not in self.done:
            if key in self.begun:
                raise pickle.UnpicklingError("a container holds itself")
            self.begun.add(key)
            self.done[key] = self._convert(value)
        return self.done[key]

    def _convert(self, value: Any) -> Any:
        match value:
            case _Array():
                return self._array(value)
            case list():
                return [self(item) for item in value]
            case tuple() | set() | frozenset():
                return type(value)(self(item) for item in value)
            case dict():
                return {self(key): self(item) for key, item in value.items()}
            case _:
                raise pickle.UnpicklingError("it holds a type, not data")

    def _array(self, value: _Array) -> np.ndarray[Any, Any]:
        flat = value.flat
        if isinstance(flat, list):
            self.budget.take(len(flat))
            items, flat = flat, np.empty(len(flat), dtype=object)
            for number, item in enumerate(items):
                flat[number] = self(item)
        return flat.reshape(value.shape, order=value.order)


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, budget: _Budget) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")
        self.budget = budget
        self.allowed: dict[tuple[str, str], object] = {
            ("numpy", "ndarray"): _ARRAY_CLASS,
            ("numpy", "dtype"): _Dtype,
            ("numpy.core.multiarray", "_reconstruct"): _Array,
            ("numpy._core.multiarray", "_reconstruct"): _Array,
            ("_codecs", "encode"): self.latin1,
            ("__builtin__", "bytes"): self.empty_bytes,
        }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside itself")

    def latin1(self, text: object, encoding: object = "latin1") -> bytes:
        """How Python 3 writes bytes into a pickle of protocol 2."""
        if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
            raise pickle.UnpicklingError(f"text encoding {str(encoding)[:40]!r} is not latin1")
        self.budget.take(len(text))
        return text.encode("latin1")

    def empty_bytes(self) -> bytes:
        """How Python 3 writes no bytes into a pickle of protocol 2."""
        return b""


def _check_instructions(content: bytes) -> None:
    """Bound what the interpreter would take before it runs.

    Its table of remembered objects is as long as the highest number in the file, and a single byte makes an empty set
    of 200; a length that the file does not hold is refused by the parser.

    Raises:
        pickle.UnpicklingError: when there are too many instructions, or one numbers its object beyond their count.
        ValueError: when it cannot be parsed.
    """
    for count, (code, argument, _) in enumerate(pickletools.genops(content)):
        if count >= MAX_INSTRUCTIONS:
            raise pickle.UnpicklingError(f"it has more than {MAX_INSTRUCTIONS:,} instructions")
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > count:
            raise pickle.UnpicklingError("it remembers an object under a number beyond those it can need")


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
    budget = _Budget(len(content))
    try:
        with warnings.catch_warnings():
            # of an odd escape in a text of protocol 0, which is data like any other
            warnings.simplefilter("ignore", DeprecationWarning)
            _check_instructions(content)
            loaded = _Unpickler(content, budget).load()
        return _Plain(budget)(loaded)
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
