from __future__ import annotations

import io
import itertools
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from nas360.errors import RawDataError
from nas360.loaders import TASKS
from nas360.loaders.ecg import ARCHIVE, REFERENCE, open_raw, split_records, window_starts
from nas360.loaders.prepare import prepare
from nas360.loaders.synthetic.ecg import write_synthetic
from nas360.task import SPLITS, SplitName


def _load(content: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    value: np.ndarray[tuple[int, ...], np.dtype[np.generic]]
    value = scipy.io.loadmat(io.BytesIO(content))["val"]  # type: ignore[arg-type]  # a stream is documented
    return value


def _mat(values: object, key: str = "val") -> bytes:
    stream = io.BytesIO()
    scipy.io.savemat(stream, {key: values}, format="4")  # type: ignore[arg-type]  # a stream is documented
    return stream.getvalue()


def _raw(folder: Path, members: dict[str, bytes], reference: str) -> Path:
    with zipfile.ZipFile(folder / ARCHIVE, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"training2017/{name}.mat", content)
    (folder / REFERENCE).write_text(reference)
    return folder


def _records(n: int = 20, samples: int = 1200) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    return {f"A{k:05d}": _mat(rng.integers(-500, 500, (1, samples)).astype(np.int16)) for k in range(n)}


def _reference(names: list[str]) -> str:
    return "".join(f"{name},{'NAO~'[number % 4]}\n" for number, name in enumerate(names))


def test_8528_records_split_as_the_reference_does() -> None:
    records = [f"A{number:05d}" for number in range(1, 8529)]
    split = split_records(records)
    assert {name: len(names) for name, names in split.items()} == TASKS["ecg"].spec.splits
    assert sorted(itertools.chain(*split.values())) == records


@pytest.mark.parametrize(
    ("n_samples", "stride", "starts"),
    [
        (1000, 500, []),
        (1001, 500, [0]),
        (2000, 500, [0, 500]),
        (2001, 500, [0, 500, 1000]),
        (1100, 25, [0, 25, 50, 75]),
    ],
)
def test_window_starts_by_hand(n_samples: int, stride: int, starts: list[int]) -> None:
    assert window_starts(n_samples, stride).tolist() == starts


def _expected_windows(real: Path) -> Counter[tuple[SplitName, str]]:
    """Windows by split and class, counted from the headers alone: another file of the archive than the loader reads."""
    labels = dict(line.split(",") for line in (real / REFERENCE).read_text().split())
    lengths = {}
    with zipfile.ZipFile(real / ARCHIVE) as archive:
        for name in archive.namelist():
            if name.endswith(".hea"):
                record, _, _, n_samples = archive.read(name).decode().split()[:4]
                lengths[record] = int(n_samples)
    records = split_records(sorted(lengths))
    count: Counter[tuple[SplitName, str]] = Counter()
    for split in SPLITS:
        for record in records[split]:
            label = labels[record]
            stride = {"N": 500, "A": 83, "O": 250, "~": 25}[label] if split == "train" else 500
            count[split, label] += max(0, -(-(lengths[record] - 1000) // stride))
    return count


def test_the_real_records_give_the_windows_that_their_headers_tell(real_data: Path, tmp_path: Path) -> None:
    expected = _expected_windows(real_data / "ecg")
    found: Counter[tuple[SplitName, str]] = Counter()
    opened = open_raw(real_data / "ecg")
    assert not opened.skipped
    for split in SPLITS:
        for rows in opened.splits[split]():
            found[split, "NAO~"[rows["y"][0]]] += len(rows["y"])
            assert rows["x"].dtype == np.float32
    assert found == expected
    by_class = {label: found["train", label] for label in "NAO~"}
    # the strides are there to balance the classes, which without them differ by a factor of ten and more
    assert max(by_class.values()) < 4 * min(by_class.values())


def test_windows_are_pieces_of_the_record_normalised_as_a_whole(real_data: Path) -> None:
    opened = open_raw(real_data / "ecg")
    rows = next(iter(opened.splits["test"]()))
    record = str(rows["record_id"][0])
    with zipfile.ZipFile(real_data / "ecg" / ARCHIVE) as archive:
        signal = _load(archive.read(f"training2017/{record}.mat"))[0].astype(np.float64)
    z = (signal - signal.mean()) / signal.std()
    for identifier, window in zip(rows["id"], rows["x"], strict=True):
        start = int(str(identifier).split("-")[1])
        np.testing.assert_allclose(window, z[start : start + 1000], rtol=1e-6, atol=1e-6)


def test_evaluation_windows_do_not_tell_the_label(tmp_path: Path) -> None:
    """Records of one length have one number of windows in validation and test, whatever their class."""
    names = [f"A{k:05d}" for k in range(60)]
    opened = open_raw(_raw(tmp_path, _records(60, 4000), _reference(names)))
    for split in ("validation", "test"):
        assert {len(rows["y"]) for rows in opened.splits[split]()} == {6}
    by_class = {int(rows["y"][0]): len(rows["y"]) for rows in opened.splits["train"]()}
    assert by_class == {0: 6, 1: 37, 2: 12, 3: 120}


def test_a_recording_without_label_is_named(tmp_path: Path) -> None:
    names = list(_records())
    with pytest.raises(RawDataError, match=r"2 recordings have no label in REFERENCE-v3\.csv: A00000, A00001"):
        open_raw(_raw(tmp_path, _records(), _reference(names[2:])))


def test_what_is_left_out_is_counted_and_named(tmp_path: Path) -> None:
    records = _records() | {
        "B00001": _mat(np.zeros((1, 5000), np.int16)),
        "B00002": _mat(np.arange(1000, dtype=np.int16)[None]),
    }
    opened = open_raw(_raw(tmp_path, records, _reference([*records, "C00001"])))
    assert opened.skipped == {
        "label without a recording": ("C00001",),
        "1000 samples or fewer": ("B00002",),
        "constant signal": ("B00001",),
    }
    assert sum(opened.n_units.values()) == 20
    task = TASKS["ecg"]
    assert prepare(task, tmp_path, tmp_path / "out").skipped == opened.skipped


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("A00000,X", "line 1 is 'A00000,X'"),
        ("A00000", "line 1 is 'A00000'"),
        ("A00000,N\nA00000,A", "an earlier line 'N'"),
    ],
)
def test_faulty_labels_are_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(RawDataError, match=message):
        open_raw(_raw(tmp_path, _records(), line + "\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_mat(np.zeros((2, 1200), np.int16)), r"must be int16 \(1, n\)"),
        (_mat(np.zeros((1, 1200))), "float64"),
        (_mat(np.zeros((1, 1200), np.int16), key="ecg"), "val"),
        (b"", "A00003"),
        (b"text in the place of a signal", "A00003"),
    ],
)
def test_faulty_recordings_are_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    records = _records() | {"A00003": content}
    with pytest.raises(RawDataError, match=message) as caught:
        open_raw(_raw(tmp_path, records, _reference(list(records))))
    assert "A00003" in str(caught.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")  # zipfile warns of what this test does on purpose
def test_a_recording_that_stands_twice_is_refused(tmp_path: Path) -> None:
    _raw(tmp_path, _records(), _reference(list(_records())))
    with zipfile.ZipFile(tmp_path / ARCHIVE, "a") as archive:
        archive.writestr("training2017/A00003.mat", _records()["A00003"])
    with pytest.raises(RawDataError, match="holds A00003 twice"):
        open_raw(tmp_path)


def test_the_twin_is_in_the_official_layout(tmp_path: Path) -> None:
    write_synthetic(tmp_path, 3)
    with zipfile.ZipFile(tmp_path / ARCHIVE) as archive:
        names = archive.namelist()
        assert "training2017/RECORDS" in names
        header = archive.read("training2017/A00001.hea").decode().split()
        signal = _load(archive.read("training2017/A00001.mat"))
    assert signal.dtype == np.int16
    assert signal.shape == (1, int(header[3]))
