"""The tables of FSD50K: which clips there are, with which labels, in which split."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path

from nas360.errors import RawDataError
from nas360.files import MIB
from nas360.loaders.labels import FSD50K_LABELS
from nas360.loaders.raw.archive import members
from nas360.task import SplitName

TABLES = ("dev.csv", "eval.csv", "vocabulary.csv")
MAX_BYTES = 64 * MIB

Rows = list[list[str]]
Labelled = Mapping[str, tuple[int, ...]]
"""Clip → its labels in ascending order; in the order of the table."""

_NAME = re.compile(r"[0-9]{1,12}")


def read_tables(path: Path) -> dict[str, Rows]:
    """The rows of the three tables.

    Args:
        path: the archive or folder that holds them.

    Raises:
        RawDataError: when one is missing, stands there twice or is no table in UTF-8.
    """
    tables: dict[str, Rows] = {}
    for name, read in members(path, max_bytes=MAX_BYTES):
        table = Path(name).name
        if table in tables:
            raise RawDataError(f"{path.name}: holds {table} twice")
        if table in TABLES:
            try:
                rows = csv.reader(io.StringIO(read().decode("utf-8"), newline=""), strict=True)
                tables[table] = [row for row in rows if row]
            except (UnicodeDecodeError, csv.Error) as cause:
                raise RawDataError(f"{path.name}: {table} is not a readable table ({cause}). Get it anew") from cause
    missing = [name for name in TABLES if name not in tables]
    if missing:
        raise RawDataError(f"{path.name}: lacks {', '.join(missing)}. Get the official archive")
    return tables


def check_vocabulary(rows: Rows) -> None:
    """Refuse a vocabulary that is not the official one, by index and label.

    Raises:
        RawDataError: when it is another.
    """
    if [tuple(row[:2]) for row in rows] != [(str(index), label) for index, label in enumerate(FSD50K_LABELS)]:
        raise RawDataError(
            f"vocabulary.csv: not the official one of {len(FSD50K_LABELS)} lines from '0,{FSD50K_LABELS[0]},…' to "
            f"'{len(FSD50K_LABELS) - 1},{FSD50K_LABELS[-1]},…'. Get the official file"
        )


def clips_of(rows: Rows, table: str, splits: Mapping[str, SplitName]) -> dict[SplitName, Labelled]:
    """The clips of a table, by split.

    Args:
        rows: its rows, with the header.
        table: its name.
        splits: the table's name of a split → ours; of a table without splits, `""` → the split of all.

    Raises:
        RawDataError: when the table has another form, names a clip twice, or a clip of no label, an unknown label or
            an unknown split.
    """
    header = ["fname", "labels", "mids", *([] if "" in splits else ["split"])]
    if not rows or rows[0] != header:
        raise RawDataError(f"{table}: must begin with the line {','.join(header)}. Get the official file")
    index = {label: number for number, label in enumerate(FSD50K_LABELS)}
    clips: dict[SplitName, dict[str, tuple[int, ...]]] = {split: {} for split in splits.values()}
    for number, row in enumerate(rows[1:], start=1):
        where = f"{table}: row {number}"
        if len(row) != len(header):
            raise RawDataError(f"{where} has {len(row)} fields, must have {len(header)}")
        name, labels, split = row[0], row[1].split(","), "".join(row[3:])
        if not _NAME.fullmatch(name):
            raise RawDataError(f"{where} names the clip {name[:40]!r}; a clip's name is its number on Freesound")
        unknown = [label for label in labels if label not in index]
        if unknown:
            raise RawDataError(f"{where}, clip {name}: label {unknown[0][:80]!r} is not in vocabulary.csv")
        if split not in splits:
            raise RawDataError(f"{where}, clip {name}: split {split[:40]!r}, must be one of {', '.join(splits)}")
        if any(name in others for others in clips.values()):
            raise RawDataError(f"{where}: the clip {name} stands there twice")
        clips[splits[split]][name] = tuple(sorted({index[label] for label in labels}))
    return dict(clips)
