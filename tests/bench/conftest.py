"""Jobs whose program is a line of Python, so that every fault can be planted, and grids of made-up runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas360.bench.attempt import Job
from nas360.bench.grid import Cell, Grid, Settings
from nas360.bench.place import Place, Stored

WRITE = "import sys; from pathlib import Path; Path(sys.argv[1]).write_text('done')"


@pytest.fixture
def job_of(tmp_path: Path) -> Callable[..., Job]:
    """`job_of(name, code, **changes)` → a job whose program is `code`; its first argument is the file to write."""
    root = tmp_path / "bench.json"
    root.write_text("{}")

    def make(name: str = "one", code: str = WRITE, **changes: Any) -> Job:
        folder = tmp_path / name
        result = folder / "result.json"
        given = {"call": "call", "root": root, "folder": folder, "result": result, "arguments": (str(result),)}
        return Job(name=name, program=("-c", code), **{**given, **changes})

    return make


@pytest.fixture
def stored_of(tmp_path: Path) -> Callable[..., tuple[Place, Stored]]:
    """`stored_of(methods, tasks, seeds)` → a place whose `bench.json` asks for all of them; nothing is run."""

    def make(
        methods: tuple[str, ...] = ("wrn",), tasks: tuple[str, ...] = ("ecg",), seeds: tuple[int, ...] = (0, 1)
    ) -> tuple[Place, Stored]:
        place = Place(tmp_path)
        grid = Grid(methods=methods, tasks=tasks, seeds=seeds, settings=Settings(budget="smoke", threads=1))
        cells = tuple(
            Cell(method=method, task=task, seed=seed, folder=f"runs/{method}/{task}/seed{seed}", work=1e9)
            for method in methods
            for task in tasks
            for seed in seeds
        )
        stored = Stored(grid=grid, cells=cells)
        place.write(stored)
        return place, stored

    return make
