"""A leaderboard in every form that is text: for a terminal, Markdown, LaTeX, CSV, JSON values."""

from __future__ import annotations

from nas360.leaderboard.output.data import generated_from, harmless, to_csv, to_json
from nas360.leaderboard.output.latex import escape_latex, to_latex
from nas360.leaderboard.output.statistics_text import footnotes, statements
from nas360.leaderboard.output.tables import View, area_ends
from nas360.leaderboard.output.text import escape_markdown, to_markdown, to_rich

__all__ = [
    "View",
    "area_ends",
    "escape_latex",
    "escape_markdown",
    "footnotes",
    "generated_from",
    "harmless",
    "statements",
    "to_csv",
    "to_json",
    "to_latex",
    "to_markdown",
    "to_rich",
]
