"""CIFAR-100: natural images of 32×32 pixels, 100 classes."""

from __future__ import annotations

from nas360.loaders.base import Task
from nas360.loaders.differences import TEST_READ_ONCE
from nas360.loaders.labels import CIFAR100_CLASSES
from nas360.task import Difference, Point, Source, TaskSpec

SPEC = TaskSpec(
    id="cifar100",
    name="CIFAR-100",
    summary="Class of a natural image of 32x32 pixels",
    spatial_dims=2,
    input_shape=(3, 32, 32),
    output=Point(n_classes=100),
    prediction_shape=(),
    loss="cross_entropy",
    metric="zero_one_error",
    direction="lower",
    bounds=(0.0, 100.0),
    unit="percent",
    decimals=2,
    unit_of_split="image",
    splits={"train": 40000, "validation": 10000, "test": 10000},
    repo="nas360/cifar100",
    licence="unknown (published without a licence text; the author asks for citation)",
    citation=(
        "@techreport{krizhevsky2009learning, title={Learning Multiple Layers of Features from Tiny Images}, "
        "author={Krizhevsky, Alex}, institution={University of Toronto}, year={2009}}"
    ),
    sources=(
        Source(
            filename="cifar-100-python.tar.gz",
            url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            size_bytes=169001437,
            sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            md5="eb9058c3a382ffc7106e4002c42a8d85",
        ),
    ),
    class_names=CIFAR100_CLASSES,
    differences=(
        TEST_READ_ONCE,
        Difference(
            reference="validation images go through the training transform: they are cropped, flipped and cut out at random",
            ours="validation images are only normalised",
            reason="validation must measure what test measures",
        ),
        Difference(
            reference="the paper says that train and validation are partitioned at random; the code slices by index",
            ours="the first 40,000 official training images are train, the last 10,000 validation",
            reason="what the published numbers were made with",
        ),
    ),
)

TASK = Task(SPEC)
