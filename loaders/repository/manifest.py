"""The manifest of a dataset repository: what it holds, by count and by hash. A folder without one is not a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from nas360.errors import DatasetError
from nas360.files import MIB, read_json
from nas360.loaders.content import combine
from nas360.task import SPLITS, Frozen, Provenance, SplitName

MANIFEST = "manifest.json"
MAX_ROWS = 10**9
_HEX = r"^[0-9a-f]{64}$"


class DataFile(Frozen):
    """One Parquet file."""

    path: str
    rows: int = Field(ge=0, le=MAX_ROWS)
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=_HEX)

    @field_validator("path")
    @classmethod
    def _inside(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or "\\" in value:
            raise ValueError("must be a relative path inside the repository")
        return value


class SplitManifest(Frozen):
    """One split: rows, units (what the metric averages over), files, and the hash of its decoded content.

    `skipped` names the units that turned out to be unusable when their rows were made, by reason.
    """

    rows: int = Field(ge=0, le=MAX_ROWS)
    units: int = Field(ge=0, le=MAX_ROWS)
    num_bytes: int = Field(ge=0)
    files: tuple[DataFile, ...]
    content_sha256: str = Field(pattern=_HEX)
    skipped: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _adds_up(self) -> SplitManifest:
        if self.rows != sum(file.rows for file in self.files):
            raise ValueError(f"{self.rows} rows, where its files hold {sum(file.rows for file in self.files)}")
        return self


class Manifest(Frozen):
    """What a dataset repository holds and where it came from.

    `departures` tells, for data that is not the official distribution or not known to be, what is not as it should be.
    `configs` are the further configurations, each with a single split `train`; they have no part in `content_sha256`.
    """

    task: str
    protocol: int
    nas360_version: str
    provenance: Provenance
    splits: dict[SplitName, SplitManifest]
    content_sha256: str = Field(pattern=_HEX)
    configs: dict[str, SplitManifest] = Field(default_factory=dict)
    sources: dict[str, str]
    skipped: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    departures: tuple[str, ...] = ()
    notes: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> Manifest:
        if set(self.splits) != set(SPLITS):
            raise ValueError(f"the splits are {', '.join(self.splits)}, must be {', '.join(SPLITS)}")
        if self.content_sha256 != combine({name: split.content_sha256 for name, split in self.splits.items()}):
            raise ValueError("content_sha256 is not that of the splits")
        return self

    def all_splits(self) -> tuple[SplitManifest, ...]:
        """The splits, then those of the further configurations."""
        return (*self.splits.values(), *self.configs.values())

    def all_files(self) -> tuple[DataFile, ...]:
        """The Parquet files of all of these."""
        return tuple(file for split in self.all_splits() for file in split.files)

    def public(self) -> Mapping[str, Any]:
        """The manifest as plain JSON values."""
        return self.model_dump(mode="json")


def read_manifest(folder: Path) -> Manifest:
    """Read and check a repository's manifest.

    Raises:
        DatasetError: when the folder is no whole dataset repository.
    """
    path = folder / MANIFEST
    if not path.is_file():
        what = "has no manifest.json, so it is no whole dataset repository" if folder.is_dir() else "is not a folder"
        raise DatasetError(f"{folder} {what}. Make one with `nas360 prepare TASK --raw DIR --out {folder}`")
    try:
        return Manifest.model_validate(read_json(path, 64 * MIB, DatasetError))
    except ValidationError as cause:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in cause.errors()[:5])
        raise DatasetError(
            f"{path}: not a manifest of nas360 ({faults}). Prepare or download the dataset anew"
        ) from cause
