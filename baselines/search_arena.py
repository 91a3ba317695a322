"""What a run gives to its search, made where the run is or, from a few plain values, in any other process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas360.baselines.algorithms.base import Arena
from nas360.baselines.checkpoint import Checkpoints
from nas360.baselines.device import autocast_dtype, choose_device
from nas360.baselines.failure import TrainingError
from nas360.baselines.predict import predict
from nas360.baselines.search_plan import SearchPlan
from nas360.baselines.train import Keeping
from nas360.baselines.watch import Silent, Watcher
from nas360.errors import RunError
from nas360.evaluate import evaluate
from nas360.loaders import TASKS
from nas360.loaders.base import Preprocessing
from nas360.loaders.data import TaskData
from nas360.loaders.scoring import load_references
from nas360.predictions import Predictions


def make_arena(
    data: TaskData,
    preprocessing: Preprocessing,
    plan: SearchPlan,
    seed: int,
    device: torch.device,
    keeping: Keeping,
    watcher: Watcher,
    trial_seconds: float | None = None,
) -> Arena:
    """What a search is given; see `Arena`.

    Args:
        data: of the task.
        preprocessing: fitted on the training split alone.
        plan: of the search.
        seed: of the run.
        device: where.
        keeping: where its state goes.
        watcher: is told.
        trial_seconds: see `Arena`.
    """
    return Arena(
        spec=data.spec,
        rows=data.rows("train"),
        preprocessing=preprocessing,
        recipe=plan.recipe,
        steps=plan.steps,
        seed=seed,
        device=device,
        validation=data.rows("validation"),
        error=_error(data, preprocessing, plan, device),
        looks=plan.looks,
        keeping=keeping,
        watcher=watcher,
        trial_seconds=trial_seconds,
    )


def _error(
    data: TaskData, preprocessing: Preprocessing, plan: SearchPlan, device: torch.device
) -> Callable[[nn.Module], float]:
    """From a model to its error on validation; raises TrainingError where its outputs are not finite."""
    references, rows, spec, recipe = (
        load_references(data, "validation"),
        data.rows("validation"),
        data.spec,
        plan.recipe,
    )
    dtype = autocast_dtype(recipe.precision, device)

    def error(model: nn.Module) -> float:
        try:
            values = predict(model, rows, preprocessing, spec, device, recipe.batch_size, Silent(), dtype)
        except TrainingError as cause:
            raise TrainingError(
                "search",
                "a network under search gives outputs that are not finite. Lower the learning rate of the search's "
                "recipe, or set clip_norm",
            ) from cause
        return spec.error(evaluate(Predictions(tuple(references.ids), values), references, spec).score)

    return error


@dataclass(frozen=True)
class Sharing:
    """Who does the trials of a search that has such (`base.SharedOut`), and for how long.

    Attributes:
        executor: of any kind; None: they are done here.
        threads: of torch in its workers; None: as many as here.
        seconds: after which a trial that has not reached its rung is given up; None: never.
    """

    executor: Executor | None = None
    threads: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if (self.threads is not None and self.threads < 1) or (self.seconds is not None and not self.seconds > 0):
            raise RunError(f"{self.threads} threads and {self.seconds} seconds for a trial: both must be above 0")


NOBODY = Sharing()
"""All trials are done here."""


@dataclass(frozen=True)
class Place:
    """Where a task's data is, as plain values.

    Attributes:
        task: its id.
        folder: of the dataset repository, from the root.
        source: what the user named.
        revision: the commit, for a Hub repository.
        content_hash: of the data.
    """

    task: str
    folder: Path
    source: str
    revision: str | None
    content_hash: str

    @classmethod
    def of(cls, data: TaskData) -> Place:
        """The place of data that is open here."""
        return cls(data.spec.id, data.folder.absolute(), data.source, data.revision, data.content_hash)

    def open(self) -> TaskData:
        """The data; its arrays are memory-mapped.

        Raises:
            DatasetError: it is not there.
            RunError: it is not the same.
        """
        data = TaskData(TASKS[self.task], self.folder, self.source, self.revision)
        if data.content_hash != self.content_hash:
            raise RunError(
                f"{self.folder} holds other data for this worker than for the run (content {data.content_hash[:12]}…, "
                f"not {self.content_hash[:12]}…). Let both see the same files"
            )
        return data


@dataclass(frozen=True)
class Remake:
    """Makes the arena of a search anew, in a process that sees the same files.

    Attributes:
        place: of the data.
        plan: of the search.
        seed: of the run.
        device: its type; with several GPUs, which one is what the process sees as the first.
        folder: of the search's state, from the root.
        identity: of the search.
        checkpoint_seconds: see `run.run`.
        trial_seconds: see `Arena`.
    """

    place: Place
    plan: SearchPlan
    seed: int
    device: str
    folder: Path
    identity: Mapping[str, Any]
    checkpoint_seconds: tuple[float, float]
    trial_seconds: float | None

    def __call__(self) -> Arena:
        """The arena, which writes no log and tells nobody."""
        data, device = self.place.open(), choose_device(self.device)
        keeping = Keeping(Checkpoints(self.folder, self.identity), None, *self.checkpoint_seconds)
        preprocessing = data.preprocessing("train")
        return make_arena(data, preprocessing, self.plan, self.seed, device, keeping, Silent(), self.trial_seconds)
