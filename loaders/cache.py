"""Splits as memory-mapped arrays.

Decoded once, keyed by the hash of their content, shared by every process that trains.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nas360.errors import DatasetError
from nas360.files import sha256_file, write_json
from nas360.loaders.base import Array, Column
from nas360.loaders.manifest import Manifest, SplitManifest
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
        Column name → array of shape (rows, *column.shape); strings as a unicode array.

    Raises:
        DatasetError: when a Parquet file is missing, damaged, or not the one that the manifest names.
    """
    entry = manifest.splits[split]
    target = cache_root() / LAYOUT / entry.content_sha256
    if not (target / _DONE).exists():
        _decode(folder, entry, columns, target)
    try:
        return {name: _open(target / f"{name}.npy", entry.rows, column) for name, column in columns.items()}
    except (OSError, ValueError) as cause:
        _discard(target)
        raise DatasetError(
            f"the array cache in {target} was damaged ({cause}) and has been removed. Run again"
        ) from cause


def _open(path: Path, rows: int, column: Column) -> Array:
    # a plain array over the map: np.memmap's own subclass makes every index slower
    array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    if array.shape != (rows, *column.shape):
        raise ValueError(f"{path.name} has shape {array.shape}")
    return array


def _decode(folder: Path, entry: SplitManifest, columns: Mapping[str, Column], target: Path) -> None:
    """Write all columns into a temporary folder and rename it.

    Two processes may do so at once, the last one wins nothing.
    """
    from nas360.loaders.content import ContentHash
    from nas360.loaders.parquet import read_columns

    paths = [_checked(folder / file.path, file.bytes, file.sha256) for file in entry.files]
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".decoding-"))
    content = ContentHash(columns)
    try:
        numeric = {
            name: np.lib.format.open_memmap(
                temporary / f"{name}.npy", mode="w+", dtype=column.numpy_dtype, shape=(entry.rows, *column.shape)
            )
            for name, column in columns.items()
            if column.dtype != "string"
        }
        texts: dict[str, list[Array]] = {name: [] for name, column in columns.items() if column.dtype == "string"}
        for rows in read_columns(paths, columns):
            start = content.rows
            content.update(rows)
            if content.rows > entry.rows:
                break
            for name, array in numeric.items():
                array[start : content.rows] = rows[name]
            for name, parts in texts.items():
                parts.append(rows[name])
        if content.rows != entry.rows or content.hexdigest() != entry.content_sha256:
            raise DatasetError(
                f"{folder}: the rows are not those that manifest.json names. Prepare or download the dataset anew"
            )
        for array in numeric.values():
            array.flush()
        for name, parts in texts.items():
            np.save(temporary / f"{name}.npy", np.concatenate(parts))
        write_json(temporary / _DONE, {"rows": entry.rows})
        if target.exists() and not (target / _DONE).exists():
            _discard(target)  # what a removal that was killed left
        try:
            temporary.rename(target)
        except OSError:  # another process was first
            if not (target / _DONE).exists():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
