"""A baseline goes the whole way on every task: from its twin to a result file that scores."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from nas360.baselines.method import METHODS
from nas360.baselines.run import run
from nas360.loaders import TASKS
from nas360.loaders.data import load_task
from nas360.predictions import read_predictions
from nas360.results import SeedRow, load_result


@pytest.mark.parametrize("task", TASKS)
def test_two_steps_and_a_score(task: str, tmp_path: Path) -> None:
    data = load_task(task, "synthetic")
    run("wrn", data, out=tmp_path, budget="smoke", device="cpu", max_steps=2)
    (row,) = load_result(tmp_path / "result.json").results
    assert isinstance(row, SeedRow)
    assert row.status == "ok"
    assert row.score is not None and math.isfinite(row.score)
    assert row.dataset.provenance == "synthetic"
    predictions = read_predictions(tmp_path / "predictions.npz")
    assert set(predictions.ids or ()) == set(data.rows("test").ids)


AKIN = ("darts", "darts_random", "wrn_asha")
"""Searches of which another with the same space is run on every task in any case; on all tasks only with `-m slow`."""

SEARCHED = [
    pytest.param(name, task, marks=[pytest.mark.slow] if name in AKIN else [])
    for name, method in METHODS.items()
    if method.search is not None
    for task in TASKS
    if method.supports(TASKS[task].spec)
]


@pytest.mark.parametrize(("name", "task"), SEARCHED)
def test_a_search_goes_the_whole_way_within_the_smallest_budget(name: str, task: str, tmp_path: Path) -> None:
    data = load_task(task, "synthetic")
    run(name, data, out=tmp_path, budget="smoke", device="cpu")
    (row,) = load_result(tmp_path / "result.json").results
    assert isinstance(row, SeedRow)
    assert (row.status, row.budget, row.dataset.provenance) == ("ok", "smoke", "synthetic")
    assert row.score is not None and math.isfinite(row.score)
    assert row.cost.search_seconds and row.cost.train_seconds
    assert set(read_predictions(tmp_path / "predictions.npz").ids or ()) == set(data.rows("test").ids)
