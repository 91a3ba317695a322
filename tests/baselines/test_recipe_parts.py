"""What a recipe asks of networks that have them: drop path that rises by epoch, and the loss of an auxiliary head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nas360.baselines import ends
from nas360.baselines.checkpoint import Checkpoints
from nas360.baselines.drop_path import DropPath
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.spaces.darts_cell import DARTS_CELL
from nas360.baselines.train import Keeping, Training
from nas360.baselines.watch import Silent
from nas360.errors import RunError
from nas360.loaders.data import TaskData

Toy = Callable[..., TaskData]
CPU = torch.device("cpu")
# four epochs of six steps on the toy's 48 rows
RECIPE = Recipe(Optimiser("sgd", lr=0.01), epochs=4, batch_size=8, drop_path=0.3)
STEPS = 24


class Interrupted(Exception):
    """Stands for a kill."""


class Probabilities(Silent):
    """Keeps the probability of the network's drop paths at every step; interrupts before a step is kept."""

    def __init__(self, model: torch.nn.Module, at: int = -1) -> None:
        self.paths = [module for module in model.modules() if isinstance(module, DropPath)]
        self.at, self.seen = at, dict[int, float]()

    def step(self, done: int, total: int, stage: str) -> None:
        (self.seen[done],) = {path.drop_probability for path in self.paths}
        if done == self.at:
            raise Interrupted


def training(data: TaskData, recipe: Recipe, keeping: Keeping | None = None, at: int = -1) -> tuple[Training, Any]:
    torch.manual_seed(0)
    architecture = replace(DARTS_CELL.default(data.spec), cells=3, width=4, auxiliary=recipe.auxiliary_weight > 0)
    model = ends.TaskModel(DARTS_CELL.build(architecture, data.spec), data.spec)
    watcher = Probabilities(model, at)
    preprocessing = data.preprocessing("train")
    made = Training(
        model, data.spec, data.rows("train"), preprocessing, recipe, STEPS, 0, CPU, STEPS, keeping, watcher
    )  # fmt: skip
    return made, watcher


def test_drop_path_rises_with_the_epoch(toy: Toy) -> None:
    made, watcher = training(toy(1, "point"), RECIPE)
    made.run()
    expected = {step + 1: 0.3 * (step // 6) / 4 for step in range(STEPS)}
    assert watcher.seen == pytest.approx(expected)


def test_without_drop_path_no_branch_is_left_out(toy: Toy) -> None:
    made, watcher = training(toy(1, "point"), replace(RECIPE, drop_path=0.0))
    made.run()
    assert set(watcher.seen.values()) == {0.0}


@pytest.mark.parametrize("at", [3, 6, 14])
def test_an_interrupted_training_takes_up_drop_path_and_auxiliary_head(at: int, toy: Toy, tmp_path: Path) -> None:
    data, recipe = toy(1, "point"), replace(RECIPE, auxiliary_weight=0.4)
    whole = training(data, recipe)[0].run()
    keeping = Keeping(Checkpoints(tmp_path), None, epoch_seconds=0.0, step_seconds=0.0)
    with pytest.raises(Interrupted):
        training(data, recipe, keeping, at)[0].run()
    made, watcher = training(data, recipe, keeping)
    found = made.run()
    # the step that was interrupted is not kept, and done again
    assert min(watcher.seen) == at
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in whole.state_dict().items())


@pytest.mark.parametrize("kind", ["point", "multilabel"])
def test_an_auxiliary_head_learns_by_its_weight_alone(kind: str, toy: Toy) -> None:
    data = toy(2, kind)
    # the two heads are told from each other by what is learnt: without momentum and decay, no gradient is no change
    plain = replace(RECIPE, auxiliary_weight=1e-9, drop_path=0.0)
    weighed = replace(plain, auxiliary_weight=0.4)
    heads = []
    for recipe in (plain, weighed):
        made, _ = training(data, recipe)
        before = {name: value.clone() for name, value in made.model.state_dict().items() if "auxiliary" in name}
        after = made.run().state_dict()
        weights = [name for name in before if name.endswith("weight")]
        assert weights
        heads.append(max(float((after[name] - before[name]).abs().max()) for name in weights))
    assert heads[0] < 1e-6 < 1e-3 < heads[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drop_path": 1.0}, r"drop path 1.0 is not a probability in \[0, 1\)"),
        ({"auxiliary_weight": -0.4}, "weight -0.4 of the auxiliary loss is not a finite number"),
        ({"auxiliary_weight": float("inf")}, "weight inf of the auxiliary loss"),
    ],
)
def test_values_out_of_range(change: dict[str, float], message: str) -> None:
    with pytest.raises(RunError, match=message):
        replace(RECIPE, **change)  # type: ignore[arg-type]  # names are the recipe's
