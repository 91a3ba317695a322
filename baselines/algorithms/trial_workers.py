"""Trials that are trained by the workers of an executor: in other processes, or on other machines with the same files.

What a worker is sent is a few kilobytes: where the data is, what is searched, and the job. It opens the data itself,
once, and keeps the trial's checkpoints where the search does, so that it does not matter which worker goes on with it.

Who answers for what: a trial that fails (see `Trials.train`) comes back as a failure. A worker that dies under a trial
is the executor's to replace, and the trial to be given to another, which goes on from its checkpoint; `LocalWorkers`
does so once, Dask as often as its configuration says. When the executor gives the trial up, it has failed. When the
executor itself is at an end, so is the search: nothing is held against the trials, and it goes on with `resume`.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache

import torch

from nas360.baselines.algorithms.base import Workers
from nas360.baselines.algorithms.trials import Came, TrialLog, Trials
from nas360.baselines.asha.parallel import in_order
from nas360.baselines.asha.scheduler import Failure, Job
from nas360.baselines.local_workers import WorkerDied
from nas360.baselines.watch import Silent
from nas360.errors import RunError, UserError

_ALONE = threading.Lock()
"""Torch's random numbers and threads are the process's: trials of one process take turns."""


@dataclass(frozen=True)
class SharedTrials:
    """The trials of a search, by workers.

    Args:
        trials: as they would be done here.
        workers: who does them.
    """

    trials: Trials
    workers: Workers
    _call: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        trials = self.trials
        parts = self.workers.remake, trials.network, trials.plan, trials.folder.absolute(), trials.about
        try:
            object.__setattr__(self, "_call", pickle.dumps(parts))
        except (pickle.PicklingError, AttributeError, TypeError) as cause:
            raise RunError(
                f"this search cannot be sent to workers ({cause}). Run it without, or define what it is made of at the "
                f"top of a module"
            ) from cause

    def done(self, jobs: Sequence[Job], log: TrialLog) -> Iterator[tuple[Job, Came]]:
        """The jobs of a round in their order, with what came of them.

        Raises:
            RunError: the executor is at an end, or a worker cannot do what it is asked.
        """
        watcher, steps = self.trials.arena.watcher, log.steps

        def ended(job: Job) -> None:
            nonlocal steps
            steps += job.resource_to - job.resource_from
            watcher.step(steps, max(self.trials.arena.steps, steps), "search")

        for job, future in in_order(jobs, self.submit, ended):
            came = came_of(job, future)
            for note in came.notes:
                watcher.note(note)
            yield job, came

    def submit(self, job: Job) -> Future[Came]:
        """Give a job away.

        Raises:
            RunError: the executor takes no more.
        """
        try:
            return self.workers.executor.submit(train_there, self._call, job, self.workers.threads, _here())
        except RuntimeError as cause:  # also of a broken pool, or one that was shut down
            raise RunError(_lost(job, cause)) from cause


def came_of(job: Job, future: Future[Came]) -> Came:
    """What a future of `SharedTrials.submit` holds.

    Raises:
        RunError: what is wrong is not the trial's.
    """
    try:
        return future.result()
    except UserError as cause:
        raise RunError(f"{cause}") from cause
    except _deaths() as cause:
        return Came(Failure(f"no worker survived it: {cause}"), 0.0)
    except (CancelledError, Exception) as cause:
        # whatever a trial does comes back as its outcome; this is of those who carry it
        raise RunError(_lost(job, cause)) from cause


def _deaths() -> tuple[type[BaseException], ...]:
    """What executors raise for a job under which workers have died again and again."""
    dask = sys.modules.get("distributed")
    return (WorkerDied,) if dask is None else (WorkerDied, dask.KilledWorker)


def _lost(job: Job, cause: BaseException) -> str:
    said = str(cause).strip().split("\n")[0][:300]
    return (
        f"trial {job.trial} could not be done by the workers ({type(cause).__name__}: {said}). See that they run, have "
        f"this version of nas360 and see the same files, then go on with --resume; nothing is lost but what came "
        f"after the last checkpoints"
    )


def _here() -> tuple[str, int]:
    return socket.gethostname(), os.getpid()


def train_there(call: bytes, job: Job, threads: int, sender: tuple[str, int]) -> Came:
    """Train a trial in this process, whichever it is; what executors are given.

    Args:
        call: what is searched, of `SharedTrials`.
        job: which trial, and how far.
        threads: of torch.
        sender: machine and process of the search; another process is ended when a trial does not even notice that
            its time is over.
    """
    with _ALONE, _threads(threads):
        trials = _opened(call)
        limit = trials.arena.trial_seconds
        watched = limit is not None and sender != _here()
        if limit is not None and watched:
            # not by a thread of Python's, which something that hangs may never let run
            faulthandler.dump_traceback_later(2 * limit, exit=True, file=2)
        notes = _Notes()
        try:
            arena = replace(trials.arena, watcher=notes)
            return replace(replace(trials, arena=arena).train(job, 0), notes=tuple(notes.told))
        finally:
            if watched:
                faulthandler.cancel_dump_traceback_later()


@lru_cache(maxsize=1)
def _opened(call: bytes) -> Trials:
    remake, network, plan, folder, about = pickle.loads(call)
    return Trials(remake(), network, plan, folder, about)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Notes(Silent):
    """Keeps notes for the search's own watcher."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, message: str) -> None:
        """A sentence for the reader."""
        self.told.append(message)
