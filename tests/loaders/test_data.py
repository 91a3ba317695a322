from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas360.errors import DatasetError, UnknownNameError
from nas360.loaders.base import Batch, OutputScale, Rows
from nas360.loaders.cache import LAYOUT, cache_root
from nas360.loaders.data import Batches, SplitRows, datasets_root, load_task

Repo = Callable[[str], Path]


def _part(start: int, stop: int) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    n = np.arange(start, stop)
    return {"id": np.array([f"row-{'x' * number}" for number in n]), "x": n[:, None] * np.ones(3), "y": n}


class _Plain:
    output_scale: OutputScale | None = None

    def __call__(self, rows: Rows, rng: np.random.Generator | None) -> Batch:
        noise = 0 if rng is None else rng.random((len(rows["y"]), 1))
        return Batch((rows["x"] + noise).astype(np.float32), rows["y"])


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.lists(st.integers(0, 1000), max_size=20))
def test_several_splits_read_as_one_array(sizes: list[int], picks: list[int]) -> None:
    ends = np.cumsum(sizes)
    rows = SplitRows([_part(int(end) - size, int(end)) for size, end in zip(sizes, ends, strict=True)])
    whole = _part(0, int(ends[-1]))
    index = np.array([pick % len(rows) for pick in picks], dtype=np.int64)
    assert len(rows) == ends[-1]
    for name, values in rows.take(index).items():
        np.testing.assert_array_equal(values, whole[name][index])
        np.testing.assert_array_equal(rows.column(name), whole[name])
    np.testing.assert_array_equal(rows.take(index.tolist())["y"], index)


@pytest.mark.parametrize("parts", [[_part(0, 5)], [_part(0, 2), _part(2, 5)]])
def test_rows_that_are_not_there_are_refused(parts: list[dict[str, np.ndarray[tuple[int, ...], Any]]]) -> None:
    rows = SplitRows(parts)
    np.testing.assert_array_equal(rows.take([-1, -5])["y"], [4, 0])
    for index in (5, -6, 10**9):
        with pytest.raises(IndexError, match=r"rows are counted from 0 to 4|out of bounds"):
            rows.take([0, index])


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 4))
def test_batches_cover_the_order_once(n: int, batch_size: int, ahead: int) -> None:
    order = np.random.default_rng(0).permutation(n)
    batches = list(Batches(SplitRows([_part(0, n)]), _Plain(), batch_size, order, ahead=ahead))
    assert len(batches) == len(Batches(SplitRows([_part(0, n)]), _Plain(), batch_size, order))
    np.testing.assert_array_equal(np.concatenate([batch.y for batch in batches]), order)
    assert all(len(batch.y) == batch_size for batch in batches[:-1])


def test_a_reader_that_stops_early_leaves_no_thread() -> None:
    before = threading.active_count()
    for _ in Batches(SplitRows([_part(0, 100)]), _Plain(), 1):
        break
    assert threading.active_count() == before


def test_a_fault_in_making_a_batch_reaches_the_reader() -> None:
    class Broken(_Plain):
        def __call__(self, rows: Rows, rng: np.random.Generator | None) -> Batch:
            raise ZeroDivisionError("in the thread")

    with pytest.raises(ZeroDivisionError, match="in the thread"):
        list(Batches(SplitRows([_part(0, 3)]), Broken(), 2))


def test_arrays_are_decoded_once_and_then_mapped(
    synthetic_repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS360_CACHE", str(tmp_path))
    first = load_task("cifar100", synthetic_repo("cifar100")).rows("test").column("x")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / LAYOUT).rglob("*.npy")}
    second = load_task("cifar100", synthetic_repo("cifar100")).rows("test").column("x")
    np.testing.assert_array_equal(first, second)
    assert not second.flags.writeable
    assert isinstance(second.base, np.memmap)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / LAYOUT).rglob("*.npy")} == stamps


def test_a_damaged_cache_is_removed_and_made_anew(
    synthetic_repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS360_CACHE", str(tmp_path))
    expected = load_task("cifar100", synthetic_repo("cifar100")).rows("test").column("x").copy()
    path = next((tmp_path / LAYOUT).rglob("x.npy"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DatasetError, match=r"was damaged .* has been removed"):
        load_task("cifar100", synthetic_repo("cifar100")).rows("test")
    np.testing.assert_array_equal(load_task("cifar100", synthetic_repo("cifar100")).rows("test").column("x"), expected)


@pytest.mark.parametrize("left", ["x.npy", ""])
def test_a_removal_of_the_cache_that_was_killed_does_no_harm(
    synthetic_repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    monkeypatch.setenv("NAS360_CACHE", str(tmp_path))
    expected = load_task("cifar100", synthetic_repo("cifar100")).rows("test").column("x").copy()
    for path in (tmp_path / LAYOUT).rglob("*"):
        if path.is_file() and path.name != left:
            path.unlink()
    np.testing.assert_array_equal(load_task("cifar100", synthetic_repo("cifar100")).rows("test").column("x"), expected)


DECODE = (
    "import sys; from nas360 import load_task; print(load_task('ecg', sys.argv[1]).rows('train').column('x').sum())"
)


def test_processes_that_decode_at_once_agree(
    synthetic_repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS360_CACHE", str(tmp_path))
    command = [sys.executable, "-c", DECODE, str(synthetic_repo("ecg"))]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {process.communicate()[0] for process in started}
    assert len(answers) == 1
    assert all(process.returncode == 0 for process in started)
    assert {path.suffix for path in (tmp_path / LAYOUT).iterdir() if path.name.startswith(".")} == {".lock"}


def test_what_a_killed_decoding_left_is_removed(
    synthetic_repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS360_CACHE", str(tmp_path))
    data = load_task("ecg", synthetic_repo("ecg"))
    left = tmp_path / LAYOUT / f".{data.manifest.splits['test'].content_sha256}.decoding"
    left.mkdir(parents=True)
    (left / "x.npy").write_bytes(b"the first gigabytes")
    data.rows("test")
    assert not left.exists()


def test_a_cache_without_room_is_told(synthetic_repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS360_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DatasetError, match=r"needs [\d,]+ bytes, but only 1,000 are free .* NAS360_CACHE"):
        load_task("ecg", synthetic_repo("ecg")).rows("test")
    (tmp_path / "file").touch()
    monkeypatch.setenv("NAS360_CACHE", str(tmp_path / "file"))
    with pytest.raises(DatasetError, match=r"cannot be written .* NAS360_CACHE"):
        load_task("ecg", synthetic_repo("ecg")).rows("test")
    with pytest.raises(DatasetError, match=r"cannot be kept in .* NAS360_CACHE"):
        load_task("ecg", "synthetic")


def test_the_wrong_task_is_refused(synthetic_repo: Repo) -> None:
    with pytest.raises(DatasetError, match="holds the task 'cifar100', not 'ecg'"):
        load_task("ecg", synthetic_repo("cifar100"))


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match="is neither in a folder data/ecg nor on the Hub as data/ecg"):
        load_task("ecg", "data/ecg")
    for path in ("./data/ecg", str(tmp_path / "ecg"), "data/of/ecg"):
        with pytest.raises(DatasetError, match="is not a folder"):
            load_task("ecg", path)


def test_nothing_reachable_names_three_ways_out() -> None:
    with pytest.raises(DatasetError, match=r"Three ways out: `nas360 prepare ecg --download`.*--data synthetic"):
        load_task("ecg")
    with pytest.raises(DatasetError, match="somebody/ecg@v2"):
        load_task("ecg", "somebody/ecg@v2")
    with pytest.raises(DatasetError, match=r"nas360/ecg@v1\.0\.0"):
        load_task("ecg", "nas360/ecg")
    with pytest.raises(DatasetError, match="somebody/ecg@main"):
        load_task("ecg", "somebody/ecg")
    with pytest.raises(UnknownNameError, match="Did you mean 'ecg'"):
        load_task("egc")


def test_the_default_folder_is_found(synthetic_repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS360_DATA", str(tmp_path))
    assert datasets_root() == tmp_path
    shutil.copytree(synthetic_repo("ecg"), tmp_path / "ecg")
    assert load_task("ecg").folder == tmp_path / "ecg"


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NAS360_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("NAS360_CACHE")
    assert cache_root().name == "nas360"
