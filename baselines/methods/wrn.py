"""`wrn`: the Wide ResNet that the paper holds every search against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from nas360.baselines.ends import is_dense
from nas360.baselines.method import Method
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.schedule import MultiStep
from nas360.baselines.spaces.wide_resnet import WIDE_RESNET
from nas360.task import TaskSpec


def recipe(spec: TaskSpec) -> Recipe:
    """The reference's recipe for every task.

    SGD with Nesterov momentum 0.9, weight decay 5e-4, 200 epochs, learning rate times 0.2 after 30, 60 and 80 % of
    them; no warm-up, clipping or dropout. Batch 128 and learning rate 0.1 for one answer a sample; batch 8 and 0.001
    for one a position.

    Training to the end takes, in 10¹⁵ multiply-adds (three forward passes a step): CIFAR-100 11.8, Spherical 41.4,
    NinaPro 0.6, FSD50K 92.5, Darcy Flow 11.9, PSICOV 93.5, Cosmic 130.2 (paper: 1 to 10 GPU hours).

    Source: NAS-Bench-360, section 4 and its published settings; rows are shuffled on all tasks, where the reference
    leaves CIFAR-100, Spherical and NinaPro in file order.
    """
    dense = is_dense(spec)
    return Recipe(
        optimiser=Optimiser("sgd", lr=0.001 if dense else 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
        epochs=200,
        batch_size=8 if dense else 128,
        schedule=MultiStep((0.3, 0.6, 0.8), gamma=0.2),
    )


def batch(size: int) -> Callable[[Recipe], Recipe]:
    """A change of the batch size."""
    return lambda recipe: replace(recipe, batch_size=size)


OVERRIDES: Mapping[str, Callable[[Recipe], Recipe]] = {
    "fsd50k": batch(256),
    "ecg": batch(256),
    "satellite": batch(4096),
    "deepsea": batch(256),
}

METHOD = Method(
    id="wrn",
    name="WRN-16-4",
    title="Wide ResNet 16-4, no search (1D and 2D; on 1D tasks the paper's network is resnet1d)",
    space=WIDE_RESNET,
    recipe=recipe,
    overrides=OVERRIDES,
    reference="Zagoruyko and Komodakis 2016, Wide Residual Networks; Tu et al. 2021, NAS-Bench-360, table 2",
)
