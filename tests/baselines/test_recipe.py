"""Recipes, schedules and budgets."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas360.baselines.budget import FEWEST_STEPS, WORK, make_plan
from nas360.baselines.cost import TRAINING, Cost
from nas360.baselines.method import METHODS
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.schedule import Constant, Cosine, MultiStep
from nas360.baselines.values import plain
from nas360.errors import RunError
from nas360.loaders import TASKS

SGD = Optimiser("sgd", lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
RECIPE = Recipe(SGD, epochs=10, batch_size=32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Optimiser("sgdd", lr=0.1), "optimiser 'sgdd' is none of sgd, adam, adamw"),  # type: ignore[arg-type]  # on purpose
        (lambda: Optimiser("sgd", lr=0.0), "learning rate 0.0 is not"),
        (lambda: Optimiser("sgd", lr=float("nan")), "learning rate nan is not"),
        (lambda: Optimiser("sgd", lr=float("inf")), "learning rate inf is not"),
        (lambda: Optimiser("sgd", lr=0.1, momentum=1.0), "momentum 1.0 is not in"),
        (lambda: Optimiser("sgd", lr=0.1, momentum=0.0, nesterov=True), "needs momentum above 0"),
        (lambda: Optimiser("sgd", lr=0.1, weight_decay=-1), "weight decay -1 is not"),
        (lambda: Optimiser("adam", lr=0.1, betas=(0.9, 1.0)), "betas .* are not both"),
        (lambda: replace(RECIPE, epochs=0), "must both be at least 1"),
        (lambda: replace(RECIPE, batch_size=0), "must both be at least 1"),
        (lambda: replace(RECIPE, clip_norm=0.0), "to clip at is not above 0"),
        (lambda: replace(RECIPE, label_smoothing=1.0), "label smoothing 1.0"),
        (lambda: replace(RECIPE, ema_decay=1.0), "average 1.0 is not in"),
        (lambda: replace(RECIPE, precision="half"), "precision 'half' is none of"),  # type: ignore[arg-type]  # on purpose
        (lambda: MultiStep((0.6, 0.3), 0.2), "are not rising shares"),
        (lambda: MultiStep((0.0,), 0.2), "are not rising shares"),
        (lambda: MultiStep((0.5,), 0.0), "gamma 0.0 is not"),
        (lambda: Cosine(warmup=1.0), "warm-up 1.0 is not"),
        (lambda: Cosine(final=2.0), "final factor 2.0 is not"),
    ],
)
def test_bad_values_are_refused_when_made(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        make()


@settings(deadline=None)
@given(
    schedule=st.one_of(
        st.just(Constant()),
        st.builds(Cosine, warmup=st.floats(0, 0.9), final=st.floats(0, 1)),
        st.just(MultiStep((0.3, 0.6, 0.8), 0.2)),
    ),
    steps=st.integers(1, 60),
    per_epoch=st.integers(1, 60),
)
def test_factors_lie_in_0_1_and_fall_after_the_warm_up(schedule: Any, steps: int, per_epoch: int) -> None:
    factors = [schedule.factor(step, per_epoch, steps) for step in range(steps)]
    assert all(0 <= factor <= 1 for factor in factors)
    rest = factors[int(getattr(schedule, "warmup", 0.0) * steps) :]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(rest))
    assert max(factors) == pytest.approx(1.0)


def test_milestones_are_those_of_the_reference() -> None:
    schedule = MultiStep((0.3, 0.6, 0.8), 0.2)
    falls = [
        epoch
        for epoch in range(1, 200)
        if schedule.factor(epoch * 7, 7, 1400) < schedule.factor(epoch * 7 - 1, 7, 1400)
    ]
    assert falls == [60, 120, 160]


def test_optimisers_are_torchs() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    made = SGD.make([weight])
    assert type(made) is torch.optim.SGD
    assert {key: made.defaults[key] for key in ("lr", "momentum", "nesterov", "weight_decay")} == {
        "lr": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
    }
    assert type(Optimiser("adam", lr=0.1).make([weight])) is torch.optim.Adam
    assert type(Optimiser("adamw", lr=0.1).make([weight])) is torch.optim.AdamW


# batch size, learning rate: the published settings
PAPER = {
    "cifar100": (128, 0.1),
    "spherical": (128, 0.1),
    "ninapro": (128, 0.1),
    "fsd50k": (256, 0.1),
    "darcy_flow": (8, 0.001),
    "psicov": (8, 0.001),
    "cosmic": (8, 0.001),
    "ecg": (256, 0.1),
    "satellite": (4096, 0.1),
    "deepsea": (256, 0.1),
}


def test_recipes_of_the_paper() -> None:
    assert set(PAPER) == set(TASKS)
    for method in METHODS.values():
        assert set(method.overrides) <= set(TASKS), "an override for a task that does not exist"
    for method in (METHODS["wrn"], METHODS["resnet1d"]):
        for task in TASKS.values():
            recipe = method.recipe_for(task.spec)
            assert (recipe.batch_size, recipe.optimiser.lr) == PAPER[task.spec.id]
            assert recipe.epochs == 200
            assert recipe.optimiser == replace(SGD, lr=recipe.optimiser.lr)
            json.dumps(recipe.public(), allow_nan=False)


@pytest.mark.parametrize("name", METHODS)
def test_recipes_and_searches_are_plain_values(name: str) -> None:
    method = METHODS[name]
    for task in TASKS.values():
        json.dumps(method.recipe_for(task.spec).public(), allow_nan=False)
        if method.search is not None:
            assert {*method.search.overrides, *method.search.changes} <= set(TASKS)
            algorithm = method.search.algorithm_for(task.spec)
            assert json.loads(json.dumps(plain(algorithm), allow_nan=False))["id"] == algorithm.id
            json.dumps(method.search.recipe_for(task.spec).public(), allow_nan=False)


GAEA = {
    "cifar100": (256, 128, 36),
    "spherical": (64, 64, 36),
    "ninapro": (256, 128, 36),
    "fsd50k": (32, 32, 16),
    "darcy_flow": (4, 4, 36),
    "psicov": (8, 4, 36),
    "cosmic": (8, 4, 36),
    "ecg": (128, 180, 36),
    "satellite": (4096, 1024, 36),
    "deepsea": (128, 64, 36),
}
"""Batches of search and final training, and the final width."""


def test_recipes_of_gaea() -> None:
    method = METHODS["gaea"]
    assert method.search is not None and method.final is not None
    for task in TASKS.values():
        spec = task.spec
        search, final = method.search.recipe_for(spec), method.recipe_for(spec)
        width = method.final(method.space.default(spec), spec).width
        assert (search.batch_size, final.batch_size, width) == GAEA[spec.id]
        assert (search.epochs, search.optimiser.lr, final.epochs, final.optimiser.lr) == (50, 0.1, 150, 0.025)
        assert (search.clip_norm, final.clip_norm, final.drop_path) == (5.0, 5.0, 0.3)


def plan(
    budget: str,
    recipe: Recipe = RECIPE,
    n_train: int = 1000,
    n_predict: int = 100,
    work: float = 1e8,
    max_steps: int | None = None,
) -> Any:
    def measure(architecture: int) -> Cost:
        return Cost(1, int(work * architecture), 0, (1,))

    return make_plan(
        budget,
        recipe,
        (16, 4, 1),
        measure,
        n_train=n_train,
        n_predict=n_predict,
        dense=False,
        max_steps=max_steps,
    )


def test_full_is_the_recipe() -> None:
    full = plan("full")
    assert (full.architecture, full.recipe, full.steps, full.changes) == (16, RECIPE, 310, ())
    assert full.report_steps == full.steps_per_epoch == 31


@settings(deadline=None)
@given(work=st.floats(1e5, 1e10), n_train=st.integers(2, 10**6), n_predict=st.integers(1, 10**4))
def test_short_budgets_are_kept_and_said(work: float, n_train: int, n_predict: int) -> None:
    for budget in ("small", "smoke"):
        made = plan(budget, replace(RECIPE, epochs=200), n_train, n_predict, work)
        assert 1 <= made.recipe.batch_size <= n_train
        assert 1 <= made.steps <= 200 * made.steps_per_epoch
        spent = made.cost.work * (TRAINING * made.steps * made.recipe.batch_size + n_predict)
        # only the cheapest network may overdraw, by the fewest steps that make sense
        assert spent <= WORK[budget] or (made.architecture == 1 and made.steps <= 8) or made.steps <= 8
        if made.architecture != 1:
            assert made.steps >= min(FEWEST_STEPS[budget], 200 * made.steps_per_epoch)
        assert made.changes
        assert 1 <= made.report_steps <= made.steps_per_epoch


def test_the_widest_network_that_fits_is_taken() -> None:
    made = plan("small", n_predict=1)
    most = WORK["small"] / (TRAINING * made.steps * made.recipe.batch_size)  # of a sample, if all steps are to be paid
    chosen = [plan("small", work=0.9 * most / width, n_predict=1) for width in (16, 4, 1)]
    assert [one.architecture for one in chosen] == [16, 4, 1]
    assert {one.steps for one in chosen} == {made.steps}


def test_steps_can_be_limited_further_but_not_those_of_full() -> None:
    limited = plan("small", max_steps=3)
    assert limited.steps == 3 < plan("small").steps
    assert plan("small", max_steps=10**9) == replace(plan("small"), max_steps=10**9)
    assert any("steps were limited to 3" in change for change in limited.changes)
    with pytest.raises(RunError, match="at most 3 steps with budget full"):
        plan("full", max_steps=3)


def test_a_plan_that_cannot_be() -> None:
    with pytest.raises(RunError, match="budget 'tiny' is none of full, small, smoke"):
        plan("tiny")
    with pytest.raises(RunError, match="1 training rows are too few"):
        plan("full", n_train=1)


def test_a_batch_is_never_larger_than_the_data() -> None:
    made = plan("full", n_train=5)
    assert made.recipe.batch_size == 5
    assert made.steps == 10
    assert made.changes == ("batch 5, all the rows there are, instead of 32",)
