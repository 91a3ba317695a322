"""Tasks of which it is known what network they need: the search of DenseNAS finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from nas360.baselines.algorithms.base import Arena, Found
from nas360.baselines.algorithms.dense_nas import DenseNas
from nas360.baselines.device import owned_randomness
from nas360.baselines.ends import TaskModel
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.schedule import Cosine
from nas360.baselines.spaces.dense_block import DenseBlock
from nas360.baselines.spaces.dense_block_architecture import DenseBlockArchitecture
from nas360.baselines.spaces.dense_block_cost import network_macs
from nas360.baselines.spaces.dense_block_table import Stage, Table
from nas360.baselines.train import Training
from nas360.baselines.watch import Silent
from nas360.loaders.base import Batch, OutputScale
from nas360.loaders.data import SplitRows
from nas360.task import Point, TaskSpec

SpecOf = Callable[[int, str], TaskSpec]
Planted = Callable[[int], tuple[SplitRows, int]]
LENGTH, ROWS, KINDS, PATTERN = 24, 400, 12, 5
CPU = torch.device("cpu")
RECIPE = Recipe(Optimiser("adamw", lr=0.01), 1, 32, Cosine(final=0.1))
DEEP, WIDE, BOTH = (Table(8, (Stage((8,), 4),)), Table(8, (Stage((2, 16), 0),)), Table(4, (Stage((2, 5, 16), 1),)))


class Bare:
    """Passes rows on."""

    output_scale: OutputScale | None = None

    def __call__(self, rows: Any, rng: np.random.Generator | None) -> Batch:
        return Batch(rows["x"], rows["y"], None)


def rows(x: Any, y: Any) -> SplitRows:
    return SplitRows([{"id": np.array([str(n) for n in range(len(x))]), "x": x.astype(np.float32), "y": y}])


def noise(rng: np.random.Generator, size: float = 0.1) -> Any:
    return size * rng.normal(size=(ROWS, 1, LENGTH))


def distance(seed: int) -> tuple[SplitRows, int]:
    """Whether two pulses are 6 or 10 apart. Stem and head see 7 neighbours, each layer 4 more: depth matters."""
    rng = np.random.default_rng(seed)
    y, x, place = rng.integers(2, size=ROWS), noise(rng), rng.integers(LENGTH - 10, size=ROWS)
    x[np.arange(ROWS), 0, place] += 2
    x[np.arange(ROWS), 0, place + np.where(y == 0, 6, 10)] += 2
    return rows(x, y), 2


def sign(seed: int) -> tuple[SplitRows, int]:
    """The sign of a pulse: the smallest network will do."""
    rng = np.random.default_rng(seed)
    y, x, place = rng.integers(2, size=ROWS), noise(rng), rng.integers(LENGTH, size=ROWS)
    x[np.arange(ROWS), 0, place] += np.where(y == 0, 2, -2)
    return rows(x, y), 2


def patterns(seed: int, size: float = 0.1) -> tuple[SplitRows, int]:
    """Which of twelve patterns is there: two channels cannot tell so many apart, width matters."""
    rng = np.random.default_rng(seed)
    y, x, place = rng.integers(KINDS, size=ROWS), noise(rng, size), rng.integers(LENGTH - PATTERN, size=ROWS)
    signs = np.random.default_rng(5).choice([-1.0, 1.0], size=(KINDS, PATTERN))
    for n in range(PATTERN):
        x[np.arange(ROWS), 0, place + n] += signs[y, n]
    return rows(x, y), KINDS


@dataclass(frozen=True)
class Open(DenseBlock):
    """Shows the probabilities that a search ended with."""

    seen: dict[str, Any] = field(default_factory=dict, compare=False)

    def decode(self, supernet: Any) -> DenseBlockArchitecture:
        self.seen.update(supernet.mixture())
        return super().decode(supernet)


def search(
    task: tuple[SplitRows, int], table: Table, cost_weight: float, seed: int, spec_of: SpecOf
) -> tuple[Found, dict[str, Any], TaskSpec]:
    data, classes = task
    spec = spec_of(1, "point").model_copy(
        update={"output": Point(n_classes=classes), "input_shape": (1, LENGTH), "id": "planted"}
    )
    space = Open(tables={spec.id: table})
    algorithm = DenseNas(warmup=0.5, lr_alpha=0.03, lr_beta=0.03, cost_weight=cost_weight)
    place = Arena(spec, data, Bare(), RECIPE, 160, seed, CPU, data, lambda model: 0.0, 1, None, Silent())
    return algorithm.search(space, place), space.seen, spec


def depth_moves(planted: Planted, seed: int, spec_of: SpecOf) -> bool:
    """Whether layers became likelier on the whole."""
    _, seen, _ = search(planted(seed), DEEP, 0.6, seed, spec_of)
    return float(seen["alpha"][:, 0].mean()) > 0.5


def width_moves(planted: Planted, seed: int, spec_of: SpecOf) -> bool:
    """Whether the wide block became likelier after the stem."""
    _, seen, _ = search(planted(seed), WIDE, 1.0, seed, spec_of)
    return float(seen["beta"][1]) > 0.5


CASES = {
    "depth is found where it matters": (depth_moves, distance, True),
    "depth is dropped where it does not": (depth_moves, sign, False),
    "width is found where it matters": (width_moves, patterns, True),
    "width is dropped where it does not": (width_moves, sign, False),
}


@pytest.mark.parametrize("case", CASES)
def test_the_search_moves_the_right_way(case: str, spec_of: SpecOf) -> None:
    moves, planted, expected = CASES[case]
    assert moves(planted, 0, spec_of) is expected


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_in_most_seeds(case: str, spec_of: SpecOf) -> None:
    moves, planted, expected = CASES[case]
    right = sum(moves(planted, seed, spec_of) is expected for seed in range(5))
    print(f"{case}: {right} of 5 seeds")  # noqa: T201  # figures for the reader
    assert right >= 4


def trained_error(architecture: DenseBlockArchitecture, spec: TaskSpec, seed: int) -> float:
    """Share of wrong answers on new rows after a short training."""
    with owned_randomness(np.random.default_rng(seed), CPU):
        network = TaskModel(DenseBlock().build(architecture, spec), spec)
    recipe = Recipe(Optimiser("adamw", lr=0.01), 1, 32, Cosine())
    model = Training(network, spec, patterns(seed, 0.3)[0], Bare(), recipe, 120, seed, CPU, 120).run().eval()
    batch = patterns(99, 0.3)[0].take(np.arange(ROWS))
    with torch.no_grad():
        said = model(torch.from_numpy(batch["x"])).argmax(dim=1).numpy()
    return float((said != batch["y"]).mean())


@pytest.mark.slow
def test_the_price_trades_error_for_multiply_adds(spec_of: SpecOf) -> None:
    """Means of two seeds."""
    errors, macs = [], []
    for weight in (0.0, 3.0, 8.0):
        runs = [(seed, *search(patterns(seed, 0.3), BOTH, weight, seed, spec_of)) for seed in range(2)]
        macs.append(np.mean([network_macs(found.architecture, spec) for _, found, _, spec in runs]))
        errors.append(np.mean([trained_error(found.architecture, spec, seed) for seed, found, _, spec in runs]))
        shown = " and ".join(str(found.architecture) for _, found, _, _ in runs)
        print(f"weight {weight}: {shown}, {macs[-1]:.0f} multiply-adds, error {errors[-1]:.3f}")  # noqa: T201
    assert macs == sorted(set(macs), reverse=True)
    assert errors == sorted(set(errors))
