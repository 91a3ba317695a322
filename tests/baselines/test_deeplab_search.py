"""Searches over the Auto-DeepLab trellis: they end in networks, survive a kill, and move to the planted resolution.

The planted input is ±1 in squares of 4 positions. In one task the target is the input itself: features at stride 4 hold
one value a square, those at stride 8 and 16 are means of 4 and 16 squares, from which no single one can be told. In the
other the target is the mean of the input over squares of 16, times 4 so that it has unit variance: features at stride
16 are just that, while those at stride 4 would need to know where in its square of 16 a position lies, and
convolutions know no place. So paths must go down for one target, and stay up for the other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas360.baselines.algorithms.base import Arena
from nas360.baselines.algorithms.bilevel import Bilevel
from nas360.baselines.algorithms.updates import AdamUpdate, ExponentiatedUpdate
from nas360.baselines.methods.autodl import METHOD
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.spaces.deeplab_architecture import DeeplabArchitecture
from nas360.baselines.spaces.deeplab_supernet import TrellisRelaxation
from nas360.baselines.spaces.deeplab_trellis import DEEPLAB_TRELLIS
from nas360.loaders import TASKS
from nas360.loaders.base import Batch, Column, Loader, OutputScale, Rows, Task
from nas360.loaders.data import TaskData
from nas360.seeding import derive

Toy = Callable[..., TaskData]
MakeArena = Callable[..., Arena]
SIZE, SMALL, LARGE = 32, 4, 16
SIZES = {"train": 128, "validation": 16, "test": 4}
STEPS = 40
TINY = Bilevel("darts", TrellisRelaxation(layers=2, levels=2, width=2), AdamUpdate(lr=0.05), looks=2)


class Plain:
    """Passes rows through."""

    output_scale: OutputScale | None = None

    def __call__(self, rows: Rows, rng: np.random.Generator | None) -> Batch:
        return Batch(np.ascontiguousarray(rows["x"]), rows["y"], None)


def means(x: np.ndarray[Any, Any], square: int) -> np.ndarray[Any, Any]:
    """(n, size, size) → the means of aligned squares, in place of their positions."""
    n, size, _ = x.shape
    small = x.reshape(n, size // square, square, size // square, square).mean(axis=(2, 4))
    out: np.ndarray[Any, Any] = small.repeat(square, axis=1).repeat(square, axis=2)
    return out


def planted(toy: Toy, target: str) -> TaskData:
    """The task of the file's docstring, `fine` or `coarse`."""
    data: Any = toy(2, "real", train=SIZES["train"])
    changes = {"input_shape": (1, SIZE, SIZE), "prediction_shape": (SIZE, SIZE), "loss": "mean_squared_error"}

    def never(*arguments: object) -> Any:
        raise NotImplementedError

    columns = {name: Column("float32") for name in ("id", "x", "y")}
    data.task = Task(data.spec.model_copy(update=changes), lambda: Loader(columns, never, lambda rows: Plain(), never))
    for split, n in SIZES.items():
        signs = derive(0, "planted", split).choice([-1.0, 1.0], size=(n, SIZE // SMALL, SIZE // SMALL))
        x = signs.repeat(SMALL, axis=1).repeat(SMALL, axis=2).astype(np.float32)
        y = x if target == "fine" else means(x, LARGE) * (LARGE // SMALL)
        ids = np.array([f"{split}-{number}" for number in range(n)])
        data._splits[split] = {"id": ids, "x": x[:, None], "y": np.asarray(y, np.float32)}
    found: TaskData = data
    return found


@pytest.mark.parametrize("kind", ["real", "mask"])
@pytest.mark.parametrize("choice", ["predecessors", "successors"])
def test_a_search_ends_in_a_network(kind: str, choice: Any, toy: Toy, arena: MakeArena) -> None:
    data = toy(2, kind)
    relaxation = TrellisRelaxation(layers=2, levels=2, width=2, choice=choice, checkpointing=choice == "successors")
    search = Bilevel("darts", relaxation, AdamUpdate())
    found = search.search(DEEPLAB_TRELLIS, arena(data, 2))
    assert isinstance(found.architecture, DeeplabArchitecture)
    assert len(found.architecture.path) == 2
    assert all(0 < share <= 1 + 1e-6 for share in found.facts["entropy"].values())
    small = DEEPLAB_TRELLIS.narrower(found.architecture)[-1]
    assert DEEPLAB_TRELLIS.build(small, data.spec)(torch.zeros(2, *data.spec.input_shape)).shape == (2, 1, 12, 9)


def test_the_exponentiated_gradient_searches_it_too(toy: Toy, arena: MakeArena) -> None:
    relaxation = TrellisRelaxation(layers=2, levels=2, width=2, mixing="simplex")
    found = Bilevel("gaea", relaxation, ExponentiatedUpdate()).search(DEEPLAB_TRELLIS, arena(toy(2, "real"), 4))
    assert all(0 < share < 1 for share in found.facts["entropy"].values())


def test_a_killed_search_ends_as_an_unbroken_one(toy: Toy, arena: MakeArena, tmp_path: Path) -> None:
    data = toy(2, "real")
    whole = TINY.search(DEEPLAB_TRELLIS, arena(data, 4, folder=tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        TINY.search(DEEPLAB_TRELLIS, arena(data, 4, folder=tmp_path / "cut", at=3))
    resumed = TINY.search(DEEPLAB_TRELLIS, arena(data, 4, folder=tmp_path / "cut"))
    assert resumed.architecture == whole.architecture
    assert resumed.facts == whole.facts


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_path_moves_to_the_planted_resolution(toy: Toy, arena: MakeArena) -> None:
    relaxation = TrellisRelaxation(layers=3, levels=3, width=2)
    search = Bilevel("darts", relaxation, AdamUpdate(lr=0.1), warmup=0.25, looks=1)
    recipe = Recipe(Optimiser("sgd", lr=0.1, weight_decay=3e-4), epochs=1, batch_size=8, clip_norm=5.0)
    found: dict[str, list[int]] = {}
    for target in ("fine", "coarse"):
        data = planted(toy, target)
        arenas = (arena(data, STEPS, seed=seed, recipe=recipe) for seed in range(5))
        paths = [search.search(DEEPLAB_TRELLIS, place).architecture for place in arenas]
        print(target, [path.path for path in paths])  # noqa: T201  # the figures that the law is about
        found[target] = [sum(path.levels) for path in paths]
    # seen: four coarser, one equal
    assert sum(fine < coarse for fine, coarse in zip(*found.values(), strict=True)) >= 4


def test_recipes_are_the_references() -> None:
    assert METHOD.search is not None
    for task, epochs in (("darcy_flow", 500), ("psicov", 64), ("cosmic", 64)):
        spec = TASKS[task].spec
        assert METHOD.supports(spec)
        final, search = METHOD.recipe_for(spec), METHOD.search.recipe_for(spec)
        assert (final.epochs, final.batch_size, final.optimiser.lr) == (epochs, 14, 0.05)
        assert (search.epochs, search.batch_size, search.optimiser.lr) == (40, 8, 0.025)
        # 35,500 steps, of which 1,000 rise from 5e-6
        factors = [final.schedule.factor(step, 71, 35_500) for step in (0, 1_000, 18_250, 35_499)]
        assert factors == [pytest.approx(1e-4), 1.0, pytest.approx(0.5**0.9), pytest.approx((1 / 34_500) ** 0.9)]
        assert search.schedule.factor(10**6 - 1, 50, 10**6) == pytest.approx(0.001 / 0.025)
        algorithm = METHOD.search.algorithm_for(spec)
        # 40 epochs of half the rows
        assert algorithm.steps(search, 900) == 40 * (450 // 8)
        assert algorithm.size(DEEPLAB_TRELLIS, spec).architecture_parameters == {
            "cell.alpha": (20, 8),
            "into_12x4.beta": (45, 3),
        }
    assert [name for name in TASKS if METHOD.supports(TASKS[name].spec)] == ["darcy_flow", "psicov", "cosmic"]
