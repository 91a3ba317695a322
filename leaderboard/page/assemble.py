"""The page from its parts: template, style, scripts, data."""

from __future__ import annotations

from importlib.resources import files
from string import Template

from nas360.leaderboard.board import Board
from nas360.leaderboard.page import static
from nas360.leaderboard.page.content import page_data
from nas360.leaderboard.page.escape import policy_hash, script_json, text
from nas360.leaderboard.stats.statistics import Statistics

SCRIPTS = (
    *("ranks", "costs", "dom", "state", "theme", "downloads", "controls", "table"),
    *("profile", "tasks", "cost", "certainty", "method", "provenance", "app"),
)
"""The script's files, in the order in which they build on each other."""


def page(board: Board, statistics: Statistics | None = None) -> str:
    """A leaderboard as one self-contained HTML file.

    The file loads nothing, and its Content-Security-Policy lets nothing run but the project's own script. All text from
    result files stands escaped in the plain tables, which are read where scripts do not run, and as JSON data.

    Args:
        board: the leaderboard.
        statistics: of exactly this board; without them intervals and ties are left out.

    Returns:
        The whole file, for UTF-8.
    """
    from nas360 import __version__

    script = '"use strict";\n' + "\n".join(_read(f"{part}.js") for part in SCRIPTS)
    style = _read("style.css")
    policy = (
        f"default-src 'none'; script-src {policy_hash(script)}; style-src {policy_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    n_methods, n_tasks = len(board.standings), len(board.table.specs)
    summary = (
        f"{n_methods} method{'' if n_methods == 1 else 's'} on {n_tasks} task{'' if n_tasks == 1 else 's'}, by the "
        "median of their ranks; lower is better."
    )
    data = page_data(board, statistics)
    made_by = f"Made by nas360 {__version__}; SHA-256 of the data: {data['generated']['sha256'][:16]}."
    filled = Template(_read("template.html")).substitute(
        policy=policy,
        summary=summary,
        style=style,
        board=static.board_table(board, statistics),
        notes=static.notes(board),
        unranked=static.unranked_table(board),
        certainty=static.certainty(board, statistics),
        provenance=static.provenance_table(board),
        warnings=static.warnings(board),
        generated=text(made_by),
        data=script_json(data),
        script=script,
    )
    # a name made in code may hold half of a surrogate pair, which no UTF-8 file can
    return filled.encode(errors="replace").decode()


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
