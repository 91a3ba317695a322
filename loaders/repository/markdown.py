"""Markdown that foreign text cannot break."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the cells must be Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def escape(text: str) -> str:
    """Text that Markdown and HTML show as it is, on one line, inside a table or not."""
    # a file name that is no UTF-8 comes with surrogates, which could not be written
    encodable = text.encode("utf-8", "replace").decode("utf-8")
    # the last ones turn the direction of what follows
    line = re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+", " ", encodable).strip()
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~$!])", r"\\\1", line)
