from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas360.loaders import TASKS
from nas360.loaders.cache import cache_root
from nas360.loaders.data import load_task
from nas360.loaders.prepare import prepare
from nas360.loaders.repository.manifest import read_manifest
from nas360.loaders.twin import twin


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS360_CACHE", str(tmp_path / "cache"))


def test_the_twin_is_what_prepare_makes_and_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS["ecg"]
    data = load_task("ecg", "synthetic")
    assert (data.provenance, data.source, data.revision) == ("synthetic", "synthetic", None)
    assert cache_root() in data.folder.parents
    task.write_synthetic(tmp_path / "raw", 0)
    assert data.content_hash == prepare(task, tmp_path / "raw", tmp_path / "out").content_sha256
    assert not list(data.folder.parent.glob(".raw-*"))
    monkeypatch.setattr("nas360.loaders.base.Task.write_synthetic", lambda *unwanted: pytest.fail("made twice"))
    assert load_task("ecg", "synthetic").folder == data.folder


def test_other_code_makes_another_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    first = twin(TASKS["ecg"])
    monkeypatch.setattr("nas360.loaders.twin.code_hash", lambda: "0" * 64)
    assert twin(TASKS["ecg"]) != first


def test_a_making_that_failed_leaves_nothing_that_is_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("nas360.loaders.prepare.texts", lambda *unwanted: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            twin(TASKS["ecg"])
    assert read_manifest(twin(TASKS["ecg"])).provenance == "synthetic"


def test_processes_that_ask_at_once_get_the_same(tmp_path: Path) -> None:
    code = "from nas360.loaders.data import load_task; print(load_task('ecg', 'synthetic').content_hash)"
    environment = os.environ | {"NAS360_CACHE": str(tmp_path / "cache")}
    asked = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    told = {process.communicate(timeout=60)[0] for process in asked}
    assert told == {load_task("ecg", "synthetic").content_hash + "\n"}


def test_a_folder_of_that_name_is_named_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS["ecg"]
    task.write_synthetic(tmp_path / "raw", 1)
    made = prepare(task, tmp_path / "raw", tmp_path / "synthetic")
    monkeypatch.chdir(tmp_path)
    assert load_task("ecg", "./synthetic").content_hash == made.content_sha256
    assert load_task("ecg", "synthetic").content_hash != made.content_sha256
