"""Draws that keep the shares of the classes, with sizes that are met exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from nas360.task import SplitName

IntArray = npt.NDArray[np.int64]


def largest_remainder(weights: Sequence[int] | IntArray, total: int) -> IntArray:
    """Share out a number in proportion to weights: whole parts first, then one more each by the largest remainder.

    Args:
        weights: not negative, not all zero.
        total: what is shared out.

    Returns:
        (len(weights),) int64 whose sum is `total`, each less than one away from its exact share; of equal remainders
        the first gets more.

    Example:
        >>> largest_remainder([1, 1, 1], 10).tolist()
        [4, 3, 3]
    """
    # whole numbers throughout: a rounded product must not decide who gets one more
    exact = [divmod(total * int(weight), int(sum(weights))) for weight in weights]
    parts = np.array([whole for whole, _ in exact], np.int64)
    first = sorted(range(len(exact)), key=lambda index: (-exact[index][1], index))
    parts[first[: total - int(parts.sum())]] += 1
    return parts


def scaled_sizes(sizes: Mapping[SplitName, int], available: int) -> dict[SplitName, int]:
    """The sizes of the splits, or where fewer items are there, all of them in the same proportion."""
    total = min(sum(sizes.values()), available)
    return dict(zip(sizes, largest_remainder(list(sizes.values()), total).tolist(), strict=True))


def stratified_draw(
    label: IntArray, sizes: Mapping[SplitName, int], rng: np.random.Generator
) -> dict[SplitName, IntArray]:
    """Draw splits without replacement, each with the classes in (nearly) the same shares as all items have.

    The number of items of each class in the draw is its share by largest remainder; of these the last split gets its
    share in the same way, then the last but one of what remains, and so on. So the sizes of the splits are exact, and
    every class is within one of its share in the draw and in each part cut from it. Which items of a class go where is
    random, and so is the order in a split.

    Args:
        label: (n,) the class of every item.
        sizes: split → size; where the items are fewer than all sizes together, the sizes shrink in proportion.
        rng: makes two draws of n numbers.

    Returns:
        Split → indices of its items, int64, in random order, no item twice.
    """
    sizes = scaled_sizes(sizes, len(label))
    key, order = rng.random(len(label)), rng.random(len(label))
    classes, count = np.unique(label, return_counts=True)
    left = largest_remainder(count, sum(sizes.values()))
    # of every class the items that were drawn, those to be given away next at the end
    queues = [
        np.flatnonzero(label == which)[np.argsort(key[label == which], kind="stable")][:quota]
        for which, quota in zip(classes, left, strict=True)
    ]
    drawn: dict[SplitName, IntArray] = {}
    for split in reversed(list(sizes)):
        taken = largest_remainder(left, sizes[split]) if left.sum() else left
        chosen = np.concatenate(
            [queue[have - take : have] for queue, have, take in zip(queues, left, taken, strict=True)]
        )
        drawn[split] = chosen[np.argsort(order[chosen], kind="stable")].astype(np.int64)
        left = left - taken
    return {split: drawn[split] for split in sizes}
