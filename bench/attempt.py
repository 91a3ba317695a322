"""One attempt at a job: a process of its own, watched, ended at its limits, and what came of it.

`perform` is what executors are given. It works in any thread of any process on any machine that sees the folder:
whatever happens to the run, a hang, an exhausted memory, a crash of the interpreter, happens to its own process.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import psutil
from filelock import FileLock, Timeout

from nas360.bench.failures import LAST_LINES, Attempt, Reason, add_attempt, make_attempt
from nas360.bench.slots import VISIBLE, slot, visible_devices
from nas360.files import MIB

OUTPUT, ATTEMPT_LOCK, RUN_LOCK = "output.log", ".attempt.lock", ".lock"

POLL_SECONDS = 0.2

PATIENCE_SECONDS = 60.0
"""How long to wait for the process of an attempt whose worker was lost, which ends by itself."""

LITTLE_SPACE = 16 * MIB
"""With less on the disk, it is the disk that failed and not the run."""

_PROGRAM = ("-m", "nas360.bench.child")

Kind = Literal["done", "failed", "stopped", "no space", "unseen"]
"""`done`: the result is there. `failed`: see `failures.jsonl`. `stopped`: on demand, to go on later. `no space`: the
disk is full. `unseen`: this machine does not see the folder."""


@dataclass(frozen=True)
class Job:
    """A command that makes a file.

    Attributes:
        name: for people.
        call: token of the execution that it belongs to; with it, all its processes can be ended.
        root: a file that must be there, else this machine does not see the folder.
        folder: where what is printed, failures and locks go.
        result: the file; once it is there, the job is done.
        arguments: of `nas360`.
        threads: of the process.
        time_limit: seconds on the clock; None: none.
        memory_limit: MiB of resident memory of the process and its children; None: none.
        gpu: whether it takes a GPU of its own where there are some.
        program: what `sys.executable` runs with the arguments.
    """

    name: str
    call: str
    root: Path
    folder: Path
    result: Path
    arguments: tuple[str, ...]
    threads: int = 1
    time_limit: float | None = None
    memory_limit: float | None = None
    gpu: bool = False
    program: tuple[str, ...] = _PROGRAM


@dataclass(frozen=True)
class Ending:
    """What came of a job.

    Attributes:
        name: of the job.
        kind: what.
        seconds: of the attempt.
        failure: of a job that failed.
        message: of one that met a fault of the machine.
    """

    name: str
    kind: Kind
    seconds: float = 0.0
    failure: Attempt | None = None
    message: str = ""


_ENDED: set[str] = set()
_RUNNING: dict[int, str] = {}
_LOCK = threading.Lock()


def end_all(call: str) -> int:
    """End every process that belongs to an execution and was begun by this one, and begin no more.

    Returns:
        How many.
    """
    with _LOCK:
        _ENDED.add(call)
        own = [pid for pid, theirs in _RUNNING.items() if theirs == call]
    for pid in own:
        _kill(pid)
    return len(own)


def perform(job: Job) -> Ending:
    """Do a job, unless it is done. Raises nothing that the job or the machine could be the reason of."""
    try:
        if not job.root.exists():
            return Ending(job.name, "unseen", message=f"{_host()} does not see {job.root}")
        job.folder.mkdir(parents=True, exist_ok=True)
        with alone(job) as wanted:
            return _attempt(job) if wanted else Ending(job.name, "stopped")
    except OSError as cause:
        return of_machine(job, cause)


def has_ended(call: str) -> bool:
    """Whether `end_all` was called for an execution, in this process."""
    return call in _ENDED


def of_machine(job: Job, cause: OSError) -> Ending:
    """What came of a job whose files the system refuses."""
    return Ending(job.name, "no space" if _full(job) else "unseen", message=f"{_host()}: {cause}")


@contextmanager
def alone(job: Job) -> Iterator[bool]:
    """Let nobody else be at a job; it shows as under way meanwhile.

    Whoever lost a worker starts the job again elsewhere, while the first one may still be at it.

    Yields:
        Whether the job is still wanted: whoever waits for another hears of the end of the execution.
    """
    lock = FileLock(job.folder / ATTEMPT_LOCK, thread_local=False)
    while True:
        if has_ended(job.call):
            yield False
            return
        with suppress(Timeout):
            lock.acquire(timeout=POLL_SECONDS)
            break
    try:
        yield True
    finally:
        lock.release()


def _attempt(job: Job) -> Ending:
    if job.result.exists():
        return Ending(job.name, "done")
    if not _left(job.folder / RUN_LOCK):
        return _failed(job, "busy", f"another process was at work in {job.folder} for {PATIENCE_SECONDS:.0f} s", 0.0)
    devices = visible_devices() if job.gpu else ()
    with slot(devices, lambda: job.call not in _ENDED) as device, (job.folder / OUTPUT).open("ab") as output:
        if job.call in _ENDED:
            return Ending(job.name, "stopped")
        return _watched(job, device, output)


def _left(path: Path) -> bool:
    """Whether nobody holds a lock any more, after some patience."""
    if not path.exists():
        return True
    try:
        with FileLock(path).acquire(timeout=PATIENCE_SECONDS):
            return True
    except Timeout:
        return False


def _watched(job: Job, device: str | None, output: IO[bytes]) -> Ending:
    output.write(f"$ nas360 {shlex.join(job.arguments)}\n".encode())
    output.flush()
    start = output.tell()
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *job.program, *job.arguments],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=_environment(job, device),
        # an interruption at the terminal is for the client, which ends its processes itself
        start_new_session=True,
    )
    with _LOCK:
        _RUNNING[process.pid] = job.call
    try:
        reason = _wait(job, process, began)
    finally:
        # also when this thread is torn out of its wait; nothing may go on that nobody waits for
        if process.poll() is None:
            _kill(process.pid)
        code = process.wait()
        with _LOCK:
            del _RUNNING[process.pid]
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
    seconds = time.monotonic() - began
    # a run that ended in failure has a result too, which says so
    if job.result.exists():
        return Ending(job.name, "done", seconds)
    if job.call in _ENDED:
        return Ending(job.name, "stopped", seconds)
    if _full(job):
        return Ending(job.name, "no space", seconds, message=f"{_host()}: no space left for {job.folder}")
    printed = _tail(job.folder / OUTPUT, start)
    kind, message = _explain(job, reason, code, printed)
    return _failed(job, kind, message, seconds, code, printed)


def _environment(job: Job, device: str | None) -> dict[str, str]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(job.threads))
    chosen: Mapping[str, str] = {} if device is None else {VISIBLE: device}
    return {**os.environ, **threads, **chosen, "PYTHONUNBUFFERED": "1"}


def _wait(job: Job, process: subprocess.Popen[bytes], began: float) -> Reason | None:
    """Wait for a process; end it at its limits and say at which."""
    while True:
        try:
            process.wait(POLL_SECONDS)
            return None
        except subprocess.TimeoutExpired:
            reason: Reason | None = None
            if job.call in _ENDED:
                reason = "killed"
            elif job.time_limit is not None and time.monotonic() - began > job.time_limit:
                reason = "time limit"
            elif job.memory_limit is not None and _resident(process.pid) > job.memory_limit * MIB:
                reason = "memory"
            if reason is not None:
                _kill(process.pid)
                return reason


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _resident(pid: int) -> int:
    """Bytes in memory of a process and its children; pages that they share count for each."""
    total = 0
    for process in _family(pid):
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def _kill(pid: int) -> None:
    for process in _family(pid):
        with suppress(psutil.Error):
            process.kill()


def _explain(job: Job, reason: Reason | None, code: int, printed: tuple[str, ...]) -> tuple[Reason, str]:
    """Kind of a failure and a line on it."""
    if reason == "time limit":
        return reason, f"ended after {job.time_limit:,.0f} s; it goes on from its last checkpoint when tried again"
    if reason == "memory":
        return reason, f"held more than {job.memory_limit:,.0f} MiB"
    said = next((line for line in reversed(printed) if "error" in line.lower()), printed[-1] if printed else "")
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = ", which is also how the system answers when memory runs out" if name == "SIGKILL" else ""
        return "killed", f"ended by {name}{hint}"
    if any(sign in line for line in printed for sign in _OUT_OF_MEMORY):
        return "memory", said
    return "raised", said.removeprefix("error: ") or f"left with exit code {code} and no result"


_OUT_OF_MEMORY = ("MemoryError", "out of memory", "can't allocate memory", "Cannot allocate memory")


def _tail(path: Path, start: int) -> tuple[str, ...]:
    with path.open("rb") as stream:
        stream.seek(max(start, path.stat().st_size - 64 * 1024))
        lines = stream.read().decode(errors="replace").splitlines()
    return tuple(line[:500] for line in lines if line.strip())[-LAST_LINES:]


def _failed(
    job: Job, reason: Reason, message: str, seconds: float, code: int | None = None, printed: tuple[str, ...] = ()
) -> Ending:
    attempt = make_attempt(reason, message, seconds, code, printed)
    add_attempt(job.folder, attempt)
    return Ending(job.name, "failed", seconds, attempt)


def _full(job: Job) -> bool:
    place = next(path for path in (job.folder, *job.folder.parents) if path.exists())
    return shutil.disk_usage(place).free < LITTLE_SPACE


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else "this machine"
