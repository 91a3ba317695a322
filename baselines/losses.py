"""What a network minimises: one function for each loss that a task's spec can name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from nas360.task import LossName

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(output in the task's unit, y, weight or None) → a scalar."""


def relative_l2(output: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Sum over the batch of ||output - y|| / ||y||, each norm over all positions of a sample, in the task's unit.

    A sum, as in the published recipe: the learning rate and the batch size hang together.

    Source: Li et al. 2021 (Fourier Neural Operator), section 5; the reference's `LpLoss(size_average=False)`.
    """
    difference = (output - y).flatten(start_dim=1).norm(dim=1)
    total: Tensor = (difference / y.flatten(start_dim=1).norm(dim=1)).sum()
    return total


def mean_squared_error(output: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean over samples and positions of (output - y)²; positions of weight 0 do not count."""
    square = (output - y).square()
    return square.mean() if weight is None else _weighted_mean(square, weight)


def binary_cross_entropy(output: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean over samples and labels of the cross-entropy of sigmoid(output) with y in [0, 1]."""
    return functional.binary_cross_entropy_with_logits(output, y)


def masked_binary_cross_entropy(output: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean over the positions with weight of the cross-entropy of sigmoid(output) with y in [0, 1].

    The reference multiplies logits and targets by the mask instead, so that an ignored position adds a constant ln 2
    to its mean; gradients differ by the share of ignored positions only.
    """
    if weight is None:
        return binary_cross_entropy(output, y)
    return _weighted_mean(functional.binary_cross_entropy_with_logits(output, y, reduction="none"), weight)


def _weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    # a batch of which every position is ignored has loss 0, not 0/0
    total = weight.sum()
    return (values * weight).sum() / torch.where(total > 0, total, torch.ones_like(total))


def make_loss(name: LossName, label_smoothing: float = 0.0) -> Loss:
    """The loss that a spec names.

    Args:
        name: see `TaskSpec.loss`.
        label_smoothing: for cross-entropy; the other losses have no labels to smooth.
    """

    def cross_entropy(output: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        return functional.cross_entropy(output, y, label_smoothing=label_smoothing)

    losses: dict[LossName, Loss] = {
        "cross_entropy": cross_entropy,
        "binary_cross_entropy": binary_cross_entropy,
        "masked_binary_cross_entropy": masked_binary_cross_entropy,
        "relative_l2": relative_l2,
        "mean_squared_error": mean_squared_error,
    }
    return losses[name]
