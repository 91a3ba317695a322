"""One attempt: whatever happens to a run happens to its own process, and is recorded with its reason."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from nas360.bench import attempt, failures
from nas360.bench.attempt import Ending, Job, end_all, perform
from nas360.bench.failures import FAILURES, add_attempt, make_attempt, read_attempts
from nas360.bench.jobs import new_call

SLEEP = "import time; time.sleep(60)"


def test_a_job_is_done_once(job_of: Callable[..., Job]) -> None:
    job = job_of(code="import sys; from pathlib import Path; p = Path(sys.argv[1]); p.write_text(str(p.exists()))")
    assert perform(job).kind == "done"
    assert perform(job) == Ending("one", "done")
    assert job.result.read_text() == "False"
    assert (job.folder / "output.log").read_text().count("$ nas360") == 1


@pytest.mark.parametrize(
    ("code", "reason", "said"),
    [
        ("raise SystemExit('error: no such thing')", "raised", "no such thing"),
        ("1 / 0", "raised", "ZeroDivisionError: division by zero"),
        ("raise MemoryError", "memory", "MemoryError"),
        ("import os; os.kill(os.getpid(), 9)", "killed", "ended by SIGKILL, which is also how"),
        ("import os; os.kill(os.getpid(), 11)", "killed", "ended by SIGSEGV"),
        ("import os; os._exit(3)", "raised", "exit code 3"),
        ("pass", "raised", "no result"),
    ],
)
def test_a_failure_is_recorded_with_its_reason(job_of: Callable[..., Job], code: str, reason: str, said: str) -> None:
    job = job_of(code=code)
    ending = perform(job)
    assert ending.kind == "failed"
    (kept,) = read_attempts(job.folder)
    assert kept == ending.failure
    assert kept.reason == reason
    assert said in kept.message


def test_every_attempt_is_kept_with_what_it_printed(job_of: Callable[..., Job]) -> None:
    perform(job_of(code="print('first')\nraise SystemExit(1)"))
    perform(job_of(code="print('second')\nraise SystemExit(1)"))
    assert [kept.printed[-1] for kept in read_attempts(job_of().folder)] == ["first", "second"]
    assert perform(job_of()).kind == "done"


def test_a_result_counts_whatever_the_exit_code(job_of: Callable[..., Job]) -> None:
    # so ends a run whose training diverged: its result says so
    job = job_of(code="import sys; from pathlib import Path; Path(sys.argv[1]).write_text(''); sys.exit(2)")
    assert perform(job).kind == "done"
    assert read_attempts(job.folder) == []


def test_a_hang_is_ended_at_its_limit(job_of: Callable[..., Job]) -> None:
    began = time.monotonic()
    ending = perform(job_of(code=SLEEP, time_limit=0.3))
    assert ending.failure is not None
    assert ending.failure.reason == "time limit"
    assert time.monotonic() - began < 10


def test_a_run_that_eats_memory_is_ended_with_its_children(job_of: Callable[..., Job]) -> None:
    # the child of the run holds the memory, as a worker of its own would
    eat = "x = bytearray(300 << 20); import time; time.sleep(60)"
    job = job_of(code=f"import subprocess, sys; subprocess.run([sys.executable, '-c', {eat!r}])", memory_limit=200)
    ending = perform(job)
    assert ending.failure is not None
    assert ending.failure.reason == "memory"
    assert "more than 200 MiB" in ending.failure.message
    _gone(f"{eat}")


def _gone(mark: str, seconds: float = 10.0) -> None:
    """Assert that soon no process has the mark in its command."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            line = process.info["cmdline"] or []
            if any(mark in part for part in line) and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        if not found:
            return
        time.sleep(0.1)
    raise AssertionError(f"still there: {found}")


def test_threads_are_those_of_the_job(job_of: Callable[..., Job]) -> None:
    code = "import os, sys; from pathlib import Path; Path(sys.argv[1]).write_text(os.environ['OMP_NUM_THREADS'])"
    job = job_of(code=code, threads=3)
    perform(job)
    assert job.result.read_text() == "3"


def test_two_workers_on_one_job_do_it_once(job_of: Callable[..., Job]) -> None:
    # as when an engine takes a worker for lost that is only slow
    code = "import sys, time; from pathlib import Path; time.sleep(1); Path(sys.argv[1]).open('a').write('done ')"
    job = job_of(code=code)
    with ThreadPoolExecutor(2) as pool:
        kinds = {ending.kind for ending in pool.map(perform, [job, job])}
    assert kinds == {"done"}
    assert job.result.read_text() == "done "


def test_a_run_that_somebody_else_is_at_is_waited_for_and_then_given_up(
    job_of: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "PATIENCE_SECONDS", 0.2)
    job = job_of()
    job.folder.mkdir()
    with FileLock(job.folder / ".lock"):
        ending = perform(job)
    assert ending.failure is not None
    assert ending.failure.reason == "busy"
    assert perform(job).kind == "done"


def test_all_processes_of_one_call_end_and_no_more_begin(job_of: Callable[..., Job]) -> None:
    call, other = new_call(), new_call()
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(perform, job_of(name, SLEEP, call=call)) for name in ("one", "two")]
        stays = pool.submit(perform, job_of("three", "import time; time.sleep(3); " + _WRITE, call=other))
        deadline = time.monotonic() + 20
        while list(attempt._RUNNING.values()).count(call) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert end_all(call) == 2
        assert [future.result(timeout=20).kind for future in asked] == ["stopped", "stopped"]
        assert stays.result(timeout=20).kind == "done"
    late = job_of("four", call=call)
    assert perform(late).kind == "stopped"
    assert not late.result.exists()
    # what was stopped has not failed
    assert not list(late.root.parent.glob(f"*/{FAILURES}"))


_WRITE = "import sys; from pathlib import Path; Path(sys.argv[1]).write_text('done')"


def test_a_folder_that_is_not_seen_is_no_failure_of_the_run(job_of: Callable[..., Job], tmp_path: Path) -> None:
    ending = perform(job_of(root=tmp_path / "elsewhere" / "bench.json"))
    assert ending.kind == "unseen"
    assert "does not see" in ending.message
    assert not (tmp_path / "one").exists()


def test_a_full_disk_is_no_failure_of_the_run(job_of: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "LITTLE_SPACE", 1 << 62)
    job = job_of(code="raise SystemExit('error: No space left on device')")
    assert perform(job).kind == "no space"
    assert read_attempts(job.folder) == []


def test_a_damaged_line_hides_no_other(tmp_path: Path) -> None:
    first, second = make_attempt("raised", "a"), make_attempt("killed", "b", 1.5, -9, ("x",))
    add_attempt(tmp_path, first)
    with (tmp_path / FAILURES).open("a") as stream:
        stream.write('{"reason": "ra\n{"reason": "unheard of", "message": "", "when": ""}\n')
    add_attempt(tmp_path, second)
    assert read_attempts(tmp_path) == [first, second]


def test_a_cut_line_and_odd_signs_hide_no_attempt(tmp_path: Path) -> None:
    odd = make_attempt("raised", "one\u2028two\x85three \udcff")
    with (tmp_path / FAILURES).open("w") as stream:
        stream.write('{"reason": "ra')
    add_attempt(tmp_path, odd)
    add_attempt(tmp_path, odd)
    assert [kept.message[:13] for kept in read_attempts(tmp_path)] == [odd.message[:13]] * 2


def test_a_file_that_is_no_list_of_failures_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = make_attempt("killed", "last")
    monkeypatch.setattr(failures, "MOST_BYTES", 1000)
    hostile = ["[" * 100_000, '{"seconds": 1e999}', "null", "\0", "9" * 10_000]
    (tmp_path / FAILURES).write_text("\n".join(hostile))
    add_attempt(tmp_path, last)
    assert read_attempts(tmp_path) == [last]
    (tmp_path / FAILURES).unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / FAILURES)
        assert read_attempts(tmp_path) == [], "nobody waits for who would write into it"


CLIENT = """
import sys
from pathlib import Path
from nas360.bench.attempt import Job, perform
folder = Path(sys.argv[1])
(folder / "bench.json").touch()
print("begun", flush=True)
perform(Job("x", "call", folder / "bench.json", folder, folder / "result.json", ("tasks",), program=(
    "-c", "import time; from nas360.bench.child import end_with_input; end_with_input(); print('up', flush=True); "
    "time.sleep(60)", sys.argv[1] + "/the-mark")))
"""


def test_a_run_ends_with_the_process_that_waits_for_it(tmp_path: Path) -> None:
    client = subprocess.Popen([sys.executable, "-c", CLIENT, str(tmp_path)], stdout=subprocess.PIPE)
    deadline = time.monotonic() + 30
    output = tmp_path / "output.log"
    while not (output.exists() and "up" in output.read_text().splitlines()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "up" in output.read_text().splitlines()
    client.send_signal(signal.SIGKILL)
    client.communicate()
    _gone(f"{tmp_path}/the-mark")


def test_perform_works_in_a_daemonic_process_too(job_of: Callable[..., Job]) -> None:
    # as Dask's workers are, which may not have children by multiprocessing
    job = job_of()
    process = multiprocessing.get_context("spawn").Process(target=perform, args=(job,), daemon=True)
    process.start()
    process.join(30)
    assert job.result.read_text() == "done"


def test_no_thread_and_no_process_is_left(job_of: Callable[..., Job]) -> None:
    before = threading.active_count(), len(psutil.Process(os.getpid()).children(recursive=True))
    perform(job_of(code=SLEEP, time_limit=0.2))
    assert (threading.active_count(), len(psutil.Process(os.getpid()).children(recursive=True))) == before
    assert attempt._RUNNING == {}
