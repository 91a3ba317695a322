"""CIFAR-100: natural images of 32×32 pixels, 100 classes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nas360.errors import RawDataError
from nas360.files import MIB
from nas360.loaders.base import Array, Batch, Column, FloatArray, Loader, OutputScale, RawData, Rows, Task
from nas360.loaders.differences import TEST_READ_ONCE
from nas360.loaders.labels import CIFAR100_CLASSES
from nas360.loaders.raw.archive import find_raw, fingerprint, members
from nas360.loaders.raw.pickles import load_pickle
from nas360.task import Difference, Point, Source, TaskSpec

ARCHIVE = "cifar-100-python.tar.gz"
SHAPE = (3, 32, 32)
VALIDATION_SHARE = 0.2
PADDING = 4
CUTOUT = 16
# per-channel mean and standard deviation of the official training images on the scale [0, 1]
MEAN = (0.5071, 0.4867, 0.4408)
STD = (0.2675, 0.2565, 0.2761)

SPEC = TaskSpec(
    id="cifar100",
    name="CIFAR-100",
    summary="Class of a natural image of 32x32 pixels",
    spatial_dims=2,
    input_shape=(3, 32, 32),
    output=Point(n_classes=100),
    prediction_shape=(),
    loss="cross_entropy",
    metric="zero_one_error",
    direction="lower",
    bounds=(0.0, 100.0),
    unit="percent",
    decimals=2,
    unit_of_split="image",
    splits={"train": 40000, "validation": 10000, "test": 10000},
    repo="nas360/cifar100",
    licence="unknown (published without a licence text; the author asks for citation)",
    citation=(
        "@techreport{krizhevsky2009learning, title={Learning Multiple Layers of Features from Tiny Images}, "
        "author={Krizhevsky, Alex}, institution={University of Toronto}, year={2009}}"
    ),
    sources=(
        Source(
            filename=ARCHIVE,
            url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            size_bytes=169001437,
            sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            md5="eb9058c3a382ffc7106e4002c42a8d85",
        ),
    ),
    class_names=CIFAR100_CLASSES,
    differences=(
        TEST_READ_ONCE,
        Difference(
            reference="validation images go through the training transform: they are cropped, flipped and cut out at "
            "random",
            ours="validation images are only normalised",
            reason="validation must measure what test measures",
        ),
        Difference(
            reference="the paper says that train and validation are partitioned at random; the code slices by index",
            ours="the first 40,000 official training images are train, the last 10,000 validation",
            reason="what the published numbers were made with",
        ),
    ),
)

COLUMNS = {
    "id": Column("string", about="split of the archive and place in it"),
    "x": Column("uint8", SHAPE, about="image, 0 to 255: red, green, blue; rows from the top"),
    "y": Column("int64", names=CIFAR100_CLASSES, about="fine class"),
}


def open_raw(folder: Path) -> RawData:
    """Read the archive; see `loaders.base.Loader`. All of it is held in memory (180 MB for the official one).

    Raises:
        RawDataError: when the archive is missing, damaged or not in the official layout.
    """
    path = find_raw(folder, ARCHIVE)[ARCHIVE]
    parts: dict[str, Any] = {}
    for name, read in members(path, max_bytes=512 * MIB, max_members=100):
        part = Path(name).name
        if part in ("train", "test", "meta"):
            parts[part] = load_pickle(read(), f"{path.name}: {name}")
    missing = [part for part in ("train", "test", "meta") if part not in parts]
    if missing:
        raise RawDataError(f"{path.name}: lacks {', '.join(missing)}; the official archive holds train, test and meta")
    names = tuple(name.decode("latin1") for name in _field(parts["meta"], b"fine_label_names", list, path.name))
    if names != CIFAR100_CLASSES:
        raise RawDataError(f"{path.name}: meta names other classes than the 100 official ones, or in another order")
    train_x, train_y = _images(parts["train"], f"{path.name}: train")
    test_x, test_y = _images(parts["test"], f"{path.name}: test")
    cut = len(train_x) - round(len(train_x) * VALIDATION_SHARE)
    return RawData(
        splits={
            "train": partial(_rows, "train", train_x[:cut], train_y[:cut], 0),
            "validation": partial(_rows, "train", train_x[cut:], train_y[cut:], cut),
            "test": partial(_rows, "test", test_x, test_y, 0),
        },
        sources={path.name: fingerprint(path)},
        n_units={"train": cut, "validation": len(train_x) - cut, "test": len(test_x)},
    )


def _field(part: object, key: bytes, kind: type, source: str) -> Any:
    value = part.get(key) if isinstance(part, dict) else None
    if not isinstance(value, kind):
        raise RawDataError(
            f"{source}: lacks the key {key.decode()!r} with a {kind.__name__}; this is not the official layout"
        )
    return value


def _images(part: object, source: str) -> tuple[Array, Array]:
    data = _field(part, b"data", np.ndarray, source)
    labels = _field(part, b"fine_labels", list, source)
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != np.prod(SHAPE):
        raise RawDataError(f"{source}: data is {data.dtype}{data.shape}, must be uint8 (n, 3072)")
    if len(labels) != len(data):
        raise RawDataError(f"{source}: {len(labels)} labels for {len(data)} images")
    wrong = [label for label in labels if not isinstance(label, int) or not 0 <= label < len(CIFAR100_CLASSES)]
    if wrong:
        raise RawDataError(f"{source}: {len(wrong)} labels are not whole numbers from 0 to 99, first {wrong[0]!r}")
    return data.reshape(-1, *SHAPE), np.array(labels, dtype=np.int64)


def _rows(file: str, x: Array, y: Array, first: int) -> Iterator[Rows]:
    for start in range(0, len(x), 4096):
        stop = min(start + 4096, len(x))
        ids = np.array([f"{file}-{first + number:05d}" for number in range(start, stop)])
        yield {"id": ids, "x": x[start:stop], "y": y[start:stop]}


class Preprocessing:
    """Normalised images; for training also a random crop of the zero-padded image, a flip, and Cutout.

    This is the reference's augmentation. Cutout sets a square of 16×16, with its centre uniform over the image and
    clipped at the border, to 0 after normalisation.
    """

    output_scale: OutputScale | None = None

    def __init__(self) -> None:
        mean, std = np.array(MEAN)[:, None, None], np.array(STD)[:, None, None]
        # float32, as networks compute; one multiplication and one addition a pixel
        self._scale: FloatArray = (1 / (255 * std)).astype(np.float32)
        self._shift: FloatArray = (-mean / std).astype(np.float32)

    def __call__(self, rows: Rows, rng: np.random.Generator | None) -> Batch:
        """Make a batch; see `loaders.base.Preprocessing`."""
        x = rows["x"] if rng is None else crop_and_flip(rows["x"], PADDING, rng)
        x = x * self._scale + self._shift
        if rng is not None:
            cut_out(x, CUTOUT, rng)
        return Batch(np.ascontiguousarray(x), rows["y"])


def crop_and_flip(x: Array, padding: int, rng: np.random.Generator) -> Array:
    """Crop every image at a random place of its zero-padded self, then mirror every second one on average.

    Args:
        x: (n, channels, height, width), any dtype.
        padding: pixels added on every side.
        rng: draws rows, columns and flips, uniformly.

    Returns:
        Images of the same shape and dtype.
    """
    n, _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    rows = rng.integers(0, 2 * padding + 1, (n, 1)) + np.arange(height)
    columns = rng.integers(0, 2 * padding + 1, (n, 1)) + np.arange(width)
    flip = rng.random(n) < 0.5
    columns[flip] = columns[flip, ::-1]
    image, channel = np.arange(n)[:, None, None, None], np.arange(x.shape[1])[None, :, None, None]
    cropped: Array = padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
    return cropped


def cut_out(x: FloatArray, size: int, rng: np.random.Generator) -> None:
    """Set one square of every image to 0, in place (DeVries and Taylor, 2017).

    Args:
        x: (n, channels, height, width).
        size: side of the square, even; its centre is uniform over the image and the square is clipped at the border.
        rng: draws the centres.
    """
    n, _, height, width = x.shape
    inside = []
    for length in (height, width):
        offset = np.arange(length) - rng.integers(0, length, (n, 1))
        inside.append((offset >= -size // 2) & (offset < size // 2))
    x *= ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])


def fit(rows: Rows) -> Preprocessing:
    """Nothing is fitted: mean and deviation are the published ones."""
    return Preprocessing()


def _loader() -> Loader:
    from nas360.loaders.synthetic.cifar100 import write_synthetic

    return Loader(columns=COLUMNS, open_raw=open_raw, fit=fit, synthesise=write_synthetic)


TASK = Task(SPEC, _loader)
