"""`nas360 info`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from nas360.cli.output import console, print_json
from nas360.errors import UnknownNameError, UserError
from nas360.registry import did_you_mean


def info(
    name: Annotated[str, typer.Argument(help="A task, or a method (timm:NAME too) together with --task.")],
    task: Annotated[str | None, typer.Option("--task", help="The task that the method would run on.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a task; or a method on a task: parameters, multiply-adds, shapes, recipe. No data is needed.

    Examples:
    nas360 info darcy_flow

    nas360 info wrn --task darcy_flow --json
    """
    from nas360.loaders import TASKS

    if name in TASKS:
        if task is not None:
            raise UserError(f"{name} is a task; give a method before --task, or leave --task out")
        from nas360.cli.tasks import show_task

        show_task(name, as_json)
        return
    from nas360.baselines.method import METHODS, TIMM

    if name not in METHODS and not name.startswith(TIMM):
        hint = did_you_mean(name, [*TASKS, *METHODS])
        raise UnknownNameError(
            f"{name!r} is neither a task nor a method.{hint} Tasks: {', '.join(TASKS)}. Methods: {', '.join(METHODS)}, "
            f"timm:NAME"
        )
    if task is None:
        raise UserError(f"{name} is a method: say on which task, for instance nas360 info {name} --task cifar100")
    shown = describe(name, task)
    if as_json:
        print_json(shown)
        return
    console.print(f"[bold]{escape(shown['method'])}[/] on [bold]{escape(shown['task'])}[/]: {escape(shown['title'])}")
    for key in ("parameters", "macs"):
        _line(key, f"{shown[key]:,}")
    for key in ("input_shape", "output_shape"):
        _line(key, " x ".join(map(str, shown[key])))
    for key in ("reference", "space", "architecture", "recipe"):
        _line(key, shown[key])


_WORDS = {None: "none", True: "yes", False: "no"}


def _line(key: str, value: Any, depth: int = 1) -> None:
    """A value after its name; an object's name stands before its members, which have a line each."""
    label = "  " * depth + f"{key:<{21 - 2 * depth}}"
    if isinstance(value, dict):
        console.print(escape(f"{label}{value.get('name', '')}".rstrip()), highlight=False, soft_wrap=True)
        for name, member in value.items():
            if name != "name" or depth == 1:
                _line(name, member, depth + 1)
        return
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    shown = _WORDS[value] if value is None or isinstance(value, bool) else str(value)
    console.print(escape(label + shown), highlight=False, soft_wrap=True)


def describe(name: str, task: str) -> dict[str, Any]:
    """A method on a task, as plain JSON values.

    Args:
        name: of the method.
        task: id of the task.

    Returns:
        method, title, reference, task, space, architecture, parameters, macs (multiply-adds of a forward pass of one
        sample), input_shape and output_shape of one sample, recipe.

    Raises:
        UserError: there is no such method or task, or the method cannot run on the task.
    """
    from nas360.baselines.method import get_method
    from nas360.baselines.request import measure
    from nas360.loaders import TASKS

    method, spec = get_method(name), TASKS[task].spec
    method.check(spec)
    architecture = method.space.default(spec)
    cost = measure(method, architecture, spec)
    return {
        "method": method.id,
        "title": method.title,
        "reference": method.reference,
        "task": spec.id,
        "space": method.space.id,
        "architecture": method.space.to_json(architecture),
        "parameters": cost.parameters,
        "macs": cost.macs,
        "input_shape": list(spec.input_shape),
        "output_shape": list(cost.output_shape),
        "recipe": method.recipe_for(spec).public(),
    }
