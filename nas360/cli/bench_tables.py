"""How a benchmark is shown: what it will cost, and how far it is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from nas360.cli.output import plain

if TYPE_CHECKING:
    from rich.console import RenderableType

    from nas360.bench.campaign import Campaign
    from nas360.bench.place import Stored
    from nas360.bench.states import CellState, State

MARKS: Mapping[State, tuple[str, str, str]] = {
    "done": ("✓", "+", "green"),
    "failed": ("✗", "x", "red"),
    "running": ("▶", ">", "cyan"),
    "waiting": ("·", ".", "dim"),
}
"""State → sign, sign where a terminal knows no others, colour."""

MOST_SIGNS = 8
"""Seeds of a cell that are shown by a sign each."""

MOST_LINES = 12
"""Runs under way, and failed ones, that are listed."""


def duration(seconds: float) -> str:
    """A duration in two digits or so.

    Example:
        >>> [duration(seconds) for seconds in (0.4, 75, 5400, 1e6)]
        ['0 s', '1.2 min', '1.5 h', '12 d']
    """
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            amount = seconds / size
            return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:,.0f} {unit}"
    return f"{seconds:.0f} s"


def counts(states: Sequence[CellState]) -> dict[State, int]:
    """How many runs are in each state."""
    found = Counter(state.state for state in states)
    return {state: found[state] for state in MARKS}


def summary(campaign: Campaign, states: Sequence[CellState], workers: int) -> str:
    """One line on what is to come."""
    from nas360.bench.price import seconds_left

    found = counts(states)
    left = duration(seconds_left(states, campaign.clock, workers))
    settings = campaign.stored.grid.settings
    threads = "1 thread" if settings.threads == 1 else f"{settings.threads} threads"
    return (
        f"{len(states)} runs, budget {settings.budget}, in {campaign.place.path}: {found['done']} done, "
        f"{found['failed']} failed; {workers} at a time with {threads} each, about {left} left"
    )


def plan_json(campaign: Campaign, states: Sequence[CellState], workers: int) -> dict[str, Any]:
    """What will be run, as plain JSON values."""
    from nas360.bench.price import seconds_left

    clock, stored = campaign.clock, campaign.stored
    return {
        "folder": str(campaign.place.path),
        "grid": stored.grid.model_dump(mode="json"),
        "runs": [
            {
                **{"method": state.cell.method, "task": state.cell.task, "seed": state.cell.seed},
                **{"state": state.state, "multiply_adds": state.cell.work},
                "seconds": round(clock.seconds(state.cell), 1),
            }
            for state in states
        ],
        "workers": workers,
        "multiply_adds_per_second": clock.rate,
        "seconds_left": round(seconds_left(states, clock, workers), 1),
    }


def plan_table(campaign: Campaign, states: Sequence[CellState], workers: int, *, stated: bool) -> list[RenderableType]:
    """What will be run and how long each run will take, for a terminal.

    Args:
        campaign: the plan.
        states: of its runs.
        workers: runs at a time.
        stated: whether the user gave the rate.
    """
    clock, stored = campaign.clock, campaign.stored
    seconds = {(state.cell.method, state.cell.task): clock.seconds(state.cell) for state in states}
    table = _grid_table(stored, lambda method, task: duration(seconds[method, task]), "time of a run")
    totals = [
        sum(clock.seconds(state.cell) for state in states if state.cell.method == method)
        for method in stored.grid.methods
    ]
    table.add_section()
    table.add_row("all seeds", *(duration(total) if total else "" for total in totals))
    on_what = (
        "the rate given"
        if stated
        else f"the time that {sum(map(len, clock.by_pair.values()))} finished runs took"
        if clock.by_pair
        else "a rough rate of processor cores of 2023; --rate states another, and finished runs show the true one"
    )
    each = f"{clock.rate / 1e9:,.0f}e9 multiply-adds a second"
    left_out = _left_out(stored)
    lines = [
        summary(campaign, states, workers),
        f"one after the other {duration(sum(map(clock.seconds, stored.cells)))}; rests on {on_what}, {each}",
        *([f"not applicable, and left out: {left_out}"] if left_out else []),
    ]
    return [table, *(Text(plain(line)) for line in lines)]


def _left_out(stored: Stored) -> str:
    """Methods that cannot run on all tasks."""
    able: dict[str, set[str]] = defaultdict(set)
    for cell in stored.cells:
        able[cell.method].add(cell.task)
    n = len(stored.grid.tasks)
    return ", ".join(
        f"{method}: {len(able[method])} of {n} tasks" for method in stored.grid.methods if len(able[method]) < n
    )


def _grid_table(stored: Stored, show: Callable[[str, str], str | Text], title: str) -> Table:
    """Tasks × methods; what is not applicable is empty."""
    table = Table(box=None, header_style="bold", title=title, title_justify="left", padding=(0, 1))
    table.add_column("task", no_wrap=True)
    for method in stored.grid.methods:
        # names fold at their lines, so that seven methods stand side by side on a narrow terminal
        table.add_column(escape(plain(method)).replace("_", "_\n").replace(":", ":\n"))
    able = {(cell.method, cell.task) for cell in stored.cells}
    for task in stored.grid.tasks:
        table.add_row(
            plain(task), *(show(method, task) if (method, task) in able else "" for method in stored.grid.methods)
        )
    return table


def overview(stored: Stored, states: Sequence[CellState], encoding: str = "utf-8") -> list[RenderableType]:
    """How far each run is, for a terminal.

    Args:
        stored: what is asked for.
        states: of its runs.
        encoding: of the terminal.
    """
    sign = 0 if encoding.lower().startswith("utf") else 1
    by_pair: dict[tuple[str, str], list[CellState]] = defaultdict(list)
    for state in states:
        by_pair[state.cell.method, state.cell.task].append(state)

    def show(method: str, task: str) -> Text:
        found = by_pair[method, task]
        if len(found) > MOST_SIGNS:
            many = counts(found)
            # what needs to be looked at goes first
            colour = next(MARKS[one][2] for one in ("failed", "running", "waiting", "done") if many[one])
            return Text(f"{many['done']}/{len(found)}", style=colour)
        return Text.assemble(*((MARKS[state.state][sign], MARKS[state.state][2]) for state in found))

    seeds = ", ".join(map(str, stored.grid.seeds[:MOST_SIGNS])) + (", …" if len(stored.grid.seeds) > MOST_SIGNS else "")
    legend = "  ".join(
        f"{marks[sign]} {count} {state}"
        for (state, count), marks in zip(counts(states).items(), MARKS.values(), strict=True)
    )
    parts: list[RenderableType] = [_grid_table(stored, show, f"seeds {seeds}"), Text(legend)]
    parts += _listed("running", [_going(state) for state in states if state.state == "running"])
    parts += _listed("failed", [f"{state.cell}: {state.reason}" for state in states if state.state == "failed"])
    return parts


def _going(state: CellState) -> str:
    step = f", step {state.step}" if state.step else ""
    steps = f" of {state.steps}" if step and state.steps is not None else ""
    left = f", {duration(state.left)} left" if state.left is not None else ""
    return f"{state.cell}: {state.stage or 'starting'}{step}{steps}{left}"


def _listed(title: str, lines: Sequence[str]) -> list[RenderableType]:
    if not lines:
        return []
    more = [f"  and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
    return [
        Text(f"{title}:", style="bold"),
        *(Text(f"  {plain(line)}") for line in lines[:MOST_LINES]),
        *map(Text, more),
    ]
