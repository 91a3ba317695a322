from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas360.errors import DatasetError, RawDataError
from nas360.files import sha256_file
from nas360.loaders import TASKS
from nas360.loaders.base import Column, Loader, RawData, Rows, Task
from nas360.loaders.prepare import prepare
from nas360.loaders.repository.manifest import Manifest, read_manifest
from nas360.task import SPLITS, Source, SplitName

TASK = "cifar100"


def _tree(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


def test_the_repository_has_its_parts_and_nothing_else(synthetic_repo: Callable[[str], Path]) -> None:
    manifest = read_manifest(synthetic_repo(TASK))
    files = {file.path for split in manifest.splits.values() for file in split.files}
    texts = {"README.md", "metric.py", "manifest.json", "croissant.json", "eval.yaml", "CHANGELOG.md"}
    assert set(_tree(synthetic_repo(TASK))) == files | texts
    assert manifest.provenance == "synthetic"
    for split in manifest.splits.values():
        for file in split.files:
            path = synthetic_repo(TASK) / file.path
            assert (file.bytes, file.sha256) == (path.stat().st_size, sha256_file(path))


def test_same_input_same_bytes(synthetic_raw: Callable[[str], Path], tmp_path: Path) -> None:
    first = prepare(TASKS[TASK], synthetic_raw(TASK), tmp_path / "one")
    second = prepare(TASKS[TASK], synthetic_raw(TASK), tmp_path / "two")
    assert first == second
    assert _tree(tmp_path / "one") == _tree(tmp_path / "two")


def test_a_second_preparation_keeps_the_first(synthetic_raw: Callable[[str], Path], tmp_path: Path) -> None:
    first = prepare(TASKS[TASK], synthetic_raw(TASK), tmp_path / "repo")
    written = (tmp_path / "repo" / "manifest.json").stat().st_mtime_ns
    assert prepare(TASKS[TASK], synthetic_raw(TASK), tmp_path / "repo") == first
    assert (tmp_path / "repo" / "manifest.json").stat().st_mtime_ns == written


@pytest.mark.parametrize("name", ["README.md", "metric.py", "croissant.json", "data/test-00000-of-00001.parquet"])
@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_repository_that_lost_a_file_is_made_anew(
    synthetic_raw: Callable[[str], Path], synthetic_repo: Callable[[str], Path], tmp_path: Path, name: str, damage: str
) -> None:
    shutil.copytree(synthetic_repo(TASK), tmp_path / "repo")
    path = tmp_path / "repo" / name
    path.unlink() if damage == "gone" else path.write_bytes(path.read_bytes()[:-1])
    prepare(TASKS[TASK], synthetic_raw(TASK), tmp_path / "repo")
    assert _tree(tmp_path / "repo") == _tree(synthetic_repo(TASK))


def test_a_lost_text_costs_no_preparation(
    synthetic_raw: Callable[[str], Path], synthetic_repo: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copytree(synthetic_repo(TASK), tmp_path / "repo")
    (tmp_path / "repo" / "README.md").write_text("an older card", encoding="utf-8")
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "repo" / "data").iterdir()}
    prepare(TASKS[TASK], synthetic_raw(TASK), tmp_path / "repo")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "repo" / "data").iterdir()} == written
    assert _tree(tmp_path / "repo") == _tree(synthetic_repo(TASK))


def test_a_replacement_that_was_killed_between_its_renames_is_undone(
    synthetic_raw: Callable[[str], Path], synthetic_repo: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copytree(synthetic_repo(TASK), tmp_path / ".repo.old")
    other = tmp_path / "raw"
    TASKS[TASK].write_synthetic(other, 1)
    with pytest.raises(DatasetError, match="Give --overwrite"):
        prepare(TASKS[TASK], other, tmp_path / "repo")
    assert _tree(tmp_path / "repo") == _tree(synthetic_repo(TASK))


def test_what_stands_there_is_not_lost(synthetic_raw: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(DatasetError, match="is not empty and holds no dataset"):
        prepare(TASKS[TASK], synthetic_raw(TASK), tmp_path / "thesis", overwrite=True)
    prepare(TASKS[TASK], synthetic_raw(TASK), tmp_path / "repo")
    other = tmp_path / "other-raw"
    shutil.copytree(synthetic_raw(TASK), other)
    TASKS[TASK].write_synthetic(other, 1)
    before = _tree(tmp_path / "repo")
    with pytest.raises(DatasetError, match="Give --overwrite"):
        prepare(TASKS[TASK], other, tmp_path / "repo")
    assert _tree(tmp_path / "repo") == before
    prepare(TASKS[TASK], other, tmp_path / "repo", overwrite=True)
    assert _tree(tmp_path / "repo") != before


def test_a_link_leads_to_the_place_that_is_filled(synthetic_raw: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "repo").symlink_to(tmp_path / "large disk")
    prepare(TASKS[TASK], synthetic_raw(TASK), tmp_path / "repo")
    assert (tmp_path / "repo").is_symlink()
    assert (tmp_path / "large disk" / "manifest.json").is_file()


def test_a_place_that_cannot_be_written_is_told(synthetic_raw: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"repo cannot be made \(.*exists.*\)\. Mend that, or give another --out"):
        prepare(TASKS[TASK], synthetic_raw(TASK), tmp_path / "file" / "repo")


def test_incomplete_raw_data_is_marked_or_refused(synthetic_raw: Callable[[str], Path], tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in synthetic_raw(TASK).iterdir():
        if path.name != "SYNTHETIC":
            shutil.copy(path, raw)
    manifest = prepare(TASKS[TASK], raw, tmp_path / "repo")
    assert manifest.provenance == "partial"
    assert len(manifest.departures) == 2
    assert "is not the official file by its SHA-256" in manifest.departures[1]
    with pytest.raises(RawDataError, match=r"train has 800 of 40,000, .* images"):
        prepare(TASKS[TASK], raw, tmp_path / "strict", require_complete=True)
    assert not (tmp_path / "strict").exists()


def test_synthetic_data_is_marked_whoever_writes_it(tmp_path: Path) -> None:
    TASKS[TASK].write_synthetic(tmp_path / "raw", 0)
    assert prepare(TASKS[TASK], tmp_path / "raw", tmp_path / "repo").provenance == "synthetic"
    with pytest.raises(RawDataError, match="train has 800 of 40,000"):
        prepare(TASKS[TASK], tmp_path / "raw", tmp_path / "strict", require_complete=True)


def test_a_twin_does_not_overwrite_real_files(tmp_path: Path) -> None:
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(b"161 MB")
    with pytest.raises(RawDataError, match=r"holds cifar-100-python\.tar\.gz, not a synthetic twin"):
        TASKS[TASK].write_synthetic(tmp_path, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["cifar-100-python.tar.gz"]


def test_official_is_what_agrees_in_units_rows_and_hashes(tmp_path: Path) -> None:
    source = _Source()
    source.n_units = dict(TASKS["ecg"].spec.splits)
    task = source.task()
    manifest = prepare(task, tmp_path, tmp_path / "repo")
    # the units are the official ones, the rows are not
    assert manifest.departures == ("train has 10 rows, officially 261,740",)
    assert manifest.provenance == "partial"
    with pytest.raises(RawDataError, match="train has 10 rows, officially 261,740"):
        prepare(task, tmp_path, tmp_path / "strict", require_complete=True)
    spec = task.spec.model_copy(update={"rows": {"train": 10}})
    official = Task(spec, task.make_loader)
    assert prepare(official, tmp_path, tmp_path / "other").provenance == "official"
    source.departures = ("the file holds 7 samples, the official one 8",)
    assert prepare(official, tmp_path, tmp_path / "third").departures == source.departures


def test_a_file_whose_size_or_md5_is_known_is_compared(tmp_path: Path) -> None:
    content = b"recordings"
    (tmp_path / "file").write_bytes(content)
    source = _Source()
    source.n_units = dict(TASKS["ecg"].spec.splits)
    known: dict[str, Any] = {"size_bytes": len(content), "md5": hashlib.md5(content, usedforsecurity=False).hexdigest()}
    cases: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({}, ()),
        ({"size_bytes": 11}, ("file has 10 bytes, officially 11",)),
        ({"md5": "0" * 32}, ("file is not the official file by its MD5",)),
    ]
    for number, (change, told) in enumerate(cases):
        official = Source(filename="file", url="https://example.org/file", **(known | change))
        spec = TASKS["ecg"].spec.model_copy(update={"rows": {}, "sources": (official,)})
        manifest = prepare(Task(spec, source.task().make_loader), tmp_path, tmp_path / f"repo{number}")
        assert manifest.departures == told
        assert manifest.provenance == ("partial" if told else "official")


class _Source:
    """A loader whose rows can be made to fail, and which counts how often each split is read."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.broken: str | None = None
        self.n_units: dict[SplitName, int] = dict.fromkeys(SPLITS, 10)
        self.departures: tuple[str, ...] = ()

    def task(self) -> Task:
        columns = {"id": Column("string"), "x": Column("float32", (2,)), "y": Column("int64")}

        def rows(split: str) -> Iterator[Rows]:
            self.reads.append(split)
            for start in (0, 5):
                if start and split == self.broken:
                    raise RawDataError("the raw file ends early")
                ids = np.array([f"{split}-{number}" for number in range(start, start + 5)])
                yield {"id": ids, "x": np.full((5, 2), start, np.float32), "y": np.arange(5)}

        def open_raw(folder: Path) -> RawData:
            return RawData(
                splits={split: lambda split=split: rows(split) for split in SPLITS},  # type: ignore[misc]  # a default argument binds the loop's value
                sources={"file": "0" * 64},
                n_units=self.n_units,
                departures=self.departures,
            )

        def never(*arguments: object) -> Any:
            raise NotImplementedError

        loader = Loader(columns=columns, open_raw=open_raw, fit=never, synthesise=never)
        return Task(TASKS["ecg"].spec, lambda: loader)


def test_a_failed_preparation_leaves_nothing_and_its_finished_splits_are_kept(tmp_path: Path) -> None:
    source = _Source()
    source.broken = "validation"
    with pytest.raises(RawDataError, match="ends early"):
        prepare(source.task(), tmp_path, tmp_path / "repo")
    assert not (tmp_path / "repo").exists()
    source.broken = None
    resumed = prepare(source.task(), tmp_path, tmp_path / "repo")
    assert source.reads == ["train", "validation", "validation", "test"]
    assert resumed == prepare(_Source().task(), tmp_path, tmp_path / "unbroken")
    assert _tree(tmp_path / "repo") == _tree(tmp_path / "unbroken")


KILLED = """
import sys
from pathlib import Path
from nas360.loaders import TASKS
from nas360.loaders.prepare import prepare
prepare(TASKS[sys.argv[1]], Path(sys.argv[2]), Path(sys.argv[3]))
"""


def test_a_kill_at_any_moment_leaves_all_or_nothing(
    synthetic_raw: Callable[[str], Path], synthetic_repo: Callable[[str], Path], tmp_path: Path
) -> None:
    expected = _tree(synthetic_repo("ecg"))
    out = tmp_path / "repo"
    rng = random.Random(0)
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", KILLED, "ecg", synthetic_raw("ecg"), out])
        staging = tmp_path / ".repo.staging"
        deadline = time.monotonic() + 20
        while not staging.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.6))
        process.kill()
        process.wait()
        assert not out.exists() or _tree(out) == expected
    prepare(TASKS["ecg"], synthetic_raw("ecg"), out)
    assert _tree(out) == expected


def test_two_preparations_of_one_folder_do_not_mix(synthetic_raw: Callable[[str], Path], tmp_path: Path) -> None:
    source = _Source()
    task = source.task()

    def meet(split: str, rows: int) -> None:
        with pytest.raises(DatasetError, match="another process is preparing"):
            prepare(task, tmp_path, tmp_path / "repo")

    prepare(task, tmp_path, tmp_path / "repo", report=meet)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "extra"),
        ({"provenance": "stolen"}, "provenance"),
        ({"content_sha256": "0"}, "content_sha256"),
        ({"protocol": None}, "protocol"),
        ({"content_sha256": "0" * 64}, "content_sha256 is not that of the splits"),
        ({"splits": {}}, "the splits are , must be train, validation, test"),
    ],
)
def test_a_manifest_with_a_fault_is_refused(
    synthetic_repo: Callable[[str], Path], tmp_path: Path, change: dict[str, object], message: str
) -> None:
    content = json.loads((synthetic_repo(TASK) / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(DatasetError, match=message):
        read_manifest(tmp_path)


@pytest.mark.parametrize("rows", [10**13, 10**19, -1, 7])
def test_a_manifest_cannot_lie_about_its_rows(synthetic_repo: Callable[[str], Path], tmp_path: Path, rows: int) -> None:
    content = json.loads((synthetic_repo(TASK) / "manifest.json").read_text())
    content["splits"]["test"]["rows"] = rows
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="not a manifest of nas360"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("path", ["../outside.parquet", "/etc/passwd", "data\\x.parquet"])
def test_a_manifest_cannot_name_files_outside(synthetic_repo: Callable[[str], Path], path: str) -> None:
    content = json.loads((synthetic_repo(TASK) / "manifest.json").read_text())
    content["splits"]["test"]["files"][0]["path"] = path
    with pytest.raises(ValueError, match="inside the repository"):
        Manifest.model_validate(content)


def test_a_folder_without_a_manifest_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"has no manifest\.json"):
        read_manifest(tmp_path)
    with pytest.raises(DatasetError, match="is not a folder"):
        read_manifest(tmp_path / "absent")
