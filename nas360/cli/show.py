"""`nas360 show`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from nas360.cli.output import console, plain, print_json, warn
from nas360.errors import RunError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nas360.baselines.history import History
    from nas360.baselines.reports import Entry, Log
    from nas360.results import SeedRow

MOST_LINES = 10
"""Of a table of reports."""

MOST_HYPER_PARAMETERS = 5
"""That have a column each."""


def show(
    run: Annotated[Path, typer.Argument(help="Folder of a run, such as runs/gaea/ecg/seed0.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print all that the folder tells as JSON.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Draw how the search and the training went into this .png, .svg or .pdf."),
    ] = None,
    draw: Annotated[
        Path | None, typer.Option("--draw", help="Draw the architecture, or the best so far, into this .svg.")
    ] = None,
) -> None:
    """Show a run: how far it is, how its search and training went, what it found.

    A run may be shown at any time, also while it goes on.

    Examples:
    nas360 show runs/gaea/ecg/seed0

    nas360 show runs/gaea/ecg/seed0 --plot search.pdf --draw cells.svg

    nas360 show runs/darts_random/darcy_flow/seed1 --json
    """
    from nas360.baselines.history import read_history

    if draw is not None and draw.suffix.lower() != ".svg":
        raise UserError(f"{draw}: a drawing is written as .svg, which any browser opens; give a name that ends so")
    history = read_history(run)
    # first all that can be refused
    if plot is not None:
        _plot(history, plot)
    if draw is not None:
        _draw(history, draw)
    if as_json:
        print_json(history.public())
        return
    _heading(history)
    if history.search is not None:
        _reports("search", history.search, history)
    if history.training is not None and history.training.entries:
        _reports("training", history.training, history)
    _architecture(history)
    if history.row is not None:
        _result(history.row)


def _say(text: str) -> None:
    console.print(escape(plain(text)), highlight=False, soft_wrap=True)


def _name(history: History) -> str:
    of = history.identity
    return (
        f"{of.get('method', '?')} on {of.get('task', '?')}, seed {of.get('seed', '?')}, budget {of.get('budget', '?')}"
    )


def _heading(history: History) -> None:
    console.print(f"[bold]{escape(plain(_name(history)))}[/]", highlight=False, soft_wrap=True)
    current = history.current
    step = "" if current is None or not current.step else f", step {current.step}"
    total = "" if not step or current is None or current.steps is None else f" of {current.steps}"
    _say(f"{history.folder}: {history.state}{step}{total}")
    header = {} if history.training is None else history.training.header
    for change in header.get("changes") or [] if isinstance(header.get("changes"), list) else []:
        _say(f"  {change}")


def _reports(title: str, log: Log, history: History) -> None:
    """A table of reports: of candidates the best ones, else some from the first to the last."""
    from nas360.baselines.reports import best_of_each

    candidates = best_of_each(log)
    if candidates:
        shown = candidates[:MOST_LINES]
        which = f"best {len(shown)} of {len(candidates)} candidates"
    else:
        shown = _spread(log.entries)
        which = f"{len(shown)} of {len(log.entries)} reports" if len(shown) < len(log.entries) else "all reports"
    console.print()
    if not shown:
        _say(f"{title}: nothing reported yet")
        return
    console.print(f"[bold]{title}, {which}[/]", highlight=False, soft_wrap=True)
    table = Table(box=None, header_style="dim")
    tuned = list(dict.fromkeys(name for entry in shown for name in entry.configuration))
    few = len(tuned) <= MOST_HYPER_PARAMETERS
    known = dict(_columns(title))
    if few:
        known |= {plain(name).replace("_", "\n"): partial(_set, name) for name in tuned}
    columns = [(name, value) for name, value in known.items() if any(value(entry) for entry in shown)]
    for name, _ in columns:
        table.add_column(name, justify="right", no_wrap=True)
    heading, texts = "architecture", list[str]()
    if tuned and not few:
        heading = "hyper-parameters"
        texts = [", ".join(f"{name} {_set(name, entry)}" for name in tuned) for entry in shown]
    elif not tuned:  # else what is tuned of an architecture has a column
        short = _short(history)
        texts = _without_common_words([short(entry.architecture) if entry.architecture else "" for entry in shown])
    if any(texts):
        table.add_column(heading, overflow="fold", vertical="bottom")
    for number, entry in enumerate(shown):
        cells = [Text(value(entry) or "-") for _, value in columns]
        table.add_row(*cells, *([Text(plain(texts[number]))] if any(texts) else []))
    console.print(table)


def _without_common_words(names: Sequence[str]) -> list[str]:
    """Names without the words that all begin and all end with, as far as something is left of each; equal ones whole.

    Example:
        >>> _without_common_words(["DARTS a of 20", "DARTS b of 20"])
        ['a', 'b']
        >>> _without_common_words(["DARTS a of 20", "DARTS a of 20"])
        ['DARTS a of 20', 'DARTS a of 20']
    """
    if len(set(names)) < 2:
        return list(names)
    words = [name.split(" ") for name in names]
    for end in (0, -1):
        while min(map(len, words)) > 1 and len({part[end] for part in words}) == 1:
            for part in words:
                part.pop(end)
    return [" ".join(part) for part in words]


def _spread(entries: Sequence[Entry]) -> list[Entry]:
    """The first, the last, and some between, as even as can be."""
    n = len(entries)
    if n <= MOST_LINES:
        return list(entries)
    return [entries[round(index * (n - 1) / (MOST_LINES - 1))] for index in range(MOST_LINES)]


def _columns(title: str) -> dict[str, Callable[[Entry], str]]:
    """Heading → text of a report, empty where it has none."""
    from nas360.baselines.reports import mean_entropy

    def number(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.3g}"

    return {
        "candidate": lambda entry: "" if entry.candidate is None else str(entry.candidate),
        "step": lambda entry: str(entry.step),
        "epoch": lambda entry: number(entry.epoch, 2),
        "loss": lambda entry: number(entry.loss, 4),
        # a training reports the task's metric, of which more may be better
        ("validation\nerror" if title == "search" else "validation"): lambda entry: number(entry.validation, 4),
        "entropy": lambda entry: number(mean_entropy(entry), 3),
    }


def _set(name: str, entry: Entry) -> str:
    """What a hyper-parameter was set to; empty where it was not."""
    value = entry.configuration.get(name)
    return "" if value is None else plain(f"{value:.4g}" if isinstance(value, float) else value)


def _space(history: History) -> Any:
    """The space of the run's method; None where this version of nas360 has no such method."""
    from nas360.baselines.method import get_method

    try:
        return get_method(str(history.identity.get("method", ""))).space
    except UserError:
        return None


def _short(history: History) -> Callable[[Mapping[str, Any]], str]:
    """From an architecture, in the form of its space, to its short name."""
    space = _space(history)

    def name(architecture: Mapping[str, Any]) -> str:
        if space is None:
            text = json.dumps(architecture)
            return text if len(text) <= 60 else f"{text[:59]}…"
        return str(_architecture_of(history, space, architecture))

    return name


def _architecture(history: History) -> None:
    found = history.found
    if found is None:
        return
    console.print()
    stored = history.architecture
    _say(f"architecture: {_short(history)(found)}" if stored else f"best so far: {_short(history)(found)}")
    for key, value in ({} if stored is None else stored).items():
        if key != "architecture" and value is not None:
            _say(f"  {key:<12} {_value(value)}")
    search = None if stored is None else stored.get("search")
    facts = search.get("facts") if isinstance(search, dict) else None
    default = facts.get("default") if isinstance(facts, dict) else None
    if isinstance(facts, dict) and isinstance(default, dict):
        for name, of, error, step in (
            ("chosen", facts, facts.get("validation_error"), facts.get("chosen_at_step")),
            ("default", default, default.get("validation_error"), default.get("step")),
        ):
            told = (
                "could not be trained" if error is None else f"validation error {_value(error)} at step {_value(step)}"
            )
            _say(f"  {name:<12} {told}: {_value(of.get('configuration'))}")


def _value(value: Any) -> str:
    if isinstance(value, dict):
        # a search tells its architecture before the method made it final, which is for programs; the default of what
        # is tuned has a line of its own
        left = ("architecture", "default")
        members = {name: member for name, member in value.items() if name not in left and member is not None}
        told = {name: _value(member) for name, member in members.items()}
        return ", ".join(f"{name} {text}" if name != "facts" else text for name, text in told.items() if text)
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _result(row: SeedRow) -> None:
    console.print()
    if row.failure is not None:
        _say(f"failed (stage {row.failure.stage}): {row.failure.message}")
        return
    if row.score is not None:
        score = f"[bold green]{escape(plain(row.metric.id))} {row.score:.4f}[/] {escape(plain(row.metric.unit))}"
        console.print(f"{score} on {row.split}, {row.n_evaluated:,} units", highlight=False, soft_wrap=True)
    costs = row.cost.model_dump(exclude_none=True)
    _say(", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in costs.items()))


def _plot(history: History, path: Path) -> None:
    from nas360.baselines.plot_search import plot_search
    from nas360.baselines.spaces.base import labelling
    from nas360.loaders import TASKS

    search, task = history.identity.get("search"), history.identity.get("task")
    algorithm = search.get("algorithm") if isinstance(search, dict) else None
    labels = labelling(
        _space(history),
        TASKS[task].spec if isinstance(task, str) and task in TASKS else None,
        algorithm if isinstance(algorithm, dict) else {},
    )
    left_out = plot_search(history, path, _name(history), labels)
    if left_out:
        warn(left_out)


def _draw(history: History, path: Path) -> None:
    from nas360.baselines.spaces.base import Drawn, drawing
    from nas360.files import write_text
    from nas360.loaders import TASKS

    found, space, task = history.found, _space(history), history.identity.get("task")
    if found is None:
        raise RunError(f"{history.folder} has no architecture yet; run on, or wait for the first report of the search")
    if not isinstance(space, Drawn):
        raise RunError(f"architectures of {history.identity.get('method')} cannot be drawn; leave --draw out")
    architecture, name = _architecture_of(history, space, found), _name(history)
    if isinstance(task, str) and task in TASKS:
        write_text(path, drawing(space, architecture, TASKS[task].spec, name))
    else:
        write_text(path, space.draw(architecture, name))


def _architecture_of(history: History, space: Any, content: Mapping[str, Any]) -> Any:
    """What `content` says, in the form of its space."""
    try:
        return space.from_json(content)
    except RunError as cause:
        raise RunError(f"{history.folder}: {cause}. Its files are of another version of nas360") from cause
