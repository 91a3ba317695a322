"""The summary of an audit as tables for a card, whatever it holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from nas360.loaders.repository.markdown import escape, table

_ABOUT = {
    "rows_also_in": "rows of the first split whose input, bit for bit, is in the second too, and how many of these "
    "bear another label there",
    "repeated_rows": "rows whose input stands before in the same split",
    "near_duplicates": "rows of the first split that have an almost equal one in the second; `train in train` is what "
    "to hold the others against",
    "shared_values": "how many groups the splits have in common",
    "label_shift": "how far the labels of two splits are apart, and how far they would be by chance",
}
"""What the parts of an audit's summary are, for readers."""

_ROWS, _COLUMNS, _CELL = 40, 8, 200


def audit_tables(summary: Mapping[str, Any]) -> str:
    """One table for each part of a summary, as Markdown.

    Args:
        summary: name of the part → nested tables of figures. It may come from a file that others wrote: everything is
            escaped, and what is large is cut.
    """
    parts = ["What the splits share; `audit.json` has more, with examples."]
    for name, part in list(summary.items())[:_ROWS]:
        if figures := list(_figures(part, ())):
            about = f": {_ABOUT[name]}" if name in _ABOUT else ""
            parts.append(f"{_words(name).capitalize()}{about}.")
            parts.append(_matrix(figures))
    return "\n\n".join(parts)


def _figures(value: Any, path: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], Any]]:
    """The leaves of nested tables, each with the way to it."""
    if isinstance(value, Mapping) and len(path) < 4:
        for name, part in value.items():
            yield from _figures(part, (*path, str(name)))
    else:
        yield path, value


def _matrix(figures: list[tuple[tuple[str, ...], Any]]) -> str:
    """Figures as a table: the last step of the way across, those before it down."""
    across = list(dict.fromkeys(path[-1] if path else "figure" for path, _ in figures))
    down: dict[tuple[str, ...], dict[str, Any]] = {}
    for path, value in figures:
        down.setdefault(path[:-1], {})[path[-1] if path else "figure"] = value
    where = [""] if any(down) else []
    rows = [
        (
            *[", ".join(map(_words, path)) for _ in where],
            *[_figure(row[name]) if name in row else "" for name in across[:_COLUMNS]],
        )
        for path, row in down.items()
    ]
    text = table((*where, *map(_words, across[:_COLUMNS])), rows[:_ROWS])
    left = (len(across) > _COLUMNS) or (len(rows) > _ROWS)
    return f"{text}\n\nThe table is cut." if left else text


def _words(name: Any) -> str:
    return escape(str(name)[:_CELL].replace("_", " "))


def _figure(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {None: "not defined", True: "yes", False: "no"}[value]
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**18 else "too large"
    if isinstance(value, float):
        return f"{value:.4g}"
    return escape((value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))[:_CELL])
