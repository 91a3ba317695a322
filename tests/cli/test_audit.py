"""`nas360 audit` as a user calls it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nas360.loaders import TASKS
from nas360.loaders.prepare import prepare

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic ECG dataset."""
    raw, out = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("repo") / "ecg"
    TASKS["ecg"].write_synthetic(raw, 0)
    prepare(TASKS["ecg"], raw, out)
    return out


@pytest.fixture
def repo(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "ecg"))


def test_the_audit_goes_into_the_repository_and_on_its_card(call: Call, repo: Path) -> None:
    code, out, err = call("audit", repo)
    assert code == 0
    assert "wrote audit.json, README.md" in err
    assert "near duplicates" in out
    assert "| test in train | 0 | 0 | 0 |" in (repo / "README.md").read_text()
    code, out, _ = call("verify", repo, "--json")
    assert {fault["code"] for fault in json.loads(out)} == {"provenance"}


def test_json_without_writing(call: Call, repo: Path) -> None:
    before = sorted(repo.rglob("*"))
    options = ("--columns", "y", "--sample", "10", "--threshold", "0.9")
    code, out, err = call("audit", repo, "--no-write", "--json", *options)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert sorted(repo.rglob("*")) == before
    assert list(found["group_overlap"]) == ["y"]
    assert (found["settings"]["sample"], found["settings"]["threshold"]) == (10, 0.9)
    assert found["near_duplicates"]["test in train"]["compared"] == 10


def test_an_unknown_column(call: Call, repo: Path) -> None:
    code, out, err = call("audit", repo, "--columns", "record")
    assert (code, out) == (2, "")
    assert "Did you mean 'record_id'?" in err
    assert not (repo / "audit.json").exists()


def test_a_folder_without_a_dataset(call: Call, tmp_path: Path) -> None:
    code, out, err = call("audit", tmp_path)
    assert (code, out) == (2, "")
    assert "has no manifest.json" in err
