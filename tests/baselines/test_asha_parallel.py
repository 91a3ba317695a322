"""Jobs done by others: rounds come back in order, and what is asked whenever one is done is a valid order of ASHA."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from nas360.baselines.asha.brackets import conservative, plan
from nas360.baselines.asha.journal import journalled
from nas360.baselines.asha.parallel import as_done, in_order
from nas360.baselines.asha.sampling import SamplingSpace
from nas360.baselines.asha.scheduler import Job, Scheduler
from nas360.seeding import derive

PLANS = [plan(40, 64), plan(23, 16, eta=2, mode=conservative), plan(1, 4)]


def error_of(job: Job) -> float:
    return float(derive(3, "error", job.trial, job.rung).random())


class Counted:
    """An executor's side: jobs take some time, and how many are away at once is counted."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool, self.lock = pool, threading.Lock()
        self.away = self.most = 0

    def submit(self, job: Job) -> Future[float]:
        with self.lock:
            self.away += 1
            self.most = max(self.most, self.away)
        return self.pool.submit(self.perform, job)

    def perform(self, job: Job) -> float:
        time.sleep(float(derive(4, "seconds", job.trial, job.rung).exponential(0.0005)))
        return error_of(job)

    def came(self) -> None:
        with self.lock:
            self.away -= 1


@pytest.mark.parametrize("workers", [1, 3, 16])
@pytest.mark.parametrize("number", range(len(PLANS)))
def test_what_is_asked_whenever_one_is_done_is_a_valid_order(number: int, workers: int, tmp_path: Path) -> None:
    events: list[tuple[str, int, int]] = []
    with (
        ThreadPoolExecutor(workers) as pool,
        journalled(tmp_path / "journal.jsonl", PLANS[number], SamplingSpace({}), 0) as search,
    ):
        counted = Counted(pool)

        def ask() -> Job | None:
            job = search.ask()
            if job is not None:
                events.append(("ask", job.trial, job.rung))
            return job

        for job, future in as_done(ask, counted.submit, workers):
            counted.came()
            search.tell(job.trial, job.rung, future.result())
            events.append(("tell", job.trial, job.rung))
        assert search.scheduler.finished
    # the very same questions of a scheduler that is told the same, which checks each of them against Algorithm 2
    again, flying = Scheduler(PLANS[number], SamplingSpace({}), 0), set()
    for kind, trial, rung in events:
        if kind == "ask":
            asked = again.ask()
            assert asked is not None and (asked.trial, asked.rung) == (trial, rung)
            flying.add((trial, rung))
            assert len(flying) <= workers
        else:
            flying.remove((trial, rung))
            again.tell(trial, rung, float(derive(3, "error", trial, rung).random()))
    assert again.finished and not flying
    assert counted.most <= workers
    told = [event[1:] for event in events if event[0] == "tell"]
    assert len(told) == len(set(told)), "nothing is done twice"
    # whoever waits for nothing has everybody at work as long as there are trials to begin
    assert counted.most == min(workers, PLANS[number].trials)


def jobs_of(n: int) -> list[Job]:
    scheduler = Scheduler(plan(n, 4), SamplingSpace({}), 0)
    return [job for _ in range(n) if (job := scheduler.ask()) is not None]


def test_a_round_comes_back_in_the_order_of_its_jobs() -> None:
    jobs, futures, heard = jobs_of(6), dict[int, Future[int]](), list[int]()

    def submit(job: Job) -> Future[int]:
        futures[job.trial] = Future()
        return futures[job.trial]

    def finish() -> None:
        for trial in (4, 2, 5, 0, 3, 1):
            futures[trial].set_result(trial)

    threading.Timer(0.05, finish).start()
    came = [(job.trial, future.result()) for job, future in in_order(jobs, submit, lambda job: heard.append(job.trial))]
    assert came == [(trial, trial) for trial in range(6)]
    assert heard == [4, 2, 5, 0, 3, 1], "what is done is heard of at once"


def test_what_comes_first_in_order_is_not_held_back_by_what_comes_later() -> None:
    futures: list[Future[int]] = []

    def submit(job: Job) -> Future[int]:
        futures.append(Future())
        return futures[-1]

    came = in_order(jobs_of(3), submit)
    threading.Timer(0.01, lambda: futures[0].set_result(7)).start()
    assert next(came)[1].result() == 7
    assert not futures[1].done()
    futures[2].set_exception(ValueError("of the job"))
    futures[1].set_result(8)
    assert next(came)[1].result() == 8
    assert isinstance(next(came)[1].exception(), ValueError)


@pytest.mark.parametrize("drive", ["in_order", "as_done"])
def test_whoever_stops_takes_back_what_has_not_begun(drive: str) -> None:
    futures: list[Future[int]] = []

    def submit(job: Job) -> Future[int]:
        futures.append(Future())
        if len(futures) == 1:
            futures[0].set_result(0)
        return futures[-1]

    jobs = jobs_of(4)
    asked: Callable[[], Job | None] = iter([*jobs, None]).__next__
    came = in_order(jobs, submit) if drive == "in_order" else as_done(asked, submit, 3)
    next(came)
    came.close()  # type: ignore[attr-defined]  # a generator
    assert [future.cancelled() for future in futures] == [False, *(True for _ in futures[1:])]
    assert len(futures) == (4 if drive == "in_order" else 3)
