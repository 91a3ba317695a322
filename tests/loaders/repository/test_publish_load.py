"""The whole way of a dataset: prepared, published, loaded by `datasets` and by nas360, with the Hub and without.

What `datasets` and the Hub's client read of the environment they read at import, so each stage is a process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nas360.loaders import TASKS
from nas360.loaders.data import TaskData
from nas360.loaders.repository.manifest import read_manifest
from nas360.loaders.repository.publish import publish

if TYPE_CHECKING:
    from tests.hub_server import Hub

TASK = "ninapro"
REPO = "nas360/ninapro"
OTHERS = ("cifar100", "ecg")

_LOAD = """
import hashlib, json, sys
from datasets import load_dataset
from nas360 import load_task

def digest(ids):
    return hashlib.sha256("\\n".join(ids).encode()).hexdigest()

def loaded(*names, **options):
    found = {}
    for split, rows in load_dataset("nas360/ninapro", *names, **options).items():
        ids = [row["id"] for row in rows.select_columns(["id"])]
        found[split] = [len(ids), digest(ids)]
    return found

def sizes(repo):
    return {split: len(rows) for split, rows in load_dataset(repo).items()}

def told(call):
    try:
        return call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def task(source):
    data = load_task("ninapro", source)
    found = {}
    for split in ("train", "validation", "test"):
        ids = [str(one) for one in data.rows(split).ids]
        found[split] = [len(ids), digest(ids)]
    return found | {"content": data.content_hash, "revision": data.revision}

print(json.dumps({
"""


def _run(steps: Mapping[str, str], **environment: str) -> dict[str, Any]:
    """Evaluate expressions in one new process."""
    code = _LOAD + "".join(f"    {name!r}: {step},\n" for name, step in steps.items()) + "}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_published_then_loaded_by_name_tag_stream_and_offline(
    hub: Hub, synthetic_repo: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = synthetic_repo(TASK)
    task = TASKS[TASK]
    with monkeypatch.context() as patch:  # it is verified once
        patch.setattr("nas360.loaders.repository.verify.verify", lambda folder, quick=False, report=None: [])
        pull_request = publish(task, folder, REPO, create_pr=True)
        for name in OTHERS:
            publish(TASKS[name], synthetic_repo(name), f"my-lab/{name}")
    done = publish(task, folder, REPO, tag="v1.0.0")
    assert done.commit is not None and pull_request.commit is not None
    rows = TaskData(task, folder, str(folder))
    truth = {split: list(map(str, rows.rows(split).ids)) for split in rows.manifest.splits}
    sizes = {split: len(ids) for split, ids in truth.items()}
    # nobody is logged in who loads, and nothing is in a cache yet; the other cache will have both configurations
    home = {"HF_TOKEN": "", "HF_HOME": str(tmp_path / "hf"), "NAS360_DATA": str(tmp_path / "none")}
    other = str(tmp_path / "other")
    both = {
        "named default": f"loaded('default', cache_dir={other!r})",
        "full": f"loaded('full', cache_dir={other!r})",
    }
    steps = {
        "plain": "loaded()",
        "stream": "loaded(streaming=True)",
        "tag": "loaded(revision='v1.0.0')",
        "task": "task('nas360/ninapro@v1.0.0')",
        "task by default": "task(None)",
        **both,
    }

    online = _run(
        steps
        | {
            "pull request": "loaded(revision='refs/pr/1', streaming=True)",
            "full stream": "loaded('full', streaming=True)",
            # not streamed, so that the sizes and types are checked which the card declares
            "others": f"[sizes('my-lab/' + name) for name in {OTHERS}]",
            "no such tag": "told(lambda: loaded(revision='v9'))",
            "no such configuration": "told(lambda: loaded('fold1'))",
            "task of the pull request": "task('nas360/ninapro@refs/pr/1')",
        },
        **home,
    )
    plain = online["plain"]
    assert {split: found[0] for split, found in plain.items()} == sizes
    for way in ("stream", "tag", "pull request", "named default"):
        assert online[way] == plain, way
    assert online["full stream"] == online["full"]
    assert online["full"]["train"][0] == rows.manifest.configs["full"].rows
    assert online["others"] == [
        {split: entry.rows for split, entry in read_manifest(synthetic_repo(name)).splits.items()} for name in OTHERS
    ]
    assert "Revision 'v9' doesn't exist" in online["no such tag"]
    assert "BuilderConfig 'fold1' not found" in online["no such configuration"]
    as_task = plain | {"content": rows.content_hash}
    assert online["task"] == online["task by default"] == as_task | {"revision": done.commit.oid}
    assert online["task of the pull request"] == as_task | {"revision": pull_request.commit.oid}

    wrong = _run({"told": "told(lambda: task('my-lab/ecg'))"}, **home | {"HF_HOME": str(tmp_path / "new")})
    assert "my-lab/ecg holds the task 'ecg', not 'ninapro'" in wrong["told"]
    fetched = (tmp_path / "new" / "hub" / "datasets--my-lab--ecg" / "snapshots").rglob("*")
    assert {path.name for path in fetched if path.is_file()} == {"manifest.json"}

    hub.stop()
    # with two configurations in its cache and no Hub to ask, `datasets` does not know which one is the default
    nameless = {"nameless": f"told(lambda: loaded(cache_dir={other!r}))"}
    offline = _run(steps | nameless, HF_HUB_OFFLINE="1", **home)
    for way in steps:
        assert offline[way] == online[way], way
    assert offline["nameless"] == plain or "There are multiple 'nas360/ninapro' conf" in offline["nameless"]
