"""A report as one HTML file that loads nothing and runs nothing.

Texts are escaped. Pictures are images from data, in which no script runs whatever they hold, and which share no ids;
the page's Content-Security-Policy allows them and its own style, and nothing else.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from importlib.resources import files

from nas360.bench.report.blocks import Block, Code, Gallery, Note, Page, Picture, Table
from nas360.leaderboard.page.escape import policy_hash, text

LONG = 24
"""Columns of longer words, in characters, are folded, and all others are not."""


def to_html(page: Page) -> str:
    """The whole file, for UTF-8."""
    style = files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    policy = f"default-src 'none'; style-src {policy_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    links = "".join(f'<a href="#{part.id}">{text(part.title)}</a>' for part in page.sections)
    body = "".join(
        f'<section id="{part.id}" aria-labelledby="{part.id}-title"><h2 id="{part.id}-title">{text(part.title)}</h2>'
        f"{''.join(map(_block, part.blocks))}</section>\n"
        for part in page.sections
    )
    whole = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light">\n<meta name="referrer" content="no-referrer">\n'
        f'<title>{text(_visible(page.title))}</title>\n<link rel="icon" href="data:,">\n<style>{style}</style>\n'
        f"</head>\n<body>\n<header><h1>{_text(page.title)}</h1><p>{_text(page.lead)}</p></header>\n"
        f'<nav aria-label="Sections">{links}</nav>\n<main>\n{body}</main>\n</body>\n</html>\n'
    )
    # a name made in code may hold half of a surrogate pair, which no UTF-8 file can
    return whole.encode(errors="replace").decode()


def _block(block: Block) -> str:
    return _WRITERS[type(block)](block)


def _note(block: Note) -> str:
    return f'<p class="{"warning" if block.warning else "note"}">{_text(block.text)}</p>'


def _table(block: Table) -> str:
    title = f"<h3>{_text(block.title)}</h3>" if block.title else ""
    named = f' aria-label="{text(_visible(block.title))}"' if block.title else ""
    classes = [_class(block, column) for column in range(len(block.header))]
    head = ""
    if any(block.header):
        cells = "".join(
            f'<th scope="col" class="{c}">{_text(h)}</th>' for h, c in zip(block.header, classes, strict=True)
        )
        head = f"<thead><tr>{cells}</tr></thead>"
    body = ""
    for number, row in enumerate(block.rows):
        cells = ""
        for column, (cell, kind) in enumerate(zip(row, classes, strict=True)):
            best = " best" if (number, column) in block.best else ""
            element = 'th scope="row"' if column == 0 else "td"
            cells += f'<{element} class="{kind}{best}">{_text(cell)}</{element.split()[0]}>'
        body += f"<tr>{cells}</tr>"
    return f'{title}<div class="scroll"><table{named}>{head}<tbody>{body}</tbody></table></div>'


def _class(block: Table, column: int) -> str:
    if column not in block.texts:
        return "number"
    return "words long" if any(len(row[column]) > LONG for row in block.rows) else "words"


def _code(block: Code) -> str:
    title = f"<h3>{_text(block.title)}</h3>" if block.title else ""
    return f"{title}<pre><code>{text(chr(10).join(map(_visible, block.lines)))}</code></pre>"


def _picture(block: Picture) -> str:
    data = base64.b64encode(block.svg.encode(errors="replace")).decode()
    size = _size(block.svg)
    label = text(_visible(block.title))
    image = f'<img src="data:image/svg+xml;base64,{data}" alt="{label}"{size}>'
    instead = "".join(map(_block, block.instead))
    more = f"<details><summary>as a table</summary>{instead}</details>" if instead else ""
    return f'<figure><figcaption>{_text(block.title)}</figcaption><div class="scroll">{image}</div>{more}</figure>'


def _gallery(block: Gallery) -> str:
    return f'<div class="gallery">{"".join(map(_picture, block.pictures))}</div>'


def _size(svg: str) -> str:
    """Width and height of a picture in pixels, as attributes, so that the page need not be laid out twice."""
    found = re.search(r"<svg\b[^>]*>", svg)
    sides = [re.search(rf'\b{side}="([\d.]+)(pt)?"', found[0] if found else "") for side in ("width", "height")]
    if not all(sides):
        return ""
    width, height = (round(float(side[1]) * (4 / 3 if side[2] else 1)) for side in sides if side)
    return f' width="{width}" height="{height}"'


def _text(value: str) -> str:
    """Foreign text, isolated so that its direction of writing ends with it; line ends are kept, hyphens at them not."""
    lines = (text(_visible(line)) for line in value.split("\n"))
    return "<bdi>" + "<br>".join(lines) + "</bdi>"


def _visible(line: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in line)


_WRITERS: dict[type, Callable[..., str]] = {
    Note: _note,
    Table: _table,
    Code: _code,
    Picture: _picture,
    Gallery: _gallery,
}
