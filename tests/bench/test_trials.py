"""ASHA's trials as jobs of the engine: the same result, and what happens to a trial happens to it alone."""

from __future__ import annotations

import os
import pickle
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from nas360.baselines.local_workers import WorkerDied
from nas360.baselines.run import run
from nas360.bench.attempt import Ending, Job, end_all, perform
from nas360.bench.campaign import Campaign, plan_grid
from nas360.bench.engine import Engine, dask_engine, local_engine
from nas360.bench.failures import FAILURES
from nas360.bench.grid import Grid, Settings
from nas360.bench.jobs import Limits
from nas360.bench.place import Place
from nas360.bench.price import make_clock
from nas360.bench.trials import Trials, has_trials
from nas360.errors import RunError
from nas360.loaders import TASKS
from nas360.loaders.data import load_task
from nas360.loaders.twin import twin


def test_searches_with_independent_trials_are_known() -> None:
    assert {name: has_trials(name) for name in ("wrn", "wrn_asha", "gaea")} == {
        "wrn": False,
        "wrn_asha": True,
        "gaea": False,
    }


def test_calls_come_back_with_what_they_return_or_raise(job_of: Callable[..., Job]) -> None:
    with ThreadPoolExecutor(2) as engine:
        trials = Trials(lambda job: engine.submit(perform, job), job_of(time_limit=3.0), ())
        fine, sleeps, dies = (
            trials.submit(divmod, 17, 5),
            trials.submit(time.sleep, 60),
            trials.submit(os.abort),
        )
        refused = trials.submit(load_task, "egc")
        assert fine.result(timeout=60) == (3, 2)
        with pytest.raises(RunError, match="ended after 3 s"):
            sleeps.result(timeout=60)
        with pytest.raises(WorkerDied, match="SIGABRT"):
            dies.result(timeout=60)
        with pytest.raises(RunError, match="Did you mean 'ecg'"):
            refused.result(timeout=60)
        assert trials.broken is None
    assert not list(job_of().folder.rglob("*.pickle"))


def test_a_call_that_somebody_else_kills_is_made_again(job_of: Callable[..., Job], tmp_path: Path) -> None:
    # the first time there is no such file, and the process kills itself
    met = f"__import__('pathlib').Path({str(tmp_path / 'met')!r})"
    code = f"7 if {met}.exists() else ({met}.touch(), __import__('os').kill(__import__('os').getpid(), 9))"
    with ThreadPoolExecutor(1) as engine:
        assert Trials(lambda job: engine.submit(perform, job), job_of(), ()).submit(eval, code).result(timeout=60) == 7


def test_calls_of_an_execution_that_was_ended_break_off(job_of: Callable[..., Job]) -> None:
    end_all("ended")
    with ThreadPoolExecutor(1) as engine:
        trials = Trials(lambda job: engine.submit(perform, job), job_of(call="ended"), ())
        with pytest.raises(RunError, match="stopped"):
            trials.submit(divmod, 1, 1).result(timeout=10)
        assert trials.broken == "stopped"


@pytest.mark.timeout(30)
def test_whoever_waits_for_a_call_hears_of_it_whatever_the_engine_does(
    job_of: Callable[..., Job], tmp_path: Path
) -> None:
    silent: list[Future[Ending]] = []

    def forget(job: Job) -> Future[Ending]:
        silent.append(Future())
        return silent[-1]

    trials = Trials(forget, job_of(), ())
    waiting = trials.submit(divmod, 17, 5)
    trials.stop()
    for call in (waiting, trials.submit(divmod, 17, 5)):
        with pytest.raises(RunError, match="stopped"):
            call.result(timeout=5)
    assert [one.cancelled() for one in silent] == [True], "and no further call is given to the engine"

    def refuse(job: Job) -> Future[Ending]:
        raise RuntimeError("cannot schedule new futures after shutdown")

    with pytest.raises(RunError, match="after shutdown"):
        Trials(refuse, job_of(), ()).submit(divmod, 17, 5).result(timeout=5)

    def spoil(job: Job) -> Future[Ending]:
        job.folder.mkdir(parents=True, exist_ok=True)
        job.result.write_bytes(pickle.dumps(Path)[:-4] + b"no.")
        done: Future[Ending] = Future()
        done.set_result(Ending(job.name, "done"))
        return done

    with pytest.raises(RunError, match="left what cannot be read"):
        Trials(spoil, job_of(), ()).submit(divmod, 17, 5).result(timeout=5)


@pytest.fixture
def asha(tmp_path: Path) -> Campaign:
    """A benchmark of one search with shared trials, on a twin that is there."""
    place = Place(tmp_path / "bench")
    shutil.copytree(twin(TASKS["satellite"]), place.twin("satellite"))
    settings = Settings(budget="smoke", max_steps=10, synthetic=True, device="cpu", threads=1)
    grid = Grid(methods=("wrn_asha",), tasks=("satellite",), seeds=(0,), settings=settings)
    stored = plan_grid(place, grid, None)
    place.write(stored)
    return Campaign(place, stored, Limits(), make_clock([], 1e9), shared_seconds=0.0)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("held", [False, True])
def test_an_engine_that_is_gone_without_a_word_ends_the_search(asha: Campaign, held: bool) -> None:
    asked: list[Job] = []
    (cell,) = asha.stored.cells
    folder = asha.place.folder(cell)
    folder.mkdir(parents=True)

    def forget(job: Job) -> Future[Ending]:
        asked.append(job)
        return Future()

    def check() -> None:
        if held or asked:
            raise RunError("the scheduler is gone")

    # somebody who was taken for lost may also still be at the run
    lock = FileLock(folder / ".attempt.lock") if held else nullcontext()
    with local_engine(1) as engine, lock, pytest.raises(RunError, match="is gone"):
        asha.perform(replace(engine, urgent=forget, check=check), [cell], lambda job, ending: None)
    assert not list(folder.rglob(FAILURES)), "which is no fault of the run"


@pytest.mark.timeout(60)
def test_a_search_that_breaks_in_the_client_costs_itself_alone(asha: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("in the client")

    monkeypatch.setattr("nas360.baselines.run.search", broken)
    endings: list[Ending] = []
    with local_engine(1) as engine:
        asha.perform(engine, asha.stored.cells, lambda job, ending: endings.append(ending))
    assert [ending.kind for ending in endings] == ["failed"]
    (state,) = asha.states()
    assert (state.state, state.reason) == ("failed", "raised: ZeroDivisionError: in the client")


@pytest.mark.timeout(60)
def test_a_limit_fails_the_run_and_is_no_outcome_of_a_trial(asha: Campaign) -> None:
    endings: list[Ending] = []
    campaign = replace(asha, limits=Limits(seconds=0.1))
    with local_engine(2) as engine:
        campaign.perform(engine, campaign.stored.cells, lambda job, ending: endings.append(ending))
    (cell,) = campaign.stored.cells
    (state,) = campaign.states()
    assert (state.state, state.retriable) == ("failed", True)
    assert state.reason.startswith("time limit: ended after 0 s"), endings
    assert not (campaign.place.folder(cell) / "result.json").exists()
    (journal,) = campaign.place.folder(cell).rglob("journal.jsonl")
    assert "no worker survived" not in journal.read_text()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["here", "dask"])
def test_a_run_with_shared_trials_comes_to_the_same(tmp_path: Path, kind: str) -> None:
    place = Place(tmp_path / "bench")
    settings = Settings(budget="small", max_steps=50, synthetic=True, device="cpu", threads=1)
    grid = Grid(methods=("wrn", "wrn_asha"), tasks=("satellite",), seeds=(0,), settings=settings)
    stored = plan_grid(place, grid, None)
    place.write(stored)
    campaign = Campaign(place, stored, Limits(), make_clock([], 1e9), shared_seconds=0.0)
    endings: list[Ending] = []
    with _engine(kind) as engine:
        campaign.perform(
            engine, campaign.missing(campaign.states(), retry_failed=False), lambda _, ending: endings.append(ending)
        )
    states = campaign.states()
    assert [state.state for state in states] == ["done", "done"], endings
    folder = place.folder(stored.cells[1])
    trials = list((folder / "trials").iterdir())
    assert len(trials) > 1

    alone = tmp_path / "alone"
    data = load_task("satellite", place.twin("satellite"))
    run("wrn_asha", data, 0, alone, "small", "cpu", max_steps=50)
    one, other = (np.load(path / "predictions.npz")["predictions"] for path in (folder, alone))
    assert np.array_equal(one, other)


@contextmanager
def _engine(kind: str) -> Iterator[Engine]:
    if kind == "here":
        with local_engine(2) as engine:
            yield engine
        return
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        dask_engine(cluster.scheduler_address) as engine,
    ):
        yield engine
