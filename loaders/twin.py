"""The dataset of a task's synthetic twin, made once a machine and version."""

from __future__ import annotations

import tempfile
from pathlib import Path

from filelock import FileLock

from nas360.errors import DatasetError
from nas360.loaders.base import Task
from nas360.loaders.cache import cache_root
from nas360.loaders.code import code_hash
from nas360.loaders.repository.manifest import MANIFEST
from nas360.version import __version__

SEED = 0


def twin(task: Task) -> Path:
    """The folder of the dataset, in the cache; of several processes that ask at once, one makes it.

    Raises:
        DatasetError: when there is no place for it.
    """
    folder = cache_root() / "synthetic" / f"{task.spec.id}-{__version__}-{code_hash()[:12]}"
    if (folder / MANIFEST).is_file():
        return folder
    from nas360.loaders.prepare import prepare

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise DatasetError(
            f"the synthetic twin cannot be kept in {folder.parent} ({cause}). Mend that, or set NAS360_CACHE to "
            "another folder"
        ) from cause
    with FileLock(folder.with_name(f".{folder.name}.twin.lock")):
        if not (folder / MANIFEST).is_file():
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".raw-") as raw:
                task.write_synthetic(Path(raw), SEED)
                prepare(task, Path(raw), folder, overwrite=True)
    return folder
