"""Wins, Wilcoxon and Holm: by hand, by brute force, and against scipy and scikit-posthocs."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nas360.leaderboard.ranks import task_ranks
from nas360.leaderboard.stats.pairwise import holm, log_ratios, wilcoxon, win_rate, wins

FloatArray = npt.NDArray[np.float64]
NAN, INF = np.nan, np.inf

errors_with_gaps = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0, NAN, INF]),
)
differences = arrays(
    np.float64, st.integers(1, 7), elements=st.sampled_from([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, NAN, INF, -INF])
)


def test_wins_by_hand() -> None:
    errors = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, NAN], [2.0, INF, INF]])
    won, tied = wins(errors)
    assert won.tolist() == [[0, 0, 3], [1, 0, 2], [0, 0, 0]]
    assert tied.tolist() == [[3, 1, 0], [1, 2, 0], [0, 0, 3]]
    np.testing.assert_allclose(win_rate(errors), [[0.5, 0.25, 1], [0.75, 0.5, 1], [0, 0, 0.5]])


def test_no_task_in_common_has_no_rate() -> None:
    assert np.isnan(win_rate(np.array([[1.0, NAN], [NAN, 1.0]]))[0, 1])


@settings(max_examples=50, deadline=None)
@given(errors_with_gaps)
def test_rates_of_two_add_up_to_one_and_ranks_follow_from_wins(errors: FloatArray) -> None:
    rate = win_rate(errors)
    known = ~np.isnan(rate)
    np.testing.assert_allclose((rate + rate.T)[known], 1)
    # the rank on a task is one, plus who is better, plus half of who is equal
    won, tied = wins(errors)
    ran = (~np.isnan(errors)).sum(axis=1)
    np.testing.assert_allclose(
        np.nansum(task_ranks(errors), axis=1), ran + won.sum(axis=0) + (tied.sum(axis=1) - tied.diagonal()) / 2
    )


def test_wilcoxon_by_hand() -> None:
    # ranks 1 2 3, all positive: 2 of 8 sign choices are as extreme; then 1 against 2 + 3; then an even match
    given_ = np.array([[1.0, 2.0, 3.0], [-1.0, 2.0, 3.0], [1.0, 2.0, -3.0]])
    assert wilcoxon(given_).tolist() == [0.25, 0.5, 1.0]


def test_ten_wins_of_ten() -> None:
    assert wilcoxon(np.arange(1.0, 11)[None]).tolist() == [2 / 1024]


@pytest.mark.parametrize("row", [[0.0, 0.0], [NAN, NAN], [], [NAN, 0.0]])
def test_nothing_to_compare_has_p_one(row: list[float]) -> None:
    assert wilcoxon(np.array([row])).tolist() == [1.0]


@settings(max_examples=100, deadline=None)
@given(differences)
def test_wilcoxon_equals_trying_all_signs(row: FloatArray) -> None:
    from scipy.stats import rankdata

    kept = row[~np.isnan(row) & (row != 0)]
    ranks = rankdata(np.abs(kept))
    observed = abs(np.sum(np.sign(kept) * ranks))
    sums = [abs(np.dot(signs, ranks)) for signs in itertools.product([-1, 1], repeat=len(kept))]
    expected = np.mean([total >= observed for total in sums]) if len(kept) else 1.0
    np.testing.assert_allclose(wilcoxon(row[None])[0], expected, rtol=1e-12)
    assert wilcoxon(-row[None])[0] == wilcoxon(row[None])[0]


def test_wilcoxon_and_holm_equal_other_implementations() -> None:
    import scikit_posthocs as posthocs
    from scipy.stats import wilcoxon as scipys

    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 10)) + np.arange(5)[:, None] * 0.6
    one, other = np.triu_indices(5, 1)
    p = wilcoxon(values[one] - values[other])
    np.testing.assert_allclose(p, [scipys(values[i] - values[j]).pvalue for i, j in zip(one, other, strict=True)])
    adjusted = posthocs.posthoc_wilcoxon(list(values), p_adjust="holm").to_numpy()
    np.testing.assert_allclose(holm(p), adjusted[one, other])
    assert (holm(p) < 0.05).any()


def test_holm_keeps_order_and_raises() -> None:
    p = np.random.default_rng(1).random(30)
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()
    assert holm(np.array([])).tolist() == []


def test_ratios_of_what_is_no_ordinary_number() -> None:
    one = np.array([0.0, 0.0, INF, INF, 1.0, 1.0, NAN])
    other = np.array([0.0, 1.0, INF, 1.0, 0.0, INF, 1.0])
    np.testing.assert_array_equal(log_ratios(one, other), [0, -INF, 0, INF, INF, -INF, NAN])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_units_of_a_task_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    errors = rng.integers(1, 5, (2, 8)).astype(np.float64)  # few values, so that ratios tie
    scale = 10.0 ** rng.integers(-3, 4, 8)
    p, scaled = (wilcoxon(log_ratios(e[:1], e[1:])) for e in (errors, errors * scale))
    np.testing.assert_array_equal(p, scaled)
