"""TaskData: a task's splits as arrays, and batches of model inputs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas360.errors import DatasetError
from nas360.hub import named_revision
from nas360.loaders import TASKS
from nas360.loaders.ahead import ahead
from nas360.loaders.base import Array, Batch, Loader, Preprocessing, Rows, Task
from nas360.loaders.cache import open_split
from nas360.loaders.repository.manifest import MANIFEST, Manifest, read_manifest
from nas360.loaders.twin import twin
from nas360.task import Provenance, SplitName, TaskSpec

Index = npt.NDArray[np.int64]


class SplitRows:
    """The rows of one or several splits, one after the other.

    Args:
        parts: for every split, its columns.
    """

    def __init__(self, parts: list[dict[str, Array]]) -> None:
        if not parts:
            raise ValueError("at least one split is needed")
        self._parts = parts
        self._ends = np.cumsum([len(part["id"]) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def ids(self) -> Array:
        """Row ids, a unicode array of shape (n,)."""
        return self.column("id")

    def column(self, name: str) -> Array:
        """A whole column, (n, *shape): the memory map itself for one split, a copy for several."""
        arrays = [part[name] for part in self._parts]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

    def take(self, index: npt.ArrayLike) -> Rows:
        """The rows at `index`, whole numbers (n,), as {column: array}; one vectorised index a column and split.

        Raises:
            IndexError: there is no such row; as with arrays, -1 is the last one.
        """
        chosen: Index = np.asarray(index, dtype=np.int64)
        if len(self._parts) == 1:
            return {name: array.take(chosen, axis=0) for name, array in self._parts[0].items()}
        chosen = np.where(chosen < 0, chosen + len(self), chosen)
        if ((chosen < 0) | (chosen >= len(self))).any():
            raise IndexError(f"rows are counted from 0 to {len(self) - 1}")
        which = np.searchsorted(self._ends, chosen, side="right")
        first = np.concatenate([[0], self._ends[:-1]])
        taken: dict[str, Array] = {}
        for name, model in self._parts[0].items():
            dtype = np.result_type(*(part[name].dtype for part in self._parts))  # strings differ in width
            out = np.empty((len(chosen), *model.shape[1:]), dtype=dtype)
            for number, part in enumerate(self._parts):
                here = which == number
                out[here] = part[name].take(chosen[here] - first[number], axis=0)
            taken[name] = out
        return taken


class Batches:
    """Batches of model inputs over given rows; the next one is made while the last one is used.

    Args:
        rows: the rows.
        preprocessing: from rows to a batch.
        batch_size: rows a batch; the last batch may be smaller.
        order: row numbers, int64; None is every row in order.
        rng: draws the augmentation; None makes plain inputs. One generator serves all batches in order, so that equal
            generators give equal batches.
        ahead: batches made in advance, by one thread.
    """

    def __init__(
        self,
        rows: SplitRows,
        preprocessing: Preprocessing,
        batch_size: int,
        order: Index | None = None,
        rng: np.random.Generator | None = None,
        ahead: int = 2,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, must be at least 1")
        self._rows, self._preprocessing, self._batch_size = rows, preprocessing, batch_size
        self._order = np.arange(len(rows)) if order is None else order
        self._rng, self._ahead = rng, ahead

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def _make(self, number: int) -> Batch:
        start = number * self._batch_size
        return self._preprocessing(self._rows.take(self._order[start : start + self._batch_size]), self._rng)

    def __iter__(self) -> Iterator[Batch]:
        # one thread, so that draws happen in the order of the batches
        return ahead(self._make, range(len(self)), self._ahead)


class TaskData:
    """A dataset repository on this machine, opened.

    Args:
        task: the task.
        folder: the repository's folder.
        source: what the user named: a folder or a Hub repository.
        revision: the commit, for a Hub repository.
    """

    def __init__(self, task: Task, folder: Path, source: str, revision: str | None = None) -> None:
        self.task, self.folder, self.source, self.revision = task, folder, source, revision
        self.manifest: Manifest = read_manifest(folder)
        if self.manifest.task != task.spec.id:
            raise DatasetError(
                f"{source} holds the task {self.manifest.task!r}, not {task.spec.id!r}. Check --data and --task"
            )
        if self.manifest.protocol != task.spec.protocol:
            raise DatasetError(
                f"{source} was made by protocol {self.manifest.protocol}; this nas360 reads "
                f"{task.spec.protocol}. Prepare it anew"
            )
        self._splits: dict[SplitName, dict[str, Array]] = {}

    @property
    def spec(self) -> TaskSpec:
        """The task's spec."""
        return self.task.spec

    @cached_property
    def loader(self) -> Loader:
        """The task's loader."""
        return self.task.loader

    @property
    def content_hash(self) -> str:
        """SHA-256 of the decoded content of all splits."""
        return self.manifest.content_sha256

    @property
    def provenance(self) -> Provenance:
        """Whether the data is official, a part of it, generated by the published recipe, or synthetic."""
        return self.manifest.provenance

    def rows(self, *splits: SplitName) -> SplitRows:
        """The rows of the named splits, one after the other."""
        return SplitRows([self._open(split) for split in splits])

    def _open(self, split: SplitName) -> dict[str, Array]:
        if split not in self._splits:
            self._splits[split] = open_split(self.folder, self.manifest, split, self.loader.columns)
        return self._splits[split]

    def preprocessing(self, *splits: SplitName) -> Preprocessing:
        """From rows to model inputs, with whatever must be fitted fitted on the rows of these splits."""
        return self.loader.fit(_Columns(self.rows(*splits), tuple(self.loader.columns)))


class _Columns(Mapping[str, Array]):
    """Whole columns, each read when it is asked for: most preprocessings fit nothing."""

    def __init__(self, rows: SplitRows, names: tuple[str, ...]) -> None:
        self._rows, self._names = rows, names

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        return self._rows.column(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def datasets_root() -> Path:
    """Where `prepare` puts datasets when no place is named, and `load_task` looks first.

    `NAS360_DATA`, or the user's data folder.
    """
    import platformdirs

    given = os.environ.get("NAS360_DATA")
    return Path(given) if given else Path(platformdirs.user_data_dir("nas360")) / "datasets"


def raw_root() -> Path:
    """Where `prepare --download` puts raw files when no place is named: `raw` in `NAS360_DATA`, or the data folder."""
    import platformdirs

    return Path(os.environ.get("NAS360_DATA") or platformdirs.user_data_dir("nas360")) / "raw"


def load_task(task: str, source: str | Path | None = None) -> TaskData:
    """Open a task's data.

    Args:
        task: the task's id, for instance `"ecg"`.
        source: a folder that `nas360 prepare` made, or, where there is none, a Hub repository (`"org/name"`, or
            `"org/name@revision"`; without, the pinned revision of the task's own repository, and `main` of any other).
            None takes the folder in which `prepare` puts the task by default, else the task's Hub repository at its
            pinned revision. `"synthetic"` is the task's tiny made-up twin, made the first time and kept in the cache
            folder (a folder of that name is `"./synthetic"`).

    Returns:
        The data; arrays are decoded on first use.

    Raises:
        UnknownNameError: there is no such task.
        UserError: this version cannot read the task's data.
        DatasetError: the data is not there, not whole, or not this task's.
    """
    chosen = TASKS[task]
    _ = chosen.loader  # a task that cannot be read is told so before its data is looked for
    local = datasets_root() / task
    if source is None and (local / MANIFEST).is_file():
        return TaskData(chosen, local, str(local))
    if source is None:
        return _from_hub(chosen, chosen.spec.repo, chosen.spec.revision)
    if source == "synthetic":
        return TaskData(chosen, twin(chosen), "synthetic")
    folder = Path(source).expanduser()
    named = named_revision(str(source))
    if folder.exists() or named is None:
        return TaskData(chosen, folder, str(source))
    repo, revision = named
    # the pinned revision is one of the task's own repository
    return _from_hub(chosen, repo, revision or (chosen.spec.revision if repo == chosen.spec.repo else "main"))


def check_task(task: str, folder: Path | None = None) -> None:
    """See that a task's data is there, without reading it; of a Hub repository the manifest alone is fetched.

    Args:
        task: the task's id.
        folder: where it should be; None: where `load_task` looks by itself.

    Raises:
        UserError: what `load_task` would raise; what to do about data that is absent is left to the caller to say.
    """
    chosen = TASKS[task]
    _ = chosen.loader
    local = datasets_root() / task if folder is None else folder
    if folder is not None or (local / MANIFEST).is_file():
        TaskData(chosen, local, str(local))
    else:
        _described(chosen, chosen.spec.repo, chosen.spec.revision)


class _AbsentError(DatasetError):
    """Data that is neither here nor on the Hub."""


def _from_hub(task: Task, repo: str, revision: str) -> TaskData:
    try:
        data = _described(task, repo, revision)
        wanted = [glob.escape(file.path) for split in data.manifest.splits.values() for file in split.files]
        _fetched(task, repo, data.folder.name, wanted)
    except _AbsentError as absent:
        raise DatasetError(
            f"{absent}. Three ways out: `nas360 prepare {task.spec.id} --download` (or --raw DIR) from the official "
            f"raw files; --data synthetic, in Python load_task({task.spec.id!r}, 'synthetic'), for a tiny made-up "
            f"twin; or --data with a folder or repository that has it"
        ) from absent.__cause__
    return data


def _described(task: Task, repo: str, revision: str) -> TaskData:
    """A Hub repository whose manifest is here, so that another task's data is told before gigabytes are fetched."""
    folder = _fetched(task, repo, revision, [MANIFEST])
    # of a folder in the Hub's cache the name is the commit, which a branch may leave while the data comes
    return TaskData(task, folder, repo, folder.name)


def _fetched(task: Task, repo: str, revision: str, patterns: list[str]) -> Path:
    """The folder of a revision of a Hub repository, with the files that are wanted."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, repo_type="dataset", revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as cause:
        reason = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        where = datasets_root() / task.spec.id if repo == task.spec.repo else f"a folder {repo}"
        raise _AbsentError(
            f"the data of {task.spec.id!r} is neither in {where} nor on the Hub as {repo}@{revision} ({reason})"
        ) from cause
