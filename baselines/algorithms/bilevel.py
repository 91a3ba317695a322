"""Differentiable search: weights on one half of the data, the mixture of operations on the other, in turns.

DARTS (Liu, Simonyan and Yang 2019) and its family differ in what the architecture parameters are (the relaxation) and
in how they move (the update); both are values here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from nas360.baselines import cost
from nas360.baselines.algorithms.alternating import Alternation, Turns, first_order
from nas360.baselines.algorithms.base import Arena, Found, Price, Size
from nas360.baselines.algorithms.second_order import PASSES, check_optimiser, unrolled_gradient
from nas360.baselines.algorithms.updates import Update
from nas360.baselines.device import owned_randomness
from nas360.baselines.feed import Tensors
from nas360.baselines.recipe import Recipe
from nas360.errors import RunError
from nas360.seeding import derive
from nas360.task import TaskSpec


@dataclass(frozen=True)
class Bilevel:
    """Alternate weight steps and architecture steps.

    First order (DARTS, section 2.3, ξ = 0): a weight step, then an architecture step by the gradient at the weights as
    they are. Second order: first the architecture step, by the gradient at the weights that the weight step to come
    would give, then that weight step, with the same batch (DARTS, algorithm 1).

    Attributes:
        id: short name.
        relaxation: what the supernet is, a value that the space understands, with its own `narrower()`.
        update: how architecture parameters move.
        warmup: share of the steps in which weights alone are trained.
        looks: reports, evenly spaced; for each the supernet is scored on the validation split.
        order: 1 or 2. 2 needs SGD for the weights, and makes an architecture step four times as dear.
    """

    id: str
    relaxation: Any
    update: Update
    warmup: float = 0.0
    looks: int = 50
    order: int = 1

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise RunError(f"order {self.order} of the architecture's gradient is neither 1 nor 2")

    def steps(self, recipe: Recipe, n_train: int) -> int:
        """See `Algorithm.steps`; an epoch is one pass over the half of the rows that trains the weights."""
        half = max(1, round(n_train * 0.5))
        return recipe.epochs * (half // min(recipe.batch_size, half))

    def price(self, space: Any, spec: TaskSpec) -> Price:
        """See `Algorithm.price`; an architecture step costs as much as a weight step, or `PASSES` of second order."""
        work = _work(space, spec.model_dump_json(), self.relaxation)
        passes = 1 + (1 - self.warmup) * (PASSES if self.order == 2 else 1)
        return Price(row=cost.TRAINING * work * passes, look=work, looks=self.looks)

    def size(self, space: Any, spec: TaskSpec) -> Size:
        """See `Algorithm.size`."""
        with owned_randomness(derive(0, "size"), torch.device("cpu")):
            supernet = space.relax(spec, self.relaxation)
        shapes = {name: tuple(value.shape) for name, value in supernet.architecture_parameters().items()}
        return Size(sum(weight.numel() for weight in supernet.weight_parameters()), shapes)

    def narrower(self) -> tuple[Bilevel, ...]:
        """The same search in narrower supernets."""
        return tuple(replace(self, relaxation=relaxation) for relaxation in self.relaxation.narrower())

    def paced(self, steps: int, whole: int) -> Bilevel:
        """See `base.Paced`."""
        return replace(self, update=self.update.paced(whole / steps))

    def search(self, space: Any, arena: Arena) -> Found:
        """See `Algorithm.search`; the space must be `Differentiable`."""
        with owned_randomness(derive(arena.seed, "search", "init"), arena.device):
            supernet = space.relax(arena.spec, self.relaxation)
            search = Alternation(space, arena, supernet, self._turns())
            if self.order == 2:
                check_optimiser(search.weights)
        with owned_randomness(derive(arena.seed, "search", "train"), arena.device):
            return search.run()

    def _turns(self) -> Turns:
        return Turns(
            optimiser=lambda supernet: self.update.make(supernet.architecture_parameters(), supernet.simplices()),
            warmup=self.warmup,
            looks=self.looks,
            architecture_first=self.order == 2,
            gradients=second_order if self.order == 2 else first_order,
        )


@lru_cache(maxsize=64)
def _work(space: Any, spec: str, relaxation: Any) -> int:
    """Work of a supernet's forward pass, a sample; a search's plan asks for it again and again.

    Args:
        space: as for `Bilevel.price`.
        spec: of the task, as JSON.
        relaxation: as of `Bilevel`.
    """
    task = TaskSpec.model_validate_json(spec)
    return cost.of(lambda: space.relax(task, relaxation), task).work


def second_order(search: Alternation, train: Tensors, held_out: Tensors) -> Sequence[Tensor]:
    """Of the held-out batch's loss at the weights that the weight step to come would give."""
    return unrolled_gradient(search.loss, search.model, search.weights, search.parameters, train, held_out)
