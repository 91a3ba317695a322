"""What the runs of a grid will cost, before the first of them.

Multiply-adds follow from the plans of search and training (`budget`, `search_plan`), and from the rows of the dataset
that is at hand, else from the task's official ones. Seconds follow from finished runs where there are some, else from a
stated rate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nas360.bench.grid import Cell, Settings
from nas360.bench.states import CellState
from nas360.loaders import TASKS
from nas360.loaders.repository.manifest import MANIFEST, read_manifest
from nas360.loaders.workers import available_cores, worker_pool
from nas360.task import SplitName, TaskSpec

CPU_RATE = 50e9
"""Multiply-adds a second and thread, memory traffic counted as such; a core of a Xeon of 2023 does 30 to 80e9, see
`cost.TRAFFIC`."""

START_SECONDS = 4.0
"""Of each run, to load what it needs, to plan and to write; a smoke run is short enough for it to count."""


def rows_of(spec: TaskSpec, dataset: Path | None) -> dict[SplitName, int]:
    """Rows of each split: of the dataset where it is at hand, else the official ones."""
    if dataset is not None and (dataset / MANIFEST).is_file():
        return {split: entry.rows for split, entry in read_manifest(dataset).splits.items()}
    return {**spec.splits, **spec.rows}


def work_of(method_name: str, spec: TaskSpec, settings: Settings, rows: dict[SplitName, int]) -> float:
    """Multiply-adds of a run, memory traffic counted as such.

    Of a shortened budget it is what the budget may spend, which only networks that cannot be made small enough
    overdraw. Of a task whose rows are several inputs each, such as clips of audio, predictions are counted once a row.

    Args:
        method_name: which.
        spec: the task.
        settings: of the grid.
        rows: of each split.
    """
    from nas360.baselines import cost, ends
    from nas360.baselines.budget import WORK, make_plan
    from nas360.baselines.method import get_method
    from nas360.baselines.search_plan import SHARE, TRAINING_SHARE, make_search_plan

    method = get_method(method_name)
    if settings.budget in WORK:
        return WORK[settings.budget] * (1.0 if method.search is None else SHARE + TRAINING_SHARE)
    space = method.space
    first = space.default(spec)
    n_predict = rows["test"] + (0 if "validation" in spec.final_training else rows["validation"])
    plan = make_plan(
        settings.budget,
        method.recipe_for(spec),
        (first,),
        lambda architecture: cost.of(lambda: space.build(architecture, spec), spec),
        n_train=sum(rows[split] for split in spec.final_training),
        n_predict=n_predict,
        dense=ends.is_dense(spec),
    )
    batch = plan.recipe.batch_size
    work = float(plan.steps * plan.cost.training_step(batch) + plan.cost.prediction(n_predict, batch))
    if method.search is None:
        return work
    search = make_search_plan(
        settings.budget, method.search, space, spec, n_train=rows["train"], n_validation=rows["validation"]
    )
    price = search.algorithm.price(space, spec)
    looked = search.looks * price.of_look(rows["validation"])
    return work + search.steps * (price.row * search.recipe.batch_size + price.step) + looked


Priced = tuple[str, str, Path | None]
"""Method, task, and the dataset if it is at hand."""


def works_of(wanted: Sequence[Priced], settings: Settings) -> list[float]:
    """`work_of` of each; of the full budget, whose supernets take seconds to be measured, by several processes."""
    if settings.budget != "full" or len(wanted) < MANY:
        return [_work(one, settings) for one in wanted]
    with worker_pool(min(available_cores(), MOST_PROCESSES)) as pool:
        return list(pool.map(_work, wanted, [settings] * len(wanted)))


MANY, MOST_PROCESSES = 12, 8
"""Of fewer, one process is done before others have begun."""


def _work(one: Priced, settings: Settings) -> float:
    method, task, dataset = one
    spec = TASKS[task].spec
    return work_of(method, spec, settings, rows_of(spec, dataset))


@dataclass(frozen=True)
class Clock:
    """From runs to seconds: as long as the same method on the same task took; else the method's rate; else any.

    Attributes:
        rate: multiply-adds a second where no run has ended yet.
        by_pair: method and task → seconds of the runs that ended.
        by_method: method → their work and seconds.
    """

    rate: float
    by_pair: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    by_method: dict[str, tuple[float, float]] = field(default_factory=dict)

    def seconds(self, cell: Cell) -> float:
        """Of a run, the start of its process included."""
        known = self.by_pair.get((cell.method, cell.task))
        if known:
            return sum(known) / len(known) + START_SECONDS
        work, seconds = self.by_method.get(cell.method, (0.0, 0.0))
        if not work or not seconds:
            parts = self.by_method.values()
            work, seconds = sum(part[0] for part in parts), sum(part[1] for part in parts)
        rate = work / seconds if work and seconds else self.rate
        return cell.work / rate + START_SECONDS


def make_clock(states: Iterable[CellState], rate: float) -> Clock:
    """A clock that runs as the finished runs did.

    Args:
        states: of all runs.
        rate: multiply-adds a second where none has ended yet.
    """
    by_pair: dict[tuple[str, str], list[float]] = defaultdict(list)
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for state in states:
        if state.state == "done" and state.seconds:
            by_pair[state.cell.method, state.cell.task].append(state.seconds)
            totals[state.cell.method][0] += state.cell.work
            totals[state.cell.method][1] += state.seconds
    return Clock(rate, dict(by_pair), {name: (work, seconds) for name, (work, seconds) in totals.items()})


def seconds_left(states: Iterable[CellState], clock: Clock, workers: int) -> float:
    """Seconds until all is over, with so many runs at a time: the work shared evenly, or the longest run alone."""
    left = [
        max(0.0, clock.seconds(state.cell) - state.seconds) for state in states if state.state in ("running", "waiting")
    ]
    return max(sum(left) / max(1, workers), max(left, default=0.0))
