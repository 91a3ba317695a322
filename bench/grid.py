"""The grid: which methods on which tasks with which seeds, under what settings, as values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from nas360.environment import Name, Record
from nas360.errors import UserError
from nas360.results import Budget

ALL = "all"

SEEDS = 10_000
"""Most seeds of one grid; more are a slip of the keyboard."""

Names = Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]


class Settings(Record):
    """What all runs of a grid have in common; two grids of other settings are two grids.

    Attributes:
        budget: `full`, `small` or `smoke`.
        max_steps: shortens the budgets `small` and `smoke`.
        synthetic: whether the runs are on made-up twins of the tasks.
        data: folder with a prepared dataset for each task, named like it; None: where `nas360 run` looks.
        device: `auto`, `cpu` or `cuda`.
        threads: of each run; on the CPU, results are equal to the bit only for equal numbers of threads.
    """

    budget: Budget
    max_steps: int | None = Field(default=None, ge=1)
    synthetic: bool = False
    data: str | None = None
    device: str = "auto"
    threads: int = Field(ge=1, le=4096)


class Grid(Record):
    """A grid.

    Attributes:
        methods: names.
        tasks: ids.
        seeds: from 0.
        settings: what the runs have in common.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    methods: Names
    tasks: Names
    seeds: Annotated[tuple[int, ...], Field(min_length=1, max_length=SEEDS, strict=False)]
    settings: Settings

    def contains(self, other: Grid) -> bool:
        """Whether every run of the other is one of this."""
        return self.settings == other.settings and all(
            set(theirs) <= set(own)
            for own, theirs in (
                (self.methods, other.methods),
                (self.tasks, other.tasks),
                (tuple(map(str, self.seeds)), tuple(map(str, other.seeds))),
            )
        )

    def joined(self, other: Grid) -> Grid:
        """The least grid that contains both, which must have the same settings."""
        return self.model_copy(
            update={
                name: tuple(dict.fromkeys([*getattr(self, name), *getattr(other, name)]))
                for name in ("methods", "tasks", "seeds")
            }
        )


class Cell(Record):
    """One run of a grid.

    Attributes:
        method: its name.
        task: its id.
        seed: its seed.
        folder: of the run, relative to the benchmark's.
        work: expected multiply-adds, see `price`.
    """

    method: Name
    task: Name
    seed: int
    folder: Name
    work: float = Field(ge=0)

    @model_validator(mode="after")
    def _stays_inside(self) -> Cell:
        path = PurePosixPath(self.folder)
        # also as Windows reads it, whose drives and separators are others
        if path.is_absolute() or {"", ".", ".."} & {*self.folder.replace("\\", "/").split("/")} or ":" in path.parts[0]:
            raise ValueError("a run's folder must be in that of the benchmark")
        if any(name.startswith("-") for name in (self.method, self.task)):
            raise ValueError("no method or task begins with a dash")
        return self

    def __str__(self) -> str:
        return f"{self.method} on {self.task}, seed {self.seed}"


def paper_methods() -> tuple[str, ...]:
    """The methods that the paper compares, in the order of our table of methods."""
    from nas360.baselines.method import METHODS
    from nas360.leaderboard.sources import load_panel

    published = {file.method.name for file in load_panel("paper").values()}
    return tuple(name for name in METHODS if name in published)


def parse_names(text: str, everything: Sequence[str]) -> tuple[str, ...]:
    """Names with commas between them, `all` for everything; each once.

    Example:
        >>> parse_names("ecg, ecg,ninapro", ("ecg", "ninapro", "cosmic"))
        ('ecg', 'ninapro')
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    return tuple(dict.fromkeys(one for name in names for one in (everything if name == ALL else (name,))))


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds with commas between them, and ranges, whose ends both belong to them; each once.

    Raises:
        UserError: that is not what came, or there are too many.

    Example:
        >>> parse_seeds("0,3-5")
        (0, 3, 4, 5)
    """

    def seeds() -> Iterator[int]:
        for part in text.split(","):
            first, dash, last = (piece.strip() for piece in part.partition("-"))
            ends = (first, last) if dash else (first, first)
            if not all(end.isascii() and end.isdigit() and len(end) < 20 for end in ends):
                raise UserError(f"seeds {text!r}: {part.strip()!r} is neither a seed nor a range. Write 0,1 or 0-4")
            if not 0 <= int(ends[1]) - int(ends[0]) < SEEDS:
                raise UserError(f"seeds {text!r}: {part.strip()!r} holds no seed, or more than {SEEDS:,}")
            yield from range(int(ends[0]), int(ends[1]) + 1)

    found = tuple(dict.fromkeys(seeds()))
    if len(found) > SEEDS:
        raise UserError(f"seeds {text!r} are {len(found):,}, more than {SEEDS:,}")
    return found


def pairs(grid: Grid) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """What can be run of a grid, seeds aside.

    Returns:
        Methods and tasks, method by method; and for each method that cannot run on all tasks of the grid, on how many
        it can.

    Raises:
        UnknownNameError: there is no such method or task.
        UserError: nothing is left.
    """
    from nas360.baselines.method import get_method
    from nas360.loaders import TASKS

    specs = {name: TASKS[name].spec for name in grid.tasks}
    able: dict[str, list[str]] = {}
    for name in grid.methods:
        method = get_method(name)
        able[name] = [task for task, spec in specs.items() if method.supports(spec)]
    if not any(able.values()):
        get_method(grid.methods[0]).check(specs[grid.tasks[0]])
        raise UserError("none of these methods can run on any of these tasks")
    few = {name: len(tasks) for name, tasks in able.items() if len(tasks) < len(specs)}
    return [(name, task) for name, tasks in able.items() for task in tasks], few


def as_json(record: Record) -> Any:
    """A record as plain JSON values."""
    return record.model_dump(mode="json")
