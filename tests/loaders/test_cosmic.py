from __future__ import annotations

import io
import pickle
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas360.errors import RawDataError
from nas360.loaders import TASKS
from nas360.loaders.cosmic import CosmicPreprocessing, cut_at, open_raw
from nas360.loaders.data import load_task
from nas360.loaders.prepare import prepare
from nas360.loaders.repository.manifest import Manifest
from nas360.task import SPLITS

Array = np.ndarray[Any, Any]
TASK = TASKS["cosmic"]
TRAIN = Path("npy_train/f435w")


@pytest.fixture(scope="session")
def unpacked(synthetic_raw: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cosmic-unpacked")
    for part in ("train", "test"):
        with tarfile.open(synthetic_raw("cosmic") / f"deepCR.ACS-WFC.{part}.tar") as archive:
            archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def raw(unpacked: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(unpacked, tmp_path / "raw"))


def _rows(raw: Path) -> dict[str, dict[str, Any]]:
    """Every row by its id, with its split."""
    opened = open_raw(raw)
    found: dict[str, dict[str, Any]] = {}
    for split in SPLITS:
        for rows in opened.splits[split]():
            for index, name in enumerate(rows["id"]):
                assert name not in found
                found[str(name)] = {"split": split} | {key: values[index] for key, values in rows.items()}
    return found


def test_rows_hold_what_the_files_hold(unpacked: Path) -> None:
    found = _rows(unpacked)
    files = [path for path in unpacked.rglob("*.npy") if path.name != "sky.npy"]
    assert len(found) == len(files) == 16
    for path in files:
        part, _, proposal, visit, name = path.relative_to(unpacked).parts
        row = found[f"{part.removeprefix('npy_')}-{proposal}-{visit}-{name.removesuffix('.npy')}"]
        exposure = int(name.split("_")[0])
        array = np.load(path)
        assert (row["visit"], row["exposure"]) == (f"{proposal}_{visit}", exposure)
        assert row["sky"] == np.float32(np.load(path.with_name("sky.npy"))[exposure - 1])
        assert (row["split"] == "test") == (part == "npy_test")
        np.testing.assert_array_equal(row["x"], array[0], strict=True)
        np.testing.assert_array_equal(row["y"], array[1].astype(np.uint8), strict=True)
        ignore = array[2] if len(array) == 3 else np.zeros((256, 256))
        np.testing.assert_array_equal(row["ignore"], ignore.astype(np.uint8), strict=True)
    assert open_raw(unpacked).notes["patches_without_ignore_plane"] == {"train": 4, "validation": 2, "test": 2}


def test_no_visit_is_on_both_sides(unpacked: Path) -> None:
    sides: dict[str, set[str]] = {}
    for row in _rows(unpacked).values():
        sides.setdefault(row["visit"], set()).add(row["split"])
    assert sides == {"9490_a3": {"train"}, "10760_2": {"train"}, "10760_4": {"validation"}, "12058_16": {"test"}}


Keys = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from("ab"), st.integers(1, 2), st.integers(0, 5)),
    min_size=2,
    max_size=60,
    unique=True,
).map(sorted)


@given(Keys)
def test_the_cut_is_at_the_nearest_border_of_what_can_be_kept_whole(keys: list[tuple[int, str, int, int]]) -> None:
    cut, kind = cut_at(keys)
    size = {"visit": 2, "exposure": 3, "patch": 4}[kind]
    assert 0 < cut < len(keys)
    target = int(0.9 * len(keys))

    def sound(at: int, size: int) -> bool:
        return not {key[:size] for key in keys[:at]} & {key[:size] for key in keys[at:]}

    assert sound(cut, size)
    assert all(abs(at - target) >= abs(cut - target) for at in range(1, len(keys)) if sound(at, size))
    if size > 2:
        assert not any(sound(at, size - 1) for at in range(1, len(keys)))


@pytest.mark.parametrize(
    ("keys", "cut"),
    [
        ([(1, "a", 1, number) for number in range(10)], (9, "patch")),
        ([(1, "a", 1 + number // 6, number) for number in range(10)], (6, "exposure")),
        ([(1, "a", 1, 0), (1, "b", 1, 0)], (1, "visit")),
        # 4 and 8 are equally near to 6
        ([(1, "a", 1, 0)] * 4 + [(1, "b", 1, 0)] * 3, (4, "visit")),
    ],
)
def test_cuts_by_hand(keys: list[tuple[int, str, int, int]], cut: tuple[int, str]) -> None:
    assert cut_at(keys) == cut


@pytest.mark.parametrize("keys", [[], [(1, "a", 1, 0)]])
def test_too_few_patches_are_refused(keys: list[tuple[int, str, int, int]]) -> None:
    with pytest.raises(RawDataError, match="at least 2 are needed"):
        cut_at(keys)


def test_one_visit_alone_is_cut_and_told(raw: Path) -> None:
    shutil.rmtree(raw / TRAIN / "9490")
    shutil.rmtree(raw / TRAIN / "10760" / "4")
    opened = open_raw(raw)
    assert opened.n_units == {"train": 2, "validation": 2, "test": 4}
    assert "all training patches are of one visit" in opened.departures[-1]
    assert opened.departures[-1].endswith("at the end of one exposure")


def _as_tars(unpacked: Path, folder: Path) -> None:
    """Members in another order, below another folder."""
    for part in ("train", "test"):
        with tarfile.open(folder / f"deepCR.ACS-WFC.{part}.tar", "w") as archive:
            for path in sorted((unpacked / f"npy_{part}").rglob("*.npy"), reverse=True):
                archive.add(path, f"deepCR.ACS-WFC.{part}/{path.relative_to(unpacked).as_posix()}")


def _as_named_folders(unpacked: Path, folder: Path) -> None:
    for part in ("train", "test"):
        shutil.copytree(unpacked / f"npy_{part}", folder / f"deepCR.ACS-WFC.{part}" / f"npy_{part}")


def _as_folders(unpacked: Path, folder: Path) -> None:
    shutil.copytree(unpacked, folder, dirs_exist_ok=True)


@pytest.mark.parametrize("pack", [_as_tars, _as_named_folders, _as_folders])
def test_all_forms_of_the_distribution_give_the_same_dataset(
    unpacked: Path, synthetic_repo: Callable[[str], Path], tmp_path: Path, pack: Callable[[Path, Path], None]
) -> None:
    (tmp_path / "raw").mkdir()
    pack(unpacked, tmp_path / "raw")
    manifest = prepare(TASK, tmp_path / "raw", tmp_path / "out")
    expected = Manifest.model_validate_json((synthetic_repo("cosmic") / "manifest.json").read_text())
    assert manifest.content_sha256 == expected.content_sha256
    assert manifest.provenance == "partial"


def test_workers_change_no_byte(unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas360.loaders.cosmic.PATCHES_A_PIECE", 3)
    files = []
    for workers in (1, 2):
        manifest = prepare(TASK, unpacked, tmp_path / str(workers), workers=workers)
        files.append([file.sha256 for split in SPLITS for file in manifest.splits[split].files])
    assert files[0] == files[1]


def test_other_filters_and_fields_are_left_out(raw: Path) -> None:
    before = set(_rows(raw))
    shutil.copytree(raw / TRAIN / "10760" / "2", raw / TRAIN / "11111" / "1")
    shutil.copytree(raw / TRAIN, raw / "npy_train" / "f814w")
    assert set(_rows(raw)) == before
    assert open_raw(raw).notes["patches_of_other_fields"] == {"train": 4, "test": 0}


def test_a_visit_in_training_and_test_is_noted(raw: Path) -> None:
    shutil.copytree(raw / TRAIN / "10760" / "2", raw / "npy_test" / "f435w" / "10760" / "2")
    opened = open_raw(raw)
    assert opened.notes["visits_in_training_and_test"] == ["10760_2"]
    assert opened.n_units["test"] == 8


def test_all_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(RawDataError, match="is not a folder"):
        open_raw(tmp_path / "none")
    with pytest.raises(RawDataError, match=r"lacks deepCR\.ACS-WFC\.train\.tar .* and deepCR\.ACS-WFC\.test\.tar"):
        open_raw(tmp_path)
    for part in ("train", "test"):
        (tmp_path / f"npy_{part}").mkdir()
    with pytest.raises(RawDataError, match="npy_train: holds no npy_train/f435w/PROPOSAL"):
        open_raw(tmp_path)


@pytest.mark.parametrize(
    ("sky", "message"),
    [
        (None, "2 patches have no level|4 patches have no level"),
        (np.array([50.0]), "2 patches have no level .*: train-10760-2-2_0, train-10760-2-2_1"),
        (np.array([np.nan, 1.0]), "2 patches"),
        (np.array([1.0, 1e300]), "2 patches"),
        (np.array([[1.0, 2.0]]), "4 patches"),
        (np.array(["a", "b"]), "must hold real numbers"),
    ],
)
def test_levels_of_the_sky_that_are_missing_are_told(raw: Path, sky: Array | None, message: str) -> None:
    path = raw / TRAIN / "10760" / "2" / "sky.npy"
    path.unlink()
    if sky is not None:
        np.save(path, sky)
    with pytest.raises(RawDataError, match=message):
        open_raw(raw)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((3, 128, 128), np.float32),
            r"has shape \(3, 128, 128\), must have \(2, 256, 256\) or \(3, 256, 256\)",
        ),
        (np.zeros((1, 256, 256), np.float32), "has shape"),
        (np.zeros((4, 256, 256), np.float32), "has shape|no official file of its kind"),
        (np.zeros((3, 256, 256), "S1"), "must hold real numbers"),
    ],
)
def test_faulty_patches_are_refused_by_name(raw: Path, array: Array, message: str) -> None:
    np.save(raw / TRAIN / "10760" / "2" / "1_0.npy", array)
    with pytest.raises(RawDataError, match=message) as caught:
        _rows(raw)
    assert "1_0" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", pickle.dumps(np.zeros(3)), b"x" * 786_560])
def test_files_that_are_no_arrays_are_refused(raw: Path, content: bytes) -> None:
    (raw / TRAIN / "10760" / "2" / "1_0.npy").write_bytes(content)
    with pytest.raises(RawDataError, match=r"train-10760-2-1_0: damaged, or no \.npy file"):
        _rows(raw)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_an_image_that_is_not_finite_is_a_counted_skip(raw: Path, tmp_path: Path, value: float) -> None:
    path = raw / TRAIN / "10760" / "2" / "1_0.npy"
    array = np.load(path).astype(np.float64)
    array[0, 3, 4] = value
    np.save(path, array)
    manifest = prepare(TASK, raw, tmp_path / "out")
    assert manifest.skipped == {"values that are not finite in the image": ("train-10760-2-1_0",)}
    assert manifest.splits["train"].rows == manifest.splits["train"].units == 7


@pytest.mark.parametrize(("plane", "value"), [(1, 2), (1, -1), (2, 0.5), (1, np.nan), (2, np.inf)])
def test_a_mask_that_is_not_of_0_and_1_is_a_counted_skip(raw: Path, tmp_path: Path, plane: int, value: float) -> None:
    path = raw / TRAIN / "10760" / "2" / "1_0.npy"
    array = np.load(path).astype(np.float64)
    array[plane, 3, 4] = value
    np.save(path, array)
    manifest = prepare(TASK, raw, tmp_path / "out")
    assert manifest.skipped == {"values other than 0 and 1 in the mask or ignore plane": ("train-10760-2-1_0",)}
    assert manifest.splits["train"].rows == manifest.splits["train"].units == 7
    assert manifest.provenance == "partial"


def test_a_split_of_unusable_masks_alone_is_refused_with_the_reason(raw: Path, tmp_path: Path) -> None:
    for path in (raw / "npy_test").rglob("[0-9]_[0-9].npy"):
        array = np.load(path)
        array[1] *= 255
        array[1, 0, 0] = 255
        np.save(path, array)
    with pytest.raises(RawDataError, match=r"no rows for the split 'test': .*; 4 left out for: values other than 0"):
        prepare(TASK, raw, tmp_path / "out")


def test_a_split_of_unusable_images_alone_is_refused_with_the_reason(raw: Path, tmp_path: Path) -> None:
    for path in sorted((raw / "npy_test").rglob("[0-9]_[0-9].npy")):
        array = np.load(path)
        array[0, 0, 0] = np.nan
        np.save(path, array)
    with pytest.raises(RawDataError, match=r"no rows for the split 'test': .*; 4 left out for: values that are not"):
        prepare(TASK, raw, tmp_path / "out")


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8"])
def test_images_of_other_widths_are_read(raw: Path, dtype: str) -> None:
    path = raw / TRAIN / "10760" / "2" / "1_1.npy"
    array = np.load(path).round()
    np.save(path, array.astype(dtype))
    np.testing.assert_array_equal(_rows(raw)["train-10760-2-1_1"]["x"], array[0], strict=True)
    assert open_raw(raw).notes["patches_without_ignore_plane"]["train"] == 4


def _tar_of(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_hostile_archives_are_refused(unpacked: Path, tmp_path: Path) -> None:
    shutil.copytree(unpacked / "npy_test", tmp_path / "npy_test")
    archive = tmp_path / "deepCR.ACS-WFC.train.tar"
    _tar_of(archive, {"../npy_train/f435w/10760/2/1_0.npy": b""})
    with pytest.raises(RawDataError, match="leads out of the archive"):
        open_raw(tmp_path)
    name = "npy_train/f435w/10760/2/1_0.npy"
    _tar_of(archive, {f"a/{name}": b"", f"b/{name}": b""})
    with pytest.raises(RawDataError, match="holds train-10760-2-1_0 twice"):
        open_raw(tmp_path)
    with tarfile.open(archive, "w") as tar:
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(RawDataError, match="is a link or a device"):
        open_raw(tmp_path)


def test_a_truncated_archive_is_refused(synthetic_raw: Callable[[str], Path], tmp_path: Path) -> None:
    for part in ("train", "test"):
        whole = (synthetic_raw("cosmic") / f"deepCR.ACS-WFC.{part}.tar").read_bytes()
        (tmp_path / f"deepCR.ACS-WFC.{part}.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RawDataError, match=r"deepCR\.ACS-WFC\.train\.tar: damaged or incomplete archive"):
        _rows(tmp_path)


def _batch_rows(n: int = 3) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {
        "x": rng.normal(100, 10, (n, 256, 256)).astype(np.float32),
        "y": rng.integers(0, 2, (n, 256, 256)).astype(np.uint8),
        "ignore": rng.integers(0, 2, (n, 256, 256)).astype(np.uint8),
        "sky": np.array([10.0, 0.0, 50.0], np.float32)[:n],
    }


def test_plain_inputs_are_the_centre_as_it_is() -> None:
    rows = _batch_rows()
    before = rows["x"].copy()
    batch = CosmicPreprocessing()(rows, None)
    np.testing.assert_array_equal(batch.x, rows["x"][:, None, 64:192, 64:192], strict=True)
    np.testing.assert_array_equal(batch.y, rows["y"][:, 64:192, 64:192].astype(np.float32), strict=True)
    assert batch.weight is not None
    np.testing.assert_array_equal(batch.weight, 1 - rows["ignore"][:, 64:192, 64:192].astype(np.float32), strict=True)
    assert batch.x.flags.c_contiguous
    CosmicPreprocessing()(rows, np.random.default_rng(0))
    np.testing.assert_array_equal(rows["x"], before)


def test_training_adds_a_share_of_the_sky_to_each_patch_and_nothing_else() -> None:
    rows = _batch_rows()
    plain = CosmicPreprocessing()(rows, None)
    shares = []
    for seed in range(200):
        batch = CosmicPreprocessing()(rows, np.random.default_rng(seed))
        added = (batch.x - plain.x).reshape(3, -1)
        np.testing.assert_allclose(added, np.repeat(added[:, :1], added.shape[1], axis=1), atol=1e-4)
        assert not added[1].any()
        shares.append((added[0, 0] / 10, added[2, 0] / 50))
        np.testing.assert_array_equal(batch.y, plain.y)
    values = np.array(shares)
    assert values.min() >= -0.91
    assert values.min() < -0.8
    assert values.max() <= 3.01
    assert values.max() > 2.9
    assert abs(np.corrcoef(values.T)[0, 1]) < 0.3


def test_the_twin_can_be_told_by_brightness(synthetic_repo: Callable[[str], Path]) -> None:
    data = load_task("cosmic", synthetic_repo("cosmic"))
    rows = data.rows("test")
    batch = data.preprocessing("train")(rows.take(np.arange(len(rows))), None)
    hit = batch.y > 0
    assert 0.001 < hit.mean() < 0.1
    found = batch.x[:, 0] > np.median(batch.x) + 250
    assert (found & hit).sum() > 0.9 * hit.sum()
    assert (found & ~hit).sum() < 0.5 * hit.sum()


def test_the_stand_in_with_a_real_exposure(real_data: Path, tmp_path: Path) -> None:
    manifest = prepare(TASK, real_data / "cosmic", tmp_path / "out")
    assert {split: entry.rows for split, entry in manifest.splits.items()} == {"train": 10, "validation": 2, "test": 4}
    assert manifest.provenance == "partial"
    assert any("of one visit" in departure for departure in manifest.departures)
    assert not manifest.skipped
