"""PSICOV's model inputs: 57 channels from a protein's compact features, whole or as a crop, and targets to match."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas360.loaders.base import Array, Batch, FloatArray, OutputScale, Rows

RESIDUE_FEATURES = {"ss": 3, "pssm": 22, "sa": 1, "entropy": 1}
"""Features of residues, in the order of the channels, with how many there are of each."""

PAIR_FEATURES = ("ccmpred", "freecon", "potential")
"""Features of pairs, in the order of the channels, after those of residues."""

CHANNELS = 2 * sum(RESIDUE_FEATURES.values()) + len(PAIR_FEATURES)
CROP = 128
CLIP_ANGSTROM = 16.0
MULTIPLE = 8
_PAIRED = CHANNELS - len(PAIR_FEATURES)


def residue_features(rows: Rows, index: int) -> FloatArray:
    """All features of the residues of one protein, (L, 27) float32, in the order of the channels."""
    parts = [rows[name][index].reshape(-1, size) for name, size in RESIDUE_FEATURES.items()]
    # concatenated in the widest of their types, which is float32
    return np.concatenate(parts, axis=1, dtype=np.float32)


def fill(out: FloatArray, rows: Rows, index: int, first: Sequence[int] = (0, 0)) -> tuple[slice, slice]:
    """Write one protein's channels, or a window of them, into the first corner of zeros.

    A feature of residues f gives two channels: f[column] at every (row, column), then f[row]. A feature of pairs gives
    one, itself (Adhikari 2020; the order is that of PDNET's code).

    Args:
        out: (57, height, width), written in place; what lies beyond the protein is left as it is.
        rows: the rows' columns.
        index: which row.
        first: first row and first column of the window.

    Returns:
        The rows and columns of the protein's maps that `out` now shows.
    """
    length = len(rows["sa"][index])
    down, across = (slice(start, min(length, start + size)) for start, size in zip(first, out.shape[1:], strict=True))
    features = residue_features(rows, index)
    inner = out[:, : down.stop - down.start, : across.stop - across.start]
    inner[0:_PAIRED:2] = features[across].T[:, None, :]
    inner[1:_PAIRED:2] = features[down].T[:, :, None]
    for channel, name in enumerate(PAIR_FEATURES, start=_PAIRED):
        inner[channel] = rows[name][index][down, across]
    return down, across


def clean_distances(distances: Array, down: slice, across: slice) -> FloatArray:
    """A window of a distance map as the reference cleans it for its loss; the metric never sees this.

    Values below 1 Å become 1 Å; on the diagonal stands the mean of the left and right neighbour, or the only one.

    Args:
        distances: (L, L) in Å, NaN where unknown; L ≥ 2.
        down: rows of the window.
        across: columns of the window.

    Returns:
        The window, float32, in Å, NaN where unknown.
    """
    window = np.maximum(distances[down, across].astype(np.float32), 1.0)
    start, stop = max(down.start, across.start), min(down.stop, across.stop)
    if start < stop:
        on, last = np.arange(start, stop), len(distances) - 1
        left = distances[on, np.where(on > 0, on - 1, 1)].astype(np.float32)
        right = distances[on, np.where(on < last, on + 1, last - 1)].astype(np.float32)
        window[on - down.start, on - across.start] = (np.maximum(left, 1.0) + np.maximum(right, 1.0)) / 2
    return window


class PsicovPreprocessing:
    """Channels from features, and cleaned distances with a weight of 0 where there is padding or nothing is known.

    In training (with a generator) a protein of at most 128 residues stands in the first corner of 128×128 zeros; of a
    longer one a crop is drawn, rows and columns independently, and distances above 16 Å become 16 Å. Otherwise maps
    are whole, padded to the largest of the batch, rounded up to a multiple of 8 for networks with strides, and
    distances are not clipped.

    Attributes:
        output_scale: None; the reference predicts in Å.
    """

    output_scale: OutputScale | None = None

    def __call__(self, rows: Rows, rng: np.random.Generator | None) -> Batch:
        """Make a batch; see `loaders.base.Preprocessing`. Draws two offsets for each protein longer than a crop."""
        lengths = np.array([len(values) for values in rows["sa"]], dtype=np.int64)
        n = len(lengths)
        side = CROP if rng is not None else -(-int(lengths.max(initial=1)) // MULTIPLE) * MULTIPLE
        x = np.zeros((n, CHANNELS, side, side), np.float32)
        y = np.full((n, side, side), np.nan, np.float32)
        for index, length in enumerate(lengths):
            first = (0, 0) if rng is None or length <= CROP else rng.integers(0, length - CROP + 1, size=2).tolist()
            down, across = fill(x[index], rows, index, first)
            window = clean_distances(rows["y"][index], down, across)
            y[index, : window.shape[0], : window.shape[1]] = window
        weight = (~np.isnan(y)).astype(np.float32)
        np.nan_to_num(y, copy=False, nan=0.0)
        if rng is not None:
            np.minimum(y, CLIP_ANGSTROM, out=y)
            return Batch(x, y, weight)
        return Batch(x, y, weight, sizes=np.stack([lengths, lengths], axis=1))
