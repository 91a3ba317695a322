"""ECG: windows of single-lead recordings, four rhythm classes (PhysioNet/CinC Challenge 2017)."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from nas360.errors import RawDataError
from nas360.files import MIB
from nas360.loaders.base import Array, Batch, Column, Loader, OutputScale, RawData, Rows, Task
from nas360.loaders.differences import TEST_READ_ONCE
from nas360.loaders.raw.archive import find_raw, fingerprint, members
from nas360.loaders.raw.matfile import read_mat
from nas360.task import SPLITS, Difference, Point, Source, SplitName, TaskSpec

ARCHIVE = "training2017.zip"
REFERENCE = "REFERENCE-v3.csv"
SAMPLE_RATE_HZ = 300
WINDOW = 1000
TRAIN_STRIDES = {"N": 500, "A": 83, "O": 250, "~": 25}
EVALUATION_STRIDE = 500
CLASSES = ("N", "A", "O", "~")

SPEC = TaskSpec(
    id="ecg",
    name="ECG",
    summary="Heart rhythm (normal, atrial fibrillation, other, noisy) from a single-lead recording at 300 Hz",
    spatial_dims=1,
    input_shape=(1, WINDOW),
    output=Point(n_classes=4),
    prediction_shape=(),
    loss="cross_entropy",
    metric="macro_f1_by_record",
    direction="higher",
    bounds=(0.0, 1.0),
    unit="fraction",
    decimals=2,
    unit_of_split="record",
    splits={"train": 6822, "validation": 853, "test": 853},
    rows={"train": 261740},
    group="record_id",
    apart=("record_id",),
    repo="nas360/ecg",
    licence="ODC-By-1.0",
    citation=(
        "@inproceedings{clifford2017af, title={AF Classification from a Short Single Lead ECG Recording: the "
        "PhysioNet/Computing in Cardiology Challenge 2017}, author={Clifford, Gari D and Liu, Chengyu and Moody, "
        "Benjamin and Lehman, Li-wei H and Silva, Ikaro and Li, Qiao and Johnson, Alistair and Mark, Roger G}, "
        "booktitle={Computing in Cardiology}, year={2017}}"
    ),
    sources=(
        Source(filename=ARCHIVE, url="https://archive.physionet.org/challenge/2017/training2017.zip"),
        Source(filename=REFERENCE, url="https://archive.physionet.org/challenge/2017/REFERENCE-v3.csv"),
    ),
    class_names=CLASSES,
    differences=(
        TEST_READ_ONCE,
        Difference(
            reference="windows of validation and test records are cut with a stride that depends on the true label",
            ours="validation and test strides are 500 samples for every record",
            reason="the number of windows would give the label away",
        ),
        Difference(
            reference="search and final training use different record splits; half of the reported test records had "
            "been used to choose the architecture",
            ours="one 80/10/10 split of the records (train_test_split with random_state 0, 0.2 then 0.5) for "
            "everything",
            reason="test records must not be seen by the search",
        ),
        Difference(
            reference="a start in range(0, len - 1000, stride), so that the last full window can be lost",
            ours="the same",
            reason="kept, so that the training set has the published 261,740 windows",
        ),
        Difference(
            reference="ties of the vote go to the class that was met first",
            ours="ties go to the class with the lowest index",
            reason="the result must not depend on the order of windows",
        ),
        Difference(
            reference="labels are paired with recordings by their position in two lists",
            ours="labels are paired with recordings by name",
            reason="the same for whole lists, and right for others",
        ),
        Difference(
            reference="the papers say windows of 1,000 ms with a stride of 500 ms; the code has windows of 1,000 "
            "samples, that is 3.33 s, and strides that differ from class to class",
            ours="windows of 1,000 samples",
            reason="what the published numbers were made with",
        ),
        Difference(
            reference="the papers give the F1 of the challenge, which averages over N, A and O; the code averages "
            "over all four classes, noisy recordings too",
            ours="the mean over four classes is the score; the mean over N, A and O is reported beside it",
            reason="comparable with the published numbers, and with the challenge",
        ),
    ),
)

COLUMNS = {
    "id": Column("string", about="recording and first sample of the window"),
    "record_id": Column("string", about="name of the recording"),
    "x": Column(
        "float32", (WINDOW,), about="window at 300 samples a second, in standard deviations from the recording's mean"
    ),
    "y": Column("int64", names=CLASSES, about="rhythm of the recording"),
}


def open_raw(folder: Path) -> RawData:
    """Read the recordings and labels; see `loaders.base.Loader`. The recordings are held in memory (170 MB officially).

    Raises:
        RawDataError: when files are missing, damaged or not in the official layout, a recording has no label, or a
            label is none of the four.
    """
    paths = find_raw(folder, ARCHIVE, REFERENCE)
    labels = _labels(paths[REFERENCE])
    signals = _signals(paths[ARCHIVE])
    unlabelled = sorted(set(signals) - set(labels))
    if unlabelled:
        raise RawDataError(
            f"{ARCHIVE}: {len(unlabelled)} recordings have no label in {REFERENCE}: {', '.join(unlabelled[:5])}. "
            f"Get both files from one release"
        )
    absent = sorted(set(labels) - set(signals))
    short = sorted(name for name, signal in signals.items() if len(signal) <= WINDOW)
    flat = sorted(name for name, signal in signals.items() if name not in short and signal.min() == signal.max())
    kept = sorted(set(signals) - set(short) - set(flat))
    records = split_records(kept)
    reasons = {"label without a recording": absent, f"{WINDOW} samples or fewer": short, "constant signal": flat}
    return RawData(
        splits={split: partial(_rows, records[split], split, signals, labels) for split in SPLITS},
        sources={name: fingerprint(path) for name, path in paths.items()},
        n_units={split: len(records[split]) for split in SPLITS},
        skipped={reason: tuple(names) for reason, names in reasons.items() if names},
    )


def _labels(path: Path) -> dict[str, str]:
    """Record → label, from lines such as `A00001,N`."""
    try:
        text = path.read_text(encoding="ascii")
    except (UnicodeDecodeError, OSError) as cause:
        raise RawDataError(f"{path.name}: not readable as text ({cause}). Get the file anew") from cause
    labels: dict[str, str] = {}
    for number, line in enumerate(text.split(), start=1):
        record, _, label = line.partition(",")
        if label not in CLASSES:
            raise RawDataError(
                f"{path.name}: line {number} is {line[:40]!r}, must be a record and one of {', '.join(CLASSES)}"
            )
        if labels.setdefault(record, label) != label:
            raise RawDataError(
                f"{path.name}: line {number} labels {record} {label!r}, an earlier line {labels[record]!r}"
            )
    return labels


def _signals(path: Path) -> dict[str, Array]:
    """Record → int16 samples."""
    signals: dict[str, Array] = {}
    for name, read in members(path, max_bytes=1024 * MIB):
        if not name.endswith(".mat"):
            continue
        record = Path(name).stem
        label = f"{path.name}: {name}"
        signal = read_mat(io.BytesIO(read()), "val", ndim=2, max_bytes=16 * MIB, name=label)
        if signal.dtype != np.int16 or signal.shape[0] != 1:
            raise RawDataError(f"{label}: 'val' is {signal.dtype}{signal.shape}, must be int16 (1, n)")
        if record in signals:
            raise RawDataError(f"{path.name}: holds {record} twice")
        signals[record] = signal[0]
    if len(signals) < 10:
        raise RawDataError(
            f"{path.name}: holds {len(signals)} recordings (.mat files); at least 10 are needed for three splits"
        )
    return signals


def split_records(records: Sequence[str]) -> dict[SplitName, list[str]]:
    """Split records 80/10/10 by scikit-learn with random_state 0, as the reference does for its search.

    Args:
        records: names, sorted.

    Returns:
        Split → names, sorted. 8,528 records give 6,822, 853 and 853.
    """
    from sklearn.model_selection import train_test_split

    train, rest = train_test_split(list(records), test_size=0.2, random_state=0)
    validation, test = train_test_split(rest, test_size=0.5, random_state=0)
    return {"train": sorted(train), "validation": sorted(validation), "test": sorted(test)}


def window_starts(n_samples: int, stride: int) -> Array:
    """First samples of the windows: range(0, n_samples - 1000, stride), int64."""
    return np.arange(0, n_samples - WINDOW, stride)


def _rows(records: list[str], split: SplitName, signals: dict[str, Array], labels: dict[str, str]) -> Iterator[Rows]:
    for record in records:
        signal = signals[record].astype(np.float64)
        z = ((signal - signal.mean()) / signal.std()).astype(np.float32)
        label = labels[record]
        starts = window_starts(len(z), TRAIN_STRIDES[label] if split == "train" else EVALUATION_STRIDE)
        yield {
            "id": np.array([f"{record}-{start:05d}" for start in starts]),
            "record_id": np.full(len(starts), record),
            "x": np.lib.stride_tricks.sliding_window_view(z, WINDOW)[starts],
            "y": np.full(len(starts), CLASSES.index(label)),
        }


class Preprocessing:
    """Windows as they are, with a channel axis; no augmentation, as in the reference."""

    output_scale: OutputScale | None = None

    def __call__(self, rows: Rows, rng: np.random.Generator | None) -> Batch:
        """Make a batch; see `loaders.base.Preprocessing`."""
        return Batch(rows["x"][:, None, :], rows["y"])


def fit(rows: Rows) -> Preprocessing:
    """Nothing is fitted: every record was normalised by itself."""
    return Preprocessing()


def _loader() -> Loader:
    from nas360.loaders.synthetic.ecg import write_synthetic

    return Loader(columns=COLUMNS, open_raw=open_raw, fit=fit, synthesise=write_synthetic)


TASK = Task(SPEC, _loader)
