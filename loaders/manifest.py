"""The manifest of a dataset repository: what it holds, by count and by hash. A folder without one is not a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from nas360.errors import DatasetError
from nas360.files import MIB, read_json
from nas360.task import Provenance, SplitName

MANIFEST = "manifest.json"
_HEX = r"^[0-9a-f]{64}$"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataFile(_Frozen):
    """One Parquet file."""

    path: str
    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=_HEX)

    @field_validator("path")
    @classmethod
    def _inside(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or "\\" in value:
            raise ValueError("must be a relative path inside the repository")
        return value


class SplitManifest(_Frozen):
    """One split: rows, units (what the metric averages over), files, and the hash of its decoded content."""

    rows: int = Field(ge=0)
    units: int = Field(ge=0)
    num_bytes: int = Field(ge=0)
    files: tuple[DataFile, ...]
    content_sha256: str = Field(pattern=_HEX)


class Manifest(_Frozen):
    """What a dataset repository holds and where it came from."""

    task: str
    protocol: int
    nas360_version: str
    provenance: Provenance
    splits: dict[SplitName, SplitManifest]
    content_sha256: str = Field(pattern=_HEX)
    sources: dict[str, str]
    skipped: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    notes: dict[str, Any] = Field(default_factory=dict)

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
