"""Engines: the same jobs come to the same by threads of this process and by the workers of a Dask cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from nas360.bench.attempt import Job, perform
from nas360.bench.engine import Engine, _check_workers, dask_engine, default_workers, local_engine
from nas360.bench.execute import execute
from nas360.bench.failures import read_attempts
from nas360.errors import MissingExtraError, RunError

SQUARE = "import sys; from pathlib import Path; Path(sys.argv[1]).write_text(str(int(sys.argv[2]) ** 2))"
CHILD = "from nas360.bench.child import end_with_input; end_with_input()\n"
FIRST = (
    "import os, sys, time; from pathlib import Path; m = Path(sys.argv[1] + '.met'); new = not m.exists(); m.touch()\n"
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two worker processes of one thread each."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as found:
        yield found


def _squares(job_of: Callable[..., Job], engine: Engine, prefix: str) -> list[str]:
    jobs = []
    for number in range(4):
        job = job_of(f"{prefix}{number}", SQUARE)
        jobs.append(job_of(job.name, SQUARE, arguments=(str(job.result), str(number))))
    endings = execute(jobs, engine.executor, lost=engine.lost, check=engine.check)
    assert {ending.kind for ending in endings} == {"done"}
    return [job.result.read_text() for job in jobs]


def test_both_engines_come_to_the_same(job_of: Callable[..., Job], cluster: Any, tmp_path: Path) -> None:
    with local_engine(2) as engine:
        engine.sees(tmp_path)
        here = _squares(job_of, engine, "here")
    with dask_engine(cluster.scheduler_address) as engine:
        engine.sees(tmp_path)
        assert (engine.workers, engine.threads) == (2, max(1, len(os.sched_getaffinity(0)) // 2))
        there = _squares(job_of, engine, "there")
    assert here == there == ["0", "1", "4", "9"]
    assert not list(tmp_path.glob(".token*"))


def test_processes_on_workers_end_on_demand(job_of: Callable[..., Job], cluster: Any) -> None:
    with dask_engine(cluster.scheduler_address) as engine:
        jobs = [job_of(f"sleeps{number}", "import time; time.sleep(60)", call="to end") for number in range(2)]
        futures = [engine.executor.submit(perform, job) for job in jobs]
        _wait_for(lambda: all((job.folder / "output.log").exists() for job in jobs))
        time.sleep(0.5)
        engine.end("to end")
        assert [future.result(timeout=20).kind for future in futures] == ["stopped", "stopped"]


def _wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_folder_that_workers_do_not_see_is_refused(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dask_engine(cluster.scheduler_address) as engine:
        # the workers, which are other processes, look for it all the same
        monkeypatch.setattr(Path, "write_text", lambda *_, **__: 0)
        with pytest.raises(RunError, match=r"2 of 2 workers do not see .* share, under the same path"):
            engine.sees(tmp_path)


def test_workers_that_do_not_answer_are_told(tmp_path: Path) -> None:
    class Gone:
        scheduler = SimpleNamespace(address="tcp://there")

        def run(self, *_: object) -> None:
            raise OSError("Timed out trying to connect")

    with pytest.raises(RunError, match=r"workers of tcp://there do not answer \(OSError: Timed out.*is installed"):
        _check_workers(Gone(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_scheduler_is_told_with_what_to_do() -> None:
    pytest.importorskip("distributed")
    with (
        pytest.raises(RunError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9.*`dask scheduler`"),
        dask_engine("tcp://127.0.0.1:9", timeout_seconds=1),
    ):
        pass


def test_a_scheduler_without_workers_is_told() -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as empty,
        pytest.raises(RunError, match=r"has had no workers for 0 s\. Begin some by `dask worker tcp"),
        dask_engine(empty.scheduler_address, workers_seconds=0.1),
    ):
        pass


def test_the_extra_is_named_where_dask_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"nas360\[distributed\]"), dask_engine("tcp://127.0.0.1:9"):
        pass


def test_there_is_always_one_worker_and_no_more_than_cores() -> None:
    assert 1 <= default_workers("cpu") <= len(os.sched_getaffinity(0))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_workers_that_die_cost_time_and_runs_that_kill_workers_fail(job_of: Callable[..., Job], cluster: Any) -> None:
    write = "Path(sys.argv[1]).write_text('done')"
    codes = {
        # kills its worker the first time: as if the machine had gone
        "once": CHILD + FIRST + f"if new: os.kill(os.getppid(), 9); time.sleep(60)\n{write}",
        # kills every worker that takes it up
        "always": CHILD + "import os, time; os.kill(os.getppid(), 9); time.sleep(60)",
        **{f"fine{n}": f"import sys, time; from pathlib import Path; time.sleep(1); {write}" for n in range(4)},
    }
    with dask_engine(cluster.scheduler_address) as engine:
        endings = execute(
            [job_of(name, code) for name, code in codes.items()], engine.executor, lost=engine.lost, check=engine.check
        )
    assert sorted(ending.name for ending in endings) == sorted(codes)
    assert {ending.name for ending in endings if ending.kind == "failed"} == {"always"}
    (attempt,) = read_attempts(job_of("always").folder)
    assert attempt.reason == "worker lost"
    assert all(job_of(name).result.exists() for name in codes if name != "always")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_scheduler_that_is_killed_is_told_and_nothing_is_lost(job_of: Callable[..., Job]) -> None:
    write = "Path(sys.argv[1]).write_text('done')"
    jobs = [
        job_of(f"run{n}", CHILD + f"import sys, time; from pathlib import Path; time.sleep(2); {write}")
        for n in range(4)
    ]
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    file = jobs[0].root.with_name("scheduler.json")
    scheduler = subprocess.Popen([*command, "--scheduler-file", str(file)], stderr=subprocess.DEVNULL)
    worker = None
    try:
        _wait_for(file.exists)
        address = json.loads(file.read_text())["address"]
        worker = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"],
            stderr=subprocess.DEVNULL,
        )
        killer = threading.Timer(3, scheduler.send_signal, [signal.SIGKILL])
        with (
            pytest.raises(RunError, match=r"scheduler at tcp.* is gone|was called off"),
            dask_engine(address) as engine,
        ):
            killer.start()
            execute(jobs, engine.executor, lost=engine.lost, check=engine.check)
    finally:
        processes = [scheduler.pid, *([] if worker is None else [worker.pid])]
        for pid in processes:
            if psutil.pid_exists(pid):
                for process in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
                    process.kill()
        scheduler.wait()
        if worker is not None:
            worker.wait()
    assert any(not job.result.exists() for job in jobs), "the scheduler was killed in the middle"
    assert all(read_attempts(job.folder) == [] for job in jobs)
    with local_engine(2) as engine:
        endings = execute(jobs, engine.executor)
    assert {ending.kind for ending in endings} == {"done"}
