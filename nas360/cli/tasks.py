"""`nas360 tasks`, and the task's side of `nas360 info`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from nas360.cli.output import console, print_json
from nas360.task import SPLITS

if TYPE_CHECKING:
    from rich.table import Table

    from nas360.loaders.base import Task
    from nas360.task import TaskSpec

_ARROWS = {"lower": "↓", "higher": "↑"}
_COLUMNS = ("id", "name", "dims", "input", "output", "metric", "train", "validation", "test")
_DROPPED = ("input", "output", "name", "dims", "validation", "train", "test")
"""Columns that a narrow terminal does without, the first one first."""

_UNBOUNDED = 10_000
"""Wider than any table."""


def tasks(
    as_json: Annotated[bool, typer.Option("--json", help="Print all that is known as a JSON list.")] = False,
) -> None:
    """List the ten tasks of the benchmark in the paper's order.

    An arrow tells whether a lower (↓) or a higher (↑) metric is better. Sizes count what the metric averages over;
    those after ≈ are the reference's, which ours only come near to. A narrow terminal shows fewer columns; a pipe, a
    file and --json have all.

    Examples:
    nas360 tasks

    nas360 tasks --json

    nas360 info ecg
    """
    from nas360.loaders import TASKS

    if as_json:
        print_json([task.spec.public() for task in TASKS.values()])
        return
    from rich.text import Text

    rows = [_row(task) for task in TASKS.values()]
    dropped = 0
    table = _table(rows, ())
    # what is not read on a terminal is read by programs, which want everything
    while console.is_terminal and dropped < len(_DROPPED) and _width(table) > console.width:
        dropped += 1
        table = _table(rows, _DROPPED[:dropped])
    # one task is one line whatever the width, so that the output can be searched by lines
    table.width = _width(table)
    console.print(table, crop=False)
    if dropped:
        hidden = ", ".join(_DROPPED[:dropped])
        console.print(Text(f"Not shown, for want of width: {hidden}. --json shows everything.", style="dim"))


def _row(task: Task) -> dict[str, str]:
    spec = task.spec
    return {
        "id": spec.id,
        "name": spec.name,
        "dims": f"{spec.spatial_dims}D",
        "input": _shape(spec.input_shape),
        "output": _output(spec),
        "metric": f"{spec.metric} {_ARROWS[spec.direction]}",
        # the table is wide enough without the word
        **{split: f"{'' if spec.splits_exact else '≈'}{spec.splits[split]:,}" for split in SPLITS},
    }


def _table(rows: list[dict[str, str]], without: tuple[str, ...]) -> Table:
    from rich import box
    from rich.table import Table

    shown = [name for name in _COLUMNS if name not in without]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in shown:
        table.add_column(name, justify="right" if name in ("train", "validation", "test") else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(row[name] for name in shown))
    return table


def _width(table: Table) -> int:
    """Columns of a terminal that a table takes when nothing of it is cut."""
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update_width(_UNBOUNDED), table).maximum


def show_task(name: str, as_json: bool) -> None:
    """Print all that is known about a task.

    Args:
        name: id of the task.
        as_json: as one JSON object.

    Raises:
        UnknownNameError: when no task has this name.
    """
    from nas360.loaders import TASKS

    task = TASKS[name]
    if as_json:
        print_json(task.spec.public())
        return
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    spec = task.spec
    # Text takes every value as it is: square brackets in a citation are no markup
    console.print(Text(f"{spec.name} ({spec.id})", style="bold"))
    console.print(Text(f"{spec.summary}.\n"))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for label, value in _facts(task):
        facts.add_row(label, Text(value))
    console.print(facts)
    console.print(Text("\nDifferences from the reference", style="bold"))
    console.print(_differences(spec))
    console.print(Text("\nSources", style="bold"))
    for line in _sources(spec):
        console.print(Padding(Text(line, overflow="fold"), (0, 0, 0, 2)))
    console.print(Text("\nCitation", style="bold"))
    console.print(Padding(Text(spec.citation, overflow="fold"), (0, 0, 0, 2)))


def _facts(task: Task) -> Iterator[tuple[str, str]]:
    spec = task.spec
    low, high = spec.bounds
    yield "input", f"{_shape(spec.input_shape)} (channels, then space), {spec.spatial_dims}D"
    yield "output", _output(spec)
    yield "prediction", _prediction(spec)
    if spec.class_names:
        yield "classes", _some(spec.class_names)
    yield "loss", spec.loss
    bounds = f"{low:g} to {'∞' if high is None else f'{high:g}'}"
    yield "metric", f"{spec.metric} {_ARROWS[spec.direction]}, {spec.unit}, {bounds}; {spec.direction} is better"
    yield "sizes", ", ".join(f"{split} {spec.official_size(split)}" for split in SPLITS) + f" ({spec.unit_of_split}s)"
    if spec.rows:
        yield "rows", ", ".join(f"{split} {rows:,}" for split, rows in spec.rows.items())
    yield "final training", " + ".join(spec.final_training)
    yield "protocol", str(spec.protocol)
    yield "dataset", f"{spec.repo}, revision {spec.revision}"
    yield "licence", spec.licence


def _differences(spec: TaskSpec) -> Table:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for justify in ("right", "left"):
        grid.add_column(justify=justify, no_wrap=True)
    grid.add_column(overflow="fold")
    for number, item in enumerate(spec.differences, start=1):
        grid.add_row(f"{number}", "reference", Text(item.reference))
        grid.add_row("", "here", Text(item.ours))
        grid.add_row("", "why", Text(item.reason))
    return grid


def _sources(spec: TaskSpec) -> Iterator[str]:
    for source in spec.sources:
        size = f" ({source.size_bytes:,} bytes)" if source.size_bytes else ""
        yield f"{source.filename}{size}" + (f": {source.note}" if source.note else "")
        yield f"  {source.url}"
        if source.sha256 or source.md5:
            yield f"  sha256 {source.sha256}" if source.sha256 else f"  md5 {source.md5}"
        if source.optional:
            yield "  another form of the same data, read where it is there"
        if source.manual:
            yield f"  by hand: {source.manual}"


def _shape(sizes: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in sizes)


def _output(spec: TaskSpec) -> str:
    output = spec.output
    if output.kind == "point":
        return f"{output.n_classes} classes"
    if output.kind == "multilabel":
        return f"{output.n_labels} labels"
    return "mask" if output.target == "mask" else "field"


def _prediction(spec: TaskSpec) -> str:
    if spec.output.kind == "point":
        return f"one class index for each row; `nas360 format {spec.id}` shows the file"
    if spec.output.kind == "multilabel":
        what = f"{spec.output.n_labels} scores"
    elif -1 in spec.prediction_shape:
        what = "a map of the row's own size"
    else:
        what = f"a map of {_shape(spec.prediction_shape)}"
    return f"{what} for each row; `nas360 format {spec.id}` shows the file"


def _some(names: tuple[str, ...], shown: int = 18) -> str:
    more = f", … ({len(names)} in all)" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
