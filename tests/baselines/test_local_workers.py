"""Worker processes: they replace each other, end with whoever wanted them, and see one GPU each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nas360.baselines.local_workers import LocalWorkers, WorkerDied

# of the standard library and as text: a worker cannot import a module of tests
DIES_ONCE = "import os, pathlib\npath = pathlib.Path({!r})\nif not path.exists():\n  path.touch()\n  os._exit(1)"


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # where there is such a file, it tells of one that has ended and was not waited for
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def gone(process: int) -> bool:
    for _ in range(200):
        if not alive(process):
            return True
        time.sleep(0.05)
    return False


def test_a_worker_that_dies_takes_no_other_job_with_it(tmp_path: Path) -> None:
    with LocalWorkers(2) as workers:
        other = workers.submit(time.sleep, 0.5)
        once = workers.submit(exec, DIES_ONCE.format(str(tmp_path / "died")))
        always = workers.submit(os._exit, 9)
        wrong = workers.submit(divmod, 1, 0)
        after = [workers.submit(pow, 2, number) for number in range(8)]
        assert other.result() is None
        assert once.result() is None and (tmp_path / "died").exists(), "begun once more"
        with pytest.raises(WorkerDied, match="2 worker processes died under it"):
            always.result()
        with pytest.raises(ZeroDivisionError):
            wrong.result()
        assert [future.result() for future in after] == [2**number for number in range(8)]


def test_each_worker_sees_one_gpu_and_is_not_stopped_by_the_keyboard() -> None:
    with LocalWorkers(2, gpus=("5", "7")) as workers:
        # two jobs at once, each of which begins its worker
        seen = [workers.submit(os.getenv, "CUDA_VISIBLE_DEVICES") for _ in range(2)]
        assert {future.result() for future in seen} == {"5", "7"}
        workers.submit(signal.raise_signal, signal.SIGINT).result()
    with LocalWorkers(1) as workers:
        assert workers.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() == os.getenv("CUDA_VISIBLE_DEVICES")


def test_whoever_leaves_by_an_error_waits_for_nothing() -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), LocalWorkers(1) as workers:
        process = workers.submit(os.getpid).result()
        busy, waiting = workers.submit(time.sleep, 600), workers.submit(time.sleep, 600)
        time.sleep(0.1)
        raise KeyboardInterrupt
    assert time.monotonic() - began < 60
    assert gone(process)
    assert busy.exception() is not None and waiting.cancelled()


SCRIPT = """
import os, sys, time
from nas360.baselines.local_workers import LocalWorkers
if __name__ == "__main__":
    workers = LocalWorkers(1)
    print(workers.submit(os.getpid).result(), flush=True)
    workers.submit(time.sleep, 600)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_workers_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        assert alive(worker)
        process.kill()
        process.wait()
        assert gone(worker)
