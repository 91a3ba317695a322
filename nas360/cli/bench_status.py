"""`nas360 bench status`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas360.cli.output import console, print_json
from nas360.errors import RunError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from nas360.bench.place import Stored
    from nas360.bench.states import CellState

REFRESH_SECONDS = 2.0


def status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The benchmark's folder.")],
    once: Annotated[bool, typer.Option("--once", help="Show it once, also on a terminal.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the state of every run as JSON.")] = False,
) -> None:
    """Show how far a benchmark is; on a terminal until all is over, or Ctrl-C.

    Examples:
    nas360 bench status benchmark

    nas360 bench status /shared/full --json
    """
    from nas360.bench.place import Place
    from nas360.bench.states import Reader

    place = Place(folder.resolve())
    stored = place.read()
    if stored is None:
        raise RunError(f"{folder} holds no benchmark: there is no bench.json. `nas360 bench {folder}` begins one")
    reader = Reader(place)
    states = reader.read(stored.cells)
    if as_json:
        print_json({**_totals(stored, states), "runs": [state.public() for state in states]})
        return
    if once or not console.is_terminal or console.is_dumb_terminal:
        for part in _shown(stored, states):
            console.print(part)
        return
    from rich.console import Group
    from rich.live import Live

    with Live(Group(*_shown(stored, states)), console=console, auto_refresh=False) as live:
        while any(state.state in ("running", "waiting") for state in states):
            time.sleep(REFRESH_SECONDS)
            states = reader.read(stored.cells)
            live.update(Group(*_shown(stored, states)), refresh=True)


def _totals(stored: Stored, states: list[CellState]) -> dict[str, object]:
    from nas360.bench.price import CPU_RATE, make_clock, seconds_left
    from nas360.cli.bench_tables import counts

    clock = make_clock(states, CPU_RATE * stored.grid.settings.threads)
    found = counts(states)
    return {
        **{str(state): count for state, count in found.items()},
        "seconds_spent": round(sum(state.seconds for state in states), 1),
        "seconds_left": round(seconds_left(states, clock, found["running"] or 1), 1),
    }


def _shown(stored: Stored, states: list[CellState]) -> list[RenderableType]:
    from rich.text import Text

    from nas360.cli.bench_tables import counts, duration, overview

    totals = _totals(stored, states)
    spent, left = (duration(float(str(totals[f"seconds_{name}"]))) for name in ("spent", "left"))
    at_once = max(1, counts(states)["running"])
    line = f"{spent} spent in runs; about {left} left with {at_once} at a time"
    return [*overview(stored, states, console.encoding), Text(line)]
