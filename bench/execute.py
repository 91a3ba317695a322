"""Jobs through any executor of `concurrent.futures`: handed out, collected, and called off when need be."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait

from nas360.bench.attempt import Ending, Job, perform
from nas360.bench.failures import add_attempt, make_attempt
from nas360.errors import RunError

POLL_SECONDS = 1.0


def execute(
    jobs: Iterable[Job],
    executor: Executor,
    told: Callable[[Ending], None] = lambda ending: None,
    *,
    lost: tuple[type[Exception], ...] = (),
    check: Callable[[], None] = lambda: None,
    ahead: int | None = None,
    begun: Mapping[Job, Future[Ending]] | None = None,
) -> list[Ending]:
    """Perform jobs, in the order given as far as the executor keeps it.

    A job that fails costs that job alone. What makes all others fail too, a full disk, a machine that does not see the
    folder, an engine that breaks down, ends the execution.

    Args:
        jobs: what to do.
        executor: does it; it decides how many at a time, where, and how often a job whose worker is lost is tried
            again. It is not shut down.
        told: is called after every job.
        lost: exceptions by which the executor says that it gave a job up because its workers died.
        check: called every second; raises when the engine is gone without a word.
        ahead: jobs that are handed out at a time, for an executor without priorities, so that others who use it need
            not wait for all of them; None: all at once.
        begun: further jobs, which somebody else has handed out.

    Returns:
        What came of each job, in the order of their ends.

    Raises:
        RunError: the execution cannot go on. What was not begun is cancelled; what was done is kept.
        KeyboardInterrupt: likewise. Ending the processes under way is the caller's.
    """
    others = {future: job for job, future in (begun or {}).items()}
    waiting: dict[Future[Ending], Job] = dict(others)
    left = deque(jobs)
    endings: list[Ending] = []
    try:
        while waiting or left:
            while left and (ahead is None or len(waiting.keys() - others.keys()) < ahead):
                job = left.popleft()
                waiting[executor.submit(perform, job)] = job
            over, _ = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in over:
                if future.cancelled():
                    check()  # which may know why
                ending = _ending(waiting.pop(future), future, lost)
                endings.append(ending)
                told(ending)
                if ending.kind in ("no space", "unseen", "stopped"):
                    raise RunError(f"{ending.name} could not be done: {ending.message or ending.kind}")
            check()
    finally:
        for future in waiting:
            future.cancel()
    return endings


def _ending(job: Job, future: Future[Ending], lost: tuple[type[Exception], ...]) -> Ending:
    try:
        return future.result()
    except RunError:
        raise
    except lost as cause:
        attempt = make_attempt("worker lost", str(cause).strip().splitlines()[0][:500] if str(cause) else "")
        add_attempt(job.folder, attempt)
        return Ending(job.name, "failed", failure=attempt)
    except CancelledError as cause:
        raise RunError(f"{job.name} was called off by the engine that was to do it") from cause
    except Exception as cause:
        raise RunError(
            f"{job.name} could not be done: the engine broke down ({type(cause).__name__}: {cause})"
        ) from cause
