"""ASHA's scheduler: trials a second, what the journal costs, and how many workers one scheduler can feed.

Run: python tests/benchmarks/bench_asha.py [TRIALS]. The last part is a simulation: workers and their times are made
up, the scheduler is the real one and its time is measured. Its calls wait in a queue for each other, as they would in
one process; nothing is counted for sending a job to a worker, nor for the worker's start.

What it means for a cluster: one scheduler feeds w workers as long as a job takes, on average, more than w times what
the scheduler takes for it, and that is two flushes of the disk. A job of the reference's tunings trains for at least
3 epochs, so minutes: even a thousand workers and a slow disk leave the scheduler idle. Utilisation is that while new
trials are left to begin. Afterwards workers run out of jobs, for at most about as long as one full training takes.
"""

from __future__ import annotations

import heapq
import math
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer

from nas360.baselines.asha.brackets import plan
from nas360.baselines.asha.journal import JournalledScheduler, journalled
from nas360.baselines.asha.sampling import Choice, LogUniform, SamplingSpace
from nas360.baselines.asha.scheduler import Job, Scheduler

TRIALS = 1_000_000
LIMIT_SECONDS = 60
JOURNALLED = 3_000
EPOCHS = 256
SLOW_FLUSH_SECONDS = 0.01  # of a turning disk, or a folder on a network
SPACE = SamplingSpace(
    {
        "lr": LogUniform(1e-4, 1e-1),
        "weight_decay": LogUniform(1e-5, 1e-2),
        "momentum": Choice((0.0, 0.3, 0.6, 0.9)),
        "dropout": Choice((0.0, 0.3, 0.6)),
    }
)
Search = Scheduler | JournalledScheduler


def drive(search: Search, errors: list[float], in_flight: int) -> int:
    """Ask and tell to the end, the oldest job first; how many jobs there were."""
    flying: list[Job] = []
    jobs = 0
    while True:
        while len(flying) < in_flight and (job := search.ask()) is not None:
            flying.append(job)
        if not flying:
            return jobs
        for job in flying:
            search.tell(job.trial, job.rung, errors[job.trial] / (1 + job.rung))
        jobs += len(flying)
        flying.clear()


def speed(trials: int) -> None:
    """Trials a second, and how the time of one grows with their number."""
    for count in (trials // 100, trials // 10, trials):
        errors = np.random.default_rng(0).random(count).tolist()
        scheduler = Scheduler(plan(count, EPOCHS), SPACE, 0)
        start = time.perf_counter()
        jobs = drive(scheduler, errors, 1000)
        seconds = time.perf_counter() - start
        ratio = LIMIT_SECONDS * count / TRIALS / seconds
        typer.echo(
            f"{count:9,} trials, {jobs:9,} jobs asked and told in {seconds:6.2f} s: {seconds / jobs * 1e6:5.1f} µs a "
            f"job, {ratio:.1f} x the required speed"
        )


def journal() -> None:
    """What a flushed line costs, and how fast a search is taken up again."""
    errors = np.random.default_rng(0).random(JOURNALLED).tolist()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        path = Path(folder) / "journal.jsonl"
        start = time.perf_counter()
        with journalled(path, plan(JOURNALLED, EPOCHS), SPACE, 0) as search:
            jobs = drive(search, errors, 1000)
        written = time.perf_counter() - start
        size = path.stat().st_size
        start = time.perf_counter()
        with journalled(path, plan(JOURNALLED, EPOCHS), SPACE, 0):
            read = time.perf_counter() - start
    typer.echo(
        f"journal: {written / jobs * 1e3:.2f} ms a job with its two flushed lines ({size / jobs:.0f} bytes), "
        f"taken up at {jobs / read:,.0f} jobs/s"
    )


@dataclass
class Simulated:
    """What a simulation came to.

    Attributes:
        utilisation: share of the workers' time in which they had a job, while there were new trials to begin.
        jobs: told in that time.
        seconds: simulated.
        busy: share of that time in which the scheduler was answering.
    """

    utilisation: float
    jobs: int
    seconds: float
    busy: float


def simulate(search: Search, workers: int, epoch_seconds: float) -> Simulated:
    """Workers whose speeds differ by a factor of about two, until no new trial is left to begin.

    Every worker tells, and asks for the next job in the same call. Calls are answered one by one in the order in which
    they come; a call takes as long as it really takes.
    """
    rng = np.random.default_rng(0)
    trials = search.plan.trials if isinstance(search, Scheduler) else search.scheduler.plan.trials
    calls: list[tuple[float, int, Job | None]] = [(0.0, worker, None) for worker in range(workers)]
    heapq.heapify(calls)
    free = working = answering = now = 0.0
    jobs = 0
    while calls:
        now, worker, done = heapq.heappop(calls)
        start = time.perf_counter()
        if done is not None:
            search.tell(done.trial, done.rung, float(hash((done.trial, done.rung)) % 1_000_003))
        job = search.ask()
        took = time.perf_counter() - start
        answering += took
        free = max(free, now) + took
        jobs += done is not None
        if job is None or job.trial == trials - 1:
            break
        seconds = (job.resource_to - job.resource_from) * epoch_seconds * math.exp(0.35 * rng.standard_normal())
        working += seconds
        heapq.heappush(calls, (free + seconds, worker, job))
    # what is under way has been counted whole, to its end
    working -= sum(end - max(free, now) for end, _, job in calls if job is not None and end > max(free, now))
    elapsed = max(free, now)
    return Simulated(working / (workers * elapsed), jobs, elapsed, answering / elapsed)


def saturation(search: Search, kind: str, workers: int, epoch_seconds: float) -> float:
    """Print one simulation; seconds that the scheduler takes for a job."""
    found = simulate(search, workers, epoch_seconds)
    typer.echo(
        f"  {kind:<12} {workers:5,} workers, epochs of {epoch_seconds * 1e3:8.3f} ms: utilisation "
        f"{found.utilisation:6.1%}, {found.jobs / found.seconds:9,.0f} jobs/s, scheduler busy {found.busy:6.1%}"
    )
    return found.busy * found.seconds / max(1, found.jobs)


def scaling() -> None:
    """Utilisation of up to 1,000 workers, and where the scheduler is what holds them up."""
    typer.echo("simulated workers, rungs at 4, 16, 64, 256 epochs (a job of the lowest rung is 4 epochs):")
    planned = plan(20_000, EPOCHS, min_resource=4)
    service = 0.0
    for workers in (1, 10, 100, 1000):
        service = saturation(Scheduler(planned, SPACE, 0), "no journal", workers, 0.1)
    for epoch_seconds in (1e-2, 3e-3, 1e-3, 3e-4):
        service = saturation(Scheduler(planned, SPACE, 0), "no journal", 1000, epoch_seconds)
    typer.echo(
        f"  1,000 workers keep one scheduler busy at jobs of {1000 * service:.3f} s ({service * 1e6:.0f} µs each)"
    )
    planned = plan(4_000, EPOCHS, min_resource=4)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        for number, epoch_seconds in enumerate((10.0, 1.0, 0.1, 0.03)):
            path = Path(folder) / f"{number}.jsonl"
            with journalled(path, planned, SPACE, 0) as search:
                service = saturation(search, "with journal", 1000, epoch_seconds)
    typer.echo(
        f"  1,000 workers keep one scheduler busy at jobs of {1000 * service:.2f} s ({service * 1e3:.2f} ms each)"
    )
    slow = 2000 * SLOW_FLUSH_SECONDS
    typer.echo(f"  with a disk that takes {SLOW_FLUSH_SECONDS * 1e3:.0f} ms a flush, at jobs of {slow:.0f} s")


def main() -> None:
    """Print the figures."""
    speed(int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS)
    journal()
    scaling()


if __name__ == "__main__":
    main()
