"""NumPy's .npy files from others: the header is read and judged before anything is made of the rest."""

from __future__ import annotations

import io
import tokenize
import warnings
from collections.abc import Sequence
from typing import IO

import numpy as np

from nas360.errors import RawDataError
from nas360.loaders.base import Array
from nas360.loaders.raw.pickles import load_pickle


def npy_array(content: bytes, source: str, shapes: Sequence[tuple[int, ...]] | None = None) -> Array:
    """The array of numbers in an .npy file.

    Args:
        content: the file.
        source: its name, for messages.
        shapes: the shapes it may have; None is any.

    Returns:
        The array, read-only, in the file's dtype.

    Raises:
        RawDataError: when it is damaged, holds anything but real numbers, or has another shape.
    """
    stream = io.BytesIO(content)
    shape, is_fortran, dtype = npy_header(stream, source)
    start = stream.tell()
    if dtype.kind not in "biuf":
        raise RawDataError(f"{source}: holds {dtype}, must hold real numbers. Get the file anew from its publisher")
    if shapes is not None and shape not in shapes:
        allowed = " or ".join(str(one) for one in shapes)
        raise RawDataError(f"{source}: has shape {shape}, must have {allowed}. Get the file anew from its publisher")
    if len(content) - start != int(np.prod(shape, dtype=object)) * dtype.itemsize:
        raise RawDataError(
            f"{source}: holds {len(content) - start:,} bytes of values, its shape {shape} of {dtype} needs another "
            f"number. Get the file anew"
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape, order="F" if is_fortran else "C")


def npy_objects(content: bytes, source: str) -> Array:
    """The array of plain objects in an .npy file that NumPy wrote as a pickle; read by `load_pickle`.

    Args:
        content: the file.
        source: its name, for messages.

    Returns:
        The array of objects, in the shape of the header.

    Raises:
        RawDataError: when it is damaged, no array of objects, or its pickle would do anything but build data.
    """
    stream = io.BytesIO(content)
    shape, _, dtype = npy_header(stream, source)
    loaded = load_pickle(stream.read(), source) if dtype == np.dtype(object) else None
    if not isinstance(loaded, np.ndarray) or loaded.shape != shape:
        raise RawDataError(f"{source}: holds no array of objects of shape {shape}. Get the file anew")
    return loaded


def npy_header(stream: IO[bytes], source: str) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Shape, whether columns come first, and dtype; the stream is left where the values begin.

    Raises:
        RawDataError: when it is damaged.
    """
    try:
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        with warnings.catch_warnings():
            # of numbers as Python 2 wrote them, and of literals that end in a letter
            warnings.simplefilter("ignore")
            shape, is_fortran, dtype = read(stream)
    except (ValueError, TypeError, KeyError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError) as cause:
        # NumPy reads the header as a Python literal, which fails in many ways
        raise RawDataError(
            f"{source}: damaged, or no .npy file ({type(cause).__name__}). Get the file anew from its publisher"
        ) from cause
    if any(size < 0 for size in shape):
        raise RawDataError(f"{source}: has shape {shape}. Get the file anew from its publisher")
    return shape, is_fortran, dtype
