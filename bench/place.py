"""The folder of a benchmark: what is asked for in `bench.json`, all else in the files of the runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

from nas360.bench.grid import Cell, Grid
from nas360.environment import Record
from nas360.errors import RunError
from nas360.files import MIB, read_json, write_json
from nas360.loaders.repository.manifest import MANIFEST

STORED, RUNS, DATA = "bench.json", "runs", "data"


class Stored(Record):
    """What `bench.json` holds.

    Attributes:
        bench_version: of this form.
        grid: as it was asked for.
        cells: its runs, method by method.
    """

    bench_version: Literal[1] = 1
    grid: Grid
    cells: Annotated[tuple[Cell, ...], Field(strict=False)]


@dataclass(frozen=True)
class Place:
    """The folder of a benchmark.

    Attributes:
        path: the folder, absolute.
    """

    path: Path

    @property
    def stored(self) -> Path:
        """What is asked for."""
        return self.path / STORED

    @property
    def runs(self) -> Path:
        """The folders of all runs."""
        return self.path / RUNS

    def folder(self, cell: Cell) -> Path:
        """Of a run."""
        return self.path / cell.folder

    def twin(self, task: str) -> Path:
        """The dataset of a task's synthetic twin."""
        return self.path / DATA / task

    def dataset(self, grid: Grid, task: str) -> Path | None:
        """The dataset of a task; None: where `nas360 run` looks by itself."""
        if grid.settings.synthetic:
            return self.twin(task)
        return None if grid.settings.data is None else Path(grid.settings.data) / task

    def check_data(self, grid: Grid) -> None:
        """See that the data folder that was named holds every task.

        Raises:
            RunError: it does not.
        """
        if grid.settings.synthetic or grid.settings.data is None:
            return
        missing = [task for task in grid.tasks if not (Path(grid.settings.data) / task / MANIFEST).is_file()]
        if missing:
            raise RunError(
                f"{grid.settings.data} has no prepared dataset of {', '.join(missing)}. It needs a folder for each "
                f"task, as `nas360 prepare {missing[0]} --out {Path(grid.settings.data) / missing[0]}` makes it; or "
                f"leave these out of --tasks"
            )

    def read(self) -> Stored | None:
        """What is asked for; None where nothing is yet.

        Raises:
            RunError: the file is damaged, or of another version.
        """
        if not self.stored.exists():
            return None
        content: Any = read_json(self.stored, 16 * MIB, RunError)
        try:
            return Stored.model_validate(content)
        except ValidationError as cause:
            fault = cause.errors()[0]
            where = ".".join(map(str, fault["loc"]))
            raise RunError(
                f"{self.stored} is not in the form of this version of nas360 ({where}: {fault['msg']}). Delete it and "
                f"ask for the grid again: finished runs are kept"
            ) from cause

    def write(self, stored: Stored) -> None:
        """Write down what is asked for."""
        write_json(self.stored, stored.model_dump(mode="json"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one client at a time hand out the runs.

        Raises:
            RunError: another does.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".bench.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as cause:
            raise RunError(
                f"another nas360 bench is at work in {self.path}. Watch it by `nas360 bench status {self.path}`"
            ) from cause
        try:
            yield
        finally:
            lock.release()


def agree(asked: Grid, there: Grid, add: bool) -> Grid:
    """The grid of a folder that holds one already.

    Args:
        asked: for.
        there: before.
        add: whether to run the old one too.

    Raises:
        RunError: the settings differ, or runs of the old one are not in the new one.
    """
    differing = [
        f"{name} is {value!r} there, {getattr(asked.settings, name)!r} was asked for"
        for name, value in there.settings
        if value != getattr(asked.settings, name)
    ]
    if differing:
        raise RunError(
            f"the folder holds another benchmark: {'; '.join(differing)}. Take another folder, or leave these options "
            f"out to go on with it"
        )
    if asked.contains(there) or add:
        return there.joined(asked)
    raise RunError(
        f"the folder holds a benchmark of methods {','.join(there.methods)}, tasks {','.join(there.tasks)}, seeds "
        f"{','.join(map(str, there.seeds))}, which is not part of what was asked for. --add runs both; without "
        f"options it goes on as it is; or take another folder"
    )
