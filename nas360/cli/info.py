"""`nas360 info`."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from nas360.cli.output import console, print_json
from nas360.errors import UnknownNameError, UserError
from nas360.registry import did_you_mean

if TYPE_CHECKING:
    from nas360.baselines.method import Method
    from nas360.task import TaskSpec


def info(
    name: Annotated[str, typer.Argument(help="A task, or a method (timm:NAME too) together with --task.")],
    task: Annotated[str | None, typer.Option("--task", help="The task that the method would run on.")] = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            "--architecture",
            help="Show the network of this one: a run's architecture.json, or a name such as DARTS_V2.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a task; or a method on a task: parameters, multiply-adds, shapes, recipe, search. No data is needed.

    Examples:
    nas360 info darcy_flow

    nas360 info wrn --task darcy_flow --json

    nas360 info gaea --task ecg --architecture DARTS_V2
    """
    from nas360.loaders import TASKS

    if name in TASKS:
        if task is not None:
            raise UserError(f"{name} is a task; give a method before --task, or leave --task out")
        if architecture is not None:
            raise UserError(f"{name} is a task, which has no --architecture; give a method and --task {name}")
        from nas360.cli.tasks import show_task

        show_task(name, as_json)
        return
    from nas360.baselines.method import METHODS

    if name.partition(":")[0] not in (*METHODS, "timm"):
        hint = did_you_mean(name, [*TASKS, *METHODS])
        raise UnknownNameError(
            f"{name!r} is neither a task nor a method.{hint} Tasks: {', '.join(TASKS)}. Methods: {', '.join(METHODS)}, "
            f"timm:NAME"
        )
    if task is None:
        raise UserError(f"{name} is a method: say on which task, for instance nas360 info {name} --task cifar100")
    shown = describe(name, task, architecture)
    if as_json:
        print_json(shown)
        return
    console.print(
        f"[bold]{escape(shown['method'])}[/] on [bold]{escape(shown['task'])}[/]: {escape(shown['title'])}",
        soft_wrap=True,
    )
    for key in ("parameters", "macs", "supernet_parameters", "architecture_parameters"):
        if key in shown:
            _line(key, f"{shown[key]:,}")
    for key in ("input_shape", "output_shape"):
        _line(key, " x ".join(map(str, shown[key])))
    for key in ("reference", "space", "architecture", "recipe", "architecture_shapes", "search"):
        if key in shown:
            _line(key, shown[key])


COLUMNS = 80
LABELS = 25
"""Columns of a line, and of the names in it, indentation included."""

_WORDS = {None: "none", True: "yes", False: "no"}


def _line(key: str, value: Any, depth: int = 1) -> None:
    """A value after its name; an object's name stands before its members, which have a line each."""
    label = "  " * depth + f"{key:<{LABELS - 2 * depth}} "
    if isinstance(value, dict):
        console.print(escape(f"{label}{value.get('name', '')}".rstrip()), highlight=False, soft_wrap=True)
        for name, member in value.items():
            if name != "name" or depth == 1:
                _line(name, member, depth + 1)
        return
    shown = _word(value)
    # long lists, such as a cell's, go on below themselves
    lines = textwrap.wrap(shown, COLUMNS - len(label)) if isinstance(value, list) else [shown]
    for number, line in enumerate(lines or [""]):
        console.print(escape((label if number == 0 else " " * len(label)) + line), highlight=False, soft_wrap=True)


def _word(value: Any) -> str:
    """A value for people; the members of a member of a list stand together, as `sep_conv_3x3 0`."""
    if isinstance(value, list):
        return ", ".join(" ".join(map(_word, one)) if isinstance(one, list) else _word(one) for one in value)
    return _WORDS[value] if value is None or isinstance(value, bool) else str(value)


def describe(name: str, task: str, given: str | None = None) -> dict[str, Any]:
    """A method on a task, as plain JSON values.

    Args:
        name: of the method.
        task: id of the task.
        given: an architecture, see `architectures.read_architecture`; None shows the space's default.

    Returns:
        method, title, reference, task, space, architecture, parameters, macs (multiply-adds of a forward pass of one
        sample), input_shape and output_shape of one sample, recipe. Of a method that searches also
        supernet_parameters (weights that candidates share), architecture_parameters (numbers that describe the
        architecture), architecture_shapes (name → shape of these) and search (algorithm and recipe).

    Raises:
        UserError: there is no such method, task or architecture, or the method cannot run on the task.
    """
    from nas360.baselines import cost
    from nas360.baselines.architectures import read_architecture
    from nas360.baselines.method import get_method
    from nas360.loaders import TASKS

    method, spec = get_method(name), TASKS[task].spec
    method.check(spec)
    space = method.space
    if given is not None:
        architecture = read_architecture(given, method, spec)
    else:
        architecture = space.default(spec)
        architecture = architecture if method.final is None else method.final(architecture, spec)
    network = cost.of(lambda: space.build(architecture, spec), spec)
    return {
        "method": method.id,
        "title": method.title,
        "reference": method.reference,
        "task": spec.id,
        "space": space.id,
        "architecture": space.to_json(architecture),
        "parameters": network.parameters,
        "macs": network.macs,
        "input_shape": list(spec.input_shape),
        "output_shape": list(network.output_shape),
        "recipe": method.recipe_for(spec).public(),
        **_search(method, spec),
    }


def _search(method: Method, spec: TaskSpec) -> dict[str, Any]:
    from nas360.baselines.values import plain

    if method.search is None:
        return {}
    algorithm = method.search.algorithm_for(spec)
    size = algorithm.size(method.space, spec)
    return {
        "supernet_parameters": size.supernet_parameters,
        "architecture_parameters": sum(math.prod(shape) for shape in size.architecture_parameters.values()),
        "architecture_shapes": {name: list(shape) for name, shape in size.architecture_parameters.items()},
        "search": {"algorithm": plain(algorithm), "recipe": method.search.recipe_for(spec).public()},
    }
