"""Readers of predictions files, one a format: each gives ids (or None) and values, and takes its input for hostile.

What a file would unpack to is compared with a limit before it is unpacked, and no reader runs anything that a file
holds. JSON and NumPy files are read with NumPy alone, for the `metric.py` of each dataset repository is made from their
source.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np

from nas360.errors import PredictionsError
from nas360.files import MIB, parse_json
from nas360.matching import Array, Ragged, shown

Ids = tuple[str, ...]
Read = tuple[Ids | None, Array | Ragged]

TEXT_LIMIT = 256 * MIB
MAX_STRING = 1024
MIN_LIMIT = 64 * MIB

# Bytes that Python takes, at most, for what begins or ends with such a character in JSON: a list with its room to grow
# and the array made of it; a dictionary with its pairs; text; a float and its place in a list. Numbers are four times
# as large as in an array, so that a file may take JSON_ROOM times the limit.
JSON_COSTS = {"[": 216, "{": 400, '"': 40, ",": 40}
JSON_ROOM = 4

# what the format libraries raise on damaged files; a fault in this project's own code would rather be a NameError and
# the like
DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@contextmanager
def damage_told(path: Path, kind: str) -> Iterator[None]:
    """Turn what a format library raises on a damaged file into one message."""
    try:
        yield
    except PredictionsError:
        raise
    except DAMAGE as cause:
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0][:200]
        raise PredictionsError(f"{path}: not a whole {kind} file ({reason}). Write it again") from cause


def require_fields(path: Path, found: Sequence[str]) -> None:
    """Refuse a file without predictions, and one with more than predictions and ids: a misspelt `ids` must not pass."""
    if "predictions" not in found:
        raise PredictionsError(f"{path}: holds {shown(list(found)) or 'nothing'}, where 'predictions' was expected")
    unknown = [name for name in found if name not in ("predictions", "ids")]
    if unknown:
        raise PredictionsError(f"{path}: holds {shown(unknown)} beside 'predictions'; only 'ids' may stand there")


def require_size(path: Path, size: int, limit: int) -> None:
    """Refuse more bytes than the task can need, before they are unpacked."""
    if size > limit:
        raise PredictionsError(
            f"{path}: would unpack to {size / MIB:,.0f} MiB, more than the {limit / MIB:,.0f} MiB that can be needed"
        )


def size_limit(n_values: int, n_rows: int, n_outputs: int) -> int:
    """Bytes that a predictions file may unpack to: what a split can need, with room to spare.

    Args:
        n_values: numbers in the references.
        n_rows: rows of the references.
        n_outputs: classes, labels or channels of a prediction.
    """
    return max(MIN_LIMIT, 4 * max(n_values, n_rows * n_outputs) * np.dtype(np.float64).itemsize)


def unpacked_size(shape: Sequence[int], itemsize: int) -> int:
    """Bytes of an array; an empty row counts for one, for rows without content cost memory too, later."""
    return math.prod(shape[:1]) * max(1, math.prod(shape[1:]) * itemsize)


def ids_of(path: Path, array: Any) -> Ids:
    """Ids from a list or an array of text."""
    if isinstance(array, np.ndarray) and array.dtype.kind == "S" and array.ndim == 1:
        with damage_told(path, "UTF-8"):
            return tuple(item.decode() for item in array.tolist())
    items = array.tolist() if isinstance(array, np.ndarray) and array.ndim == 1 else array
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise PredictionsError(f"{path}: ids must be a list of text, one a prediction; write each id in quotes")
    return tuple(items)


def values_of(path: Path, items: Sequence[Any], limit: int) -> Array | Ragged:
    """An array from numbers, text, or nested lists of equal shape; else a list of arrays."""
    types = {type(item) for item in items}
    if not types:
        return np.empty(0)
    if types <= {int, float} or types == {list}:
        require_text_size(path, items, limit)
        try:
            return require_plain(path, np.array(items))
        except ValueError:
            return [require_plain(path, array_of(path, item)) for item in items]
    if types == {str}:
        return text_array(path, items, limit)
    names = ", ".join(sorted("null" if one is type(None) else one.__name__ for one in types))
    raise PredictionsError(
        f"{path}: predictions are of type {names}; give all as numbers, as class names, or as lists of numbers"
    )


def text_array(path: Path, items: Sequence[str], limit: int) -> Array:
    """Class names as an array, whose every element takes the room of the longest."""
    require_text_size(path, items, limit)
    return np.array(items, dtype=np.str_)


def require_text_size(path: Path, items: Sequence[Any], limit: int) -> None:
    """Refuse text, flat or in nested lists, whose array (every element takes the room of the longest) is too large."""
    level = list(items)
    count = longest = 0
    while level:
        count += len(level)
        types = set(map(type, level))
        if str in types:
            longest = max(longest, max(len(one) for one in level if isinstance(one, str)))
        level = list(chain.from_iterable(one for one in level if isinstance(one, list))) if list in types else []
    require_size(path, 4 * count * longest, limit)


def array_of(path: Path, item: Any) -> Array:
    """An array from one prediction.

    Raises:
        PredictionsError: when its rows have different lengths.
    """
    try:
        return np.array(item)
    except ValueError as cause:
        raise PredictionsError(f"{path}: a prediction has rows of different lengths") from cause


def require_plain(path: Path, array: Array) -> Array:
    """Refuse what is neither numbers nor text."""
    if array.dtype.kind not in "biufU":
        raise PredictionsError(f"{path}: holds {array.dtype} values, where numbers or class names were expected")
    return array


def of_mapping(path: Path, mapping: Mapping[str, Any], limit: int) -> Read:
    """Ids and values from id → value."""
    return tuple(mapping), values_of(path, list(mapping.values()), limit)


def stacked(arrays: Ragged) -> Array | Ragged:
    """One array where all have one shape."""
    return np.stack(arrays) if arrays and len({array.shape for array in arrays}) == 1 else arrays


def read_json_file(path: Path, limit: int) -> Read:
    """A list; {"predictions": list, "ids": list}, ids optional; or {"predictions": {id: value}}.

    The memory for its objects is at most `JSON_ROOM` times the limit, beside the text itself.
    """
    with damage_told(path, "JSON"):
        content = parse_json(json_text(path, limit), str(path), PredictionsError)
        if isinstance(content, list):
            return None, values_of(path, content, limit)
        if not isinstance(content, dict):
            raise PredictionsError(f"{path}: holds a {type(content).__name__}, where a list or an object was expected")
        require_fields(path, list(content))
        predictions = content["predictions"]
        if isinstance(predictions, dict) and "ids" not in content:
            return of_mapping(path, predictions, limit)
        if not isinstance(predictions, list):
            raise PredictionsError(
                f"{path}: 'predictions' must be a list, or an object of id and value without 'ids' beside it"
            )
        return (ids_of(path, content["ids"]) if "ids" in content else None), values_of(path, predictions, limit)


def json_text(path: Path, limit: int) -> str:
    """The text of a JSON file that would not parse to more objects than can be needed.

    Raises:
        PredictionsError: when it would, and when the file is too large or not UTF-8.
    """
    size = path.stat().st_size
    if size > TEXT_LIMIT:
        raise PredictionsError(
            f"{path}: {size / MIB:,.0f} MiB, more than the {TEXT_LIMIT / MIB:,.0f} MiB allowed for JSON here"
        )
    content = path.read_bytes()
    objects = sum(cost * content.count(mark.encode()) for mark, cost in JSON_COSTS.items())
    require_size(path, objects, JSON_ROOM * limit)
    try:
        return content.decode()
    except UnicodeDecodeError as cause:
        raise PredictionsError(f"{path}: not UTF-8 (byte {cause.start}). Save it as UTF-8") from cause


def read_npy_stream(path: Path, open_stream: Callable[[], IO[bytes]], limit: int) -> Array:
    """One .npy array, after its header was found harmless."""
    with open_stream() as stream:
        version = np.lib.format.read_magic(stream)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise PredictionsError(f"{path}: .npy format {version} is not for plain arrays of numbers or text")
        shape, _, dtype = readers[version](stream)
    if dtype.kind not in "biufUS" or not 0 < dtype.itemsize <= 4 * MAX_STRING:
        raise PredictionsError(
            f"{path}: holds {dtype} values, where numbers or text were expected; pickled objects are never read"
        )
    if not shape or any(size < 0 for size in shape):
        raise PredictionsError(f"{path}: holds an array of shape {shape}, where one prediction a row was expected")
    require_size(path, unpacked_size(shape, dtype.itemsize), limit)
    with open_stream() as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def read_npy(path: Path, limit: int) -> Read:
    """One array with a prediction a row; it has no ids."""
    with damage_told(path, ".npy"):
        return None, require_plain(path, read_npy_stream(path, lambda: path.open("rb"), limit))


def member_opener(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    """Opens one member of an archive from its start, as often as it is called."""
    return lambda: archive.open(info)


def read_npz(path: Path, limit: int) -> Read:
    """Arrays `predictions` and, optionally, `ids`; or, where shapes vary, one array a sample, named by its id."""
    with damage_told(path, ".npz"), zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if len(members) < len(archive.infolist()):
            raise PredictionsError(f"{path}: holds two arrays of one name; keep one")
        for name, info in members.items():
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise PredictionsError(
                    f"{path}: {name!r} is compressed in a way that NumPy does not use; write it by numpy.savez"
                )
        require_size(path, sum(info.file_size for info in members.values()), limit)
        by_id = "predictions" not in members and "ids" not in members and bool(members)
        if not by_id:
            require_fields(path, list(members))
        arrays = {name: read_npy_stream(path, member_opener(archive, info), limit) for name, info in members.items()}
        if by_id:
            return tuple(arrays), stacked([require_plain(path, array) for array in arrays.values()])
        ids = ids_of(path, arrays["ids"]) if "ids" in arrays else None
        return ids, require_plain(path, arrays["predictions"])
