"""A benchmark from its grid to its results: what is missing is run, and only that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from nas360.baselines.folder import default_folder
from nas360.bench.attempt import Ending, Job, end_all
from nas360.bench.engine import Engine
from nas360.bench.execute import execute
from nas360.bench.grid import Cell, Grid, pairs
from nas360.bench.jobs import Limits, new_call, run_jobs, twin_jobs
from nas360.bench.place import Place, Stored
from nas360.bench.price import Clock, works_of
from nas360.bench.slots import visible_devices
from nas360.bench.states import CellState, Reader
from nas360.bench.trials import Trials, has_trials, search_then_run
from nas360.errors import RunError, UserError
from nas360.loaders.data import check_task

MOST_SEARCHES = 16
"""Searches that tell their trials at a time; each is a thread that mostly waits."""


def plan_grid(place: Place, grid: Grid, there: Stored | None) -> Stored:
    """The runs of a grid, with what each will cost; what is known from before is not computed again.

    Raises:
        UnknownNameError: there is no such method or task.
        RunError: nothing can be run, or data is missing.
    """
    place.check_data(grid)
    wanted, _ = pairs(grid)
    known = {} if there is None else {(cell.method, cell.task): cell.work for cell in there.cells}
    new = [pair for pair in wanted if pair not in known]
    works = works_of([(method, task, place.dataset(grid, task)) for method, task in new], grid.settings)
    known |= dict(zip(new, works, strict=True))
    cells = tuple(
        Cell(
            method=method,
            task=task,
            seed=seed,
            folder=default_folder(method, task, seed).as_posix(),
            work=known[method, task],
        )
        for method, task in wanted
        for seed in grid.seeds
    )
    return Stored(grid=grid, cells=cells)


@dataclass(frozen=True)
class Campaign:
    """A benchmark under way.

    Attributes:
        place: its folder.
        stored: what is asked for.
        limits: of each run.
        clock: tells which runs are long.
        shared_seconds: of searches in runs that are expected to take so long or longer, the trials are jobs of the
            engine's; with shorter ones, more time would go into beginning processes.
    """

    place: Place
    stored: Stored
    limits: Limits
    clock: Clock
    shared_seconds: float = 600.0

    def states(self) -> list[CellState]:
        """Of all runs, in the order of the grid."""
        return Reader(self.place).read(self.stored.cells)

    def missing(self, states: Sequence[CellState], *, retry_failed: bool) -> list[Cell]:
        """What is to be run, the longest first, so that no long run is left alone at the end.

        Args:
            states: of all runs.
            retry_failed: also runs that could not be brought to an end before; one that ended in failure is over.
        """
        wanted = [
            state.cell
            for state in states
            if state.state in ("waiting", "running") or (retry_failed and state.retriable)
        ]
        return sorted(wanted, key=lambda cell: (-self.clock.seconds(cell), cell.seed, str(cell)))

    def check_data(self, cells: Sequence[Cell]) -> None:
        """See that the data of these runs is there, before the first of them begins.

        Raises:
            RunError: that of some tasks is not.
        """
        grid = self.stored.grid
        tasks = [] if grid.settings.synthetic else list(dict.fromkeys(cell.task for cell in cells))
        with ThreadPoolExecutor(max(1, len(tasks))) as threads:  # each may be a question to the Hub
            told = threads.map(lambda task: _fault(task, self.place.dataset(grid, task)), tasks)
            faults = {task: fault for task, fault in zip(tasks, told, strict=True) if fault is not None}
        if faults:
            first = next(iter(faults))
            raise RunError(
                f"nothing was begun, for there is no data for {len(faults)} of {len(tasks)} tasks: "
                f"{', '.join(faults)}. {faults[first]}. `nas360 prepare {first} --download` makes it; --data names a "
                f"folder that has a prepared dataset for each task; --synthetic runs on tiny made-up twins; or leave "
                f"these out of --tasks"
            )

    def perform(self, engine: Engine, cells: Sequence[Cell], told: Callable[[Job, Ending], None]) -> None:
        """Make the twins that are missing, then run; whatever stops this, no process stays behind.

        Args:
            engine: what performs.
            cells: what to run.
            told: is called after each job.

        Raises:
            RunError: a twin could not be made, or the engine cannot go on.
        """
        engine.sees(self.place.path)
        call = new_call()
        tasks = dict.fromkeys(cell.task for cell in cells)
        twins = twin_jobs(self.place, self.stored.grid, tasks, call)
        try:
            failed = [
                ending
                for ending in self._execute(engine, [job for job in twins if not job.result.exists()], told)
                if ending.failure is not None
            ]
            if failed:
                said = "; ".join(f"{one.name}: {one.failure.message}" for one in failed if one.failure is not None)
                raise RunError(f"the data could not be made: {said}")
            jobs = dict(zip(run_jobs(self.place, self.stored.grid, cells, self.limits, call), cells, strict=True))
            shared = {
                job: Trials(engine.urgent, job, engine.lost)
                for job, cell in jobs.items()
                if self._is_shared(cell, engine)
            }
            with ThreadPoolExecutor(MOST_SEARCHES, thread_name_prefix="nas360-search") as threads:
                try:
                    begun = {
                        job: threads.submit(self._search, jobs[job], job, engine, trials)
                        for job, trials in shared.items()
                    }
                    self._execute(engine, [job for job in jobs if job not in begun], told, begun)
                except BaseException:
                    # else the threads would wait, for trials of an engine that may be gone even for ever
                    end_all(call)
                    for trials in shared.values():
                        trials.stop()
                    raise
        except BaseException:
            engine.end(call)
            raise

    def _is_shared(self, cell: Cell, engine: Engine) -> bool:
        if self.clock.seconds(cell) < self.shared_seconds or not has_trials(cell.method):
            return False
        # trials are told by the search on which kind of device to be, which is then that of this machine
        device = self.stored.grid.settings.device
        return engine.here or device == "cpu" or bool(visible_devices())

    def _search(self, cell: Cell, job: Job, engine: Engine, trials: Trials) -> Ending:
        return search_then_run(self.place, self.stored.grid, cell, job, engine.executor, trials)

    def _execute(
        self,
        engine: Engine,
        jobs: Sequence[Job],
        told: Callable[[Job, Ending], None],
        begun: Mapping[Job, Future[Ending]] | None = None,
    ) -> list[Ending]:
        by_name = {job.name: job for job in (*jobs, *(begun or {}))}
        return execute(
            jobs,
            engine.executor,
            lambda ending: told(by_name[ending.name], ending),
            lost=engine.lost,
            check=engine.check,
            ahead=engine.ahead,
            begun=begun,
        )


def _fault(task: str, folder: Path | None) -> str | None:
    """Why a task's data cannot be opened; None where it can."""
    try:
        check_task(task, folder)
    except UserError as fault:
        return str(fault)
    return None
