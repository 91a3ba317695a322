"""The training loop: learns what can be learnt, is bit-equal after an interruption, and stops on nonsense."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas360.baselines import ends
from nas360.baselines.checkpoint import Checkpoints
from nas360.baselines.device import choose_device, owned_randomness
from nas360.baselines.feed import Feed
from nas360.baselines.method import METHODS
from nas360.baselines.predict import predict
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.runlog import RunLog
from nas360.baselines.schedule import Cosine
from nas360.baselines.spaces.wide_resnet import WIDE_RESNET, WideResNetArchitecture
from nas360.baselines.train import Keeping, Training
from nas360.baselines.watch import Report, Silent
from nas360.errors import RunError
from nas360.loaders.base import Batch, OutputScale, Rows
from nas360.loaders.data import TaskData

CPU = torch.device("cpu")
SHORT = Recipe(Optimiser("adamw", lr=0.01), epochs=10, batch_size=16, schedule=Cosine(warmup=0.2))
Toy = Callable[..., TaskData]


def training(data: TaskData, recipe: Recipe = SHORT, steps: int = 40, method: str = "wrn", **settings: Any) -> Training:
    """A training of the method's cheapest network on train."""
    space, preprocessing = METHODS[method].space, data.preprocessing("train")
    architecture = space.narrower(space.default(data.spec))[-1]
    with owned_randomness(np.random.default_rng(0), CPU):
        network = space.build(architecture, data.spec)
    return Training(
        model=ends.TaskModel(network, data.spec, preprocessing.output_scale),
        spec=data.spec,
        rows=data.rows("train"),
        preprocessing=preprocessing,
        recipe=recipe,
        steps=steps,
        device=CPU,
        **{"seed": 0, "report_steps": 5, **settings},
    )


def on_test(model: torch.nn.Module, data: TaskData, batch_size: int = 16) -> np.ndarray[Any, Any]:
    values = predict(model, data.rows("test"), data.preprocessing("train"), data.spec, CPU, batch_size)
    assert isinstance(values, np.ndarray)
    return values


LEARNERS = [
    ("wrn", 1, "point"),
    ("wrn", 2, "multilabel"),
    ("wrn", 1, "real"),
    ("wrn", 2, "real"),
    ("wrn", 2, "mask"),
    ("resnet1d", 1, "point"),
    ("resnet1d", 1, "mask"),
]


@pytest.mark.parametrize(("method", "dims", "kind"), LEARNERS)
def test_a_planted_signal_is_learnt(method: str, dims: int, kind: str, toy: Toy) -> None:
    data = toy(dims, kind, train=160)
    values = on_test(training(data, steps=100, method=method).run(), data)
    y = data.rows("test").column("y")
    if kind == "point":
        assert values.dtype == np.int64
        assert (values == y).mean() > 0.8
    elif kind == "real":
        assert values.shape == y.shape
        # values are in the task's unit, 10 ± 5
        assert np.abs(values - y).mean() < 1.5
    else:
        assert values.shape == y.shape
        assert values.min() >= 0
        assert values.max() <= 1
        assert ((values > 0.5) == (y > 0.5)).mean() > 0.8


def states_equal(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    one, two = first.state_dict(), second.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


class Interrupted(Exception):
    """Stands for a kill."""


class Interrupter(Silent):
    """Interrupts after a step."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def step(self, done: int, total: int, stage: str) -> None:
        if done == self.at:
            raise Interrupted


def keeping(folder: Path) -> Keeping:
    """Writes after every step."""
    return Keeping(Checkpoints(folder), RunLog(folder / "log.jsonl"), epoch_seconds=0.0, step_seconds=0.0)


def reports(folder: Path) -> list[dict[str, Any]]:
    return [{**entry, "seconds": 0} for entry in RunLog(folder / "log.jsonl").entries()]


@pytest.mark.parametrize(
    "recipe",
    [
        SHORT,
        replace(SHORT, optimiser=Optimiser("sgd", lr=0.05, nesterov=True, weight_decay=5e-4), clip_norm=1.0),
        replace(SHORT, ema_decay=0.9, label_smoothing=0.1),
    ],
    ids=["adamw", "sgd clipped", "average"],
)
@pytest.mark.parametrize("dims", [1, 2])
def test_an_interrupted_training_ends_bit_equal(recipe: Recipe, dims: int, toy: Toy, tmp_path: Path) -> None:
    data = toy(dims, "point")
    folders = [tmp_path / "whole", tmp_path / "broken"]
    for folder in folders:
        RunLog(folder / "log.jsonl").start({"identity": {}})
    whole = training(data, recipe, steps=20, keeping=keeping(folders[0]))
    expected = whole.run()
    for at in (4, 11, 12):
        with pytest.raises(Interrupted):
            training(data, recipe, steps=20, keeping=keeping(folders[1]), watcher=Interrupter(at)).run()
    # a kill can cut a line of the log short
    with (folders[1] / "log.jsonl").open("a") as stream:
        stream.write('{"step": 15, "lo')
    watcher = Interrupter(-1)
    found = training(data, recipe, steps=20, keeping=keeping(folders[1]), watcher=watcher).run()
    assert watcher.notes == ["taken up at step 11 of 20"]
    assert states_equal(expected, found)
    assert np.array_equal(on_test(expected, data), on_test(found, data))
    assert reports(folders[0]) == reports(folders[1])
    assert [entry["step"] for entry in reports(folders[1])] == [5, 10, 15, 20]


def test_dropout_s_draws_are_taken_up_too(toy: Toy, tmp_path: Path) -> None:
    data = toy(1, "point")

    def make(watcher: Silent | None = None, keep: Keeping | None = None) -> Training:
        made = training(data, steps=8, watcher=watcher, keeping=keep)
        with owned_randomness(np.random.default_rng(0), CPU):
            network = WIDE_RESNET.build(WideResNetArchitecture(width=1, dropout=0.5), data.spec)
        return replace(made, model=ends.TaskModel(network, data.spec))

    expected = make().run()
    RunLog(tmp_path / "log.jsonl").start({"identity": {}})
    with pytest.raises(Interrupted):
        make(Interrupter(5), keeping(tmp_path)).run()
    assert states_equal(expected, make(None, keeping(tmp_path)).run())


class Counting(Silent):
    """Counts steps."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.notes: list[str] = []

    def step(self, done: int, total: int, stage: str) -> None:
        self.steps.append(done)

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_a_training_that_stops_on_the_way_ends_as_one_that_does_not(toy: Toy, tmp_path: Path) -> None:
    data, watcher = toy(1, "point"), Counting()
    recipe = replace(SHORT, ema_decay=0.9)

    def make(**settings: Any) -> Training:
        made = training(data, recipe, steps=12, **settings)
        with owned_randomness(np.random.default_rng(0), CPU):
            network = WIDE_RESNET.build(WideResNetArchitecture(width=1, dropout=0.5), data.spec)
        return replace(made, model=ends.TaskModel(network, data.spec))

    expected = make().run()
    # nothing but the end of each part is kept
    part = Keeping(Checkpoints(tmp_path), None, 1e9, 1e9)
    for until in (2, 2, 7, 12):
        found = make(keeping=part, watcher=watcher).run(until)
        state, _ = part.checkpoints.load(CPU)
        assert state is not None and state["step"] == until
    assert states_equal(expected, found)
    assert watcher.steps == list(range(1, 13)), "nothing is trained twice"
    # a state of later is no state to stop earlier in
    earlier = make(keeping=part, watcher=watcher).run(7)
    assert "is of step 12, past step 7: trained anew" in watcher.notes[-1]
    fresh = make(keeping=replace(part, checkpoints=Checkpoints(tmp_path / "fresh"))).run(7)
    assert states_equal(earlier, fresh)


def test_where_a_training_cannot_stop(toy: Toy, tmp_path: Path) -> None:
    data = toy(1, "point")
    for until in (-1, 5):
        with pytest.raises(RunError, match=f"cannot stop at step {until}: it is at 0 and has 4"):
            training(data, steps=4, keeping=Keeping(Checkpoints(tmp_path), None)).run(until)
    with pytest.raises(RunError, match="keeps nothing was to stop at step 3"):
        training(data, steps=4).run(3)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(toy: Toy, tmp_path: Path) -> None:
    data = toy(1, "point")
    expected = training(data, steps=10).run()
    RunLog(tmp_path / "log.jsonl").start({"identity": {}})
    with pytest.raises(Interrupted):
        training(data, steps=10, keeping=keeping(tmp_path), watcher=Interrupter(6)).run()
    store = Checkpoints(tmp_path)
    content = store.path.read_bytes()
    middle = len(content) // 2
    for damaged in (content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :], b""):
        store.path.write_bytes(damaged)
        state, warnings = store.load(CPU)
        assert state is not None
        assert state["step"] == 4
        assert "is damaged" in warnings[0]
    watcher = Interrupter(-1)
    found = training(data, steps=10, keeping=keeping(tmp_path), watcher=watcher).run()
    assert "is damaged" in watcher.notes[0]
    assert watcher.notes[1] == "taken up at step 4 of 10"
    assert states_equal(expected, found)


def test_any_flipped_byte_of_a_checkpoint_s_tensors_is_seen(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    weight = torch.arange(64, dtype=torch.float32)
    store.save({"weight": weight})
    content = store.path.read_bytes()
    start = content.index(weight.numpy().tobytes())
    for place in range(start, start + 256, 17):
        store.path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        assert store.load(CPU)[0] is None
    for size in (0, 1, len(content) // 2, len(content) - 1):
        store.path.write_bytes(content[:size])
        assert store.load(CPU)[0] is None


def test_training_leaves_the_global_generator_alone(toy: Toy) -> None:
    before = torch.get_rng_state()
    training(toy(1, "point"), steps=3).run()
    assert torch.equal(torch.get_rng_state(), before)


def test_other_seeds_and_other_orders_give_other_weights(toy: Toy) -> None:
    data = toy(1, "point")
    assert states_equal(training(data, steps=5).run(), training(data, steps=5).run())
    assert not states_equal(training(data, steps=5).run(), training(data, steps=5, seed=1).run())


class Spoiled:
    """Preprocessing that gives NaN from some row on."""

    output_scale: OutputScale | None = None

    def __call__(self, rows: Rows, rng: np.random.Generator | None) -> Batch:
        x = np.array(rows["x"])
        x[rows["y"] == 0] = np.nan
        return Batch(x, rows["y"])


def test_a_loss_that_is_not_finite_stops_the_training(toy: Toy, tmp_path: Path) -> None:
    made = replace(training(toy(1, "point"), steps=10), preprocessing=Spoiled())
    with pytest.raises(RunError, match=r"finite number at step 1 of 10 \(epoch 0.00, learning rate .*NaN in the data"):
        made.run()
    log = RunLog(tmp_path / "log.jsonl")
    log.start({"identity": {}})
    mad = replace(SHORT, optimiser=Optimiser("sgd", lr=1e30))
    with pytest.raises(RunError, match="Lower the recipe's learning rate"):
        training(toy(1, "real"), mad, steps=10, keeping=keeping(tmp_path)).run()
    state, _ = Checkpoints(tmp_path).load(CPU)
    assert state is None or bool(state["sum"].isfinite()), "a spoiled state must not be kept"


def test_outputs_that_are_not_finite_are_no_predictions(toy: Toy) -> None:
    data = toy(1, "real")
    made = training(data, steps=1)
    with torch.no_grad():
        made.model.get_parameter("network.head.bias").fill_(float("nan"))
    with pytest.raises(RunError, match="outputs that are not finite"):
        on_test(made.model, data)


def test_predictions_do_not_hang_on_the_batch_size(toy: Toy) -> None:
    data = toy(2, "real")
    model = training(data, steps=5).run()
    np.testing.assert_allclose(on_test(model, data, 40), on_test(model, data, 7), rtol=1e-5, atol=1e-5)


def test_an_epoch_visits_every_row_once(toy: Toy) -> None:
    data = toy(1, "point", train=50)
    feed = Feed(data.rows("train"), data.preprocessing("train"), 8, seed=3)
    assert feed.steps_per_epoch == 6
    batches = list(feed.steps(0, 12))
    first = np.concatenate([batch.x[:, 1, 0] for batch in batches[:6]])
    assert len(np.unique(first.round(1))) > 20
    ids = data.rows("train").column("x")
    seen = [np.abs(ids[:, 1] - batch.x[:, None, 1][row]).mean(axis=1).argmin() for batch in batches for row in range(8)]
    assert len(set(seen[:48])) == 48
    assert len(set(seen[48:])) == 48
    assert seen[:48] != seen[48:]
    # a step's batch does not hang on where the feed began
    np.testing.assert_array_equal(next(feed.steps(9, 12)).x, batches[9].x)


class Recorder(Silent):
    """Keeps the reports."""

    def __init__(self) -> None:
        self.reports: list[Report] = []

    def report(self, report: Report) -> None:
        self.reports.append(report)


def test_reports_and_validation(toy: Toy) -> None:
    recorder, calls = Recorder(), []

    def validate(model: torch.nn.Module) -> float:
        assert not model.training
        calls.append(1)
        return 0.25

    training(toy(1, "point"), steps=12, watcher=recorder, validate=validate).run()
    assert [report.step for report in recorder.reports] == [5, 10, 12]
    assert all(report.validation == 0.25 for report in recorder.reports)
    assert len(calls) == 3
    assert recorder.reports[-1].epoch == 4.0


def test_validation_changes_nothing(toy: Toy) -> None:
    data = toy(1, "point")
    plain = training(data, steps=12).run()
    validated = training(data, steps=12, validate=lambda model: float(on_test(model, data).mean())).run()
    assert states_equal(plain, validated)


def test_masked_positions_teach_nothing(toy: Toy) -> None:
    data = toy(2, "mask")
    columns = data.rows("train").take(np.arange(48))
    spoilt = {**columns, "y": np.where(columns["ignore"] > 0, 1 - columns["y"], columns["y"]).astype(np.float32)}
    made = training(data, steps=5)
    other = replace(
        training(data, steps=5), rows=type(made.rows)([{name: np.asarray(v) for name, v in spoilt.items()}])
    )
    assert states_equal(made.run(), other.run())


def test_bfloat16_stays_near_float32(toy: Toy) -> None:
    data = toy(2, "point", train=160)
    exact = training(data, steps=25).run()
    coarse = training(data, replace(SHORT, precision="bfloat16"), steps=25).run()
    assert (on_test(exact, data) == on_test(coarse, data)).mean() > 0.8


def test_devices() -> None:
    assert choose_device("cpu") == CPU
    with pytest.raises(RunError, match="device 'gpu' is none of auto, cpu, cuda"):
        choose_device("gpu")
    if torch.cuda.is_available():
        assert choose_device("auto").type == choose_device("cuda").type == "cuda"
    else:
        assert choose_device("auto") == CPU
        with pytest.raises(RunError, match="--device cuda was asked for, but torch"):
            choose_device("cuda")


def test_log_lines_are_strict_json(toy: Toy, tmp_path: Path) -> None:
    RunLog(tmp_path / "log.jsonl").start({"identity": {}})
    training(toy(1, "point"), steps=5, keeping=keeping(tmp_path)).run()
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert set(json.loads(lines[1])) == {"step", "epoch", "loss", "lr", "validation", "seconds"}


def test_a_checkpoint_that_finds_no_room_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"step": 1})

    def full(*_: object) -> None:
        raise RuntimeError("unexpected pos 88064 vs 87952")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(RunError, match=r"could not be written, most likely for want of space .*go on with --resume"):
        checkpoints.save({"step": 2})
    state, _ = checkpoints.load(torch.device("cpu"))
    assert state == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
