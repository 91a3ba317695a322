"""What every search is, and what it may use: it sees a space and an arena, and no file, task or metric by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nas360.baselines import ends
from nas360.baselines.device import autocast_dtype
from nas360.baselines.feed import Feed, Tensors
from nas360.baselines.losses import Loss, make_loss
from nas360.seeding import derive

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from nas360.baselines.recipe import Recipe
    from nas360.baselines.train import Keeping
    from nas360.baselines.watch import Watcher
    from nas360.loaders.base import Preprocessing
    from nas360.loaders.data import SplitRows
    from nas360.task import TaskSpec


@dataclass(frozen=True)
class Arena:
    """What a search is given.

    Attributes:
        spec: the task, for the space alone.
        rows: training rows; validation and test rows are not among them.
        preprocessing: from rows to batches.
        recipe: how weights are trained; its epochs are not used.
        steps: weight steps that the search may spend.
        seed: of the run.
        device: where.
        error: from a model to its error on the validation split, lower is better.
        keeping: where the search's state and log go; None keeps nothing.
        watcher: is told.
    """

    spec: TaskSpec
    rows: SplitRows
    preprocessing: Preprocessing
    recipe: Recipe
    steps: int
    seed: int
    device: torch.device
    error: Callable[[nn.Module], float]
    keeping: Keeping | None
    watcher: Watcher

    def model(self, network: nn.Module) -> ends.TaskModel:
        """A network whose output is in the task's unit, on the device."""
        import torch

        model = ends.TaskModel(network, self.spec, self.preprocessing.output_scale).to(self.device)
        # of consequence for 2D convolutions only, on CPU and GPU alike
        return model.to(memory_format=torch.channels_last)

    def halves(self) -> tuple[Feed, Feed]:
        """Batches for the weights, and for the architecture, from two halves of the training rows.

        The halves are those of a seeded shuffle. The reference cuts the rows in two by their order, so that where data
        is ordered by class or subject, weights and architecture see different ones.
        """
        order = derive(self.seed, "search", "halves").permutation(len(self.rows))
        middle = len(order) // 2
        # as many rows a step as both halves have
        size = max(1, min(self.recipe.batch_size, middle))
        first, second = (
            Feed(self.rows, self.preprocessing, size, self.seed, name, np.sort(part))
            for name, part in (("weights", order[:middle]), ("architecture", order[middle : 2 * middle]))
        )
        return first, second

    def loss(self, model: nn.Module, batch: Tensors) -> Tensor:
        """Training loss of a batch, a scalar; computed in float32 outside of autocast."""
        import torch

        dtype = autocast_dtype(self.recipe.precision, self.device)
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            output = model(batch.x)
        return self._loss(output, batch.y, batch.weight)

    @cached_property
    def _loss(self) -> Loss:
        return make_loss(self.spec.loss, self.recipe.label_smoothing)


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        architecture: the space's value.
        steps: weight steps done.
        seconds: spent, over all resumptions.
        facts: further plain values for the record (entropy, candidates…).
    """

    architecture: Any
    steps: int
    seconds: float
    facts: Mapping[str, Any]


class Algorithm(Protocol):
    """A way to search a space, as a value.

    Attributes:
        id: short name, stored in results.
    """

    @property
    def id(self) -> str:
        """Short name."""
        ...

    def search(self, space: Any, arena: Arena) -> Found:
        """Find an architecture; what is random in it comes from the arena's seed.

        Args:
            space: with the abilities that the algorithm needs (`spaces.base`).
            arena: what it may use.
        """
        ...
