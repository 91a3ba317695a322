"""Estimates: multiply-adds from plans, seconds from finished runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas360.baselines import cost
from nas360.baselines.method import METHODS
from nas360.bench.grid import Cell, Settings
from nas360.bench.price import START_SECONDS, make_clock, rows_of, seconds_left, work_of
from nas360.bench.states import CellState
from nas360.loaders import TASKS

FULL = Settings(budget="full", threads=1)


def cell(method: str = "wrn", task: str = "ecg", seed: int = 0, work: float = 1e9) -> Cell:
    return Cell(method=method, task=task, seed=seed, folder=f"runs/{method}/{task}/seed{seed}", work=work)


def test_a_full_training_costs_its_steps_and_predictions() -> None:
    # Wide ResNet on Darcy Flow by hand: 1,000 rows in training, all steps of all epochs, 100 predictions
    spec, method = TASKS["darcy_flow"].spec, METHODS["wrn"]
    recipe, space = method.recipe_for(spec), method.space
    own = cost.of(lambda: space.build(space.default(spec), spec), spec)
    steps = recipe.epochs * (1000 // recipe.batch_size)
    expected = steps * own.training_step(recipe.batch_size) + own.prediction(100, recipe.batch_size)
    assert work_of("wrn", spec, FULL, rows_of(spec, None)) == expected


def test_a_search_costs_more_than_the_training_alone() -> None:
    spec = TASKS["darcy_flow"].spec
    rows = rows_of(spec, None)
    assert work_of("wrn_asha", spec, FULL, rows) > 2 * work_of("wrn", spec, FULL, rows)


def test_a_short_budget_costs_what_it_may_spend() -> None:
    spec, smoke = TASKS["ecg"].spec, Settings(budget="smoke", threads=1)
    rows = rows_of(spec, None)
    assert work_of("gaea", spec, smoke, rows) == 1.25 * work_of("wrn", spec, smoke, rows)


def test_rows_are_the_official_ones_where_no_data_is_at_hand(tmp_path: Path) -> None:
    spec = TASKS["darcy_flow"].spec
    assert rows_of(spec, tmp_path) == {"train": 900, "validation": 100, "test": 100}


def test_without_finished_runs_the_stated_rate_counts() -> None:
    clock = make_clock([CellState(cell(), "waiting")], rate=1e8)
    assert clock.seconds(cell()) == pytest.approx(10 + START_SECONDS)


def test_finished_runs_tell_how_long_others_take() -> None:
    done = [
        CellState(cell("wrn", "ecg", 0), "done", seconds=30.0),
        CellState(cell("wrn", "ecg", 1), "done", seconds=50.0),
        CellState(cell("gaea", "ecg", 0, 2e9), "done", seconds=20.0),
        CellState(cell("gaea", "ninapro"), "failed", seconds=1e9),
    ]
    clock = make_clock(done, rate=1.0)
    assert clock.seconds(cell("wrn", "ecg", 2)) == pytest.approx(40 + START_SECONDS), "the same on another seed"
    assert clock.seconds(cell("wrn", "ninapro", 0, 2e9)) == pytest.approx(80 + START_SECONDS), "the method's rate"
    assert clock.seconds(cell("amber", "ecg", 0, 4e9)) == pytest.approx(100 + START_SECONDS), "the rate of all"


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=20), st.integers(1, 8))
def test_time_left_is_between_perfect_sharing_and_one_after_the_other(works: list[float], workers: int) -> None:
    states = [CellState(cell(seed=seed, work=work), "waiting") for seed, work in enumerate(works)]
    clock = make_clock([], rate=1e9)
    single = [clock.seconds(state.cell) for state in states]
    left = seconds_left(states, clock, workers)
    assert max(single) <= left * (1 + 1e-9)
    assert sum(single) / workers <= left * (1 + 1e-9)
    assert left <= sum(single) * (1 + 1e-9)
    assert seconds_left([CellState(cell(), "done", seconds=1.0)], clock, workers) == 0
