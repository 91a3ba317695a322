"""`darts`: DARTS cells searched by gradient, as first published."""

from __future__ import annotations

from dataclasses import replace

from nas360.baselines.algorithms.base import Search
from nas360.baselines.algorithms.bilevel import Bilevel
from nas360.baselines.algorithms.updates import AdamUpdate
from nas360.baselines.method import Method
from nas360.baselines.methods import gaea
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.schedule import Cosine
from nas360.baselines.spaces.base import Relaxation
from nas360.baselines.spaces.darts_cell import DARTS_CELL
from nas360.task import TaskSpec

LEAST = 0.001 / 0.025
"""The learning rate ends at 0.001."""


def search_recipe(spec: TaskSpec) -> Recipe:
    """Weights of the supernet as in DARTS, appendix A.1.1: SGD from 0.025 to 0.001; batches as `gaea` has them."""
    return replace(
        gaea.search_recipe(spec),
        optimiser=Optimiser("sgd", lr=0.025, momentum=0.9, weight_decay=3e-4),
        schedule=Cosine(final=LEAST, by_epoch=True),
    )


ALGORITHM = Bilevel(
    "darts",
    Relaxation(partial_channels=1, edge_normalisation=False, mixing="softmax", width=16, cells=8),
    AdamUpdate(lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3),
)


def second_order(method: Method) -> Method:
    """The architecture's gradient at one unrolled weight step (DARTS, section 2.3, equations 7 and 8)."""
    # only SGD's step can be looked ahead of, with small budgets too
    search = Search(replace(ALGORITHM, order=2), search_recipe, keep_optimiser=True)
    return replace(method, search=search)


METHOD = Method(
    id="darts",
    name="DARTS",
    title="DARTS cells, first-order DARTS: Adam on logits, all channels",
    space=DARTS_CELL,
    recipe=gaea.recipe,
    search=Search(ALGORITHM, search_recipe),
    final=gaea.final,
    variants={"second_order": second_order},
    reference="Liu, Simonyan and Yang 2019, DARTS: Differentiable Architecture Search",
)
"""The paper has no such row. The final training is `gaea`'s, so that the two differ in the search alone.

With all channels in all candidates a search step takes four to seven times the multiply-adds of `gaea`'s.
"""
