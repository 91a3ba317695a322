from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from nas360.loaders import TASKS
from nas360.loaders.base import Array, Column
from nas360.loaders.repository.exact_duplicates import digests, repeats_across, repeats_within
from nas360.loaders.repository.near_duplicates import (
    AS_IT_IS,
    Inputs,
    Settings,
    _block_means,
    find_near_duplicates,
    sample_rows,
    views,
)

SETTINGS = Settings()
N_TRAIN, N_TEST, NEAR, EXACT = 300, 60, 12, 5

Values = dict[str, Array]


def objects(values: list[Array]) -> Array:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


class Kind:
    """A form of input: how independent rows of it look, and how a copy of one is disturbed a little."""

    def __init__(
        self,
        columns: dict[str, Column],
        make: Callable[[np.random.Generator, int], Values],
        disturb: Callable[[np.random.Generator, Array], Array],
    ) -> None:
        self.columns, self.make, self._disturb = columns, make, disturb

    def pair(self, seed: int) -> tuple[Values, Values]:
        """Training rows, and test rows of which the first are near copies, then exact copies, of the first of them."""
        rng = np.random.default_rng(seed)
        train, test = self.make(rng, N_TRAIN), self.make(rng, N_TEST)
        for name in self.columns:
            for row in range(NEAR):
                test[name][row] = self._disturb(rng, train[name][row])
            for row in range(NEAR, NEAR + EXACT):
                test[name][row] = train[name][row]
        return train, test


def smooth(rng: np.random.Generator, n: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Fields that vary over a few cells, as maps and series do."""
    values = rng.normal(size=(n, *shape))
    for axis in range(1, values.ndim):
        for _ in range(3):
            values = (values + np.roll(values, 1, axis=axis)) / 2
    scaled: npt.NDArray[np.float32] = (values / values.std()).astype(np.float32)
    return scaled


def add_noise(rng: np.random.Generator, value: Array) -> Array:
    return np.asarray(value + 0.05 * value.std() * rng.normal(size=value.shape)).astype(value.dtype)


def nudge(rng: np.random.Generator, value: Array) -> Array:
    return np.clip(value + rng.integers(-3, 4, value.shape), 0, 255).astype(np.uint8)


def mutate(rng: np.random.Generator, value: Array) -> Array:
    out = value.copy()
    for position in rng.choice(value.shape[1], 4, replace=False):
        out[:, position] = np.roll(out[:, position], 1)
    return out


def bases(rng: np.random.Generator, n: int) -> Values:
    return {"x": np.eye(4, dtype=np.uint8)[rng.integers(0, 4, (n, 1000))].transpose(0, 2, 1).copy()}


def spectrograms(rng: np.random.Generator, n: int) -> Values:
    return {"x": objects([smooth(rng, 1, (96, int(size)))[0].astype(np.float16) for size in rng.integers(20, 300, n)])}


def proteins(rng: np.random.Generator, n: int) -> Values:
    sizes = rng.integers(20, 60, n).tolist()
    return {
        "profile": objects([rng.normal(size=(size, 22)).astype(np.float32) for size in sizes]),
        "map": objects([smooth(rng, 1, (size, size))[0] for size in sizes]),
    }


KINDS = {
    "images": Kind(
        {"x": Column("uint8", (3, 32, 32))},
        lambda rng, n: {"x": (128 + 60 * smooth(rng, n, (3, 32, 32))).clip(0, 255).astype(np.uint8)},
        nudge,
    ),
    "short series": Kind({"x": Column("float32", (46,))}, lambda rng, n: {"x": smooth(rng, n, (46,))}, add_noise),
    "long series": Kind({"x": Column("float32", (1000,))}, lambda rng, n: {"x": smooth(rng, n, (1000,))}, add_noise),
    "maps": Kind({"x": Column("float32", (85, 85))}, lambda rng, n: {"x": smooth(rng, n, (85, 85))}, add_noise),
    "bases": Kind({"x": Column("uint8", (4, 1000))}, bases, mutate),
    "spectrograms": Kind({"x": Column("float16", (96, None))}, spectrograms, add_noise),
    "proteins": Kind(
        {"profile": Column("float32", (None, 22)), "map": Column("float32", (None, None))}, proteins, add_noise
    ),
}


def inputs(values: Values, columns: dict[str, Column], settings: Settings = SETTINGS) -> Inputs:
    n = len(next(iter(values.values())))
    return Inputs(values, columns, np.arange(n), digests(values, n), settings)


@pytest.mark.parametrize("kind", KINDS)
def test_planted_copies_are_found_and_nothing_else(kind: str) -> None:
    columns = KINDS[kind].columns
    train, test = KINDS[kind].pair(0)
    found = find_near_duplicates(inputs(test, columns), np.arange(N_TEST), inputs(train, columns), [AS_IT_IS], SETTINGS)
    assert [(pair.query, pair.reference) for pair in found] == [(row, row) for row in range(NEAR)]
    assert all(0.99 <= pair.correlation < 1 for pair in found)
    repeats = repeats_across(
        digests(test, N_TEST), np.zeros(N_TEST, np.uint64), digests(train, N_TRAIN), np.zeros(N_TRAIN, np.uint64)
    )
    assert repeats.rows.tolist() == repeats.partners.tolist() == list(range(NEAR, NEAR + EXACT))


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_of_blocks_does_not_matter(kind: str) -> None:
    columns = KINDS[kind].columns
    train, test = KINDS[kind].pair(1)
    expected = inputs(train, columns)
    small = replace(SETTINGS, block_bytes=1 << 16)
    np.testing.assert_array_equal(inputs(train, columns, small).sketches, expected.sketches)
    rows = np.arange(N_TEST)
    assert find_near_duplicates(
        inputs(test, columns, small), rows, inputs(train, columns, small), [AS_IT_IS], small
    ) == find_near_duplicates(inputs(test, columns), rows, expected, [AS_IT_IS], SETTINGS)


def test_other_contrast_and_brightness_is_a_near_duplicate() -> None:
    columns = KINDS["long series"].columns
    train, test = KINDS["long series"].pair(2)
    test["x"][20] = 7 * train["x"][33] - 2
    found = find_near_duplicates(inputs(test, columns), np.array([20]), inputs(train, columns), [AS_IT_IS], SETTINGS)
    assert [(pair.query, pair.reference) for pair in found] == [(20, 33)]


@pytest.mark.parametrize(
    ("task", "kind", "turn", "view"),
    [
        ("cifar100", "images", lambda row: row[..., ::-1], "mirrored left to right"),
        ("deepsea", "bases", lambda row: row[::-1, ::-1], "reverse complement"),
    ],
)
def test_turned_copies_are_found_in_their_view(task: str, kind: str, turn: Callable[[Array], Array], view: str) -> None:
    columns = KINDS[kind].columns
    train, test = KINDS[kind].pair(3)
    test["x"][50] = turn(train["x"][7])
    looks = views(TASKS[task].spec, columns)
    found = find_near_duplicates(inputs(test, columns), np.arange(N_TEST), inputs(train, columns), looks, SETTINGS)
    assert {(pair.query, pair.reference, pair.view) for pair in found} == {
        *((row, row, "") for row in range(NEAR)),
        (50, 7, view),
    }


def test_a_split_is_searched_for_relatives_of_its_own_rows_but_not_for_themselves() -> None:
    columns = KINDS["maps"].columns
    rows = KINDS["maps"].make(np.random.default_rng(4), 50)
    rows["x"][8] = rows["x"][3]
    rows["x"][9] = add_noise(np.random.default_rng(0), rows["x"][4])
    whole = inputs(rows, columns)
    found = find_near_duplicates(whole, np.arange(50), whole, [AS_IT_IS], SETTINGS)
    assert [(pair.query, pair.reference) for pair in found] == [(4, 9), (9, 4)]


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30, -3.3])
def test_rows_that_do_not_vary_are_no_near_duplicates(value: float) -> None:
    columns = {"x": Column("float32", (46,))}
    one, other = np.full((3, 46), value, np.float32), np.full((4, 46), value + 1, np.float32)
    assert not find_near_duplicates(
        inputs({"x": one}, columns), np.arange(3), inputs({"x": other}, columns), [AS_IT_IS], SETTINGS
    )


@given(st.integers(0, 10**6), st.sampled_from([0.9, 0.95, 0.99]))
@example(165_623, 0.99)  # more than 16 rows look nearer to one of these than its near duplicate
@hypothesis_settings(max_examples=15, deadline=None)
def test_equal_to_brute_force_on_rows_that_resemble_each_other(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    settings = replace(SETTINGS, threshold=threshold, candidates=400)
    waves = rng.normal(size=(3, 100))
    train = (rng.normal(size=(400, 3)) @ waves + 0.2 * rng.normal(size=(400, 100))).astype(np.float32)
    test = (rng.normal(size=(80, 3)) @ waves + 0.2 * rng.normal(size=(80, 100))).astype(np.float32)
    columns = {"x": Column("float32", (100,))}
    found = find_near_duplicates(
        inputs({"x": test}, columns, settings), np.arange(80), inputs({"x": train}, columns, settings),
        [AS_IT_IS], settings,
    )  # fmt: skip
    correlation = np.corrcoef(test.astype(np.float64), train.astype(np.float64))[:80, 80:]
    expected = set(np.flatnonzero(correlation.max(axis=1) >= threshold).tolist())
    # a row whose nearest one is just at the threshold may be lost in the projection
    sure = set(np.flatnonzero(correlation.max(axis=1) >= 1 - 0.9 * (1 - threshold)).tolist())
    assert sure <= {pair.query for pair in found} <= expected
    for pair in found:
        assert pair.correlation == pytest.approx(correlation[pair.query, pair.reference], abs=1e-6)


def test_a_sample_is_seeded_and_without_repeats() -> None:
    rows = sample_rows(10_000, SETTINGS, "test")
    assert len(rows) == SETTINGS.sample == len(np.unique(rows))
    np.testing.assert_array_equal(rows, sample_rows(10_000, SETTINGS, "test"))
    assert (rows != sample_rows(10_000, replace(SETTINGS, seed=1), "test")).any()
    np.testing.assert_array_equal(sample_rows(7, SETTINGS, "test"), np.arange(7))


def test_block_means_by_hand() -> None:
    np.testing.assert_array_equal(_block_means(np.arange(5.0), (2,)), [0.5, 3])
    np.testing.assert_array_equal(_block_means(np.array([[1.0, 3], [5, 7]]), (1, 2)), [[3, 5]])
    np.testing.assert_array_equal(_block_means(np.array([1.0, 9]), (4,)), [1, 1, 9, 9])
    np.testing.assert_array_equal(_block_means(np.empty((0, 3)), (2, 3)), np.zeros((2, 3)))


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=20),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=20),
)
def test_repeats_are_those_of_a_plain_count(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    def hashed(rows: list[tuple[int, int]], part: int) -> npt.NDArray[np.uint64]:
        return digests({"x": np.array([row[part] for row in rows], dtype=np.int64)}, len(rows))

    across = repeats_across(hashed(one, 0), hashed(one, 1), hashed(other, 0), hashed(other, 1))
    expected = [row for row, (x, _) in enumerate(one) if any(x == x2 for x2, _ in other)]
    assert across.rows.tolist() == expected
    assert across.partners.tolist() == [[x for x, _ in other].index(one[row][0]) for row in expected]
    assert across.conflicting.tolist() == [
        any(x == one[row][0] and y != one[row][1] for x, y in other) for row in expected
    ]
    within = repeats_within(hashed(one, 0), hashed(one, 1))
    later = [row for row, (x, _) in enumerate(one) if any(x == x2 for x2, _ in one[:row])]
    assert within.rows.tolist() == later
    assert within.conflicting.tolist() == [any(x == one[row][0] and y != one[row][1] for x, y in one) for row in later]


def test_digests_tell_shapes_apart_and_join_columns() -> None:
    assert len(set(digests({"x": objects([np.zeros((2, 3)), np.zeros((3, 2)), np.zeros(6)])}, 3).tolist())) == 3
    left, right = np.array([[1, 2], [1, 2]], np.uint8), np.array([[3], [4]], np.uint8)
    assert len(set(digests({"a": left}, 2).tolist())) == 1
    assert len(set(digests({"a": left, "b": right}, 2).tolist())) == 2
    np.testing.assert_array_equal(digests({"a": left, "b": right}, 2), digests({"a": left, "b": right}, 2, 1))
    sized = {"x": objects([np.arange(size) for size in (3, 0, 50)])}
    np.testing.assert_array_equal(digests(sized, 3), digests(sized, 3, 1))
