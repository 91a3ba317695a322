"""Runs: what they write, when they refuse, and that a killed one ends as if nothing had happened."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas360.baselines.folder import RunFolder
from nas360.baselines.run import run
from nas360.baselines.runlog import RunLog
from nas360.baselines.watch import Silent
from nas360.errors import ResultError, RunError, UnknownNameError
from nas360.files import sha256_file
from nas360.loaders.data import SplitRows, TaskData
from nas360.predictions import read_predictions
from nas360.results import SeedRow, check_against_spec, load_result
from nas360.task import SplitName

Toy = Callable[..., TaskData]
KINDS = [(dims, kind) for dims in (1, 2) for kind in ("point", "multilabel", "real", "mask")]


class Notes(Silent):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def row_of(path: Path) -> SeedRow:
    row = load_result(path / "result.json").results[0]
    assert isinstance(row, SeedRow)
    return row


@pytest.mark.parametrize(("dims", "kind"), KINDS)
def test_a_run_of_every_kind(dims: int, kind: str, toy: Toy, tmp_path: Path) -> None:
    data = toy(dims, kind)
    run("wrn", data, out=tmp_path, budget="smoke", device="cpu")
    names = {path.name for path in tmp_path.iterdir()} - {".lock", "checkpoint.previous.pt"}
    assert names == {"predictions.npz", "architecture.json", "result.json", "log.jsonl", "checkpoint.pt"}
    row = row_of(tmp_path)
    assert row.score is not None
    assert check_against_spec(row, data.spec) == []
    assert row.n_evaluated == row.dataset.n == 40
    assert row.predictions is not None
    assert row.predictions.sha256 == sha256_file(tmp_path / "predictions.npz")
    predictions = read_predictions(tmp_path / "predictions.npz")
    assert predictions.ids == tuple(data.rows("test").ids)
    assert row.architecture is not None
    stored = json.loads((tmp_path / "architecture.json").read_text())
    assert stored["architecture"] == row.architecture.genotype
    assert stored["parameters"] == row.architecture.params
    header = RunLog(tmp_path / "log.jsonl").header()
    assert header is not None
    assert header["identity"]["steps"] == row.cost.steps
    assert "AdamW" in row.notes


def test_equal_seeds_give_equal_files_and_other_seeds_others(toy: Toy, tmp_path: Path) -> None:
    data = toy(1, "real")
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run("wrn", data, seed, tmp_path / name, "smoke", "cpu")
    contents = {name: (tmp_path / name / "predictions.npz").read_bytes() for name in "abc"}
    assert contents["a"] == contents["b"] != contents["c"]


def test_full_trains_by_the_recipe(toy: Toy, tmp_path: Path) -> None:
    run("resnet1d", toy(1, "point", train=4), out=tmp_path, budget="full", device="cpu")
    row = row_of(tmp_path)
    # 4 + 16 rows are one batch an epoch
    assert (row.cost.steps, row.cost.epochs, row.budget) == (200, 200.0, "full")
    assert row.notes == "batch 20, all the rows there are, instead of 128"


class Watched(Notes):
    """Notes which rows are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[SplitName, ...]] = []


def watch_rows(data: TaskData, watcher: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record every reading of a split's inputs or targets, but not of its size and ids."""
    plain = data.rows

    class Rows(SplitRows):
        def __init__(self, splits: tuple[SplitName, ...]) -> None:
            rows = plain(*splits)
            super().__init__(rows._parts)
            self.splits = splits

        def column(self, name: str) -> Any:
            if name != "id":
                watcher.asked.append(self.splits)
            return super().column(name)

        def take(self, index: Any) -> Any:
            watcher.asked.append(self.splits)
            return super().take(index)

    monkeypatch.setattr(data, "rows", lambda *splits: Rows(splits))


def test_test_is_not_read_before_the_training_is_over(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, watcher = toy(1, "point"), Watched()
    watch_rows(data, watcher, monkeypatch)

    def report(report: Any) -> None:
        assert all("test" not in splits for splits in watcher.asked)

    monkeypatch.setattr(watcher, "report", report)
    run("wrn", data, out=tmp_path, budget="smoke", device="cpu", watcher=watcher)
    assert ("train", "validation") in watcher.asked
    assert ("test",) in watcher.asked
    rules = load_result(tmp_path / "result.json").rules
    assert rules is not None
    assert rules.val_merged_into_train
    assert row_of(tmp_path).validation_score is None


def test_validate_reads_no_test_at_all(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, watcher = toy(1, "point"), Watched()
    watch_rows(data, watcher, monkeypatch)
    run("wrn", data, out=tmp_path, budget="smoke", device="cpu", watcher=watcher, validate=True)
    assert set(watcher.asked) == {("train",), ("validation",)}
    row = row_of(tmp_path)
    assert row.split == "validation"
    assert row.validation_score == row.score
    logged = [entry["validation"] for entry in RunLog(tmp_path / "log.jsonl").entries()]
    assert logged[-1] == row.score


def test_a_task_that_keeps_validation_out_of_training_gets_a_score_on_it(toy: Toy, tmp_path: Path) -> None:
    data = toy(1, "point")
    spec = data.spec.model_copy(update={"final_training": ("train",)})
    data.task = type(data.task)(spec, data.task.make_loader)
    run("wrn", data, out=tmp_path, budget="smoke", device="cpu")
    row = row_of(tmp_path)
    assert row.split == "test"
    assert row.validation_score is not None


def test_a_finished_run_is_not_repeated(toy: Toy, tmp_path: Path) -> None:
    data, watcher = toy(1, "point"), Notes()
    first = run("wrn", data, out=tmp_path, budget="smoke", device="cpu")
    stamp = (tmp_path / "result.json").stat().st_mtime_ns
    again = run("wrn", data, out=tmp_path, budget="smoke", device="cpu", watcher=watcher)
    assert again.run_id == first.run_id
    assert (tmp_path / "result.json").stat().st_mtime_ns == stamp
    assert "finished; --overwrite repeats it" in watcher.notes[0]
    assert run("wrn", data, out=tmp_path, budget="smoke", device="cpu", overwrite=True).run_id != first.run_id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed is 0 there, 1 was asked for"),
        ({"method": "resnet1d"}, "method is 'wrn' there, 'resnet1d' was asked for"),
        ({"budget": "full"}, r"budget is 'smoke' there, 'full' was asked for(.|\n)*recipe.optimiser.name is 'adamw'"),
        ({"validate": True}, r"scored_on is 'test' there, 'validation' was asked for"),
        ({"data": 1}, "data is '0+' there, '0+1' was asked for"),
    ],
)
def test_a_folder_of_another_run_is_refused_with_the_differences(
    change: dict[str, Any], message: str, toy: Toy, tmp_path: Path
) -> None:
    run("wrn", toy(1, "point"), out=tmp_path, budget="smoke", device="cpu")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    change = dict(change)
    asked = {"method": "wrn", "budget": "smoke", **change, "data": toy(1, "point", seed=change.get("data", 0))}
    with pytest.raises(RunError, match=f"holds another run:(.|\n)*{message}"):
        run(**asked, out=tmp_path, device="cpu", resume=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


class Stopping(Silent):
    """Fails in the middle of the training."""

    def step(self, done: int, total: int, stage: str) -> None:
        if stage == "train" and done == total // 2:
            raise KeyboardInterrupt


def test_an_unfinished_run_wants_to_be_told(toy: Toy, tmp_path: Path) -> None:
    data = toy(1, "point")
    with pytest.raises(KeyboardInterrupt):
        run("wrn", data, out=tmp_path, budget="smoke", device="cpu", watcher=Stopping())
    with pytest.raises(RunError, match=r"unfinished\. Go on with --resume, or begin anew with --overwrite"):
        run("wrn", data, out=tmp_path, budget="smoke", device="cpu")
    run("wrn", data, out=tmp_path, budget="smoke", device="cpu", resume=True)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"result.json": "{}"}, "holds result.json but no log.jsonl"),
        ({"log.jsonl": ""}, "empty, where JSON was expected. The folder holds no run"),
        ({"log.jsonl": "\0\0\n"}, "not JSON(.|\n)*use --overwrite or another --out"),
        ({"log.jsonl": '{"step": 1}\n'}, "is not the log of a run"),
    ],
)
def test_foreign_files_are_not_overwritten_unasked(
    files: dict[str, str], message: str, toy: Toy, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(RunError, match=message):
        run("wrn", toy(1, "point"), out=tmp_path, budget="smoke", device="cpu", resume=True)
    run("wrn", toy(1, "point"), out=tmp_path, budget="smoke", device="cpu", overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_a_damaged_result_is_not_taken_for_one(toy: Toy, tmp_path: Path) -> None:
    run("wrn", toy(1, "point"), out=tmp_path, budget="smoke", device="cpu")
    content = json.loads((tmp_path / "result.json").read_text())
    content["results"][0]["score"] = 12.5
    (tmp_path / "result.json").write_text(json.dumps(content))
    with pytest.raises(ResultError, match="changed after it was written"):
        run("wrn", toy(1, "point"), out=tmp_path, budget="smoke", device="cpu")


def test_what_cannot_be_run(toy: Toy, tmp_path: Path) -> None:
    data = toy(2, "real")
    with pytest.raises(RunError, match="resnet1d cannot run on toy_real_2d: it takes signals"):
        run("resnet1d", data, out=tmp_path)
    with pytest.raises(RunError, match=r"timm:resnet18 cannot run on toy_real_2d.*use wrn"):
        run("timm:resnet18", data, out=tmp_path)
    with pytest.raises(UnknownNameError, match="unknown method 'wren'"):
        run("wren", data, out=tmp_path)
    with pytest.raises(RunError, match="seed -1 is negative"):
        run("wrn", data, -1, tmp_path)
    with pytest.raises(RunError, match="budget 'huge' is none of"):
        run("wrn", data, out=tmp_path, budget="huge")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made or written"):
        run("wrn", data, out=tmp_path / "file", budget="smoke")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_one_process_a_folder(toy: Toy, tmp_path: Path) -> None:
    with RunFolder(tmp_path).locked(), pytest.raises(RunError, match="another process is running in"):
        run("wrn", toy(1, "point"), out=tmp_path, budget="smoke", device="cpu")


CHILD = """
import importlib.util, sys
from nas360.baselines.run import run
spec = importlib.util.spec_from_file_location("toys", sys.argv[1])
toys = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toys)
data = toys.ToyData(1, "real", {"train": 48, "validation": 16, "test": 40})
run("resnet1d", data, out=sys.argv[2], budget="smoke", device="cpu", resume=True, checkpoint_seconds=(0.0, 0.0))
"""


def test_killed_at_random_moments_it_ends_bit_equal(toy: Toy, toy_source: Path, tmp_path: Path) -> None:
    data = toy(1, "real")
    run("resnet1d", data, out=tmp_path / "whole", budget="smoke", device="cpu")
    broken = tmp_path / "broken"
    log = broken / "log.jsonl"
    moments = random.Random(0)
    kills = 0
    for wanted in (1, 4):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(toy_source), str(broken)])
        limit = time.monotonic() + 60
        # kill while it trains, not while Python starts
        while child.poll() is None and time.monotonic() < limit:
            if log.exists() and len(log.read_text().splitlines()) > wanted:
                break
            time.sleep(0.01)
        time.sleep(moments.random() * 0.2)
        child.send_signal(signal.SIGKILL)
        kills += child.wait() == -signal.SIGKILL
    assert kills >= 1, "the run was over before it could be killed"
    result = run("resnet1d", data, out=broken, budget="smoke", device="cpu", resume=True)
    assert (broken / "predictions.npz").read_bytes() == (tmp_path / "whole" / "predictions.npz").read_bytes()
    row, expected = result.results[0], row_of(tmp_path / "whole")
    assert isinstance(row, SeedRow)
    assert row.score == expected.score
    assert not list(broken.glob(".*.tmp.*")), "what a killed writer left is cleared away"
    logs = [
        [{**entry, "seconds": 0} for entry in RunLog(folder / "log.jsonl").entries()]
        for folder in (broken, tmp_path / "whole")
    ]
    assert logs[0] == logs[1]
    np.testing.assert_array_equal(
        read_predictions(broken / "predictions.npz").values, read_predictions(tmp_path / "whole/predictions.npz").values
    )
