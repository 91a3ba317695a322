"""Budgets: what is trained, how, and for how many steps, fixed before the first of them.

A plan follows from counts alone (rows, multiply-adds), never from the clock, so that the same seed gives the same
result on a fast and on a slow machine.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, get_args

from nas360.baselines.cost import Cost
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.schedule import Cosine
from nas360.baselines.values import counted, differences, plain
from nas360.errors import RunError
from nas360.results import Budget

WORK = {"small": 24e12, "smoke": 0.02e12}
"""Multiply-adds of a run, predictions included, with memory traffic counted as `cost.TRAFFIC` says.

Two idle cores of a Xeon of 2023 do some 60 to 120e9 a second: `small` takes four to eight minutes there, `smoke` a
second. The limits, a quarter of an hour and twenty seconds, leave room for slower and for busy machines.
"""

FEWEST_STEPS = {"small": 1500, "smoke": 8}
"""A wider network is not worth having with fewer steps than these."""

MOST_STEPS = {"small": 10_000, "smoke": 30}
"""A step of the smallest network still costs milliseconds of overhead, which no count of multiply-adds shows."""

REPORTS = 20
"""Reports of a shortened training."""


@dataclass(frozen=True)
class Plan:
    """What a run does.

    Attributes:
        budget: its name.
        architecture: what is trained, which a small budget may have narrowed.
        cost: of that network, a sample.
        recipe: how; the batch size is at most the number of rows.
        steps: of the training.
        steps_per_epoch: of one pass over the rows.
        report_steps: steps between reports.
        changes: what differs from the method's recipe, a sentence each; empty for `full` on enough rows.
        max_steps: the limit that was asked for.
    """

    budget: Budget
    architecture: Any
    cost: Cost
    recipe: Recipe
    steps: int
    steps_per_epoch: int
    report_steps: int
    changes: tuple[str, ...]
    max_steps: int | None = None

    @property
    def epochs(self) -> float:
        """Passes over the training rows."""
        return self.steps / self.steps_per_epoch

    def public(self) -> dict[str, Any]:
        """Length and cost as plain JSON values."""
        return {
            "steps": self.steps,
            "steps_per_epoch": self.steps_per_epoch,
            "parameters": self.cost.parameters,
            "macs": self.cost.macs,
        }


def check_budget(budget: str, max_steps: int | None) -> Budget:
    """The budget of a name.

    Args:
        budget: `full`, `small` or `smoke`.
        max_steps: shorten further; not for `full`, which would not be full then.

    Raises:
        RunError: the budget is unknown or cannot be shortened.
    """
    if budget not in get_args(Budget):
        raise RunError(f"budget {budget!r} is none of {', '.join(get_args(Budget))}")
    if max_steps is not None and (budget == "full" or max_steps < 1):
        raise RunError(f"at most {max_steps} steps with budget {budget}: a limit of 1 or more goes with small or smoke")
    name: Budget = budget  # type: ignore[assignment]  # checked above
    return name


def make_plan(
    budget: str,
    recipe: Recipe,
    architectures: tuple[Any, ...],
    measure: Callable[[Any], Cost],
    *,
    n_train: int,
    n_predict: int,
    dense: bool,
    max_steps: int | None = None,
    share: float = 1.0,
    optimiser: Optimiser | None = None,
) -> Plan:
    """Plan a run.

    `full` is the recipe. The others spend a fixed amount of work: they take the widest architecture that leaves
    enough steps after the predictions are paid for, a smaller batch, and a recipe that learns fast in few steps:
    AdamW, whose steps do not depend on the scale of the loss, with a learning rate that rises over the first fifth
    and then falls along a cosine (Smith and Topin 2018, Super-Convergence).

    Args:
        budget: `full`, `small` or `smoke`.
        recipe: the method's for the task.
        architectures: the method's own, then narrower ones.
        measure: cost of an architecture, a sample.
        n_train: training rows.
        n_predict: inputs that will be predicted.
        dense: whether the task wants one value a position; then batches are small.
        max_steps: shorten further; not for `full`, which would not be full then.
        share: of a shortened budget's work that is this training's; a search has had the rest.
        optimiser: that was tuned for this budget's recipe, of which it takes the place.

    Raises:
        RunError: the budget is unknown or cannot be shortened, or there are too few rows to train on.
    """
    name = check_budget(budget, max_steps)
    if n_train < 2:
        raise RunError(f"{n_train} training rows are too few to train on; prepare more of the data")
    changes: list[str] = []
    if budget == "full":
        chosen, cost = architectures[0], measure(architectures[0])
        recipe = fit_batch(recipe, n_train, changes)
        recipe = replace(recipe, optimiser=optimiser or recipe.optimiser)
        per_epoch = n_train // recipe.batch_size
        steps, report = recipe.epochs * per_epoch, per_epoch
    else:
        recipe = fit_batch(shortened(recipe, dense, changes), n_train, changes)
        if optimiser is not None:
            tuned = differences(plain(recipe.optimiser), plain(optimiser))
            changes.append(f"tuned: {', '.join(tuned) or 'the recipe as it is was best'}")
            recipe = replace(recipe, optimiser=optimiser)
        per_epoch = n_train // recipe.batch_size
        most = min(recipe.epochs * per_epoch, MOST_STEPS[budget])

        costs = cache(lambda number: measure(architectures[number]))

        def steps_with(number: int) -> int:
            cost = costs(number)
            left = share * WORK[budget] - cost.prediction(n_predict, recipe.batch_size)
            return min(math.floor(left / cost.training_step(recipe.batch_size)), most)

        number = widest(len(architectures), steps_with, min(FEWEST_STEPS[budget], most))
        chosen, cost, steps = architectures[number], costs(number), steps_with(number)
        # the narrowest network may still be too costly; then the budget is overdrawn rather than nothing learnt
        steps = max(steps, min(8, recipe.epochs * per_epoch))
        if max_steps is not None and max_steps < steps:
            changes.append(f"{counted(steps, 'step')} were limited to {max_steps}")
            steps = max_steps
        report = max(1, min(per_epoch, math.ceil(steps / REPORTS)))
        changes.append(f"{counted(steps, 'step')}, {steps / per_epoch:.2f} epochs instead of {recipe.epochs}")
        if chosen != architectures[0]:
            changes.append(f"a narrower network, {_narrowed(architectures[0], chosen)}")
    return Plan(name, chosen, cost, recipe, steps, per_epoch, report, tuple(changes), max_steps)


def widest(n: int, steps: Callable[[int], int], fewest: int) -> int:
    """The first of n things in falling order of cost that leaves at least so many steps; the last if none does.

    Found by halves: to know the cost of one takes a second.
    """
    return min(bisect_left(range(n), True, key=lambda number: steps(number) >= fewest), n - 1)


def _narrowed(asked: Any, chosen: Any) -> str:
    """The numbers that differ, where only numbers do; else both in words."""
    before, after = plain(asked), plain(chosen)
    if isinstance(before, dict) and all(
        isinstance(value, (int, float)) or value == before[name] for name, value in after.items()
    ):
        return ", ".join(differences(before, after))
    return f"{chosen} instead of {asked}"


def shortened(recipe: Recipe, dense: bool, changes: list[str], *, keep_optimiser: bool = False) -> Recipe:
    """A recipe that learns fast in few steps; see `make_plan`.

    Args:
        recipe: the method's.
        dense: whether the task wants one value a position.
        changes: gets a sentence on what differs.
        keep_optimiser: whether the recipe's own optimiser stays.
    """
    optimiser = recipe.optimiser if keep_optimiser else Optimiser("adamw", lr=3e-3, weight_decay=0.01)
    short = replace(
        recipe,
        optimiser=optimiser,
        schedule=Cosine(warmup=0.2),
        batch_size=min(recipe.batch_size, 4 if dense else 32),
        drop_path=0.0,
    )
    without = ", without drop path" if recipe.drop_path else ""
    changes.append(
        f"{_CALLED[optimiser.name]}, learning rate {optimiser.lr:g} on a cosine, batch {short.batch_size}{without} "
        f"instead of {recipe.optimiser.name}, {recipe.optimiser.lr:g}, {recipe.batch_size}"
    )
    return short


_CALLED = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}


def fit_batch(recipe: Recipe, n_train: int, changes: list[str]) -> Recipe:
    """The recipe with a batch of at most as many rows as there are; `changes` gets a sentence if it is smaller."""
    if recipe.batch_size <= n_train:
        return recipe
    changes.append(f"batch {n_train}, all the rows there are, instead of {recipe.batch_size}")
    return replace(recipe, batch_size=n_train)
