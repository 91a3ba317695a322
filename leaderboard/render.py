"""A leaderboard as text: for a terminal, as Markdown, CSV, or JSON values.

What comes from result files is foreign: names pass through `rich.text.Text`, which obeys no markup, and through
`escape_markdown`; CSV holds ids and numbers only, which no spreadsheet takes for a formula.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nas360.leaderboard.board import Board, Standing, Unranked
from nas360.leaderboard.profiles import TAU_MAX_SHORT
from nas360.leaderboard.table import Cell
from nas360.results import ResultFile
from nas360.task import TaskSpec

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table as RichTable

TASKS_A_TABLE = 5
"""Task columns beside a method's name where the width is not known, as in the paper."""

NAME_WIDTH = 14
"""Longer names may be folded down to this, in characters, so that numbers are whole."""

WISHED_NAME_WIDTH = 24
"""Scores are rather spread over more tables than names folded below this."""

HEADER_WIDTH = 14
"""A longer line of a header is folded, unless the numbers below it are as wide."""

ABSENT = "-"


def area_ends(board: Board) -> tuple[float, ...]:
    """Where the areas of a board end: a strict end and the board's own, because the order can depend on it."""
    return tuple(sorted({min(TAU_MAX_SHORT, board.tau_max), board.tau_max}))


def to_json(board: Board, files: Mapping[str, ResultFile]) -> dict[str, Any]:
    """A board as JSON values; what is infinite or unknown is null.

    Args:
        board: the leaderboard.
        files: what it was made from, for `generated`.

    Returns:
        `methods` (ranked, in order), `not_ranked`, `profile` (id → the steps `tau` and `rho`, the `area` up to
        `tau_max`), `baseline`, `tasks`, `tau_max`, `included`, `warnings`, `generated` (from what).
    """
    return {
        "methods": [_standing_json(standing) for standing in board.standings],
        "not_ranked": [
            {
                "method": entry.line.id,
                "display_name": entry.line.name,
                "conditions": list(entry.line.marks),
                "n_tasks": len(entry.cells),
                "tasks": {
                    task: {**_cell_json(cell), "place": entry.places[task][0], "of": entry.places[task][1]}
                    for task, cell in _in_order(board, entry.cells)
                },
            }
            for entry in board.unranked
        ],
        "profile": {
            standing.line.id: {
                "tau": list(standing.profile.tau),
                "rho": list(standing.profile.rho),
                "area": standing.profile.area(board.tau_max),
                "areas": {f"{end:g}": standing.profile.area(end) for end in area_ends(board)},
            }
            for standing in board.standings
        },
        "baseline": board.baseline,
        "tasks": list(board.table.specs),
        "tau_max": board.tau_max,
        "included": list(board.included),
        "warnings": list(board.table.warnings),
        "generated": generated_from(files.values()),
    }


def generated_from(files: Iterable[ResultFile]) -> dict[str, Any]:
    """What a board was made from: nas360's version, the number of files, and a hash over their contents."""
    from nas360 import __version__

    marks = sorted(content.digest or content.model_dump_json() for content in files)
    return {
        "nas360": __version__,
        "files": len(marks),
        "sha256": hashlib.sha256("\n".join(marks).encode()).hexdigest(),
    }


def _standing_json(standing: Standing) -> dict[str, Any]:
    line = standing.line
    return {
        "method": line.id,
        "display_name": line.name,
        "published": line.paper,
        "conditions": list(line.marks),
        "median_rank": standing.median_rank,
        "mean_rank": standing.mean_rank,
        "improvement": _finite(standing.improvement),
        "n_tasks": len(standing.cells),
        "partial": standing.partial,
        "tasks": {task: {**_cell_json(cell), "rank": standing.ranks[task]} for task, cell in standing.cells.items()},
    }


def _cell_json(cell: Cell) -> dict[str, Any]:
    return {
        "score": cell.score,
        "error": _finite(cell.error),
        "std": cell.std,
        "n_seeds": cell.n_seeds,
        "n_failed": cell.n_failed,
        "notes": list(cell.notes),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _in_order(board: Board, cells: Mapping[str, Cell]) -> list[tuple[str, Cell]]:
    return [(task, cells[task]) for task in board.table.specs if task in cells]


def to_csv(board: Board) -> str:
    """A board as CSV: one line a method, ranked or not, with the score on every task."""
    ends = area_ends(board)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["method", "ranked", "median_rank", "mean_rank", "improvement", *(f"area_{end:g}" for end in ends), "n_tasks"]
        + [f"score_{task}" for task in board.table.specs]
    )
    for standing in board.standings:
        numbers = [standing.median_rank, standing.mean_rank, _finite(standing.improvement)]
        areas = [standing.profile.area(end) for end in ends]
        writer.writerow([standing.line.id, 1, *numbers, *areas, len(standing.cells), *_scores(board, standing.cells)])
    for entry in board.unranked:
        blanks = [None] * (3 + len(ends))
        writer.writerow([entry.line.id, 0, *blanks, len(entry.cells), *_scores(board, entry.cells)])
    return out.getvalue()


def _scores(board: Board, cells: Mapping[str, Cell]) -> list[float | str | None]:
    return [
        (cells[task].score if cells[task].score is not None else "failed") if task in cells else None
        for task in board.table.specs
    ]


def to_markdown(board: Board, per_task: bool = False) -> str:
    """A board as Markdown tables."""
    parts = [f"**{title}**\n\n{_markdown(header, rows)}" for title, header, rows in _tables(board, per_task)]
    return "\n\n".join([*parts, *(escape_markdown(note) for note in _footnotes(board))]) + "\n"


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is."""
    escaped = "".join(f"\\{sign}" if sign in r"\`*_[]|~<>&@" else sign for sign in text)
    return " ".join(escaped.split())


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    cells = [[cell if index == 1 else escape_markdown(cell) for cell in line] for index, line in enumerate(lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def to_rich(board: Board, per_task: bool = False) -> list[RenderableType]:
    """A board for a terminal: tables and footnotes, in order.

    Tables take the width that they are printed on: names are folded, and scores spread over as many tables as needed.
    Where even that is too wide, a table is as wide as its numbers; print with `crop=False`, so that none is cut.
    """
    from rich.text import Text

    return [_Tables(board, per_task), *(Text(note, style="dim") for note in _footnotes(board))]


class _Tables:
    """The tables of a board, made when the width is known."""

    def __init__(self, board: Board, per_task: bool) -> None:
        self._board, self._per_task = board, per_task

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        for table in _tables(self._board, self._per_task, options.max_width):
            yield _rich(*table, options.max_width)


def _rich(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> RichTable:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    least = _table_width(header, rows, NAME_WIDTH)
    table = Table(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        width=least if least > width else None,
    )
    for index, (name, cells) in enumerate(zip(header, zip(*rows, strict=True), strict=True)):
        if index:
            table.add_column(Text(_fold(name, cells)), justify="right", no_wrap=True)
        else:
            table.add_column(Text(name), overflow="fold", min_width=min(NAME_WIDTH, _text_width([name, *cells])))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _fold(header: str, cells: Sequence[str]) -> str:
    width = max(HEADER_WIDTH, _text_width(cells))
    return "\n".join(part for line in header.split("\n") for part in textwrap.wrap(line, width))


def _text_width(texts: Iterable[str]) -> int:
    """Columns of a terminal that the longest line takes."""
    from rich.cells import cell_len

    return max(cell_len(line) for text in texts for line in text.split("\n"))


def _table_width(header: Sequence[str], rows: Sequence[Sequence[str]], name_width: int) -> int:
    """Columns of a terminal that `_rich` needs when names are folded to `name_width`."""
    names, *numbers = zip(header, *rows, strict=True)
    widths = [min(name_width, _text_width(names))]
    widths += [_text_width([_fold(name, cells), *cells]) for name, *cells in numbers]
    # between two columns are two blanks and what parts them; left and right of the table is one blank
    return sum(widths) + 3 * (len(widths) - 1) + 2


_TextTable = tuple[str, list[str], list[list[str]]]  # title, header, rows


def _tables(board: Board, per_task: bool, width: int | None = None) -> list[_TextTable]:
    tables = []
    if board.standings:
        tables.append(_one_task(board) if len(board.table.specs) == 1 else _many_tasks(board))
    if 1 < len(board.table.specs) <= TASKS_A_TABLE or (per_task and len(board.table.specs) > 1):
        tables += _score_tables(board, width)
    if board.unranked:
        tables.append(_unranked(board))
    return tables


def _one_task(board: Board) -> _TextTable:
    ((task, spec),) = board.table.specs.items()
    header = [
        "Method",
        "Rank",
        f"{spec.metric}\n{spec.unit} {_arrow(spec)}",
        "Seeds",
        *_gain_header(board),
        *_areas(board),
    ]
    rows = [
        [
            standing.line.name,
            f"{standing.ranks[task]:g}",
            _score(standing.cells[task], spec),
            str(standing.cells[task].n_seeds),
            *_gain(board, standing, ""),
            *(f"{standing.profile.area(end):.3f}" for end in area_ends(board)),
        ]
        for standing in board.standings
    ]
    return f"Leaderboard on {task}", header, rows


def _many_tasks(board: Board) -> _TextTable:
    header = ["Method", "Median\nrank", "Mean\nrank", *_gain_header(board), *_areas(board), "Tasks"]
    rows = []
    for standing in board.standings:
        star = "*" if standing.partial else ""
        median = f"{standing.median_rank:.1f}" if 10 * standing.median_rank % 1 == 0 else f"{standing.median_rank:.2f}"
        row = [standing.line.name, median + star, f"{standing.mean_rank:.2f}{star}", *_gain(board, standing, star)]
        row += [f"{standing.profile.area(end):.3f}" for end in area_ends(board)]
        rows.append([*row, f"on {len(standing.cells)}" if standing.partial else "all"])
    return f"Leaderboard over {len(board.table.specs)} tasks", header, rows


def _score_tables(board: Board, width: int | None) -> list[_TextTable]:
    """As few tables as `width` allows, of about as many tasks each; of `TASKS_A_TABLE` when it is None."""
    n = len(board.table.specs)
    if width is None:
        return _split_scores(board, -(-n // TASKS_A_TABLE))
    for parts in range(1, n):
        tables = _split_scores(board, parts)
        if all(_table_width(header, rows, WISHED_NAME_WIDTH) <= width for _, header, rows in tables):
            return tables
    return _split_scores(board, n)


def _split_scores(board: Board, parts: int) -> list[_TextTable]:
    specs = list(board.table.specs.values())
    entries: list[Standing | Unranked] = [*board.standings, *board.unranked]
    tables = []
    for part in range(parts):
        some = specs[part * len(specs) // parts : (part + 1) * len(specs) // parts]
        rows = [[entry.line.name, *(_score(entry.cells.get(spec.id), spec) for spec in some)] for entry in entries]
        title = "Scores, continued" if part else "Scores: mean ± spread over seeds"
        tables.append((title, ["Method", *(f"{spec.name} {_arrow(spec)}" for spec in some)], rows))
    return tables


def _unranked(board: Board) -> _TextTable:
    rows = []
    for entry in board.unranked:
        for task, cell in _in_order(board, entry.cells):
            place, count = entry.places[task]
            score = _score(cell, board.table.specs[task])
            rows.append([entry.line.name, task, score, str(cell.n_seeds), f"{place:g} of {count}"])
    return "Not ranked, for the conditions differ", ["Method", "Task", "Score", "Seeds", "Would be"], rows


def _gain_header(board: Board) -> list[str]:
    return [f"Better than\n{board.baseline}"] if board.baseline else []


def _gain(board: Board, standing: Standing, star: str) -> list[str]:
    return [_percent(standing.improvement) + star] if board.baseline else []


def _areas(board: Board) -> list[str]:
    return [f"Area\nτ≤{end:g}" for end in area_ends(board)]


def _arrow(spec: TaskSpec) -> str:
    return "↓" if spec.direction == "lower" else "↑"


def _footnotes(board: Board) -> list[str]:
    notes = []
    if any(standing.partial for standing in board.standings):
        notes.append("* over the tasks that the method ran; one that it did not run adds nothing to the area.")
    if board.standings:
        notes.append(
            f"Area below the performance profile, up to {board.tau_max:g} times the best error; 1 is best everywhere."
        )
    let_in = [mark for mark in board.included if any(mark in standing.line.marks for standing in board.standings)]
    if let_in:
        notes.append(f"Ranked although their conditions differ: results marked {', '.join(let_in)}.")
    return notes


def _score(cell: Cell | None, spec: TaskSpec) -> str:
    if cell is None:
        return ABSENT
    if cell.score is None:
        return f"failed ({cell.n_failed}/{cell.n_seeds})"
    spread = ""
    if cell.std is not None:
        digits = f"{cell.std:.{spec.decimals}f}"
        # a spread that rounds to nothing is shown by its first digit
        spread = f"±{digits if float(digits) or not cell.std else format(cell.std, '.1g')}"
    return f"{cell.score:.{spec.decimals}f}{spread}"


def _percent(improvement: float | None) -> str:
    if improvement is None:
        return ABSENT
    if math.isinf(improvement):
        return "-∞"
    text = f"{100 * improvement:.1f}%"
    return "0.0%" if text == "-0.0%" else text


__all__ = [
    "Unranked",
    "area_ends",
    "escape_markdown",
    "generated_from",
    "to_csv",
    "to_json",
    "to_markdown",
    "to_rich",
]
