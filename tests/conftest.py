"""What all tests share: no network, no folder of the user's touched, the real raw files where a checkout has them."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.hub_server import Hub

# before anything imports the Hub's client or torch, which read these once; tests run side by side, one thread each,
# for two pools of threads on the same cores wait for each other most of the time
_HOME = tempfile.mkdtemp(prefix="nas360-tests-")
os.environ.update(
    OMP_NUM_THREADS="1",
    HF_HOME=f"{_HOME}/hf",
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_XET="1",
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


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub on this machine, with a token that may write; in this process and those that the test starts."""
    from huggingface_hub import close_session, constants

    # the Hub's client calls its own HTTP library in a way that this one no longer likes
    warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)
    server = _hub_server().Hub()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_TOKEN", _hub_server().WRITE_TOKEN)
    yield server
    close_session()
    server.stop()


def _hub_server() -> ModuleType:
    """The module `hub_server.py` beside this file; test modules cannot import each other by name."""
    name = "tests.hub_server"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("hub_server.py"))
        assert spec is not None and spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]
