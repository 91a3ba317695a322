"""Clips of log-mel frames to the windows that networks see."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nas360.loaders.base import Array, Batch, FloatArray, OutputScale, Rows
from nas360.loaders.log_mel import FRAME_HOP, MELS, SAMPLE_RATE_HZ

WINDOW = 101
"""Frames in a window: the 1 + 22,050 // 220 frames of one second."""
WINDOW_HOP = 50
TOP_DB = 80.0
"""What lies further below the loudest value of its window is lifted to that."""

MASK_PROBABILITY = 0.5
MAX_MASKS = 2
MAX_MASKED_MELS = 14
"""15 % of 96."""
MAX_MASKED_FRAMES = 20
"""20 % of 101."""

Index = npt.NDArray[np.int64]


def window_starts(n_frames: int) -> Index:
    """First frames of a clip's windows: every 50th, as many as the clip has half seconds, the last one begun.

    A clip shorter than a window has one. These are as many as the reference's chunks. 50 hops are a little less than
    half a second, so that a clip of 5 s has 501; a window of its last two frames, repeated fifty times, would count as
    much as any other.
    """
    half_seconds = -(-(n_frames - 1) * FRAME_HOP * 2 // SAMPLE_RATE_HZ)
    return np.arange(half_seconds if n_frames >= WINDOW else 1) * WINDOW_HOP


def window_frames(starts: Index, n_frames: int) -> Index:
    """The frames of windows, (n, 101); where a clip ends within a window, its frames from the start on are repeated.

    The reference repeats the sound itself, which a row no longer has; that differs in the three or four frames around
    each seam.
    """
    here = starts[:, None]
    return here + np.arange(WINDOW) % (n_frames - here)


class Masks(NamedTuple):
    """Bands and spans to be masked, each int64 (n, 2 masks); a size of 0 masks nothing."""

    first_mel: Index
    n_mels: Index
    first_frame: Index
    n_frames: Index


def draw_masks(n: int, rng: np.random.Generator) -> Masks:
    """SpecAugment for n windows: with probability 0.5 one or two masks, each of a band and a span.

    A band has 0 to 14 mels, a span 0 to 20 frames, uniformly drawn, and lies anywhere.
    """
    used = (rng.random(n) < MASK_PROBABILITY)[:, None] & (np.arange(MAX_MASKS) < rng.integers(1, 3, n)[:, None])
    n_mels = rng.integers(0, MAX_MASKED_MELS, (n, MAX_MASKS), endpoint=True) * used
    n_frames = rng.integers(0, MAX_MASKED_FRAMES, (n, MAX_MASKS), endpoint=True) * used
    return Masks(
        rng.integers(0, MELS - n_mels, endpoint=True),
        n_mels,
        rng.integers(0, WINDOW - n_frames, endpoint=True),
        n_frames,
    )


def apply_masks(x: FloatArray, masks: Masks) -> None:
    """Fill what the masks cover, in x (n, 96, 101), with each window's minimum."""
    mels = _covered(masks.first_mel, masks.n_mels, MELS)
    frames = _covered(masks.first_frame, masks.n_frames, WINDOW)
    covered = mels[:, :, None] | frames[:, None, :]
    lowest = x.min(axis=(1, 2), keepdims=True)
    np.copyto(x, lowest, where=covered)


def _covered(first: Index, size: Index, total: int) -> Array:
    """Bool (n, total)."""
    place = np.arange(total)
    each = (place >= first[..., None]) & (place < (first + size)[..., None])
    return np.asarray(each.any(axis=1))


def normalised(frames: Array) -> FloatArray:
    """Windows as the network sees them.

    The reference also adds 75 dB, which its subtraction of the mean takes away again.

    Args:
        frames: float16 (n, 101, 96), dB.

    Returns:
        float32 (n, 96, 101): not more than 80 dB below the window's loudest value, with a mean of 0.
    """
    x = np.ascontiguousarray(frames.transpose(0, 2, 1), dtype=np.float32)
    np.maximum(x, x.max(axis=(1, 2), keepdims=True) - np.float32(TOP_DB), out=x)
    x -= x.mean(axis=(1, 2), keepdims=True)
    return x


class FsdPreprocessing:
    """One window of each clip with augmentation, or all windows without.

    With a generator: one window begins at a frame drawn uniformly from all at which an evaluation window could begin
    if there were one at every frame (so the windows have the density of the reference's draw among its chunks; of a
    clip shorter than a window that is the first frame alone), and is masked as `draw_masks` says. Where the reference
    pads a spectrogram and crops it, which moves it in time, the start moves freely.
    Without: the windows of `window_starts`; `Batch.row` tells the clip of each.
    Labels become float32 (n, n_labels) of zeros and ones.
    """

    output_scale: OutputScale | None = None

    def __init__(self, n_labels: int) -> None:
        self._n_labels = n_labels

    def __call__(self, rows: Rows, rng: np.random.Generator | None) -> Batch:
        """Make a batch; see `loaders.base.Preprocessing`."""
        clips = rows["x"]
        lengths = np.array([len(clip) for clip in clips])
        if rng is None:
            starts = [window_starts(length) for length in lengths]
        else:
            starts = list(rng.integers(0, np.where(lengths < WINDOW, 1, lengths - 1))[:, None])
        row = np.repeat(np.arange(len(clips)), [len(start) for start in starts])
        frames = np.empty((len(row), WINDOW, MELS), clips[0].dtype)
        done = 0
        for clip, start in zip(clips, starts, strict=True):
            index = window_frames(start, len(clip))
            np.take(clip, index, axis=0, out=frames[done : done + len(start)], mode="clip")
            done += len(start)
        x = normalised(frames)
        if rng is not None:
            apply_masks(x, draw_masks(len(x), rng))
        return Batch(x[:, None], self._multi_hot(rows["y"]), row=row if rng is None else None)

    def _multi_hot(self, labels: Array) -> FloatArray:
        y = np.zeros((len(labels), self._n_labels), np.float32)
        y[np.repeat(np.arange(len(labels)), [len(some) for some in labels]), np.concatenate(list(labels))] = 1
        return y
