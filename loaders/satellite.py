"""Satellite: land cover of a pixel from a year of satellite images of Toulouse, 24 classes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from nas360.errors import RawDataError
from nas360.loaders.base import Array, Batch, Column, FloatArray, Loader, OutputScale, RawData, Rows, Task
from nas360.loaders.differences import TEST_READ_ONCE
from nas360.loaders.pieces import Piece, Pieces
from nas360.loaders.raw.archive import fingerprint
from nas360.loaders.satellite_files import CLASSES, STEPS, Block, array_blocks, csv_blocks
from nas360.task import Difference, Point, Source, TaskSpec

FOLDER = "SITS_2006_NDVI_C"  # in the publishers' tree
CSV = ("SITS1M_fold1_TRAIN.csv", "SITS1M_fold1_TEST.csv")
ARRAYS = ("satellite_train.npy", "satellite_test.npy")
VALIDATION_PART = 9  # one ninth of the training file: 100,000 of 900,000
_CLOUDSTOR = (
    "https://cloudstor.aarnet.edu.au/plus/s/pRLVtQyNhxDdCoM/download?path=%2FDataset%2FSITS_2006_NDVI_C%2FSITS1M_fold1"
)
_DRIVE = "https://drive.google.com/uc?id="
_CLOSED = (
    "the service that held it has been closed. Where you have no copy, download satellite_train.npy and "
    "satellite_test.npy in its place, which hold the same series"
)
_BROWSER = "Google Drive hands out large files after a confirmation only: open the address in a browser"

SPEC = TaskSpec(
    id="satellite",
    name="Satellite",
    summary="Land cover of a pixel from its vegetation index on 46 dates of one year",
    spatial_dims=1,
    input_shape=(1, STEPS),
    output=Point(n_classes=CLASSES),
    prediction_shape=(),
    loss="cross_entropy",
    metric="zero_one_error",
    direction="lower",
    bounds=(0.0, 100.0),
    unit="percent",
    decimals=2,
    unit_of_split="pixel",
    splits={"train": 800000, "validation": 100000, "test": 100000},
    repo="nas360/satellite",
    licence="unknown (no licence text is known for the series; NAS-Bench-360 lists GPL-3.0)",
    citation=(
        "@article{petitjean2012satellite, title={Satellite Image Time Series Analysis Under Time Warping}, "
        "author={Petitjean, François and Inglada, Jordi and Gançarski, Pierre}, journal={IEEE Transactions on "
        "Geoscience and Remote Sensing}, volume={50}, number={8}, pages={3081--3095}, "
        "year={2012}}\n"
        "@inproceedings{tan2017indexing, title={Indexing and classifying gigabytes of time series under "
        "time warping}, author={Tan, Chang Wei and Webb, Geoffrey I. and Petitjean, François}, "
        "booktitle={Proceedings of the 2017 SIAM International Conference on Data Mining}, year={2017}}"
    ),
    sources=(
        Source(
            filename=CSV[0],
            unpacked=(f"{FOLDER}/{CSV[0]}",),
            url=f"{_CLOUDSTOR}&files={CSV[0]}",
            note="900,000 series; the first column is the label",
            manual=_CLOSED,
        ),
        Source(
            filename=CSV[1],
            unpacked=(f"{FOLDER}/{CSV[1]}",),
            url=f"{_CLOUDSTOR}&files={CSV[1]}",
            note="100,000 series",
            manual=_CLOSED,
        ),
        Source(
            filename=ARRAYS[0],
            url=_DRIVE + "1TB38jKE1njCyo_M4P8iYvNmF6BV4T51f",
            note="the same training series, as the authors of NAS-Bench-360 distribute them; about 323 MiB",
            manual=_BROWSER,
            optional=True,
        ),
        Source(
            filename=ARRAYS[1],
            url=_DRIVE + "1u8iakYN99Vea81ucDGtEYbRkCAR99pDL",
            note="the same test series, as the authors of NAS-Bench-360 distribute them; about 36 MiB",
            manual=_BROWSER,
            optional=True,
        ),
    ),
    differences=(
        TEST_READ_ONCE,
        Difference(
            reference="each series is divided by its standard deviation without a guard, so that a constant series "
            "becomes NaN",
            ours="a constant series becomes zeros",
            reason="one NaN ends a training run",
        ),
        Difference(
            reference="the text of the paper says 46 land cover types",
            ours="24 classes; 46 is the number of dates",
            reason="that is what the data, the code and the paper's own table have",
        ),
        Difference(
            reference="DenseNAS sees a zero added at each end of a series",
            ours="46 steps for every method",
            reason="all methods must see the same input",
        ),
        Difference(
            reference="the split is random over pixels, so that neighbours in one field are likely to be in training "
            "and test",
            ours="the same: the last 100,000 of the 900,000 training series validate, fold 1 tests",
            reason="what the published numbers were made with; positions of the pixels are not published",
        ),
    ),
)

COLUMNS = {
    "id": Column("string", about="file, and number of the row in it, from 0"),
    "x": Column("float32", (STEPS,), about="vegetation index on 46 dates, with mean 0 and deviation 1 in each series"),
    # not the bare numbers, which could be taken for indices
    "y": Column(
        "int64", names=tuple(f"label {number}" for number in range(1, 1 + CLASSES)), about="the publishers' label"
    ),
}


def open_raw(folder: Path) -> RawData:
    """Check every line of the CSV files, or of the arrays in their place; see `loaders.base.Loader`.

    The CSV files may lie in `folder` or in its `SITS_2006_NDVI_C`, and are read block by block; the arrays are held in
    memory (360 MB, 1.1 GB while they are opened).

    Raises:
        RawDataError: when files are missing, empty or not of the official layout.
    """
    paths = _find(folder)
    blocks = array_blocks if paths[0].suffix == ".npy" else csv_blocks
    found: list[list[Block]] = []
    sizes, constant = [], {}
    for path in paths:
        parts = [(block, len(values), int(_constant(values).sum())) for block, values in blocks(path)]
        found.append([block for block, _, _ in parts])
        sizes.append(sum(n for _, n, _ in parts))
        constant[path.name] = sum(count for _, _, count in parts)
    n_train, n_test = sizes
    n_validation = n_train // VALIDATION_PART
    if n_validation == 0:
        raise RawDataError(f"{paths[0].name}: {n_train} series; training and validation need at least 9")
    cut = n_train - n_validation
    return RawData(
        splits={
            "train": Pieces(partial(_piece, "train", 0, cut), _within(found[0], 0, cut)),
            "validation": Pieces(partial(_piece, "train", cut, n_train), _within(found[0], cut, n_train)),
            "test": Pieces(partial(_piece, "test", 0, n_test), found[1]),
        },
        sources={path.name: fingerprint(path) for path in paths},
        n_units={"train": cut, "validation": n_validation, "test": n_test},
        notes={"constant series, made zeros": constant},
    )


def _find(folder: Path) -> tuple[Path, Path]:
    """Training and test file, in the first form that is there whole."""
    for place, (train, test) in ((folder, CSV), (folder / FOLDER, CSV), (folder, ARRAYS)):
        if (place / train).is_file() and (place / test).is_file():
            return place / train, place / test
    missing = [name for name in CSV if not any((place / name).is_file() for place in (folder, folder / FOLDER))]
    raise RawDataError(
        f"{folder} lacks {' and '.join(missing or CSV)} (both must lie in one folder), and has not both of "
        f"{' and '.join(ARRAYS)} in their place. `nas360 info satellite` shows where to get them"
    )


def _within(blocks: Sequence[Block], start: int, stop: int) -> list[Block]:
    """The blocks with rows from `start` to before `stop`, some perhaps with further rows."""
    ends = [block.first for block in blocks[1:]] + [stop]
    return [block for block, end in zip(blocks, ends, strict=True) if block.first < stop and end > start]


def _piece(file: str, start: int, stop: int, block: Block) -> Piece:
    """The rows of a block that lie from `start` to before `stop`."""
    values, labels = block.read()
    rows = slice(max(0, start - block.first), stop - block.first)
    x, y = normalise(values[rows]), labels[rows].astype(np.int64) - 1
    begin = block.first + (rows.start or 0)
    return Piece([{"id": np.array([f"{file}-{begin + row:06d}" for row in range(len(y))]), "x": x, "y": y}])


def _constant(values: Array) -> Array:
    # of equal numbers the computed mean may be another one, and the deviation not 0
    constant: Array = values.min(axis=1) == values.max(axis=1)
    return constant


def normalise(values: Array) -> FloatArray:
    """Each series with mean 0 and deviation 1 (that of a population: divided by 46); constant ones become 0.

    Args:
        values: (n, steps) float64, finite.

    Returns:
        (n, steps) float32; computed in float64.
    """
    constant = _constant(values)
    # near 1 by a power of two, which changes no digit, so that nothing is too small to be divided or squared
    _, exponent = np.frexp(np.abs(values).max(axis=1, keepdims=True))
    scaled = np.ldexp(values, -exponent)
    centred = scaled - scaled.mean(axis=1, keepdims=True)
    centred -= centred.mean(axis=1, keepdims=True)  # what the rounding of a mean far from 0 has left
    centred[constant] = 0
    deviation = np.sqrt((centred * centred).mean(axis=1, keepdims=True))
    deviation[constant] = 1
    x: FloatArray = (centred / deviation).astype(np.float32)
    return x


class Preprocessing:
    """Series as they are, with a channel axis; no augmentation, as in the reference."""

    output_scale: OutputScale | None = None

    def __call__(self, rows: Rows, rng: np.random.Generator | None) -> Batch:
        """Make a batch; see `loaders.base.Preprocessing`."""
        return Batch(np.ascontiguousarray(rows["x"][:, None, :]), rows["y"])


def fit(rows: Rows) -> Preprocessing:
    """Nothing is fitted: every series was normalised by itself."""
    return Preprocessing()


def _loader() -> Loader:
    from nas360.loaders.synthetic.satellite import write_synthetic

    return Loader(columns=COLUMNS, open_raw=open_raw, fit=fit, synthesise=write_synthetic)


TASK = Task(SPEC, _loader)
