from __future__ import annotations

import io
import os
import pickle
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas360.errors import RawDataError
from nas360.loaders import TASKS
from nas360.loaders.data import TaskData, load_task
from nas360.loaders.prepare import prepare
from nas360.loaders.psicov import open_raw
from nas360.loaders.psicov_files import Protein, exact, hash_of_ids, make_piece, read_list
from nas360.loaders.raw.archive import Place
from nas360.loaders.repository.manifest import Manifest
from nas360.metrics import METRICS
from nas360.task import SPLITS

Array = np.ndarray[Any, Any]
TASK = TASKS["psicov"]


@pytest.fixture(scope="session")
def unpacked(synthetic_raw: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("psicov-unpacked")
    with tarfile.open(synthetic_raw("psicov") / "train-data.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def raw(unpacked: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(unpacked, tmp_path / "raw"))


@pytest.fixture
def first(raw: Path) -> Path:
    """Features of the first training protein; the test spoils them."""
    return raw / "deepcov" / "features" / f"{_names(raw, 'deepcov')[3]}.pkl"


def _names(raw: Path, name: str) -> list[str]:
    return [line.split()[0] for line in (raw / f"{name}.lst").read_text().splitlines()]


def _names_in(archive: Path) -> list[str]:
    """The first test protein."""
    with tarfile.open(archive) as files:
        names = files.extractfile("psicov.lst")
        assert names is not None
        return names.read().decode().split()[:1]


def _distance(features: Path) -> Path:
    return features.parents[1] / "distance" / f"{features.stem}-cb.npy"


def _change(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = pickle.loads(path.read_bytes())
    change(values)
    path.write_bytes(pickle.dumps(values, 2))


def _save(path: Path, *parts: object) -> None:
    array = np.empty(len(parts), dtype=object)
    array[:] = parts
    np.save(path, array, allow_pickle=True)


def _rows(raw: Path) -> dict[str, dict[str, Any]]:
    """Every row by its id, with its split."""
    opened = open_raw(raw)
    found: dict[str, dict[str, Any]] = {}
    for split in SPLITS:
        for rows in opened.splits[split]():
            for index, name in enumerate(rows["id"]):
                assert name not in found
                found[name] = {"split": split} | {key: values[index] for key, values in rows.items()}
    return found


def test_rows_hold_what_the_files_hold(unpacked: Path) -> None:
    found = _rows(unpacked)
    assert list(found) == [
        *_names(unpacked, "deepcov")[3:],
        *_names(unpacked, "deepcov")[:3],
        *_names(unpacked, "psicov"),
    ]
    for name, row in found.items():
        folder = unpacked / ("psicov" if row["split"] == "test" else "deepcov")
        features = pickle.loads((folder / "features" / f"{name}.pkl").read_bytes())
        length, seq, distances = np.load(folder / "distance" / f"{name}-cb.npy", allow_pickle=True)
        assert row["seq"] == features["seq"] == seq
        np.testing.assert_array_equal(row["ss"], features["ss"].T, strict=True)
        for key in ("pssm", "sa", "entropy", "ccmpred", "freecon", "potential"):
            np.testing.assert_array_equal(row[key], features[key], strict=True)
        np.testing.assert_array_equal(row["y"], distances, strict=True)
        assert row["y"].shape == (length, length)


def test_the_official_lists_give_the_official_splits(tmp_path: Path) -> None:
    """Of files nobody reads before rows are wanted."""
    ids = {
        "deepcov": [f"d{number:04d}" for number in range(3456)],
        "psicov": [f"p{number:03d}" for number in range(150)],
    }
    for name, proteins in ids.items():
        (tmp_path / f"{name}.lst").write_text("".join(f"{one} 100\n" for one in proteins))
        for part, suffix in (("features", ".pkl"), ("distance", "-cb.npy")):
            (tmp_path / name / part).mkdir(parents=True)
            for one in proteins:
                (tmp_path / name / part / f"{one}{suffix}").touch()
    opened = open_raw(tmp_path)
    assert opened.n_units == TASK.spec.splits
    assert opened.departures == tuple(f"{name}.lst is not the official list" for name in ids)
    first = opened.splits["validation"].items[0][0]  # type: ignore[attr-defined]  # it is a Pieces
    assert first.name == "d0000"


def test_the_hash_of_the_official_lists_is_known(real_data: Path) -> None:
    from nas360.loaders.psicov import OFFICIAL_IDS

    for name, known in OFFICIAL_IDS.items():
        path = real_data / "psicov" / "official_lists" / f"{name}.lst"
        assert hash_of_ids(read_list(path.read_bytes(), path.name)) == known


def _as_tar(unpacked: Path, folder: Path) -> None:
    with tarfile.open(folder / "train-data.tar.gz", "w:gz") as archive:
        archive.add(unpacked, "train-data")


def _as_zip(unpacked: Path, folder: Path) -> None:
    with zipfile.ZipFile(folder / "protein.zip", "w", strict_timestamps=False) as archive:
        for path in sorted(unpacked.rglob("*"), reverse=True):
            archive.write(path, Path("protein") / path.relative_to(unpacked))
            if path.is_file():  # what another system leaves beside each file
                archive.writestr(f"__MACOSX/protein/{path.parent.relative_to(unpacked)}/._{path.name}", b"junk")


def _as_zip_without_lists(unpacked: Path, folder: Path) -> None:
    with zipfile.ZipFile(folder / "protein.zip", "w", strict_timestamps=False) as archive:
        for path in sorted(unpacked.rglob("*")):
            if path.suffix == ".lst":
                shutil.copy(path, folder)
            else:
                archive.write(path, path.relative_to(unpacked))


def _as_folder(unpacked: Path, folder: Path) -> None:
    shutil.copytree(unpacked, folder / "protein")


@pytest.mark.parametrize("pack", [_as_tar, _as_zip, _as_zip_without_lists, _as_folder])
def test_all_forms_of_the_distribution_give_the_same_dataset(
    unpacked: Path, synthetic_repo: Callable[[str], Path], tmp_path: Path, pack: Callable[[Path, Path], None]
) -> None:
    (tmp_path / "raw").mkdir()
    pack(unpacked, tmp_path / "raw")
    manifest = prepare(TASK, tmp_path / "raw", tmp_path / "out")
    expected = Manifest.model_validate_json((synthetic_repo("psicov") / "manifest.json").read_text())
    assert manifest.content_sha256 == expected.content_sha256
    assert manifest.provenance == "partial"


def test_workers_change_no_byte(unpacked: Path, tmp_path: Path) -> None:
    files = []
    for workers in (1, 2):
        manifest = prepare(TASK, unpacked, tmp_path / str(workers), workers=workers)
        files.append([file.sha256 for split in SPLITS for file in manifest.splits[split].files])
    assert files[0] == files[1]


def test_a_compressed_archive_is_unpacked_into_the_cache(
    synthetic_raw: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS360_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "mkdtemp", lambda *_, **__: pytest.fail("unpacked elsewhere"))
    opened = open_raw(synthetic_raw("psicov"))
    (held,) = (tmp_path / "cache").rglob("train-data.tar")
    assert held.parent.name == opened.sources["train-data.tar.gz"]
    assert next(iter(opened.splits["test"]()))["id"].tolist() == _names_in(held)


def test_all_that_is_missing_is_named_at_once(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(RawDataError, match="is not a folder"):
        open_raw(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        RawDataError, match=r"neither train-data\.tar\.gz .*deepcov\.lst, psicov\.lst, deepcov/features/"
    ):
        open_raw(tmp_path / "empty")
    shutil.rmtree(raw / "psicov" / "distance")
    (raw / "deepcov.lst").unlink()
    with pytest.raises(RawDataError, match=r"lacks deepcov\.lst, psicov/distance/ "):
        open_raw(raw)


def test_proteins_without_files_are_told_and_move_no_other(raw: Path, first: Path) -> None:
    before = {name: row["split"] for name, row in _rows(raw).items()}
    other = _names(raw, "deepcov")[0]
    first.unlink()
    (raw / "deepcov" / "distance" / f"{other}-cb.npy").unlink()
    opened = open_raw(raw)
    assert opened.skipped == {
        "without a distance map": (f"deepcov/{other}",),
        "without a file of features": (f"deepcov/{first.stem}",),
    } or opened.skipped == {
        "without a file of features": (f"deepcov/{first.stem}",),
        "without a distance map": (f"deepcov/{other}",),
    }
    assert opened.notes == {"files_that_were_not_used": 2}
    after = {name: row["split"] for name, row in _rows(raw).items()}
    assert after == {name: split for name, split in before.items() if name not in (other, first.stem)}


def test_a_split_without_proteins_is_refused(raw: Path) -> None:
    for name in _names(raw, "deepcov")[:3]:
        (raw / "deepcov" / "features" / f"{name}.pkl").unlink()
    with pytest.raises(RawDataError, match="no protein of the lists has its files for validation"):
        open_raw(raw)


def test_a_protein_in_both_lists_is_a_test_protein(raw: Path, first: Path) -> None:
    with (raw / "psicov.lst").open("a") as lines:
        lines.write(f"{first.stem}\n")
    shutil.copy(first, raw / "psicov" / "features")
    shutil.copy(_distance(first), raw / "psicov" / "distance")
    assert open_raw(raw).skipped == {"in both lists, kept for test": (first.stem,)}
    assert _rows(raw)[first.stem]["split"] == "test"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "names no protein"),
        (b"1abcA\n../../etc 12\n", r"'\.\./\.\./etc' is no name of a protein"),
        (b"1abcA\n2abcA\n1abcA 12\n", "'1abcA' stands there twice"),
        (b"\xff\xfe", "not readable as text"),
    ],
)
def test_faulty_lists_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(RawDataError, match=message):
        read_list(content, "deepcov.lst")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("key", ["ss", "pssm", "ccmpred"])
def test_features_that_are_not_finite_are_a_counted_skip(
    raw: Path, first: Path, tmp_path: Path, key: str, value: float
) -> None:
    _change(first, lambda values: values[key].__setitem__((0, 0), value))
    manifest = prepare(TASK, raw, tmp_path / "out")
    assert manifest.skipped == {"features that are not finite": (first.stem,)}
    assert manifest.splits["train"].rows == manifest.splits["train"].units == 30
    assert "train lacks 1 proteins that could not be used" in manifest.departures


# PDNET's pdb2dist writes a gap for a residue that the structure lacks
@pytest.mark.parametrize("letter", ["", "-"])
def test_an_unknown_residue_stays_unknown(raw: Path, first: Path, tmp_path: Path, letter: str) -> None:
    length, seq, distances = np.load(_distance(first), allow_pickle=True)
    distances[5] = distances[:, 5] = np.nan
    _save(_distance(first), length, seq[:5] + (letter or seq[5]) + seq[6:], distances)
    prepare(TASK, raw, tmp_path / "out")
    data = load_task("psicov", tmp_path / "out")
    rows = data.rows("train")
    index = rows.ids.tolist().index(first.stem)
    np.testing.assert_array_equal(rows.take([index])["y"][0], distances)
    batch = data.preprocessing("train")(rows.take([index]), None)
    assert np.isfinite(batch.y).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.pop("ss"), "lacks ss"),
        (lambda values: (values.pop("seq"), values.pop("sa")), "lacks seq, sa"),
        (lambda values: values.update(ss=values["ss"].T), r"'ss' is float16\(\d+, 3\), must be numbers of shape \(3, "),
        (lambda values: values.update(pssm=values["pssm"][:-1]), "'pssm' is float32"),
        (lambda values: values.update(sa=None), "'sa' is NoneType"),
        (lambda values: values.update(sa=np.full(len(values["seq"]), "a")), "'sa' is <U1"),
        (
            lambda values: values.update(ccmpred=values["ccmpred"] * np.float64(np.pi)),
            "values that float16 cannot hold",
        ),
        (lambda values: values.update(seq=values["seq"] + "A"), "must be numbers of shape"),
        (lambda values: values.update(seq="A-" * 30), "its sequence is"),
        (lambda values: values.update(seq="A"), "its sequence is 'A', must be 2 to"),
        (lambda values: values.update(seq="".join("CA"[c == "C"] for c in values["seq"])), "of another protein"),
    ],
)
def test_faulty_features_are_refused_by_name(
    raw: Path, first: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    _change(first, change)
    with pytest.raises(RawDataError, match=message) as caught:
        _rows(raw)
    assert first.stem in str(caught.value)


def test_wider_features_are_taken_where_nothing_is_lost(raw: Path, first: Path) -> None:
    before = _rows(raw)[first.stem]
    _change(
        first, lambda values: values.update({key: values[key].astype(np.float64) for key in ("ss", "sa", "potential")})
    )
    after = _rows(raw)[first.stem]
    for key in ("ss", "sa", "potential"):
        np.testing.assert_array_equal(after[key], before[key], strict=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_, np.float16, np.float32])
def test_exact_never_changes_a_value(dtype: type[np.generic]) -> None:
    values = np.arange(2).astype(dtype)
    np.testing.assert_array_equal(exact(values, "float16", (2,), "file"), values.astype("float16"), strict=True)
    with pytest.raises(RawDataError, match="float16 cannot hold"):
        exact(np.array([0.1, 70_000.0]), "float16", (2,), "file")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (lambda n, seq, y: (n, seq), r"has shape \(2,\), must be"),
        (lambda n, seq, y: (n + 1, seq, y), "Get both files from one release"),
        (lambda n, seq, y: (y, seq, y), "Get both files from one release"),
        (lambda n, seq, y: (n, seq[:-1], y), "is of .* residues"),
        (lambda n, seq, y: (n, seq, y[:-1]), "must be numbers of shape"),
        (lambda n, seq, y: (n, seq, seq), "is str, must be numbers"),
        (lambda n, seq, y: (n, seq, -y), "negative or infinite"),
        (lambda n, seq, y: (n, seq, y + np.float16(np.inf)), "negative or infinite"),
    ],
)
def test_faulty_maps_are_refused_by_name(
    raw: Path, first: Path, parts: Callable[[int, str, Array], tuple[object, ...]], message: str
) -> None:
    _save(_distance(first), *parts(*np.load(_distance(first), allow_pickle=True)))
    with pytest.raises(RawDataError, match=message) as caught:
        _rows(raw)
    assert first.stem in str(caught.value)


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def test_programs_in_files_do_not_run(raw: Path, first: Path, tmp_path: Path) -> None:
    done = tmp_path / "done"
    honest = first.read_bytes()
    _change(first, lambda values: values.update(extra=_Touch(done)))
    with pytest.raises(RawDataError, match=r"refused as a pickle: it names (posix|nt)\.system"):
        _rows(raw)
    first.write_bytes(honest)
    _save(_distance(first), 3, "MKV", _Touch(done))
    with pytest.raises(RawDataError, match=r"refused as a pickle: it names (posix|nt)\.system"):
        _rows(raw)
    assert not done.exists()


@pytest.mark.parametrize("keep", [0, 1, 1000])
def test_truncated_files_are_refused(raw: Path, first: Path, keep: int) -> None:
    for path in (first, _distance(first)):
        whole = path.read_bytes()
        path.write_bytes(whole[:keep])
        with pytest.raises(RawDataError, match="Get the file anew"):
            _rows(raw)
        path.write_bytes(whole)


def test_a_truncated_archive_is_refused(synthetic_raw: Callable[[str], Path], tmp_path: Path) -> None:
    whole = (synthetic_raw("psicov") / "train-data.tar.gz").read_bytes()
    (tmp_path / "train-data.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RawDataError, match=r"train-data\.tar\.gz: damaged or incomplete archive"):
        open_raw(tmp_path)


@pytest.mark.parametrize("name", ["../deepcov.lst", "/deepcov.lst"])
def test_an_archive_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "train-data.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(RawDataError, match="leads out of the archive"):
        open_raw(tmp_path)


def test_an_archive_with_a_file_twice_is_refused(unpacked: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "protein.zip", "w", strict_timestamps=False) as archive:
        for top in ("a", "b"):
            archive.write(unpacked / "deepcov.lst", f"{top}/deepcov.lst")
    with pytest.raises(RawDataError, match=r"protein\.zip: holds deepcov\.lst twice"):
        open_raw(tmp_path)


def _perfect(data: TaskData) -> float:
    y = data.rows("test").column("y")
    result = METRICS["mae8"](list(y), list(y))
    assert result["proteins_without_contact"] == 0
    return float(result["score"])


def test_the_twin_has_contacts_and_its_features_tell_them(synthetic_repo: Callable[[str], Path]) -> None:
    data = load_task("psicov", synthetic_repo("psicov"))
    assert _perfect(data) == 0
    assert max(len(sequence) for sequence in data.rows("train").column("seq")) > 128

    def pairs(*splits: Any) -> tuple[Array, Array]:
        rows = data.rows(*splits)
        near = np.concatenate([values.reshape(-1) for values in rows.column("ccmpred")]).astype(np.float64)
        distance = np.concatenate([values.reshape(-1) for values in rows.column("y")]).astype(np.float64)
        return near, distance.clip(max=16)

    near, distance = pairs("train")
    fitted = np.polyfit(near, distance, 3)
    near, distance = pairs("test")
    error = np.abs(np.polyval(fitted, near) - distance).mean()
    assert error < 0.5 * np.abs(np.median(distance) - distance).mean() + 1


def test_the_stand_in_with_real_maps(real_data: Path, tmp_path: Path) -> None:
    manifest = prepare(TASK, real_data / "psicov", tmp_path / "out")
    assert {split: entry.rows for split, entry in manifest.splits.items()} == {
        "train": 108,
        "validation": 12,
        "test": 30,
    }
    assert manifest.provenance == "partial"
    assert not manifest.skipped
    data = load_task("psicov", tmp_path / "out")
    assert _perfect(data) == 0
    batch = data.preprocessing("train")(data.rows("train").take(np.arange(4)), np.random.default_rng(0))
    assert batch.x.shape == (4, 57, 128, 128)
    assert np.isfinite(batch.x).all()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 4000), flip=st.integers(1, 255), of_map=st.booleans())
def test_damaged_files_are_read_or_refused_with_our_error(
    unpacked: Path, tmp_path: Path, place: int, flip: int, of_map: bool
) -> None:
    name = _names(unpacked, "psicov")[0]
    files = {}
    for part, file in (("features", f"{name}.pkl"), ("distance", f"{name}-cb.npy")):
        content = bytearray((unpacked / "psicov" / part / file).read_bytes())
        if of_map == (part == "distance"):
            content[place % len(content)] ^= flip
        (tmp_path / file).write_bytes(content)
        files[part] = Place(tmp_path, file, len(content))
    try:
        piece = make_piece([Protein(name, files["features"], files["distance"])])
    except RawDataError as error:
        assert name in str(error)
    else:
        assert len(piece.rows) + len(piece.skipped) == 1
