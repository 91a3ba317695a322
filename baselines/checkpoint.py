"""Checkpoints: whole or absent, checked when read, with the one before as a reserve."""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas360.files import atomic_path


@dataclass(frozen=True)
class Checkpoints:
    """The last two states of a run, in its folder.

    Attributes:
        folder: of the run.
    """

    folder: Path

    @property
    def path(self) -> Path:
        """The newest."""
        return self.folder / "checkpoint.pt"

    @property
    def previous(self) -> Path:
        """The one before."""
        return self.folder / "checkpoint.previous.pt"

    def save(self, state: dict[str, Any]) -> None:
        """Write `state` (tensors and plain values) atomically; the newest so far becomes the reserve."""
        with atomic_path(self.path) as temporary:
            torch.save(state, temporary)
            # a kill between the two renames leaves the reserve alone, which `load` then takes
            if self.path.exists():
                self.path.replace(self.previous)

    def load(self, device: torch.device) -> tuple[dict[str, Any] | None, list[str]]:
        """The newest state that is whole.

        Returns:
            The state, or None when there is none; and a warning for each file that had to be passed over.
        """
        warnings: list[str] = []
        for path in (self.path, self.previous):
            if not path.exists():
                continue
            fault = _fault(path)
            if fault is None:
                state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
                return state, warnings
            warnings.append(f"{path} is damaged ({fault}) and is passed over")
        return None, warnings

    def delete(self) -> None:
        """Remove both."""
        self.path.unlink(missing_ok=True)
        self.previous.unlink(missing_ok=True)


def _fault(path: Path) -> str | None:
    """What is wrong with a checkpoint's bytes. Torch writes a ZIP with a checksum a member, but does not check them."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
        if bad is not None:
            return f"checksum of {bad}"
        torch.load(path, map_location="meta", weights_only=True)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as cause:
        return str(cause).strip().splitlines()[0][:200] if str(cause).strip() else type(cause).__name__
    return None
