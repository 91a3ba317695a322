"""Searches over the DARTS cells: they go through on every kind of task, and end in networks that can be built."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nas360.baselines.algorithms.base import Algorithm, Arena
from nas360.baselines.algorithms.bilevel import Bilevel
from nas360.baselines.algorithms.random_search import RandomSearch
from nas360.baselines.algorithms.updates import AdamUpdate, ExponentiatedUpdate
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.spaces.base import Relaxation
from nas360.baselines.spaces.darts_cell import DARTS_CELL
from nas360.baselines.spaces.darts_genotypes import DartsArchitecture
from nas360.baselines.watch import Silent
from nas360.loaders.data import TaskData

Toy = Callable[..., TaskData]
TINY: dict[str, Any] = {"partial_channels": 2, "width": 4, "cells": 3}
SEARCHES: dict[str, Algorithm] = {
    "gaea": Bilevel("gaea", Relaxation(mixing="simplex", **TINY), ExponentiatedUpdate()),
    "reference": Bilevel("gaea", Relaxation(mixing="double_softmax", **TINY), ExponentiatedUpdate()),
    "darts": Bilevel(
        "darts",
        Relaxation(mixing="softmax", edge_normalisation=False, partial_channels=1, width=4, cells=3),
        AdamUpdate(),
    ),
}


def arena(data: TaskData, steps: int = 3) -> Arena:
    def error(model: nn.Module) -> float:
        batch = preprocessing(data.rows("validation").take(np.arange(4)), None)
        with torch.no_grad():
            return float(model(torch.from_numpy(batch.x)).float().square().mean())

    preprocessing = data.preprocessing("train")
    recipe = Recipe(Optimiser("sgd", lr=0.025), epochs=1, batch_size=8, clip_norm=5.0)
    cpu = torch.device("cpu")
    train, validation = data.rows("train"), data.rows("validation")
    return Arena(data.spec, train, preprocessing, recipe, steps, 0, cpu, validation, error, 50, None, Silent())


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize(("dims", "kind"), [(1, "point"), (2, "multilabel"), (2, "real"), (1, "mask")])
def test_a_search_by_gradient_ends_in_a_network(name: str, dims: int, kind: str, toy: Toy) -> None:
    data = toy(dims, kind)
    found = SEARCHES[name].search(DARTS_CELL, arena(data))
    assert isinstance(found.architecture, DartsArchitecture)
    assert found.steps == 3
    assert all(0 < share <= 1 + 1e-9 for share in found.facts["entropy"].values())
    small = DARTS_CELL.narrower(found.architecture)[-1]
    x = torch.zeros(2, *data.spec.input_shape)
    assert DARTS_CELL.build(small, data.spec)(x).shape[0] == 2


def test_the_exponentiated_gradient_moves_every_mixture_and_keeps_it(toy: Toy) -> None:
    still, moved = (SEARCHES["gaea"].search(DARTS_CELL, arena(toy(2, "point"), steps)) for steps in (1, 4))
    assert all(moved.facts["entropy"][name] < 1 for name in moved.facts["entropy"])
    assert still.facts != moved.facts


def test_random_search_over_cells(toy: Toy) -> None:
    class Small:
        """The cells, small enough for a test."""

        def __getattr__(self, name: str) -> Any:
            return getattr(DARTS_CELL, name)

        def sample(self, spec: Any, rng: np.random.Generator) -> Any:
            return DARTS_CELL.narrower(DARTS_CELL.sample(spec, rng))[-1]

    found = RandomSearch(candidates=2, least_steps=1).search(Small(), arena(toy(1, "point"), steps=2))
    assert math.isfinite(found.facts["validation_error"])
