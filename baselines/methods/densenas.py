"""`densenas`: the DenseNAS space searched by weight sharing, the paper's macro search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nas360.baselines import ends
from nas360.baselines.algorithms.base import Search
from nas360.baselines.algorithms.dense_nas import DenseNas
from nas360.baselines.method import Method
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.schedule import Cosine
from nas360.baselines.spaces.dense_block import DenseBlock
from nas360.baselines.spaces.dense_block_table import IMAGE_TWICE, SHORT, SIGNAL_LONG, Stage, Table
from nas360.task import TaskSpec

TABLES: Mapping[str, Table] = {
    # three halvings would suit its 60 positions as well; the reference has two
    "spherical": IMAGE_TWICE,
    # half the usual widths
    "cosmic": replace(SHORT, stem=16, stages=(Stage((24, 28, 32), 1), Stage((36, 48, 56), 5))),
    # a signal with the stages of an image
    "satellite": SIGNAL_LONG,
}
"""Where the published settings differ from what follows from the spec, without a reason that is known."""

SPACE = DenseBlock(tables=TABLES)

SEARCH_BATCHES: Mapping[str, int] = {"ecg": 128, "satellite": 4096, "deepsea": 128}
"""Rows a weight step, four parts of five; the reference's settings name one part."""

FINAL_BATCHES: Mapping[str, int] = {"fsd50k": 512, "cosmic": 16, "ecg": 128, "satellite": 4096, "deepsea": 128}


def search_recipe(spec: TaskSpec) -> Recipe:
    """Weights of the supernet: SGD with momentum 0.9, 0.2 on a cosine by step to 1e-5, decay 4e-5, 70 epochs.

    An epoch is one pass over the four fifths of the training rows that are for the weights.
    """
    return Recipe(
        optimiser=Optimiser("sgd", lr=0.2, momentum=0.9, weight_decay=4e-5),
        epochs=70,
        batch_size=SEARCH_BATCHES.get(spec.id, 8 if ends.is_dense(spec) else 256),
        schedule=Cosine(final=1e-5 / 0.2),
    )


def recipe(spec: TaskSpec) -> Recipe:
    """The final training: SGD with momentum 0.9, 0.5 (dense 0.001) on a cosine by step to 1e-5, decay 4e-5, 240 epochs.

    The reference's settings name label smoothing, but its code does not use it.
    """
    dense = ends.is_dense(spec)
    lr = 0.001 if dense else 0.5
    return Recipe(
        optimiser=Optimiser("sgd", lr=lr, momentum=0.9, weight_decay=4e-5),
        epochs=240,
        batch_size=FINAL_BATCHES.get(spec.id, 8 if dense else 256),
        schedule=Cosine(final=1e-5 / lr),
    )


METHOD = Method(
    id="densenas",
    name="DenseNAS",
    title="DenseNAS-R1 space, searched by weight sharing on drawn paths with a price on multiply-adds",
    space=SPACE,
    recipe=recipe,
    search=Search(DenseNas(), search_recipe),
    reference="Fang et al. 2020, Densely Connected Search Space for More Flexible Neural Architecture Search; "
    "Tu et al. 2021, NAS-Bench-360",
)
"""Differences from the NAS-Bench-360 code: see `DenseBlock`, `DenseBlockSupernet` and `DenseNas`. Besides, the
five parts of the training rows, of which one is for the architecture, are those of a seeded shuffle, not of the file's
order.
"""
