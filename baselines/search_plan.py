"""Budgets of searches: what is searched, how, and for how many steps, fixed before the first of them.

As for trainings, a plan follows from counts alone, never from the clock; see `budget`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

from nas360.baselines import ends
from nas360.baselines.algorithms.base import Algorithm, Paced, Price, Search
from nas360.baselines.budget import WORK, check_budget, fit_batch, shortened, widest
from nas360.baselines.recipe import Recipe
from nas360.baselines.values import counted, differences, plain
from nas360.errors import RunError
from nas360.results import Budget
from nas360.task import TaskSpec

SHARE, TRAINING_SHARE = 0.5, 0.75
"""Of a shortened budget's work: what the search may spend, and what is left to train what it finds.

Together they are a quarter more than a method without a search gets, which still ends well within the budget's time.
"""

LOOKING = 0.25
"""Of that, what validation may take."""

FEWEST_STEPS = {"small": 400, "smoke": 8}
"""A wider supernet is not worth having with fewer steps than these."""

MOST_STEPS = {"small": 4000, "smoke": 10}
MOST_LOOKS = {"small": 50, "smoke": 2}


@dataclass(frozen=True)
class SearchPlan:
    """What a search does.

    Attributes:
        budget: its name.
        algorithm: how it goes on, which a small budget may have narrowed.
        recipe: how weights are trained meanwhile.
        steps: weight steps.
        looks: how often validation may be looked at.
        changes: what differs from the method's search, a sentence each; empty for `full` on enough rows.
        max_steps: the limit that was asked for, of search and training.
    """

    budget: Budget
    algorithm: Algorithm
    recipe: Recipe
    steps: int
    looks: int
    changes: tuple[str, ...]
    max_steps: int | None = None

    def public(self) -> dict[str, Any]:
        """What is searched, as plain JSON values; equal ones find the same."""
        return {
            "algorithm": plain(self.algorithm),
            "recipe": self.recipe.public(),
            "steps": self.steps,
            "looks": self.looks,
            "max_steps": self.max_steps,
        }


def make_search_plan(
    budget: str,
    search: Search,
    space: Any,
    spec: TaskSpec,
    *,
    n_train: int,
    n_validation: int,
    max_steps: int | None = None,
) -> SearchPlan:
    """Plan a search.

    `full` is the method's. The others spend a fixed amount of work, a quarter of it at most on validation: they take
    the widest search that leaves enough steps, and the recipe of `budget.shortened`. Where the architecture has a
    learning rate, it is raised as the steps are fewer than on the task's official rows (`base.Paced`).

    Args:
        budget: `full`, `small` or `smoke`.
        search: the method's.
        space: what is searched.
        spec: the task.
        n_train: training rows.
        n_validation: inputs that a look at validation predicts.
        max_steps: shorten further; not for `full`.

    Raises:
        RunError: the budget is unknown or cannot be shortened, or there are too few rows to search on.
    """
    name = check_budget(budget, max_steps)
    if n_train < 4 or n_validation < 1:
        raise RunError(
            f"{n_train} training rows and {n_validation} validation rows are too few to search on: 4 and 1 are the "
            f"least. Prepare more of the data"
        )
    changes: list[str] = []
    algorithm, recipe = search.algorithm_for(spec), search.recipe_for(spec)
    # a search may part its rows in two
    most_rows = n_train // 2
    if budget == "full":
        recipe = fit_batch(recipe, most_rows, changes)
        steps, looks = algorithm.steps(recipe, n_train), algorithm.price(space, spec).looks
        return SearchPlan(name, algorithm, recipe, steps, looks, tuple(_of_search(changes)))
    whole = algorithm.steps(recipe, n_train)
    official = algorithm.steps(recipe, max(n_train, spec.rows.get("train", spec.splits["train"])))
    short = shortened(recipe, ends.is_dense(spec), changes, keep_optimiser=search.keep_optimiser)
    recipe = fit_batch(short, most_rows, changes)
    most = min(algorithm.steps(recipe, n_train), MOST_STEPS[budget])
    options = (algorithm, *algorithm.narrower())

    @cache
    def length(number: int) -> tuple[int, int, Price]:
        """Steps and looks that the work is enough for."""
        price = options[number].price(space, spec)
        look = price.of_look(n_validation)
        looks = max(1, min(price.looks, MOST_LOOKS[budget], math.floor(LOOKING * SHARE * WORK[budget] / look)))
        left = SHARE * WORK[budget] - looks * look
        return min(math.floor(left / (price.row * recipe.batch_size + price.step)), most), looks, price

    number = widest(len(options), lambda one: length(one)[0], min(FEWEST_STEPS[budget], most))
    # of the last ones, several may be as cheap; where the work is enough for none, only those of the very same price
    while number and (length(number - 1)[0] >= max(1, length(number)[0]) or length(number - 1)[2] == length(number)[2]):
        number -= 1
    chosen, (steps, looks, price) = options[number], length(number)
    # the cheapest search may still be too costly; then the budget is overdrawn rather than nothing found
    steps = max(steps, min(FEWEST_STEPS["smoke"], most))
    if max_steps is not None and max_steps < steps:
        changes.append(f"{counted(steps, 'step')} were limited to {max_steps}")
        steps = max_steps
    changes.append(
        f"{counted(steps, 'step')} instead of {whole}, scored on validation {counted(looks, 'time')} instead of "
        f"{price.looks}"
    )
    if isinstance(chosen, Paced):
        chosen = chosen.paced(steps, official)
    changes += differences(plain(algorithm), plain(chosen))
    return SearchPlan(name, chosen, recipe, steps, looks, tuple(_of_search(changes)), max_steps)


def _of_search(changes: list[str]) -> list[str]:
    return [f"search: {change}" for change in changes]
