from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas360.loaders.base import Array, Rows
from nas360.loaders.fsd50k_windows import (
    FsdPreprocessing,
    Masks,
    apply_masks,
    draw_masks,
    normalised,
    window_frames,
    window_starts,
)
from nas360.loaders.log_mel import log_mel, n_frames

N_LABELS = 7


def _rows(*lengths: int) -> Rows:
    """Clips in which each value tells its clip, frame and mel."""
    x, y = np.empty(len(lengths), object), np.empty(len(lengths), object)
    for clip, length in enumerate(lengths):
        x[clip] = np.random.default_rng(clip).uniform(-90, 30, (length, 96)).astype(np.float16)
        y[clip] = np.array([clip % N_LABELS, N_LABELS - 1][: 1 + clip % 2])
    return {"id": np.arange(len(lengths)).astype(str), "x": x, "y": y}


@pytest.mark.parametrize(
    ("frames", "starts"),
    [
        (4, [0]),
        (51, [0]),
        (100, [0]),
        (101, [0, 50]),
        (102, [0, 50, 100]),
        (151, [0, 50, 100]),
        (201, [0, 50, 100, 150]),
    ],
)
def test_window_starts_by_hand(frames: int, starts: list[int]) -> None:
    assert window_starts(frames).tolist() == starts


@given(st.integers(661, 60 * 22050))
def test_a_clip_has_as_many_windows_as_the_reference_has_chunks(samples: int) -> None:
    ours = len(window_starts(n_frames(samples)))
    reference = len(range(0, samples, 11025)) if samples >= 22050 else 1
    # a chunk of less than a hop has no frame of its own; a clip that lacks less than a hop of a second has its frames
    beyond = (samples - 1) % 11025 < 220
    assert ours == reference or (ours == reference - 1 and beyond) or (ours == 2 and 22000 <= samples < 22050)


@pytest.mark.parametrize("seconds", [1, 2, 5, 7, 30])
def test_a_clip_of_whole_seconds_has_exactly_as_many(seconds: int) -> None:
    assert len(window_starts(n_frames(seconds * 22050))) == 2 * seconds


def test_a_window_that_the_clip_ends_in_is_filled_by_hand() -> None:
    np.testing.assert_array_equal(window_frames(np.array([50]), 90)[0], [*range(50, 90)] * 2 + [*range(50, 71)])


@given(st.integers(1, n_frames(60 * 22050)))
def test_windows_cover_every_frame_and_no_other(length: int) -> None:
    frames = window_frames(window_starts(length), length)
    assert frames.shape[1] == 101
    assert set(frames.ravel()) == set(range(length))


def test_a_window_is_the_reference_chunk_but_for_its_edges() -> None:
    """The spectrogram of one second of sound is the window of the clip's, but for the two frames at each edge."""
    signal = np.random.default_rng(0).normal(0, 0.1, 4 * 22050)
    clip = log_mel(signal)
    windows = clip[window_frames(window_starts(len(clip)), len(clip))]
    for number in range(5):
        chunk = log_mel(signal[number * 11000 :][:22050])
        np.testing.assert_allclose(windows[number, 2:-2], chunk[2:-2], rtol=0, atol=1e-9)
        np.testing.assert_allclose(windows[number], chunk, rtol=0, atol=25)


def test_a_second_form_of_the_normalisation_agrees() -> None:
    frames = np.random.default_rng(0).uniform(-100, 50, (3, 101, 96)).astype(np.float16)
    for window, ours in zip(frames.astype(np.float64), normalised(frames), strict=True):
        limited = np.maximum(window, window.max() - 80) + 75
        np.testing.assert_allclose(ours, (limited - limited.mean()).T, rtol=0, atol=1e-4)


def test_plain_inputs_are_all_windows_of_each_clip() -> None:
    rows = _rows(300, 30, 101)
    batch = FsdPreprocessing(N_LABELS)(rows, None)
    assert batch.row is not None
    np.testing.assert_array_equal(batch.row, [0] * 6 + [1] + [2] * 2)
    assert batch.x.shape == (9, 1, 96, 101)
    assert batch.x.dtype == np.float32
    assert batch.x.flags.c_contiguous
    np.testing.assert_array_equal(batch.x[1, 0], normalised(rows["x"][0][None, 50:151])[0])
    tiled = np.concatenate([rows["x"][1]] * 4)[:101]
    np.testing.assert_array_equal(batch.x[6, 0], normalised(tiled[None])[0])


def test_labels_become_zeros_and_ones() -> None:
    batch = FsdPreprocessing(N_LABELS)(_rows(101, 101, 101), None)
    expected = np.zeros((3, N_LABELS), np.float32)
    expected[0, 0] = expected[1, 1] = expected[1, 6] = expected[2, 2] = 1
    np.testing.assert_array_equal(batch.y, expected)
    assert batch.y.dtype == np.float32


def test_a_training_input_is_one_window_of_the_clip() -> None:
    rows = _rows(*range(102, 202))
    batch = FsdPreprocessing(N_LABELS)(rows, np.random.default_rng(0))
    assert batch.row is None
    assert batch.x.shape == (100, 1, 96, 101)
    unmasked = 0
    for clip, x in zip(rows["x"], batch.x[:, 0], strict=True):
        candidates = normalised(clip[window_frames(np.arange(len(clip) - 1), len(clip))])
        same = (candidates == x).mean(axis=(1, 2))
        # two masks cover less than three fifths
        assert same.max() > 0.4
        unmasked += same.max() == 1
    assert 30 < unmasked < 75  # half of them, and those whose masks are empty


@pytest.mark.parametrize("length", [4, 60, 100])
def test_a_clip_of_less_than_a_second_is_seen_whole(length: int) -> None:
    """As in the reference, which makes one chunk of it, and never one of its last few milliseconds."""
    clip = _rows(length)["x"][0]
    whole = normalised(clip[np.arange(101) % length][None])[0]
    rows: dict[str, Array] = {"x": np.empty(60, object), "y": np.empty(60, object)}
    for number in range(60):
        rows["x"][number], rows["y"][number] = clip, np.array([0])
    for rng in (None, np.random.default_rng(0)):
        x = FsdPreprocessing(N_LABELS)(rows, rng).x[:, 0]
        assert len(x) == 60
        # what is not masked
        assert ((x == whole).mean(axis=(1, 2)) > 0.4).all()


def test_training_windows_begin_anywhere_with_equal_chance() -> None:
    """In a clip that grows louder by 0.25 dB a frame, the loudest value tells where a window begins."""
    clip = np.repeat(np.arange(301, dtype=np.float16)[:, None], 96, axis=1) / 4
    rows: dict[str, Array] = {"x": np.empty(3000, object), "y": np.empty(3000, object)}
    for number in range(3000):
        rows["x"][number], rows["y"][number] = clip, np.array([0])
    x = FsdPreprocessing(N_LABELS)(rows, np.random.default_rng(0)).x[:, 0]
    # a window that lies in the clip whole has a range of 100 steps, one of n < 101 frames n - 1; few masks lessen it
    steps = np.round((x.max(axis=(1, 2)) - x.min(axis=(1, 2))) * 4).astype(int)
    assert (steps == 100).mean() == pytest.approx(200 / 300, abs=0.04)
    short = np.bincount(steps[steps < 100], minlength=100)
    assert short[0] == 0  # none of a single frame
    assert (short[1:] > 0).all()


def test_equal_generators_draw_equal_inputs() -> None:
    rows = _rows(*range(90, 120))
    make = FsdPreprocessing(N_LABELS)
    first, again, other = (make(rows, np.random.default_rng(seed)).x for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_rows_are_left_as_they_were() -> None:
    rows = _rows(150, 20)
    before = [clip.copy() for clip in rows["x"]]
    for clip in rows["x"]:
        clip.flags.writeable = False
    FsdPreprocessing(N_LABELS)(rows, np.random.default_rng(0))
    for clip, copy in zip(rows["x"], before, strict=True):
        np.testing.assert_array_equal(clip, copy)


def test_a_mask_covers_what_it_says_by_hand() -> None:
    x = np.random.default_rng(0).normal(size=(2, 96, 101)).astype(np.float32)
    before = x.copy()
    apply_masks(
        x,
        Masks(*(np.array(part) for part in ([[3, 0], [0, 0]], [[2, 0], [0, 0]], [[99, 7], [0, 0]], [[2, 1], [0, 0]]))),
    )
    np.testing.assert_array_equal(x[1], before[1])
    covered = np.zeros((96, 101), bool)
    covered[3:5] = covered[:, 99:101] = covered[:, 7] = True
    np.testing.assert_array_equal(x[0], np.where(covered, before[0].min(), before[0]))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_masks_stay_within_the_window_and_their_sizes(seed: int) -> None:
    masks = draw_masks(50, np.random.default_rng(seed))
    assert (masks.n_mels <= 14).all()
    assert (masks.n_frames <= 20).all()
    assert (masks.first_mel + masks.n_mels <= 96).all()
    assert (masks.first_frame + masks.n_frames <= 101).all()
    assert min(part.min() for part in masks) >= 0


def test_half_of_the_windows_are_masked_and_half_of_these_twice() -> None:
    masks = draw_masks(20_000, np.random.default_rng(0))
    used = (masks.n_mels > 0) | (masks.n_frames > 0)
    empty = 1 / 15 / 21  # a mask that was drawn without size
    assert used[:, 0].mean() == pytest.approx(0.5 * (1 - empty), abs=0.01)
    assert used[:, 1].mean() == pytest.approx(0.25 * (1 - empty), abs=0.01)
    assert masks.n_mels.max() == 14
    assert masks.n_frames.max() == 20
