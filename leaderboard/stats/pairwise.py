"""Every line against every other: wins, win rate, and Wilcoxon's signed-rank test with Holm's adjustment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def wins(errors: FloatArray) -> tuple[IntArray, IntArray]:
    """On how many tasks each line is better than each other, and on how many they are equal.

    Args:
        errors: (lines, tasks), lower is better; NaN where a line did not run a task, infinite where it failed.

    Returns:
        Two arrays (lines, lines): wins of the row over the column, and ties. Tasks that one of them did not run count
        in neither.
    """
    one, other = errors[:, None, :], errors[None, :, :]
    return (one < other).sum(axis=-1), (one == other).sum(axis=-1)


def win_rate(errors: FloatArray) -> FloatArray:
    """Share of the tasks in common on which the row's line is better than the column's, a tie counting half.

    Returns:
        (lines, lines) in [0, 1]; NaN for lines without a task in common. Rows and columns add up to 1.

    Example:
        >>> win_rate(np.array([[1.0, 2.0], [1.0, 3.0]])).tolist()
        [[0.5, 0.75], [0.25, 0.5]]
    """
    won, tied = wins(errors)
    n = won + won.T + tied
    rate: FloatArray = np.divide(won + tied / 2, n, out=np.full(n.shape, np.nan), where=n > 0)
    return rate


def wilcoxon(differences: FloatArray) -> FloatArray:
    """Exact two-sided p values of Wilcoxon's signed-rank test, one a row.

    Differences of zero are left out, as Wilcoxon did, and equal sizes share the average of their ranks; p is exact with
    such ties too: the share, among all ways to put signs on the ranks, of sums at least as far from their mean.

    Args:
        differences: (pairs, tasks); NaN where there is none; infinite ones are the largest and equal in size.

    Returns:
        (pairs,), in (0, 1]; 1 where every difference is zero or absent.
    """
    pairs, width = differences.shape
    present = ~np.isnan(differences) & (differences != 0)
    size = np.where(present, np.abs(differences), np.nan)
    # twice the average rank is a whole number: those strictly below, plus those not above, plus one
    below = (size[:, None, :] < size[:, :, None]).sum(axis=-1)
    equal = (size[:, None, :] == size[:, :, None]).sum(axis=-1)
    doubled = np.where(present, 2 * below + equal + 1, 0)
    total = doubled.sum(axis=1)
    positive = np.where(differences > 0, doubled, 0).sum(axis=1)
    # ways[pair, s]: share of the sign choices whose positive ranks sum to s / 2
    sums = np.arange(width * (width + 1) + 1)
    ways = np.zeros((pairs, sums.size))
    ways[:, 0] = 1.0
    for task in range(width):
        back = sums[None, :] - doubled[:, task, None]
        moved = np.where(back >= 0, np.take_along_axis(ways, np.maximum(back, 0), axis=1), 0.0)
        ways = (ways + moved) / 2  # a rank of zero moves nothing, and leaves the shares as they were
    extreme = np.abs(2 * sums[None, :] - total[:, None]) >= np.abs(2 * positive - total)[:, None]
    extreme &= sums[None, :] <= total[:, None]
    p: FloatArray = np.minimum(1.0, np.where(extreme, ways, 0.0).sum(axis=1))
    return p


def log_ratios(one: FloatArray, other: FloatArray) -> FloatArray:
    """log(one / other) of errors ≥ 0: what the test compares, for it does not depend on the units of a task.

    Equal errors give 0, also where both are zero or infinite; a zero against more than zero gives −∞.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.log(one) - np.log(other)
    # rounded, so that equal ratios tie although their logarithms differ in the last digit
    return np.where(one == other, 0.0, np.round(difference, 12))


def holm(p: FloatArray) -> FloatArray:
    """P values adjusted for how many there are (Holm, 1979), in the same order.

    Example:
        >>> holm(np.array([0.04, 0.01, 0.03])).tolist()
        [0.06, 0.03, 0.06]
    """
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)) if p.size else p
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, raised)
    return adjusted
