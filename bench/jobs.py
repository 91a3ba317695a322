"""What is performed: a run for each cell of the grid, a preparation for each twin."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from nas360.bench.attempt import Job
from nas360.bench.grid import Cell, Grid
from nas360.bench.place import DATA, Place
from nas360.bench.states import RESULT
from nas360.loaders.repository.manifest import MANIFEST


@dataclass(frozen=True)
class Limits:
    """What a run may take; they may differ from call to call.

    Attributes:
        seconds: on the clock; None: any.
        memory_mib: of resident memory; None: any.
    """

    seconds: float | None = None
    memory_mib: float | None = None


def new_call() -> str:
    """A token for one execution."""
    return uuid.uuid4().hex


def run_jobs(place: Place, grid: Grid, cells: Iterable[Cell], limits: Limits, call: str) -> list[Job]:
    """A job for each run, which goes on where it was stopped."""
    settings = grid.settings
    return [
        Job(
            name=str(cell),
            call=call,
            root=place.stored,
            folder=place.folder(cell),
            result=place.folder(cell) / RESULT,
            arguments=(
                *("run", cell.method, "--task", cell.task, "--seed", str(cell.seed), "--budget", settings.budget),
                *("--device", settings.device, "--out", str(place.folder(cell)), "--resume"),
                *(() if settings.max_steps is None else ("--max-steps", str(settings.max_steps))),
                *(() if (data := place.dataset(grid, cell.task)) is None else ("--data", str(data))),
            ),
            threads=settings.threads,
            time_limit=limits.seconds,
            memory_limit=limits.memory_mib,
            gpu=settings.device != "cpu",
        )
        for cell in cells
    ]


def twin_jobs(place: Place, grid: Grid, tasks: Iterable[str], call: str) -> list[Job]:
    """A job for each synthetic twin that the grid needs; none for a grid on other data."""
    if not grid.settings.synthetic:
        return []
    return [
        Job(
            name=f"synthetic twin of {task}",
            call=call,
            root=place.stored,
            # beside the dataset, whose own folder must be empty until it is whole
            folder=place.path / DATA / f".{task}",
            result=place.twin(task) / MANIFEST,
            arguments=("prepare", task, "--synthetic", "--out", str(place.twin(task))),
        )
        for task in tasks
    ]
