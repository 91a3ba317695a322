"""The engines: threads of this process that each wait for a process of their own, or the workers of a Dask cluster.

Scheduling, the loss of workers and repetition are the engine's; here it is only opened and closed.
"""

from __future__ import annotations

import importlib
import logging
import socket
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nas360.bench.attempt import Ending, Job, end_all, perform
from nas360.bench.slots import visible_devices
from nas360.errors import MissingExtraError, RunError
from nas360.loaders.workers import available_cores
from nas360.version import __version__

MEMORY_OF_A_RUN = 2 << 30
"""Bytes that a run may need on the CPU; smoke runs hold between 0.9 and 1.4 GiB, most of it libraries."""


def default_workers(device: str) -> int:
    """Runs at a time on this machine: one a GPU; without, one a core, as far as the memory goes."""
    if device != "cpu" and (devices := visible_devices()):
        return len(devices)
    import psutil

    memory = int(psutil.virtual_memory().available)
    return max(1, min(available_cores(), memory // MEMORY_OF_A_RUN))


@dataclass(frozen=True)
class Engine:
    """An executor and what goes with it.

    Attributes:
        executor: performs jobs.
        urgent: hands out a job that goes before others, where the engine has priorities.
        ahead: jobs to be handed out at a time, where it does not; None: all.
        here: whether jobs are performed on this machine.
        workers: jobs at a time, as far as is known.
        threads: of a job, where nobody said how many.
        lost: exceptions by which it gives a job up.
        check: raises when the engine is gone.
        sees: raises where a worker does not see a folder.
        end: ends the processes of an execution, wherever they are.
    """

    executor: Executor
    urgent: Callable[[Job], Future[Ending]]
    ahead: int | None
    here: bool
    workers: int
    threads: int
    lost: tuple[type[Exception], ...]
    check: Callable[[], None]
    sees: Callable[[Path], None]
    end: Callable[[str], object]


@contextmanager
def local_engine(workers: int) -> Iterator[Engine]:
    """Processes on this machine.

    Each run is a process of its own in any case (`attempt`), so that all there is to do here is to wait for so many of
    them at a time, for which threads are enough.

    Args:
        workers: runs at a time.
    """
    executor = ThreadPoolExecutor(workers, thread_name_prefix="nas360-bench")
    try:
        yield Engine(
            executor=executor,
            urgent=lambda job: executor.submit(perform, job),
            ahead=workers,
            here=True,
            workers=workers,
            threads=max(1, available_cores() // workers),
            lost=(),
            check=lambda: None,
            sees=lambda folder: None,
            end=end_all,
        )
    finally:
        executor.shutdown(cancel_futures=True)


@contextmanager
def dask_engine(address: str, timeout_seconds: float = 20.0, workers_seconds: float = 60.0) -> Iterator[Engine]:
    """The workers of a Dask cluster.

    Args:
        address: of the scheduler, such as `tcp://10.0.0.1:8786`.
        timeout_seconds: for the scheduler to answer.
        workers_seconds: for the first worker to come, which a queue may still hold.

    Raises:
        MissingExtraError: Dask is not installed.
        RunError: the scheduler does not answer or has no workers.
    """
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError as cause:
        raise MissingExtraError("distributed", "distributed") from cause
    # a connection that breaks is told by us, in one sentence
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        client = distributed.Client(address, timeout=timeout_seconds, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as cause:
        raise RunError(
            f"no Dask scheduler answers at {address} ({str(cause).splitlines()[0] if str(cause) else 'time-out'}). "
            f"Begin one by `dask scheduler`, and workers by `dask worker {address} --nthreads 1`; or leave --scheduler "
            f"out to run here"
        ) from cause
    try:
        workers = _workers(client, address, workers_seconds)
        try:
            threads = _threads(client, workers)
        except _NO_ANSWER as cause:
            raise _silent(address, cause) from cause
        executor: Any = client.get_executor(pure=False)

        def check() -> None:
            if client.status != "running":
                raise RunError(f"the Dask scheduler at {address} is gone")

        def end(call: str) -> None:
            # the engine cannot take back what has begun; without a scheduler it ends with its worker
            with suppress(Exception):
                if client.status == "running":
                    client.run(end_all, call)

        yield Engine(
            executor=executor,
            urgent=partial(executor.submit, perform, priority=1),
            ahead=None,
            here=False,
            workers=sum(workers.values()),
            threads=threads,
            lost=(distributed.KilledWorker,),
            check=check,
            sees=partial(_check_workers, client),
            end=end,
        )
    finally:
        with suppress(Exception):  # closing what is broken already tells nothing new
            client.close(timeout=5)


def _workers(client: Any, address: str, seconds: float) -> dict[str, int]:
    """Address → threads of each worker."""
    try:
        client.wait_for_workers(1, timeout=seconds)
    except TimeoutError as cause:
        raise RunError(
            f"the scheduler at {address} has had no workers for {seconds:.0f} s. Begin some by `dask worker {address} "
            f"--nthreads 1`"
        ) from cause
    return {name: int(worker["nthreads"]) for name, worker in client.scheduler_info(n_workers=-1)["workers"].items()}


_NO_ANSWER = (ImportError, AttributeError, OSError, RuntimeError, KeyError)
"""What a call on workers raises that have gone, or have no nas360, or another."""


def _silent(address: str, cause: Exception) -> RunError:
    return RunError(
        f"the workers of {address} do not answer ({type(cause).__name__}: {cause}). See that they run, and that nas360 "
        f"{__version__} is installed where they do"
    )


def _check_workers(client: Any, folder: Path) -> None:
    """Raise unless every worker sees the folder under the same path, and has this version of nas360."""
    # a new name each time: a network file system may remember for a minute that there was no such file
    content = uuid.uuid4().hex
    token = folder / f".token-{content}"
    token.write_text(content, encoding="utf-8")
    try:
        answers = client.run(_look, token)
    except _NO_ANSWER as cause:
        raise _silent(client.scheduler.address, cause) from cause
    finally:
        token.unlink(missing_ok=True)
    blind = sorted(name for name, (seen, _) in answers.items() if seen != content)
    if blind:
        raise RunError(
            f"{len(blind)} of {len(answers)} workers do not see {folder}, {blind[0]} for one. The benchmark's folder "
            f"must be on a file system that all machines share, under the same path"
        )
    others = sorted({version for _, version in answers.values()} - {__version__})
    if others:
        raise RunError(f"workers have nas360 {', '.join(others)}, and this is {__version__}. Install the same on all")


def _look(token: Path) -> tuple[str, str]:
    """What a worker finds in a file, and its version of nas360."""
    try:
        return token.read_text(encoding="utf-8"), __version__
    except OSError:
        return "", __version__


def _threads(client: Any, workers: dict[str, int]) -> int:
    """Cores for each job where all of a machine's workers are busy, on the machine that has the fewest."""
    cores: dict[str, tuple[str, int]] = client.run(_machine)
    jobs: dict[str, int] = {}
    for name, (host, _) in cores.items():
        jobs[host] = jobs.get(host, 0) + workers.get(name, 1)
    return max(1, min(n // jobs[host] for host, n in cores.values()))


def _machine() -> tuple[str, int]:
    return socket.gethostname(), available_cores()
