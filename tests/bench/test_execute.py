"""Jobs through executors: one failure costs one job, an engine that breaks down ends the execution, nothing is lost."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from nas360.bench.attempt import Ending, Job, perform
from nas360.bench.execute import execute
from nas360.bench.failures import read_attempts
from nas360.errors import RunError

FAULTS = {
    "raises": "raise ValueError('planted')",
    "hangs": "import time; time.sleep(60)",
    "killed": "import os; os.kill(os.getpid(), 9)",
}


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_fault_costs_its_own_job(job_of: Callable[..., Job], kind: str) -> None:
    jobs = [job_of(f"fine{number}") for number in range(4)]
    jobs[1:1] = [job_of(name, code, time_limit=3.0) for name, code in FAULTS.items()]
    context = get_context("spawn")
    executor = ThreadPoolExecutor(2) if kind == "threads" else ProcessPoolExecutor(2, mp_context=context)
    told: list[Ending] = []
    with executor:
        endings = execute(jobs, executor, told.append)
    assert told == endings
    assert sorted(ending.name for ending in endings) == sorted(job.name for job in jobs)
    failed = {ending.name: ending.failure.reason for ending in endings if ending.failure is not None}
    assert failed == {"raises": "raised", "hangs": "time limit", "killed": "killed"}
    assert all(job.result.exists() for job in jobs if job.name.startswith("fine"))


class _Planted(Executor):
    """Gives the future that it is told to give."""

    def __init__(self, exception: BaseException | None) -> None:
        self.exception = exception
        self.asked: list[Job] = []
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.asked.append(args[0])
        self.futures.append(future)
        if len(self.asked) > 1:
            return future  # never begun
        if self.exception is None:
            future.set_result(fn(*args))
        else:
            future.set_exception(self.exception)
        return future


class _LostError(Exception):
    """As Dask's KilledWorker."""


def test_a_job_under_which_workers_die_is_recorded(job_of: Callable[..., Job]) -> None:
    job = job_of()
    (ending,) = execute([job], _Planted(_LostError("four workers died")), lost=(_LostError,))
    assert ending.failure is not None
    assert (ending.failure.reason, ending.failure.message) == ("worker lost", "four workers died")
    assert read_attempts(job.folder) == [ending.failure]


@pytest.mark.parametrize("exception", [CancelledError(), RuntimeError("broken")])
def test_an_engine_that_breaks_down_is_no_failure_of_the_runs(
    job_of: Callable[..., Job], exception: BaseException
) -> None:
    jobs = [job_of("one"), job_of("two")]
    executor = _Planted(exception)
    with pytest.raises(RunError, match=r"one (was called off|could not be done: the engine broke down)"):
        execute(jobs, executor)
    assert executor.futures[1].cancelled(), "what was not begun is called off"
    assert read_attempts(jobs[0].folder) == []


def test_an_engine_that_is_gone_without_a_word_is_noticed(job_of: Callable[..., Job]) -> None:
    def gone() -> None:
        raise RunError("the scheduler is gone")

    executor = _Planted(None)
    with pytest.raises(RunError, match="scheduler is gone"):
        execute([job_of("one"), job_of("two")], executor, check=gone)
    assert job_of("one").result.exists()


def test_a_machine_that_does_not_see_the_folder_ends_all(job_of: Callable[..., Job]) -> None:
    jobs = [job_of("one", root=job_of().root.with_name("absent")), job_of("two")]
    executor = _Planted(None)
    with pytest.raises(RunError, match=r"one could not be done: .* does not see"):
        execute(jobs, executor)
    assert executor.futures[1].cancelled()


def test_a_worker_process_that_dies_ends_a_pool_of_the_standard_library(job_of: Callable[..., Job]) -> None:
    code = f"import os; os.kill(os.getppid(), {signal.SIGKILL})"
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(RunError, match="broke down"):
        execute([job_of(code=code)], pool)
    # another engine takes it up from the files
    assert perform(job_of()).kind == "done"
    assert job_of().result.exists()
