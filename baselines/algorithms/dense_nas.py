"""The search of DenseNAS: weights on drawn paths, the architecture on held-out rows, cheap networks preferred."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from nas360.baselines import cost
from nas360.baselines.algorithms.alternating import Alternation, Measure, Turns, gradients
from nas360.baselines.algorithms.base import Arena, Found, Price, Size
from nas360.baselines.algorithms.updates import MOST_ADAM, paced_lr
from nas360.baselines.device import owned_randomness
from nas360.baselines.feed import Tensors
from nas360.baselines.spaces.base import Space, Supernet
from nas360.baselines.spaces.dense_block_table import Trim
from nas360.errors import RunError
from nas360.seeding import derive

if TYPE_CHECKING:
    from nas360.baselines.recipe import Recipe
    from nas360.task import TaskSpec

SHARE = 0.8
"""Of the training rows, and of each step's rows, for the weights; the rest is for the architecture."""

TRIMS = (Trim(2, 5), Trim(4, 3), Trim(8, 2), Trim(8, 1, 2), Trim(16, 1, 2), Trim(16, 1, 1))
"""Supernets that a small budget may fall back on."""


class PathSupernet(Supernet, Protocol):
    """What the search asks of a supernet, beside being a module."""

    def draw(self, *, uniform: bool) -> None:
        """Draw one candidate a layer, uniformly or by their probabilities, from torch's current generator."""
        ...

    def mix(self) -> None:
        """Mix the candidates again."""
        ...

    def expected_macs(self, skip_charge: float) -> Tensor:
        """Multiply-adds that a network drawn by the probabilities is expected to have, differentiable."""
        ...


class PathSpace(Space[Any], Protocol):
    """A space whose supernet is searched by drawn paths."""

    def supernet(self, spec: TaskSpec, trim: Trim, temperature: float) -> Any:
        """A fresh supernet, an `nn.Module` that is a `PathSupernet`, initialised from torch's current generator."""
        ...

    def supernet_work(self, spec: TaskSpec, trim: Trim) -> tuple[int, int]:
        """Work of a supernet, a sample: what is always computed, and all layers that can be skipped."""
        ...

    def decode(self, supernet: Any) -> Any:
        """The architecture that the supernet's probabilities speak for."""
        ...


@dataclass(frozen=True)
class DenseNas:
    """Weight steps on drawn layers and architecture steps on all of them, in turns.

    In each step, after the warm-up, first the architecture moves on held-out rows, by Adam and the loss
    task loss + `cost_weight` · log(expected multiply-adds in millions) / log(`cost_base`), then the weights.

    Differences from the NAS-Bench-360 reference: the architecture's rows are held out in all tasks (in Cosmic's
    search the reference takes the weights' own); the shift of logits after a step is left out, which changes no
    softmax; see also the space.

    Source: Fang et al. 2020 (DenseNAS), sections 3.4 and 3.5; values as published with NAS-Bench-360.

    Attributes:
        id: short name.
        trim: how the supernet is made cheaper than the space's table.
        temperature: logits are divided by this before each softmax.
        warmup: share of the steps in which weights alone are trained, on layers drawn uniformly.
        lr_alpha: Adam's learning rate for the choice of layers.
        lr_beta: the same for the choice of connections.
        betas: decay rates of its averages.
        weight_decay: added to its gradient.
        cost_weight: of the cost in the architecture's loss.
        cost_base: millions of multiply-adds at which the cost is 1.
        skip_charge: what a skip counts in the cost, as a share of the layer that it replaces.
        looks: reports, evenly spaced; for each the supernet is scored on the validation split.
    """

    id: str = "dense_nas"
    trim: Trim = field(default_factory=Trim)
    temperature: float = 0.9
    warmup: float = 11 / 70
    lr_alpha: float = 3e-4
    lr_beta: float = 3e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 1e-3
    cost_weight: float = 0.2
    cost_base: float = 3500.0
    skip_charge: float = 0.1
    looks: int = 50

    def __post_init__(self) -> None:
        if not 0 <= self.warmup <= 1:
            raise RunError(f"warm-up {self.warmup} is not a share of the search in [0, 1]")
        if not (0 <= self.cost_weight < math.inf and self.cost_base > 1 and 0 <= self.skip_charge <= 1):
            raise RunError(
                f"cost weight {self.cost_weight}, base {self.cost_base} and charge of a skip {self.skip_charge} must "
                f"be at least 0, above 1, and in [0, 1]"
            )

    def steps(self, recipe: Recipe, n_train: int) -> int:
        """See `Algorithm.steps`; an epoch is one pass over the share of the rows that trains the weights."""
        rows = max(1, round(n_train * SHARE))
        return recipe.epochs * (rows // min(recipe.batch_size, rows))

    def price(self, space: PathSpace, spec: TaskSpec) -> Price:
        """See `Algorithm.price`.

        Half of the layers are taken to be drawn. An architecture step has a quarter of a weight step's rows, and no
        gradients of weights, which are a third of the work.
        """
        always, layers = space.supernet_work(spec, self.trim)
        whole = always + layers
        architecture = (1 - self.warmup) * (1 - SHARE) / SHARE * (cost.TRAINING - 1) * whole
        return Price(row=cost.TRAINING * (always + layers / 2) + architecture, look=whole, looks=self.looks)

    def size(self, space: PathSpace, spec: TaskSpec) -> Size:
        """See `Algorithm.size`."""
        with torch.device("meta"):
            supernet = self._supernet(space, spec)
        shapes = {name: tuple(value.shape) for name, value in supernet.architecture_parameters().items()}
        return Size(sum(weight.numel() for weight in supernet.weight_parameters()), shapes)

    def narrower(self) -> tuple[DenseNas, ...]:
        """The same search in trimmed supernets."""
        return tuple(replace(self, trim=trim) for trim in TRIMS)

    def paced(self, steps: int, whole: int) -> DenseNas:
        """See `base.Paced`."""
        alpha, beta = (paced_lr(lr, whole / steps, MOST_ADAM) for lr in (self.lr_alpha, self.lr_beta))
        return replace(self, lr_alpha=alpha, lr_beta=beta)

    def search(self, space: Any, arena: Arena) -> Found:
        """See `Algorithm.search`; the space must be a `PathSpace`."""
        with owned_randomness(derive(arena.seed, "search", "init"), arena.device):
            supernet = self._supernet(space, arena.spec)
            search = Alternation(space, arena, supernet, self.turns(supernet))
        with owned_randomness(derive(arena.seed, "search", "train"), arena.device):
            return search.run()

    def _supernet(self, space: PathSpace, spec: TaskSpec) -> Any:
        return space.supernet(spec, self.trim, self.temperature)

    def turns(self, supernet: PathSupernet) -> Turns:
        """The architecture moves first, by the loss of all candidates mixed; then the weights of what is drawn."""

        def expected_macs() -> float:
            with torch.no_grad():
                return float(supernet.expected_macs(0.0))

        return Turns(
            optimiser=self.optimiser,
            warmup=self.warmup,
            looks=self.looks,
            share=SHARE,
            architecture_first=True,
            gradients=self._gradients,
            draw=lambda warm: supernet.draw(uniform=warm),
            mix=supernet.mix,
            measures=(
                Measure(
                    "expected_macs",
                    "expected cost",
                    expected_macs,
                    lambda macs: f"{macs / 1e6:.4g} million multiply-adds",
                ),
            ),
        )

    def _gradients(self, search: Alternation, train: Tensors, held_out: Tensors) -> Sequence[Tensor | None]:
        loss = search.loss(held_out)
        if self.cost_weight:
            loss = loss + self.cost_term(search.supernet)
        return gradients(loss, search.parameters)

    def optimiser(self, supernet: PathSupernet) -> torch.optim.Optimizer:
        """Adam over the architecture, in two groups."""
        parameters = supernet.architecture_parameters()
        rates = {"alpha": self.lr_alpha, "beta": self.lr_beta}
        groups = [{"params": [parameters[name]], "lr": lr} for name, lr in rates.items()]
        return torch.optim.Adam(groups, betas=self.betas, weight_decay=self.weight_decay)

    def cost_term(self, supernet: PathSupernet) -> Tensor:
        """What the expected cost adds to the architecture's loss; 0 without a cost weight."""
        millions = supernet.expected_macs(self.skip_charge) / 1e6
        return self.cost_weight * millions.log() / math.log(self.cost_base)
