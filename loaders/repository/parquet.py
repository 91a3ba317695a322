"""Columns to Parquet files as the Hub likes them, and back.

zstd, byte-stream-split for floats, dictionaries only for labels and bytes, a page index, row groups small enough for
range reads, and the `datasets` feature types in the schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nas360.errors import DatasetError
from nas360.files import MIB, atomic_path, sha256_file
from nas360.loaders.base import Array, Column, Rows

SHARD_BYTES = 400 * MIB


@dataclass(frozen=True)
class _Group:
    """How much a row group may hold."""

    rows: int
    n_bytes: int


GROUP = _Group(rows=65_536, n_bytes=32 * MIB)

MAX_GROUP_BYTES = 1024 * MIB
"""What a column of a row group that is read may hold, unpacked: files come from outside, and pack zeros to nothing."""

MAX_TEXT_BYTES = 512
"""Ids and names of groups are short, and as an array all are as wide as the longest."""


def features(columns: Mapping[str, Column]) -> datasets.Features:
    """The Hugging Face feature types of a dataset's columns."""
    return datasets.Features({name: _feature(column) for name, column in columns.items()})


def _feature(column: Column) -> Any:
    value = datasets.ClassLabel(names=list(column.names)) if column.names else datasets.Value(column.dtype)
    if len(column.shape) <= 1 or column.ragged:
        for size in reversed(column.shape):
            value = datasets.List(value, length=-1 if size is None else size)
        return value
    fixed = {2: datasets.Array2D, 3: datasets.Array3D, 4: datasets.Array4D}[len(column.shape)]
    return fixed(shape=column.shape, dtype=column.dtype)


def fits(value: Array, column: Column) -> bool:
    """Whether one row's value has the column's dtype and shape; sizes that vary may be any."""
    return (
        value.dtype == column.numpy_dtype
        and value.ndim == len(column.shape)
        and all(size is None or size == got for size, got in zip(column.shape, value.shape, strict=True))
    )


def _to_arrow(values: Array, column: Column, kind: pa.DataType) -> pa.Array:
    """One column of a batch, without a Python object per value."""
    if column.dtype == "string":
        return pa.array(values.tolist(), type=pa.string())
    if column.ragged:
        return _ragged_to_arrow(values, column)
    dtype = column.numpy_dtype
    if values.dtype != dtype or values.shape[1:] != column.shape:
        raise ValueError(f"got {values.dtype}{values.shape[1:]}, the column is {dtype}{column.shape}")
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    if len(column.shape) == 0:
        return flat
    if len(column.shape) == 1:
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    nested = flat
    for size in reversed(values.shape[1:]):
        offsets = pa.array(np.arange(0, len(nested) + 1, size, dtype=np.int32))
        nested = pa.ListArray.from_arrays(offsets, nested)
    return pa.ExtensionArray.from_storage(kind, nested)


def _ragged_to_arrow(values: Array, column: Column) -> pa.Array:
    """Values of different sizes as lists in lists."""
    several = column.shape.count(None) > 1  # then an empty value's shape could not be told from its lists
    wrong = [
        value
        for value in values
        if not isinstance(value, np.ndarray) or not fits(value, column) or (several and not value.size)
    ]
    if wrong:
        got = f"{wrong[0].dtype}{wrong[0].shape}" if isinstance(wrong[0], np.ndarray) else type(wrong[0]).__name__
        raise ValueError(f"got {got}, the column is {column.numpy_dtype}{column.shape}")
    sizes = np.array([value.shape for value in values], dtype=np.int64).reshape(len(values), len(column.shape))
    flat = [np.ascontiguousarray(value).reshape(-1) for value in values]
    nested = pa.array(np.concatenate(flat) if flat else np.empty(0, column.numpy_dtype))
    for level in reversed(range(len(column.shape))):
        size = column.shape[level]
        if size is not None and level > 0:
            nested = pa.FixedSizeListArray.from_arrays(nested, size)
            continue
        # a row has as many lists at this level as the product of its sizes above
        lengths = np.repeat(sizes[:, level], sizes[:, :level].prod(axis=1))
        nested = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], lengths.cumsum()]).astype(np.int32)), nested)
    return nested


def to_numpy(array: pa.Array, column: Column) -> Array:
    """One Arrow column chunk as a NumPy array of shape (n, *column.shape); of objects where sizes vary.

    Raises:
        DatasetError: when the file's values have another size than the column declares.
    """
    if column.dtype == "string":
        return _texts_to_numpy(array)
    if column.ragged:
        return _ragged_to_numpy(array, column)
    dtype = column.numpy_dtype
    n, flat = len(array), array
    if isinstance(flat, pa.ExtensionArray):
        flat = flat.storage
    while pa.types.is_nested(flat.type):
        flat = flat.flatten()
    shape = tuple(size for size in column.shape if size is not None)
    values = flat.to_numpy(zero_copy_only=False)
    if values.size != n * int(np.prod(shape)) or flat.null_count:
        raise DatasetError(
            f"a column holds {values.size} values (or empty ones) in {n} rows, where each row must hold {column.shape}"
        )
    return np.asarray(values, dtype=dtype).reshape(n, *shape)


def _texts_to_numpy(array: pa.Array) -> Array:
    packed = isinstance(array, pa.DictionaryArray)
    different = array.dictionary if packed else array
    longest = pc.max(pc.binary_length(different)).as_py() or 0
    if array.null_count or different.null_count or longest > MAX_TEXT_BYTES:
        raise DatasetError(f"a column of texts holds empty values, or one of more than {MAX_TEXT_BYTES} bytes")
    return np.array((array.dictionary_decode() if packed else array).to_pylist(), dtype=np.str_)


def _ragged_to_numpy(array: pa.Array, column: Column) -> Array:
    wrong = DatasetError(f"a column holds values that are not of shape {column.shape}, or empty ones")
    sizes = np.empty((len(array), len(column.shape)), dtype=np.int64)
    above = np.ones(len(array), dtype=np.int64)  # lists that belong to each row at this level
    nested = array
    for level, size in enumerate(column.shape):
        if not pa.types.is_nested(nested.type) or nested.null_count:
            raise wrong
        lengths = pc.list_value_length(nested).to_numpy(zero_copy_only=False).astype(np.int64)
        first = np.minimum(above.cumsum() - above, max(len(lengths) - 1, 0))
        sizes[:, level] = np.where(above > 0, lengths[first] if len(lengths) else 0, size or 0)
        if (lengths != np.repeat(sizes[:, level], above)).any() or (size is not None and (lengths != size).any()):
            raise wrong
        above *= sizes[:, level]
        nested = nested.flatten()
    if pa.types.is_nested(nested.type) or nested.null_count:
        raise wrong
    flat = np.asarray(nested.to_numpy(zero_copy_only=False), dtype=column.numpy_dtype)
    return split_flat(flat, sizes)


def split_flat(flat: Array, sizes: npt.NDArray[np.int64]) -> Array:
    """Values of different shapes from one after the other.

    Args:
        flat: all values, (total,).
        sizes: shape of each value, (n, ndim).

    Returns:
        An object array (n,) of views of `flat`.
    """
    out = np.empty(len(sizes), dtype=object)
    ends = sizes.prod(axis=1).cumsum()
    start = 0
    for row, (end, shape) in enumerate(zip(ends.tolist(), sizes.tolist(), strict=True)):
        out[row] = flat[start:end].reshape(shape)
        start = end
    return out


@dataclass(frozen=True)
class Shard:
    """One finished Parquet file."""

    path: Path
    rows: int
    n_bytes: int
    sha256: str


def write_split(folder: Path, split: str, columns: Mapping[str, Column], batches: Iterable[Rows]) -> list[Shard]:
    """Write one split as `split-NNNNN-of-NNNNN.parquet` files.

    The bytes depend on the rows alone, not on how they are cut into batches.

    Args:
        folder: where the files go; files take their final names when all of the split is written.
        split: name of the split.
        columns: types of the columns.
        batches: rows, in order.

    Returns:
        The shards, in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    schema = features(columns).arrow_schema
    written: list[tuple[Path, int]] = []
    groups = _groups(((_table(rows, columns, schema), _row_bytes(rows, columns)) for rows in batches), GROUP)
    # an empty split is still one file, with the schema
    pending: tuple[pa.Table, int] | None = next(groups, (schema.empty_table(), 0))
    while pending is not None:
        path = folder / f"{split}-{len(written):05d}.unfinished.parquet"
        rows = n_bytes = 0
        with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, **_options(columns)) as writer:
            while pending is not None and (rows == 0 or n_bytes + pending[1] <= SHARD_BYTES):
                writer.write_table(pending[0], row_group_size=max(1, len(pending[0])))
                rows, n_bytes = rows + len(pending[0]), n_bytes + pending[1]
                pending = next(groups, None)
        written.append((path, rows))
    shards = []
    for number, (path, rows) in enumerate(written):
        final = path.replace(folder / f"{split}-{number:05d}-of-{len(written):05d}.parquet")
        shards.append(Shard(final, rows, final.stat().st_size, sha256_file(final)))
    return shards


def _row_bytes(rows: Rows, columns: Mapping[str, Column]) -> npt.NDArray[np.int64]:
    """Bytes of each row before compression, (n,)."""
    n = len(rows["id"])
    total = np.zeros(n, dtype=np.int64)
    for name, column in columns.items():
        if column.dtype == "string":
            total += 16
        elif column.ragged:
            total += np.fromiter((value.nbytes for value in rows[name]), np.int64, n)
        else:
            total += rows[name].nbytes // max(1, n)
    return total


def _options(columns: Mapping[str, Column]) -> dict[str, Any]:
    leaves = {name: name + ".list.element" * len(column.shape) for name, column in columns.items()}
    small = [name for name, column in columns.items() if column.names or column.dtype in ("uint8", "int8", "bool")]
    return {
        "compression": "zstd",
        # Parquet has no integer below 32 bits: without a dictionary a byte takes four
        "use_dictionary": [leaves[name] for name in small],
        "use_byte_stream_split": [leaves[name] for name in leaves if columns[name].dtype.startswith("float")],
        "write_page_index": True,
    }


def _table(rows: Rows, columns: Mapping[str, Column], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_arrays(
        [_to_arrow(rows[name], column, schema.field(name).type) for name, column in columns.items()], schema=schema
    )


def _groups(tables: Iterable[tuple[pa.Table, npt.NDArray[np.int64]]], limit: _Group) -> Iterator[tuple[pa.Table, int]]:
    """The same rows in tables that are as large as `limit` allows, however they came; each with its bytes."""
    held: list[pa.Table] = []
    rows = n_bytes = 0
    for table, row_bytes in tables:
        start = 0
        while start < len(table):
            ends = n_bytes + row_bytes[start:].cumsum()
            # one row always fits, lest there be no end
            fitting = max(int(np.searchsorted(ends, limit.n_bytes, side="right")), int(rows == 0))
            taken = min(fitting, limit.rows - rows)
            if taken:
                held.append(table.slice(start, taken))
                rows, n_bytes, start = rows + taken, int(ends[taken - 1]), start + taken
            if start < len(table) or rows == limit.rows:
                yield pa.concat_tables(held).combine_chunks(), n_bytes
                held, rows, n_bytes = [], 0, 0
    if held:
        yield pa.concat_tables(held).combine_chunks(), n_bytes


def read_columns(paths: Iterable[Path], columns: Mapping[str, Column], batch_rows: int = 4096) -> Iterator[Rows]:
    """Rows of Parquet files, in order, as column batches.

    Raises:
        DatasetError: when a file is damaged or lacks a column.
    """
    texts = [name for name, column in columns.items() if column.dtype == "string"]
    for path in paths:
        try:
            # as dictionaries texts take no more memory than in the file, until their lengths are known
            file = pq.ParquetFile(path, read_dictionary=texts)
            missing = set(columns) - set(file.schema_arrow.names)
            if missing:
                raise DatasetError(f"{path}: lacks the columns {', '.join(sorted(missing))}. Prepare the dataset anew")
            for group in range(file.num_row_groups):  # one by one, since these are bounded in bytes
                _check_size(path, file.metadata.row_group(group), columns)
                for batch in file.iter_batches(batch_size=batch_rows, row_groups=[group], columns=list(columns)):
                    yield {name: to_numpy(batch.column(name), column) for name, column in columns.items()}
        except (pa.ArrowException, OSError) as cause:
            raise DatasetError(
                f"{path}: not a readable Parquet file ({cause}). Prepare or download the dataset anew"
            ) from cause


def _check_size(path: Path, group: pq.RowGroupMetaData, columns: Mapping[str, Column]) -> None:
    """Refuse a row group that would fill the memory, before any of it is unpacked."""
    for number in range(group.num_columns):
        chunk = group.column(number)
        column = columns.get(chunk.path_in_schema.partition(".")[0])
        if column is None:
            continue
        width = 1 if column.dtype == "string" else column.numpy_dtype.itemsize
        n_bytes = max(chunk.num_values * width, chunk.total_uncompressed_size)
        if n_bytes > MAX_GROUP_BYTES:
            raise DatasetError(
                f"{path}: {chunk.path_in_schema} has {n_bytes / MIB:,.0f} MiB in one row group, more than the "
                f"{MAX_GROUP_BYTES // MIB:,} MiB that are read at once. Write it in smaller groups"
            )
