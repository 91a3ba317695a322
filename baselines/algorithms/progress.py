"""Where a search that trains shared weights is: what its checkpoint holds, and what its log and its watcher are told.

A search composes this with whatever it learns beside the weights; see `alternating` and `enas_search`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from nas360.baselines.algorithms.base import Arena
from nas360.baselines.device import random_state, restore_random_state
from nas360.baselines.failure import TrainingError
from nas360.baselines.feed import Feed
from nas360.baselines.watch import Report
from nas360.errors import RunError


class Part(Protocol):
    """A module or an optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """Its state, of tensors and plain values."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take a state up."""
        ...


class Progress:
    """Steps done, time spent, and the weights' losses since the last report.

    Args:
        arena: of the search.
        feed: of the weights; its passes are the epochs.
        parts: name → what a checkpoint holds beside; `weights` is the optimiser of the weights.

    Attributes:
        step: weight steps done.
        seconds: spent, over all resumptions.
    """

    def __init__(self, arena: Arena, feed: Feed, parts: Mapping[str, Any]) -> None:
        self.arena, self._feed = arena, feed
        self._parts: Mapping[str, Part] = parts
        self._weights: torch.optim.Optimizer = parts["weights"]
        self.step = 0
        self.seconds = 0.0
        self._sum = torch.zeros((), dtype=torch.float64, device=arena.device)
        self._count = 0
        self._saved = self._began = time.monotonic()
        self._before = 0.0

    @property
    def lr(self) -> float:
        """Learning rate of the last weight step; before the first, of that one."""
        return self._lr(max(0, self.step - 1))

    def _lr(self, step: int) -> float:
        recipe = self.arena.recipe
        return recipe.optimiser.lr * recipe.schedule.factor(step, self._feed.steps_per_epoch, self.arena.steps)

    def set_lr(self) -> None:
        """Give the weights' optimiser the learning rate of the step to come."""
        lr = self._lr(self.step)
        for group in self._weights.param_groups:
            group["lr"] = lr

    def add(self, loss: Tensor) -> None:
        """Take note of a weight step's loss, a detached scalar; nobody waits for its value."""
        self._sum += loss
        self._count += 1

    def advance(self) -> None:
        """A weight step is done, with all that belongs to it."""
        self.step += 1
        self.arena.watcher.step(self.step, self.arena.steps, "search")
        self._tick()

    def _tick(self) -> float:
        now = time.monotonic()
        self.seconds = self._before + now - self._began
        return now

    def loss(self, others: Iterable[Tensor] = ()) -> float:
        """Mean loss of the weight steps since the last report.

        Args:
            others: tensors that must be finite too: the architecture's parameters.

        Raises:
            TrainingError: it is not finite, or another is not.
        """
        loss = float(self._sum) / max(1, self._count)
        if not math.isfinite(loss) or not all(bool(value.isfinite().all()) for value in others):
            raise TrainingError(
                "search",
                f"the search's loss or its architecture stopped being finite by step {self.step} of "
                f"{self.arena.steps} (learning rate {self.lr:g}). Lower the learning rate of the search's recipe, or "
                f"set clip_norm",
            )
        return loss

    def report(self, error: float, details: Mapping[str, Any], shown: Mapping[str, str]) -> None:
        """Write to the log and tell the watcher; losses are counted anew.

        Args:
            error: on validation.
            details: of the log's entry, plain values.
            shown: title → text, for people.
        """
        arena, lr, loss = self.arena, self.lr, self.loss()
        epoch = self.step / self._feed.steps_per_epoch
        if arena.keeping is not None and arena.keeping.log is not None:
            first = {"step": self.step, "epoch": round(epoch, 4), "loss": loss, "lr": lr, "validation_error": error}
            arena.keeping.log.append({**first, **details, "seconds": round(self.seconds, 3)})
        self._sum.zero_()
        self._count = 0
        arena.watcher.report(
            Report(self.step, arena.steps, epoch, loss, lr, error, self.seconds, stage="search", shown=shown)
        )

    def keep(self, values: Mapping[str, Any], *, last: bool = False) -> None:
        """Write a checkpoint if the last one is old enough.

        Args:
            values: name → what the search holds beside its parts, tensors and plain values.
            last: write one however old the last is.
        """
        now, keeping = self._tick(), self.arena.keeping
        if keeping is None or not (last or now - self._saved >= keeping.epoch_seconds):
            return
        own = {"step": self.step, "seconds": self.seconds, "sum": self._sum, "count": self._count}
        parts = {name: part.state_dict() for name, part in self._parts.items()}
        keeping.checkpoints.save({**own, **values, **parts, "random": random_state(self.arena.device)})
        self._saved = time.monotonic()

    def resume(self, values: Iterable[str] = ()) -> Mapping[str, Any] | None:
        """Take up the last checkpoint, if there is one, and start the clock; the caller cuts the log.

        Args:
            values: names of what the caller will take out of the checkpoint.

        Returns:
            The checkpoint, for the values that are the caller's.

        Raises:
            RunError: the checkpoint lacks something, or does not fit this search.
        """
        arena, state = self.arena, None
        if arena.keeping is not None:
            state, warnings = arena.keeping.checkpoints.load(arena.device)
            for warning in warnings:
                arena.watcher.note(warning)
            if state is not None:
                self._take_up(state, values, arena.keeping.checkpoints.folder)
        self._saved = self._began = time.monotonic()
        self._before = self.seconds
        return state

    def _take_up(self, state: Mapping[str, Any], values: Iterable[str], folder: Path) -> None:
        arena = self.arena
        try:
            if lacking := [name for name in values if name not in state]:
                raise KeyError(*lacking)
            for name, part in self._parts.items():
                part.load_state_dict(state[name])
            restore_random_state(state["random"], arena.device)
            self.step, self.seconds, self._count = int(state["step"]), float(state["seconds"]), int(state["count"])
            self._sum = state["sum"].to(arena.device)
        except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as cause:
            # the identity fits, so that only another version of nas360 or of a library can have written it
            lacks = f"it lacks {', '.join(map(repr, cause.args))}"
            reason = lacks if isinstance(cause, KeyError) else " ".join(str(cause).split())
            raise RunError(
                f"the checkpoint in {folder} does not fit this search ({reason}). Go on with the versions that wrote "
                f"it, or begin anew with --overwrite"
            ) from cause
        arena.watcher.note(f"search taken up at step {self.step} of {arena.steps}")

    def cut_log(self, step: int) -> None:
        """Drop what the log says of later steps, which will be done again."""
        if self.arena.keeping is not None and self.arena.keeping.log is not None:
            self.arena.keeping.log.cut(step)
