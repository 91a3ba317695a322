"""`nas360 dummy`: a valid predictions file of the constant predictor."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from nas360.cli.output import errors, print_json


def dummy(
    task: Annotated[str, typer.Argument(help="Task; `nas360 tasks` lists them.")],
    data: Annotated[
        str | None,
        typer.Option(help="Folder that `nas360 prepare` made, or Hub repository. Default: the task's own data."),
    ] = None,
    split: Annotated[str, typer.Option(help="Split to predict: train, validation or test.")] = "test",
    out: Annotated[Path | None, typer.Option(help="File to write, .npz or .json. Default: TASK-dummy.npz.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write a valid predictions file of a constant predictor.

    It never looks at the input: the most frequent class, the share of each label, the mean map, or an empty mask. What
    a method scores beyond it, it learnt.

    Examples:
    nas360 dummy ecg

    nas360 dummy darcy_flow --data datasets/darcy_flow --out constant.json
    """
    from nas360.cli.evaluate import split_name
    from nas360.errors import UserError
    from nas360.loaders import TASKS

    spec = TASKS[task].spec
    chosen = split_name(split)
    file = out or Path(f"{spec.id}-dummy.npz")
    if file.suffix not in (".npz", ".json"):
        raise UserError(f"{file}: predictions are written as .npz or .json; give --out such an ending")
    from nas360.loaders.data import load_task
    from nas360.loaders.dummy import constant_predictions
    from nas360.predictions import write_predictions

    ids, values = constant_predictions(load_task(task, data), chosen)
    write_predictions(file, ids, values)
    if as_json:
        print_json({"task": spec.id, "split": chosen, "n": len(ids), "file": str(file)})
    else:
        typer.echo(file)
        given = ["--data", data] if data else []
        given += ["--split", split] if split != "test" else []
        command = shlex.join(["nas360", "evaluate", str(file), "--task", spec.id, *given])
        errors.print(f"{len(ids):,} predictions. Score them: {escape(command)}", highlight=False, soft_wrap=True)
