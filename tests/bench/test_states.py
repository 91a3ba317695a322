"""States of runs, from their files alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from nas360.bench.failures import add_attempt, make_attempt
from nas360.bench.place import Place, Stored
from nas360.bench.states import CellState, Reader
from nas360.cli.bench_tables import counts
from nas360.results import load_result, save_result

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "results"


@pytest.fixture
def read(stored_of: Callable[..., tuple[Place, Stored]]) -> Callable[[], CellState]:
    """The state of the only run of a grid."""
    place, stored = stored_of(seeds=(0,))
    reader = Reader(place)
    return lambda: reader.read(stored.cells)[0]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of that run."""
    folder = tmp_path / "runs" / "wrn" / "ecg" / "seed0"
    folder.mkdir(parents=True)
    return folder


def _begin(run: Path) -> None:
    (run / ".lock").touch()
    header = {"identity": {"method": "wrn", "steps": 30}, "steps": 30}
    entry = {"step": 10, "epoch": 1.0, "loss": 0.5, "lr": 0.1, "validation": None, "seconds": 5.0}
    (run / "log.jsonl").write_text(f"{json.dumps(header)}\n{json.dumps(entry)}\n")


def test_what_was_not_begun_waits(read: Callable[[], CellState]) -> None:
    assert read().state == "waiting"


def test_a_run_under_way_tells_its_step_and_time_left(read: Callable[[], CellState], run: Path) -> None:
    _begin(run)
    with FileLock(run / ".attempt.lock"):
        state = read()
    assert (state.state, state.stage, state.step, state.steps, state.left) == ("running", "training", 10, 30, 10.0)
    state = read()
    assert (state.state, state.step) == ("waiting", 10), "a run that was killed goes on"


def test_a_crash_is_a_failure_until_there_is_a_result(read: Callable[[], CellState], run: Path) -> None:
    add_attempt(run, make_attempt("raised", "first"))
    add_attempt(run, make_attempt("time limit", "second", 7.0))
    state = read()
    assert (state.state, state.reason, state.retriable) == ("failed", "time limit: second", True)
    _save(run)
    assert read().state == "done"


def _save(run: Path, method: str = "wrn", **changes: object) -> None:
    content = load_result(FIXTURES / "v1.0-full.json")
    changed = {
        "method": content.method.model_copy(update={"name": method}),
        "results": (content.results[0].model_copy(update=changes),),
    }
    save_result(run / "result.json", content.model_copy(update=changed))


@pytest.mark.parametrize("other", [{"method": "gaea"}, {"seed": 7}])
def test_a_result_of_another_run_is_not_counted(
    read: Callable[[], CellState], run: Path, other: dict[str, Any]
) -> None:
    _save(run, **other)
    state = read()
    assert (state.state, state.score) == ("failed", None)
    assert "is that of another run, " in state.reason


def test_a_damaged_result_is_told(read: Callable[[], CellState], run: Path) -> None:
    (run / "result.json").write_text("{")
    state = read()
    assert (state.state, state.retriable) == ("failed", False)
    assert "its result is damaged" in state.reason
    assert "not JSON" in state.reason or "line 1" in state.reason, "and how"


def test_a_log_that_is_just_being_written_hides_nothing_else(read: Callable[[], CellState], run: Path) -> None:
    _begin(run)
    (run / "log.jsonl").write_text('{"ident')
    with FileLock(run / ".attempt.lock"):
        assert read().state == "running"


def test_every_run_is_counted_once(stored_of: Callable[..., tuple[Place, Stored]]) -> None:
    place, stored = stored_of(("wrn", "gaea"), ("ecg", "ninapro"), (0, 1, 2))
    add_attempt(place.folder(stored.cells[0]), make_attempt("raised", "x"))
    states = Reader(place).read(stored.cells)
    assert counts(states) == {"done": 0, "failed": 1, "running": 0, "waiting": 11}
