"""`nas360 bench`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from nas360.cli.output import console, errors, plain, print_json, warn
from nas360.errors import RunError, UserError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from nas360.bench.attempt import Ending, Job
    from nas360.bench.campaign import Campaign
    from nas360.bench.engine import Engine
    from nas360.bench.grid import Grid
    from nas360.bench.states import CellState


def bench(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The benchmark's folder.")] = Path("benchmark"),
    methods: Annotated[
        str | None, typer.Option("--methods", help="Names, with commas; all: the paper's seven.  \\[default: all]")
    ] = None,
    tasks: Annotated[str | None, typer.Option("--tasks", help="Ids, with commas; all: ten.  \\[default: all]")] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="Such as 0,1 or 0-4.  \\[default: 0]")] = None,
    budget: Annotated[str | None, typer.Option("--budget", help="full, small or smoke.  \\[default: full]")] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Folder that holds the prepared dataset of each task, named like it.  \\[default: as nas360 run]",
        ),
    ] = None,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Run on tiny made-up twins of the tasks.")] = False,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.  \\[default: auto]")] = None,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", min=1, help="Shorten the budgets small and smoke further.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, max=4096, help="Of each run.  \\[default: cores for each worker]"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, max=1024, help="Runs at a time on this machine.  \\[default: GPUs, else cores]"
        ),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Run on this Dask cluster, such as tcp://10.0.0.1:8786.")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", min=0.01, help="Hours after which a run is ended as failed.")
    ] = None,
    memory_limit: Annotated[
        float | None, typer.Option("--memory-limit", min=1, help="MiB above which a run is ended as failed.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate", min=1, help="For the estimate: multiply-adds a second of one run.  \\[default: finished runs']"
        ),
    ] = None,
    add: Annotated[bool, typer.Option("--add", help="Add this grid to that of the folder.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also run again what could not be brought to an end.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be run, and what it costs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan or the outcome as JSON.")] = False,
) -> None:
    """Run methods × tasks × seeds, on this machine or on a cluster, and rank the results.

    The state is the files: what is finished is never repeated, so that the same command, or nas360 bench DIR alone,
    goes on after whatever stopped it. A run that raises, hangs or eats the memory costs itself alone and is recorded.
    nas360 bench status DIR shows how far it is, also meanwhile.

    Examples:
    nas360 bench --methods all --tasks all --seeds 0-2 --dry-run

    nas360 bench twins --seeds 0,1 --budget smoke --synthetic

    nas360 bench small --methods wrn,gaea --tasks ecg,ninapro --budget small --data data/ --time-limit 1

    nas360 bench /shared/full --seeds 0-2 --scheduler tcp://10.0.0.1:8786

    nas360 bench small
    """
    from nas360.bench.campaign import Campaign, plan_grid
    from nas360.bench.engine import default_workers
    from nas360.bench.grid import Settings
    from nas360.bench.jobs import Limits
    from nas360.bench.place import Place, agree
    from nas360.bench.price import CPU_RATE, make_clock

    if synthetic and data is not None:
        raise UserError("--synthetic makes its own data; leave --data out")
    for name, value in {"--time-limit": time_limit, "--memory-limit": memory_limit, "--rate": rate}.items():
        if value is not None and not math.isfinite(value):
            raise UserError(f"{name} {value} is no limit and no rate; give a number, or leave it out")
    if scheduler is not None and workers is not None:
        raise UserError("--workers is of this machine; how many runs a cluster does at a time, its workers say")
    place = Place(folder.resolve())
    there = place.read()
    before = None if there is None else there.grid
    known = None if before is None else before.settings
    where = device or ("auto" if known is None else known.device)
    at_once = workers or (1 if scheduler is not None else default_workers(where))
    with _engine(scheduler, at_once) as engine:
        settings = Settings(
            budget=_budget(budget or ("full" if known is None else known.budget), max_steps),
            max_steps=max_steps or (None if known is None or budget is not None else known.max_steps),
            synthetic=synthetic or (known is not None and known.synthetic),
            data=str(data.resolve()) if data is not None else None if known is None else known.data,
            device=where,
            threads=threads or (engine.threads if known is None else known.threads),
        )
        grid = _grid(methods, tasks, seeds, settings, before)
        if before is not None:
            grid = agree(grid, before, add)
        stored = there if there is not None and there.grid == grid else plan_grid(place, grid, there)
        limits = Limits(None if time_limit is None else 3600 * time_limit, memory_limit)
        first = Campaign(place, stored, limits, make_clock([], rate or CPU_RATE * settings.threads))
        states = first.states()
        clock = make_clock([] if rate else states, rate or CPU_RATE * settings.threads)
        campaign = Campaign(place, stored, limits, clock)
        if dry_run:
            _show_plan(campaign, states, engine.workers, as_json, rate)
            return
        campaign.check_data(campaign.missing(states, retry_failed=retry_failed))
        with place.locked():
            if place.read() != there:
                raise RunError(f"{place.stored} was changed by another nas360 bench just now. Ask again")
            if stored is not there:
                place.write(stored)
            _perform(campaign, engine, retry_failed, quiet=as_json)
        _finish(campaign, as_json)


def _engine(scheduler: str | None, workers: int) -> AbstractContextManager[Engine]:
    from nas360.bench.engine import dask_engine, local_engine

    return local_engine(workers) if scheduler is None else dask_engine(scheduler)


def _budget(name: str, max_steps: int | None) -> Any:
    from nas360.baselines.budget import check_budget

    return check_budget(name, max_steps)


def _grid(methods: str | None, tasks: str | None, seeds: str | None, settings: Any, before: Grid | None) -> Grid:
    """What is asked for; what is not named is as before."""
    from nas360.bench.grid import ALL, Grid, paper_methods, parse_names, parse_seeds
    from nas360.loaders import TASKS

    named: dict[str, Any] = {
        "methods": parse_names(methods or ALL, paper_methods()) if methods or before is None else before.methods,
        "tasks": parse_names(tasks or ALL, tuple(TASKS)) if tasks or before is None else before.tasks,
        "seeds": parse_seeds(seeds or "0") if seeds or before is None else before.seeds,
    }
    for name, values in named.items():
        if not values:
            raise UserError(f"--{name} names nothing; give some, with commas, or all")
    for task in named["tasks"]:
        _ = TASKS[task]
    return Grid(settings=settings, **named)


def _show_plan(campaign: Campaign, states: list[CellState], workers: int, as_json: bool, rate: float | None) -> None:
    from nas360.cli.bench_tables import plan_json, plan_table

    if as_json:
        print_json(plan_json(campaign, states, workers))
        return
    for part in plan_table(campaign, states, workers, stated=rate is not None):
        console.print(part)


def _perform(campaign: Campaign, engine: Engine, retry_failed: bool, quiet: bool) -> None:
    from nas360.cli.bench_tables import duration, summary

    states = campaign.states()
    cells = campaign.missing(states, retry_failed=retry_failed)
    errors.print(escape(summary(campaign, states, engine.workers)), highlight=False, soft_wrap=True)
    if not cells:
        return
    done = 0

    def told(job: Job, ending: Ending) -> None:
        nonlocal done
        done += job.arguments[0] == "run"
        count = f"{done}/{len(cells)} " if job.arguments[0] == "run" else ""
        after = f" after {duration(ending.seconds)}" if ending.seconds else ""
        if ending.failure is not None:
            warn(f"{count}{plain(job.name)}: {ending.failure.reason}{after}: {plain(ending.failure.message)}")
        else:
            errors.print(escape(f"{count}{job.name}: {ending.kind}{after}"), highlight=False, soft_wrap=True)

    again = f"nas360 bench {campaign.place.path}"
    try:
        campaign.perform(engine, cells, told)
    except KeyboardInterrupt as cause:
        raise KeyboardInterrupt(f"stopped; what is finished is kept. Go on by: {again}") from cause
    except RunError as cause:
        raise RunError(f"{cause}. What is finished is kept. Mend that and go on by: {again}") from cause


def _finish(campaign: Campaign, as_json: bool) -> None:
    from nas360.bench.board import JSON, PAGE, make_board
    from nas360.cli.bench_tables import overview
    from nas360.leaderboard.output.render import View, to_rich

    states = campaign.states()
    ranked = make_board(campaign.place, campaign.stored.grid, states)
    if as_json:
        board = None if ranked is None else ranked.content
        print_json({"runs": [state.public() for state in states], "leaderboard": board})
        return
    for part in overview(campaign.stored, states, console.encoding):
        console.print(part)
    if ranked is not None:
        for part in to_rich(ranked.board, View(ranked.statistics)):
            console.print(part, crop=False)
        for name in (JSON, PAGE):
            console.print(f"  {escape(str(campaign.place.path / name))}", highlight=False, soft_wrap=True)
