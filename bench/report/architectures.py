"""What the searches of a report found: drawn anew from what stands in JSON, for no picture of a stranger is shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from nas360.baselines.method import get_method
from nas360.baselines.spaces.base import Drawn, drawing
from nas360.bench.report.blocks import Block, Gallery, Picture, Section, Table
from nas360.bench.report.runs import Run, Runs
from nas360.bench.report.words import ABSENT, amount, in_order, task_name
from nas360.errors import RunError, UserError
from nas360.loaders import TASKS

MAX_NAME = 300
"""Of an architecture's name, in characters."""


def architectures(runs: Runs, methods: Sequence[str]) -> Section:
    """Pictures of the first seed's, and the names of all.

    Args:
        runs: of the report.
        methods: in the order of the report.
    """
    known = [run for run in runs.all if run.history is not None and run.history.architecture is not None]
    ordered = [
        run
        for task in in_order((run.task for run in known), TASKS)
        for method in methods
        for run in known
        if (run.task, run.method) == (task, method)
    ]
    pictures: dict[tuple[str, str], Picture] = {}
    rows = []
    for run in ordered:
        space, architecture = _read(run)
        name = str(architecture) if space is not None else _plain(run)
        cost = _content(run)
        rows.append(
            (
                task_name(run.task),
                run.method,
                run.seed or ABSENT,
                name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…",
                amount(_number(cost.get("parameters"))),
                amount(_number(cost.get("macs"))),
            )
        )
        place = (run.task, run.method)
        if place not in pictures and isinstance(space, Drawn) and cost.get("search") is not None:
            pictures[place] = Picture(
                _draw(space, architecture, run), f"{run.method} on {task_name(run.task)}, seed {run.seed}"
            )
    blocks: list[Block] = [Gallery(tuple(pictures.values()))] if pictures else []
    if rows:
        header = ("Task", "Method", "Seed", "Architecture", "Parameters", "Multiply-\nadds")
        blocks.append(Table(header, tuple(rows), "What was trained", frozenset({0, 1, 3})))
    return Section("architectures", "Architectures", tuple(blocks))


def _content(run: Run) -> Any:
    assert run.history is not None and run.history.architecture is not None  # only such runs are asked
    return run.history.architecture


def _read(run: Run) -> tuple[Any, Any]:
    """Space and architecture; None and None where this version of nas360 does not know them."""
    try:
        space = get_method(run.method).space
        if _content(run).get("space") != space.id:
            return None, None
        return space, space.from_json(_content(run)["architecture"])
    except UserError:
        return None, None


def _plain(run: Run) -> str:
    return json.dumps(_content(run)["architecture"], ensure_ascii=True)


def _draw(space: Drawn, architecture: Any, run: Run) -> str:
    title = f"{run.method} on {run.task}, seed {run.seed}"
    try:
        if run.task in TASKS:
            return drawing(space, architecture, TASKS[run.task].spec, title)
    except RunError:  # it is an architecture of the space, but not for this task
        pass
    return space.draw(architecture, title)


def _number(value: Any) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e18
    return float(value) if usable else None
