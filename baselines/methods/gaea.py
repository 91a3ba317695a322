"""`gaea`: DARTS cells searched by the exponentiated gradient with partial channels, the paper's strongest search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nas360.baselines import ends
from nas360.baselines.algorithms.base import Search
from nas360.baselines.algorithms.bilevel import Bilevel
from nas360.baselines.algorithms.updates import ExponentiatedUpdate
from nas360.baselines.method import Method
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.schedule import Cosine
from nas360.baselines.spaces.base import Relaxation
from nas360.baselines.spaces.darts_cell import DARTS_CELL
from nas360.baselines.spaces.darts_genotypes import DartsArchitecture
from nas360.task import TaskSpec

BATCHES: Mapping[str, int] = {
    **{"cifar100": 256, "spherical": 64, "ninapro": 256, "fsd50k": 32},
    **{"darcy_flow": 4, "psicov": 8, "cosmic": 8},
    **{"ecg": 128, "satellite": 4096, "deepsea": 128},
}
"""Rows a weight step of the search."""

FINAL_BATCHES: Mapping[str, int] = {
    **{"cifar100": 128, "spherical": 64, "ninapro": 128, "fsd50k": 32},
    **{"darcy_flow": 4, "psicov": 4, "cosmic": 4},
    **{"ecg": 180, "satellite": 1024, "deepsea": 64},
}

WIDTHS: Mapping[str, int] = {"fsd50k": 16}
"""C of the final network, where it is not 36."""


def search_recipe(spec: TaskSpec) -> Recipe:
    """Weights of the supernet: SGD with momentum 0.9, 0.1 on a cosine by epoch, decay 3e-4, norm at most 5, 50 epochs.

    An epoch is one pass over the half of the training rows that is for the weights.
    """
    return Recipe(
        optimiser=Optimiser("sgd", lr=0.1, momentum=0.9, weight_decay=3e-4),
        epochs=50,
        batch_size=BATCHES.get(spec.id, 8 if ends.is_dense(spec) else 128),
        schedule=Cosine(by_epoch=True),
        clip_norm=5.0,
    )


def recipe(spec: TaskSpec) -> Recipe:
    """The final training: SGD with momentum 0.9, 0.025 on a cosine by epoch, decay 3e-4, norm at most 5, 150 epochs.

    Drop path rises to 0.3 on every task; the reference's dense code divides by 600 epochs instead of 150.
    """
    return Recipe(
        optimiser=Optimiser("sgd", lr=0.025, momentum=0.9, weight_decay=3e-4),
        epochs=150,
        batch_size=FINAL_BATCHES.get(spec.id, 4 if ends.is_dense(spec) else 128),
        schedule=Cosine(by_epoch=True),
        clip_norm=5.0,
        drop_path=0.3,
    )


def final(found: DartsArchitecture, spec: TaskSpec) -> DartsArchitecture:
    """The cells that were found, in a network of the task's width."""
    return replace(found, width=WIDTHS.get(spec.id, found.width))


def double_softmax(method: Method) -> Method:
    """As the NAS-Bench-360 code has it: a softmax upon parameters that lie on a simplex already."""
    relaxation = replace(RELAXATION, mixing="double_softmax")
    return replace(method, search=replace(SEARCH, algorithm=replace(ALGORITHM, relaxation=relaxation)))


def auxiliary(method: Method) -> Method:
    """With a second head after two thirds of the final network, whose loss counts 0.4 (Liu et al. 2019).

    Dense tasks' networks have no such head; on them this is `gaea`.
    """

    def with_head(found: DartsArchitecture, spec: TaskSpec) -> DartsArchitecture:
        return replace(final(found, spec), auxiliary=not ends.is_dense(spec))

    def recipe_with_head(spec: TaskSpec) -> Recipe:
        return replace(method.recipe(spec), auxiliary_weight=0.0 if ends.is_dense(spec) else 0.4)

    return replace(method, final=with_head, recipe=recipe_with_head)


RELAXATION = Relaxation(partial_channels=4, edge_normalisation=True, mixing="simplex", width=16, cells=8)
ALGORITHM = Bilevel("gaea", RELAXATION, ExponentiatedUpdate(lr=0.1), warmup=0.22)
"""The architecture stands still in the first 11 of 50 epochs."""

SEARCH = Search(ALGORITHM, search_recipe)

METHOD = Method(
    id="gaea",
    name="DARTS GAEA",
    title="DARTS cells, GAEA PC-DARTS: exponentiated gradient on the simplex, partial channels",
    space=DARTS_CELL,
    recipe=recipe,
    search=SEARCH,
    final=final,
    variants={"double_softmax": double_softmax, "auxiliary": auxiliary},
    reference="Li, Khodak, Balcan and Talwalkar 2021, GAEA; Xu et al. 2020, PC-DARTS; Tu et al. 2021, NAS-Bench-360",
)
"""Search and final training take, in 10¹⁵ multiply-adds: CIFAR-100 12.8, Spherical 45.1, NinaPro 0.7, FSD50K 22.1,
Darcy Flow 1.9, PSICOV 16.2, Cosmic 20.3, ECG 156, Satellite 22.5, DeepSEA 38.1 (paper: 10 to more than 100 GPU hours).
The final network is the one of PC-DARTS on CIFAR-10 there, a training step three forward passes, and the supernet
counted as one module a candidate and edge; `darts_supernet` trades two to five times as many for less memory traffic.

Differences from the NAS-Bench-360 code: mixture weights are the simplex itself, without a second softmax (the variant
`gaea:double_softmax` has it), and edge weights lie on one simplex a node; the halves of the training rows are those of
a seeded shuffle; what `darts_cell` says of batch norms and reductions.
"""
