"""ENAS: a controller learns which children of shared weights do well, while these weights are learnt.

Source: Pham, Guan, Zoph, Le and Dean 2018 (Efficient neural architecture search via parameter sharing), as AMBER
(Zhang et al. 2021) and NAS-Bench-360 set it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn

from nas360.baselines import cost
from nas360.baselines.algorithms.base import Arena, Found, Price, Size
from nas360.baselines.algorithms.controller import Controller, ControllerSettings
from nas360.baselines.device import owned_randomness
from nas360.baselines.recipe import Recipe
from nas360.baselines.spaces.layered import Child
from nas360.errors import RunError
from nas360.seeding import derive
from nas360.task import TaskSpec

PRICED = 3
"""Children whose mean cost stands for all."""

ALIKE = 0.6
"""What scored children cost, as a share of what they cost one by one: those that begin alike share their beginning.

With twenty children of a fresh controller and 4 to 16 channels it is 0.5 to 0.65 of a step's seconds for equal work.
"""


@dataclass(frozen=True)
class PolicyUpdate:
    """How the controller learns from an episode: REINFORCE with a baseline (Williams 1992; Zoph and Le 2017, 3.2).

    Attributes:
        lr: of Adam.
        passes: over the episode's children.
        batch: children an update.
        decay: of the baseline, an exponential average of the episodes' mean rewards; its first value is the first mean.
        with_present: whether the baseline takes the episode's mean in before it is compared with, as ENAS does. Rewards
            rise while the shared weights learn; against the past alone, whatever is drawn looks good.
        skip_weight: of the divergence of skips from their prior.
        clip: greatest absolute advantage.
        stop: passes end, after the second at the earliest, once the children's log-probabilities have fallen by more
            than this on average; None makes all passes. REINFORCE knows only the controller that drew them: without
            this, the bad children of an episode are pushed down without end, and the skips of all layers end up on, or
            off, whatever their prior wants (in a planted search of 40 episodes 0.04 and 0.93 of them; with it 0.41 and
            0.43).
    """

    lr: float = 1e-3
    passes: int = 10
    batch: int = 20
    decay: float = 0.5
    with_present: bool = True
    skip_weight: float = 1.0
    clip: float = 10.0
    stop: float | None = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.lr < float("inf") or not 0 <= self.decay < 1:
            raise RunError(f"learning rate {self.lr} must be finite and above 0, and the decay {self.decay} in [0, 1)")
        if self.passes < 1 or self.batch < 1:
            raise RunError(f"passes {self.passes} and batch {self.batch} must both be at least 1")


REFERENCE_UPDATE = PolicyUpdate(decay=0.0, with_present=False, stop=None)
"""As the reference has it: the baseline is the mean of the episode before, and its early stop is never active."""


@dataclass(frozen=True)
class Enas:
    """Episodes of weight steps, each on one drawn child and one batch, then scoring, then updates of the controller.

    A look at validation scores `samples` children that the controller draws, on the same rows and the same weights: by
    the mean area under the ROC curve of each class against the rest. The last look is at fresh children on the weights
    as they are in the end, and the best of them is what was found. (The reference takes the best score of all episodes;
    but that compares weights of different ages, and the luckiest of thousands.) Of one look alone, this last one, the
    controller learns nothing.

    Attributes:
        episodes: at most; fewer where the arena allows fewer looks.
        samples: children scored in a look.
        weight_steps: in an episode.
        warmup_epochs: passes over the training rows before the first episode, on children of the untrained controller;
            at most a quarter of the steps.
        controller: what draws.
        update: how it learns.
        width: of the children's narrowest layers.
        validation_rows: that a look scores on at most, a seeded draw; None: all.
        id: short name.
    """

    episodes: int = 300
    samples: int = 100
    weight_steps: int = 500
    warmup_epochs: float = 1.0
    controller: ControllerSettings = field(default_factory=ControllerSettings)
    update: PolicyUpdate = field(default_factory=PolicyUpdate)
    width: int = 32
    validation_rows: int | None = None
    id: str = "enas"

    def __post_init__(self) -> None:
        counts = {"episodes": self.episodes, "samples": self.samples, "weight_steps": self.weight_steps}
        for name, value in {**counts, "width": self.width, "validation_rows": self.validation_rows}.items():
            if value is not None and value < 1:
                raise RunError(f"{name} {value} of ENAS must be at least 1")
        if not 0 <= self.warmup_epochs < float("inf"):
            raise RunError(f"warm-up {self.warmup_epochs} must be a number of epochs ≥ 0")

    def steps(self, recipe: Recipe, n_train: int) -> int:
        """See `Algorithm.steps`; the recipe's epochs do not count, episodes do."""
        return self._warm_steps(recipe, n_train) + self.episodes * self.weight_steps

    def _warm_steps(self, recipe: Recipe, n_train: int) -> int:
        return math.ceil(self.warmup_epochs * max(1, n_train // recipe.batch_size))

    def price(self, space: Any, spec: TaskSpec) -> Price:
        """See `Algorithm.price`: the mean of a few children. The controller itself costs nothing beside them."""
        work = _work(space, spec.model_dump_json(), self.controller, self.width)
        look = self.samples * (ALIKE if self.samples > 1 else 1) * work
        return Price(cost.TRAINING * work, look, self.episodes + 1, rows=self.validation_rows)

    def size(self, space: Any, spec: TaskSpec) -> Size:
        """See `Algorithm.size`; the architecture's parameters are the controller's."""
        with owned_randomness(derive(0, "size"), torch.device("cpu")):
            shared = space.share(spec, self.width)
        shapes = {name: tuple(value.shape) for name, value in _untrained(space, self.controller).named_parameters()}
        return Size(cost.count_parameters(shared), shapes)

    def narrower(self) -> tuple[Enas, ...]:
        """Fewer and shorter episodes, fewer children a look, on fewer rows, and narrower.

        The widest is a quarter of the usual width: a controller learns once a look, and what wider children would cost
        is better spent on looks.
        """
        ladder = ((8, 20, 300, 10), (8, 12, 100, 10), (4, 6, 50, 5), (4, 3, 50, 5), (2, 3, 50, 5))
        most = math.inf if self.validation_rows is None else self.validation_rows
        # of few updates each may go farther
        stop = None if self.update.stop is None else max(self.update.stop, 0.1)
        return tuple(
            replace(
                self,
                width=width,
                samples=samples,
                validation_rows=rows,
                episodes=min(self.episodes, 30),
                weight_steps=min(self.weight_steps, 100),
                update=replace(self.update, passes=passes, lr=max(self.update.lr, 0.01), stop=stop),
            )
            for width, samples, rows, passes in ladder
            if width <= self.width and samples <= self.samples and rows <= most
        )

    def timetable(self, arena: Arena) -> Timetable:
        """How the arena's steps and looks are shared out."""
        whole = self._warm_steps(arena.recipe, len(arena.rows))
        warm = min(whole, arena.steps // 4) if arena.steps < self.steps(arena.recipe, len(arena.rows)) else whole
        episodes = max(0, min(self.episodes, arena.looks - 1, arena.steps - warm))
        return Timetable(arena.steps, warm if episodes else arena.steps, episodes)

    def search(self, space: Any, arena: Arena) -> Found:
        """See `Algorithm.search`; the space must be `Layered`."""
        from nas360.baselines.algorithms.enas_search import EnasSearch

        with owned_randomness(derive(arena.seed, "search", "init"), arena.device):
            search = EnasSearch(self, space, arena)
        with owned_randomness(derive(arena.seed, "search", "train"), arena.device):
            return search.run()


def _untrained(space: Any, settings: ControllerSettings) -> Controller:
    with owned_randomness(derive(0, "size"), torch.device("cpu")):
        return Controller(space.layout, settings)


@lru_cache(maxsize=64)
def _work(space: Any, spec: str, settings: ControllerSettings, width: int) -> float:
    """Mean work of a forward pass of a few children; a search's plan asks for it again and again.

    Args:
        space: as for `Enas.price`.
        spec: of the task, as JSON.
        settings: of the controller.
        width: of the children.
    """
    task = TaskSpec.model_validate_json(spec)
    drawn = _untrained(space, settings).draw(PRICED, torch.Generator().manual_seed(0)).children()

    def build(child: Child) -> nn.Module:
        with torch.device("meta"):
            network: nn.Module = space.alone(child, task, width)
        return network

    return sum(cost.of(partial(build, child), task).work for child in drawn) / len(drawn)


@dataclass(frozen=True)
class Timetable:
    """When what happens.

    Attributes:
        steps: weight steps in all.
        warm: of these, before the first episode.
        episodes: that share the rest evenly.

    Example:
        >>> table = Timetable(steps=10, warm=3, episodes=2)
        >>> [table.end(episode) for episode in range(2)], table.episode_of(2), table.episode_of(6)
        ([6, 10], -1, 1)
    """

    steps: int
    warm: int
    episodes: int

    def end(self, episode: int) -> int:
        """Steps done when an episode's children are scored."""
        return self.warm + (self.steps - self.warm) * (episode + 1) // self.episodes

    def episode_of(self, step: int) -> int:
        """Which episode a step (counted from 0) belongs to; -1 is the warm-up."""
        if step < self.warm:
            return -1
        # the first whose end, which is rounded down, is not before the step after this one
        return -(-(step + 1 - self.warm) * self.episodes // (self.steps - self.warm)) - 1

    def begin(self, episode: int) -> int:
        """First step of an episode, of the warm-up for -1."""
        return 0 if episode < 0 else self.warm if episode == 0 else self.end(episode - 1)
