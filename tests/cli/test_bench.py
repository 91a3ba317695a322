"""`nas360 bench` and `nas360 bench status`: one run is truly made, and all others are made up after it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas360.bench import execute
from nas360.bench.attempt import Ending, Job
from nas360.bench.campaign import plan_grid
from nas360.bench.failures import add_attempt, make_attempt
from nas360.bench.grid import Grid, Settings
from nas360.bench.place import Place
from nas360.cli import main
from nas360.loaders import TASKS
from nas360.loaders.twin import twin
from nas360.results import load_result, save_result

OPTIONS = "--methods wrn,autodl --tasks ninapro --budget smoke --synthetic --max-steps 1 --device cpu --threads 1"
GRID = tuple(OPTIONS.split())

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark of one run, finished."""
    folder = tmp_path_factory.mktemp("bench") / "done"
    with pytest.raises(SystemExit, match="0"):
        main(["bench", str(folder), *GRID, "--workers", "1"])
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(finished, tmp_path / "bench"))


@pytest.fixture
def performed(finished: Path, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that were performed from now on: each gives at once the result of the true run, with its own seed."""
    jobs: list[Job] = []

    def perform(job: Job) -> Ending:
        jobs.append(job)
        content = load_result(finished / RUN / "result.json")
        row = content.results[0].model_copy(update={"seed": int(job.folder.name.removeprefix("seed"))})
        save_result(job.result, content.model_copy(update={"results": (row,)}))
        return Ending(job.name, "done", 1.0)

    monkeypatch.setattr(execute, "perform", perform)
    return jobs


RUN = "runs/wrn/ninapro/seed0"


def _results(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("result.json")}


def _predictions(folder: Path) -> list[np.ndarray]:
    return [np.load(path)["predictions"] for path in sorted(folder.rglob("predictions.npz"))]


def test_a_plan_is_shown_and_nothing_is_done(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    code, shown, told = call("bench", folder, *GRID, "--seeds", "0,1", "--dry-run")
    assert code == 0, told
    assert "autodl: 0 of 1 tasks" in shown
    assert "2 runs, budget smoke" in " ".join(shown.split())
    assert not folder.exists()
    code, shown, _ = call("bench", folder, *GRID, "--seeds", "0,1", "--dry-run", "--json", "--rate", "1e9")
    plan = json.loads(shown)
    assert [(run["method"], run["task"], run["seed"]) for run in plan["runs"]] == [
        ("wrn", "ninapro", 0),
        ("wrn", "ninapro", 1),
    ]
    # 0.02e12 multiply-adds at the rate given, and the start of a process
    assert plan["runs"][0]["seconds"] == pytest.approx(20 + 4)


def test_results_flow_into_a_leaderboard(finished: Path, call: Call) -> None:
    assert len(_results(finished)) == 1
    board = json.loads((finished / "leaderboard.json").read_text())
    assert "wrn" in json.dumps(board)
    assert (finished / "leaderboard.html").read_text().startswith("<!")
    for folder in (finished, finished / "runs"):
        options = ("--panel", "none", "--include", "smoke,synthetic", "--draws", "0")
        code, shown, told = call("leaderboard", folder, *options)
        assert code == 0, told
        assert "WRN-16-4" in shown
        assert "warning" not in told
    code, shown, _ = call("show", finished / RUN)
    assert code == 0
    assert "finished" in shown


def test_what_is_finished_is_not_repeated(copy: Path, call: Call, performed: list[Job]) -> None:
    before = _results(copy)
    code, _, told = call("bench", copy)
    assert code == 0, told
    assert "1 done, 0 failed" in told
    assert performed == []
    assert _results(copy) == before


def test_what_is_missing_and_only_that_is_run(copy: Path, call: Call, performed: list[Job]) -> None:
    before = _results(copy)
    code, shown, told = call("bench", copy, "--seeds", "0-2", "--json")
    assert code == 0, told
    assert [job.name for job in performed] == ["wrn on ninapro, seed 1", "wrn on ninapro, seed 2"]
    assert [(run["state"], run["reason"]) for run in json.loads(shown)["runs"]] == [("done", "")] * 3
    assert _results(copy).items() > before.items()
    # the grid has grown for good
    performed[1].result.unlink()
    code, _, told = call("bench", copy)
    assert code == 0, told
    assert [job.name for job in performed[2:]] == [performed[1].name]


@pytest.mark.slow
def test_a_run_that_is_made_again_comes_to_the_same(copy: Path, call: Call) -> None:
    before, predictions = _results(copy), _predictions(copy)
    for name in ("result.json", "predictions.npz"):
        (copy / RUN / name).unlink()
    code, _, told = call("bench", copy)
    assert code == 0, told
    assert _results(copy) != before
    assert all(np.array_equal(one, other) for one, other in zip(predictions, _predictions(copy), strict=True))


def test_a_failed_run_is_repeated_only_when_asked(copy: Path, call: Call, performed: list[Job]) -> None:
    run = copy / RUN
    (run / "result.json").unlink()
    add_attempt(run, make_attempt("memory", "held more than 1 MiB"))
    code, shown, told = call("bench", copy)
    assert code == 0, told
    assert "wrn on ninapro, seed 0: memory: held more than 1 MiB" in shown
    assert performed == []
    code, _, told = call("bench", copy, "--retry-failed", "--memory-limit", 512, "--time-limit", 0.5)
    assert code == 0, told
    assert [(job.memory_limit, job.time_limit) for job in performed] == [(512, 1800)]
    assert (run / "result.json").exists()


def test_failures_are_told_and_stop_nothing(
    copy: Path, call: Call, performed: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    fine: Callable[[Job], Ending] = vars(execute)["perform"]

    def perform(job: Job) -> Ending:
        if job.folder.name != "seed1":
            return fine(job)
        attempt = make_attempt("memory", "held more than 1 MiB [red]", 7200.0)
        add_attempt(job.folder, attempt)
        return Ending(job.name, "failed", 7200.0, attempt)

    monkeypatch.setattr(execute, "perform", perform)
    code, shown, told = call("bench", copy, "--seeds", "0-2")
    assert code == 0
    assert "warning: 1/2 wrn on ninapro, seed 1: memory after 2.0 h: held more than 1 MiB [red]" in told
    assert "2/2 wrn on ninapro, seed 2: done" in told
    assert "2 done" in shown
    assert "1 failed" in shown


def test_a_larger_grid_goes_on_with_what_is_there(copy: Path, call: Call) -> None:
    code, shown, told = call("bench", copy, "--seeds", "0-2", "--dry-run")
    assert code == 0, told
    assert "3 runs, budget smoke" in " ".join(shown.split())
    code, _, told = call("bench", copy, "--seeds", "7")
    assert code == 2
    assert "--add runs both" in told
    code, _, told = call("bench", copy, "--budget", "small")
    assert code == 2
    assert "budget is 'smoke' there, 'small' was asked for" in told.replace("\n", " ")


def test_status_is_of_the_files(copy: Path, call: Call) -> None:
    code, shown, _ = call("bench", "status", copy)
    assert code == 0
    assert "1 done" in shown
    (copy / RUN / "result.json").unlink()
    code, shown, _ = call("bench", "status", copy, "--json")
    found = json.loads(shown)
    assert (found["done"], found["waiting"]) == (0, 1)
    assert found["runs"][0]["step"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--methods", "wrm"), "Did you mean 'wrn'"),
        (("--tasks", "egc"), "Did you mean 'ecg'"),
        (("--seeds", "x"), "neither a seed nor a range"),
        (("--budget", "tiny"), "none of full, small, smoke"),
        (("--synthetic", "--data", "x"), "leave --data out"),
        (("--methods", ","), "--methods names nothing"),
        (("--methods", "amber", "--tasks", "cifar100"), "amber cannot run on cifar100"),
        (("--budget", "full", "--max-steps", "3"), "goes with small or smoke"),
        (("--time-limit", "inf"), "--time-limit inf is no limit"),
        (("--rate", "inf"), "--rate inf is no limit and no rate"),
        (("--scheduler", "tcp://x", "--workers", "2"), "--workers is of this machine"),
    ],
)
def test_what_cannot_be_is_refused(call: Call, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    code, _, told = call("bench", tmp_path / "bench", *arguments)
    assert code == 2
    assert said in told.replace("\n", " ")
    assert not (tmp_path / "bench").exists()


def test_missing_data_is_noticed_before_anything_begins(call: Call, tmp_path: Path) -> None:
    folder, data = tmp_path / "bench", tmp_path / "data"
    asked = ("bench", folder, "--methods", "wrn", "--tasks", "ecg,ninapro", "--budget", "smoke", "--device", "cpu")
    code, _, told = call(*asked)
    assert code == 2
    told = " ".join(told.split())
    assert "nothing was begun, for there is no data for 2 of 2 tasks: ecg, ninapro." in told
    assert "nas360/ecg@" in told, "where it was looked for"
    assert not folder.exists()
    assert call(*asked, "--dry-run")[0] == 0, "what it would cost can be asked without data"
    # a benchmark that is gone on with looks again
    for task in ("ecg", "ninapro"):
        shutil.copytree(twin(TASKS[task]), data / task)
    Place(folder).write(plan_grid(Place(folder), _grid(data), None))
    shutil.rmtree(data / "ninapro")
    code, _, told = call("bench", folder)
    assert code == 2
    assert "no data for 1 of 2 tasks: ninapro." in " ".join(told.split())
    # data of another task is no data of this one
    (data / "ecg").rename(data / "ninapro")
    shutil.copytree(data / "ninapro", data / "ecg")
    code, _, told = call("bench", folder)
    assert "holds the task 'ecg', not 'ninapro'" in " ".join(told.split())
    assert not (folder / "runs").exists()


def _grid(data: Path) -> Grid:
    settings = Settings(budget="smoke", data=str(data), device="cpu", threads=1)
    return Grid(methods=("wrn",), tasks=("ecg", "ninapro"), seeds=(0,), settings=settings)


def test_status_of_nothing_says_how_to_begin(call: Call, tmp_path: Path) -> None:
    code, _, told = call("bench", "status", tmp_path)
    assert code == 2
    assert "holds no benchmark" in told


@pytest.mark.slow
def test_a_client_that_is_killed_leaves_nothing_behind_and_another_goes_on(
    finished: Path, tmp_path: Path, call: Call
) -> None:
    folder = tmp_path / "bench"
    shutil.copytree(finished / "data", folder / "data")
    command = [sys.executable, "-m", "nas360", "bench", str(folder), *GRID, "--workers", "1"]
    client = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(folder.glob("runs/**/log.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    client.send_signal(signal.SIGKILL)
    client.wait()
    assert not _results(folder)
    _no_process_names(str(folder))
    code, _, told = call("bench", folder)
    assert code == 0, told
    assert not list(folder.rglob("failures.jsonl"))
    ours, theirs = _predictions(folder), _predictions(finished)
    assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.slow
def test_an_interruption_ends_all_and_says_how_to_go_on(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    shutil.copytree(finished / "data", folder / "data")
    command = [sys.executable, "-m", "nas360", "bench", str(folder), *GRID, "--workers", "1"]
    client = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 60
    while not list(folder.glob("runs/**/output.log")) and time.monotonic() < deadline:
        time.sleep(0.05)
    client.send_signal(signal.SIGINT)
    _, told = client.communicate(timeout=30)
    assert client.returncode == 130
    assert f"Go on by: nas360 bench {folder}" in told
    _no_process_names(str(folder))
    assert not list(folder.rglob("failures.jsonl")), "what was stopped has not failed"


def _no_process_names(text: str, seconds: float = 10) -> None:
    """Assert that soon no process has a text in its command."""
    deadline = time.monotonic() + seconds
    found = [0]
    while found and time.monotonic() < deadline:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if text.encode() in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    continue  # it has just ended
        time.sleep(0.05)
    assert found == []
