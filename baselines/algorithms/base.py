"""What every search is, and what it may use: it sees a space and an arena, and no file, task or metric by name.

The table of methods is made of these values, so that torch is loaded only when something is searched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from nas360.seeding import derive

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from nas360.baselines.ends import TaskModel
    from nas360.baselines.feed import Feed, Tensors
    from nas360.baselines.losses import Loss
    from nas360.baselines.recipe import Optimiser, Recipe
    from nas360.baselines.train import Keeping
    from nas360.baselines.watch import Watcher
    from nas360.loaders.base import Preprocessing
    from nas360.loaders.data import SplitRows
    from nas360.task import TaskSpec


@dataclass(frozen=True)
class Workers:
    """Where the parts of a search that hang on nothing but themselves are done, if not here.

    Attributes:
        executor: of whatever kind; its workers see the files that this process sees, under the same names.
        remake: makes the search's arena anew, in a worker; can be pickled.
        threads: of torch, in a worker; equal numbers give results that are equal to the bit.
    """

    executor: Executor
    remake: Callable[[], Arena]
    threads: int


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
        validation: rows of the validation split.
        error: from a model to its error on the validation split, lower is better; raises TrainingError where outputs
            are not finite.
        looks: how often the search may ask for an error, at most.
        keeping: where the search's state and log go; None keeps nothing.
        watcher: is told.
        workers: that may do parts of the search; None: all is done here.
        trial_seconds: after which a part that is done by itself is given up; None: never.
    """

    spec: TaskSpec
    rows: SplitRows
    preprocessing: Preprocessing
    recipe: Recipe
    steps: int
    seed: int
    device: torch.device
    validation: SplitRows
    error: Callable[[nn.Module], float]
    looks: int
    keeping: Keeping | None
    watcher: Watcher
    workers: Workers | None = None
    trial_seconds: float | None = None

    def model(self, network: nn.Module) -> TaskModel:
        """A network whose output is in the task's unit, on the device."""
        import torch

        from nas360.baselines.ends import TaskModel

        model = TaskModel(network, self.spec, self.preprocessing.output_scale).to(self.device)
        # of consequence for 2D convolutions only, on CPU and GPU alike
        return model.to(memory_format=torch.channels_last)

    def split(self, share: float = 0.5) -> tuple[Feed, Feed]:
        """Batches for the weights, and for the architecture, from two parts of the training rows.

        The parts are those of a seeded shuffle. The reference cuts the rows by their order, so that where data is
        ordered by class or subject, weights and architecture see different ones.

        Args:
            share: of the rows and of each step's rows that is for the weights, in (0, 1).

        Returns:
            Feeds of batches of `recipe.batch_size` rows for the weights, and of (1 - share) / share times as many for
            the architecture; smaller ones where the rows are too few.
        """
        from nas360.baselines.feed import Feed

        order = derive(self.seed, "search", "halves").permutation(len(self.rows))
        middle = round(len(order) * share)
        parts = {"weights": order[:middle], "architecture": order[middle:]}
        wanted = self.recipe.batch_size, round(self.recipe.batch_size * (1 - share) / share)
        first, second = (
            Feed(self.rows, self.preprocessing, max(1, min(size, len(part))), self.seed, name, np.sort(part))
            for size, (name, part) in zip(wanted, parts.items(), strict=True)
        )
        return first, second

    def loss(self, model: nn.Module, batch: Tensors) -> Tensor:
        """Training loss of a batch, a scalar; computed in float32 outside of autocast."""
        import torch

        from nas360.baselines.device import autocast_dtype

        dtype = autocast_dtype(self.recipe.precision, self.device)
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            output = model(batch.x)
        return self._loss(output, batch.y, batch.weight)

    @cached_property
    def _loss(self) -> Loss:
        from nas360.baselines.losses import make_loss

        return make_loss(self.spec.loss, self.recipe.label_smoothing)


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        architecture: the space's value.
        steps: weight steps done.
        seconds: spent, over all resumptions.
        facts: further plain values for the record (entropy, candidates…).
        optimiser: that was tuned, with which the architecture is then trained; None where none was.
    """

    architecture: Any
    steps: int
    seconds: float
    facts: Mapping[str, Any]
    optimiser: Optimiser | None = None


@dataclass(frozen=True)
class Price:
    """What a search costs, in multiply-adds with memory traffic turned into such (`cost.Cost.work`).

    Attributes:
        row: of one training row in a weight step, with all that belongs to the step, such as the architecture's.
        look: of one validation row whenever the search asks for an error.
        looks: how often it does.
        rows: of validation that a look takes at most; None: all.
        step: of a weight step, beside its rows.
    """

    row: float
    look: float
    looks: int
    rows: int | None = None
    step: float = 0.0

    def of_look(self, n_validation: int) -> float:
        """Of a look at a validation split of so many rows."""
        return self.look * (n_validation if self.rows is None else min(n_validation, self.rows))


@dataclass(frozen=True)
class Size:
    """What a search learns beside the network that it finds.

    Attributes:
        supernet_parameters: weights that the candidates share; 0 where they share none.
        architecture_parameters: name → shape of what describes the architecture.
    """

    supernet_parameters: int = 0
    architecture_parameters: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


class Algorithm(Protocol):
    """A way to search a space, as a value: a frozen dataclass of plain values and further such dataclasses.

    Attributes:
        id: short name, stored in results.
    """

    @property
    def id(self) -> str:
        """Short name."""
        ...

    def steps(self, recipe: Recipe, n_train: int) -> int:
        """Weight steps of the whole search.

        Args:
            recipe: of the weights, whose epochs count as the algorithm says.
            n_train: training rows.
        """
        ...

    def price(self, space: Any, spec: TaskSpec) -> Price:
        """What a step costs, from shapes alone; nothing is computed and no random number drawn from anybody."""
        ...

    def size(self, space: Any, spec: TaskSpec) -> Size:
        """What is learnt, from shapes alone."""
        ...

    def narrower(self) -> tuple[Any, ...]:
        """Cheaper searches of the same kind, in falling order of cost; what a small budget may fall back on."""
        ...

    def search(self, space: Any, arena: Arena) -> Found:
        """Find an architecture; what is random in it comes from the arena's seed.

        Args:
            space: with the abilities that the algorithm needs (`spaces.base`).
            arena: what it may use.

        Raises:
            TrainingError: a loss or an output is not finite.
        """
        ...


@runtime_checkable
class SharedOut(Protocol):
    """An algorithm of trials that are independent of each other, which `Arena.workers` can do side by side."""

    @property
    def at_once(self) -> int | None:
        """Trials that may be done at the same time; None: all that are due."""
        ...


@runtime_checkable
class Paced(Protocol):
    """An algorithm whose architecture moves by small steps, so that a short search would leave it where it began."""

    def paced(self, steps: int, whole: int) -> Any:
        """The same with learning rates at which the architecture can go as far as in a whole search.

        They grow as the steps become fewer, up to what still is a search, and never fall.

        Args:
            steps: weight steps of the search to come.
            whole: of the method's own, on the task's official rows.
        """
        ...


@dataclass(frozen=True)
class Search:
    """A way to search and how weights are trained meanwhile.

    Attributes:
        algorithm: the way.
        recipe: for a task of which nothing is known but its spec.
        overrides: task id → change of the recipe.
        changes: task id → change of the algorithm.
        keep_optimiser: whether shortened budgets keep the recipe's optimiser too, for an algorithm that needs it.
    """

    algorithm: Algorithm
    recipe: Callable[[TaskSpec], Recipe]
    overrides: Mapping[str, Callable[[Recipe], Recipe]] = field(default_factory=dict)
    changes: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    keep_optimiser: bool = False

    def algorithm_for(self, spec: TaskSpec) -> Algorithm:
        """The algorithm with the task's change."""
        change = self.changes.get(spec.id)
        algorithm: Algorithm = self.algorithm if change is None else change(self.algorithm)
        return algorithm

    def recipe_for(self, spec: TaskSpec) -> Recipe:
        """The recipe with the task's override."""
        recipe = self.recipe(spec)
        change = self.overrides.get(spec.id)
        return recipe if change is None else change(recipe)
