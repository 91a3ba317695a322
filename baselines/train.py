"""The one training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nas360.baselines.checkpoint import Checkpoints
from nas360.baselines.device import autocast_dtype, owned_randomness, random_state, restore_random_state
from nas360.baselines.drop_path import set_drop_path
from nas360.baselines.ends import TaskModel
from nas360.baselines.failure import TrainingError
from nas360.baselines.feed import Feed, Tensors, to_device
from nas360.baselines.losses import make_loss
from nas360.baselines.recipe import Recipe
from nas360.baselines.runlog import RunLog
from nas360.baselines.watch import Report, Silent, Watcher
from nas360.errors import RunError
from nas360.loaders.base import Preprocessing
from nas360.loaders.data import SplitRows
from nas360.seeding import derive
from nas360.task import TaskSpec


@dataclass(frozen=True)
class Keeping:
    """When and where a training writes its state.

    Attributes:
        checkpoints: where.
        log: of the run; None for a training that is part of something larger, which has its own.
        epoch_seconds: write after an epoch if the last checkpoint is this old.
        step_seconds: write after any step if the last checkpoint is this old.
    """

    checkpoints: Checkpoints
    log: RunLog | None
    epoch_seconds: float = 10.0
    step_seconds: float = 120.0


@dataclass
class Training:
    """A training of `steps` steps: `run` performs it, from wherever the last checkpoint left it.

    What is learnt depends on the seed and the step alone, never on the clock, the number of reports, or
    interruptions; on the CPU, with the same number of threads, it is equal to the bit.

    Attributes:
        model: on the device.
        spec: the task; names the loss.
        rows: training rows.
        preprocessing: from rows to batches.
        recipe: how; its batch size is at most the number of rows.
        steps: number of steps.
        seed: of the run.
        device: where.
        report_steps: steps between reports.
        keeping: None keeps nothing.
        watcher: is told.
        validate: from a model (in evaluation mode) to the validation metric, called about ten times; None does not
            validate.
    """

    model: TaskModel
    spec: TaskSpec
    rows: SplitRows
    preprocessing: Preprocessing
    recipe: Recipe
    steps: int
    seed: int
    device: torch.device
    report_steps: int
    keeping: Keeping | None = None
    watcher: Watcher | None = None
    validate: Callable[[nn.Module], float] | None = None

    def __post_init__(self) -> None:
        self._watcher: Watcher = self.watcher or Silent()
        self._feed = Feed(self.rows, self.preprocessing, self.recipe.batch_size, self.seed)
        if self._feed.steps_per_epoch < 1:
            raise RunError(f"{len(self.rows)} training rows are fewer than the batch size {self.recipe.batch_size}")
        # of consequence for 2D convolutions only, on CPU and GPU alike
        self.model = self.model.to(memory_format=torch.channels_last)
        self._optimiser = self.recipe.optimiser.make(self.model.parameters())
        self._average = None
        if self.recipe.ema_decay is not None:
            average = get_ema_multi_avg_fn(self.recipe.ema_decay)  # type: ignore[no-untyped-call]  # torch leaves it untyped
            self._average = AveragedModel(self.model, multi_avg_fn=average, use_buffers=True)
        self._loss = make_loss(self.spec.loss, self.recipe.label_smoothing)
        self._dtype = autocast_dtype(self.recipe.precision, self.device)
        self._step = 0
        self._seconds = 0.0
        self._sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self._count = 0
        self._drop_path: float | None = None
        self._bad = torch.full((), -1, dtype=torch.int64, device=self.device)

    @property
    def done(self) -> int:
        """Steps done, over all resumptions."""
        return self._step

    @property
    def seconds(self) -> float:
        """Spent in training, over all resumptions."""
        return self._seconds

    def run(self, until: int | None = None) -> nn.Module:
        """Train to the last step, or stop on the way there.

        What has been stopped is gone on with by another `Training` that keeps its state in the same place, and ends as
        if it had never been stopped.

        Args:
            until: stop after so many steps of the training; None: after all.

        Returns:
            The model that makes the predictions: the one given, or the average of its weights.

        Raises:
            TrainingError: the loss is not finite.
            RunError: the checkpoint does not fit; `until` is not on the way, or nothing is kept to go on from.
        """
        stop = self.steps if until is None else until
        if not self._step <= stop <= self.steps:
            raise RunError(f"a training cannot stop at step {stop}: it is at {self._step} and has {self.steps}")
        if stop < self.steps and self.keeping is None:
            raise RunError(f"a training that keeps nothing was to stop at step {stop}: it could not be gone on with")
        with owned_randomness(derive(self.seed, "train"), self.device):
            self._resume(stop)
            self._loop(stop)
        return self.model if self._average is None else self._average

    def _loop(self, stop: int) -> None:
        began = saved = time.monotonic()
        before = self._seconds
        epoch_steps = self._feed.steps_per_epoch
        self.model.train()
        for batch in self._feed.steps(self._step, stop):
            lr = self._one_step(to_device(batch, self.device))
            self._step += 1
            self._watcher.step(self._step, self.steps, "train")
            now = time.monotonic()
            self._seconds = before + now - began
            last = self._step == stop
            if self._step % self.report_steps == 0 or last:
                self._report(lr)
            if self.keeping is None:
                continue
            patience = self.keeping.epoch_seconds if self._step % epoch_steps == 0 else self.keeping.step_seconds
            if last or now - saved >= patience:
                self._check_finite(lr)
                self._save(self.keeping)
                saved = time.monotonic()

    def _one_step(self, batch: Tensors) -> float:
        """One step; nothing here waits for the device. Returns the learning rate."""
        factor = self.recipe.schedule.factor(self._step, self._feed.steps_per_epoch, self.steps)
        lr = self.recipe.optimiser.lr * factor
        for group in self._optimiser.param_groups:
            group["lr"] = lr
        self._set_drop_path()
        with torch.autocast(self.device.type, dtype=self._dtype, enabled=self._dtype is not None):
            output = self.model(batch.x)
        # outside of autocast: losses are computed in float32
        loss = self._loss(output, batch.y, batch.weight)
        auxiliary = self.model.auxiliary() if self.recipe.auxiliary_weight else None
        if auxiliary is not None:
            loss = loss + self.recipe.auxiliary_weight * self._loss(auxiliary, batch.y, batch.weight)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self._optimiser.step()
        if self._average is not None:
            self._average.update_parameters(self.model)
        loss = loss.detach()
        self._bad = torch.where((self._bad < 0) & ~loss.isfinite(), self._step, self._bad)
        self._sum += loss
        self._count += 1
        return lr

    def _set_drop_path(self) -> None:
        epoch, within = divmod(self._step, self._feed.steps_per_epoch)
        if self.recipe.drop_path and (within == 0 or self._drop_path is None):
            self._drop_path = self.recipe.drop_path * epoch * self._feed.steps_per_epoch / self.steps
            set_drop_path(self.model, self._drop_path)

    def _report(self, lr: float) -> None:
        self._check_finite(lr)
        validation = None
        if self.validate is not None and self._validation_due():
            chosen: nn.Module = self.model if self._average is None else self._average
            validation = self.validate(chosen.eval())
            self.model.train()
        report = Report(
            self._step,
            self.steps,
            self._step / self._feed.steps_per_epoch,
            float(self._sum) / self._count,
            lr,
            validation,
            self._seconds,
        )
        self._sum.zero_()
        self._count = 0
        if self.keeping is not None and self.keeping.log is not None:
            self.keeping.log.append(
                {
                    "step": report.step,
                    "epoch": round(report.epoch, 4),
                    "loss": report.loss,
                    "lr": report.lr,
                    "validation": report.validation,
                    "seconds": round(report.seconds, 3),
                }
            )
        self._watcher.report(report)

    def _validation_due(self) -> bool:
        reports = math.ceil(self.steps / self.report_steps)
        return self._step == self.steps or (self._step // self.report_steps) % max(1, reports // 10) == 0

    def _check_finite(self, lr: float) -> None:
        bad = int(self._bad)
        if bad >= 0:
            raise TrainingError(
                "train",
                f"the loss stopped being a finite number at step {bad + 1} of {self.steps} (epoch "
                f"{bad / self._feed.steps_per_epoch:.2f}, learning rate {lr:g}). Lower the recipe's learning rate, or "
                f"set clip_norm; if it is so at step 1, look for NaN in the data",
            )

    def _save(self, keeping: Keeping) -> None:
        keeping.checkpoints.save(
            {
                "step": self._step,
                "seconds": self._seconds,
                "sum": self._sum,
                "count": self._count,
                "model": self.model.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "average": None if self._average is None else self._average.state_dict(),
                "random": random_state(self.device),
            }
        )

    def _resume(self, stop: int) -> None:
        if self.keeping is None:
            return
        state, warnings = self.keeping.checkpoints.load(self.device)
        for warning in warnings:
            self._watcher.note(warning)
        log = self.keeping.log
        if state is not None and int(state["step"]) > stop:
            # of what was to come later, as when a folder is put back in part
            self._watcher.note(f"the checkpoint is of step {state['step']}, past step {stop}: trained anew")
            state = None
        if state is None:
            if log is not None:
                log.cut(0)
            return
        try:
            self._restore(state)
        except (KeyError, RuntimeError, TypeError, ValueError) as cause:
            # the identity fits, so that only another version of nas360 or of a library can have built the network
            raise RunError(
                f"the checkpoint in {self.keeping.checkpoints.folder} does not fit this network ({cause}). Go on with "
                f"the versions that wrote it, or begin anew with --overwrite"
            ) from cause
        if log is not None:
            log.cut(self._step)
        self._watcher.note(f"taken up at step {self._step} of {self.steps}")

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        restore_random_state(state["random"], self.device)
        self._step, self._seconds, self._count = int(state["step"]), float(state["seconds"]), int(state["count"])
        self._sum = state["sum"].to(self.device)
