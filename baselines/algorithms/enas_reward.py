"""What a child is rewarded with: how well its scores put the right rows first."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def macro_auroc(logits: Tensor, labels: Tensor) -> float:
    """Mean area under the ROC curve of one class against the rest, or of each label.

    Classes and labels that are on all rows or on none have no curve, and are left out. Pairs are counted in whole
    numbers, a tie half, so that the areas are exact.

    Args:
        logits: (n, classes) or (n, labels), finite.
        labels: (n,) classes, or (n, labels) 0 and 1; on the same device.

    Returns:
        In [0, 1]; NaN where no class has a curve.

    Example:
        >>> macro_auroc(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
        1.0
    """
    n, columns = logits.shape
    scores = logits.double()
    if labels.ndim == 1:
        # rows are compared by probabilities, and these depend on the other classes' logits too; their logarithm keeps
        # apart what probabilities near 0 and 1 round to the same
        scores, present = scores.log_softmax(dim=1), labels[:, None] == torch.arange(columns, device=labels.device)
    else:
        present = labels != 0
    scores, present = scores.t().contiguous(), present.t().contiguous()
    ordered = scores.sort(dim=1).values
    beaten = torch.searchsorted(ordered, scores) + torch.searchsorted(ordered, scores, right=True)
    positive = present.sum(dim=1)
    # a positive beats positives too: of all their ordered pairs, ties halved twice, the square of their number
    pairs = torch.where(present, beaten, 0).sum(dim=1) - positive.square()
    areas = [
        won / (2 * there * (n - there))
        for won, there in zip(pairs.tolist(), positive.tolist(), strict=True)
        if 0 < there < n
    ]
    return math.fsum(areas) / len(areas) if areas else math.nan
