"""Readers of predictions from tables (.csv, .parquet) and HDF5 (.h5); the libraries are loaded when one is read.

Those of .parquet and .h5 are called in a process of their own; see `nas360.prediction_isolation`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas360.errors import PredictionsError
from nas360.files import MIB
from nas360.matching import Array, Ragged, shown
from nas360.prediction_formats import (
    MAX_STRING,
    TEXT_LIMIT,
    Ids,
    Read,
    damage_told,
    ids_of,
    require_fields,
    require_plain,
    require_size,
    stacked,
    text_array,
    unpacked_size,
    values_of,
)


def score_columns(path: Path, columns: Sequence[str]) -> list[str]:
    """The columns that hold predictions: `prediction`, or `prediction_0`, `prediction_1`, … in order of their number.

    Raises:
        PredictionsError: when there are none, a number is left out, or there are other columns beside `id`.
    """
    if list(columns).count("id") > 1:
        raise PredictionsError(f"{path}: the column 'id' stands twice; keep one")
    rest = [name for name in columns if name != "id"]
    if rest == ["prediction"]:
        return rest
    numbered = {
        int(found[1]): name for name in rest if (found := re.fullmatch(r"prediction_(0|[1-9][0-9]{0,5})", name))
    }
    if not numbered or sorted(numbered) != list(range(len(rest))):
        raise PredictionsError(
            f"{path}: has the columns {shown(list(columns)) or '(none)'}; allowed are 'id' and either 'prediction' or "
            "'prediction_0', 'prediction_1' and so on without a gap"
        )
    return [numbered[number] for number in range(len(rest))]


def read_csv(path: Path, limit: int) -> Read:
    """Columns `id` (optional) and `prediction`, or `prediction_0` and so on; a header line, commas, UTF-8."""
    size = path.stat().st_size
    if size > TEXT_LIMIT:
        raise PredictionsError(
            f"{path}: {size / MIB:,.0f} MiB, more than the {TEXT_LIMIT / MIB:,.0f} MiB allowed for CSV"
        )
    with damage_told(path, "CSV"), path.open(encoding="utf-8-sig", newline="") as stream:
        try:
            lines = csv.reader(stream, strict=True)
            header = next(lines, [])
            names = score_columns(path, header)
            chosen = [header.index(name) for name in names]
            texts: list[str] = []
            parts: Ragged = []
            ids: list[str] = []
            for line in lines:
                if not line:
                    continue
                if len(line) != len(header):
                    raise PredictionsError(
                        f"{path}: line {lines.line_num} has {len(line)} cells, where the header has {len(header)}"
                    )
                if "id" in header:
                    ids.append(line[header.index("id")])
                if names == ["prediction"]:
                    texts.append(line[chosen[0]])
                else:
                    parts.append(numbers(path, lines.line_num, [line[column] for column in chosen]))
                require_size(path, (len(texts) + len(parts)) * len(names) * np.dtype(np.float64).itemsize, limit)
        except csv.Error as cause:
            raise ValueError(f"line {lines.line_num}: {cause}") from cause
    found_ids = tuple(ids) if "id" in header else None
    if names == ["prediction"]:
        return found_ids, numbers_or_names(path, texts, limit)
    return found_ids, np.array(parts).reshape(len(parts), len(names))


def numbers(path: Path, line: int, cells: list[str]) -> Array:
    """Cells of scores, as float64."""
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError as cause:
        raise PredictionsError(f"{path}: line {line}: {cause}; give numbers in the prediction columns") from cause


def numbers_or_names(path: Path, cells: list[str], limit: int) -> Array:
    """Numbers where every cell is one; class names otherwise."""
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        return text_array(path, cells, limit)


def read_parquet(path: Path, limit: int) -> Read:
    """Columns `id` (optional) and `prediction` (numbers, text, or lists of numbers), or `prediction_0` and so on."""
    with damage_told(path, "Parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        texts = [field.name for field in pq.read_schema(path) if field.type in (pa.string(), pa.large_string())]
        # text stays a dictionary, so that a file cannot repeat a long one for ever
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            names = score_columns(path, file.schema_arrow.names)
            chunks = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
            counts = [chunk.column(number).num_values for chunk in chunks for number in range(chunk.num_columns)]
            require_size(path, sum(counts) * np.dtype(np.float64).itemsize, limit)
            require_size(path, sum(chunk.total_byte_size for chunk in chunks), limit)
            table = file.read()
        ids = ids_of(path, strings(path, table["id"])) if "id" in table.column_names else None
        if names == ["prediction"]:
            return ids, arrow_values(path, table["prediction"], limit)
        return ids, np.stack([require_plain(path, table[name].to_numpy()) for name in names], axis=1)


def strings(path: Path, column: Any) -> list[str]:
    """A column of text; none of it may be longer than an id or a class name can be."""
    import pyarrow as pa
    import pyarrow.compute as pc

    combined = column.unify_dictionaries().combine_chunks() if pa.types.is_dictionary(column.type) else column
    texts = getattr(combined, "dictionary", combined)
    if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
        raise PredictionsError(f"{path}: holds {column.type}, where text was expected")
    if len(texts) and (pc.max(pc.binary_length(texts)).as_py() or 0) > MAX_STRING:
        raise PredictionsError(f"{path}: holds a text of more than {MAX_STRING} bytes as an id or class name")
    items: list[str] = combined.to_pylist()
    return items


def arrow_values(path: Path, column: Any, limit: int) -> Array | Ragged:
    """Values of one column: numbers, text, or nested lists of numbers."""
    import pyarrow as pa

    if column.null_count:
        raise PredictionsError(f"{path}: {column.null_count:,} predictions are null; give a number for each")
    if pa.types.is_dictionary(column.type) or pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return text_array(path, strings(path, column), limit)
    if not pa.types.is_nested(column.type):
        return require_plain(path, column.to_numpy())
    return values_of(path, column.to_pylist(), limit)


def read_h5(path: Path, limit: int) -> Read:
    """Datasets `predictions` and, optionally, `ids`; where shapes vary, `predictions` is a group of datasets by id."""
    with damage_told(path, "HDF5"):
        import h5py

        with h5py.File(path, "r") as file:
            require_fields(path, list(file))
            predictions = h5_item(path, file, "predictions")
            if isinstance(predictions, h5py.Group) and "ids" not in file:
                names: Ids = tuple(predictions)
                found = [h5_item(path, predictions, name) for name in names]
                require_size(path, sum(h5_bytes(path, one) for one in found), limit)
                return names, stacked([h5_array(path, one, limit) for one in found])
            ids = ids_of(path, h5_array(path, h5_item(path, file, "ids"), limit)) if "ids" in file else None
            return ids, require_plain(path, h5_array(path, predictions, limit))


def h5_item(path: Path, group: Any, name: str) -> Any:
    """A member of a group, not followed out of the file."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise PredictionsError(f"{path}: {name!r} is a link; put the data itself there")
    return group[name]


def h5_bytes(path: Path, dataset: Any) -> int:
    """Bytes of a dataset when unpacked."""
    import h5py

    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external or dataset.shape is None:
        raise PredictionsError(
            f"{path}: {dataset.name!r} is not a plain dataset; write arrays of numbers, and ids as text"
        )
    return unpacked_size(dataset.shape, int(dataset.dtype.itemsize))


def h5_array(path: Path, dataset: Any, limit: int) -> Array:
    """A dataset's array of numbers or text, with a prediction a row."""
    import h5py

    require_size(path, h5_bytes(path, dataset), limit)
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return text_array(path, dataset.asstr()[...].tolist(), limit)
    if not dataset.shape:
        raise PredictionsError(f"{path}: {dataset.name!r} is a single value, where one prediction a row was expected")
    array: Array = dataset[...]
    return require_plain(path, array)
