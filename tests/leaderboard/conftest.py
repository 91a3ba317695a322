"""Result files to rank, made as small as they may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from nas360.leaderboard.sources import load_panel
from nas360.loaders import TASKS
from nas360.results import ResultFile
from nas360.task import TaskSpec


@pytest.fixture(scope="session")
def specs() -> Mapping[str, TaskSpec]:
    return {name: task.spec for name, task in TASKS.items()}


@pytest.fixture(scope="session")
def paper() -> dict[str, ResultFile]:
    return load_panel("paper")


@pytest.fixture(scope="session")
def make_row(specs: Mapping[str, TaskSpec]) -> Callable[..., dict[str, Any]]:
    """(task, score, **changes) → a seed row; a score of None is a failed run."""

    def make(task: str, score: float | None, **changes: Any) -> dict[str, Any]:
        spec = specs[task]
        provenance = changes.pop("provenance", "official")
        n = spec.splits["test"] if provenance == "official" else 10
        row: dict[str, Any] = {
            "task": task,
            "metric": {
                "id": spec.metric,
                "lower_is_better": spec.direction == "lower",
                "unit": spec.unit,
                "min": spec.bounds[0],
                "max": spec.bounds[1],
            },
            "budget": "full",
            "dataset": {
                "repo": spec.repo,
                "revision": None,
                "version": spec.protocol,
                "content_sha256": changes.pop("content", "a") * 64,
                "n": n,
                "provenance": provenance,
            },
            "seed": 0,
            "score": score,
            "n_evaluated": n,
            "n_missing": 0,
            "architecture": {"space": "a space", "params": 1},
            "cost": {"search_seconds": 0.0, "train_seconds": 1.0},
        }
        if score is None:
            failure = {"stage": "train", "message": "no memory"}
            row |= {"status": "oom", "failure": failure, "architecture": None, "n_evaluated": 0, "n_missing": n}
        return row | changes

    return make


@pytest.fixture(scope="session")
def make_file() -> Callable[..., ResultFile]:
    """(method, rows, **changes of the method) → a result file."""

    def make(method: str, rows: list[dict[str, Any]], run_id: str = "run", **changes: Any) -> ResultFile:
        return ResultFile.model_validate(
            {
                "schema_version": "1.0",
                "run_id": run_id,
                "created": "2026-01-31T12:00:00Z",
                "submission": {
                    "submitter": "someone",
                    "relationship": "author",
                    "track": "open",
                    "status": "self_reported",
                },
                "method": {
                    "name": method,
                    "version": "1",
                    "search_space": "a space",
                    "search_algorithm": None,
                    "pretrained": False,
                    "external_data": False,
                }
                | changes,
                "nas360": {"version": "0.1.0"},
                "results": rows,
                "environment": {
                    "python": "3.11.0",
                    "os": "an os",
                    "cpu": "a cpu",
                    "ram_gb": 1.0,
                    "torch": None,
                    "datasets": None,
                    "huggingface_hub": None,
                    "numpy": None,
                    "deterministic": True,
                    "precision": "float32",
                },
                "rules": {"test_used_for_selection": False, "val_merged_into_train": True, "seeds_tuned": False},
            }
        )

    return make
