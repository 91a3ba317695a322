"""Checkpoints: whole or absent, of one run, checked when read, with the one before as a reserve."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nas360.errors import RunError
from nas360.files import atomic_path


@dataclass(frozen=True)
class Checkpoints:
    """The last two states of a run, in its folder.

    Attributes:
        folder: of the run.
        identity: what tells the run from others, as JSON values; a state of another run is never taken up.
    """

    folder: Path
    identity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The newest."""
        return self.folder / "checkpoint.pt"

    @property
    def previous(self) -> Path:
        """The one before."""
        return self.folder / "checkpoint.previous.pt"

    @property
    def paths(self) -> tuple[Path, Path]:
        """Both, the newest first."""
        return self.path, self.previous

    def save(self, state: dict[str, Any]) -> None:
        """Write `state` (tensors and plain values) atomically; the newest so far becomes the reserve."""
        with atomic_path(self.path) as temporary:
            try:
                torch.save({"run": self._run, "state": state}, temporary)
            except RuntimeError as cause:
                # torch's own writer does not say that the disk is full
                raise RunError(
                    f"{self.path} could not be written, most likely for want of space ({str(cause).splitlines()[0]}). "
                    f"Make room and go on with --resume"
                ) from cause
            # a kill between the two renames leaves the reserve alone, which `load` then takes
            if self.path.exists():
                self.path.replace(self.previous)

    def load(self, device: torch.device) -> tuple[dict[str, Any] | None, list[str]]:
        """The newest state of this run that is whole.

        Returns:
            The state, or None when there is none; and a warning for each file that had to be passed over.
        """
        warnings: list[str] = []
        for path in self.paths:
            if not path.exists():
                continue
            fault = self._fault(path)
            if fault is None:
                state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)["state"]
                return state, warnings
            warnings.append(f"{path} {fault} and is passed over")
        return None, warnings

    def delete(self) -> None:
        """Remove both."""
        for path in self.paths:
            path.unlink(missing_ok=True)

    @property
    def _run(self) -> str:
        return json.dumps(self.identity, sort_keys=True)

    def _fault(self, path: Path) -> str | None:
        """Why a file is not to be taken up, as the middle of a sentence; None when it is fine."""
        try:
            with zipfile.ZipFile(path) as archive:
                # torch writes a ZIP with a checksum a member, but does not check them
                bad = archive.testzip()
            if bad is not None:
                return f"is damaged (checksum of {bad})"
            content = torch.load(path, map_location="meta", weights_only=True)
        except _DAMAGE as cause:
            reason = str(cause).strip().splitlines()[0][:200] if str(cause).strip() else type(cause).__name__
            return f"is damaged ({reason})"
        if not isinstance(content, dict) or content.keys() != {"run", "state"}:
            return "is no checkpoint of this version of nas360"
        return None if content["run"] == self._run else "is of another run"


_DAMAGE = (
    *(zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, AttributeError),
    pickle.UnpicklingError,
)
