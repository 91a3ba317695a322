"""Predictions files: what a method hands over, in any of six formats."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas360.errors import PredictionsError
from nas360.files import write_bytes, write_json
from nas360.matching import Array, Ragged
from nas360.prediction_formats import Read, read_json_file, read_npy, read_npz
from nas360.prediction_isolation import read_apart
from nas360.prediction_tables import read_csv

DEFAULT_LIMIT = 8 << 30

FORMATS = (".json", ".npz", ".npy", ".csv", ".parquet", ".h5")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions as they came, before anything is known of the task.

    Attributes:
        ids: one id a prediction; None when they are in the order of the split's rows.
        values: one row a prediction: numbers or text (class names), any shape; or, where shapes differ, a list of
            arrays.
        source: where they came from, for messages.
    """

    ids: tuple[str, ...] | None
    values: Array | Ragged
    source: str = "predictions"

    def __len__(self) -> int:
        return len(self.values)


def read_predictions(path: str | Path, limit: int = DEFAULT_LIMIT) -> Predictions:
    """Read a predictions file; `nas360 format TASK` shows what it must hold.

    Args:
        path: a .json, .npz, .npy, .csv, .parquet or .h5 file.
        limit: refuse a file that would unpack to more bytes. Of JSON, text and Python objects take a few times as
            much (see `prediction_formats.read_json_file`), and the file itself is 256 MiB at most.

    Returns:
        What it holds, not yet compared with a task.

    Raises:
        PredictionsError: when the file is absent, empty, too large, damaged, or not of the format's form.
    """
    file = Path(path)
    reader = _reader(file)
    try:
        size = file.stat().st_size
    except OSError as cause:
        raise PredictionsError(f"{file}: cannot be read ({cause.strerror}). Check the name") from cause
    if not file.is_file():
        raise PredictionsError(f"{file}: is not a file. Name a predictions file")
    if size == 0:
        raise PredictionsError(f"{file}: is empty (0 bytes). Write the predictions again")
    ids, values = reader(file, limit)
    return Predictions(ids, values, str(file))


def write_predictions(path: str | Path, ids: Sequence[str] | None, values: Array | Sequence[Array]) -> None:
    """Write a predictions file, atomically; equal predictions give equal bytes.

    Args:
        path: where; .npz (compact) or .json (256 MiB at most when read).
        ids: one id a prediction; None says that they are in the order of the split's rows.
        values: one prediction a row; or arrays of different shapes, which need ids.

    Raises:
        ValueError: when the format cannot hold this, or there are not as many ids as predictions.
    """
    file = Path(path)
    names = None if ids is None else [str(name) for name in ids]
    if names is not None and len(names) != len(values):
        raise ValueError(f"{len(names)} ids for {len(values)} predictions")
    ragged = not isinstance(values, np.ndarray) and len({one.shape for one in values}) > 1
    if ragged and names is None:
        raise ValueError("predictions of different shapes need ids")
    if file.suffix == ".npz":
        if ragged and names is not None:
            arrays = dict(zip(names, values, strict=True))
        else:
            arrays = {"predictions": np.asarray(values)} | (
                {} if names is None else {"ids": np.array(names, dtype=np.str_)}
            )
        write_bytes(file, _npz(arrays))
    elif file.suffix == ".json":
        plain = [one.tolist() for one in values] if ragged else np.asarray(values).tolist()
        write_json(file, {"predictions": plain} if names is None else {"ids": names, "predictions": plain})
    else:
        raise ValueError(f"{file}: predictions are written as .npz or .json, not {file.suffix!r}")


def _npz(arrays: dict[str, Array]) -> bytes:
    # numpy.savez takes names as keywords, which ids like "file" would break
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
    return packed.getvalue()


def _reader(file: Path) -> Callable[[Path, int], Read]:
    suffix = file.suffix.lower()
    readers = {
        ".json": read_json_file,
        ".npz": read_npz,
        ".npy": read_npy,
        ".csv": read_csv,
        ".parquet": read_apart,
        ".h5": read_apart,
    }
    if suffix not in readers:
        raise PredictionsError(f"{file}: the ending {suffix or '(none)'} is not known; allowed: {', '.join(FORMATS)}")
    return readers[suffix]
