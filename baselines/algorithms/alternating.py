"""Searches by gradient in turns: the weights of a supernet move on some of the rows, its architecture on the others.

What such searches share is here; in what they differ is a value, `Turns`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nas360.baselines.algorithms.base import Arena, Found
from nas360.baselines.algorithms.entropy import entropies
from nas360.baselines.algorithms.progress import Progress
from nas360.baselines.feed import Tensors, to_device
from nas360.errors import RunError

Gradients = Callable[["Alternation", Tensors, Tensors], Sequence[Tensor | None]]
"""From a search, the weights' batch and the architecture's to the gradients of `Alternation.parameters`."""


def first_order(search: Alternation, train: Tensors, held_out: Tensors) -> Sequence[Tensor | None]:
    """Of the held-out batch's loss at the weights as they are."""
    return gradients(search.loss(held_out), search.parameters)


def gradients(loss: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """Of these parameters, None for those without a part in the loss; those of all others are not even computed."""
    return torch.autograd.grad(loss, list(parameters), allow_unused=True)


@dataclass(frozen=True)
class Measure:
    """A number that a search reports beside what all of them do.

    Attributes:
        name: in the log and in the facts of what was found.
        title: for people.
        value: the number as it is now.
        text: from the number to text with its unit.
    """

    name: str
    title: str
    value: Callable[[], float]
    text: Callable[[float], str]


@dataclass(frozen=True)
class Turns:
    """In what a search differs from others.

    Attributes:
        optimiser: of a supernet's architecture parameters.
        warmup: share of the steps in which weights alone are trained.
        looks: reports, evenly spaced; for each the supernet is scored on the validation split.
        share: of the rows, and of each step's rows, for the weights.
        architecture_first: whether a turn begins with the architecture's step, not with the weights'.
        gradients: of the architecture's step.
        draw: called before a weight step; says whether it is of the warm-up.
        mix: called before the architecture's step and before validation.
        measures: further numbers of a report.
    """

    optimiser: Callable[[Any], torch.optim.Optimizer]
    warmup: float = 0.0
    looks: int = 50
    share: float = 0.5
    architecture_first: bool = False
    gradients: Gradients = first_order
    draw: Callable[[bool], None] = lambda warm: None
    mix: Callable[[], None] = lambda: None
    measures: tuple[Measure, ...] = ()


class Alternation:
    """One search; made and run inside `owned_randomness`.

    Args:
        space: of the supernet; decodes it.
        arena: what may be used.
        supernet: an `nn.Module` that is a `spaces.base.Supernet`.
        turns: how.

    Attributes:
        model: the supernet on the device, in the task's unit.
        weights: the optimiser of its weights.
        parameters: of its architecture.
        progress: where the search is.
    """

    def __init__(self, space: Any, arena: Arena, supernet: Any, turns: Turns) -> None:
        self.space, self.arena, self.supernet, self.turns = space, arena, supernet, turns
        self.model = arena.model(supernet)
        self.weight_feed, self.architecture_feed = arena.split(turns.share)
        self.weights = arena.recipe.optimiser.make(supernet.weight_parameters())
        self.mixture = turns.optimiser(supernet)
        self.parameters: list[nn.Parameter] = list(supernet.architecture_parameters().values())
        self.warm = math.ceil(turns.warmup * arena.steps)
        parts = {"model": self.model, "weights": self.weights, "mixture": self.mixture}
        self.progress = Progress(arena, self.weight_feed, parts)
        if min(self.weight_feed.batch_size, self.architecture_feed.batch_size) == 1:
            self._check_one_row()

    def _check_one_row(self) -> None:
        """Refuse batches of one row where the supernet comes down to one position, of which no batch norm has a spread.

        Raises:
            RunError: it does.
        """
        hollow = copy.deepcopy(self.model).to("meta").train()
        try:
            with torch.no_grad():
                hollow(torch.empty(1, *self.arena.spec.input_shape, device="meta"))
        except ValueError as cause:
            raise RunError(
                f"{len(self.arena.rows)} training rows leave batches of {self.weight_feed.batch_size} for the weights "
                f"and of {self.architecture_feed.batch_size} for the architecture, and the supernet comes down to one "
                f"position, so that a batch norm would see one number a channel. Prepare more of the data, or give the "
                f"search's recipe larger batches"
            ) from cause

    def loss(self, batch: Tensors) -> Tensor:
        """Training loss of a batch, as the model now is."""
        return self.arena.loss(self.model, batch)

    def run(self) -> Found:
        """Search to the last step, from wherever the last checkpoint left it."""
        arena, progress = self.arena, self.progress
        progress.resume()
        progress.cut_log(progress.step)
        every = math.ceil(arena.steps / max(1, min(arena.looks, self.turns.looks)))
        self.model.train()
        others = self.architecture_feed.steps(max(progress.step, self.warm), arena.steps)
        for batch in self.weight_feed.steps(progress.step, arena.steps):
            train = to_device(batch, arena.device)
            held_out = None if progress.step < self.warm else to_device(next(others), arena.device)
            self.turn(train, held_out)
            progress.advance()
            last = progress.step == arena.steps
            if progress.step % every == 0 or last:
                self._report()
            progress.keep({}, last=last)
        measured = {measure.name: measure.value() for measure in self.turns.measures}
        facts = {"entropy": entropies(self.supernet), **measured}
        return Found(self.space.decode(self.supernet), progress.step, progress.seconds, facts)

    def turn(self, train: Tensors, held_out: Tensors | None) -> None:
        """A weight step, and one of the architecture unless the search is still warming up."""
        self.progress.set_lr()
        if held_out is not None and self.turns.architecture_first:
            self.architecture_step(train, held_out)
        self.weight_step(train)
        if held_out is not None and not self.turns.architecture_first:
            self.architecture_step(train, held_out)

    def weight_step(self, batch: Tensors) -> None:
        """Move the weights, or as many of them as the loss of this step knows."""
        self.turns.draw(self.progress.step < self.warm)
        mine = self.supernet.weight_parameters()
        loss = self.loss(batch)
        _give(mine, gradients(loss, mine))
        if self.arena.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(mine, self.arena.recipe.clip_norm)
        self.weights.step()
        self.progress.add(loss.detach())

    def architecture_step(self, train: Tensors, held_out: Tensors) -> None:
        """Move the architecture.

        Args:
            train: the batch of the weights in this turn.
            held_out: rows that the weights never see.
        """
        self.turns.mix()
        _give(self.parameters, self.turns.gradients(self, train, held_out))
        self.mixture.step()

    def _report(self) -> None:
        arena, progress = self.arena, self.progress
        progress.loss(others=self.parameters)
        self.turns.mix()
        error = arena.error(self.model.eval())
        self.model.train()
        entropy, architecture = entropies(self.supernet), self.space.decode(self.supernet)
        measured = [(measure, measure.value()) for measure in self.turns.measures]
        details = {
            "entropy": entropy,
            **{measure.name: value for measure, value in measured},
            "architecture": self.space.to_json(architecture),
            "mixture": {name: value.tolist() for name, value in self.supernet.mixture().items()},
        }
        shown = {
            "entropy": ", ".join(f"{name} {value:.3f}" for name, value in entropy.items()),
            **{measure.title: measure.text(value) for measure, value in measured},
            "architecture": str(architecture),
        }
        progress.report(error, details, shown)


def _give(parameters: Sequence[Tensor], found: Sequence[Tensor | None]) -> None:
    for parameter, gradient in zip(parameters, found, strict=True):
        parameter.grad = gradient
