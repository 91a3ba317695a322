from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nas360.errors import RawDataError
from nas360.loaders import TASKS, satellite_files
from nas360.loaders.content import ContentHash
from nas360.loaders.data import load_task
from nas360.loaders.pieces import Pieces
from nas360.loaders.prepare import prepare
from nas360.loaders.satellite import ARRAYS, CSV, FOLDER, normalise, open_raw
from nas360.loaders.satellite_files import CLASSES, LARGEST, STEPS
from nas360.seeding import derive
from nas360.task import SPLITS, SplitName

Array = np.ndarray[Any, np.dtype[Any]]


def _series(n: int = 40, seed: int = 0) -> tuple[Array, Array]:
    rng = derive(seed, "series")
    return np.round(rng.uniform(-0.1, 0.9, (n, STEPS)), 5), np.arange(n) % CLASSES + 1


def _text(values: Array, labels: Array) -> str:
    return "".join(
        f"{label}," + ",".join(repr(float(value)) for value in row) + "\n"
        for label, row in zip(labels, values, strict=True)
    )


def _raw(folder: Path, train: str | None = None, test: str | None = None) -> Path:
    (folder / CSV[0]).write_text(_text(*_series(40)) if train is None else train)
    (folder / CSV[1]).write_text(_text(*_series(15, 1)) if test is None else test)
    return folder


def _rows(folder: Path, split: SplitName) -> dict[str, Array]:
    parts = list(open_raw(folder).splits[split]())
    return {name: np.concatenate([part[name] for part in parts]) for name in ("id", "x", "y")}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few lines, so that small files have many, and one lies across the cut."""
    monkeypatch.setattr(satellite_files, "BLOCK_BYTES", 3000)
    monkeypatch.setattr(satellite_files, "BLOCK_ROWS", 7)


def test_rows_are_those_of_the_files_in_order(tmp_path: Path, small_blocks: None) -> None:
    _raw(tmp_path)
    opened = open_raw(tmp_path)
    assert opened.n_units == {"train": 36, "validation": 4, "test": 15}
    parts = [_rows(tmp_path, split) for split in ("train", "validation")]
    values, labels = _series(40)
    x, y, ids = (np.concatenate([part[name] for part in parts]) for name in ("x", "y", "id"))
    expected = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, ddof=0, keepdims=True)
    np.testing.assert_allclose(x, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(y, labels - 1)
    assert ids.tolist() == [f"train-{number:06d}" for number in range(40)]
    assert _rows(tmp_path, "test")["id"].tolist() == [f"test-{number:06d}" for number in range(15)]


def test_the_official_sizes_give_the_official_split() -> None:
    from nas360.loaders.satellite import VALIDATION_PART

    splits = TASKS["satellite"].spec.splits
    assert divmod(900_000, VALIDATION_PART) == (splits["validation"], 0)
    assert splits["train"] + splits["validation"] == 900_000


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends_do_not_matter(tmp_path: Path, small_blocks: None, ending: str, last: bool) -> None:
    text = _text(*_series(40)).replace("\n", ending)
    _raw(tmp_path, text if last else text.rstrip())
    assert open_raw(tmp_path).n_units["train"] == 36
    np.testing.assert_array_equal(_rows(tmp_path, "validation")["y"], _series(40)[1][36:] - 1)


@pytest.mark.parametrize("blank", ["\n", "\r\n", "\n\n \t\n", "\n" * 7000])
def test_blank_lines_at_the_end_do_not_count(tmp_path: Path, small_blocks: None, blank: str) -> None:
    _raw(tmp_path, _text(*_series(40)) + blank)
    assert open_raw(tmp_path).n_units["train"] == 36
    parts = [_rows(tmp_path, split) for split in ("train", "validation")]
    np.testing.assert_array_equal(np.concatenate([part["y"] for part in parts]), _series(40)[1] - 1)


@pytest.mark.parametrize("text", ["", "\n", "\n" * 7000])
def test_blank_lines_alone_are_no_series(tmp_path: Path, small_blocks: None, text: str) -> None:
    _raw(tmp_path, test=text)
    with pytest.raises(RawDataError, match=r"SITS1M_fold1_TEST\.csv: holds no series"):
        open_raw(tmp_path)


def test_a_blank_line_before_others_is_refused(tmp_path: Path, small_blocks: None) -> None:
    _raw(tmp_path, "\n" + _text(*_series(40)))
    with pytest.raises(RawDataError, match=r"line 1: "):
        open_raw(tmp_path)


def test_the_publishers_tree_is_read_too(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    _raw(tmp_path / FOLDER)
    assert open_raw(tmp_path).n_units["test"] == 15


def test_arrays_and_lines_give_the_same_rows(tmp_path: Path, small_blocks: None) -> None:
    lines, pickled = tmp_path / "lines", tmp_path / "arrays"
    for folder in (lines, pickled):
        folder.mkdir()
    _raw(lines)
    for name, series in zip(ARRAYS, (_series(40), _series(15, 1)), strict=True):
        held: Any = {"data": series[0], "label": series[1]}
        np.save(pickled / name, held, allow_pickle=True)
    assert set(open_raw(pickled).sources) == set(ARRAYS)
    columns = TASKS["satellite"].loader.columns
    for split in SPLITS:
        found = []
        for folder in (lines, pickled):
            content = ContentHash(columns)
            content.update(_rows(folder, split))
            found.append(content.hexdigest())
        assert found[0] == found[1]


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (np.zeros((3, STEPS)), r"holds float64\(3, 46\), must be one pickled dictionary"),
        (np.array({"data": np.zeros((3, STEPS))}, dtype=object), "lacks the key 'label'"),
        (np.array({"data": [0.5], "label": np.ones(1)}, dtype=object), "lacks the key 'data' with an array of numbers"),
        (np.array({"data": np.zeros((3, 45)), "label": np.ones(3)}, dtype=object), r"'data' is \(3, 45\)"),
        (np.array({"data": np.zeros((3, STEPS)), "label": np.ones(2)}, dtype=object), r"'label' \(2,\)"),
        (np.array({"data": np.zeros((0, STEPS)), "label": np.ones(0)}, dtype=object), r"'data' is \(0, 46\)"),
        (np.array({"data": np.full((3, STEPS), np.nan), "label": np.ones(3)}, dtype=object), "3 series hold numbers"),
        (np.array({"data": np.zeros((3, STEPS)), "label": np.array([1, 2, 25])}, dtype=object), "the first is 25"),
        (np.array([1, 2], dtype=object), "must be one pickled dictionary"),
        (np.array(7, dtype=object), "lacks the key 'data'"),
        (np.array(os.getcwd, dtype=object), "refused as a pickle: it names "),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, held: Array, message: str) -> None:
    np.save(tmp_path / ARRAYS[0], held, allow_pickle=True)
    (tmp_path / ARRAYS[1]).write_bytes((tmp_path / ARRAYS[0]).read_bytes())
    with pytest.raises(RawDataError, match=message):
        open_raw(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"\x93NUMPY\x09\x00", b"garbage" * 100])
def test_damaged_arrays_are_refused(tmp_path: Path, content: bytes) -> None:
    for name in ARRAYS:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RawDataError, match=r"satellite_train\.npy: damaged, or no .npy file"):
        open_raw(tmp_path)


def test_cut_arrays_are_refused(tmp_path: Path) -> None:
    held: Any = {"data": _series()[0], "label": _series()[1]}
    for name in ARRAYS:
        np.save(tmp_path / name, held, allow_pickle=True)
        os.truncate(tmp_path / name, 3000)
    with pytest.raises(RawDataError, match=r"satellite_train\.npy: damaged pickle"):
        open_raw(tmp_path)


_GOOD = "1" + ",0.5" * STEPS


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1" + ",0.5" * 45, "line 41: Expected 47 columns, got 46"),
        ("1" + ",0.5" * 47, "line 41: Expected 47 columns, got 48"),
        ("", "line 41: CSV conversion error to double: invalid value ''"),
        ("label" + ",ndvi" * STEPS, "line 41: CSV conversion error to double: invalid value 'label'"),
        ("1" + ",0.5" * 45 + ",", "line 41: CSV conversion error"),
        ("1" + ",0.5" * 45 + ",high", "invalid value 'high'"),
        ("1" + ",0.5" * 45 + ",\x00", "line 41: CSV conversion error"),
        ('1,"0.5' + ",0.5" * 44 + ',0.5"', "line 41: CSV conversion error"),
        (
            "1" + ",0.5" * 45 + ",nan",
            "1 series hold numbers that are not finite .*; the first is series 41 of the file",
        ),
        ("1" + ",0.5" * 45 + ",-inf", "1 series hold numbers"),
        ("1" + ",0.5" * 45 + ",1e13", "beyond 1e\\+12"),
        ("0" + ",0.5" * STEPS, "1 labels are not whole numbers from 1 to 24; the first is 0, of series 41"),
        ("25" + ",0.5" * STEPS, "the first is 25"),
        ("2.5" + ",0.5" * STEPS, r"the first is 2\.5"),
        ("nan" + ",0.5" * STEPS, "the first is nan"),
    ],
)
@pytest.mark.parametrize("name", CSV)
def test_a_line_of_another_layout_is_refused_and_told(
    tmp_path: Path, small_blocks: None, name: str, line: str, message: str
) -> None:
    _raw(tmp_path)
    (tmp_path / name).write_text(_text(*_series(40)) + line + "\n" + _GOOD + "\n")
    with pytest.raises(RawDataError, match=f"{name}: .*{message}"):
        open_raw(tmp_path)


def test_a_label_may_be_written_as_a_float(tmp_path: Path) -> None:
    _raw(tmp_path, test="24.0" + _GOOD[1:] + "\n")
    assert _rows(tmp_path, "test")["y"].tolist() == [23]


def test_a_file_without_line_ends_is_refused_before_it_fills_the_memory(tmp_path: Path, small_blocks: None) -> None:
    _raw(tmp_path, test="1" * 10_000)
    with pytest.raises(RawDataError, match=r"SITS1M_fold1_TEST\.csv: line 1 has no end"):
        open_raw(tmp_path)


@pytest.mark.parametrize("name", CSV)
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    (_raw(tmp_path) / name).write_text("")
    with pytest.raises(RawDataError, match=f"{name}: holds no series"):
        open_raw(tmp_path)


def test_too_few_series_for_a_validation_split_are_refused(tmp_path: Path) -> None:
    _raw(tmp_path, train=_text(*_series(8)))
    with pytest.raises(RawDataError, match="8 series; training and validation need at least 9"):
        open_raw(tmp_path)


@pytest.mark.parametrize(("there", "missing"), [(CSV[0], CSV[1]), (CSV[1], CSV[0]), (ARRAYS[0], CSV[0])])
def test_missing_files_are_named(tmp_path: Path, there: str, missing: str) -> None:
    (tmp_path / there).write_text(_text(*_series()))
    with pytest.raises(RawDataError, match=f"lacks .*{missing}"):
        open_raw(tmp_path)


def test_constant_series_become_zeros_and_are_counted(tmp_path: Path) -> None:
    values, labels = _series(40)
    # the mean of 46 times 0.1 is another number than 0.1
    assert np.full(STEPS, 0.1).mean() != 0.1
    values[[3, 38]] = 0.1
    _raw(tmp_path, train=_text(values, labels))
    manifest = prepare(TASKS["satellite"], tmp_path, tmp_path / "repo")
    assert manifest.notes["constant series, made zeros"] == {CSV[0]: 2, CSV[1]: 0}
    data = load_task("satellite", tmp_path / "repo")
    x = data.rows("train", "validation").column("x")
    assert np.flatnonzero(~x.any(axis=1)).tolist() == [3, 38]
    assert np.isfinite(x).all()


@given(arrays(np.float64, (3, STEPS), elements=st.floats(-LARGEST, LARGEST)))
def test_a_normalised_series_has_mean_0_and_deviation_1_or_is_0(values: Array) -> None:
    x = normalise(values).astype(np.float64)
    for row, series in zip(x, values, strict=True):
        assert abs(row.mean()) < 1e-6
        assert row.std() == pytest.approx(0 if series.min() == series.max() else 1, abs=1e-6)


@pytest.mark.parametrize("least", [5e-324, 1e-300, 1.0, LARGEST])
def test_the_smallest_difference_counts(least: float) -> None:
    values = np.full((1, STEPS), least)
    values[0, 7] = np.nextafter(least, 2 * least)
    z = np.full(STEPS, -1 / np.sqrt(STEPS - 1))
    z[7] = np.sqrt(STEPS - 1)
    np.testing.assert_allclose(normalise(values)[0], z, rtol=1e-6)


def test_scale_and_level_of_a_series_do_not_matter() -> None:
    values, _ = _series()
    np.testing.assert_allclose(normalise(values * 10_000 - 3), normalise(values), atol=1e-6)


@given(
    place=st.floats(0, 1),
    removed=st.integers(0, 400),
    put=st.binary(max_size=20)
    | st.sampled_from([b",", b"\n", b"\r", b"nan", b'"', b"\n\n", b"1e400", b"\xef\xbb\xbf"]),
    pickled=st.booleans(),
)
def test_a_damaged_file_is_refused_or_holds_series(place: float, removed: int, put: bytes, pickled: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if pickled:
            held: Any = {"data": _series()[0], "label": _series()[1]}
            for array in ARRAYS:
                np.save(folder / array, held, allow_pickle=True)
        else:
            _raw(folder)
        path = folder / (ARRAYS if pickled else CSV)[0]
        content = path.read_bytes()
        at = int(place * len(content))
        path.write_bytes(content[:at] + put + content[at + removed :])
        try:
            opened = open_raw(folder)
        except RawDataError as error:
            assert path.stem in str(error)
        else:
            rows = [rows for split in SPLITS for rows in opened.splits[split]()]
            assert sum(len(part["y"]) for part in rows) == sum(opened.n_units.values())
            for part in rows:
                assert np.isfinite(part["x"]).all()
                assert ((part["y"] >= 0) & (part["y"] < CLASSES)).all()


def test_two_processes_make_the_same_bytes(tmp_path: Path, small_blocks: None) -> None:
    source = open_raw(_raw(tmp_path)).splits["train"]
    assert isinstance(source, Pieces)
    assert len(source.items) > 2
    alone, together = (ContentHash(TASKS["satellite"].loader.columns) for _ in range(2))
    for rows in source():
        alone.update(rows)
    for piece in source.made_by(2):
        for rows in piece.rows:
            together.update(rows)
    assert together.hexdigest() == alone.hexdigest()


def test_the_twin_can_be_learnt_by_the_nearest_class_mean(synthetic_repo: Callable[[str], Path]) -> None:
    data = load_task("satellite", synthetic_repo("satellite"))
    train, test = data.rows("train"), data.rows("test")
    means = np.stack([train.column("x")[train.column("y") == label].mean(axis=0) for label in range(CLASSES)])
    distance = ((test.column("x")[:, None] - means) ** 2).sum(axis=2)
    assert (distance.argmin(axis=1) == test.column("y")).mean() > 0.9


def test_the_real_series(real_data: Path, tmp_path: Path) -> None:
    manifest = prepare(TASKS["satellite"], real_data / "satellite", tmp_path / "repo")
    assert {split: part.rows for split, part in manifest.splits.items()} == {
        "train": 19_200,
        "validation": 2_400,
        "test": 2_400,
    }
    assert manifest.provenance == "partial"
    rows = load_task("satellite", tmp_path / "repo").rows("test")
    # the last line of the test file, by another reader
    last = (real_data / "satellite" / FOLDER / CSV[1]).read_text().splitlines()[-1].split(",")
    values = np.array([float(value) for value in last[1:]])
    np.testing.assert_allclose(rows.column("x")[-1], (values - values.mean()) / values.std(), atol=1e-6)
    assert rows.column("y")[-1] == int(last[0]) - 1
