"""Plans of shortened searches: which of a search's cheaper forms is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nas360.baselines.algorithms.base import Arena, Found, Price, Search, Size
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.search_plan import make_search_plan
from nas360.task import TaskSpec

SpecOf = Callable[[int, str], TaskSpec]
RECIPE = Recipe(Optimiser("sgd", lr=0.1), epochs=1, batch_size=16)


@dataclass(frozen=True)
class Priced:
    """A search that has a price and nothing else."""

    ladder: tuple[Price, ...]
    id: str = "priced"

    def steps(self, recipe: Recipe, n_train: int) -> int:
        return 10**6

    def price(self, space: Any, spec: TaskSpec) -> Price:
        return self.ladder[0]

    def size(self, space: Any, spec: TaskSpec) -> Size:
        return Size()

    def search(self, space: Any, arena: Arena) -> Found:
        raise NotImplementedError

    def narrower(self) -> tuple[Priced, ...]:
        return tuple(Priced(self.ladder[n:]) for n in range(1, len(self.ladder)))


def test_a_plan_never_goes_back_to_a_search_that_leaves_fewer_steps(spec_of: SpecOf) -> None:
    # all steps cost the same; what is saved is saved on looks
    ladder = tuple(Price(row=1e6, look=look, looks=50) for look in (1e12, 1e10, 1e7, 1e7))
    spec = spec_of(1, "point")
    plan = make_search_plan(
        "smoke", Search(Priced(ladder), lambda spec: RECIPE), None, spec, n_train=64, n_validation=10
    )
    assert plan.algorithm == Priced(ladder[2:])
    assert plan.steps >= 8
