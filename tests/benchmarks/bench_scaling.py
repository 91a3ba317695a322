"""How well ASHA keeps workers busy: two real ones, and up to three thousand that are simulated.

Run: python tests/benchmarks/bench_scaling.py

Real: trials that only wait, 0.1 to 2 s a job, through the scheduler, its journal and two worker processes of
`LocalWorkers`. Efficiency is the trials' seconds over workers times wall seconds. Beside it stands what a schedule
without any cost would reach with the same jobs, for at the end of every search, and of every rung where rungs are
waited for, some workers have nothing to do whatever the program.

Simulated: discrete events, nobody waits; workers and the lengths of jobs (log-uniform, a factor of 20 from the shortest
to the longest) are made up, the scheduler is the real one. Every answer of it takes as long as was measured with its
journal and the sending to a worker, and answers wait for each other, as they do in one process.

What it means for a cluster: one process, with its journal on a disk, deals with a job in about a millisecond or two. At
60 s a job it feeds some tens of thousands of workers. What limits a search long before is that it runs out of trials:
10,000 of them are three for each of 3,000 workers. And waiting for whole rungs, which makes a search the same with any
number of workers (`AshaTuning` without `at_once`), costs the longest job of every rung; that is little as long as there
are several times more trials than workers, and most of the time when there are about as many.
"""

from __future__ import annotations

import heapq
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

import typer

from nas360.baselines.asha.brackets import Plan, plan
from nas360.baselines.asha.journal import journalled
from nas360.baselines.asha.parallel import as_done, in_order
from nas360.baselines.asha.rounds import rounds
from nas360.baselines.asha.sampling import SamplingSpace
from nas360.baselines.asha.scheduler import Job, Scheduler
from nas360.baselines.local_workers import LocalWorkers
from nas360.seeding import derive

WORKERS = 2
REQUIRED = 0.9
SHORTEST, LONGEST = 0.1, 2.0
REAL = plan(20, 16)
"""20 jobs, then 5, then 1."""

TRIALS = 10_000
JOB_SECONDS = 60.0
SPACE = SamplingSpace({})


def seconds_of(job: Job, scale: float = 1.0) -> float:
    """Of a job, log-uniform; always the same."""
    share = float(derive(0, "bench", "seconds", job.trial, job.rung).random())
    return float(scale * SHORTEST * (LONGEST / SHORTEST) ** share)


MEAN_SECONDS = (LONGEST - SHORTEST) / 2.9957  # over the logarithm of 20


def error_of(job: Job) -> float:
    """Of a job; always the same."""
    return float(derive(0, "bench", "error", job.trial, job.rung).random())


def drive(path: Path, chosen: Plan, executor: Executor, whole_rungs: bool, scale: float) -> tuple[int, float, float]:
    """A search by real workers: jobs, their seconds, wall seconds."""

    def submit(job: Job) -> Future[None]:
        return executor.submit(time.sleep, scale * seconds_of(job))

    began, jobs, busy = time.perf_counter(), 0, 0.0
    with journalled(path, chosen, SPACE, 0) as search:

        def by_rungs() -> Iterator[tuple[Job, Future[None]]]:
            for due in rounds(search.ask, search.scheduler):
                yield from in_order(due, submit)

        for job, future in by_rungs() if whole_rungs else as_done(search.ask, submit, WORKERS):
            future.result()
            search.tell(job.trial, job.rung, error_of(job))
            jobs += 1
            busy += scale * seconds_of(job)
    return jobs, busy, time.perf_counter() - began


@dataclass(frozen=True)
class Simulated:
    """What a simulation came to.

    Attributes:
        jobs: done.
        busy: seconds of all workers at work.
        wall: seconds.
        begun: seconds until the last new trial was begun; from then on workers run out of jobs.
        busy_till_then: seconds of all workers at work until then.
        answering: seconds that the real scheduler took for all its answers.
    """

    jobs: int
    busy: float
    wall: float
    begun: float
    busy_till_then: float
    answering: float


def simulate(
    chosen: Plan, workers: int, seconds: Callable[[Job], float], whole_rungs: bool, service: float = 0.0
) -> Simulated:
    """A search by simulated workers, to its end.

    Args:
        chosen: of the search.
        workers: how many.
        seconds: of a job.
        whole_rungs: all jobs that are due are asked, and told when all are done; else one is asked for one told.
        service: seconds of an answer, which the next one waits for.
    """
    scheduler, answering = Scheduler(chosen, SPACE, 0), 0.0
    idle = [0.0] * workers  # since when
    away: list[tuple[float, int, Job]] = []  # till when
    done: list[Job] = []
    spans: list[tuple[float, float]] = []
    waiting: list[Job] = []
    free = begun = now = 0.0
    jobs = 0
    while True:
        started = time.perf_counter()
        if not whole_rungs or not away:
            for job in done:
                scheduler.tell(job.trial, job.rung, error_of(job))
            done = []
            most = 10**9 if whole_rungs else len(idle)
            while len(waiting) < most and (asked := scheduler.ask()) is not None:
                waiting.append(asked)
            waiting.reverse()
        answering += time.perf_counter() - started
        while waiting and idle:
            job = waiting.pop()
            free = max(free, now, heapq.heappop(idle)) + service
            end = free + seconds(job)
            heapq.heappush(away, (end, jobs, job))
            spans.append((free, end))
            begun = free if job.rung == 0 else begun
            jobs += 1
        waiting.reverse()
        if not away:
            break
        now, _, job = heapq.heappop(away)
        done.append(job)
        heapq.heappush(idle, now)
    busy = sum(end - start for start, end in spans)
    till_then = sum(min(end, begun) - start for start, end in spans if start < begun)
    return Simulated(jobs, busy, now, begun, till_then, answering)


def real(folder: Path) -> float:
    """Two real workers; seconds that a job takes beside its work."""
    with LocalWorkers(WORKERS) as executor:
        for future in [executor.submit(time.sleep, 0.2) for _ in range(2 * WORKERS)]:  # processes are started
            future.result()
        typer.echo(f"{WORKERS} worker processes, jobs of {SHORTEST} to {LONGEST} s:")
        for whole_rungs in (False, True):
            kind = "whole rungs" if whole_rungs else "asynchronous"
            jobs, busy, wall = drive(folder / kind, REAL, executor, whole_rungs, 1.0)
            least = simulate(REAL, WORKERS, seconds_of, whole_rungs)
            efficiency, best = busy / (WORKERS * wall), least.busy / (WORKERS * least.wall)
            typer.echo(
                f"  {kind:<12} {jobs} jobs of {busy:.1f} s in {wall:.2f} s: efficiency {efficiency:.1%}; a schedule "
                f"without cost {best:.1%}, ratio {efficiency / best:.3f} ({efficiency / best / REQUIRED:.2f} x the "
                f"required {REQUIRED})"
            )
        jobs, _, wall = drive(folder / "empty", plan(300, 16), executor, False, 0.0)
    typer.echo(f"  jobs that do nothing: {wall / jobs * 1e3:.2f} ms each, journal, sending and answer included")
    return wall / jobs


def many(service: float) -> None:
    """Simulated workers."""
    chosen = plan(TRIALS, 256)
    scale = JOB_SECONDS / MEAN_SECONDS

    def seconds(job: Job) -> float:
        return seconds_of(job, scale)

    typer.echo(
        f"simulated, {TRIALS:,} trials, jobs of {scale * SHORTEST:.0f} to {scale * LONGEST:.0f} s (mean "
        f"{JOB_SECONDS:.0f} s), {service * 1e3:.2f} ms an answer:"
    )
    answer = 0.0
    for workers in (10, 30, 100, 300, 1000, 3000):
        found = [simulate(chosen, workers, seconds, whole, service) for whole in (False, True)]
        shares = [one.busy / (workers * one.wall) for one in found]
        full = found[0].busy_till_then / (workers * found[0].begun)
        answer = found[0].answering / found[0].jobs
        typer.echo(
            f"  {workers:5,} workers: busy {full:6.1%} until the last trial has begun, {shares[0]:6.1%} to the end; by "
            f"whole rungs {shares[1]:6.1%}; {found[0].jobs / found[0].begun:5.1f} jobs/s"
        )
    typer.echo(f"  the scheduler's own time: {answer * 1e6:.0f} µs a job, asked and told")
    typer.echo(f"where one process is what holds 1,000 workers up, {TRIALS:,} trials:")
    for mean in (60.0, 10.0, 3.0, 1.0, 0.3):
        scaled = mean / MEAN_SECONDS
        one = simulate(chosen, 1000, lambda job, by=scaled: seconds_of(job, by), False, service)  # type: ignore[misc]  # bound early
        typer.echo(
            f"  jobs of {mean:4.1f} s: busy {one.busy_till_then / (1000 * one.begun):6.1%} until the last trial has "
            f"begun, {one.jobs / one.begun:6.0f} jobs/s"
        )
    typer.echo(f"  at {JOB_SECONDS:.0f} s a job, one process keeps up to {JOB_SECONDS / service:,.0f} workers busy")


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        service = real(Path(folder))
    many(service)


if __name__ == "__main__":
    main()
