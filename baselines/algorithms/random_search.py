"""Random search with early validation: short trainings of drawn architectures, the best on validation wins."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from nas360.baselines import cost
from nas360.baselines.algorithms.base import Arena, Found, Price, Size
from nas360.baselines.device import owned_randomness
from nas360.baselines.failure import TrainingError
from nas360.baselines.recipe import Recipe
from nas360.baselines.train import Keeping, Training
from nas360.baselines.watch import Report, Silent
from nas360.errors import RunError
from nas360.seeding import derive
from nas360.task import TaskSpec

PRICED = 4
"""Candidates whose mean cost stands for all."""

SHRINKS = 4
"""How many sizes of smaller networks a small budget may fall back on."""


@dataclass(frozen=True)
class RandomSearch:
    """Draw, train a little, keep the best.

    The search's steps are shared out evenly. A candidate whose loss stops being finite is the worst there is; ties go
    to the one that was drawn first.

    Source: Li and Talwalkar 2019 (Random search and reproducibility for neural architecture search), section 3.1.

    Attributes:
        candidates: how many are drawn; fewer where each would have less than `least_steps`.
        shrink: a candidate is judged by a smaller network of its kind, so many steps down `Space.narrower`; 0: by
            itself. The architecture that is found is as it was drawn.
        id: short name.
        least_steps: that a candidate is trained at least.
    """

    candidates: int
    shrink: int = 0
    id: str = "random_search"
    least_steps: int = 4

    def __post_init__(self) -> None:
        if self.candidates < 1 or self.least_steps < 1:
            raise RunError(f"{self.candidates} candidates of {self.least_steps} steps: both must be at least 1")
        if self.shrink < 0:
            raise RunError(f"shrink {self.shrink} is below 0")

    def steps(self, recipe: Recipe, n_train: int) -> int:
        """See `Algorithm.steps`; every candidate is trained for the recipe's epochs."""
        return self.candidates * recipe.epochs * (n_train // min(recipe.batch_size, n_train))

    def price(self, space: Any, spec: TaskSpec) -> Price:
        """See `Algorithm.price`; the mean of a few candidates stands for all."""
        drawn = [space.sample(spec, derive(0, "price", number)) for number in range(PRICED)]
        costs = [cost.of(partial(space.build, self.judged(space, one), spec), spec) for one in drawn]
        work = sum(each.work for each in costs) / len(costs)
        start = cost.START * sum(each.operations for each in costs) / len(costs)
        return Price(row=cost.TRAINING * work, look=work, looks=self.candidates, step=cost.TRAINING * start)

    def size(self, space: Any, spec: TaskSpec) -> Size:
        """See `Algorithm.size`; nothing is shared."""
        return Size()

    def narrower(self) -> tuple[RandomSearch, ...]:
        """Judged by smaller networks."""
        return tuple(replace(self, shrink=self.shrink + more) for more in range(1, 1 + SHRINKS))

    def judged(self, space: Any, architecture: Any) -> Any:
        """The architecture that stands for one when it is judged."""
        smaller = (architecture, *space.narrower(architecture))
        return smaller[min(self.shrink, len(smaller) - 1)]

    def search(self, space: Any, arena: Arena) -> Found:
        """See `Algorithm.search`; the space must be `Sampled`."""
        n = max(1, min(self.candidates, arena.looks, arena.steps // self.least_steps))
        steps = max(1, arena.steps // n)
        log = None if arena.keeping is None else arena.keeping.log
        told = [] if log is None else log.entries()
        seconds = 0.0
        tried: list[tuple[float, int, Any]] = []
        for number in range(n):
            architecture = space.sample(arena.spec, derive(arena.seed, "search", "candidate", number))
            name = {"step": (number + 1) * steps, "candidate": number, "architecture": space.to_json(architecture)}
            known = _known(told[number], name) if number < len(told) else None
            if known is None:
                if log is not None and number < len(told):
                    log.cut(number * steps)
                    told = told[:number]
                error, spent = self._judge(space, architecture, arena, number, steps)
                if log is not None:
                    shown = error if math.isfinite(error) else None
                    log.append({**name, "validation_error": shown, "seconds": round(spent, 3)})
                if arena.keeping is not None:
                    arena.keeping.checkpoints.delete()
            else:
                error, spent = known
            seconds += spent
            tried.append((error, number, architecture))
            self._report(arena, tried, (number + 1) * steps, n * steps, seconds)
        error, number, best = min(tried, key=lambda one: one[:2])
        if not math.isfinite(error):
            raise TrainingError("search", f"none of {n} candidates could be trained. Lower the search's learning rate")
        return Found(best, n * steps, seconds, {"candidates": n, "chosen": number, "validation_error": error})

    def _report(self, arena: Arena, tried: list[tuple[float, int, Any]], step: int, steps: int, seconds: float) -> None:
        error, number, best = min(tried, key=lambda one: one[:2])
        shown = {
            "candidates": f"{len(tried)} of {steps * len(tried) // step}",
            "best": f"candidate {number}, validation error {error:.4f}: {best}",
        }
        per_epoch = max(1, len(arena.rows) // arena.recipe.batch_size)
        lr = arena.recipe.optimiser.lr
        report = Report(step, steps, step / per_epoch, math.nan, lr, tried[-1][0], seconds, "search", shown)
        arena.watcher.report(report)

    def _judge(self, space: Any, architecture: Any, arena: Arena, number: int, steps: int) -> tuple[float, float]:
        """Validation error after a short training, and the seconds of both."""
        seed = int(derive(arena.seed, "search", "training", number).integers(2**62))
        with owned_randomness(derive(seed, "init"), arena.device):
            start = arena.model(space.build(self.judged(space, architecture), arena.spec))
        keeping = None if arena.keeping is None else _keeping(arena.keeping, number)
        training = Training(
            model=start,
            spec=arena.spec,
            rows=arena.rows,
            preprocessing=arena.preprocessing,
            recipe=replace(arena.recipe, batch_size=min(arena.recipe.batch_size, len(arena.rows))),
            steps=steps,
            seed=seed,
            device=arena.device,
            report_steps=steps,
            keeping=keeping,
            watcher=_Counting(arena, number * steps),
        )
        try:
            model = training.run().eval()
            began = time.monotonic()
            error = arena.error(model)
        except TrainingError:
            return math.inf, training.seconds
        return (error if math.isfinite(error) else math.inf), training.seconds + time.monotonic() - began


def _known(entry: Mapping[str, Any], name: Mapping[str, Any]) -> tuple[float, float] | None:
    """Error and seconds of a candidate in the log; None where the line is not what its search would have written."""
    error: Any = entry.get("validation_error")
    spent: Any = entry.get("seconds")
    if any(entry.get(key) != value for key, value in name.items()):
        return None
    if not _is_number(spent) or spent < 0 or not (error is None or _is_number(error)):
        return None
    return math.inf if error is None else float(error), float(spent)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _keeping(search: Keeping, number: int) -> Keeping:
    """Where a candidate's training keeps its state: nothing of a candidate before it is taken up."""
    checkpoints = replace(search.checkpoints, identity={**search.checkpoints.identity, "candidate": number})
    return replace(search, checkpoints=checkpoints, log=None)


class _Counting(Silent):
    """Passes a candidate's steps on as the search's."""

    def __init__(self, arena: Arena, offset: int) -> None:
        self._arena, self._offset = arena, offset

    def step(self, done: int, total: int, stage: str) -> None:
        """A step of the candidate."""
        self._arena.watcher.step(self._offset + done, self._arena.steps, "search")
