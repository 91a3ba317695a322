"""`nas360 evaluate`: score a predictions file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas360.cli.output import console, print_json, warn
from nas360.errors import PredictionsError, UserError

if TYPE_CHECKING:
    from nas360.evaluate import Evaluation
    from nas360.task import SplitName, TaskSpec


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Predictions: .json, .npz, .npy, .csv, .parquet or .h5.")],
    task: Annotated[str, typer.Option("--task", help="Task that was predicted; `nas360 tasks` lists them.")],
    data: Annotated[
        str | None,
        typer.Option(help="Folder that `nas360 prepare` made, or Hub repository. Default: the task's own data."),
    ] = None,
    split: Annotated[str, typer.Option(help="Split that was predicted: train, validation or test.")] = "test",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Score a predictions file by the task's metric.

    Predictions are matched with the rows by id where the file has ids, else by order. A file that does not fit is
    refused with all its faults at once.

    Examples:
    nas360 evaluate predictions.npz --task ecg

    nas360 evaluate predictions.json --task darcy_flow --data datasets/darcy_flow --json
    """
    from nas360.loaders import TASKS

    spec = TASKS[task].spec  # a misspelt task is told before a missing file
    if not predictions.exists():
        raise PredictionsError(f"{predictions}: there is no such file. Check the name")
    if not predictions.is_file():
        raise PredictionsError(f"{predictions}: is not a file. Name a predictions file")
    from nas360.loaders.scoring import evaluate_predictions

    result = evaluate_predictions(predictions, task, data, split_name(split))
    for message in result.warnings:
        warn(message)
    if as_json:
        print_json(result.public())
    else:
        _show(result, spec)


def split_name(name: str) -> SplitName:
    """The split of that name.

    Raises:
        UserError: when there is none.
    """
    from nas360.task import SPLITS

    for split in SPLITS:
        if split == name:
            return split
    raise UserError(f"unknown split {name!r}; known: {', '.join(SPLITS)}")


def _show(result: Evaluation, spec: TaskSpec) -> None:
    from rich.table import Table

    from nas360.evaluate import metric_of

    arrow = "↑" if spec.direction == "higher" else "↓"
    table = Table(title=f"{spec.name}, {result.split}", title_justify="left", show_header=False)
    table.add_row(
        f"[bold]{metric_of(spec).title}[/]", f"[bold]{result.score:.{spec.decimals + 2}f}[/]", f"{spec.unit} {arrow}"
    )
    if spec.direction == "higher":
        table.add_row("error", f"{result.error:.{spec.decimals + 2}f}", "1 - score")
    table.add_row(f"{spec.unit_of_split}s scored", f"{result.n:,}", f"official: {spec.official_size(result.split)}")
    for name, value in result.extra.items():
        table.add_row(name.replace("_", " "), _number(value), "")
    console.print(table)


def _number(value: Any) -> str:
    if value is None:
        return "not defined"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, list):
        some = ", ".join(_number(one) for one in value[:8])
        return (some + (f", … ({len(value)})" if len(value) > 8 else "")) or "none"
    return f"{value:,}"
