"""The rows of a dataset repository against what the task's columns, labels and groups must be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from nas360.errors import DatasetError
from nas360.loaders.base import Array, Column, Rows, Task
from nas360.loaders.content import ContentHash
from nas360.loaders.repository.manifest import DataFile, SplitManifest
from nas360.loaders.repository.parquet import features, fits, read_columns, to_numpy
from nas360.loaders.repository.verify import Faults, Report
from nas360.matching import shown
from nas360.seeding import derive
from nas360.task import Dense, MultiLabel, Point, TaskSpec

PROBED = 3
"""Rows drawn from each file in a quick check, beside the first and the last one."""


@dataclass
class _Split:
    """What was seen of one split.

    Attributes:
        ids: parts of its ids, in order.
        keys: column of names → its values; the group column and other texts.
        label_counts: rows of each class or label.
        not_finite: column → ids of rows with NaN or an infinity.
        bad_labels: ids of rows whose label the task does not allow, with what is wrong.
    """

    label_counts: npt.NDArray[np.int64]
    ids: list[Array] = field(default_factory=list)
    keys: dict[str, set[str]] = field(default_factory=dict)
    not_finite: dict[str, list[str]] = field(default_factory=dict)
    bad_labels: dict[str, list[str]] = field(default_factory=dict)

    def see(self, rows: Rows, columns: Mapping[str, Column], spec: TaskSpec) -> None:
        """Look at some rows."""
        ids = rows["id"]
        self.ids.append(ids)
        for name, values in rows.items():
            if name == spec.group or name in spec.apart or (columns[name].dtype == "string" and name != "id"):
                self.keys.setdefault(name, set()).update(np.unique(values.astype(str)).tolist())
            if columns[name].dtype.startswith("float"):
                # of maps that differ in size parts may be unknown, which NaN stands for
                bad = ~_sound(values, nan_allowed=name == "y" and columns[name].ragged)
                if bad.any():
                    self.not_finite.setdefault(name, []).extend(ids[bad].tolist())
        if "y" in rows:
            for what, bad in _label_faults(rows["y"], spec, self.label_counts):
                if bad.any():
                    self.bad_labels.setdefault(what, []).extend(ids[bad].tolist())


def check_rows(
    folder: Path,
    task: Task,
    entries: Mapping[str, SplitManifest],
    damaged: frozenset[str],
    quick: bool,
    faults: Faults,
    report: Report,
) -> None:
    """Check the splits of one configuration.

    Args:
        folder: the repository.
        task: its task.
        entries: name → what the manifest says, for the splits that must not share ids or groups.
        damaged: paths that are not to be decoded.
        quick: see `verify`.
        faults: where faults go.
        report: told of the progress.
    """
    columns = task.loader.columns
    seen: dict[str, _Split] = {}
    done, total = 0, sum(entry.rows for entry in entries.values())
    for name, entry in entries.items():
        split = _Split(np.zeros(task.spec.output.channels, dtype=np.int64))
        if entry.rows == 0:
            faults.error("empty_split", f"{name} has no rows. Prepare the dataset anew")
        sound = [file for file in entry.files if file.path not in damaged and _readable(folder, file, columns, faults)]
        try:
            if quick:
                _probe(folder, sound, columns, split, task.spec)
            content = ContentHash(columns)
            for rows in _read(folder, sound, columns, task.spec, quick):
                split.see(rows, columns, task.spec)
                if not quick:
                    content.update(rows)
                done += len(rows["id"])
                report("read", done, total)
        except (DatasetError, ValueError, TypeError, OverflowError) as cause:
            faults.error("rows", f"{name}: its rows cannot be decoded as the columns say ({cause}). Prepare it anew")
            continue
        _tell(name, split, faults)
        if len(sound) < len(entry.files):
            continue
        seen[name] = split
        if not quick and content.hexdigest() != entry.content_sha256:
            faults.error(
                "content_sha256", f"{name}: the rows are not those that manifest.json was written for. Prepare it anew"
            )
        _check_units(name, split, entry, task.spec, faults)
    _check_ids(seen, faults)
    _check_groups(seen, task.spec, faults)
    _check_classes(seen, task.spec, faults)


def _readable(folder: Path, file: DataFile, columns: Mapping[str, Column], faults: Faults) -> bool:
    """Whether a file is Parquet with the schema and the number of rows that it must have."""
    try:
        metadata = pq.read_metadata(folder / file.path)
        schema = pq.read_schema(folder / file.path)
    except (pa.ArrowException, OSError) as cause:
        faults.error("parquet", f"{file.path}: not a readable Parquet file ({cause}). Prepare the dataset anew")
        return False
    wanted = features(columns).arrow_schema
    if not schema.equals(wanted, check_metadata=False):
        faults.error(
            "schema",
            f"{file.path}: the columns are {_columns(schema)}; the task's are {_columns(wanted)}. Prepare it anew",
        )
        return False
    if (schema.metadata or {}).get(b"huggingface") != wanted.metadata[b"huggingface"]:
        faults.error(
            "schema", f"{file.path}: its Hugging Face feature types (metadata) are not the task's. Prepare it anew"
        )
    if metadata.num_rows != file.rows:
        faults.error(
            "row_count", f"{file.path}: holds {metadata.num_rows:,} rows, in manifest.json {file.rows:,}. Prepare anew"
        )
    _check_texts(folder, file, [name for name, column in columns.items() if column.dtype == "string"], faults)
    return True


def _check_texts(folder: Path, file: DataFile, names: list[str], faults: Faults) -> None:
    """Texts may not be empty values, which would be read as words; of numbers these stop the decoding."""
    try:
        table = pq.read_table(folder / file.path, columns=names)
    except (pa.ArrowException, OSError) as cause:
        faults.error("parquet", f"{file.path}: not a readable Parquet file ({cause}). Prepare the dataset anew")
        return
    for name in names:
        if table.column(name).null_count:
            faults.error("null", f"{file.path}: {name} is empty in some rows. Prepare it anew")


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{item.name} {item.type}" for item in schema)[:500]


def _read(
    folder: Path, files: list[DataFile], columns: Mapping[str, Column], spec: TaskSpec, quick: bool
) -> Iterator[Rows]:
    """All rows; in a quick check only those columns that are small in every row."""
    light = {
        name: column
        for name, column in columns.items()
        if not quick
        or column.dtype == "string"
        or column.names
        or not column.shape
        or (name == "y" and not isinstance(spec.output, Dense))
    }
    return read_columns([folder / file.path for file in files], light)


def _probe(folder: Path, files: list[DataFile], columns: Mapping[str, Column], split: _Split, spec: TaskSpec) -> None:
    """Decode the first, the last and some other rows of each file, all columns."""
    looked_at = _Split(split.label_counts.copy())
    for file in files:
        n = pq.read_metadata(folder / file.path).num_rows
        if not n:
            continue
        drawn = derive(0, "verify", file.path).integers(0, n, PROBED).tolist()
        for rows in _rows_at(folder / file.path, sorted({0, n - 1, *drawn}), columns):
            looked_at.see(rows, columns, spec)
    split.not_finite = looked_at.not_finite
    if "y" in columns and isinstance(spec.output, Dense):
        split.bad_labels = looked_at.bad_labels


def _rows_at(path: Path, numbers: list[int], columns: Mapping[str, Column]) -> Iterator[Rows]:
    """Single rows of a Parquet file, which must fit their columns.

    Raises:
        DatasetError: when one does not, or the file is damaged.
    """
    try:
        with pq.ParquetFile(path) as file:
            first = 0
            for group in range(file.num_row_groups):
                n = file.metadata.row_group(group).num_rows
                here = [number - first for number in numbers if first <= number < first + n]
                if here:
                    table = file.read_row_group(group, columns=list(columns)).take(here)
                    table = table.combine_chunks()
                    rows = {
                        name: to_numpy(pa.concat_arrays(table.column(name).chunks), column)
                        for name, column in columns.items()
                    }
                    for name, column in columns.items():
                        if column.dtype != "string" and not all(fits(np.asarray(row), column) for row in rows[name]):
                            raise DatasetError(f"{path.name}: {name} holds values that are not {column.shape}")
                    yield rows
                first += n
    except (pa.ArrowException, OSError) as cause:
        raise DatasetError(f"{path.name}: {cause}") from cause


def _sound(values: Array, nan_allowed: bool) -> npt.NDArray[np.bool_]:
    """Which rows hold only finite numbers, or NaN too, (n,)."""
    if values.dtype == object:
        return np.fromiter((_sound(value[None], nan_allowed)[0] for value in values), bool, len(values))
    sound = ~np.isinf(values) if nan_allowed else np.isfinite(values)
    return np.asarray(sound.reshape(len(values), -1).all(axis=1))


def _label_faults(
    y: Array, spec: TaskSpec, counts: npt.NDArray[np.int64]
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """What is wrong with labels → which rows, (n,); rows of each class or label are added to `counts`."""
    n = len(counts)
    if isinstance(spec.output, Point):
        outside = (y < 0) | (y >= n)
        counts += np.bincount(y[~outside].astype(np.int64), minlength=n)
        yield f"class indices outside 0 to {n - 1}", outside
    elif isinstance(spec.output, MultiLabel) and y.dtype == object:
        row = np.repeat(np.arange(len(y)), [len(value) for value in y])
        flat = np.concatenate(list(y)) if len(y) else np.empty(0, np.int64)
        outside = (flat < 0) | (flat >= n)
        counts += np.bincount(flat[~outside], minlength=n)
        twice = np.fromiter((len(np.unique(value)) < len(value) for value in y), bool, len(y))
        yield f"label indices outside 0 to {n - 1}", np.isin(np.arange(len(y)), row[outside])
        yield "a label twice", twice
    elif isinstance(spec.output, MultiLabel):
        counts += (y == 1).sum(axis=0)
        yield "label values that are neither 0 nor 1", ((y != 0) & (y != 1)).any(axis=1)
    elif spec.output.target == "mask" and y.dtype != object:
        counts += len(y)
        yield "mask values that are neither 0 nor 1", ((y != 0) & (y != 1)).reshape(len(y), -1).any(axis=1)
    else:
        counts += len(y)


def _tell(name: str, split: _Split, faults: Faults) -> None:
    for column, ids in split.not_finite.items():
        faults.error(
            "not_finite", f"{name}: {column} holds NaN or infinities in {len(ids):,} rows: {shown(ids)}. Prepare anew"
        )
    for what, ids in split.bad_labels.items():
        faults.error("label_range", f"{name}: {len(ids):,} rows hold {what}: {shown(ids)}. Prepare it anew")


def _check_units(name: str, split: _Split, entry: SplitManifest, spec: TaskSpec, faults: Faults) -> None:
    """A row is a unit; where rows are tied by groups, a unit may also be as large as a group."""
    least = len(split.keys.get(spec.group, ())) if spec.group is not None else entry.rows
    if not least <= entry.units <= entry.rows:
        groups = f" of {least:,} {spec.group}s" if spec.group is not None else ""
        faults.error(
            "units",
            f"{name}: {entry.rows:,} rows{groups} cannot be the {entry.units:,} {spec.unit_of_split}s of "
            "manifest.json. Prepare it anew",
        )


def _check_ids(seen: Mapping[str, _Split], faults: Faults) -> None:
    if not seen:
        return
    ids = np.concatenate([part for split in seen.values() for part in split.ids] or [np.empty(0, np.str_)])
    if len(ids) == 0:
        return
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        twice = values[counts > 1].tolist()
        faults.error("duplicate_id", f"{len(twice):,} ids stand in more than one row: {shown(twice)}. Prepare it anew")
    if (values == "").any():
        faults.error("empty_id", f"{int(counts[values == ''][0]):,} rows have an empty id. Prepare it anew")


def _check_groups(seen: Mapping[str, _Split], spec: TaskSpec, faults: Faults) -> None:
    for (one, first), (other, second) in combinations(seen.items(), 2):
        for key in first.keys:
            common = sorted(first.keys[key] & second.keys.get(key, set()))
            message = f"{len(common):,} values of {key} are in {one} and in {other}: {shown(common)}"
            if common and key in spec.apart:
                faults.error("group_leak", f"{message}; each must be in one split. Prepare the dataset from more data")
            elif common:
                faults.warn("shared_key", f"{message}. Check that this tells nothing of the labels")


def _check_classes(seen: Mapping[str, _Split], spec: TaskSpec, faults: Faults) -> None:
    if "train" not in seen or isinstance(spec.output, Dense):
        return
    absent = np.flatnonzero(seen["train"].label_counts == 0).tolist()
    if absent:
        names = [spec.class_names[index] if spec.class_names else str(index) for index in absent]
        faults.warn("class_absent", f"train has no row of {len(names)} of the classes or labels: {shown(names)}")
