"""A test session leaves nothing behind in the system's temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_folder_of_a_session_is_removed(repository: Path, tmp_path: Path, workers: str) -> None:
    options = ["-q", "-p", "no:cacheprovider", "-n", workers, f"--basetemp={tmp_path / 'of_pytest'}"]
    (tmp_path / "system").mkdir()
    found = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "tests/contract/test_seeding.py"],
        cwd=repository,
        env={**os.environ, "TMPDIR": str(tmp_path / "system")},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout
    assert not list((tmp_path / "system").iterdir())
