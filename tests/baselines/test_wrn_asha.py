"""`wrn_asha`: searches and ranges are the published ones, and shortened searches hold to their budgets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from nas360.baselines.algorithms.asha_tuning import AshaTuning
from nas360.baselines.asha.sampling import LogUniform
from nas360.baselines.method import METHODS
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.schedule import Cosine
from nas360.baselines.search_plan import make_search_plan
from nas360.loaders import TASKS

RANGES = METHODS["wrn_asha"].search.algorithm.space  # type: ignore[union-attr]  # it searches


def test_shortened_searches_hold_to_their_steps() -> None:
    recipe = Recipe(Optimiser("adamw", lr=3e-3), epochs=200, batch_size=8, schedule=Cosine(warmup=0.2))
    for mode in ("aggressive", "standard", "conservative"):
        tuning = AshaTuning(RANGES, trials=28, mode=mode)
        for steps in (1, 2, 7, 10, 60, 99, 100, 400, 1500, 4000):
            for looks in (1, 2, 5, 50):
                plan = tuning.fitted(recipe, 80_000, steps, looks)
                assert plan.least_resource() <= steps
                assert sum(map(sum, plan.least_counts())) <= looks
                assert plan.trials <= 28
                lowest = min(bracket.resources[0] for bracket in plan.brackets)
                assert lowest >= 25 or (plan.trials <= 2 and len(plan.brackets[0].resources) == 1)
    assert [AshaTuning(RANGES, trials=28).fitted(recipe, 80_000, steps, 50).trials for steps in (10, 400, 4000)] == [
        2, 10, 28,
    ]  # fmt: skip
    short = AshaTuning(RANGES, trials=28).fitted(recipe, 80_000, 4000, 50)
    assert [bracket.resources for bracket in short.brackets] == [(81, 327)]
    whole = AshaTuning(RANGES, trials=28)
    assert whole.fitted(recipe, 80, whole.steps(recipe, 80), 36) == whole.whole(recipe, 80)


def test_a_budget_that_is_too_small_for_any_network_takes_the_smallest() -> None:
    method, spec = METHODS["wrn_asha"], TASKS["cosmic"].spec
    assert method.search is not None
    plan = make_search_plan("smoke", method.search, method.space, spec, n_train=8, n_validation=4)
    assert isinstance(plan.algorithm, AshaTuning)
    # widths 4, 2, 1; what would be smaller still is of width 1 too
    assert (plan.algorithm.shrink, plan.steps, plan.looks) == (2, 8, 1)


PUBLISHED: Mapping[str, tuple[list[tuple[int, tuple[int, ...]]], int]] = {
    "cifar100": ([(28, (12, 50, 200))], 752),
    "spherical": ([(12, (12, 50, 200)), (4, (50, 200))], 608),
    "ninapro": ([(28, (12, 50, 200))], 752),
    "fsd50k": ([(36, (12, 50, 200))], 1074),
    "darcy_flow": ([(104, (3, 12, 50, 200))], 924),
    "psicov": ([(16, (12, 50, 200))], 494),
    "cosmic": ([(16, (12, 50, 200))], 494),
    "ecg": ([(56, (12, 50, 200))], 1654),
    "satellite": ([(28, (12, 50, 200))], 752),
    "deepsea": ([(256, (3, 12, 50, 200))], 2552),
}


@pytest.mark.parametrize("task", TASKS)
def test_the_searches_are_the_published_ones(task: str) -> None:
    method = METHODS["wrn_asha"]
    assert method.search is not None and method.hpo == "ASHA"
    spec = TASKS[task].spec
    algorithm, recipe = method.search.algorithm_for(spec), method.search.recipe_for(spec)
    assert recipe == METHODS["wrn"].recipe_for(spec), "what is tuned is what is then trained"
    assert isinstance(algorithm, AshaTuning)
    rows = 3 * recipe.batch_size
    plan = algorithm.whole(recipe, rows)
    brackets, epochs = PUBLISHED[task]
    assert [(one.trials, one.resources) for one in plan.brackets] == [
        (trials, tuple(3 * resource for resource in resources)) for trials, resources in brackets
    ]
    assert algorithm.steps(recipe, rows) == 3 * epochs
    looks = algorithm.price(method.space, spec).looks
    assert algorithm.fitted(recipe, rows, 3 * epochs, looks) == plan
    # all rungs but the highest judge at the initial rate
    lengths = {resource for one in plan.brackets for resource in one.resources[:-1]}
    assert {recipe.schedule.factor(length - 1, 3, 600) for length in lengths} == {1.0}


def test_configurations_are_drawn_from_the_published_ranges() -> None:
    drawn = [RANGES.draws(0).configuration(trial) for trial in range(400)]
    assert {one["dropout"] for one in drawn} == {0.0, 0.3, 0.6}
    assert {one["momentum"] for one in drawn} == {0.0, 0.3, 0.6, 0.9}
    for name, low, high in (("lr", 1e-4, 1e-1), ("weight_decay", 1e-5, 1e-2)):
        logarithms = np.log10([one[name] for one in drawn])
        assert low <= 10 ** logarithms.min() and 10 ** logarithms.max() <= high
        assert abs(logarithms.mean() - np.log10(low * high) / 2) < 0.15
        assert isinstance(RANGES.dimensions[name], LogUniform)
