"""Jobs of a search that others do: submitted to an executor, and told round by round or whenever one is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

from nas360.baselines.asha.scheduler import Job

T = TypeVar("T")
Submit = Callable[[Job], Future[T]]
"""Gives a job away."""


def _nothing(job: Job) -> None:
    pass


def in_order(
    jobs: Sequence[Job], submit: Submit[T], done: Callable[[Job], None] = _nothing
) -> Iterator[tuple[Job, Future[T]]]:
    """Give all jobs of a round away, and what came of them back in the order of the jobs, whichever was done first.

    So a search that tells what it is given is the same to the last line with one worker and with many. What comes back
    early waits for those before it; `done` hears of it at once.

    Args:
        jobs: of the round.
        submit: gives a job away.
        done: is told of a job when it is done, in the thread that asks for the next result.

    Yields:
        A job, and its future, which is done.
    """
    finished: SimpleQueue[Future[T]] = SimpleQueue()
    futures: dict[Future[T], Job] = {}
    back: set[Future[T]] = set()
    try:
        for job in jobs:
            future = submit(job)
            futures[future] = job
            future.add_done_callback(finished.put)
        for future, job in futures.items():
            while future not in back:
                one = finished.get()
                back.add(one)
                done(futures[one])
            yield job, future
    finally:
        for future in futures:
            future.cancel()


def as_done(ask: Callable[[], Job | None], submit: Submit[T], at_once: int) -> Iterator[tuple[Job, Future[T]]]:
    """Keep so many jobs away at a time, and give back what came of each when it is done: ASHA as it was published.

    The caller tells what came of a job before the next one is taken, and then the next is asked. Nobody ever waits for
    a rung, but which trials are promoted hangs on the speed of the workers: see `Scheduler`.

    Args:
        ask: of the search.
        submit: gives a job away.
        at_once: jobs that are away at a time, at most; as many as there are workers.

    Yields:
        A job, and its future, which is done.
    """
    finished: SimpleQueue[Future[T]] = SimpleQueue()
    away: dict[Future[T], Job] = {}
    try:
        while True:
            while len(away) < at_once and (job := ask()) is not None:
                future = submit(job)
                away[future] = job
                future.add_done_callback(finished.put)
            if not away:
                return
            future = finished.get()
            yield away.pop(future), future
    finally:
        for future in away:
            future.cancel()
