"""Trials of hyper-parameters: each a training that stops at a rung and goes on from there when it is promoted."""

from __future__ import annotations

import math
import shutil
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import nn

from nas360.baselines.algorithms.base import Arena
from nas360.baselines.algorithms.configuration import optimiser_of
from nas360.baselines.asha.brackets import Plan
from nas360.baselines.asha.sampling import SamplingSpace
from nas360.baselines.asha.scheduler import Failure, Job, Scheduler, judged
from nas360.baselines.checkpoint import Checkpoints
from nas360.baselines.device import owned_randomness
from nas360.baselines.failure import TrainingError
from nas360.baselines.recipe import Recipe
from nas360.baselines.train import Keeping, Training
from nas360.baselines.watch import Silent
from nas360.errors import RunError, UserError
from nas360.seeding import derive


@dataclass(frozen=True)
class Came:
    """What came of a job.

    Attributes:
        outcome: validation error, or why there is none.
        seconds: that the trial has taken in all.
        notes: for the watcher of the search, where that did not hear them.
    """

    outcome: float | Failure
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass
class Trials:
    """The trials of a search, whose states lie in one folder each.

    What a job comes to hangs on the arena, the configuration and the number of the trial alone.

    Attributes:
        arena: what the search was given.
        network: from a configuration to a fresh network.
        plan: of the search, in steps.
        folder: of the search.
        about: tells the search from others.
    """

    arena: Arena
    network: Callable[[Mapping[str, Any]], nn.Module]
    plan: Plan
    folder: Path
    about: Mapping[str, Any]
    _forgotten: set[int] = field(default_factory=set, init=False, repr=False)

    @property
    def steps_per_epoch(self) -> int:
        """Of every trial."""
        return len(self.arena.rows) // self._batch_size

    @property
    def _batch_size(self) -> int:
        return min(self.arena.recipe.batch_size, len(self.arena.rows))

    def recipe(self, configuration: Mapping[str, Any]) -> Recipe:
        """How a trial is trained."""
        recipe = self.arena.recipe
        return replace(recipe, batch_size=self._batch_size, optimiser=optimiser_of(recipe.optimiser, configuration))

    def done(self, jobs: Iterable[Job], log: TrialLog) -> Iterator[tuple[Job, Came]]:
        """Jobs, each of them trained when it is asked for; `log` is told of it before the next."""
        for job in jobs:
            yield job, self.train(job, log.steps)

    def train(self, job: Job, before: int) -> Came:
        """Bring a trial to its rung and judge it there, from wherever its last checkpoint left it.

        A trial whose checkpoint is lost or damaged is trained again from the one before, or from the first step. What
        is wrong with a trial alone (a loss that is not finite, too little memory, any fault of its network, more time
        than `Arena.trial_seconds`) is its failure. What would be wrong with the others too is raised.

        Args:
            job: which trial, and how far.
            before: steps of the search so far, for the watcher.

        Raises:
            RunError: the system refuses a file, for a full disk say, or checkpoints are of other versions.
        """
        training: Training | None = None
        folder = self._folder(job.trial)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # a worker whose search was killed may still be at the trial; it is waited for, then gone on from
            with FileLock(folder / ".lock"):
                training = self._training(job, before)
                outcome = judged(self.arena.error(training.run(job.resource_to).eval()))
        except TrainingError as cause:
            outcome = Failure(str(cause))
        except UserError:
            raise
        except OSError as cause:
            raise RunError(
                f"trial {job.trial} was stopped by the system: {cause}. Make room or mend what is wrong with the files "
                f"in {self.folder}, then go on with --resume; nothing is lost but what came after the last checkpoint"
            ) from cause
        except Exception as cause:
            # whatever else happens to one configuration is no reason to lose the others
            outcome = Failure(_told(cause))
        return Came(outcome, 0.0 if training is None else training.seconds)

    def _training(self, job: Job, before: int) -> Training:
        arena = self.arena
        seed = int(derive(arena.seed, "search", "training", job.trial).integers(2**62))
        with owned_randomness(derive(seed, "init"), arena.device):
            model = arena.model(self.network(job.configuration))
        return Training(
            model=model,
            spec=arena.spec,
            rows=arena.rows,
            preprocessing=arena.preprocessing,
            recipe=self.recipe(job.configuration),
            steps=self.plan.brackets[job.bracket].resources[-1],
            seed=seed,
            device=arena.device,
            # where a loss is seen not to be finite
            report_steps=self.steps_per_epoch,
            keeping=self._keeping(job),
            watcher=_Watcher(arena, job, before),
        )

    def _keeping(self, job: Job) -> Keeping:
        identity = {**self.about, "trial": job.trial, "configuration": job.configuration}
        checkpoints = Checkpoints(self._folder(job.trial), identity)
        if self.arena.keeping is None:
            return Keeping(checkpoints, None)
        return replace(self.arena.keeping, checkpoints=checkpoints, log=None)

    def _folder(self, trial: int) -> Path:
        return self.folder / f"trial{trial}"

    def forget(self, trials: Iterable[int]) -> None:
        """Remove the states of trials that nobody will go on with."""
        for trial in set(trials) - self._forgotten:
            shutil.rmtree(self._folder(trial), ignore_errors=True)
            self._forgotten.add(trial)


class TrialLog:
    """A line a report: what people are shown of a search. What holds is the journal, after which the lines are mended.

    Steps are those that the search has asked for, also where a failed trial ended before, or a lost one was trained
    again.

    Args:
        arena: with the log, or without.
        architecture: from a configuration to the architecture, as JSON values.
        steps_per_epoch: of a trial.
    """

    def __init__(
        self, arena: Arena, architecture: Callable[[Mapping[str, Any]], dict[str, Any]], steps_per_epoch: int
    ) -> None:
        self.steps, self.steps_per_epoch = 0, steps_per_epoch
        self._log = None if arena.keeping is None else arena.keeping.log
        self._architecture = architecture
        self._seconds: dict[int, float] = {}

    @property
    def seconds(self) -> float:
        """Of all trials."""
        return math.fsum(self._seconds.values())

    def seconds_of(self, trial: int) -> float:
        """Of one trial."""
        return self._seconds.get(trial, 0.0)

    def take_up(self, state: Scheduler, space: SamplingSpace, seed: int) -> None:
        """Make the lines those of what has been told.

        Args:
            state: of the search.
            space: what configurations are drawn from.
            seed: of the draws.
        """
        jobs: list[tuple[Job, float | Failure]] = []
        for outcome in state.outcomes():
            resources = state.plan.brackets[outcome.bracket].resources
            begun = resources[outcome.rung - 1] if outcome.rung else 0
            configuration = space.draws(seed).configuration(outcome.trial)
            job = Job(outcome.trial, configuration, outcome.bracket, outcome.rung, begun, outcome.resource)
            jobs.append((job, outcome.error if outcome.failure is None else Failure(outcome.failure)))
        kept = [] if self._log is None else self._log.entries()[: len(jobs)]
        if {(line.get("candidate"), line.get("rung")) for line in kept} == {(job.trial, job.rung) for job, _ in jobs}:
            self.steps = sum(job.resource_to - job.resource_from for job, _ in jobs)
            for line in kept:
                self._seconds[line["candidate"]] = self.seconds_of(line["candidate"]) + float(line["seconds"])
            if self._log is not None:
                self._log.cut(self.steps)
            return
        # the log is lost, or older than the journal
        if self._log is not None:
            self._log.cut(0)
        for job, came_to in jobs:
            self.add(job, came_to, 0.0)

    def add(self, job: Job, outcome: float | Failure, seconds: float) -> None:
        """A line for what a job came to."""
        self.steps += job.resource_to - job.resource_from
        self._seconds[job.trial] = self.seconds_of(job.trial) + seconds
        if self._log is None:
            return
        entry = {
            "step": self.steps,
            "candidate": job.trial,
            "rung": job.rung,
            "epoch": round(job.resource_to / self.steps_per_epoch, 4),
            "validation_error": None if isinstance(outcome, Failure) else outcome,
            "configuration": job.configuration,
            "architecture": self._architecture(job.configuration),
            "seconds": round(seconds, 3),
        }
        self._log.append({**entry, "failure": outcome.reason} if isinstance(outcome, Failure) else entry)


class _Watcher(Silent):
    """Passes a trial's steps on as the search's, and its notes where it is trained again."""

    def __init__(self, arena: Arena, job: Job, before: int) -> None:
        self._arena, self._job, self._before = arena, job, before
        self._notes: list[str] = []
        self._begun = False
        self._since = time.monotonic()

    def note(self, message: str) -> None:
        """Of the checkpoint, before the first step."""
        self._notes.append(message)

    def step(self, done: int, total: int, stage: str) -> None:
        """A step of the trial."""
        job = self._job
        if not self._begun and done <= job.resource_from:
            for message in self._notes:
                self._arena.watcher.note(f"trial {job.trial}: {message}")
            self._arena.watcher.note(
                f"trial {job.trial}: its state at step {job.resource_from} is lost; trained again from step {done - 1}"
            )
        self._begun = True
        if done > job.resource_from:
            now = self._before + done - job.resource_from
            self._arena.watcher.step(now, max(self._arena.steps, now), "search")
        limit = self._arena.trial_seconds
        if limit is not None and time.monotonic() - self._since > limit:
            raise TrainingError(
                "search", f"not at step {job.resource_to} after {limit:g} seconds, but at step {done}; given up"
            )


def _told(cause: Exception) -> str:
    """What went wrong, and where.

    Example:
        >>> try:
        ...     {}["lr"]
        ... except KeyError as cause:
        ...     print(_told(cause).replace(__file__, "…"))
        KeyError: 'lr' (line 2 of <doctest nas360.baselines.algorithms.trials._told[0]>, in <module>)
    """
    where = traceback.extract_tb(cause.__traceback__)[-1]
    said = "".join(traceback.format_exception_only(cause)).strip()
    return f"{said} (line {where.lineno} of {Path(where.filename).name}, in {where.name})"
