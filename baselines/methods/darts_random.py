"""`darts_random`: the same cells by chance, the control that every search of them should beat."""

from __future__ import annotations

from dataclasses import replace

from nas360.baselines.algorithms.base import Search
from nas360.baselines.algorithms.random_search import RandomSearch
from nas360.baselines.method import Method
from nas360.baselines.methods import gaea
from nas360.baselines.recipe import Recipe
from nas360.baselines.spaces.darts_cell import DARTS_CELL
from nas360.task import TaskSpec


def search_recipe(spec: TaskSpec) -> Recipe:
    """Candidates are trained as the final network is, for 5 epochs, without drop path."""
    return replace(gaea.recipe(spec), epochs=5, drop_path=0.0)


METHOD = Method(
    id="darts_random",
    name="DARTS random",
    title="DARTS cells, random search: 12 candidates of 8 cells, 5 epochs each, best on validation",
    space=DARTS_CELL,
    recipe=gaea.recipe,
    search=Search(RandomSearch(candidates=12, shrink=1), search_recipe),
    final=gaea.final,
    reference="Li and Talwalkar 2019, Random Search and Reproducibility for Neural Architecture Search",
)
"""The paper has no such row. Candidates have 8 cells of width 16, the size of `gaea`'s supernet, so that 12 of them for
5 epochs take 0.9 to 1.5 times the multiply-adds of its search. The final training is `gaea`'s.
"""
