"""Searches whose trials are independent, ASHA's: each trial is a job of the engine's like any other run.

The search itself, which only says what is to be tried next, is a thread of the client. When it is over, the run is
performed as all others are: it finds its search done in the folder, and trains what was found.
"""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future, InvalidStateError, wait
from contextlib import suppress
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from nas360.bench.attempt import POLL_SECONDS, Ending, Job, alone, has_ended, of_machine, perform
from nas360.bench.call import PROGRAM, written
from nas360.bench.failures import Attempt, add_attempt, make_attempt
from nas360.bench.grid import Cell, Grid
from nas360.bench.place import Place
from nas360.errors import RunError, UserError

P = ParamSpec("P")
T = TypeVar("T")
Submit = Callable[[Job], Future[Ending]]

FOLDER = "trials"
"""In a run's folder: what the processes of its trials print."""

TRIES = 2
"""How often a trial is begun whose process is killed from elsewhere, which may have meant another."""


def has_trials(method_name: str) -> bool:
    """Whether the method's search has independent trials."""
    from nas360.baselines.algorithms.base import SharedOut
    from nas360.baselines.method import get_method

    search = get_method(method_name).search
    return search is not None and isinstance(search.algorithm, SharedOut)


class Trials(Executor):
    """Performs calls as jobs of the engine's: watched, with a GPU each, ended at their limits.

    Args:
        submit_job: has the engine perform a job.
        run: the job of the run that the calls are for, whose limits and threads they have.
        lost: exceptions by which the engine gives a job up.
    """

    def __init__(self, submit_job: Submit, run: Job, lost: tuple[type[Exception], ...]) -> None:
        self._submit_job, self._run, self._lost = submit_job, run, lost
        self._number, self._stopped = 0, False
        self._open: set[Future[Any]] = set()
        self.failure: Attempt | None = None
        """Of a call that could not be brought to an end, which is then that of the run."""
        self.broken: str | None = None
        """Why the engine takes no more calls, if it does not."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See `Executor.submit`; arguments by position, all of which can be pickled."""
        if kwargs:
            raise TypeError("arguments by name are not passed on")
        self._number += 1
        folder = self._run.folder / FOLDER / str(self._number)
        result = folder / f"{uuid.uuid4().hex}.pickle"
        job = replace(
            self._run,
            name=f"trial {self._number} of {self._run.name}",
            folder=folder,
            result=result,
            arguments=(str(result), written(fn, *args)),
            program=PROGRAM,
        )
        outer: Future[T] = Future()
        self._open.add(outer)
        outer.add_done_callback(self._open.discard)
        if self._stopped:
            _tell(outer, self._broke("stopped"))
        else:
            self._begin(job, outer, TRIES)
        return outer

    def stop(self) -> None:
        """Tell whoever waits for calls that nothing comes of them; an engine that is gone would never."""
        self._stopped = True
        for outer in self._open.copy():
            _tell(outer, self._broke("stopped"))

    def _begin(self, job: Job, outer: Future[Any], tries: int) -> None:
        try:
            inner = self._submit_job(job)
        except Exception as cause:  # the engine is shut down; of whatever kind, nobody else would tell who waits
            _tell(outer, self._broke(str(cause)))
            return
        outer.add_done_callback(lambda _: inner.cancel())
        inner.add_done_callback(lambda _: self._pass_on(job, inner, outer, tries - 1))

    def _pass_on(self, job: Job, inner: Future[Ending], outer: Future[Any], tries: int) -> None:
        if outer.done():
            return
        try:
            ending = inner.result()
        except (CancelledError, Exception) as cause:
            _tell(outer, self._died(str(cause)) if isinstance(cause, self._lost) else self._broke(str(cause)))
            return
        failure = ending.failure
        if failure is not None and failure.reason in ("killed", "busy") and tries:
            self._begin(job, outer, tries)
        elif failure is not None and failure.reason in ("killed", "busy"):
            _tell(outer, self._died(failure.message))
        elif failure is not None:
            # a limit is the caller's and not the trial's: what the search comes to must not hang on it
            self.failure = failure
            _tell(outer, RunError(failure.message))
        elif ending.kind != "done":
            _tell(outer, self._broke(ending.message or ending.kind))
        else:
            try:
                _tell(outer, pickle.loads(job.result.read_bytes()))
                job.result.unlink(missing_ok=True)
            except Exception as cause:  # a damaged pickle may raise anything
                _tell(outer, self._broke(f"{job.name} left what cannot be read ({type(cause).__name__}: {cause})"))

    def _died(self, message: str) -> Exception:
        from nas360.baselines.local_workers import WorkerDied

        return WorkerDied(message)

    def _broke(self, message: str) -> Exception:
        self.broken = message
        return RunError(message)


def _tell(future: Future[Any], outcome: Any) -> None:
    """Let a future hold an exception or a value, unless it was cancelled or has one, just now even."""
    with suppress(InvalidStateError):
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def search_then_run(
    place: Place,
    grid: Grid,
    cell: Cell,
    job: Job,
    engine: Executor,
    trials: Trials,
) -> Ending:
    """Search in this thread, with the trials performed by the engine; then have the engine perform the run.

    Args:
        place: of the benchmark.
        grid: its grid.
        cell: the run.
        job: of the run.
        engine: performs the run.
        trials: performs the trials.

    Raises:
        RunError: the engine is at an end.
    """
    from nas360.baselines.failure import TrainingError
    from nas360.baselines.run import search
    from nas360.loaders.data import load_task

    settings = grid.settings
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        with alone(job) as wanted:
            if not wanted:
                return Ending(job.name, "stopped")
            if not job.result.exists():
                search(
                    cell.method,
                    load_task(cell.task, place.dataset(grid, cell.task)),
                    cell.seed,
                    job.folder,
                    settings.budget,
                    settings.device,
                    max_steps=settings.max_steps,
                    executor=trials,
                    trial_threads=settings.threads,
                )
    except TrainingError:
        pass  # the result is there and says so
    except UserError as cause:
        if trials.broken is not None:
            raise RunError(f"{job.name}: {trials.broken}") from cause
        return _failed(job, str(cause), trials.failure)
    except OSError as cause:
        return of_machine(job, cause)
    except Exception as cause:
        # in a process of its own it would cost this run alone too
        return _failed(job, f"{type(cause).__name__}: {cause}")
    return _awaited(engine.submit(perform, job), job)


def _failed(job: Job, message: str, of_trial: Attempt | None = None) -> Ending:
    found = make_attempt("raised", "") if of_trial is None else of_trial
    attempt = make_attempt(found.reason, message, found.seconds, found.exit_code, found.printed)
    add_attempt(job.folder, attempt)
    return Ending(job.name, "failed", failure=attempt)


def _awaited(future: Future[Ending], job: Job) -> Ending:
    """What comes of a job, unless its execution ends before: an engine that is gone says nothing more."""
    while not has_ended(job.call):
        done, _ = wait([future], timeout=POLL_SECONDS)
        if done:
            return future.result()
    future.cancel()
    return Ending(job.name, "stopped")
