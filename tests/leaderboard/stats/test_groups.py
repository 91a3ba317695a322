"""Tie groups: letters are shared exactly by what is not separable."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas360.leaderboard.stats.groups import letter, tie_groups


def _letters(text: str) -> set[str]:
    found = re.findall(r"[a-z]\d*", text)
    assert "".join(found) == text
    return set(found)


def _separable(n: int, pairs: list[tuple[int, int]]) -> np.ndarray:
    matrix = np.zeros((n, n), dtype=bool)
    for one, other in pairs:
        matrix[one, other] = matrix[other, one] = True
    return matrix


@pytest.mark.parametrize(
    ("n", "pairs", "expected"),
    [
        (0, [], []),
        (1, [], ["a"]),
        (3, [], ["a", "a", "a"]),
        (2, [(0, 1)], ["a", "b"]),
        (4, [(0, 2), (0, 3), (1, 3)], ["a", "ab", "bc", "c"]),  # a chain: neighbours are alike
        (4, [(1, 2), (1, 3), (2, 3)], ["abc", "c", "b", "a"]),  # the first is alike to all, which differ
    ],
)
def test_by_hand(n: int, pairs: list[tuple[int, int]], expected: list[str]) -> None:
    assert tie_groups(_separable(n, pairs)) == expected


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_shared_letters_are_exactly_the_pairs_that_are_not_separable(n: int, seed: int, share: float) -> None:
    half = np.triu(np.random.default_rng(seed).random((n, n)) < share, 1)
    separable = half | half.T
    groups = [_letters(text) for text in tie_groups(separable)]
    for one in range(n):
        assert groups[one]
        for other in range(n):
            assert bool(groups[one] & groups[other]) == (one == other or not separable[one, other])


def test_intervals_need_as_few_letters_as_there_are_runs() -> None:
    # alike when at most five apart in the order: one letter for each of the 95 runs of six
    place = np.arange(100)
    groups = tie_groups(np.abs(place[:, None] - place) > 5)
    assert len(set().union(*map(_letters, groups))) == 95
    assert groups[0] == "a"


def test_letters_never_run_out() -> None:
    names = [letter(index) for index in range(1000)]
    assert len(set(names)) == 1000
    assert _letters("".join(names)) == set(names)


def test_the_matrix_is_left_as_it_was() -> None:
    separable = _separable(3, [(0, 1)])
    kept = separable.copy()
    tie_groups(separable)
    np.testing.assert_array_equal(separable, kept)
