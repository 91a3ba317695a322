"""What a task consists of: its spec, its columns, the reading of its raw files, and the making of model inputs.

A task's file states these as values; everything that is done with them (preparation, the array cache, batches) stands
once, elsewhere, and knows no task by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nas360.errors import RawDataError
from nas360.files import write_text
from nas360.task import SplitName, TaskSpec

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float32]
Rows = Mapping[str, Array]
"""Columns of some rows: each array has the rows along its first axis; strings are an object or unicode array.

A column whose size varies from row to row is an object array (n,) with one array a row.
"""

RowSource = Callable[[], Iterator[Rows]]
"""Gives rows as column batches, in order, from the start; a `Pieces` can be made by several processes."""

SYNTHETIC_MARK = "SYNTHETIC"
"""A file of this name in a raw folder tells that its data was made up."""


@dataclass(frozen=True)
class Column:
    """Type of one column of a dataset.

    Attributes:
        dtype: a NumPy dtype name, or `"string"`.
        shape: shape of one row's value; `()` is a scalar, None a size that varies from row to row.
        names: class names, for a column of labels: one a row, or with shape `(None,)` any number of them.
        about: what it holds, with unit and range, for the card; no part of the content's hash.
    """

    dtype: str
    shape: tuple[int | None, ...] = ()
    names: tuple[str, ...] = ()
    about: str = ""

    @property
    def ragged(self) -> bool:
        """Whether a size varies from row to row."""
        return None in self.shape

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """What the column's arrays hold; labels are int64, as the Hub's readers give them. Not for strings."""
        return np.dtype("int64" if self.names else self.dtype)


@dataclass(frozen=True)
class RawData:
    """A raw distribution that was opened: how its rows are read, and what is known of where it came from.

    Attributes:
        splits: for every split what gives its rows.
        sources: name → SHA-256 of every raw file that was read.
        n_units: how many units (see `TaskSpec.unit_of_split`) every split has; compared with the official sizes.
        skipped: what was left out, by reason, with names, and is not among the units; goes into the manifest and is
            shown.
        departures: what the loader saw that the official files have not, in words; empty where nothing tells. Where
            the spec's sizes are not exact, this alone tells whole files from partial ones.
        notes: further facts for the manifest, for instance the seed of a generator.
        configs: further configurations of the dataset beside the standard one: name → the rows of its only split,
            `train`, with the same columns.
    """

    splits: Mapping[SplitName, RowSource]
    sources: Mapping[str, str]
    n_units: Mapping[SplitName, int]
    skipped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    departures: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    configs: Mapping[str, RowSource] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """What one training or evaluation step sees.

    Plain inputs (no generator) may be several a row, whose outputs are averaged, or padded maps of different sizes.
    Augmented ones are always one a row, of `spec.input_shape`.

    Attributes:
        x: model inputs, (n, *spec.input_shape), float32, C-contiguous; of maps whose sizes vary (n, channels, *space).
        y: targets: int64 (n,) classes; float32 (n, n_labels); float32 (n, *space) maps; one a row.
        weight: None, or float32 weights of y's shape (0 leaves a position out of loss and metric).
        row: None where every row has one input; else int64 (n,), the row of the batch that each input is a part of, in
            ascending order, with every row at least once.
        sizes: None, or int64 (rows, spatial dims): the true size of each map, which begins at the first corner.
    """

    x: FloatArray
    y: Array
    weight: FloatArray | None = None
    row: npt.NDArray[np.int64] | None = None
    sizes: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class OutputScale:
    """Affine map from network output to the task's unit: `value = output * scale + shift`.

    Both are float32 arrays that broadcast against (n, channels, *space).
    """

    scale: FloatArray
    shift: FloatArray


class Preprocessing(Protocol):
    """Rows to model inputs, with whatever was fitted on training rows."""

    output_scale: OutputScale | None

    def __call__(self, rows: Rows, rng: np.random.Generator | None) -> Batch:
        """Make a batch.

        Args:
            rows: the rows' columns.
            rng: draws the augmentation; None makes the plain, deterministic input (validation, test).
        """
        ...


@dataclass(frozen=True)
class Loader:
    """How one task's data is made and read.

    Attributes:
        columns: name → type, in the order of the dataset; always with `id` and `y`.
        open_raw: from the folder of raw files to rows.
        fit: from rows for fitting (column name → array over all training rows) to the preprocessing.
        synthesise: writes a tiny raw distribution in the official layout, with a learnable signal, from a seed;
            call it by `Task.write_synthetic`.
        generate: (folder, sizes by split, seed, progress) → writes a true raw distribution from a published recipe.
    """

    columns: Mapping[str, Column]
    open_raw: Callable[[Path], RawData]
    fit: Callable[[Rows], Preprocessing]
    synthesise: Callable[[Path, int], None]
    generate: Generate | None = None


class Generate(Protocol):
    """Writes a true raw distribution from a published recipe; can be killed and called again."""

    def __call__(
        self, folder: Path, n_train: int, n_test: int, seed: int, progress: Callable[[int, int], None]
    ) -> None:
        """Write the files; `progress(done, total)` is called after each sample."""
        ...


@dataclass(frozen=True)
class Task:
    """A spec and a loader, which is made when it is asked for: most readers want the facts alone."""

    spec: TaskSpec
    make_loader: Callable[[], Loader]

    @property
    def loader(self) -> Loader:
        """The loader."""
        return self.make_loader()

    def write_synthetic(self, folder: Path, seed: int) -> None:
        """Write the tiny made-up raw distribution of this task, marked as such.

        Args:
            folder: where to; made if it is not there.
            seed: of all draws.

        Raises:
            RawDataError: when the folder holds files that are not synthetic.
        """
        there = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        if there and SYNTHETIC_MARK not in there:
            raise RawDataError(f"{folder} holds {', '.join(there[:5])}, not a synthetic twin. Choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        # first of all, so that no made-up file ever stands there without it
        write_text(folder / SYNTHETIC_MARK, f"made up by nas360 with seed {seed}; not data of the task\n")
        self.loader.synthesise(folder, seed)
