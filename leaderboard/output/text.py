"""A leaderboard for a terminal and as Markdown.

What comes from result files is foreign: names pass through `rich.text.Text`, which obeys no markup, and through
`escape_markdown`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from nas360.leaderboard.board import Board
from nas360.leaderboard.output.statistics_text import footnotes, pair_table, stability_tables
from nas360.leaderboard.output.tables import PLAIN, Fits, TextTable, View, ranked_tables, unranked_tables

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table as RichTable

NAME_WIDTH = 14
"""Longer names may be folded down to this, in characters, so that numbers are whole."""

WISHED_NAME_WIDTH = 24
"""Scores are rather spread over more tables than names folded below this."""

KEPT_NAME_WIDTH = 20
"""Columns are rather left out than names folded below this."""

MAX_PAIRS = 100
"""In a terminal, where nobody reads more."""

HEADER_WIDTH = 14
"""A longer line of a header is folded, unless the numbers below it are as wide."""


def all_tables(board: Board, view: View, fits: Fits | None = None) -> list[TextTable]:
    """The tables of a board, in order; see `nas360.leaderboard.output.tables.ranked_tables`."""
    found = ranked_tables(board, view, fits)
    if view.statistics is not None and board.standings:
        found += stability_tables(board, view.statistics, fits) if view.stability else []
        most = MAX_PAIRS if fits else None
        found += pair_table(board, view.statistics, most) if view.pairs else []
    return found + unranked_tables(board)


def to_markdown(board: Board, view: View = PLAIN) -> str:
    """A board as Markdown tables.

    Args:
        board: the leaderboard.
        view: what is shown.
    """
    parts = [f"**{table.title}**\n\n{_markdown(table)}" for table in all_tables(board, view)]
    return "\n\n".join([*parts, *(escape_markdown(note) for note in footnotes(board, view))]) + "\n"


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is."""
    escaped = "".join(f"\\{sign}" if sign in r"\`*_[]|~<>&@" else sign for sign in text)
    return " ".join(escaped.split())


def _markdown(table: TextTable) -> str:
    lines = [[escape_markdown(name) for name in table.header], ["---", *["---:"] * (len(table.header) - 1)]]
    lines += [
        [
            f"**{escape_markdown(cell)}**" if (row, column) in table.best else escape_markdown(cell)
            for column, cell in enumerate(cells)
        ]
        for row, cells in enumerate(table.rows)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_rich(board: Board, view: View = PLAIN) -> list[RenderableType]:
    """A board for a terminal: tables and footnotes, in order.

    Tables take the width that they are printed on: names are folded, columns left out, and scores spread over as many
    tables as needed. Where even that is too wide, a table is as wide as its numbers; print with `crop=False`, so that
    none is cut.

    Args:
        board: the leaderboard.
        view: what is shown.
    """
    from rich.text import Text

    return [_Tables(board, view), *(Text(note, style="dim") for note in footnotes(board, view))]


class _Tables:
    """The tables of a board, made when the width is known."""

    def __init__(self, board: Board, view: View) -> None:
        self._board, self._view = board, view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.text import Text

        width = options.max_width
        for table in all_tables(self._board, self._view, lambda table: _width(table, WISHED_NAME_WIDTH) <= width):
            narrow, left_out = narrowed(table, width)
            yield _rich(narrow, width)
            if left_out:
                names = ", ".join(name.replace("\n", " ") for name in left_out)
                yield Text(f"Left out, for they need more than {width} columns: {names}.\n", style="dim")


def narrowed(table: TextTable, width: int) -> tuple[TextTable, list[str]]:
    """A table without the columns that a terminal has no room for, and their headers.

    Args:
        table: only its expendable columns are left out, in their order.
        width: of the terminal, in columns.
    """
    dropped: list[int] = []
    for index in table.expendable:
        if _width(table.without(dropped), KEPT_NAME_WIDTH) <= width:
            break
        dropped.append(index)
    return table.without(dropped), [table.header[index] for index in sorted(dropped)]


def _rich(table: TextTable, width: int) -> RichTable:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    least = _width(table, NAME_WIDTH)
    shown = Table(
        title=Text(table.title),
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        width=least if least > width else None,
    )
    for index, (name, cells) in enumerate(zip(table.header, zip(*table.rows, strict=True), strict=True)):
        if index:
            shown.add_column(Text(_fold(name, cells)), justify="right", no_wrap=True)
        else:
            shown.add_column(Text(name), overflow="fold", min_width=min(NAME_WIDTH, _text_width([name, *cells])))
    for row, texts in enumerate(table.rows):
        shown.add_row(
            *(Text(text, style="bold" if (row, column) in table.best else "") for column, text in enumerate(texts))
        )
    return shown


class _Wrapper(textwrap.TextWrapper):
    """Parts words after an underscore too, for the names of metrics have some."""

    wordsep_re = re.compile(r"(\s+|[^\s_-]+[_-]+)")


def _fold(header: str, cells: Sequence[str]) -> str:
    width = max(HEADER_WIDTH, _text_width(cells))
    return "\n".join(part for line in header.split("\n") for part in _Wrapper(width).wrap(line))


def _text_width(texts: Iterable[str]) -> int:
    """Columns of a terminal that the longest line takes."""
    from rich.cells import cell_len

    return max(cell_len(line) for text in texts for line in text.split("\n"))


def _width(table: TextTable, name_width: int) -> int:
    """Columns of a terminal that `_rich` needs when names are folded to `name_width`."""
    names, *numbers = zip(table.header, *table.rows, strict=True)
    widths = [min(name_width, _text_width(names))]
    widths += [_text_width([_fold(name, cells), *cells]) for name, *cells in numbers]
    # between two columns are two blanks and what parts them; left and right of the table is one blank
    return sum(widths) + 3 * (len(widths) - 1) + 2
