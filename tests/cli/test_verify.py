"""`nas360 verify` as a user calls it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas360.loaders import TASKS
from nas360.loaders.prepare import prepare

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic Darcy Flow dataset."""
    raw, out = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("repo") / "darcy_flow"
    TASKS["darcy_flow"].write_synthetic(raw, 0)
    prepare(TASKS["darcy_flow"], raw, out)
    return out


@pytest.fixture
def repo(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "darcy"))


def test_a_sound_repository(call: Call, repo: Path) -> None:
    code, out, _ = call("verify", repo)
    assert code == 0
    assert out.endswith(f"{repo}: 0 errors, 2 warnings\n")
    assert "audit_missing" in out and "provenance" in out


def test_faults_are_a_json_list_and_exit_code_2(call: Call, repo: Path) -> None:
    (repo / "metric.py").unlink()
    (repo / "[red]more.csv").write_text("")
    code, out, err = call("verify", repo, "--json", "--quick")
    assert (code, err) == (2, "")
    faults = json.loads(out)
    assert all(set(fault) == {"severity", "code", "message"} for fault in faults)
    assert {fault["code"] for fault in faults if fault["severity"] == "error"} == {"missing_file", "unexpected_file"}
    code, out, _ = call("verify", repo)
    assert code == 2
    assert "2 errors, 2 warnings" in out and "[red]more.csv" in out.replace("\n", "")


@pytest.mark.parametrize("source", ["absent/", "absent folder", "/no/such/folder"])
def test_what_is_neither_folder_nor_repository(call: Call, source: str) -> None:
    code, out, err = call("verify", source)
    assert (code, out) == (2, "")
    assert "is neither a folder nor the name of a Hub repository" in err


def test_an_empty_folder(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("verify", tmp_path, "--json")
    (fault,) = json.loads(out)
    assert (code, fault["code"]) == (2, "manifest")


def test_a_repository_on_the_hub(call: Call, repo: Path, hub: Any) -> None:
    from huggingface_hub import HfApi

    HfApi().create_repo("someone/darcy", repo_type="dataset")
    HfApi().upload_folder(repo_id="someone/darcy", folder_path=repo, repo_type="dataset")
    # the Hub's client reads the Hub's address when it is imported
    done = subprocess.run([sys.executable, "-m", "nas360", "verify", "someone/darcy", "--json"], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert {fault["code"] for fault in json.loads(done.stdout)} == {"audit_missing", "provenance"}
    done = subprocess.run([sys.executable, "-m", "nas360", "audit", "someone/darcy", "--json"], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert b"wrote" not in done.stderr
    assert json.loads(done.stdout)["task"] == "darcy_flow"
    done = subprocess.run([sys.executable, "-m", "nas360", "audit", "someone/darcy", "--write"], capture_output=True)
    assert done.returncode == 2
    assert b"is on the Hub and cannot be written to" in done.stderr
    code, out, err = call("verify", "someone/absent")
    assert (code, out) == (2, "")
    assert "cannot download someone/absent" in err
    assert "there is no folder someone/absent here, and cannot download" in err
