"""Worker processes on this machine that replace each other: one that dies takes nothing with it but its job's time."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

TRIES = 2
"""How often a job under which a worker dies is begun."""


class WorkerDied(RuntimeError):
    """Worker processes died under a job, as often as it was begun."""


class LocalWorkers(Executor):
    """An executor of worker processes, each of which has one job at a time.

    A pool of the standard library ends with the first of its workers that dies. Here every worker is such a pool by
    itself, and is replaced; the job that it died under is begun once more by another, and then fails with `WorkerDied`.
    Workers do not answer to Ctrl-C, and end as soon as this process does.

    Args:
        workers: how many, at least 1.
        gpus: names of GPUs (`CUDA_VISIBLE_DEVICES`), of which each worker sees one; there may be fewer than workers.

    Example:
        >>> with LocalWorkers(1) as workers:
        ...     workers.submit(divmod, 17, 5).result()
        (3, 2)
    """

    def __init__(self, workers: int, gpus: Sequence[str] = ()) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="nas360-worker")
        self._context = get_context("spawn")  # fork would copy the locks of whatever threads there are
        self._living, self._ours = self._context.Pipe(duplex=False)
        self._stopped = False
        self._idle: SimpleQueue[tuple[ProcessPoolExecutor, str | None]] = SimpleQueue()
        for number in range(workers):
            gpu = gpus[number % len(gpus)] if gpus else None
            self._idle.put((self._pool(gpu), gpu))

    def _pool(self, gpu: str | None) -> ProcessPoolExecutor:
        # its process is started with its first job
        return ProcessPoolExecutor(1, self._context, _begin, (self._living, gpu))

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See `Executor.submit`."""
        return self._threads.submit(self._perform, fn, args, kwargs)

    def _perform(self, fn: Callable[..., T], args: Sequence[Any], kwargs: dict[str, Any]) -> T:
        for _ in range(TRIES):
            pool, gpu = self._idle.get()
            try:
                return pool.submit(fn, *args, **kwargs).result()
            except BrokenProcessPool as cause:
                pool.shutdown()
                died = cause
                if self._stopped:
                    break
                pool = self._pool(gpu)
            finally:
                self._idle.put((pool, gpu))
        if self._stopped:
            raise died
        raise WorkerDied(
            f"{TRIES} worker processes died under it, one after the other; most often the system ends what takes too "
            f"much memory"
        ) from died

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor.shutdown`."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            while not self._idle.empty():
                self._idle.get()[0].shutdown()

    def stop(self) -> None:
        """End all workers at once, with whatever they are at."""
        self._stopped = True
        self._ours.close()
        self.shutdown(cancel_futures=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.shutdown()
        else:
            self.stop()


def _begin(living: Connection, gpu: str | None) -> None:
    """Make a new worker end with the process that wants it, and see one GPU."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    # a terminal sends it to all processes; what is to end is decided by the one that was called
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        ends: list[Connection | int] = [living, parent.sentinel]

        def watch() -> None:
            wait(ends)
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


def visible_gpus() -> tuple[str, ...]:
    """Names of the GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` has them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    number = torch.cuda.device_count()
    return tuple(map(str, range(number))) if named is None else tuple(named.split(","))[:number]
