"""`autodl`: Auto-DeepLab, the paper's specialised search for tasks with one value a position."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from nas360.baselines.algorithms.base import Search
from nas360.baselines.algorithms.bilevel import Bilevel
from nas360.baselines.algorithms.updates import AdamUpdate
from nas360.baselines.method import Method
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.schedule import Cosine, Polynomial
from nas360.baselines.spaces.deeplab_supernet import TrellisRelaxation
from nas360.baselines.spaces.deeplab_trellis import DEEPLAB_TRELLIS
from nas360.task import TaskSpec


def search_recipe(spec: TaskSpec) -> Recipe:
    """Weights of the supernet: SGD with momentum 0.9, 0.025 on a cosine to 0.001, decay 3e-4, batch 8, 40 epochs.

    An epoch is one pass over the half of the training rows that is for the weights; the reference passes over all of
    them, as it draws the architecture's batches from the same rows.
    """
    return Recipe(
        optimiser=Optimiser("sgd", lr=0.025, momentum=0.9, weight_decay=3e-4),
        epochs=40,
        batch_size=8,
        schedule=Cosine(final=0.001 / 0.025),
    )


def recipe(spec: TaskSpec) -> Recipe:
    """The final training: SGD with momentum 0.9 at 0.05, decay 1e-4, batch 14, 64 epochs.

    The rate rises from 5e-6 over 1,000 steps, and falls to 0 with the power 0.9. The reference's files name 4,000
    epochs; how often they evaluate, and where they stop, tells that 64 were trained, and 500 on Darcy Flow.
    """
    return Recipe(
        optimiser=Optimiser("sgd", lr=0.05, momentum=0.9, weight_decay=1e-4),
        epochs=64,
        batch_size=14,
        schedule=Polynomial(power=0.9, warmup_steps=1000, start=5e-6 / 0.05),
    )


OVERRIDES: Mapping[str, Callable[[Recipe], Recipe]] = {"darcy_flow": lambda recipe: replace(recipe, epochs=500)}


def successors(method: Method) -> Method:
    """As paper and reference have it: a level's output is shared out, where else a level's inputs are averaged."""
    relaxation = replace(ALGORITHM.relaxation, choice="successors")
    return replace(method, search=replace(SEARCH, algorithm=replace(ALGORITHM, relaxation=relaxation)))


ALGORITHM = Bilevel(
    "darts", TrellisRelaxation(), AdamUpdate(lr=3e-3, betas=(0.9, 0.999), weight_decay=1e-3), warmup=0.5
)
"""First-order DARTS; the architecture stands still in the first 20 of 40 epochs."""

SEARCH = Search(ALGORITHM, search_recipe)

METHOD = Method(
    id="autodl",
    name="Auto-DL",
    title="Auto-DeepLab: resolution of every layer and its cell, first-order DARTS (2D, one value a position)",
    space=DEEPLAB_TRELLIS,
    recipe=recipe,
    overrides=OVERRIDES,
    search=SEARCH,
    variants={"successors": successors},
    reference="Liu et al. 2019, Auto-DeepLab; Tu et al. 2021, NAS-Bench-360, table 2",
)
"""Differences from the NAS-Bench-360 code, beside those of the space: the architecture learns from rows that the
weights do not see (there both loaders read all training rows); Darcy Flow's inputs lie as its targets do (there
transposed); all test rows are scored (there 98 of Darcy Flow's 100); a loss that is not a number ends the run (there
the weights go back to the start of the epoch).
"""
