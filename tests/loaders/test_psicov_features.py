from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas360.loaders.base import Rows
from nas360.loaders.psicov_features import CHANNELS, CROP, PsicovPreprocessing, clean_distances, fill

Array = np.ndarray[Any, Any]


def _rows(*lengths: int, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    shapes = {
        "ss": ("f2", (0, 3)), "pssm": ("f4", (0, 22)), "sa": ("f2", (0,)), "entropy": ("f2", (0,)),
        "ccmpred": ("f2", (0, 0)), "freecon": ("f2", (0, 0)), "potential": ("f2", (0, 0)), "y": ("f2", (0, 0)),
    }  # fmt: skip
    rows: dict[str, Array] = {}
    for name, (dtype, shape) in shapes.items():
        rows[name] = np.empty(len(lengths), dtype=object)
        for index, length in enumerate(lengths):
            values = rng.normal(0, 1, [size or length for size in shape])
            rows[name][index] = (np.abs(values) * 12 if name == "y" else values).astype(dtype)
    return rows


def _slow_channels(rows: Rows, index: int, row: int, column: int) -> list[float]:
    """The 57 values of one pair, by the definition: each residue feature of the column's, then of the row's residue."""
    ss, pssm, sa, entropy = (rows[name][index] for name in ("ss", "pssm", "sa", "entropy"))
    values: list[float] = []
    for feature in range(3):
        values += [ss[column, feature], ss[row, feature]]
    for feature in range(22):
        values += [pssm[column, feature], pssm[row, feature]]
    values += [sa[column], sa[row], entropy[column], entropy[row]]
    return values + [rows[name][index][row, column] for name in ("ccmpred", "freecon", "potential")]


def _slow_clean(distances: Array) -> Array:
    cleaned = distances.astype(np.float32)
    cleaned[cleaned < 1] = 1
    n = len(cleaned)
    before = cleaned.copy()
    for at in range(n):
        if at == 0:
            cleaned[at, at] = before[0, 1]
        elif at == n - 1:
            cleaned[at, at] = before[at, at - 1]
        else:
            cleaned[at, at] = (before[at, at - 1] + before[at, at + 1]) / 2
    return cleaned


@settings(max_examples=40)
@given(st.integers(2, 30), st.integers(0, 10), st.integers(0, 10), st.integers(1, 24))
def test_channels_are_those_of_the_definition(length: int, row: int, column: int, size: int) -> None:
    rows = _rows(5, length)
    row, column = min(row, length - 1), min(column, length - 1)
    out = np.zeros((CHANNELS, size, size), np.float32)
    down, across = fill(out, rows, 1, (row, column))
    assert (down, across) == (slice(row, min(length, row + size)), slice(column, min(length, column + size)))
    expected = np.zeros_like(out)
    for i in range(down.start, down.stop):
        for j in range(across.start, across.stop):
            expected[:, i - row, j - column] = _slow_channels(rows, 1, i, j)
    np.testing.assert_array_equal(out, expected)


@given(st.integers(2, 30), st.integers(0, 29), st.integers(0, 29), st.integers(1, 30))
def test_cleaned_maps_are_those_of_the_definition(length: int, row: int, column: int, size: int) -> None:
    distances = _rows(length, seed=length)["y"][0]
    down = slice(min(row, length - 1), min(length, row + size))
    across = slice(min(column, length - 1), min(length, column + size))
    np.testing.assert_array_equal(
        clean_distances(distances, down, across), _slow_clean(distances)[down, across], strict=True
    )


def test_cleaning_by_hand() -> None:
    distances = np.array([[0, 4, 0.5], [4, 0, 6], [0.5, 6, 0]], np.float16)
    everything = slice(0, 3)
    assert clean_distances(distances, everything, everything).tolist() == [[4, 4, 1], [4, 5, 6], [1, 6, 6]]
    assert distances[0, 0] == 0


def test_whole_maps_are_padded_to_the_largest_and_tell_their_sizes() -> None:
    rows = _rows(13, 150, 9)
    batch = PsicovPreprocessing()(rows, None)
    assert batch.x.shape == (3, 57, 152, 152)
    assert batch.sizes is not None
    assert batch.sizes.tolist() == [[13, 13], [150, 150], [9, 9]]
    assert batch.weight is not None
    for index, length in enumerate((13, 150, 9)):
        assert batch.weight[index, :length, :length].all()
        assert batch.weight[index].sum() == length**2
        assert not batch.x[index, :, length:].any()
        assert not batch.x[index, :, :, length:].any()
        np.testing.assert_array_equal(batch.y[index, :length, :length], _slow_clean(rows["y"][index]))
    assert batch.y.max() > 16


def test_training_inputs_are_crops_with_offsets_of_their_own() -> None:
    rows = _rows(60, 200, CROP)
    seen = set()
    preprocessing = PsicovPreprocessing()
    for seed in range(30):
        batch = preprocessing(rows, np.random.default_rng(seed))
        assert batch.x.shape == (3, 57, CROP, CROP)
        assert batch.x.flags.c_contiguous
        assert batch.sizes is None
        assert batch.y.max() == 16
        # which crop it is, is read off the features: sa of the rows and of the columns
        sa = rows["sa"][1].astype(np.float32)
        column, row = (int(np.flatnonzero(sa == batch.x[1, channel, 0, 0])[0]) for channel in (50, 51))
        seen.add((row, column))
        down, across = slice(row, row + CROP), slice(column, column + CROP)
        np.testing.assert_array_equal(batch.x[1, 54], rows["ccmpred"][1][down, across].astype(np.float32))
        np.testing.assert_array_equal(batch.y[1], _slow_clean(rows["y"][1])[down, across].clip(max=16))
        # what fits is not moved
        np.testing.assert_array_equal(batch.x[2, 54], rows["ccmpred"][2].astype(np.float32))
        np.testing.assert_array_equal(batch.x[0, 54, :60, :60], rows["ccmpred"][0].astype(np.float32))
        assert batch.weight is not None
        assert batch.weight.sum(axis=(1, 2)).tolist() == [3600, CROP**2, CROP**2]
    assert len(seen) > 25
    assert any(row != column for row, column in seen)
    assert all(0 <= offset <= 72 for offsets in seen for offset in offsets)


def test_equal_generators_make_equal_batches() -> None:
    rows, preprocessing = _rows(200, 300), PsicovPreprocessing()
    one, two, other = (preprocessing(rows, np.random.default_rng(seed)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.y, two.y)
    assert (one.x != other.x).any()


@pytest.mark.parametrize("rng", [None, np.random.default_rng(0)])
def test_an_unknown_distance_has_no_weight_and_no_value(rng: np.random.Generator | None) -> None:
    rows = _rows(40)
    rows["y"][0][3] = rows["y"][0][:, 3] = np.nan
    batch = PsicovPreprocessing()(rows, rng)
    assert batch.weight is not None
    assert np.isfinite(batch.y).all()
    assert not batch.weight[0, 3].any()
    # 40² without one row and column, and without the two of the diagonal whose neighbour it is
    assert batch.weight.sum() == 39**2 - 2
