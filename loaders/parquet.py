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
import pyarrow as pa
import pyarrow.parquet as pq

from nas360.errors import DatasetError
from nas360.files import MIB, atomic_path, sha256_file
from nas360.loaders.base import Array, Column, Rows

ROW_GROUP_BYTES = 64 * MIB
SHARD_BYTES = 400 * MIB


def features(columns: Mapping[str, Column]) -> datasets.Features:
    """The Hugging Face feature types of a dataset's columns."""
    return datasets.Features({name: _feature(column) for name, column in columns.items()})


def _feature(column: Column) -> Any:
    if column.names:
        return datasets.ClassLabel(names=list(column.names))
    value = datasets.Value(column.dtype)
    if len(column.shape) == 0:
        return value
    if len(column.shape) == 1:
        return datasets.List(value, length=column.shape[0])
    fixed = {2: datasets.Array2D, 3: datasets.Array3D, 4: datasets.Array4D}[len(column.shape)]
    return fixed(shape=column.shape, dtype=column.dtype)


def _to_arrow(values: Array, column: Column, kind: pa.DataType) -> pa.Array:
    """One column of a batch, without a Python object per value."""
    if column.dtype == "string":
        return pa.array(values.tolist(), type=pa.string())
    dtype = column.numpy_dtype
    if values.dtype != dtype or values.shape[1:] != column.shape:
        raise ValueError(f"got {values.dtype}{values.shape[1:]}, the column is {dtype}{column.shape}")
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    if len(column.shape) == 0:
        return flat
    if len(column.shape) == 1:
        return pa.FixedSizeListArray.from_arrays(flat, column.shape[0])
    nested = flat
    for size in reversed(column.shape):
        offsets = pa.array(np.arange(0, len(nested) + 1, size, dtype=np.int32))
        nested = pa.ListArray.from_arrays(offsets, nested)
    return pa.ExtensionArray.from_storage(kind, nested)


def to_numpy(array: pa.Array, column: Column) -> Array:
    """One Arrow column chunk as a NumPy array of shape (n, *column.shape).

    Raises:
        DatasetError: when the file's values have another size than the column declares.
    """
    if column.dtype == "string":
        return np.array(array.to_pylist(), dtype=np.str_)
    dtype = column.numpy_dtype
    n, flat = len(array), array
    if isinstance(flat, pa.ExtensionArray):
        flat = flat.storage
    while pa.types.is_nested(flat.type):
        flat = flat.flatten()
    values = flat.to_numpy(zero_copy_only=False)
    if values.size != n * int(np.prod(column.shape)) or flat.null_count:
        raise DatasetError(
            f"a column holds {values.size} values (or empty ones) in {n} rows, where each row must hold {column.shape}"
        )
    return np.asarray(values, dtype=dtype).reshape(n, *column.shape)


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
    row_bytes = max(1, sum(_row_bytes(column) for column in columns.values()))
    group_rows = max(1, min(65_536, ROW_GROUP_BYTES // row_bytes))
    groups_a_shard = max(1, SHARD_BYTES // (group_rows * row_bytes))
    written: list[tuple[Path, int]] = []
    groups = _regroup((_table(rows, columns, schema) for rows in batches), group_rows)
    pending: pa.Table | None = next(groups, schema.empty_table())  # an empty split is still one file, with the schema
    while pending is not None:
        path = folder / f"{split}-{len(written):05d}.unfinished.parquet"
        rows = 0
        with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, **_options(columns)) as writer:
            for _ in range(groups_a_shard):
                writer.write_table(pending, row_group_size=group_rows)
                rows += len(pending)
                pending = next(groups, None)
                if pending is None:
                    break
        written.append((path, rows))
    shards = []
    for number, (path, rows) in enumerate(written):
        final = path.replace(folder / f"{split}-{number:05d}-of-{len(written):05d}.parquet")
        shards.append(Shard(final, rows, final.stat().st_size, sha256_file(final)))
    return shards


def _row_bytes(column: Column) -> int:
    if column.dtype == "string":
        return 16
    return int(np.prod(column.shape)) * column.numpy_dtype.itemsize


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


def _regroup(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows` rows, the last one shorter."""
    held: list[pa.Table] = []
    n_held = 0
    for table in tables:
        start = 0
        while start < len(table):
            piece = table.slice(start, rows - n_held)
            held.append(piece)
            n_held += len(piece)
            start += len(piece)
            if n_held == rows:
                yield pa.concat_tables(held).combine_chunks()
                held, n_held = [], 0
    if held:
        yield pa.concat_tables(held).combine_chunks()


def read_columns(paths: Iterable[Path], columns: Mapping[str, Column], batch_rows: int = 4096) -> Iterator[Rows]:
    """Rows of Parquet files, in order, as column batches.

    Raises:
        DatasetError: when a file is damaged or lacks a column.
    """
    for path in paths:
        try:
            file = pq.ParquetFile(path)
            missing = set(columns) - set(file.schema_arrow.names)
            if missing:
                raise DatasetError(f"{path}: lacks the columns {', '.join(sorted(missing))}. Prepare the dataset anew")
            for batch in file.iter_batches(batch_size=batch_rows, columns=list(columns)):
                yield {name: to_numpy(batch.column(name), column) for name, column in columns.items()}
        except (pa.ArrowException, OSError) as cause:
            raise DatasetError(
                f"{path}: not a readable Parquet file ({cause}). Prepare or download the dataset anew"
            ) from cause
