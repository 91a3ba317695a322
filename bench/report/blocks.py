"""What a report is made of, before it is Markdown or HTML. All texts are as they came; who writes them escapes them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Note:
    """A sentence or more.

    Attributes:
        text: plain.
        warning: whether a reader should not pass over it.
    """

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        header: of the columns; a line end parts it.
        rows: as many cells each.
        title: above it; empty for none.
        texts: columns of words, which are left-aligned and may be folded; the others hold numbers.
        best: (row, column) of cells to be stressed.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    texts: frozenset[int] = frozenset({0})
    best: frozenset[tuple[int, int]] = frozenset()

    def __post_init__(self) -> None:
        if any(len(row) != len(self.header) for row in self.rows):
            raise ValueError(f"rows of {[len(row) for row in self.rows]} cells below a header of {len(self.header)}")


@dataclass(frozen=True)
class Code:
    """Lines to be typed or read as they are."""

    lines: tuple[str, ...]
    title: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        svg: an SVG document that was made here; none is ever taken from a file.
        title: above it, and for those who cannot see it.
        instead: what Markdown shows, and HTML below it.
    """

    svg: str
    title: str
    instead: tuple[Note | Table | Code, ...] = ()


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side, as far as there is room."""

    pictures: tuple[Picture, ...]


Block = Note | Table | Code | Picture | Gallery


@dataclass(frozen=True)
class Section:
    """A part with a heading.

    Attributes:
        id: for links to it.
        title: of the heading.
        blocks: in order.
    """

    id: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """A whole report.

    Attributes:
        title: of the page.
        lead: below it.
        sections: in order; those without blocks are left out.
    """

    title: str
    lead: str
    sections: tuple[Section, ...] = field(default=())
