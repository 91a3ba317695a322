"""Toy tasks, one of every kind, with data in memory that carries a signal which a network can learn in seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

from nas360.loaders.base import Array, Batch, Column, Loader, OutputScale, Rows, Task
from nas360.loaders.content import combine
from nas360.loaders.data import TaskData
from nas360.loaders.repository.manifest import DataFile, Manifest, SplitManifest
from nas360.seeding import derive
from nas360.task import SPLITS, Dense, MultiLabel, Output, Point, SplitName, TaskSpec

if TYPE_CHECKING:
    from torch import nn

    from nas360.baselines.algorithms.base import Arena
    from nas360.baselines.recipe import Recipe

Kind = Literal["point", "multilabel", "real", "mask"]
KINDS: tuple[Kind, ...] = ("point", "multilabel", "real", "mask")
SPACES = {1: (33,), 2: (12, 9)}
CLASSES = 3

_OUTPUTS: Mapping[Kind, tuple[Output, str, str]] = {
    "point": (Point(n_classes=CLASSES), "cross_entropy", "zero_one_error"),
    "multilabel": (MultiLabel(n_labels=CLASSES), "binary_cross_entropy", "macro_auroc"),
    "real": (Dense(channels=1, target="real"), "relative_l2", "relative_l2"),
    "mask": (Dense(channels=1, target="mask"), "masked_binary_cross_entropy", "cosmic_fnr"),
}


def toy_spec(dims: int, kind: Kind) -> TaskSpec:
    """A spec with two input channels and odd sizes."""
    output, loss, metric = _OUTPUTS[kind]
    shapes = {"point": (), "multilabel": (CLASSES,)}
    return TaskSpec.model_validate(
        {
            "id": f"toy_{kind}_{dims}d",
            "name": "Toy",
            "summary": "made up",
            "spatial_dims": dims,
            "input_shape": (2, *SPACES[dims]),
            "output": output,
            "prediction_shape": shapes.get(kind, SPACES[dims]),
            "loss": loss,
            "metric": metric,
            "direction": "higher" if kind == "multilabel" else "lower",
            "bounds": (0.0, 1.0) if kind == "multilabel" else (0.0, None if kind == "real" else 100.0),
            "unit": {"multilabel": "fraction", "real": "ratio"}.get(kind, "percent"),
            "decimals": 2,
            "unit_of_split": "sample",
            "splits": {split: 1 for split in SPLITS},
            "repo": "nas360/toy",
            "licence": "MIT",
            "citation": "@misc{toy, title={Toy}}",
            "sources": (),
            "differences": (),
        }
    )


def toy_columns(dims: int, kind: Kind, n: int, seed: int, split: str) -> dict[str, Array]:
    """Rows whose target hangs on the first channel: which pattern it holds, or its sign and value."""
    space = SPACES[dims]
    rng = derive(seed, "toy", split)
    x = rng.normal(size=(n, 2, *space)).astype(np.float32)
    patterns = derive(0, "toy patterns").normal(size=(CLASSES, *space)).astype(np.float32)
    y: Array
    if kind == "point":
        y = rng.integers(CLASSES, size=n)
        x[:, 0] += 2 * np.sign(patterns)[y]
    elif kind == "multilabel":
        present = rng.random((n, CLASSES)) < 0.5
        x[:, 0] += 2 * np.tensordot(present.astype(np.float32), np.sign(patterns), axes=1)
        y = present.astype(np.float32)
    elif kind == "real":
        y = 10 + 5 * x[:, 0]
    else:
        y = (x[:, 0] > 0).astype(np.float32)
    columns = {"id": np.array([f"{split}-{i:05d}" for i in range(n)]), "x": x, "y": y}
    if kind == "mask":
        columns["ignore"] = (rng.random((n, *space)) < 0.1).astype(np.uint8)
    return columns


class ToyPreprocessing:
    """Passes inputs through, flips nothing, adds a little noise where a generator is given."""

    def __init__(self, kind: Kind) -> None:
        scale = OutputScale(np.full((1, 1), 5, np.float32), np.full((1, 1), 10, np.float32)) if kind == "real" else None
        self.output_scale: OutputScale | None = scale

    def __call__(self, rows: Rows, rng: np.random.Generator | None) -> Batch:
        x = rows["x"]
        if rng is not None:
            x = x + 0.05 * rng.normal(size=x.shape).astype(np.float32)
        weight = 1 - rows["ignore"].astype(np.float32) if "ignore" in rows else None
        return Batch(np.ascontiguousarray(x), rows["y"], weight)


class ToyData(TaskData):
    """A task's data in memory."""

    def __init__(self, dims: int, kind: Kind, sizes: Mapping[SplitName, int], seed: int = 0) -> None:
        spec = toy_spec(dims, kind)

        def never(*arguments: object) -> Any:
            raise NotImplementedError

        columns = {name: Column("float32") for name in ("id", "x", "y", *(("ignore",) if kind == "mask" else ()))}
        self.task = Task(spec, lambda: Loader(columns, never, lambda rows: ToyPreprocessing(kind), never))
        self.folder, self.source, self.revision = Path("toy"), "toy", None
        self._splits = {split: toy_columns(dims, kind, sizes[split], seed, split) for split in SPLITS}
        self.manifest = _manifest(spec, sizes, seed)


def _manifest(spec: TaskSpec, sizes: Mapping[SplitName, int], seed: int) -> Manifest:
    content = f"{seed:064x}"
    splits = {
        split: SplitManifest(
            rows=n,
            units=n,
            num_bytes=1,
            files=(DataFile(path=f"data/{split}.parquet", rows=n, bytes=1, sha256=content),),
            content_sha256=content,
        )
        for split, n in sizes.items()
    }
    return Manifest(
        task=spec.id,
        protocol=spec.protocol,
        nas360_version="0",
        provenance="synthetic",
        splits=splits,
        content_sha256=combine({split: part.content_sha256 for split, part in splits.items()}),
        sources={},
        skipped={},
        notes={},
    )


@pytest.fixture
def toy() -> Callable[..., Any]:
    """`toy(dims, kind, train=..., seed=...)` → TaskData in memory."""

    def make(dims: int, kind: Kind, train: int = 48, seed: int = 0) -> TaskData:
        return ToyData(dims, kind, {"train": train, "validation": 16, "test": 40}, seed)

    return make


@pytest.fixture
def spec_of() -> Callable[[int, Kind], TaskSpec]:
    """`spec_of(dims, kind)` → the toy's spec."""
    return toy_spec


@pytest.fixture
def toy_source() -> Path:
    """This file, for tests that make the toys in another process."""
    return Path(__file__)


def search_arena(
    data: TaskData,
    steps: int,
    seed: int = 0,
    folder: Path | None = None,
    at: int = -1,
    recipe: Recipe | None = None,
    error: Callable[[nn.Module], float] | None = None,
    looks: int = 50,
) -> Arena:
    """What a search is given, on the CPU.

    Args:
        data: of the task.
        steps: weight steps.
        seed: of the run.
        folder: where state and log go, after every step; None keeps nothing.
        at: before this step is kept, the search is interrupted by KeyboardInterrupt, which nothing may answer.
        recipe: of the weights; SGD as in the published searches, with batches of 8 rows.
        error: of a model; by default a number that hangs on every weight, but means nothing.
        looks: how often it may be asked for.
    """
    import torch

    from nas360.baselines.algorithms.base import Arena
    from nas360.baselines.checkpoint import Checkpoints
    from nas360.baselines.recipe import Optimiser, Recipe
    from nas360.baselines.runlog import RunLog
    from nas360.baselines.train import Keeping
    from nas360.baselines.watch import Silent

    class Interrupter(Silent):
        def step(self, done: int, total: int, stage: str) -> None:
            assert stage == "search"
            if done == at:
                raise KeyboardInterrupt

    rows, preprocessing = data.rows("validation"), data.preprocessing("train")
    some = torch.from_numpy(preprocessing(rows.take(np.arange(4)), None).x)

    def square(model: nn.Module) -> float:
        with torch.no_grad():
            return float(model(some).square().mean())

    keeping = None
    if folder is not None:
        folder.mkdir(exist_ok=True)
        log = RunLog(folder / "search.jsonl")
        if log.header() is None:
            log.start({"identity": {}})
        keeping = Keeping(Checkpoints(folder), log, epoch_seconds=0.0, step_seconds=0.0)
    sgd = Recipe(Optimiser("sgd", lr=0.1, weight_decay=3e-4), epochs=1, batch_size=8, clip_norm=5.0)
    return Arena(
        spec=data.spec,
        rows=data.rows("train"),
        preprocessing=preprocessing,
        recipe=recipe or sgd,
        steps=steps,
        seed=seed,
        device=torch.device("cpu"),
        validation=rows,
        error=error or square,
        looks=looks,
        keeping=keeping,
        watcher=Interrupter(),
    )


@pytest.fixture
def arena() -> Callable[..., Arena]:
    """`arena(data, steps, seed=..., folder=..., at=..., recipe=..., error=..., looks=...)` → Arena on the CPU."""
    return search_arena
