"""`nas360 run`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from nas360.cli.live import watching
from nas360.cli.output import console, print_json, warn
from nas360.errors import UserError

if TYPE_CHECKING:
    from nas360.baselines.method import Method
    from nas360.results import SeedRow


def run(
    method: Annotated[str, typer.Argument(help="Name of the method; `nas360 methods` lists them. Or timm:NAME.")],
    task: Annotated[str, typer.Option("--task", help="Id of the task; `nas360 tasks` lists them.")],
    seed: Annotated[int, typer.Option("--seed", help="Seed of every random draw, from 0.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="The run's folder.  \\[default: runs/METHOD/TASK/seedSEED]")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", help="Dataset: a folder or a Hub repository.  \\[default: as prepared here, else from the Hub]"
        ),
    ] = None,
    budget: Annotated[
        str,
        typer.Option("--budget", help="full: the recipe. small: some minutes on two cores. smoke: a few seconds."),
    ] = "full",
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace whatever run the folder holds.")] = False,
    validate: Annotated[
        bool, typer.Option("--validate", help="Train on train alone and score validation; for development.")
    ] = False,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", min=1, help="Shorten the budgets small and smoke further.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes that train the trials of wrn_asha's search, side by side."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", min=1, help="Threads of torch in every process.  \\[default: all cores, shared by the workers]"
        ),
    ] = None,
    trial_seconds: Annotated[
        float | None,
        typer.Option("--trial-seconds", help="Give a trial of wrn_asha up when a rung takes it longer."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result file as JSON.")] = False,
) -> None:
    """Run a method on a task: search if it does, train, predict the test split, score it, and write it all down.

    A run that was stopped goes on with --resume, and ends as if nothing had happened.

    Examples:
    nas360 run wrn --task darcy_flow --budget small

    nas360 run gaea --task ninapro --budget small

    nas360 run timm:resnet18 --task cifar100 --seed 1 --out runs/r18 --device cuda

    nas360 run wrn --task ecg --data data/ecg --resume

    nas360 run wrn_asha --task ecg --budget small --workers 2
    """
    import torch

    from nas360.baselines.folder import default_folder
    from nas360.baselines.local_workers import LocalWorkers, visible_gpus
    from nas360.baselines.method import get_method
    from nas360.baselines.request import check_request
    from nas360.baselines.run import run as perform
    from nas360.loaders import TASKS
    from nas360.loaders.data import load_task
    from nas360.results import SeedRow

    chosen = get_method(method)
    # before the data is opened, which may mean a download
    check_request(chosen, TASKS[task].spec, seed, budget, device, max_steps)
    if workers is not None:
        _check_shared(chosen)
    if threads is not None:
        torch.set_num_threads(threads)
    folder = out if out is not None else default_folder(chosen.id, task, seed)
    opened = load_task(task, data)
    if opened.provenance != "official":
        warn(f"the data of {task} is {opened.provenance}: the score will not compare with published ones")
    try:
        with ExitStack() as stack:
            executor = None
            if workers is not None:
                gpus = visible_gpus() if device != "cpu" else ()
                executor = stack.enter_context(LocalWorkers(workers, gpus))
            watcher = stack.enter_context(watching())
            result = perform(
                chosen,
                opened,
                seed,
                folder,
                budget,
                device,
                resume=resume,
                overwrite=overwrite,
                validate=validate,
                max_steps=max_steps,
                watcher=watcher,
                executor=executor,
                trial_threads=threads or max(1, torch.get_num_threads() // (workers or 1)),
                trial_seconds=trial_seconds,
            )
    except KeyboardInterrupt as cause:
        raise KeyboardInterrupt("stopped; go on with --resume") from cause
    if as_json:
        print_json(result.model_dump(mode="json", by_alias=True))
        return
    for row in result.results:
        if isinstance(row, SeedRow):
            _show(row, chosen.id, folder)


def _check_shared(method: Method) -> None:
    from nas360.baselines.algorithms.base import SharedOut

    if method.search is None or not isinstance(method.search.algorithm, SharedOut):
        raise UserError(
            f"--workers share out the trials of a search that has independent ones, such as wrn_asha's; {method.id} "
            f"has none. Leave --workers out"
        )


def _show(row: SeedRow, method: str, folder: Path) -> None:
    from nas360.loaders import TASKS

    score = row.score if row.score is not None else float("nan")
    parameters = row.architecture.params if row.architecture is not None else 0
    spent = f"trained {row.cost.train_seconds or 0:.0f} s"
    if row.cost.search_seconds:
        spent = f"searched {row.cost.search_seconds:.0f} s, {spent}"
    console.print(
        f"[bold]{escape(method)}[/] on [bold]{escape(row.task)}[/], {row.split}, seed {row.seed}, budget {row.budget}: "
        f"[bold green]{escape(row.metric.id)} {score:.4f}[/] {escape(row.metric.unit)}, "
        f"error {TASKS[row.task].spec.error(score):.4f} "
        f"({row.n_evaluated:,} units; {parameters:,} parameters; {spent})",
        highlight=False,
        soft_wrap=True,
    )
    # the last two are of methods that search or can draw
    files = ("predictions.npz", "result.json", "architecture.json", "log.jsonl", "search.jsonl", "architecture.svg")
    for name in files:
        if (folder / name).exists():
            console.print(f"  {escape(str(folder / name))}", highlight=False, soft_wrap=True)
