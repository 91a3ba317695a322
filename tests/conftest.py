"""What all tests share: no network, no folder of the user's touched, the real raw files where a checkout has them."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.hub_server import Hub

# before anything imports the Hub's client or torch, which read these once; tests run side by side, one thread each,
# for two pools of threads on the same cores wait for each other most of the time
_HOME = tempfile.mkdtemp(prefix="nas360-tests-")
# each worker of xdist has a folder of its own, and removes that one
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
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
def scored_run(tmp_path: Path) -> Callable[..., Path]:
    """(folder's name, task, seeds, **changes of the file) → a result on a synthetic twin, its predictions beside it."""
    import json

    import numpy as np

    from nas360.files import sha256_file
    from nas360.loaders.data import load_task
    from nas360.loaders.scoring import score_file
    from nas360.predictions import write_predictions
    from nas360.results import ResultFile, save_result

    def make(name: str = "run-1", task: str = "satellite", seeds: tuple[int, ...] = (0,), **changes: Any) -> Path:
        template = json.loads((ROOT / "tests/fixtures/results/v1.0-minimal.json").read_text())
        data, suffix = load_task(task, "synthetic"), changes.pop("suffix", ".npz")
        test, spec, rows = data.rows("test"), data.spec, []
        for seed in seeds:
            path = tmp_path / name / f"predictions-seed{seed}{suffix}"
            path.parent.mkdir(exist_ok=True)
            # right but for some rows, which differ from seed to seed
            wrong = np.random.default_rng(seed).random(len(test)) < changes.get("wrong", 0.3)
            labels = np.where(wrong, (test.column("y") + 1) % spec.output.channels, test.column("y"))
            write_predictions(path, test.ids.tolist(), labels)
            found = score_file(path, data)
            low, high = spec.bounds
            rows.append(
                {
                    "task": task,
                    "metric": {
                        "id": spec.metric,
                        "lower_is_better": spec.direction == "lower",
                        "unit": spec.unit,
                        "min": low,
                        "max": high,
                    },
                    "budget": "small",
                    "dataset": {
                        "repo": task,
                        "revision": None,
                        "version": spec.protocol,
                        "content_sha256": data.content_hash,
                        "n": found.n,
                        "provenance": data.provenance,
                    },
                    "seed": seed,
                    "score": found.score,
                    "extra_metrics": dict(found.extra),
                    "n_evaluated": found.n,
                    "n_missing": 0,
                    "predictions": {
                        "path": path.name,
                        "format": suffix[1:],
                        "sha256": sha256_file(path),
                        "n": len(test),
                    },
                    "architecture": {"space": "a space", "params": 1000},
                    "cost": {"search_seconds": 0.0, "train_seconds": 10.0},
                }
            )
        changes.pop("wrong", None)
        content = {**template, "run_id": name, "results": rows}
        content["method"] = {**template["method"], "name": "my_method", **changes.pop("method", {})}
        save_result(tmp_path / name / "result.json", ResultFile.model_validate({**content, **changes}))
        return tmp_path / name / "result.json"

    return make


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub on this machine, with a token that may write; in this process and those that the test starts."""
    from huggingface_hub import close_session, constants

    # the Hub's client calls its own HTTP library in a way that this one no longer likes
    warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)
    server = _hub_server().Hub()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
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
