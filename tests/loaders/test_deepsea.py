"""DeepSEA: a few sequences out of files that are read once, block by block, in any layout of their storage."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from nas360.errors import RawDataError
from nas360.loaders import TASKS, deepsea, deepsea_files
from nas360.loaders.base import Rows
from nas360.loaders.deepsea import DRAWN, OFFICIAL_SEQUENCES, draw, label_indices, open_raw
from nas360.loaders.deepsea_files import ARCHIVE, FILES, open_file, read_bases, read_labels
from nas360.loaders.prepare import missing_units, prepare
from nas360.loaders.raw.archive import unpack_tar
from nas360.task import SPLITS, SplitName

Array = npt.NDArray[Any]
STEMS: Mapping[SplitName, str] = {"train": "train", "validation": "valid", "test": "test"}


def _whole(folder: Path) -> dict[SplitName, tuple[Array, Array]]:
    """Bases (n, 4, 1000) and features (n, 919) of all three files, read whole by other means."""
    with h5py.File(folder / "train.mat") as file:
        arrays: dict[SplitName, tuple[Array, Array]] = {
            "train": (np.transpose(file["trainxdata"][:], (2, 1, 0)), file["traindata"][:].T)
        }
    for split in ("validation", "test"):
        content = scipy.io.loadmat(str(folder / f"{STEMS[split]}.mat"))
        arrays[split] = content[f"{STEMS[split]}xdata"], content[f"{STEMS[split]}data"]
    return arrays


def _write(folder: Path, arrays: Mapping[SplitName, tuple[Array, Array]], **storage: Any) -> Path:
    """The three files; `storage` is how h5py lays out train.mat's sequences."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, (bases, features) in arrays.items():
        stem = STEMS[split]
        if split == "train":
            with h5py.File(folder / "train.mat", "w") as file:
                file.create_dataset("trainxdata", data=bases.T, **storage)
                file.create_dataset("traindata", data=features.T)
        else:
            variables = {f"{stem}xdata": bases, f"{stem}data": features}
            scipy.io.savemat(str(folder / f"{stem}.mat"), variables)
    return folder


def _made(n: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 5, (n, 1000))
    features = (rng.random((n, 919)) < 0.02).astype(np.uint8)
    return (codes[:, None] == np.arange(4)[:, None]).astype(np.uint8), features


@pytest.fixture(scope="module")
def arrays() -> dict[SplitName, tuple[Array, Array]]:
    return {"train": _made(40, 1), "validation": _made(20, 2), "test": _made(30, 3)}


@pytest.fixture
def folder(tmp_path: Path, arrays: dict[SplitName, tuple[Array, Array]]) -> Path:
    _write(tmp_path / "deepsea_train", arrays)
    return tmp_path


def _rows(folder: Path, split: SplitName) -> Rows:
    batches = list(open_raw(folder).splits[split]())
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _expected(bases: Array, features: Array, split: SplitName) -> Rows:
    labels = features[:, list(label_indices())]
    kept = np.flatnonzero(labels.sum(1) > 0)
    return {"id": np.array([f"{split}-{row:07d}" for row in kept]), "x": bases[kept], "y": labels[kept]}


# --- what is read


def test_rows_are_the_sequences_with_a_label(folder: Path, arrays: dict[SplitName, tuple[Array, Array]]) -> None:
    opened = open_raw(folder)
    for split in SPLITS:
        rows, expected = _rows(folder, split), _expected(*arrays[split], split)
        assert 0 < len(expected["id"]) < len(arrays[split][0])
        assert opened.n_units[split] == len(expected["id"])
        for name, values in expected.items():
            np.testing.assert_array_equal(rows[name], values)
        assert rows["x"].dtype == rows["y"].dtype == np.uint8


def test_the_twin_is_read_as_by_other_means(synthetic_raw: Callable[[str], Path], tmp_path: Path) -> None:
    with tarfile.open(synthetic_raw("deepsea") / ARCHIVE) as archive:
        assert archive.getnames() == [f"deepsea_train/{name}" for name in FILES]
        archive.extractall(tmp_path, filter="data")
    whole = _whole(tmp_path / "deepsea_train")
    for split in SPLITS:
        for name, values in _expected(*whole[split], split).items():
            # from the archive, and from the folder that it was unpacked to
            np.testing.assert_array_equal(_rows(synthetic_raw("deepsea"), split)[name], values)
            np.testing.assert_array_equal(_rows(tmp_path, split)[name], values)
        bases, features = whole[split]
        forward = len(bases) // 2
        # A, G, C, T: the complement is the order of the channels in reverse
        np.testing.assert_array_equal(bases[forward:], bases[:forward, ::-1, ::-1])
        np.testing.assert_array_equal(features[forward:], features[:forward])
        positives = features[:, list(label_indices())].sum(0)
        assert (positives > 0).all()
        assert (positives < len(bases)).all()


@settings(max_examples=25)
@given(st.data())
def test_no_layout_of_the_storage_changes_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[SplitName, tuple[Array, Array]], data: st.DataObject
) -> None:
    bases, features = arrays["train"]
    shapes = st.tuples(st.integers(50, 1000), st.integers(1, 4), st.integers(1, 40))
    storage = data.draw(
        st.one_of(st.just({}), st.builds(lambda chunks: {"chunks": chunks, "compression": "gzip"}, shapes))
    )
    folder = _write(tmp_path_factory.mktemp("layout"), {"train": (bases, features)}, **storage)
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, 39), min_size=1))))
    columns = sorted(data.draw(st.sets(st.integers(0, 918), min_size=1, max_size=50)))
    file = open_file(folder / "train.mat", "train.mat", 100)
    np.testing.assert_array_equal(np.concatenate(list(read_bases(file, rows))), bases[rows])
    np.testing.assert_array_equal(read_labels(file, rows, columns), features[rows][:, columns])


@pytest.mark.parametrize("block", [1000, 50_000])
@pytest.mark.parametrize("compressed", [False, True])
def test_files_of_version_5_are_read_in_parts(
    compressed: bool, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas360.loaders.raw.mat5.BLOCK_BYTES", block)
    monkeypatch.setattr(deepsea_files, "_BATCH", 7)
    bases, features = _made(60)
    variables = {"testxdata": bases, "testdata": features}
    scipy.io.savemat(str(tmp_path / "test.mat"), variables, do_compression=compressed)
    file = open_file(tmp_path / "test.mat", "test.mat", 100)
    rows = np.array([0, 1, 5, 17, 30, 31, 32, 33, 34, 59])
    batches = list(read_bases(file, rows))
    assert [len(batch) for batch in batches] == [7, 3]
    np.testing.assert_array_equal(np.concatenate(batches), bases[rows])
    np.testing.assert_array_equal(read_labels(file, rows, [3, 4, 918]), features[rows][:, [3, 4, 918]])


# --- the draw


def test_the_draw_is_a_twentieth_of_the_official_sequences_and_always_the_same() -> None:
    drawn = draw(OFFICIAL_SEQUENCES["train"])
    assert len(drawn) == len(np.unique(drawn)) == DRAWN == OFFICIAL_SEQUENCES["train"] // 20
    assert (np.diff(drawn) > 0).all()
    assert drawn[0] >= 0
    assert drawn[-1] < OFFICIAL_SEQUENCES["train"]
    # uniform: five standard deviations of the count in a tenth
    counts = np.bincount(drawn * 10 // OFFICIAL_SEQUENCES["train"], minlength=10)
    assert np.abs(counts - DRAWN / 10).max() < 5 * np.sqrt(DRAWN * 0.09)
    # a part of the protocol: another NumPy must not draw others
    digest = hashlib.sha256(drawn.astype("<i8").tobytes()).hexdigest()
    assert digest.startswith("a90e5d13625dc275")


@given(st.integers(1, DRAWN))
def test_small_files_are_taken_whole(count: int) -> None:
    np.testing.assert_array_equal(draw(count), np.arange(count))


def test_the_draw_comes_before_the_filter(
    folder: Path, arrays: dict[SplitName, tuple[Array, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deepsea, "DRAWN", 15)
    drawn = draw(40)
    assert len(drawn) == 15
    _, features = arrays["train"]
    expected = [f"train-{row:07d}" for row in drawn if features[row, list(label_indices())].any()]
    assert _rows(folder, "train")["id"].tolist() == expected


# --- whole or partial


def test_whole_files_make_official_data_whatever_the_filter_leaves(
    folder: Path,
    arrays: dict[SplitName, tuple[Array, Array]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = {split: len(bases) for split, (bases, _) in arrays.items()}
    partial = prepare(TASKS["deepsea"], folder, tmp_path / "partial")
    assert partial.provenance == "partial"
    assert partial.departures[0] == "train.mat holds 40 sequences, the official file 4,400,000"
    assert len(partial.departures) == 3
    with pytest.raises(RawDataError, match=r"not the official distribution: train\.mat holds 40 sequences"):
        prepare(TASKS["deepsea"], folder, tmp_path / "refused", require_complete=True)
    monkeypatch.setattr(deepsea, "OFFICIAL_SEQUENCES", sizes)
    whole = prepare(TASKS["deepsea"], folder, tmp_path / "whole", require_complete=True)
    assert (whole.provenance, whole.departures) == ("official", ())
    assert whole.content_sha256 == partial.content_sha256


def test_sizes_that_are_the_references_are_told_as_such() -> None:
    spec = TASKS["deepsea"].spec
    assert [spec.official_size(split) for split in SPLITS] == ["about 71,753", "about 2,490", "about 149,400"]
    assert missing_units(spec, dict.fromkeys(SPLITS, 5)) == ""
    exact = spec.model_copy(update={"splits_exact": True})
    assert exact.official_size("train") == "71,753"
    assert missing_units(exact, dict.fromkeys(SPLITS, 5)).startswith("train has 5 of 71,753, validation has 5 of 2,490")


def test_files_without_any_of_the_labels_are_kept_but_told(tmp_path: Path) -> None:
    arrays: dict[SplitName, tuple[Array, Array]] = {}
    for number, split in enumerate(SPLITS):
        bases, features = _made(8, number)
        features[:, list(label_indices())] = 0
        arrays[split] = bases, features
    opened = open_raw(_write(tmp_path, arrays))
    assert opened.n_units == dict.fromkeys(SPLITS, 8)
    assert opened.departures[-1] == "no sequence has any of the 36 labels; all are kept, none is scored"
    assert opened.notes["labels_without_positives"] == {split: list(range(36)) for split in SPLITS}


def test_a_file_alone_without_any_label_is_refused(folder: Path, arrays: dict[SplitName, tuple[Array, Array]]) -> None:
    bases, features = arrays["validation"]
    _write(folder / "deepsea_train", {"validation": (bases, np.zeros_like(features))})
    with pytest.raises(RawDataError, match=r"^valid\.mat: no sequence has any of the 36 labels"):
        open_raw(folder)


def test_the_stand_in_is_read_as_by_other_means(real_data: Path) -> None:
    whole = _whole(real_data / "deepsea" / "deepsea_train")
    opened = open_raw(real_data / "deepsea")
    for split in SPLITS:
        bases, _ = whole[split]
        # none of the eight features that it has is a label of the task
        assert opened.n_units[split] == len(bases)
        np.testing.assert_array_equal(_rows(real_data / "deepsea", split)["x"], bases)
    assert opened.departures[-1].startswith("no sequence has any of the 36 labels")


# --- the archive


def test_the_archive_is_unpacked_once(
    synthetic_raw: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS360_CACHE", str(tmp_path / "cache"))
    unpacked = []

    def counted(*arguments: Any, **options: Any) -> None:
        unpacked.append(arguments)
        unpack_tar(*arguments, **options)

    monkeypatch.setattr("nas360.loaders.raw.unpacked.unpack_tar", counted)
    first = open_raw(synthetic_raw("deepsea"))
    assert open_raw(synthetic_raw("deepsea")).n_units == first.n_units
    assert len(unpacked) == 1
    assert set(first.sources) == {ARCHIVE}
    (held,) = (path for path in (tmp_path / "cache" / "unpacked").iterdir() if path.is_dir())
    assert sorted(path.name for path in held.iterdir()) == sorted(FILES)
    assert held.name == first.sources[ARCHIVE]
    # one file lost: all are unpacked again
    (held / "test.mat").unlink()
    open_raw(synthetic_raw("deepsea"))
    assert len(unpacked) == 2


def _tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_unpacking_writes_the_wanted_members_alone(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(3_000_000)
    path = _tar(tmp_path / "a.tar.gz", [("x/readme", b"text"), ("x/big.mat", content), ("small.mat", b"")])
    unpack_tar(path, ("big.mat", "small.mat"), tmp_path / "out", max_bytes=4_000_000)
    assert {item.name: item.read_bytes() for item in (tmp_path / "out").iterdir()} == {
        "big.mat": content,
        "small.mat": b"",
    }


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("x/big.mat", b"1")], r"a\.tar\.gz: lacks small\.mat"),
        ([("big.mat", b"1"), ("x/big.mat", b"2"), ("small.mat", b"")], r"holds big\.mat twice"),
        ([("../big.mat", b"1"), ("small.mat", b"")], "leads out of the archive"),
        ([("big.mat", bytes(200)), ("small.mat", b"")], "holds more than"),
    ],
)
def test_unpacking_refuses_unsafe_or_incomplete_archives(
    members: list[tuple[str, bytes]], message: str, tmp_path: Path
) -> None:
    path = _tar(tmp_path / "a.tar.gz", members)
    with pytest.raises(RawDataError, match=message):
        unpack_tar(path, ("big.mat", "small.mat"), tmp_path / "out", max_bytes=100)
    assert not (tmp_path / "big.mat").exists()


def test_unpacking_a_truncated_archive_leaves_no_half_of_a_file(tmp_path: Path) -> None:
    path = _tar(tmp_path / "a.tar.gz", [("big.mat", np.random.default_rng(0).bytes(3_000_000))])
    path.write_bytes(path.read_bytes()[:2_000_000])
    with pytest.raises(RawDataError, match=r"a\.tar\.gz: damaged or incomplete archive"):
        unpack_tar(path, ("big.mat",), tmp_path / "out", max_bytes=4_000_000)
    assert not list((tmp_path / "out").iterdir())


# --- bad input


def test_missing_files_are_named_at_once(folder: Path, tmp_path: Path) -> None:
    for name in ("valid.mat", "test.mat"):
        (folder / "deepsea_train" / name).unlink()
    with pytest.raises(RawDataError, match=r"deepsea_train lacks valid\.mat, test\.mat of deepsea_train_bundle"):
        open_raw(folder)
    (folder / "deepsea_train" / "train.mat").unlink()
    with pytest.raises(RawDataError, match=r"lacks deepsea_train_bundle\.v0\.9\.tar\.gz"):
        open_raw(folder)


def _changed(values: Array, where: tuple[int, ...], value: float) -> Array:
    changed = values.astype(np.float64 if np.isnan(value) or value % 1 or value < 0 else np.uint8)
    changed[where] = value
    return changed


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    ("value", "message"), [(2, "holds 2, must be 0 or 1"), (0.5, "holds 0.5, must"), (np.nan, "holds nan, must")]
)
def test_values_that_are_neither_zero_nor_one_are_refused(
    value: float,
    message: str,
    split: SplitName,
    folder: Path,
    arrays: dict[SplitName, tuple[Array, Array]],
) -> None:
    bases, features = arrays[split]
    label = label_indices()[7]
    row = int(np.flatnonzero(features[:, list(label_indices())].any(1))[1])
    _write(folder / "deepsea_train", {split: (bases, _changed(features, (row, label), value))})
    with pytest.raises(RawDataError, match=rf"{STEMS[split]}\.mat: '{STEMS[split]}data' {message}"):
        open_raw(folder)
    _write(folder / "deepsea_train", {split: (_changed(bases, (row, 3, 999), value), features)})
    with pytest.raises(RawDataError, match=rf"{STEMS[split]}\.mat: '{STEMS[split]}xdata' {message}"):
        _rows(folder, split)


def test_a_base_that_is_two_at_once_is_refused_with_its_place(
    folder: Path, arrays: dict[SplitName, tuple[Array, Array]]
) -> None:
    bases, features = (values.copy() for values in arrays["test"])
    row = int(np.flatnonzero(features[:, list(label_indices())].any(1))[2])
    bases[row, 1:3, 77] = 1
    _write(folder / "deepsea_train", {"test": (bases, features)})
    with pytest.raises(RawDataError, match=rf"test\.mat: 'testxdata': base 77 of sequence {row} is more than one"):
        _rows(folder, "test")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((6, 1000, 4), (6, 919)), r"have the shapes \(6, 1000, 4\) and \(6, 919\), must be \(n, 4, 1000\)"),
        (((6, 4, 1000), (6, 918)), r"and \(6, 918\), must be"),
        (((6, 4, 1000), (5, 919)), r"\(6, 4, 1000\) and \(5, 919\), must be"),
        (((0, 4, 1000), (0, 919)), "holds 0 sequences|is empty|has shape|shapes"),
        (((101, 4, 1000), (101, 919)), "holds 101 sequences, must be 1 to 100 as in the official file"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_arrays_of_other_shapes_are_refused(
    shapes: tuple[tuple[int, ...], tuple[int, ...]], message: str, split: SplitName, tmp_path: Path
) -> None:
    _write(tmp_path, {split: (np.zeros(shapes[0], np.uint8), np.zeros(shapes[1], np.uint8))})
    with pytest.raises(RawDataError, match=message):
        open_file(tmp_path / f"{STEMS[split]}.mat", "the file", 100)


def test_a_missing_array_is_named(folder: Path, arrays: dict[SplitName, tuple[Array, Array]]) -> None:
    scipy.io.savemat(str(folder / "deepsea_train" / "valid.mat"), {"validdata": arrays["validation"][1]})
    with pytest.raises(RawDataError, match=r"valid\.mat: no variable 'validxdata'"):
        open_raw(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damaged_files_are_refused_by_name(name: str, damage: str, folder: Path, tmp_path: Path) -> None:
    path = folder / "deepsea_train" / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"<html>not found</html>" * 100)
    with pytest.raises(RawDataError, match=name.replace(".", r"\.")):
        for split in SPLITS:
            list(open_raw(folder).splits[split]())


def test_a_hostile_size_takes_no_memory(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "train.mat", "w") as file:
        file.create_dataset("trainxdata", (1000, 4, 10**12), np.uint8, chunks=(1, 1, 1000))
        file.create_dataset("traindata", (919, 10**12), np.uint8, chunks=(1, 1000))
    with pytest.raises(RawDataError, match="holds 1,000,000,000,000 sequences, must be 1 to 4,400,000"):
        open_file(tmp_path / "train.mat", "train.mat", OFFICIAL_SEQUENCES["train"])


# --- the model input


def test_the_model_input_is_the_sequence_as_numbers(arrays: dict[SplitName, tuple[Array, Array]]) -> None:
    bases, features = arrays["train"]
    rows = {"x": bases, "y": features[:, :36]}
    batch = TASKS["deepsea"].loader.fit(rows)(rows, np.random.default_rng(0))
    assert batch.x.dtype == batch.y.dtype == np.float32
    np.testing.assert_array_equal(batch.x, bases)
    np.testing.assert_array_equal(batch.y, features[:, :36])


def test_the_twin_can_be_learnt(synthetic_raw: Callable[[str], Path]) -> None:
    """Words of eight bases that are common among a label's training sequences find it in test sequences."""
    counts = {}
    for split in ("train", "test"):
        rows = _rows(synthetic_raw("deepsea"), split)
        code = (rows["x"] * np.arange(4, dtype=np.uint8)[:, None]).sum(1)
        words = sum(code[:, offset : 993 + offset].astype(np.int64) * 4 ** (5 - offset) for offset in range(6))
        words = np.asarray(words)
        table = np.zeros((len(words), 4**6), np.float32)
        np.add.at(table, (np.arange(len(words))[:, None], words), 1)
        counts[split] = np.minimum(table, 5), rows["y"]
    from sklearn.linear_model import Ridge
    from sklearn.metrics import roc_auc_score

    model = Ridge(10.0).fit(*counts["train"])
    assert roc_auc_score(counts["test"][1], model.predict(counts["test"][0]), average="macro") > 0.75
