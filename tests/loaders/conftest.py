"""Raw distributions and dataset repositories that several test files read; made once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nas360.loaders import TASKS
from nas360.loaders.prepare import prepare


@pytest.fixture(scope="session")
def synthetic_raw(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Task id → folder with its synthetic raw files."""
    made: dict[str, Path] = {}

    def raw(task: str) -> Path:
        if task not in made:
            made[task] = tmp_path_factory.mktemp(f"{task}-raw")
            TASKS[task].write_synthetic(made[task], 0)
        return made[task]

    return raw


@pytest.fixture(scope="session")
def synthetic_repo(
    tmp_path_factory: pytest.TempPathFactory, synthetic_raw: Callable[[str], Path]
) -> Callable[[str], Path]:
    """Task id → folder with its synthetic dataset repository."""
    made: dict[str, Path] = {}

    def repo(task: str) -> Path:
        if task not in made:
            made[task] = tmp_path_factory.mktemp(f"{task}-repo") / task
            prepare(TASKS[task], synthetic_raw(task), made[task])
        return made[task]

    return repo
