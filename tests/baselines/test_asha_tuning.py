"""Tuning by ASHA: nothing is trained twice, stops change nothing, what must win wins, and budgets are held to."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas360.baselines.algorithms.asha_tuning import AshaTuning
from nas360.baselines.algorithms.base import Arena, Found
from nas360.baselines.algorithms.configuration import architecture_of, optimiser_of
from nas360.baselines.algorithms.trials import Trials
from nas360.baselines.asha.sampling import Choice, SamplingSpace
from nas360.baselines.device import owned_randomness
from nas360.baselines.ends import TaskModel
from nas360.baselines.failure import TrainingError
from nas360.baselines.folder import RunFolder
from nas360.baselines.method import METHODS
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.runlog import RunLog
from nas360.baselines.schedule import MultiStep
from nas360.baselines.spaces.wide_resnet import WideResNetArchitecture
from nas360.baselines.train import Training
from nas360.baselines.watch import Report, Silent
from nas360.errors import RunError
from nas360.loaders.data import TaskData
from nas360.seeding import derive
from nas360.task import TaskSpec

Toy = Callable[..., TaskData]
MakeArena = Callable[..., Arena]
RANGES = METHODS["wrn_asha"].search.algorithm.space  # type: ignore[union-attr]  # it searches
RECIPE = Recipe(Optimiser("sgd", lr=0.1, nesterov=True), epochs=4, batch_size=16, schedule=MultiStep((0.5,), 0.1))
TUNING = AshaTuning(RANGES, trials=9, eta=2)
"""Of a recipe of 4 epochs: rungs after 1, 2 and 4 epochs of 3 steps each, of 9, 4 and 2 trials."""
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


class Watched(Silent):
    """Interrupts before a step is kept; counts the others."""

    def __init__(self, at: int = -1) -> None:
        self.at = at
        self.steps: list[int] = []
        self.notes: list[str] = []
        self.reports: list[Report] = []

    def step(self, done: int, total: int, stage: str) -> None:
        assert stage == "search" and 0 < done <= total
        if done == self.at:
            raise KeyboardInterrupt
        self.steps.append(done)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def report(self, report: Report) -> None:
        self.reports.append(report)


@pytest.fixture
def on(toy: Toy, arena: MakeArena) -> Callable[..., Arena]:
    """`on(folder, at=…, …)` → an arena on the signal toy."""
    data = toy(1, "point")

    def make(folder: Path | None = None, at: int = -1, steps: int = STEPS, **settings: Any) -> Arena:
        made = arena(data, steps, folder=folder, **{"recipe": RECIPE, **settings})
        # as a run has them: the log is beside the folder of the search's state
        if made.keeping is not None:
            checkpoints = replace(made.keeping.checkpoints, folder=made.keeping.checkpoints.folder / "search")
            made = replace(made, keeping=replace(made.keeping, checkpoints=checkpoints))
        return replace(made, watcher=Watched(at))

    return make


On = Callable[..., Arena]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [{**entry, "seconds": 0} for entry in RunLog(folder / "search.jsonl").entries()]


def same(first: Found, second: Found) -> bool:
    return replace(first, seconds=0) == replace(second, seconds=0)


def test_nothing_is_trained_twice(on: On, tmp_path: Path) -> None:
    arena = on(tmp_path)
    found = TUNING.search(SPACE, arena)
    assert STEPS == 51 == found.steps == TUNING.steps(RECIPE, 48)
    assert arena.watcher.steps == list(range(1, STEPS + 1))  # type: ignore[attr-defined]  # ours
    assert [(rung["steps"], rung["trials"]) for rung in found.facts["rungs"]] == [(3, 9), (6, 4), (12, 2)]
    assert not list((tmp_path / "search").glob("trial*")), "nobody goes on with a trial of a search that is over"
    assert [line["step"] for line in lines(tmp_path)][-1] == STEPS
    assert found.seconds > 0
    # and without a folder
    free = on()
    assert same(TUNING.search(SPACE, free), found)
    assert free.watcher.steps == arena.watcher.steps  # type: ignore[attr-defined]  # ours


def test_a_promoted_trial_is_as_if_it_had_never_been_stopped(
    on: On, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[dict[str, Tensor]] = []

    def error(model: nn.Module) -> float:
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        return float(len(states) % 5)

    arena = on(tmp_path, error=error)
    TUNING.search(SPACE, arena)
    logged = lines(tmp_path)
    promoted = [(line, state) for line, state in zip(logged, states, strict=True) if line["rung"] == 2]
    assert len(promoted) == 2
    for line, state in promoted:
        configuration = line["configuration"]
        seed = int(derive(arena.seed, "search", "training", line["candidate"]).integers(2**62))
        with owned_randomness(derive(seed, "init"), arena.device):
            network = SPACE.build(architecture_of(Linear(), configuration), arena.spec)
        recipe = replace(RECIPE, optimiser=optimiser_of(RECIPE.optimiser, configuration))
        whole = Training(
            TaskModel(network, arena.spec, None), arena.spec, arena.rows, arena.preprocessing, recipe, 12, seed,
            arena.device, 100,
        ).run()  # fmt: skip
        assert all(torch.equal(value, state[name]) for name, value in whole.state_dict().items())
        assert line["epoch"] == 4


@pytest.mark.parametrize("at_once", [None, 2])
def test_a_search_that_is_killed_anywhere_ends_as_an_unbroken_one(at_once: int | None, on: On, tmp_path: Path) -> None:
    tuning = replace(TUNING, at_once=at_once)
    steps = tuning.steps(RECIPE, 48) + 20
    expected = tuning.search(SPACE, on(tmp_path / "whole", steps=steps))
    for at in range(1, expected.steps + 1, 3):
        with pytest.raises(KeyboardInterrupt):
            tuning.search(SPACE, on(tmp_path / "cut", at, steps))
    found = tuning.search(SPACE, on(tmp_path / "cut", steps=steps))
    assert same(found, expected)
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    again = on(tmp_path / "cut", steps=steps)
    assert same(tuning.search(SPACE, again), expected)
    assert again.watcher.steps == []  # type: ignore[attr-defined]  # ours


@pytest.mark.parametrize("look", [0, 4, 9, 13])
def test_a_kill_in_an_evaluation_repeats_no_step(look: int, on: On, tmp_path: Path) -> None:
    expected = TUNING.search(SPACE, on(tmp_path / "whole"))
    honest, looks = on(tmp_path / "cut").error, []

    def error(model: nn.Module) -> float:
        looks.append(0)
        if len(looks) == look + 1:
            raise KeyboardInterrupt
        return honest(model)

    first = on(tmp_path / "cut", error=error)
    with pytest.raises(KeyboardInterrupt):
        TUNING.search(SPACE, first)
    second = on(tmp_path / "cut", error=error)
    assert same(TUNING.search(SPACE, second), expected)
    steps = [*first.watcher.steps, *second.watcher.steps]  # type: ignore[attr-defined]  # ours
    assert steps == list(range(1, STEPS + 1))


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def lose_all(search: Path) -> None:
    for folder in search.glob("trial*"):
        shutil.rmtree(folder)


def damage_newest(search: Path) -> None:
    for path in search.glob("trial*/checkpoint.pt"):
        damage(path)


def damage_all(search: Path) -> None:
    for path in search.glob("trial*/*.pt"):
        damage(path)


@pytest.mark.parametrize("harm", [lose_all, damage_newest, damage_all])
def test_a_lost_state_is_trained_again(harm: Callable[[Path], None], on: On, tmp_path: Path) -> None:
    expected = TUNING.search(SPACE, on(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        TUNING.search(SPACE, on(tmp_path / "cut", 30))
    harm(tmp_path / "cut" / "search")
    after = on(tmp_path / "cut")
    assert same(TUNING.search(SPACE, after), expected)
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    notes = after.watcher.notes  # type: ignore[attr-defined]  # ours
    assert any("its state at step 3 is lost; trained again from step" in note for note in notes)
    assert harm is lose_all or any("is damaged" in note for note in notes)


def test_a_journal_that_is_older_than_the_states(on: On, tmp_path: Path) -> None:
    expected = TUNING.search(SPACE, on(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        TUNING.search(SPACE, on(tmp_path / "cut", 5))
    journal = tmp_path / "cut" / "search" / "journal.jsonl"
    old = journal.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        TUNING.search(SPACE, on(tmp_path / "cut", 42))
    journal.write_bytes(old)
    assert same(TUNING.search(SPACE, on(tmp_path / "cut")), expected)
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")


@pytest.mark.parametrize("kept", [0, 3])
def test_a_lost_log_is_written_again(kept: int, on: On, tmp_path: Path) -> None:
    expected = TUNING.search(SPACE, on(tmp_path))
    before = lines(tmp_path)
    log = RunLog(tmp_path / "search.jsonl")
    log.cut(before[kept]["step"] - 1)
    assert len(lines(tmp_path)) == kept
    assert same(TUNING.search(SPACE, on(tmp_path)), expected)
    # here the order of the rungs is that of the search
    assert lines(tmp_path) == before


def diverging(lr: float) -> SamplingSpace:
    return SamplingSpace({"lr": Choice((lr, 0.05)), "momentum": Choice((0.0,))})


def test_a_failure_is_the_worst_and_the_search_goes_on(on: On, tmp_path: Path) -> None:
    tuning = replace(TUNING, space=diverging(1e30))
    found = tuning.search(SPACE, on(tmp_path))
    logged = lines(tmp_path)
    wild = [line for line in logged if line["configuration"]["lr"] == 1e30]
    assert wild and len(wild) == found.facts["failed"]
    assert all(line["validation_error"] is None and "finite" in line["failure"] for line in wild)
    assert {line["rung"] for line in wild} == {0}, "none of them is promoted"
    assert found.facts["configuration"]["lr"] == 0.05
    assert found.optimiser == replace(RECIPE.optimiser, lr=0.05, momentum=0.0, nesterov=False)
    with pytest.raises(TrainingError, match="none of 9 trials could be trained") as caught:
        space = SamplingSpace({"lr": Choice((1e30,))})
        replace(TUNING, space=space).search(SPACE, on(tmp_path / "all"))
    assert caught.value.stage == "search"


def test_what_must_win_is_found(on: On, toy: Toy) -> None:
    data = toy(1, "point")
    rows, labels = data.rows("validation"), torch.from_numpy(np.asarray(data.rows("validation").column("y")))
    inputs = torch.from_numpy(data.preprocessing("train")(rows.take(np.arange(len(rows))), None).x)

    def error(model: nn.Module) -> float:
        with torch.no_grad():
            return float(nn.functional.cross_entropy(model(inputs), labels))

    # too slow, right, and past all bounds
    space = SamplingSpace({"lr": Choice((1e-8, 1e-7, 1e-6, 0.02, 1e4, 1e5)), "dropout": Choice((0.0, 0.99))})
    for seed in range(3):
        arena = on(error=error, seed=seed)
        found = replace(TUNING, space=space).search(SPACE, arena)
        tried = [space.draws(seed).configuration(trial) for trial in range(9)]
        right = {"lr": 0.02, "dropout": 0.0}
        assert right in tried, "the seeds are chosen so"
        assert found.facts["configuration"] == right
        assert found.architecture == Linear(0.0)
        reports: list[Report] = arena.watcher.reports  # type: ignore[attr-defined]  # ours
        assert "lr 0.02, dropout 0" in reports[-1].shown["best"]


def test_the_recipe_as_it_is_may_be_the_first_trial(on: On, tmp_path: Path) -> None:
    tuning = replace(TUNING, default_first=True)
    found = tuning.search(SPACE, on(tmp_path / "first"))
    logged, without = lines(tmp_path / "first"), tmp_path / "drawn"
    TUNING.search(SPACE, on(without))
    own = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "dropout": 0.0}
    assert logged[0]["configuration"] == own
    assert [line["configuration"] for line in logged[1:9]] == [line["configuration"] for line in lines(without)[1:9]]
    assert optimiser_of(RECIPE.optimiser, own) == RECIPE.optimiser
    default, mine = found.facts["default"], [line for line in logged if line["candidate"] == 0]
    assert default["configuration"] == own and default["validation_error"] == mine[-1]["validation_error"]
    there = [line["validation_error"] for line in logged if line["rung"] == mine[-1]["rung"]]
    assert default["best_there"] == min(there) <= default["validation_error"]
    assert found.facts["validation_error"] <= default["validation_error"]
    # a search that was stopped knows it too
    assert same(tuning.search(SPACE, on(tmp_path / "first")), found)
    wild = replace(RECIPE, optimiser=replace(RECIPE.optimiser, lr=1e30))
    lost = tuning.search(SPACE, on(tmp_path / "wild", recipe=wild)).facts["default"]
    assert (lost["validation_error"], lost["best_there"], lost["step"]) == (None, None, 3)


@pytest.mark.parametrize(
    ("optimiser", "momentum", "expected"),
    [
        (RECIPE.optimiser, 0.6, Optimiser("sgd", lr=0.2, momentum=0.6, nesterov=True, weight_decay=0.1)),
        (RECIPE.optimiser, 0.0, Optimiser("sgd", lr=0.2, momentum=0.0, nesterov=False, weight_decay=0.1)),
        (Optimiser("sgd", lr=1.0), 0.6, Optimiser("sgd", lr=0.2, momentum=0.6, weight_decay=0.1)),
        (Optimiser("adamw", lr=1.0), 0.6, Optimiser("adamw", lr=0.2, weight_decay=0.1, betas=(0.6, 0.999))),
    ],
)
def test_what_a_configuration_means(optimiser: Optimiser, momentum: float, expected: Optimiser) -> None:
    configuration = {"lr": 0.2, "momentum": momentum, "weight_decay": 0.1, "dropout": 0.3}
    assert optimiser_of(optimiser, configuration) == expected
    assert architecture_of(WideResNetArchitecture(), configuration) == WideResNetArchitecture(dropout=0.3)
    assert optimiser_of(optimiser, {"dropout": 0.3}) == optimiser
    with pytest.raises(RunError, match="droptou: only lr, momentum, weight_decay, depth, width, dropout can be tuned"):
        architecture_of(WideResNetArchitecture(), {"droptou": 0.3})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0, "eta": 1}, "trials 0, eta 1: eta must be at least 2"),
        ({"shrink": -1}, "shrink -1"),
        ({"at_once": 0}, "at_once 0"),
        ({"mode": "bold"}, "mode 'bold' of ASHA is none of aggressive, standard, conservative"),
    ],
)
def test_nonsense_is_refused(changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        replace(TUNING, **changes)


def test_states_are_not_kept_longer_than_needed(on: On, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[int] = []
    train = Trials.train

    def counted(self: Trials, *arguments: Any) -> Any:
        done = train(self, *arguments)
        alive.append(len(list((tmp_path / "search").glob("trial*"))))
        return done

    monkeypatch.setattr(Trials, "train", counted)
    TUNING.search(SPACE, on(tmp_path))
    assert alive == [*range(1, 10), 4, 4, 4, 4, 2, 1]


def test_the_tuned_training_is_what_is_trained_and_recorded(toy: Toy, tmp_path: Path) -> None:
    from nas360.baselines.run import run
    from nas360.results import load_result

    data, method = toy(1, "point"), METHODS["wrn_asha"]
    assert method.search is not None
    short = replace(RECIPE, epochs=2, batch_size=24)
    tuning = replace(TUNING, trials=2, shrink=2)
    quick = replace(
        method, recipe=lambda spec: short, search=replace(method.search, algorithm=tuning, recipe=lambda spec: short)
    )
    for budget in ("full", "small"):
        folder = tmp_path / budget
        run(quick, data, out=folder, budget=budget, device="cpu", max_steps=None if budget == "full" else 3)
        stored = json.loads((folder / "architecture.json").read_text())
        configuration = stored["search"]["facts"]["configuration"]
        recipe = RunLog(folder / "log.jsonl").header()["identity"]  # type: ignore[index]  # it is there
        tuned = stored["search"]["optimiser"]
        assert (tuned["lr"], tuned["weight_decay"]) == (configuration["lr"], configuration["weight_decay"])
        assert tuned["name"] == ("sgd" if budget == "full" else "adamw")
        assert (tuned["momentum"] if budget == "full" else tuned["betas"][0]) == configuration["momentum"]
        assert stored["architecture"]["dropout"] == configuration["dropout"]
        assert recipe["method"] == "wrn_asha"
        result = load_result(folder / "result.json")
        (row,) = result.results
        assert (result.method.hpo, result.method.search_algorithm) == ("ASHA", "asha")
        assert row.cost.trials == 2  # type: ignore[union-attr]  # a row of a seed
        assert ("tuned: lr" in (row.notes or "")) == (budget == "small")
        assert not list((folder / "search").glob("trial*"))


def test_an_overwritten_run_leaves_nothing_of_its_trials(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for name in ("journal.jsonl", "trial0/checkpoint.pt", "trial12/.checkpoint.pt.tmp.1", "own.txt"):
        path = tmp_path / "search" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    with folder.locked():
        assert not (tmp_path / "search" / "trial12" / ".checkpoint.pt.tmp.1").exists()
        with pytest.raises(RunError, match=r"holds .*journal.jsonl, .*trial.* but no log.jsonl"):
            folder.begin({"identity": {}}, resume=False, overwrite=False)
        folder.clear()
    assert [path.name for path in (tmp_path / "search").iterdir()] == ["own.txt"]
