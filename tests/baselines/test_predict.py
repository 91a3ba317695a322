"""Predictions of rows that have several inputs, or maps whose sizes vary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nas360.baselines.predict import inputs_a_row, predict
from nas360.loaders.base import Array, Batch, OutputScale, Rows
from nas360.loaders.data import SplitRows, TaskData

CPU = torch.device("cpu")
Toy = Callable[..., TaskData]


class Windows:
    """As many inputs a row as its column says, each filled with its number in the row."""

    output_scale: OutputScale | None = None

    def __call__(self, rows: Rows, rng: np.random.Generator | None) -> Batch:
        counts = rows["count"]
        x = np.concatenate([np.arange(n, dtype=np.float32) for n in counts])
        return Batch(
            np.ascontiguousarray(np.broadcast_to(x[:, None, None], (len(x), 2, 33))),
            np.zeros(len(counts), np.float32),
            row=np.repeat(np.arange(len(counts)), counts),
        )


class Maps:
    """Square maps, padded to the largest of the batch."""

    output_scale: OutputScale | None = None

    def __call__(self, rows: Rows, rng: np.random.Generator | None) -> Batch:
        sizes = np.stack([[size, size + 1] for size in rows["size"]])
        x = np.zeros((len(sizes), 2, *sizes.max(axis=0)), np.float32)
        for one, (height, width), value in zip(x, sizes, rows["size"], strict=True):
            one[:, :height, :width] = value
        return Batch(x, x[:, 0], sizes=sizes)


class Mean(nn.Module):
    """Logits that hang on the input alone; remembers how much it saw at once."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function, self.seen = function, [0]

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.numel())
        return self.function(x)


def split(**columns: Array) -> SplitRows:
    n = len(next(iter(columns.values())))
    return SplitRows([{"id": np.array([str(number) for number in range(n)]), **columns}])


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_outputs_are_averaged_over_the_inputs_of_a_row(batch_size: int, toy: Toy) -> None:
    counts = np.array([1, 4, 2, 7, 1])
    model = Mean(lambda x: torch.stack([x[:, 0, 0] - 1, x[:, 0, 0] * 2, -x[:, 0, 0]], dim=1))
    spec = toy(1, "multilabel").spec
    values = predict(model, split(count=counts), Windows(), spec, CPU, batch_size)
    means = np.array([np.arange(n).mean() for n in counts])
    logits = np.stack([means - 1, means * 2, -means], axis=1)
    np.testing.assert_allclose(values, 1 / (1 + np.exp(-logits)), rtol=1e-5)
    # the network never sees more at once than a batch of rows with one input each would be
    assert max(model.seen) <= batch_size * 2 * 33


def test_classes_are_those_of_the_mean_logits(toy: Toy) -> None:
    # windows 0, 1, 2: their classes are 0, 0, 1, that of the mean logits is 1
    table = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 9.0, 0.0]])
    model = Mean(lambda x: table[x[:, 0, 0].long()])
    values = predict(model, split(count=np.array([3, 2])), Windows(), toy(1, "point").spec, CPU, 8)
    assert np.asarray(values).tolist() == [1, 0]


def test_a_prediction_does_not_hang_on_the_others_of_its_batch(toy: Toy) -> None:
    spec = toy(2, "real").spec.model_copy(update={"prediction_shape": (-1, -1)})
    # a bias, and a mean over all positions, tell padding from no padding
    model = Mean(lambda x: functional.avg_pool2d(x + 1, 3, 1, 1)[:, 0] + x.mean(dim=(1, 2, 3))[:, None, None])
    rows = split(size=np.array([5, 30, 12, 7]))
    alone, together = (predict(model, rows, Maps(), spec, CPU, size) for size in (1, 4))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_maps_are_cropped_to_their_own_sizes(batch_size: int, toy: Toy) -> None:
    sizes = np.array([5, 30, 12, 7, 7])
    model = Mean(lambda x: x[:, 0])
    values = predict(model, split(size=sizes), Maps(), toy(2, "real").spec, CPU, batch_size)
    assert isinstance(values, list)
    assert [value.shape for value in values] == [(size, size + 1) for size in sizes]
    assert all((value == size).all() for value, size in zip(values, sizes, strict=True))


def test_the_work_of_predicting_counts_inputs(toy: Toy) -> None:
    point: Any = toy(1, "point")
    assert inputs_a_row(split(count=np.full(100, 6)), Windows(), point.spec) == 6
    assert inputs_a_row(point.rows("train"), point.preprocessing("train"), point.spec) == 1
    dense = toy(2, "real").spec  # crops of 12 × 9
    worth = (12 * 13 + 24 * 25) / (2 * 12 * 9)
    assert inputs_a_row(split(size=np.array([12, 24])), Maps(), dense) == pytest.approx(worth)
