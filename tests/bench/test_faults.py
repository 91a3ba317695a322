"""Whole benchmarks that are broken on purpose: whatever is killed, filled or spoilt, they come to what they came to."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from nas360.bench.attempt import Job
from nas360.bench.engine import local_engine
from nas360.bench.execute import execute
from nas360.bench.failures import FAILURES, read_attempts
from nas360.errors import RunError
from nas360.seeding import derive

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KILLS = 50

RUN = """
import sys, time
from pathlib import Path
from nas360.bench.child import end_with_input
from nas360.files import write_text
end_with_input()
result = Path(sys.argv[1])
state = result.with_name("state")
step = int(state.read_text()) if state.exists() else 0
while step < 6:
    time.sleep(0.15)
    step += 1
    write_text(state, str(step))
assert not result.exists()
write_text(result, str(sum(map(ord, result.parent.name)) * step))
"""

CLIENT = """
import sys
from pathlib import Path
from nas360.bench.attempt import Job
from nas360.bench.engine import local_engine
from nas360.bench.execute import execute
from nas360.bench.jobs import new_call
root, code, call = Path(sys.argv[1]), sys.argv[2], new_call()
jobs = [Job(f"run{n}", call, root / "bench.json", root / f"run{n}", root / f"run{n}" / "result.json",
            (str(root / f"run{n}" / "result.json"),), program=("-c", code)) for n in range(60)]
with local_engine(2) as engine:
    execute([job for job in jobs if not job.result.exists()], engine.executor, ahead=engine.ahead)
"""
"""What the command line does, with made-up runs: steps with a state after each, as checkpoints are."""


def test_a_benchmark_that_is_killed_fifty_times_comes_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "bench.json").touch()
    rng, kills = derive(0, "kills"), 0
    while True:
        client = subprocess.Popen([sys.executable, "-c", CLIENT, str(tmp_path), RUN])
        try:
            assert client.wait(float(rng.uniform(0.5, 1.5)) if kills < KILLS else 300) == 0
        except subprocess.TimeoutExpired:
            kills += 1
            if kills % 3 == 0:
                # one of its runs first, which the client has time to notice
                for child in psutil.Process(client.pid).children()[:1]:
                    child.kill()
                time.sleep(0.4)
            client.send_signal(signal.SIGKILL)
            client.wait()
        else:
            break
    assert kills == KILLS
    for number in range(60):
        folder = tmp_path / f"run{number}"
        assert (folder / "result.json").read_text() == str(sum(map(ord, folder.name)) * 6)
    # what was killed itself, and not with its client, is recorded as such; nothing else is
    kept = [attempt for number in range(60) for attempt in read_attempts(tmp_path / f"run{number}")]
    assert 0 < len(kept) <= KILLS // 3
    assert {attempt.reason for attempt in kept} == {"killed"}


GRID = "--methods wrn,amber --tasks ecg --seeds 0,1 --budget smoke --synthetic --max-steps 4 --device cpu --threads 1"


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark that nothing happened to."""
    folder = tmp_path_factory.mktemp("unbroken") / "bench"
    assert _bench(folder, *GRID.split(), "--workers", "2").returncode == 0
    return folder


def _bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nas360", "bench", str(folder), *arguments], capture_output=True, text=True
    )


def _scores(folder: Path) -> dict[str, float]:
    return {
        str(path.parent.relative_to(folder)): json.loads(path.read_text())["results"][0]["score"]
        for path in sorted(folder.glob("runs/*/*/*/result.json"))
    }


def _same_predictions(one: Path, other: Path) -> bool:
    return all(
        np.array_equal(np.load(path)["predictions"], np.load(other / path.relative_to(one))["predictions"])
        for path in one.rglob("predictions.npz")
    )


def test_a_client_killed_again_and_again_comes_to_the_same(unbroken: Path, tmp_path: Path) -> None:
    folder, rng = tmp_path / "bench", derive(1, "kills")
    shutil.copytree(unbroken / "data", folder / "data")
    arguments = [sys.executable, "-m", "nas360", "bench", str(folder), *GRID.split(), "--workers", "2"]
    for _ in range(5):
        client = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(float(rng.uniform(4, 9)))
        client.kill()
        client.wait()
    found = _bench(folder)
    assert found.returncode == 0, found.stderr
    assert _scores(folder) == _scores(unbroken)
    assert _same_predictions(unbroken, folder)
    assert not list(folder.rglob(FAILURES))


def test_a_dask_cluster_comes_to_the_same(unbroken: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    folder = tmp_path / "bench"
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:
        found = _bench(folder, *GRID.split(), "--scheduler", cluster.scheduler_address)
    assert found.returncode == 0, found.stderr
    assert _scores(folder) == _scores(unbroken)
    assert _same_predictions(unbroken, folder)


def test_a_damaged_checkpoint_is_not_gone_on_from(unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    shutil.copytree(unbroken, folder)
    run = folder / "runs" / "wrn" / "ecg" / "seed0"
    (run / "result.json").unlink()
    (run / "predictions.npz").unlink()
    for path in run.glob("checkpoint*.pt"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2 :: 997] = bytes(len(content[len(content) // 2 :: 997]))
        path.write_bytes(content)
    found = _bench(folder)
    assert found.returncode == 0, found.stderr
    assert "is damaged" in (run / "output.log").read_text()
    assert _scores(folder) == _scores(unbroken)
    assert _same_predictions(unbroken, folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "nas360-test", str(folder)]
    if sys.platform != "linux" or shutil.which("mount") is None or subprocess.run(command).returncode:
        pytest.skip("to make a small file system takes root on Linux")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_benchmark_and_is_nobodys_failure(small_disk: Path, job_of: Callable[..., Job]) -> None:
    root = small_disk / "bench.json"
    root.touch()

    def job(name: str, size: int) -> Job:
        code = f"import sys; from pathlib import Path; Path(sys.argv[1] + '.part').write_bytes(bytes({size} << 20)); "
        code += "Path(sys.argv[1] + '.part').rename(sys.argv[1])"
        folder = small_disk / name
        result = folder / "result.json"
        return job_of(name, code, root=root, folder=folder, result=result, arguments=(str(result),))

    jobs = [job("small", 1), job("large", 40), job("late", 1)]
    with local_engine(1) as engine, pytest.raises(RunError, match=r"large could not be done: .*[Nn]o space left"):
        execute(jobs, engine.executor, ahead=engine.ahead)
    assert [one.result.exists() for one in jobs] == [True, False, False]
    assert not list(small_disk.rglob(FAILURES))
    (small_disk / "large" / "result.json.part").unlink()
    with local_engine(1) as engine:
        assert execute([job("late", 1)], engine.executor)[0].kind == "done"
