"""One search by `DenseNas`: the state that a checkpoint holds, and its steps."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nas360.baselines.algorithms.base import Arena, Found
from nas360.baselines.device import random_state, restore_random_state
from nas360.baselines.failure import TrainingError
from nas360.baselines.feed import Tensors, to_device
from nas360.baselines.train import Keeping
from nas360.baselines.watch import Report

if TYPE_CHECKING:
    from nas360.baselines.algorithms.dense_nas import DenseNas

SHARE = 0.8
"""Of the training rows, and of each step's rows, for the weights; the rest is for the architecture."""


class PathSearch:
    """One search.

    Args:
        algorithm: how.
        space: a `dense_nas.PathSpace`.
        arena: what it may use.
        supernet: of the space, a `dense_nas.PathSupernet`.
    """

    def __init__(self, algorithm: DenseNas, space: Any, arena: Arena, supernet: Any) -> None:
        self.algorithm, self.space, self.arena, self.supernet = algorithm, space, arena, supernet
        self.model = arena.model(supernet)
        self.weight_feed, self.architecture_feed = arena.split(SHARE)
        self.weights = arena.recipe.optimiser.make(supernet.weight_parameters())
        self.architecture = algorithm.optimiser(supernet)
        self.warm = math.ceil(algorithm.warmup * arena.steps)
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
        self.model.train()
        others = self.architecture_feed.steps(max(self.step, self.warm), arena.steps)
        for batch in self.weight_feed.steps(self.step, arena.steps):
            if self.step >= self.warm:
                self._architecture_step(to_device(next(others), arena.device))
            lr = self._weight_step(to_device(batch, arena.device))
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
        facts = {"entropy": entropies(self.supernet), "expected_macs": self._expected_macs()}
        return Found(self.space.decode(self.supernet), self.step, self.seconds, facts)

    def _architecture_step(self, batch: Tensors) -> None:
        """By the loss of all candidates mixed; weights get no gradients."""
        self.supernet.mix()
        loss = self.arena.loss(self.model, batch)
        if self.algorithm.cost_weight:
            loss = loss + self.algorithm.cost_term(self.supernet)
        _move(self.architecture, loss)

    def _weight_step(self, batch: Tensors) -> float:
        """By the loss of what is drawn; weights that were not drawn stay as they are. Returns the learning rate."""
        recipe = self.arena.recipe
        lr = recipe.optimiser.lr * recipe.schedule.factor(self.step, self.weight_feed.steps_per_epoch, self.arena.steps)
        for group in self.weights.param_groups:
            group["lr"] = lr
        self.supernet.draw(uniform=self.step < self.warm)
        self.sum += _move(self.weights, self.arena.loss(self.model, batch), recipe.clip_norm)
        self.count += 1
        return lr

    def _expected_macs(self) -> float:
        """What a network drawn by the probabilities has, skips at 0."""
        with torch.no_grad():
            return float(self.supernet.expected_macs(0.0))

    def _report(self, lr: float) -> None:
        arena, loss = self.arena, float(self.sum) / max(1, self.count)
        parameters = self.supernet.architecture_parameters().values()
        if not math.isfinite(loss) or not all(bool(value.isfinite().all()) for value in parameters):
            raise TrainingError(
                "search",
                f"the search's loss or its architecture stopped being finite by step {self.step} of {arena.steps} "
                f"(learning rate {lr:g}). Lower the learning rate of the search's recipe, or set clip_norm",
            )
        self.supernet.mix()
        error = arena.error(self.model.eval())
        self.model.train()
        epoch = self.step / self.weight_feed.steps_per_epoch
        entropy, macs, architecture = entropies(self.supernet), self._expected_macs(), self.space.decode(self.supernet)
        if arena.keeping is not None and arena.keeping.log is not None:
            arena.keeping.log.append(
                {
                    "step": self.step,
                    "epoch": round(epoch, 4),
                    "loss": loss,
                    "lr": lr,
                    "validation_error": error,
                    "entropy": entropy,
                    "expected_macs": macs,
                    "architecture": self.space.to_json(architecture),
                    "mixture": {name: value.tolist() for name, value in self.supernet.mixture().items()},
                    "seconds": round(self.seconds, 3),
                }
            )
        self.sum.zero_()
        self.count = 0
        shown = {
            "entropy": ", ".join(f"{name} {value:.3f}" for name, value in entropy.items()),
            "expected cost": f"{macs / 1e6:.4g} million multiply-adds",
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
                "architecture": self.architecture.state_dict(),
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
        if state is not None:
            self.model.load_state_dict(state["model"])
            self.weights.load_state_dict(state["weights"])
            self.architecture.load_state_dict(state["architecture"])
            restore_random_state(state["random"], self.arena.device)
            self.step, self.seconds, self.count = int(state["step"]), float(state["seconds"]), int(state["count"])
            self.sum = state["sum"].to(self.arena.device)
            self.arena.watcher.note(f"search taken up at step {self.step} of {self.arena.steps}")
        if keeping.log is not None:
            keeping.log.cut(self.step)


def _move(optimiser: torch.optim.Optimizer, loss: Tensor, clip_norm: float | None = None) -> Tensor:
    """A step of one optimiser; gradients of other parameters are not even computed. Returns the loss, detached."""
    mine = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for parameter, gradient in zip(mine, torch.autograd.grad(loss, mine, allow_unused=True), strict=True):
        parameter.grad = gradient
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(mine, clip_norm)
    optimiser.step()
    return loss.detach()


def entropies(supernet: Any) -> dict[str, float]:
    """Mean entropy of each architecture parameter's softmaxes, as a share of the greatest possible."""
    found, simplices = {}, supernet.simplices()
    for name, weights in supernet.mixture().items():
        groups, flat = simplices[name].flatten().cpu(), weights.double().flatten().cpu()
        sizes = torch.bincount(groups)
        sums = torch.zeros(len(sizes), dtype=torch.float64).index_add_(0, groups, -torch.special.xlogy(flat, flat))
        several = sizes > 1
        found[name] = float((sums[several] / sizes[several].log()).mean()) if bool(several.any()) else 0.0
    return found
