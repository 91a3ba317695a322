"""A report as Markdown: tables and texts alone; pictures are replaced by what they show."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from nas360.bench.report.blocks import Block, Code, Gallery, Note, Page, Picture, Table
from nas360.leaderboard.output.text import escape_markdown


def to_markdown(page: Page) -> str:
    """The whole text, which UTF-8 can hold."""
    parts = [f"# {_text(page.title)}", _text(page.lead)]
    for section in page.sections:
        parts.append(f"## {_text(section.title)}")
        parts += [text for block in section.blocks for text in _block(block)]
    return "\n\n".join(parts).encode(errors="replace").decode() + "\n"


def _block(block: Block) -> Iterator[str]:
    yield from _WRITERS[type(block)](block)


def _note(block: Note) -> Iterator[str]:
    yield f"> **Note:** {_text(block.text)}" if block.warning else _text(block.text)


def _table(block: Table) -> Iterator[str]:
    if block.title:
        yield f"**{_text(block.title)}**"
    rows = [
        [
            f"**{_text(cell)}**" if (row, column) in block.best and cell else _text(cell)
            for column, cell in enumerate(cells)
        ]
        for row, cells in enumerate(block.rows)
    ]
    ruler = ["---" if column in block.texts else "---:" for column in range(len(block.header))]
    lines = [[_text(name) for name in block.header], ruler, *rows]
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(block: Code) -> Iterator[str]:
    if block.title:
        yield f"**{_text(block.title)}**"
    lines = ["".join(sign if sign.isprintable() else "?" for sign in line) for line in block.lines]
    # longer than any row of backticks within, which would else end it
    longest = max((len(found) for line in lines for found in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    yield "\n".join([fence, *lines, fence])


def _picture(block: Picture) -> Iterator[str]:
    if block.instead:
        yield f"**{_text(block.title)}**"
        for part in block.instead:
            yield from _block(part)


def _gallery(block: Gallery) -> Iterator[str]:
    for picture in block.pictures:
        yield from _picture(picture)


def _text(text: str) -> str:
    """On one line, as it is; what steers a terminal or turns the writing round is a question mark."""
    shown = "".join(sign if sign.isprintable() or sign in "\n\t" else "?" for sign in text)
    return escape_markdown(shown.replace("-\n", "-"))


_WRITERS: dict[type, Callable[..., Iterator[str]]] = {
    Note: _note,
    Table: _table,
    Code: _code,
    Picture: _picture,
    Gallery: _gallery,
}
