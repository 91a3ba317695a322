"""What all tests share: no network, no folder of the user's touched, the real raw files where a checkout has them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

# before anything imports the Hub's client or torch, which read these once; tests run side by side, one thread each,
# for two pools of threads on the same cores wait for each other most of the time
_HOME = tempfile.mkdtemp(prefix="nas360-tests-")
os.environ.update(
    OMP_NUM_THREADS="1",
    HF_HOME=f"{_HOME}/hf",
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    NAS360_CACHE=f"{_HOME}/cache",
    NAS360_DATA=f"{_HOME}/datasets",
)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with real raw files, one folder a task; the test is skipped, and says so, where there is none."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real raw files in {folder}; the synthetic twins are tested all the same")
    return folder
