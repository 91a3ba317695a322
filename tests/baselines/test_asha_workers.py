"""Trials by workers: the search is that of one without, to the last line; faults of one trial are its own."""

from __future__ import annotations

import errno
import importlib
import math
import sys
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from nas360.baselines.algorithms.asha_tuning import AshaTuning
from nas360.baselines.algorithms.base import Arena, Found, Search, SharedOut, Workers
from nas360.baselines.algorithms.trial_workers import came_of
from nas360.baselines.algorithms.trials import Came
from nas360.baselines.asha.scheduler import Failure, Job
from nas360.baselines.failure import TrainingError
from nas360.baselines.local_workers import LocalWorkers, WorkerDied
from nas360.baselines.method import METHODS, Method
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.run import run, search
from nas360.baselines.runlog import RunLog
from nas360.baselines.schedule import MultiStep
from nas360.baselines.spaces.wide_resnet import WideResNetArchitecture
from nas360.baselines.train import Training
from nas360.baselines.watch import Silent
from nas360.errors import DatasetError, RunError
from nas360.files import read_json
from nas360.loaders.data import load_task
from nas360.task import TaskSpec

RANGES = METHODS["wrn_asha"].search.algorithm.space  # type: ignore[union-attr]  # it searches
RECIPE = Recipe(Optimiser("sgd", lr=0.1, nesterov=True), epochs=4, batch_size=16, schedule=MultiStep((0.5,), 0.1))
TUNING = AshaTuning(RANGES, trials=9, eta=2)
"""Rungs after 1, 2 and 4 epochs of 3 steps each, of 9, 4 and 2 trials."""
STEPS = 9 * 3 + 4 * 3 + 2 * 6


@dataclass(frozen=True)
class Linear:
    """A linear answer to all the inputs, some of which are left out by chance."""

    dropout: float = 0.0


class LinearSpace:
    """Linear answers; the batch norm has state beside its weights."""

    id = "linear"

    def default(self, spec: TaskSpec) -> Linear:
        return Linear()

    def narrower(self, architecture: Linear) -> tuple[Linear, ...]:
        return ()

    def build(self, architecture: Linear, spec: TaskSpec) -> nn.Module:
        inputs = math.prod(spec.input_shape)
        head = nn.Linear(inputs, spec.output.channels)
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(inputs), nn.Dropout(architecture.dropout), head)

    def to_json(self, architecture: Linear) -> dict[str, Any]:
        return {"dropout": architecture.dropout}


SPACE = LinearSpace()
ARENAS: dict[str, Arena] = {}


@dataclass(frozen=True)
class Remade:
    """An arena of this process by name, as a worker would make it."""

    name: str

    def __call__(self) -> Arena:
        arena = ARENAS[self.name]
        assert arena.keeping is not None
        return replace(arena, keeping=replace(arena.keeping, log=None), watcher=Silent(), workers=None)


class Watched(Silent):
    """Interrupts when so many steps are done or more."""

    def __init__(self, at: float) -> None:
        self.at = at
        self.notes: list[str] = []

    def step(self, done: int, total: int, stage: str) -> None:
        assert stage == "search" and 0 < done <= total
        if done >= self.at:
            raise KeyboardInterrupt

    def note(self, message: str) -> None:
        self.notes.append(message)


On = Callable[..., Arena]


@pytest.fixture
def on(toy: Callable[..., Any], arena: Callable[..., Arena]) -> On:
    """`on(folder, executor=…, at=…, …)` → an arena on the signal toy, with workers or without."""
    data = toy(1, "point")

    def make(folder: Path, executor: Any = None, at: float = math.inf, **settings: Any) -> Arena:
        extra = {name: settings.pop(name) for name in ("trial_seconds",) if name in settings}
        made = arena(data, STEPS, folder=folder, recipe=RECIPE, **settings)
        assert made.keeping is not None
        checkpoints = replace(made.keeping.checkpoints, folder=folder / "search")
        made = replace(made, keeping=replace(made.keeping, checkpoints=checkpoints), watcher=Watched(at), **extra)
        ARENAS[str(folder)] = made
        workers = None if executor is None else Workers(executor, Remade(str(folder)), 1)
        return replace(made, workers=workers)

    return make


def lines(folder: Path) -> list[dict[str, Any]]:
    return [{**entry, "seconds": 0} for entry in RunLog(folder / "search.jsonl").entries()]


def same(first: Path, second: Path, one: Found, other: Found) -> bool:
    journals = [(folder / "search" / "journal.jsonl").read_bytes() for folder in (first, second)]
    found = replace(one, seconds=0) == replace(other, seconds=0)
    return found and lines(first) == lines(second) and journals[0] == journals[1]


@pytest.fixture
def steps_done(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every step of a training."""
    done: list[int] = []
    one_step = Training._one_step

    def counted(self: Training, *arguments: Any) -> float:
        done.append(0)
        return one_step(self, *arguments)

    monkeypatch.setattr(Training, "_one_step", counted)
    return done


@pytest.mark.parametrize("at_once", [None, 2])
def test_the_search_is_that_of_one_without_workers(
    at_once: int | None, on: On, steps_done: list[int], tmp_path: Path
) -> None:
    tuning = replace(TUNING, at_once=at_once)
    here = tuning.search(SPACE, on(tmp_path / "here"))
    alone = len(steps_done)
    with ThreadPoolExecutor(3) as pool:
        there = tuning.search(SPACE, on(tmp_path / "there", pool))
    assert same(tmp_path / "here", tmp_path / "there", here, there)
    assert len(steps_done) == 2 * alone, "nothing is trained twice"
    assert there.seconds > 0
    assert not list((tmp_path / "there" / "search").glob("trial*"))


def test_stopped_anywhere_it_ends_as_one_without_workers(on: On, steps_done: list[int], tmp_path: Path) -> None:
    expected = TUNING.search(SPACE, on(tmp_path / "here"))
    alone = len(steps_done)
    for at in range(3, STEPS, 6):
        # of one thread, so that a job that has begun is done before the pool is closed
        with ThreadPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt):
            TUNING.search(SPACE, on(tmp_path / "there", pool, at))
    with ThreadPoolExecutor(2) as pool:
        found = TUNING.search(SPACE, on(tmp_path / "there", pool))
    assert same(tmp_path / "here", tmp_path / "there", expected, found)
    assert len(steps_done) == 2 * alone, "what was done and not told is judged again, but not trained"


def test_a_lost_state_is_trained_again_and_said(on: On, tmp_path: Path) -> None:
    expected = TUNING.search(SPACE, on(tmp_path / "here"))
    with ThreadPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt):
        TUNING.search(SPACE, on(tmp_path / "there", pool, 9 * 3 + 3))
    newest = sorted((tmp_path / "there" / "search").glob("trial*/checkpoint.pt"))
    for number, path in enumerate(newest):
        content = bytearray(path.read_bytes())
        for place in range(0, len(content), 50):  # some of it is padding
            content[place] ^= 1
        path.write_bytes(content)
        if number % 2:
            path.with_name("checkpoint.previous.pt").write_bytes(b"")
    with ThreadPoolExecutor(1) as pool:
        arena = on(tmp_path / "there", pool)
        found = TUNING.search(SPACE, arena)
    assert same(tmp_path / "here", tmp_path / "there", expected, found)
    notes = arena.watcher.notes  # type: ignore[attr-defined]  # ours
    assert any("is damaged" in note for note in notes)
    # from the state before, and where that is damaged too from the first step
    assert any("its state at step 3 is lost; trained again from step 2" in note for note in notes)
    assert any("trained again from step 0" in note for note in notes)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (MemoryError("4 GiB"), "MemoryError: 4 GiB"),
        (RuntimeError("CUDA out of memory"), "RuntimeError: CUDA out of memory"),
        (ValueError("a\nb"), "ValueError: a\nb"),
        (TrainingError("search", "not finite"), "not finite"),
    ],
    ids=["memory", "torch", "any", "training"],
)
def test_the_fault_of_one_trial_is_its_own(fault: Exception, reason: str, on: On, tmp_path: Path) -> None:
    honest, looks = on(tmp_path / "honest").error, []

    def error(model: nn.Module) -> float:
        looks.append(0)
        if len(looks) % 16 == 3:
            raise fault
        return honest(model)

    here = TUNING.search(SPACE, on(tmp_path / "here", error=error))
    looks.clear()
    with ThreadPoolExecutor(1) as pool:
        there = TUNING.search(SPACE, on(tmp_path / "there", pool, error=error))
    assert same(tmp_path / "here", tmp_path / "there", here, there)
    failed = [line for line in lines(tmp_path / "there") if line.get("failure")]
    assert [line["candidate"] for line in failed] == [2]
    assert failed[0]["failure"].startswith(reason) and failed[0]["validation_error"] is None
    assert here.facts["failed"] == 1 and here.facts["chosen"] != 2


@pytest.mark.parametrize("by_workers", [False, True])
def test_a_full_disk_ends_the_search_and_no_trial(by_workers: bool, on: On, tmp_path: Path) -> None:
    expected = TUNING.search(SPACE, on(tmp_path / "whole"))
    honest, looks = on(tmp_path / "honest").error, []

    def error(model: nn.Module) -> float:
        looks.append(0)
        if len(looks) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return honest(model)

    def attempt() -> Found:
        with ThreadPoolExecutor(1) as pool:
            return TUNING.search(SPACE, on(tmp_path / "cut", pool if by_workers else None, error=error))

    with pytest.raises(RunError, match=r"trial 4 was stopped by the system: .*No space left.*--resume"):
        attempt()
    assert not [line for line in lines(tmp_path / "cut") if line.get("failure")]
    assert same(tmp_path / "whole", tmp_path / "cut", expected, attempt())


@pytest.mark.parametrize("by_workers", [False, True])
def test_trials_that_take_too_long_are_given_up(by_workers: bool, on: On, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        arena = on(tmp_path, pool if by_workers else None, trial_seconds=1e-9)
        with pytest.raises(TrainingError, match=r"none of 9 trials .*not at step 3 after 1e-09 seconds, but at step 1"):
            TUNING.search(SPACE, arena)


def test_an_executor_at_its_end_ends_the_search_and_no_trial(on: On, tmp_path: Path) -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RunError, match=r"trial 0 could not be done by the workers \(RuntimeError: .*go on with"):
        TUNING.search(SPACE, on(tmp_path, pool))
    assert not lines(tmp_path)
    TUNING.search(SPACE, on(tmp_path))


def test_what_cannot_be_sent_is_said(on: On, tmp_path: Path) -> None:
    class Local(LinearSpace):
        pass

    with ThreadPoolExecutor(1) as pool, pytest.raises(RunError, match=r"cannot be sent to workers \(.*Local"):
        TUNING.search(Local(), on(tmp_path, pool))


class KilledWorker(Exception):
    """As Dask's."""


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (WorkerDied("2 worker processes died under it"), "no worker survived it: 2 worker processes"),
        (KilledWorker("four workers"), "no worker survived it: four workers"),
        (DatasetError("no such folder"), "no such folder"),
        (ModuleNotFoundError("nas360"), r"trial 3 could not be done .*ModuleNotFoundError: nas360\)"),
        (CancelledError(), r"trial 3 could not be done by the workers \(CancelledError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_who_answers_for_what(cause: BaseException, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(KilledWorker=KilledWorker))
    future: Future[Came] = Future()
    future.set_exception(cause)
    job = Job(3, {}, 0, 0, 0, 3)
    if expected.startswith("no worker"):
        outcome = came_of(job, future).outcome
        assert isinstance(outcome, Failure) and outcome.reason.startswith(expected)
    else:
        with pytest.raises(RunError, match=expected):
            came_of(job, future)


def tiny_method() -> Method:
    """`wrn_asha` with a very small network, a few trials and one epoch."""
    method = METHODS["wrn_asha"]
    recipe = replace(RECIPE, epochs=2, batch_size=128)
    tuning = AshaTuning(RANGES, trials=4, eta=2, shrink=2, max_rungs=2)
    return replace(
        method,
        recipe=lambda spec: recipe,
        search=Search(tuning, lambda spec: recipe),
        final=lambda found, spec: WideResNetArchitecture(10, 1, found.dropout),
    )


@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_worker_processes_give_the_run_of_one_process(n: int, tmp_path: Path) -> None:
    data, method = load_task("satellite", "synthetic"), tiny_method()
    here = run(method, data, 3, tmp_path / "here", device="cpu")
    with LocalWorkers(n) as workers:
        found = search(method, data, 3, tmp_path / "there", device="cpu", executor=workers)
    assert found is not None
    there = run(method, data, 3, tmp_path / "there", device="cpu", resume=True)
    assert search(method, data, 3, tmp_path / "there", device="cpu") is None, "there is nothing left to search"
    assert search("wrn", data, 3, tmp_path / "wrn", device="cpu") is None
    assert here.results[0].score == there.results[0].score  # type: ignore[union-attr]  # rows of a seed
    same_run(tmp_path / "here", tmp_path / "there")


def same_run(here: Path, there: Path) -> None:
    names = ("search/journal.jsonl", "predictions.npz")
    assert all((here / name).read_bytes() == (there / name).read_bytes() for name in names)
    assert lines(here) == lines(there)
    one, other = (read_json(folder / "architecture.json", 1 << 20) for folder in (here, there))
    for content in (one, other):
        content["search"].pop("seconds")
    assert one == other


ONCE = """
import os, signal, time
from dataclasses import replace
from pathlib import Path
from nas360.baselines.search_arena import Remake


class Faulty(Remake):
    def __call__(self):
        arena = super().__call__()

        def error(model):
            mark = Path({mark!r})
            if not mark.exists():
                mark.touch()
                {fault}
            return arena.error(model)

        return replace(arena, error=error)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", ["os.kill(os.getpid(), signal.SIGKILL)", "time.sleep(3600)"])
def test_a_worker_that_is_killed_or_hangs_changes_nothing(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, method = load_task("satellite", "synthetic"), tiny_method()
    run(method, data, 3, tmp_path / "here", device="cpu")
    # a module that worker processes can import too
    (tmp_path / "faulty_remake.py").write_text(ONCE.format(mark=str(tmp_path / "mark"), fault=fault))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "faulty_remake", raising=False)
    monkeypatch.setattr("nas360.baselines.find.Remake", importlib.import_module("faulty_remake").Faulty)
    with LocalWorkers(2) as workers:
        run(method, data, 3, tmp_path / "there", device="cpu", executor=workers, trial_seconds=20.0)
    assert (tmp_path / "mark").exists()
    same_run(tmp_path / "here", tmp_path / "there")


def test_which_searches_have_trials_to_share() -> None:
    shared = {
        name for name, method in METHODS.items() if method.search and isinstance(method.search.algorithm, SharedOut)
    }
    assert shared == {"wrn_asha"}


@pytest.mark.parametrize("changes", [{"trial_threads": 0}, {"trial_seconds": 0.0}, {"trial_seconds": math.nan}])
def test_nonsense_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="both must be above 0"):
        run(tiny_method(), load_task("satellite", "synthetic"), out=tmp_path, device="cpu", **changes)
