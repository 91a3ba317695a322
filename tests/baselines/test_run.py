"""Runs: what they write, when they refuse, and that a killed one ends as if nothing had happened."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas360.baselines.failure import TrainingError
from nas360.baselines.folder import RunFolder
from nas360.baselines.method import METHODS
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.record import Outcome, command, make_result
from nas360.baselines.request import Request
from nas360.baselines.run import run
from nas360.baselines.runlog import RunLog
from nas360.baselines.watch import Silent
from nas360.errors import ResultError, RunError, UnknownNameError
from nas360.files import sha256_file
from nas360.loaders.data import SplitRows, TaskData, datasets_root
from nas360.predictions import read_predictions
from nas360.results import Failure, SeedRow, check_against_spec, load_result
from nas360.task import SplitName

Toy = Callable[..., TaskData]
KINDS = [(dims, kind) for dims in (1, 2) for kind in ("point", "multilabel", "real", "mask")]


class Notes(Silent):
    """Keeps the notes, and apart from them what the budget changes."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.changes: list[str] = []

    def note(self, message: str) -> None:
        (self.changes if message.startswith("budget ") else self.notes).append(message)


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


def test_what_a_short_budget_changes_is_said_before_it_is_done(toy: Toy, tmp_path: Path) -> None:
    notes = Notes()
    run("wrn", toy(1, "point"), out=tmp_path, budget="smoke", device="cpu", watcher=notes)
    assert len(notes.changes) == 1
    assert notes.changes[0].startswith("budget smoke: AdamW")
    assert all(change in notes.changes[0] for change in row_of(tmp_path).notes.split(". "))


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
        ({"data": 1}, "data is '[0-9a-f]{64}' there, '[0-9a-f]{64}' was asked for"),
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


def test_the_largest_seed_can_be_stored(toy: Toy, tmp_path: Path) -> None:
    run("wrn", toy(1, "point"), 2**63 - 1, tmp_path, "smoke", "cpu", max_steps=1)
    assert row_of(tmp_path).seed == 2**63 - 1


def again(data: TaskData, out: Path, **settings: Any) -> Any:
    return run("resnet1d", data, out=out, budget="smoke", device="cpu", **settings)


def test_predictions_that_are_not_those_of_the_result_are_told(toy: Toy, tmp_path: Path) -> None:
    data, path = toy(1, "point"), tmp_path / "predictions.npz"
    again(data, tmp_path)
    content = path.read_bytes()
    for fault, message in ((None, "is missing"), (content + b"x", "is not the file that the result was computed from")):
        path.unlink(missing_ok=True)
        if fault is not None:
            path.write_bytes(fault)
        for resume in (False, True):
            with pytest.raises(RunError, match=f"{message}. Put predictions.npz back; or delete result.json and"):
                again(data, tmp_path, resume=resume)
    # the way that the message shows
    (tmp_path / "result.json").unlink()
    again(data, tmp_path, resume=True)
    assert path.read_bytes() == content


@pytest.mark.parametrize("end", [0, 100, -3])
def test_a_result_that_was_cut_short_is_told_with_a_way_out(end: int, toy: Toy, tmp_path: Path) -> None:
    data, path = toy(1, "point"), tmp_path / "result.json"
    again(data, tmp_path, max_steps=1)
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(ResultError, match=r"(not JSON|empty)(.|\n)*or train anew with --overwrite"):
        again(data, tmp_path, max_steps=1, resume=True)
    again(data, tmp_path, max_steps=1, overwrite=True)


class Killed(BaseException):
    """Stands for a kill: nothing between it and the test may answer it."""


@pytest.mark.parametrize("survivors", range(7))
def test_killed_inside_overwrite_another_seed_never_takes_up_what_is_left(
    survivors: int, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy(1, "real")
    again(data, tmp_path / "old", checkpoint_seconds=(0.0, 0.0))
    again(data, tmp_path / "expected", seed=1)
    unlink, left = Path.unlink, [6 - survivors]

    def unlink_some(path: Path, missing_ok: bool = False) -> None:
        if path.parent == tmp_path / "old" and path.suffix in (".pt", ".json", ".npz", ".jsonl"):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink_some)
        if survivors:
            with pytest.raises(Killed):
                again(data, tmp_path / "old", seed=1, overwrite=True)
    if survivors:
        with pytest.raises(RunError, match=r"holds another run:\n  - seed is 0 there, 1 was asked for"):
            again(data, tmp_path / "old", seed=1, resume=True)
    again(data, tmp_path / "old", seed=1, overwrite=True)
    assert (tmp_path / "old/predictions.npz").read_bytes() == (tmp_path / "expected/predictions.npz").read_bytes()


@pytest.mark.parametrize("name", ["result.json", "checkpoint.pt", "checkpoint.previous.pt", "architecture.json"])
def test_a_file_of_a_run_without_its_log_is_not_taken_up(name: str, toy: Toy, tmp_path: Path) -> None:
    data = toy(1, "point")
    again(data, tmp_path, checkpoint_seconds=(0.0, 0.0))
    for path in tmp_path.iterdir():
        if path.name != name:
            path.unlink()
    with pytest.raises(RunError, match=f"holds {name} but no log.jsonl"):
        again(data, tmp_path, seed=1)


def test_a_checkpoint_of_another_run_is_passed_over(toy: Toy, tmp_path: Path) -> None:
    data, watcher = toy(1, "real"), Notes()
    again(data, tmp_path / "other", checkpoint_seconds=(0.0, 0.0))
    again(data, tmp_path / "expected", seed=1)
    with pytest.raises(KeyboardInterrupt):
        again(data, tmp_path / "broken", seed=1, watcher=Stopping())
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        (tmp_path / "broken" / name).write_bytes((tmp_path / "other" / name).read_bytes())
    again(data, tmp_path / "broken", seed=1, resume=True, watcher=watcher)
    assert [note.split(" ", 1)[1] for note in watcher.notes] == ["is of another run and is passed over"] * 2
    assert (tmp_path / "broken/predictions.npz").read_bytes() == (tmp_path / "expected/predictions.npz").read_bytes()


@pytest.mark.parametrize("content", [{"weight": torch.ones(2)}, [1, 2], {"run": "", "state": {}}])
def test_any_other_file_of_torch_is_passed_over(content: Any, toy: Toy, tmp_path: Path) -> None:
    data, watcher = toy(1, "real"), Notes()
    with pytest.raises(KeyboardInterrupt):
        again(data, tmp_path, watcher=Stopping())
    torch.save(content, tmp_path / "checkpoint.pt")
    again(data, tmp_path, resume=True, watcher=watcher)
    assert re.search(r"checkpoint\.pt is (no checkpoint|of another run).* and is passed over", watcher.notes[0])


def test_a_training_that_diverges_is_a_result_too(toy: Toy, tmp_path: Path) -> None:
    data = toy(1, "real")
    wild = replace(
        METHODS["resnet1d"],
        recipe=lambda spec: Recipe(Optimiser("sgd", lr=1e30), epochs=5, batch_size=16),
    )
    with pytest.raises(TrainingError, match="the loss stopped being a finite number"):
        run(wild, data, out=tmp_path, device="cpu")
    row = row_of(tmp_path)
    assert (row.status, row.score, row.predictions, row.n_evaluated) == ("failed", None, None, 0)
    assert check_against_spec(row, data.spec) == []
    assert row.failure is not None
    assert row.failure.stage == "train"
    assert "the loss stopped being a finite number at step" in row.failure.message
    for resume in (False, True):
        with pytest.raises(RunError, match=r"this run, which failed \(stage train\).*--overwrite repeats it"):
            run(wild, data, out=tmp_path, device="cpu", resume=resume)
    with pytest.raises(TrainingError, match="the loss stopped being a finite number"):
        run(wild, data, out=tmp_path, device="cpu", overwrite=True)


def test_the_record_of_a_run_on_the_processor(toy: Toy, tmp_path: Path) -> None:
    result = again(toy(1, "point"), tmp_path, seed=3, validate=True, max_steps=2)
    row = row_of(tmp_path)
    assert (row.cost.gpu_hours, row.cost.steps) == (0.0, 2)
    assert result.environment.torch == torch.__version__
    assert result.environment.deterministic
    assert result.method.command == (
        "nas360 run resnet1d --task toy_point_1d --data toy --seed 3 --budget smoke --device cpu --max-steps 2 "
        "--validate"
    )
    assert row.architecture is not None
    assert row.architecture.id == "ResNet1D-64-128-128" or f"a narrower network, {row.architecture.id} " in row.notes
    assert "Architecture(" not in row.notes


@pytest.mark.parametrize(
    ("source", "revision", "option"),
    [
        ("data/my ecg", None, "--data 'data/my ecg' "),
        ("/home/somebody/ecg", None, "--data ecg "),
        ("nas360/ecg", "a" * 40, f"--data nas360/ecg@{'a' * 40} "),
        (None, None, ""),
    ],
)
def test_the_command_names_the_data_and_no_user(
    source: str | None, revision: str | None, option: str, toy: Toy
) -> None:
    data = toy(1, "point")
    data.source, data.revision = source or str(datasets_root() / data.spec.id), revision
    request = Request(METHODS["wrn"], data, 0, torch.device("cpu"), False)
    shown = command(request, request.plan("smoke", None))
    assert shown == f"nas360 run wrn --task toy_point_1d {option}--seed 0 --budget smoke --device cpu"


def test_hours_of_a_gpu_are_those_of_the_training(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas360.baselines.record.peak_memory_mb", lambda device: None)
    request = Request(METHODS["wrn"], toy(1, "point"), 0, torch.device("cuda", 0), False)
    failure = Failure(stage="train", message="so that no predictions are needed")
    outcome = Outcome(steps=7, train_seconds=1800.0, failure=failure)
    row = make_result(request, request.plan("smoke", None), outcome).results[0]
    assert isinstance(row, SeedRow)
    assert row.cost.gpu_hours == 0.5


def test_what_cannot_be_run(toy: Toy, tmp_path: Path) -> None:
    data = toy(2, "real")
    with pytest.raises(RunError, match="resnet1d cannot run on toy_real_2d: it takes signals"):
        run("resnet1d", data, out=tmp_path)
    with pytest.raises(RunError, match=r"timm:resnet18 cannot run on toy_real_2d.*use wrn"):
        run("timm:resnet18", data, out=tmp_path)
    with pytest.raises(UnknownNameError, match="unknown method 'wren'"):
        run("wren", data, out=tmp_path)
    for seed in (-1, 2**63):
        with pytest.raises(RunError, match=f"seed {seed} is not in the range 0 to"):
            run("wrn", data, seed, tmp_path)
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
