"""ENAS: what is planted is found, its seed owns it, a kill changes nothing, and it looks no more often than it may."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from nas360.baselines.algorithms import enas_search
from nas360.baselines.algorithms.base import Arena, Found, Price
from nas360.baselines.algorithms.controller import ControllerSettings
from nas360.baselines.algorithms.enas import ALIKE, REFERENCE_UPDATE, Enas, PolicyUpdate, Timetable
from nas360.baselines.algorithms.enas_reward import macro_auroc
from nas360.baselines.cost import count_parameters
from nas360.baselines.failure import TrainingError
from nas360.baselines.methods.amber import METHOD
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.runlog import RunLog
from nas360.baselines.search_plan import make_search_plan
from nas360.baselines.spaces.amber_architecture import AmberArchitecture
from nas360.baselines.spaces.amber_layers import AmberLayers
from nas360.baselines.spaces.layered import Child, Layout
from nas360.errors import RunError
from nas360.loaders import TASKS
from nas360.loaders.data import TaskData
from nas360.task import TaskSpec

Toy = Callable[..., TaskData]
MakeArena = Callable[..., Arena]
SMALL = AmberLayers(layers=4)
RECIPE = Recipe(Optimiser("adam", lr=3e-3), epochs=1, batch_size=8)
QUICK = Enas(
    episodes=3,
    samples=5,
    weight_steps=4,
    controller=ControllerSettings(units=8),
    update=PolicyUpdate(lr=0.01, passes=2, batch=4),
    width=2,
)


class ReadOne(nn.Module):
    """One layer whose operations are linear answers to one input channel each; the toy's signal is in channel 0."""

    def __init__(self, spec: TaskSpec) -> None:
        super().__init__()
        channels, length = spec.input_shape
        self.answers = nn.ModuleList(nn.Linear(length, spec.output.channels) for _ in range(channels))
        self.child = Child((0,), ((),))

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(x, [self.child])[0]

    def outputs(self, x: Tensor, children: Sequence[Child]) -> list[Tensor]:
        return [self.answers[child.operations[0]](x[:, child.operations[0]]) for child in children]


class Planted:
    """Architectures are channel numbers."""

    id = "planted"
    layout = Layout(layers=1, operations=2)

    def share(self, spec: TaskSpec, width: int) -> ReadOne:
        return ReadOne(spec)

    def architecture(self, child: Child) -> int:
        return child.operations[0]

    def to_json(self, architecture: int) -> dict[str, Any]:
        return {"channel": architecture}


def test_what_is_planted_is_found_in_four_of_five_seeds(toy: Toy, arena: MakeArena) -> None:
    algorithm = replace(QUICK, episodes=8, samples=6, update=PolicyUpdate(lr=0.03, stop=0.5))
    found = [
        algorithm.search(Planted(), arena(toy(1, "point", train=96), 60, seed, recipe=RECIPE)) for seed in range(5)
    ]
    assert sum(one.architecture == 0 for one in found) >= 4
    # the controller knows it too: nearly all it draws is as good
    assert sum(one.facts["mean_reward"] > one.facts["reward"] - 0.1 for one in found) >= 4
    assert all(one.steps == 60 and one.facts["episodes"] == 8 for one in found)


@pytest.mark.parametrize("kind", ["point", "multilabel"])
def test_a_search_ends_in_a_network(kind: str, toy: Toy, arena: MakeArena) -> None:
    data = toy(1, kind)
    found = QUICK.search(SMALL, arena(data, 20, recipe=RECIPE))
    assert isinstance(found.architecture, AmberArchitecture)
    assert 0 < found.facts["entropy"] <= 1 + 1e-6
    assert 0 <= found.facts["mean_reward"] <= found.facts["reward"] <= 1
    network = SMALL.build(replace(found.architecture, width=2), data.spec)
    assert network(torch.zeros(2, *data.spec.input_shape)).shape == (2, data.spec.output.channels)


def test_a_search_belongs_to_its_seed(toy: Toy, arena: MakeArena) -> None:
    def search(seed: int) -> Found:
        return QUICK.search(SMALL, arena(toy(1, "point"), 16, seed, recipe=RECIPE))

    before = torch.random.get_rng_state()
    first, again, other = search(3), search(3), search(4)
    assert (first.architecture, first.facts) == (again.architecture, again.facts)
    assert first.facts != other.facts
    assert torch.equal(before, torch.random.get_rng_state())


def entries(folder: Path) -> list[dict[str, Any]]:
    return [{**entry, "seconds": 0} for entry in RunLog(folder / "search.jsonl").entries()]


def states(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / "checkpoint.pt", weights_only=True)["state"]
    return state


def assert_same_end(whole: tuple[Path, Found], cut: tuple[Path, Found]) -> None:
    assert cut[1].architecture == whole[1].architecture
    assert cut[1].facts == whole[1].facts
    assert entries(cut[0]) == entries(whole[0])
    first, second = states(whole[0]), states(cut[0])
    for part in ("model", "controller"):
        assert all(torch.equal(first[part][name], second[part][name]) for name in first[part])


@pytest.mark.parametrize("at", [1, 11])  # in the warm-up, in an episode
def test_a_search_killed_at_a_weight_step_ends_as_an_unbroken_one(
    at: int, toy: Toy, arena: MakeArena, tmp_path: Path
) -> None:
    def search(part: str, at: int = -1) -> tuple[Path, Found]:
        folder = tmp_path / part
        return folder, QUICK.search(SMALL, arena(toy(1, "point"), 16, folder=folder, at=at, recipe=RECIPE))

    with pytest.raises(KeyboardInterrupt):
        search("cut", at)
    assert_same_end(search("whole"), search("cut"))


@pytest.mark.parametrize("scored", [1, 8, 19])  # of the first look, of the second, of the last
def test_a_search_killed_while_it_scores_ends_as_an_unbroken_one(
    scored: int, toy: Toy, arena: MakeArena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enas_search, "TOGETHER", 2)
    calls = 0

    def counting(logits: Tensor, labels: Tensor) -> float:
        nonlocal calls
        calls += 1
        if calls == scored:
            raise KeyboardInterrupt
        return macro_auroc(logits, labels)

    def search(part: str) -> tuple[Path, Found]:
        folder = tmp_path / part
        return folder, QUICK.search(SMALL, arena(toy(1, "point"), 16, folder=folder, recipe=RECIPE))

    whole = search("whole")
    monkeypatch.setattr(enas_search, "macro_auroc", counting)
    with pytest.raises(KeyboardInterrupt):
        search("cut")
    assert_same_end(whole, search("cut"))
    # three episodes and the last look, of five each; the part that was cut is scored again, and no other
    assert calls <= 20 + 2


def test_a_finished_search_is_not_repeated(toy: Toy, arena: MakeArena, tmp_path: Path) -> None:
    def search() -> Found:
        return QUICK.search(SMALL, arena(toy(1, "point"), 16, folder=tmp_path, recipe=RECIPE))

    first = search()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enas_search.EnasSearch, "_score", None)
        assert search().facts == first.facts


@pytest.mark.parametrize(("looks", "episodes"), [(1, 0), (2, 1), (4, 3), (50, 3)])
def test_it_looks_no_more_often_than_it_may(
    looks: int, episodes: int, toy: Toy, arena: MakeArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def counting(logits: Tensor, labels: Tensor) -> float:
        seen.append(len(labels))
        return macro_auroc(logits, labels)

    def never(model: nn.Module) -> float:
        raise AssertionError("the reward is its own")

    monkeypatch.setattr(enas_search, "macro_auroc", counting)
    found = QUICK.search(SMALL, arena(toy(1, "point"), 16, recipe=RECIPE, looks=looks, error=never))
    assert found.facts["episodes"] == episodes
    assert found.steps == 16
    assert seen == [16] * (5 * (episodes + 1))  # all validation rows, 5 children a look


def test_rows_of_validation_are_drawn_once(toy: Toy, arena: MakeArena) -> None:
    place = arena(toy(1, "point"), 16, recipe=RECIPE)
    first, again = (enas_search.EnasSearch(replace(QUICK, validation_rows=10), SMALL, place) for _ in range(2))
    rows = np.concatenate(first.looked)
    assert len(set(rows.tolist())) == 10  # of 16
    np.testing.assert_array_equal(rows, np.concatenate(again.looked))
    for more in (17, None):
        search = enas_search.EnasSearch(replace(QUICK, validation_rows=more), SMALL, place)
        assert sorted(np.concatenate(search.looked).tolist()) == list(range(16))


def test_a_look_costs_what_it_takes_of_validation() -> None:
    price = Price(row=1.0, look=2.0, looks=3)
    assert price.of_look(10) == 20
    assert [replace(price, rows=4).of_look(n) for n in (3, 4, 10)] == [6, 8, 8]


# rows of the published training and validation splits, of a tenth, and of some hundreds
@pytest.mark.parametrize(
    ("task", "rows", "validation"),
    [("ecg", 261_740, 15_000), ("ecg", 2_000, 500), ("satellite", 800_000, 100_000), ("satellite", 500, 100)],
)
def test_a_small_budget_is_enough_to_learn_from_ten_looks(task: str, rows: int, validation: int) -> None:
    assert METHOD.search is not None
    spec = TASKS[task].spec
    for budget, steps, looks in (("small", 400, 10), ("smoke", 8, 2)):
        plan = make_search_plan(budget, METHOD.search, METHOD.space, spec, n_train=rows, n_validation=validation)
        assert plan.steps >= steps
        assert plan.looks >= looks


@settings(deadline=None)
@given(steps=st.integers(1, 200), looks=st.integers(1, 30), warm=st.integers(0, 60), episodes=st.integers(1, 20))
def test_every_step_belongs_to_one_stage(steps: int, looks: int, warm: int, episodes: int) -> None:
    count = max(0, min(episodes, looks - 1, steps - min(warm, steps // 4)))
    table = Timetable(steps, min(warm, steps // 4) if count else steps, count)
    stages = [table.episode_of(step) for step in range(steps)]
    assert stages == sorted(stages)
    assert stages.count(-1) == table.warm
    for episode in range(count):
        members = [step for step in range(steps) if stages[step] == episode]
        assert members == list(range(table.begin(episode), table.end(episode)))
        assert abs(len(members) - (steps - table.warm) / count) < 1
    assert not count or table.end(count - 1) == steps


def test_the_published_search_is_as_long_as_published(toy: Toy, arena: MakeArena) -> None:
    spec = TASKS["ecg"].spec
    assert METHOD.search is not None
    algorithm, recipe = METHOD.search.algorithm_for(spec), METHOD.search.recipe_for(spec)
    assert algorithm.steps(recipe, 261_740) == 523 + 300 * 500
    price = algorithm.price(METHOD.space, spec)
    assert price.looks == 301
    assert price.look == pytest.approx(100 * ALIKE * price.row / 3)
    assert price.rows is None
    batches = {task: METHOD.search.recipe_for(TASKS[task].spec).batch_size for task in ("ecg", "satellite", "deepsea")}
    assert batches == {"ecg": 500, "satellite": 2000, "deepsea": 500}
    finals = {task: METHOD.recipe_for(TASKS[task].spec) for task in batches}
    assert [(one.epochs, one.batch_size) for one in finals.values()] == [(100, 512), (100, 1024), (100, 128)]
    assert all(one.optimiser == Optimiser("adam", lr=1e-3, weight_decay=1e-6) for one in finals.values())


def test_the_reference_s_updates_are_a_variant_in_short_searches_too() -> None:
    search = METHOD.variants["reference_update"](METHOD).search
    assert search is not None and METHOD.search is not None
    spec = TASKS["satellite"].spec
    assert search.algorithm_for(spec) == replace(METHOD.search.algorithm, update=REFERENCE_UPDATE)  # type: ignore[type-var]  # it is Enas
    assert search.recipe_for(spec) == METHOD.search.recipe_for(spec)
    for one in search.algorithm.narrower():
        assert (one.update.stop, one.update.decay, one.update.with_present) == (None, 0.0, False)


def test_in_full_the_warm_up_is_an_epoch_and_in_short_a_quarter_at_most(toy: Toy, arena: MakeArena) -> None:
    place = arena(toy(1, "point"), 6 + 3 * 4, recipe=RECIPE)
    assert QUICK.steps(RECIPE, 48) == 6 + 3 * 4
    assert QUICK.timetable(place) == Timetable(18, 6, 3)
    assert QUICK.timetable(replace(place, steps=12)) == Timetable(12, 3, 3)


def test_a_price_counts_and_computes_nothing() -> None:
    spec = TASKS["satellite"].spec
    before = torch.get_rng_state()
    price = QUICK.price(SMALL, spec)
    assert torch.equal(before, torch.get_rng_state())
    assert price == QUICK.price(SMALL, spec)


@pytest.mark.slow
def test_narrower_searches_cost_less_and_less() -> None:
    spec, algorithm = TASKS["satellite"].spec, Enas()
    ladder = [algorithm, *algorithm.narrower()]
    assert len(ladder) > 5
    prices = [one.price(METHOD.space, spec) for one in ladder]
    looks = [price.of_look(100_000) for price in prices]
    for costs in (looks, [price.row + look for price, look in zip(prices, looks, strict=True)]):
        assert costs == sorted(set(costs), reverse=True)
    assert all(one.narrower()[-1] == ladder[-1] for one in ladder[:-1])


def test_size_is_that_of_what_is_learnt() -> None:
    spec = TASKS["satellite"].spec
    before = torch.get_rng_state()
    size = QUICK.size(SMALL, spec)
    assert torch.equal(before, torch.get_rng_state())
    assert size.supernet_parameters == count_parameters(SMALL.share(spec, 2))
    assert size.architecture_parameters["embedding.weight"] == (7, 8)
    assert sum(math.prod(shape) for shape in size.architecture_parameters.values()) == (
        8 + 7 * 8 + (2 * 4 * 8 * 8 + 2 * 4 * 8) + 7 * 8 + 2 * 8 * 8 + 8
    )


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 40), classes=st.integers(2, 5), digits=st.integers(0, 3))
def test_the_reward_is_scikit_learn_s(seed: int, n: int, classes: int, digits: int) -> None:
    rng = np.random.default_rng(seed)
    logits = np.round(rng.normal(size=(n, classes)), digits).astype(np.float32)
    present = rng.random((n, classes)) < 0.4
    defined = [c for c in range(classes) if 0 < present[:, c].sum() < n]
    ours = macro_auroc(torch.from_numpy(logits), torch.from_numpy(present.astype(np.float32)))
    theirs = [roc_auc_score(present[:, c], logits[:, c]) for c in defined]
    assert ours == pytest.approx(np.mean(theirs)) if theirs else math.isnan(ours)
    labels = rng.integers(classes, size=n)
    ours = macro_auroc(torch.from_numpy(logits), torch.from_numpy(labels))
    p = torch.from_numpy(logits).double().log_softmax(dim=1).numpy()
    theirs = [roc_auc_score(labels == c, p[:, c]) for c in range(classes) if 0 < (labels == c).sum() < n]
    assert ours == pytest.approx(np.mean(theirs)) if theirs else math.isnan(ours)


def test_classes_are_compared_by_probability_not_by_logit() -> None:
    # class 0 has the higher logit in the wrong row, but the higher probability in the right one
    logits = torch.tensor([[1.0, -5.0], [3.0, 9.0]])
    assert macro_auroc(logits, torch.tensor([0, 1])) == 1.0


def test_a_search_that_diverges_says_so(toy: Toy, arena: MakeArena) -> None:
    wild = Recipe(Optimiser("sgd", lr=1e38), epochs=1, batch_size=16)
    with pytest.raises(TrainingError, match="Lower the learning rate"):
        QUICK.search(SMALL, arena(toy(1, "point"), 24, recipe=wild))


def test_rows_of_one_class_can_reward_nobody(toy: Toy, arena: MakeArena) -> None:
    with pytest.raises(RunError, match="the 1 validation rows hold no class"):
        replace(QUICK, validation_rows=1).search(SMALL, arena(toy(1, "point"), 16, recipe=RECIPE))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Enas(episodes=0), "episodes 0 of ENAS"),
        (lambda: Enas(width=0), "width 0 of ENAS"),
        (lambda: Enas(validation_rows=0), "validation_rows 0 of ENAS"),
        (lambda: Enas(warmup_epochs=-1), "warm-up -1"),
        (lambda: PolicyUpdate(decay=1.0), "decay 1.0"),
        (lambda: PolicyUpdate(passes=0), "passes 0"),
    ],
)
def test_settings_that_make_no_search(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        make()
