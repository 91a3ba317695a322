"""Differentiable search: weights on one half of the data, the mixture of operations on the other, in turns.

DARTS (Liu, Simonyan and Yang 2019) and its family differ in what the architecture parameters are (the relaxation) and
in how they move (the update); both are values here, and this loop is all there is.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nas360.baselines import cost
from nas360.baselines.algorithms.base import Arena, Found, Price, Size
from nas360.baselines.algorithms.second_order import PASSES, check_optimiser, unrolled_gradient
from nas360.baselines.algorithms.updates import Update
from nas360.baselines.device import owned_randomness, random_state, restore_random_state
from nas360.baselines.failure import TrainingError
from nas360.baselines.feed import to_device
from nas360.baselines.recipe import Recipe
from nas360.baselines.train import Keeping
from nas360.baselines.watch import Report
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
        work = cost.of(lambda: space.relax(spec, self.relaxation), spec).work
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

    def search(self, space: Any, arena: Arena) -> Found:
        """See `Algorithm.search`; the space must be `Differentiable`."""
        with owned_randomness(derive(arena.seed, "search", "init"), arena.device):
            supernet = space.relax(arena.spec, self.relaxation)
            search = _Search(self, space, arena, supernet)
        with owned_randomness(derive(arena.seed, "search", "train"), arena.device):
            return search.run()


class _Search:
    """One search: the state that a checkpoint holds, and its steps."""

    def __init__(self, algorithm: Bilevel, space: Any, arena: Arena, supernet: Any) -> None:
        self.algorithm, self.space, self.arena, self.supernet = algorithm, space, arena, supernet
        self.model = arena.model(supernet)
        self.weight_feed, self.architecture_feed = arena.split()
        self.parameters: dict[str, nn.Parameter] = supernet.architecture_parameters()
        self.weights = arena.recipe.optimiser.make(supernet.weight_parameters())
        self.mixture = algorithm.update.make(self.parameters, supernet.simplices())
        if algorithm.order == 2:
            check_optimiser(self.weights)
        self.step = 0
        self.seconds = 0.0
        self.sum = torch.zeros((), dtype=torch.float64, device=arena.device)
        self.count = 0

    def run(self) -> Found:
        """Search to the last step, from wherever the last checkpoint left it."""
        arena = self.arena
        self._resume()
        began = saved = time.monotonic()
        before = self.seconds
        every = math.ceil(arena.steps / max(1, min(arena.looks, self.algorithm.looks)))
        warm = math.ceil(self.algorithm.warmup * arena.steps)
        self.model.train()
        batches = self.weight_feed.steps(self.step, arena.steps)
        others = self.architecture_feed.steps(max(self.step, warm), arena.steps)
        for batch in batches:
            train = to_device(batch, arena.device)
            lr = self._set_lr()
            if self.step < warm:
                self._weight_step(train)
            elif self.algorithm.order == 1:
                self._weight_step(train)
                self._architecture_step(to_device(next(others), arena.device))
            else:
                self._unrolled_step(train, to_device(next(others), arena.device))
                self._weight_step(train)
            self.step += 1
            arena.watcher.step(self.step, arena.steps, "search")
            now = time.monotonic()
            self.seconds = before + now - began
            last = self.step == arena.steps
            if self.step % every == 0 or last:
                self._report(lr)
            if arena.keeping is not None and (last or now - saved >= arena.keeping.epoch_seconds):
                self._save(arena.keeping)
                saved = time.monotonic()
        return Found(self.space.decode(self.supernet), self.step, self.seconds, {"entropy": self._entropy()})

    def _set_lr(self) -> float:
        """Learning rate of the weight step to come."""
        recipe = self.arena.recipe
        lr = recipe.optimiser.lr * recipe.schedule.factor(self.step, self.weight_feed.steps_per_epoch, self.arena.steps)
        for group in self.weights.param_groups:
            group["lr"] = lr
        return lr

    def _weight_step(self, batch: Any) -> None:
        recipe = self.arena.recipe
        loss = self._gradients(batch, self.weights)
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.supernet.weight_parameters(), recipe.clip_norm)
        self.weights.step()
        self.sum += loss
        self.count += 1

    def _architecture_step(self, batch: Any) -> None:
        self._gradients(batch, self.mixture)
        self.mixture.step()

    def _unrolled_step(self, train: Any, validation: Any) -> None:
        parameters = list(self.parameters.values())
        loss = partial(self.arena.loss, self.model)
        gradients = unrolled_gradient(loss, self.model, self.weights, parameters, train, validation)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.mixture.step()

    def _gradients(self, batch: Any, optimiser: torch.optim.Optimizer) -> Tensor:
        """Gradients of the parameters of one optimiser; those of the others are not even computed."""
        mine = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        loss = self.arena.loss(self.model, batch)
        for parameter, gradient in zip(mine, torch.autograd.grad(loss, mine, allow_unused=True), strict=True):
            parameter.grad = gradient
        return loss.detach()

    def _entropy(self) -> dict[str, float]:
        """Mean entropy of each tensor's simplices, as a share of the greatest possible."""
        found = {}
        simplices = self.supernet.simplices()
        for name, weights in self.supernet.mixture().items():
            groups = simplices[name].flatten()
            flat = weights.double().flatten().cpu()
            n = int(groups.max()) + 1
            # an update's simplex may span several mixtures (the reference's edge weights); it counts as one
            flat = flat / torch.zeros(n, dtype=torch.float64).index_add_(0, groups.cpu(), flat)[groups.cpu()]
            terms = torch.zeros(n, dtype=torch.float64).index_add_(0, groups.cpu(), -torch.special.xlogy(flat, flat))
            sizes = torch.bincount(groups.cpu(), minlength=n).double()
            found[name] = float((terms[sizes > 1] / sizes[sizes > 1].log()).mean()) if (sizes > 1).any() else 0.0
        return found

    def _report(self, lr: float) -> None:
        arena, loss = self.arena, float(self.sum) / max(1, self.count)
        if not math.isfinite(loss) or not all(bool(value.isfinite().all()) for value in self.parameters.values()):
            raise TrainingError(
                "search",
                f"the search's loss or its architecture stopped being finite by step {self.step} of {arena.steps} "
                f"(learning rate {lr:g}). Lower the learning rate of the search's recipe, or set clip_norm",
            )
        error = arena.error(self.model.eval())
        self.model.train()
        epoch = self.step / self.weight_feed.steps_per_epoch
        entropy, architecture = self._entropy(), self.space.decode(self.supernet)
        if arena.keeping is not None and arena.keeping.log is not None:
            arena.keeping.log.append(
                {
                    "step": self.step,
                    "epoch": round(epoch, 4),
                    "loss": loss,
                    "lr": lr,
                    "validation_error": error,
                    "entropy": entropy,
                    "architecture": self.space.to_json(architecture),
                    "mixture": {name: value.tolist() for name, value in self.supernet.mixture().items()},
                    "seconds": round(self.seconds, 3),
                }
            )
        self.sum.zero_()
        self.count = 0
        shown = {
            "entropy": ", ".join(f"{name} {value:.3f}" for name, value in entropy.items()),
            "architecture": str(architecture),
        }
        arena.watcher.report(Report(self.step, arena.steps, epoch, loss, lr, error, self.seconds, "search", shown))

    def _save(self, keeping: Keeping) -> None:
        keeping.checkpoints.save(
            {
                "step": self.step,
                "seconds": self.seconds,
                "sum": self.sum,
                "count": self.count,
                "model": self.model.state_dict(),
                "weights": self.weights.state_dict(),
                "mixture": self.mixture.state_dict(),
                "random": random_state(self.arena.device),
            }
        )

    def _resume(self) -> None:
        keeping = self.arena.keeping
        if keeping is None:
            return
        state, warnings = keeping.checkpoints.load(self.arena.device)
        for warning in warnings:
            self.arena.watcher.note(warning)
        if state is None:
            if keeping.log is not None:
                keeping.log.cut(0)
            return
        self.model.load_state_dict(state["model"])
        self.weights.load_state_dict(state["weights"])
        self.mixture.load_state_dict(state["mixture"])
        restore_random_state(state["random"], self.arena.device)
        self.step, self.seconds, self.count = int(state["step"]), float(state["seconds"]), int(state["count"])
        self.sum = state["sum"].to(self.arena.device)
        if keeping.log is not None:
            keeping.log.cut(self.step)
        self.arena.watcher.note(f"search taken up at step {self.step} of {self.arena.steps}")
