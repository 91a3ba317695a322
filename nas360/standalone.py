"""What the `metric.py` of a dataset repository does, beside the metric itself; see `nas360.metric_script`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas360.errors import PredictionsError
from nas360.matching import Array, Expected, fit, true_values
from nas360.metrics import Score, State, Values
from nas360.prediction_formats import read_json_file, read_npy, read_npz, size_limit


def score_arrays(
    expected: Expected,
    observe: Callable[..., State],
    reduce: Callable[[State, int], Score],
    predictions: Any,
    references: Values,
    ids: Sequence[str] | None,
    reference_ids: Sequence[str] | None,
    columns: Mapping[str, Any],
) -> Score:
    """Bring predictions into the order of the references, and score them.

    Args:
        expected: what one prediction must be.
        observe: see `Metric`.
        reduce: see `Metric`.
        predictions: an array with one row each, or a list.
        references: true values, one row each.
        ids: one id a prediction; None where the order is that of the references.
        reference_ids: one id a reference; needed with `ids`.
        columns: what the metric needs beside the true values, by keyword.

    Raises:
        PredictionsError: telling every fault.
    """
    if (ids is None) != (reference_ids is None) and ids is not None:
        raise PredictionsError("ids were given without reference_ids: give both, or neither")
    known = [str(row) for row in range(len(references))] if reference_ids is None else list(reference_ids)
    shapes = [np.shape(one) for one in references] if -1 in expected.shape else None
    values, faults = fit(expected, as_values(predictions), ids, known, shapes)
    if faults:
        raise PredictionsError("the predictions do not fit:" + "".join(f"\n  - {fault}" for fault in faults))
    given = {keyword: true_values(expected, column) for keyword, column in columns.items()}
    return reduce(observe(values, true_values(expected, references), **given), expected.n_outputs)


def as_values(predictions: Any) -> Array | list[Array]:
    """An array where all predictions have one shape, else a list of arrays."""
    try:
        return np.asarray(predictions)
    except ValueError:
        return [np.asarray(one) for one in predictions]


def read_references(paths: Sequence[Path], names: Sequence[str]) -> dict[str, Any]:
    """Columns of Parquet files, one file after the other.

    Args:
        paths: the files of a split, in order.
        names: columns to read.

    Returns:
        For each name an array with one row each, or a list of arrays where sizes vary.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as cause:
        raise PredictionsError("reading the references needs pyarrow: pip install pyarrow") from cause
    try:
        for path in paths:
            known = pq.read_schema(path).names
            absent = [name for name in names if name not in known]
            if absent:
                raise PredictionsError(
                    f"{path}: the references have no column {', '.join(map(repr, absent))}; name the Parquet files "
                    f"of a split of this dataset"
                )
        table = pa.concat_tables([pq.read_table(path, columns=list(names)) for path in paths])
    except (OSError, ValueError, KeyError) as cause:
        raise PredictionsError(f"the references cannot be read: {cause}") from cause
    return {name: arrow_rows(table[name].combine_chunks()) for name in names}


def arrow_rows(column: Any) -> Array | list[Array]:
    """Rows of an Arrow array as NumPy: nested lists of one size become one array."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    column = getattr(column, "storage", column)  # of the Array2D and Array3D of the datasets library
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(column.to_pylist(), dtype=np.str_)
    if not pa.types.is_nested(column.type):
        plain: Array = column.to_numpy(zero_copy_only=False)
        return plain
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    inner = arrow_rows(column.flatten())
    if isinstance(inner, np.ndarray) and len(lengths) and (lengths == lengths[0]).all():
        return inner.reshape(len(lengths), int(lengths[0]), *inner.shape[1:])
    ends = np.cumsum(lengths)
    parts = [inner[start:end] for start, end in zip(ends - lengths, ends, strict=True)]
    return [part if isinstance(part, np.ndarray) else np.stack(part) for part in parts]


def score_command(compute: Callable[..., Score], n_outputs: int, columns: Mapping[str, str], folder: Path) -> int:
    """The command line: `python metric.py PREDICTIONS [--references test.parquet ...]`.

    Args:
        compute: scores arrays.
        n_outputs: classes, labels or channels of a prediction.
        columns: keyword of `compute` → column of the references.
        folder: where the references are by default: the dataset repository.

    Returns:
        The exit code: 0, or 2 when what was given is at fault.
    """
    parser = argparse.ArgumentParser(description="Score a predictions file with this task's metric.")
    parser.add_argument("predictions", type=Path, help=".json, .npz or .npy")
    parser.add_argument(
        "--references", type=Path, nargs="+", help="Parquet files of the split, default data/test-*.parquet"
    )
    given = parser.parse_args()
    try:
        paths = given.references or sorted(folder.glob("data/test-*.parquet"))
        if not paths:
            raise PredictionsError(f"no data/test-*.parquet in {folder}; name the files by --references")
        readers = {".json": read_json_file, ".npz": read_npz, ".npy": read_npy}
        suffix = given.predictions.suffix.lower()
        if suffix not in readers or not given.predictions.is_file():
            raise PredictionsError(f"{given.predictions}: must be a file that ends in {', '.join(readers)}")
        found = read_references(paths, ["id", "y", *columns.values()])
        n_values = sum(int(np.size(one)) for one in found["y"])
        ids, values = readers[suffix](given.predictions, size_limit(n_values, len(found["id"]), n_outputs))
        extra = {keyword: found[name] for keyword, name in columns.items()}
        result = compute(values, found["y"], ids, found["id"].tolist(), **extra)
    except (PredictionsError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(json.dumps(result, allow_nan=False) + "\n")
    return 0
