"""The search of DenseNAS: who sees which rows, what moves when, resumption to the bit; and the methods' settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas360.baselines import cost, ends
from nas360.baselines.algorithms.alternating import Alternation
from nas360.baselines.algorithms.base import Arena, Found
from nas360.baselines.algorithms.dense_nas import DenseNas
from nas360.baselines.algorithms.entropy import entropies
from nas360.baselines.checkpoint import Checkpoints
from nas360.baselines.failure import TrainingError
from nas360.baselines.feed import Tensors
from nas360.baselines.method import Method, get_method
from nas360.baselines.methods import densenas, densenas_random
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.runlog import RunLog
from nas360.baselines.search_plan import make_search_plan
from nas360.baselines.spaces.dense_block import DenseBlock
from nas360.baselines.spaces.dense_block_architecture import DenseBlockArchitecture
from nas360.baselines.spaces.dense_block_supernet import DenseBlockSupernet
from nas360.baselines.spaces.dense_block_table import Stage, Table, Trim
from nas360.baselines.watch import Report, Silent
from nas360.errors import RunError, UnknownNameError
from nas360.loaders import TASKS
from nas360.loaders.base import OutputScale
from nas360.loaders.data import TaskData
from nas360.task import TaskSpec

Toy = Callable[..., TaskData]
Place = Callable[..., Arena]
SpecOf = Callable[[int, str], TaskSpec]
RECIPE = Recipe(Optimiser("sgd", lr=0.05, momentum=0.9), epochs=1, batch_size=16)
FAST = DenseNas(warmup=0.25, lr_alpha=0.05, lr_beta=0.02)


@dataclass
class Listener(Silent):
    """Keeps reports."""

    reports: list[Report] = field(default_factory=list)

    def report(self, report: Report) -> None:
        self.reports.append(report)


def space(spec: TaskSpec) -> DenseBlock:
    stride = 1 if ends.is_dense(spec) else 2
    return DenseBlock(tables={spec.id: Table(3, (Stage((4, 5), 1), Stage((6, 8), 2, stride)))})


@pytest.fixture
def place(arena: Place) -> Place:
    """`place(data, steps, ...)` → Arena with four looks; see `arena` for the rest."""

    def make(data: TaskData, steps: int = 8, **options: Any) -> Arena:
        batch = data.preprocessing("train")(data.rows("validation").take(np.arange(8)), None)

        def error(model: nn.Module) -> float:
            assert not model.training
            with torch.no_grad():
                return float(model(torch.from_numpy(batch.x)).float().square().mean())

        return arena(data, steps, error=error, looks=4, **{"recipe": RECIPE, **options})

    return make


@pytest.mark.parametrize(("dims", "kind"), [(1, "point"), (2, "multilabel"), (2, "real"), (1, "mask")])
def test_a_search_ends_in_a_network(dims: int, kind: str, toy: Toy, place: Place) -> None:
    data, watcher = toy(dims, kind), Listener()
    own = space(data.spec)
    found = FAST.search(own, replace(place(data), watcher=watcher))
    assert isinstance(found.architecture, DenseBlockArchitecture)
    assert own.build(found.architecture, data.spec)(torch.zeros(2, *data.spec.input_shape)).shape[0] == 2
    assert found.steps == 8
    assert found.facts["expected_macs"] > 0
    assert [report.step for report in watcher.reports] == [2, 4, 6, 8]
    assert watcher.reports[-1].shown["architecture"] == str(found.architecture)
    assert watcher.reports[-1].stage == "search"


@pytest.mark.parametrize("at", [1, 3, 7])
def test_a_killed_search_ends_as_an_unbroken_one(at: int, toy: Toy, place: Place, tmp_path: Path) -> None:
    data = toy(2, "point")
    own = space(data.spec)
    states = []
    whole = FAST.search(own, place(data, folder=tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        FAST.search(own, place(data, folder=tmp_path / "cut", at=at))
    resumed = FAST.search(own, place(data, folder=tmp_path / "cut"))
    assert (resumed.architecture, resumed.facts) == (whole.architecture, whole.facts)
    for part in ("whole", "cut"):
        state, _ = Checkpoints(tmp_path / part).load(torch.device("cpu"))
        assert state is not None
        states.append(flat({**state, "seconds": 0}))
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]) if isinstance(value, Tensor) else value == states[1][name], name
    logs = [
        [{**entry, "seconds": 0} for entry in RunLog(tmp_path / part / "search.jsonl").entries()]
        for part in ("whole", "cut")
    ]
    assert len(logs[0]) == 4
    assert logs[0] == logs[1]


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """The leaves of nested dicts and lists by their path."""
    if isinstance(value, dict):
        return {name: leaf for key, member in value.items() for name, leaf in flat(member, f"{path}/{key}").items()}
    if isinstance(value, list):
        return flat(dict(enumerate(value)), path)
    return {path: value}


def test_a_search_belongs_to_its_seed_and_leaves_torchs_generator(toy: Toy, place: Place) -> None:
    def search(seed: int) -> Found:
        data = toy(1, "point")
        return FAST.search(space(data.spec), place(data, seed=seed))

    before = torch.random.get_rng_state()
    first, again, other = search(3), search(3), search(4)
    assert first.facts == again.facts
    assert first.facts != other.facts
    assert torch.equal(before, torch.random.get_rng_state())


@dataclass(frozen=True)
class Spy(DenseNas):
    """A search that says which supernet it works on, and what it is asked."""

    seen: list[Any] = field(default_factory=list, compare=False)

    def _supernet(self, space: Any, spec: TaskSpec) -> Any:
        supernet = super()._supernet(space, spec)
        self.seen.append(supernet)
        return supernet


def test_architecture_rows_are_held_out_in_every_epoch(toy: Toy, place: Place) -> None:
    data = toy(1, "point", train=50)
    seen: dict[str, set[float]] = {"weights": set(), "architecture": set()}

    class Listening(DenseBlockSupernet):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                seen["architecture" if self.choices is None else "weights"].update(x[:, 1, 0].tolist())
            return super().forward(x)

    class Own(DenseBlock):
        def supernet(self, spec: TaskSpec, trim: Trim, temperature: float) -> DenseBlockSupernet:
            return Listening(spec, self.table(spec), trim, temperature)

    # without augmentation a value names its row
    class Bare:
        output_scale: OutputScale | None = None

        def __call__(self, rows: Any, rng: Any) -> Any:
            return data.preprocessing("train")(rows, None)

    bare = replace(place(data, 12, recipe=replace(RECIPE, batch_size=10)), preprocessing=Bare())
    FAST.search(Own(tables=space(data.spec).tables), bare)
    assert not seen["weights"] & seen["architecture"]
    assert (len(seen["weights"]), len(seen["architecture"])) == (40, 10)


def steps_of(data: TaskData, arena: Arena, algorithm: DenseNas, step: int) -> tuple[Alternation, Tensors]:
    """A search about to do its first step as if it were number `step`, and a batch."""
    torch.manual_seed(0)
    own = space(data.spec)
    supernet = own.supernet(data.spec, Trim(), 0.9)
    search = Alternation(own, arena, supernet, algorithm.turns(supernet))
    search.progress.step = step
    batch = next(search.weight_feed.steps(0, 1))
    return search, Tensors(torch.from_numpy(batch.x), torch.from_numpy(batch.y), None)


def test_a_weight_step_moves_what_was_drawn_and_nothing_else(toy: Toy, place: Place) -> None:
    data = toy(1, "point")
    search, batch = steps_of(data, place(data), FAST, step=0)
    supernet = search.supernet
    before = {name: value.clone() for name, value in supernet.named_parameters()}
    search.turn(batch, None)
    moved = {name for name, value in supernet.named_parameters() if not torch.equal(value, before[name])}
    layers = [f"layers.{block}.{n}." for block in range(4) for n in range((1, 1, 2, 2)[block])]
    assert supernet.choices is not None and 0 < sum(supernet.choices) < 6
    for prefix, there in zip(layers, supernet.choices, strict=True):
        assert any(name.startswith(prefix) for name in moved) is there
    assert not moved & {"alpha", "beta"}
    assert all(name in moved for name in before if name.startswith(("heads", "stem", "classifiers")))


def test_an_architecture_step_moves_each_group_at_its_own_rate(toy: Toy, place: Place) -> None:
    data = toy(1, "point")
    search, batch = steps_of(data, place(data), replace(FAST, lr_alpha=0.05, lr_beta=0.02), step=4)
    before = {name: value.detach().clone() for name, value in search.supernet.named_parameters()}
    search.architecture_step(batch, batch)
    for name, value in search.supernet.named_parameters():
        if name not in ("alpha", "beta"):
            assert torch.equal(value, before[name])
    # Adam's first step is its learning rate wherever there is a gradient
    moves = {name: (getattr(search.supernet, name) - before[name]).abs() for name in ("alpha", "beta")}
    np.testing.assert_allclose(moves["alpha"].detach(), 0.05, rtol=1e-3)
    several = [
        n for n, edge in enumerate(search.supernet.table.edges) if len(search.supernet.leaving[edge.source + 1]) > 1
    ]
    np.testing.assert_allclose(moves["beta"].detach()[several], 0.02, rtol=1e-3)


def test_warm_up_leaves_the_architecture_alone_and_draws_uniformly(toy: Toy, place: Place) -> None:
    data = toy(1, "point")
    spy = Spy(warmup=1.0, lr_alpha=1.0)
    FAST_again = replace(spy, warmup=0.5)
    spy.search(space(data.spec), place(data))
    start = spy.seen[-1].alpha.detach().clone()
    assert float(start.abs().max()) < 0.01
    FAST_again.search(space(data.spec), place(data))
    assert float(FAST_again.seen[-1].alpha.detach().abs().min()) > 0.1
    drawn: list[bool] = []

    class Own(DenseBlockSupernet):
        def draw(self, *, uniform: bool) -> None:
            drawn.append(uniform)
            super().draw(uniform=uniform)

    @dataclass(frozen=True)
    class OwnSpace(DenseBlock):
        def supernet(self, spec: TaskSpec, trim: Trim, temperature: float) -> DenseBlockSupernet:
            return Own(spec, self.table(spec), trim, temperature)

    FAST.search(OwnSpace(tables=space(data.spec).tables), place(data))
    assert drawn == [True] * 2 + [False] * 6


def test_a_short_search_at_the_pace_of_a_whole_one_moves_the_architecture(toy: Toy, place: Place) -> None:
    data, moves = toy(1, "point"), []
    still = Spy(warmup=0.25)
    for one in (still, still.paced(steps=16, whole=1600)):
        one.search(space(data.spec), place(data, 16))
        moves.append(float((still.seen[-1].mixture()["alpha"] - 0.5).abs().mean()))
    assert moves[0] < 0.003
    assert moves[1] > 0.02


@pytest.mark.parametrize("task", ["cifar100", "ninapro", "ecg"])
def test_a_small_budget_lets_the_architecture_go_as_far_as_the_full_one(task: str) -> None:
    spec, method = TASKS[task].spec, densenas.METHOD
    assert method.search is not None
    full, small, short = (
        make_search_plan(
            budget, method.search, method.space, spec, n_train=n, n_validation=100, max_steps=most
        )
        for budget, n, most in (("full", spec.splits["train"], None), ("small", 2000, None), ("small", 2000, 200))
    )  # fmt: skip
    far = 3e-4 * (method.search.algorithm_for(spec).steps(full.recipe, spec.rows.get("train", spec.splits["train"])))
    for plan in (small, short):
        rates = vars(plan.algorithm)["lr_alpha"], vars(plan.algorithm)["lr_beta"]
        assert rates == pytest.approx([max(3e-4, min(far / plan.steps, 0.03))] * 2, rel=0.01)
        said = f"search: lr_alpha {rates[0]} instead of 0.0003" in plan.changes
        assert said is (rates[0] > 3e-4)
    assert vars(full.algorithm)["lr_alpha"] == 3e-4


def test_a_search_that_diverges_says_so(toy: Toy, place: Place) -> None:
    data = toy(1, "point")
    wild = Recipe(Optimiser("sgd", lr=1e38), epochs=1, batch_size=16)
    with pytest.raises(TrainingError, match=r"stopped being finite by step .* Lower the learning rate"):
        FAST.search(space(data.spec), place(data, recipe=wild))


@pytest.mark.parametrize("size", [2, 3])
def test_batches_of_one_row_that_come_down_to_one_position_are_refused(size: int, toy: Toy, place: Place) -> None:
    data = toy(1, "point")
    short = replace(place(data, recipe=replace(RECIPE, batch_size=4)), spec=narrow(data.spec, size))
    own = DenseBlock(tables={data.spec.id: Table(3, (Stage((4, 5), 1, 2), Stage((6, 8), 2)))})

    class Narrow:
        output_scale: OutputScale | None = None

        def __call__(self, rows: Any, rng: Any) -> Any:
            batch = data.preprocessing("train")(rows, rng)
            return replace(batch, x=batch.x[..., :size].copy())

    def error(model: nn.Module) -> float:
        return 0.5

    short = replace(short, preprocessing=Narrow(), error=error)
    if size == 3:
        # two positions are left, which is enough
        assert FAST.search(own, short).steps == 8
        return
    with pytest.raises(RunError, match=r"48 training rows leave batches of 4 for the weights and of 1 .* one position"):
        FAST.search(own, short)


def narrow(spec: TaskSpec, size: int) -> TaskSpec:
    """The task on so many positions."""
    return spec.model_copy(update={"input_shape": (*spec.input_shape[:-1], size)})


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(RunError, match=r"warm-up 1.5 is not a share"):
        DenseNas(warmup=1.5)
    with pytest.raises(RunError, match="base 1 and charge"):
        DenseNas(cost_base=1)


def test_entropy_is_1_for_equal_chances_and_0_for_certainty(toy: Toy) -> None:
    supernet = space(toy(1, "point").spec).supernet(toy(1, "point").spec, Trim(), 0.9)
    with torch.no_grad():
        supernet.alpha.zero_()
        supernet.beta.copy_(torch.linspace(0, 1000, len(supernet.beta)))
    assert entropies(supernet) == {"alpha": pytest.approx(1), "beta": pytest.approx(0, abs=1e-6)}


@pytest.mark.parametrize(("dims", "kind"), [(1, "point"), (2, "real")])
def test_price_and_size_come_from_shapes(dims: int, kind: str, spec_of: SpecOf) -> None:
    spec = spec_of(dims, kind)
    before = torch.get_rng_state()
    price, size = FAST.price(space(spec), spec), FAST.size(space(spec), spec)
    assert torch.equal(before, torch.get_rng_state())
    supernet = space(spec).supernet(spec, Trim(), 0.9)
    assert price.look == pytest.approx(cost.measure(ends.TaskModel(supernet, spec), spec).work, rel=0.05)
    # half of a weight step's layers are drawn, and the architecture's step has a quarter of the rows
    assert 3 * 0.5 * price.look < price.row < (3 + 0.5) * price.look
    assert size.architecture_parameters == {"alpha": (6, 2), "beta": (len(supernet.table.edges),)}
    assert size.supernet_parameters == cost.count_parameters(supernet) - 12 - len(supernet.table.edges)
    large = DenseBlock(tables={spec.id: Table(16, (Stage((16, 24, 32), 1), Stage((32, 48, 64), 6)))})
    prices = [one.price(large, spec).row for one in (FAST, *FAST.narrower())]
    assert prices == sorted(prices, reverse=True)
    assert len(set(prices)) == len(prices)


def test_steps_pass_over_four_fifths_of_the_rows() -> None:
    assert DenseNas().steps(Recipe(Optimiser("sgd", lr=0.1), epochs=70, batch_size=256), 40_000) == 70 * 125
    assert DenseNas().steps(Recipe(Optimiser("sgd", lr=0.1), epochs=2, batch_size=256), 10) == 2


# batch of one of the five parts, batches of final training and of a candidate's, candidates
SETTINGS = {
    "cifar100": (64, 256, 256, 30),
    "spherical": (64, 256, 256, 30),
    "ninapro": (64, 256, 256, 30),
    "fsd50k": (64, 512, 512, 30),
    "darcy_flow": (2, 8, 8, 30),
    "psicov": (2, 8, 8, 7),
    "cosmic": (2, 16, 16, 30),
    "ecg": (32, 128, 256, 60),
    "satellite": (1024, 4096, 4096, 60),
    "deepsea": (32, 128, 256, 60),
}


@pytest.mark.parametrize("task", TASKS)
def test_settings_are_the_published_ones(task: str) -> None:
    spec = TASKS[task].spec
    part, final, candidate, n = SETTINGS[task]
    search, random = densenas.METHOD.search, densenas_random.METHOD.search
    assert search is not None and random is not None
    weights, trained, judged = search.recipe_for(spec), densenas.METHOD.recipe_for(spec), random.recipe_for(spec)
    assert (weights.batch_size, weights.epochs, weights.optimiser.lr) == (4 * part, 70, 0.2)
    lr = 0.001 if ends.is_dense(spec) else 0.5
    assert (trained.batch_size, trained.epochs, trained.optimiser.lr) == (final, 240, lr)
    assert (judged.batch_size, judged.epochs, judged.optimiser.lr) == (candidate, 10, lr)
    assert judged.schedule.factor(9, 1, 10) == 1
    for recipe in (weights, trained):
        assert (recipe.optimiser.momentum, recipe.optimiser.weight_decay, recipe.clip_norm) == (0.9, 4e-5, None)
        assert recipe.optimiser.lr * recipe.schedule.factor(10**6 - 1, 100, 10**6) == pytest.approx(1e-5, rel=0.01)
    assert vars(random.algorithm_for(spec))["candidates"] == n
    algorithm = search.algorithm_for(spec)
    assert math.ceil(algorithm.warmup * 70) == 11  # type: ignore[attr-defined]  # it is DenseNas


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_random_search_can_cost_what_the_search_does(task: str) -> None:
    spec = TASKS[task].spec
    rows = spec.rows.get("train", spec.splits["train"])
    equal = densenas_random.METHOD.variants["equal_cost"](densenas_random.METHOD)
    works = []
    for method in (densenas.METHOD, equal):
        assert method.search is not None
        algorithm, recipe = method.search.algorithm_for(spec), method.search.recipe_for(spec)
        price = algorithm.price(method.space, spec)
        works.append(price.row * recipe.batch_size * algorithm.steps(recipe, rows))
    assert works[1] / works[0] == pytest.approx(1, abs=0.15)


def test_variants_draw_as_they_say() -> None:
    spec = TASKS["cifar100"].spec
    reference = densenas_random.METHOD.variants["reference_routes"](densenas_random.METHOD).space
    drawn = {
        tuple(block.width for block in reference.sample(spec, np.random.default_rng(seed)).blocks)  # type: ignore[attr-defined]  # it is sampled
        for seed in range(5)
    }
    assert drawn == {(64, 112, 176, 224)}


def test_random_search_is_held_against_as_many_parameters_as_one_says() -> None:
    spec, small = TASKS["cifar100"].spec, get_method("densenas_random:size-3000000")
    assert (small.id, small.name) == ("densenas_random:size-3000000", "DenseNAS random, size 3000000")

    def largest(method: Method) -> int:
        space = method.space
        assert isinstance(space, DenseBlock)
        return max(space.parameters(space.sample(spec, np.random.default_rng(seed)), spec) for seed in range(12))

    assert largest(small) <= 4_000_000 < largest(densenas_random.METHOD)
    for wrong in ("size", "size-", "size--1", "size-1e3", "size-01"):
        with pytest.raises(UnknownNameError, match=r"Known: .*densenas_random:size-N"):
            get_method(f"densenas_random:{wrong}")
