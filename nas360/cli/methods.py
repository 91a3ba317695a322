"""`nas360 methods`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from nas360.cli.output import console, print_json


def methods(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the tasks that each can run on.")] = False,
) -> None:
    """List the methods.

    Examples:
    nas360 methods

    nas360 methods --json
    """
    from nas360.baselines.method import METHODS
    from nas360.loaders import TASKS

    found: list[dict[str, Any]] = [
        {
            "id": method.id,
            "title": method.title,
            "space": method.space.id,
            "algorithm": None if method.search is None else method.search.algorithm.id,
            "variants": [f"{method.id}:{variant}" for variant in method.variants]
            + [f"{method.id}:{variant}-N" for variant in method.numbered],
            "reference": method.reference,
            "tasks": [task.spec.id for task in TASKS.values() if method.supports(task.spec)],
        }
        for method in METHODS.values()
    ]
    if as_json:
        print_json(found)
        return
    table = Table(box=None, header_style="bold")
    table.add_column("method", no_wrap=True)
    for title in ("what it is", "search", "tasks"):
        table.add_column(title)
    for entry in found:
        names = entry["tasks"]
        tasks = "all" if len(names) == len(TASKS) else ", ".join(map(str, names))
        about = str(entry["title"])
        if entry["variants"]:
            about += "\nalso " + ", ".join(entry["variants"])
        table.add_row(str(entry["id"]), escape(about), str(entry["algorithm"] or "-"), escape(tasks))
    table.add_row(
        "timm:NAME", "any model of timm, not pretrained, for instance timm:resnet18", "-", "2D, one answer a sample"
    )
    console.print(table)
