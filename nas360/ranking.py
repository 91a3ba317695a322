"""Exact average precision and area under the ROC curve of one label, ties handled, from two sorts."""

from __future__ import annotations

import numpy as np

from nas360.matching import Array


def average_precision(positive: Array, negative: Array) -> float:
    """Average precision: the mean over positives of the precision at their own score.

    Samples of equal score are taken together, so that their order cannot matter. This is the step-wise sum of precision
    over the increase of recall, without interpolation, which scikit-learn computes too.

    Args:
        positive: scores of the samples that have the label, (p,), finite; only their order counts.
        negative: scores of those that have not, (n,), finite.

    Returns:
        A value in (0, 1]; NaN without a positive.

    Example:
        >>> average_precision(np.array([0.9, 0.4]), np.array([0.6, 0.1]))  # (1/1 + 2/3) / 2
        0.8333333333333333
    """
    if positive.size == 0:
        return float("nan")
    positive, negative = np.sort(positive), np.sort(negative)
    hits = positive.size - np.searchsorted(positive, positive, side="left")
    false = negative.size - np.searchsorted(negative, positive, side="left")
    return float(np.mean(hits / (hits + false)))


def auroc(positive: Array, negative: Array) -> float:
    """Area under the ROC curve: the share of (positive, negative) pairs in the right order, a tie counting half.

    The pairs are counted in integers, so the result is the exact value, rounded once.

    Args:
        positive: scores of the positives, (p,), finite; only their order counts.
        negative: scores of the negatives, (n,), finite.

    Returns:
        A value in [0, 1]; NaN when either class is empty.

    Example:
        >>> auroc(np.array([0.9, 0.4]), np.array([0.4, 0.1]))  # three pairs right, one tie
        0.875
    """
    if positive.size == 0 or negative.size == 0:
        return float("nan")
    positive, negative = np.sort(positive), np.sort(negative)
    below = int(np.searchsorted(negative, positive, side="left").sum())
    not_above = int(np.searchsorted(negative, positive, side="right").sum())
    return (below + not_above) / (2 * positive.size * negative.size)
