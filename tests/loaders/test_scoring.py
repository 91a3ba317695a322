"""Scoring against a task's data, and the constant predictor that every method must beat."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import nas360
from nas360.errors import PredictionsError, UserError
from nas360.evaluate import evaluate, expected_of
from nas360.loaders import TASKS
from nas360.loaders.data import TaskData, load_task
from nas360.loaders.dummy import constant_predictions
from nas360.loaders.scoring import evaluate_predictions, load_references, score_file
from nas360.matching import true_values
from nas360.predictions import Predictions, write_predictions

Repo = Callable[[str], Path]


@dataclass
class FakeRows:
    """Columns in memory, that tell which were read."""

    columns: dict[str, Any]
    read: list[str] = field(default_factory=list)

    @property
    def ids(self) -> Any:
        return self.column("id")

    def column(self, name: str) -> Any:
        self.read.append(name)
        return self.columns[name]


class FakeData:
    """What scoring needs of TaskData, for tasks of every kind of output."""

    provenance = "official"

    def __init__(self, task: str, **columns: Any) -> None:
        self.spec = TASKS[task].spec
        self.splits = {name: FakeRows(self._split(name, columns)) for name in ("train", "test")}
        self.loader = self

    @property
    def columns(self) -> Any:
        from nas360.loaders.base import Column

        return {"y": Column("int64")}

    def _split(self, split: str, columns: dict[str, Any]) -> dict[str, Any]:
        return {"id": np.array([f"{split}-{row}" for row in range(len(columns["y"]))])} | columns

    def rows(self, split: str) -> FakeRows:
        return self.splits[split]


def fake(task: str, **columns: Any) -> tuple[TaskData, FakeData]:
    data = FakeData(task, **columns)
    return cast(TaskData, data), data


@pytest.mark.parametrize("task", TASKS)
def test_the_constant_predictor_is_valid_and_scores(task: str, synthetic_repo: Repo, tmp_path: Path) -> None:
    data = load_task(task, synthetic_repo(task))
    ids, values = constant_predictions(data)
    # maps whose sizes vary hold one value
    ragged = -1 in data.spec.prediction_shape
    assert len({np.unique(one).tobytes() if ragged else np.asarray(one).tobytes() for one in values}) == 1
    write_predictions(tmp_path / "p.npz", ids, values)
    found = evaluate_predictions(tmp_path / "p.npz", task, synthetic_repo(task))
    assert found == nas360.evaluate_predictions(tmp_path / "p.npz", task, synthetic_repo(task))
    assert found == score_file(tmp_path / "p.npz", data)
    assert found.provenance == "synthetic"
    assert found.warnings == ("the data is synthetic: the score does not compare with published ones",)
    assert found.error > 0
    units = data.spec.group or "id"
    assert found.n == len(set(data.rows("test").column(units).tolist()))


@pytest.mark.parametrize("task", TASKS)
def test_the_truth_scores_best(task: str, synthetic_repo: Repo, tmp_path: Path) -> None:
    data = load_task(task, synthetic_repo(task))
    references = load_references(data, "validation")
    truth = true_values(expected_of(data.spec), references.y)
    # maps of halves are not a form of predictions; their values are kept
    values = [np.asarray(one, np.float32) for one in truth] if isinstance(truth, list) else truth
    write_predictions(tmp_path / "p.npz", list(references.ids)[::-1], values[::-1])
    found = score_file(tmp_path / "p.npz", data, "validation")
    assert found.split == "validation"
    # a macro F1 lacks the classes that a small split has not
    assert found.extra["record_error_percent"] == 0 if task == "ecg" else found.error == 0


def test_predictions_of_another_split_are_refused(synthetic_repo: Repo, tmp_path: Path) -> None:
    data = load_task("ecg", synthetic_repo("ecg"))
    write_predictions(tmp_path / "p.npz", *constant_predictions(data, "validation"))
    with pytest.raises(PredictionsError, match="none is known: do they belong to another split or task"):
        score_file(tmp_path / "p.npz", data)


def test_an_unknown_split_is_told(synthetic_repo: Repo) -> None:
    with pytest.raises(UserError, match="unknown split 'val'; known: train, validation, test"):
        load_references(load_task("ecg", synthetic_repo("ecg")), cast(Any, "val"))


def test_model_inputs_are_never_read() -> None:
    data, fakes = fake("ecg", y=np.zeros(4, dtype=int), record_id=np.array(["a", "a", "b", "b"]))
    assert load_references(data).columns.keys() == {"record_id"}
    assert sorted(fakes.splits["test"].read) == ["id", "record_id", "y"]


def test_a_file_larger_than_the_task_can_need_is_not_unpacked(synthetic_repo: Repo, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "p.npz", predictions=np.zeros(70 << 17))
    with pytest.raises(PredictionsError, match="would unpack to 70 MiB, more than the 64 MiB"):
        evaluate_predictions(tmp_path / "p.npz", "ecg", synthetic_repo("ecg"))


def constant_score(data: TaskData) -> tuple[Any, float]:
    ids, values = constant_predictions(data)
    return values, evaluate(Predictions(ids, values), load_references(data), data.spec).score


def test_constant_class_is_the_most_frequent_of_the_units() -> None:
    # by rows class 3 is the most frequent, by records class 1
    y, records = np.array([3, 3, 3, 1, 1, 0]), np.array(["a", "a", "a", "b", "c", "d"])
    values, _ = constant_score(fake("ecg", y=y, record_id=records)[0])
    assert values.tolist() == [1] * 6
    values, score = constant_score(fake("cifar100", y=np.array([7, 7, 2, 2, 50]))[0])
    assert values.tolist() == [2] * 5  # a tie goes to the lowest
    assert score == 60.0


def test_constant_labels_are_their_shares() -> None:
    y = (np.random.default_rng(0).random((40, 36)) < 0.3).astype(np.uint8)
    values, score = constant_score(fake("deepsea", y=y)[0])
    np.testing.assert_allclose(values[0], y.mean(axis=0), rtol=1e-6)
    assert score == 0.5  # every pair ties


def test_constant_maps() -> None:
    y = np.random.default_rng(0).normal(size=(5, 85, 85)).astype(np.float32)
    values, _ = constant_score(fake("darcy_flow", y=y)[0])
    np.testing.assert_allclose(values[3], y.astype(np.float64).mean(axis=0), rtol=1e-6)
    mask = np.random.default_rng(0).random((2, 128, 128)) < 0.2
    values, score = constant_score(fake("cosmic", y=mask, ignore=np.zeros_like(mask))[0])
    assert not values.any()
    assert score == 100.0
    labels = np.array([np.array([0, 3]), np.array([3, 5, 7]), np.array([3])], dtype=object)
    values, _ = constant_score(fake("fsd50k", y=labels)[0])
    assert values.shape == (3, 200)
    assert values[1, [0, 1, 3]].tolist() == [pytest.approx(1 / 3), 0, 1]
    proteins = np.array([np.full((30, 30), 4.0), np.full((40, 40), 8.0)], dtype=object)
    proteins[0][0, 0] = np.nan
    values, score = constant_score(fake("psicov", y=proteins)[0])
    assert [one.shape for one in values] == [(30, 30), (40, 40)]
    assert values[0][0, 0] == values[1][5, 5] == pytest.approx((899 * 4 + 1600 * 8) / 2499)


@pytest.mark.parametrize("task", TASKS)
def test_metric_py_of_the_repository_gives_the_same_number(task: str, synthetic_repo: Repo, tmp_path: Path) -> None:
    repo = synthetic_repo(task)
    write_predictions(tmp_path / "p.npz", *constant_predictions(load_task(task, repo)))
    command = [sys.executable, "-I", str(repo / "metric.py"), str(tmp_path / "p.npz")]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = evaluate_predictions(tmp_path / "p.npz", task, repo)
    assert json.loads(found.stdout) == {"score": expected.score, "n": expected.n} | dict(expected.extra)
