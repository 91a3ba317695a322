"""Splits as memory-mapped arrays.

Decoded once, keyed by the hash of their content, shared by every process that trains.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from filelock import FileLock

from nas360.errors import DatasetError
from nas360.files import sha256_file, write_json
from nas360.loaders.base import Array, Column
from nas360.loaders.repository.manifest import Manifest, SplitManifest
from nas360.task import SplitName

LAYOUT = "arrays-1"
"""Version of the cache's layout; another one is another folder."""

_DONE = "complete.json"


def cache_root() -> Path:
    """Where arrays are kept: `NAS360_CACHE`, or the user's cache folder."""
    import platformdirs

    given = os.environ.get("NAS360_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("nas360"))


def open_split(folder: Path, manifest: Manifest, split: SplitName, columns: Mapping[str, Column]) -> dict[str, Array]:
    """The columns of one split, read-only and memory-mapped; decoded from Parquet the first time.

    Args:
        folder: the dataset repository.
        manifest: its manifest.
        split: which split.
        columns: types of the columns.

    Returns:
        Column name → array of shape (rows, *column.shape); strings as a unicode array; columns whose sizes vary as an
        object array of views into one memory map.

    Raises:
        DatasetError: when a Parquet file is missing, damaged, or not the one that the manifest names.
    """
    entry = manifest.splits[split]
    target = cache_root() / LAYOUT / entry.content_sha256
    if not (target / _DONE).exists():
        _decode(folder, entry, columns, target)
    try:
        return {name: _open(target, name, entry.rows, column) for name, column in columns.items()}
    except (OSError, ValueError) as cause:
        _discard(target)
        raise DatasetError(
            f"the array cache in {target} was damaged ({cause}) and has been removed. Run again"
        ) from cause


def _open(folder: Path, name: str, rows: int, column: Column) -> Array:
    path = folder / f"{name}.npy"
    # a plain array over the map: np.memmap's own subclass makes every index slower
    array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    if array.shape != ((rows, len(column.shape)) if column.ragged else (rows, *column.shape)):
        raise ValueError(f"{path.name} has shape {array.shape}")
    return _open_ragged(path.with_suffix(".values"), array, column) if column.ragged else array


def _open_ragged(path: Path, sizes: Array, column: Column) -> Array:
    """Views of the values that stand in `path` one after the other, by their sizes."""
    from nas360.loaders.repository.parquet import split_flat

    n = int(sizes.prod(axis=1).sum())
    dtype = column.numpy_dtype
    if path.stat().st_size != n * dtype.itemsize:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes")
    flat = np.asarray(np.memmap(path, dtype, mode="r")) if n else np.empty(0, dtype)
    return split_flat(flat, sizes)


def _decode(folder: Path, entry: SplitManifest, columns: Mapping[str, Column], target: Path) -> None:
    """Write all columns into a temporary folder and rename it; of several processes that want them, one does so."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # the lock stays: to remove it would let two processes lock two files
        with FileLock(target.with_name(f".{target.name}.lock")):
            if (target / _DONE).exists():
                return
            temporary = target.with_name(f".{target.name}.decoding")
            shutil.rmtree(temporary, ignore_errors=True)  # what was left when another one was killed
            temporary.mkdir()
            try:
                _fill(temporary, folder, entry, columns)
                if target.exists():
                    _discard(target)  # what a removal that was killed left
                temporary.rename(target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except OSError as cause:
        raise DatasetError(
            f"the array cache in {target.parent} cannot be written ({cause}). Mend that, or set NAS360_CACHE to "
            "another folder"
        ) from cause


def _fill(into: Path, folder: Path, entry: SplitManifest, columns: Mapping[str, Column]) -> None:
    """Decode one split into a folder."""
    from nas360.loaders.content import ContentHash
    from nas360.loaders.repository.parquet import read_columns

    paths = [_checked(folder / file.path, file.bytes, file.sha256) for file in entry.files]
    _check_room(into, entry.rows, columns)
    content = ContentHash(columns)
    stores = {name: _Store(into, name, entry.rows, column) for name, column in columns.items()}
    for rows in read_columns(paths, columns):
        start = content.rows
        content.update(rows)
        if content.rows > entry.rows:
            break
        for name, store in stores.items():
            store.add(start, rows[name])
    if content.rows != entry.rows or content.hexdigest() != entry.content_sha256:
        raise DatasetError(
            f"{folder}: the rows are not those that manifest.json names. Prepare or download the dataset anew"
        )
    for store in stores.values():
        store.finish()
    write_json(into / _DONE, {"rows": entry.rows})


def _check_room(into: Path, rows: int, columns: Mapping[str, Column]) -> None:
    """Refuse to fill a disk: writing to a map of a file that has no room ends the process without a word."""
    needed = rows * sum(
        math.prod(size or 0 for size in column.shape) * column.numpy_dtype.itemsize
        for column in columns.values()
        if column.dtype != "string"
    )
    free = shutil.disk_usage(into).free
    if needed > free:
        raise DatasetError(
            f"the array cache needs {needed:,} bytes, but only {free:,} are free in {into.parent}. Make room, or set "
            "NAS360_CACHE to a folder on another disk"
        )


class _Store:
    """One column's files, filled row by row.

    Where sizes vary, `.values` holds all values one after the other, and `.npy` their sizes.
    """

    def __init__(self, folder: Path, name: str, rows: int, column: Column) -> None:
        self._path, self._values_path = folder / f"{name}.npy", folder / f"{name}.values"
        self._column = column
        self._parts: list[Array] = []  # of strings, and of sizes that vary
        self._fixed: Array | None = None
        if column.dtype != "string" and not column.ragged:
            shape = (rows, *(size for size in column.shape if size is not None))
            self._fixed = np.lib.format.open_memmap(self._path, mode="w+", dtype=column.numpy_dtype, shape=shape)

    def add(self, start: int, values: Array) -> None:
        if self._fixed is not None:
            self._fixed[start : start + len(values)] = values
        elif self._column.ragged:
            self._parts += [np.array([value.shape for value in values], dtype=np.int64)]
            with self._values_path.open("ab") as stream:
                for value in values:
                    stream.write(np.ascontiguousarray(value).tobytes())
        else:
            self._parts.append(values)

    def finish(self) -> None:
        if isinstance(self._fixed, np.memmap):
            self._fixed.flush()
        else:
            np.save(self._path, np.concatenate(self._parts))


def _discard(folder: Path) -> None:
    """Remove a folder; whoever is killed at it leaves none of that name that is not whole."""
    away = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".removing-"))
    try:
        folder.rename(away / folder.name)
    except FileNotFoundError:  # another process was first
        pass
    shutil.rmtree(away, ignore_errors=True)


def _checked(path: Path, size: int, sha256: str) -> Path:
    if not path.is_file():
        raise DatasetError(f"{path} is missing, though manifest.json names it. Prepare or download the dataset anew")
    if path.stat().st_size != size or sha256_file(path) != sha256:
        raise DatasetError(
            f"{path} is not the file that manifest.json names (size or SHA-256). Prepare or download the dataset anew"
        )
    return path
