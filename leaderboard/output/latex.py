r"""A leaderboard as LaTeX tables for a paper: booktabs, one `table` for ranks and one for scores.

Needs `\usepackage{booktabs}` and nothing else, and compiles with pdfLaTeX, XeLaTeX and LuaLaTeX: foreign names are
escaped into ASCII.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

from nas360.leaderboard.board import Board, Standing, Unranked
from nas360.leaderboard.output.statistics_text import footnotes
from nas360.leaderboard.output.tables import (
    PLAIN,
    View,
    main_table,
    score_tables,
    spread_text,
)
from nas360.leaderboard.table import Cell
from nas360.task import TaskSpec

_SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "{''}",
    "`": r"\textasciigrave{}",
    # in braces: after \\ they would be its argument
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "–": "--",  # noqa: RUF001
    "—": "---",
    "‘": "{`}",  # noqa: RUF001
    "’": "{'}",  # noqa: RUF001
    "“": "{``}",
    "”": "{''}",
    "…": r"\ldots{}",
    "±": r"$\pm$",
    "×": r"$\times$",  # noqa: RUF001
    "·": r"$\cdot$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "→": r"$\rightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "∞": r"$\infty$",
    "∂": r"$\partial$",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",  # noqa: RUF001
}
_GREEK = {
    chr(code): rf"$\{name.lower()}$" if chr(code).islower() else rf"$\{name.capitalize()}$"
    for code in range(0x391, 0x3CA)
    if (name := unicodedata.name(chr(code), "").rpartition(" ")[2].replace("LAMDA", "LAMBDA"))
    in {"ALPHA", "BETA", "GAMMA", "DELTA", "EPSILON", "ZETA", "ETA", "THETA", "KAPPA", "LAMBDA", "MU", "NU", "XI"}
    | {"PI", "RHO", "SIGMA", "TAU", "PHI", "CHI", "PSI", "OMEGA"}
    and (
        chr(code).islower() or name in {"GAMMA", "DELTA", "THETA", "LAMBDA", "XI", "PI", "SIGMA", "PHI", "PSI", "OMEGA"}
    )
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0323": "d",
    "\u0327": "c",
}


def escape_latex(text: str) -> str:
    r"""Text that LaTeX shows as it is, in ASCII.

    A sign that pdfLaTeX has no letter for becomes its number, as in `[U+4E2D]`.

    Example:
        >>> print(escape_latex("50 % of $x_1$ & Müller"))
        50 \% of \$x\_1\$ \& M{\"u}ller
    """
    one_line = " ".join(text.split())
    signs = unicodedata.normalize("NFC", one_line)
    # two of some signs would become one: a dash, or a quotation mark
    apart = ("{}" if sign == before and sign in "-,'" else "" for before, sign in zip(" " + signs, signs, strict=False))
    return "".join(gap + _escape_sign(sign) for gap, sign in zip(apart, signs, strict=True))


def _escape_sign(sign: str) -> str:
    known = _SIGNS.get(sign) or _GREEK.get(sign)
    if known is not None:
        return known
    if " " <= sign <= "~":
        return sign
    parts = unicodedata.normalize("NFD", sign)
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and parts[1] in _ACCENTS:
        accent, letter = _ACCENTS[parts[1]], parts[0]
        # a dotless i, which would else carry two marks
        letter = rf"\{letter}" if letter in "ij" and accent not in "cdH" else letter
        return rf"{{\{accent}{{{letter}}}}}" if accent.isalpha() or "\\" in letter else rf"{{\{accent}{letter}}}"
    # half, full width and styled letters are read as what they stand for
    plain = unicodedata.normalize("NFKD", sign)
    if plain != sign and plain.isascii():
        return escape_latex(plain)
    return f"{{[}}U+{ord(sign):04X}{{]}}"


def to_latex(board: Board, view: View = PLAIN) -> str:
    r"""A board as LaTeX: ranks in one table, and scores on every task in another, the best of each task in bold.

    Args:
        board: the leaderboard.
        view: what is shown. Scores are shown as in a terminal: of up to
            five tasks always, else with `per_task`. Stability and pairs are for other forms.
    """
    parts = ["% made by nas360 leaderboard; needs \\usepackage{booktabs}"]
    if board.standings:
        parts.append(_ranks(board, view))
    n_tasks = len(board.table.specs)
    if (board.standings or board.unranked) and (view.per_task or 1 < n_tasks <= 5 or (n_tasks == 1 and board.unranked)):
        parts.append(_scores(board))
    return "\n\n".join(parts) + "\n"


def _ranks(board: Board, view: View) -> str:
    table = main_table(board, view.statistics)
    header = [r" \\ ".join(escape_latex(part) for part in name.split("\n")) for name in table.header]
    rows = [[_number(cell) if column else escape_latex(cell) for column, cell in enumerate(row)] for row in table.rows]
    if len(board.table.specs) == 1:
        ((task, spec),) = board.table.specs.items()
        for row, standing in zip(rows, board.standings, strict=True):
            row[table.header.index(next(n for n in table.header if n.startswith(spec.metric)))] = _score(
                standing.cells[task], spec, standing.ranks[task] == min(s.ranks[task] for s in board.standings)
            )
    caption = f"{table.title}. {' '.join(footnotes(board, view))}"
    return _environment(header, rows, "l" + "r" * (len(header) - 1), escape_latex(caption), "ranks")


def _scores(board: Board) -> str:
    """Panels of five tasks below each other, as in the paper, so that they fit a page's width."""
    tables = score_tables(board, None)
    specs = list(board.table.specs.values())
    entries: list[Standing | Unranked] = [*board.standings, *board.unranked]
    blocks: list[list[str]] = []
    start, widest = 0, max(len(table.header) for table in tables)
    for table in tables:
        some = specs[start : start + len(table.header) - 1]
        start += len(some)
        blanks = [""] * (widest - len(table.header))
        lines = [_row([escape_latex(name) for name in table.header] + blanks), r"\midrule"]
        for row, entry in enumerate(entries):
            cells = [
                _score(entry.cells.get(spec.id), spec, (row, column) in table.best)
                for column, spec in enumerate(some, start=1)
            ]
            lines.append(_row([escape_latex(entry.line.name), *cells, *blanks]))
            if board.unranked and row == len(board.standings) - 1:
                lines.append(r"\midrule")
        blocks.append(lines)
    conditions = (
        "Mean and, where it is known, standard deviation over seeds; the best ranked method of each task in bold. "
        + "Units: "
        + "; ".join(f"{spec.name}: {spec.metric}, {spec.unit}" for spec in specs)
        + ". Arrows: which way is better."
    )
    if board.unranked:
        conditions += f" Not ranked, for their conditions differ: {', '.join(e.line.name for e in board.unranked)}."
    body = [*blocks[0]]
    for block in blocks[1:]:
        body += [r"\midrule", *block]
    return _wrap(body, "l" + "r" * (widest - 1), escape_latex(f"Scores. {conditions}"), "scores")


def _environment(header: Sequence[str], rows: Sequence[Sequence[str]], columns: str, caption: str, label: str) -> str:
    heads = [rf"\shortstack[{'r' if index else 'l'}]{{{name}}}" for index, name in enumerate(header)]
    return _wrap([_row(heads), r"\midrule", *map(_row, rows)], columns, caption, label)


def _wrap(body: Sequence[str], columns: str, caption: str, label: str) -> str:
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:nas360-{label}}}",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{4pt}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _number(cell: str) -> str:
    """A number of a table: a minus is a minus, and an absent one a dash."""
    if cell == "-":
        return "--"
    return f"$-${escape_latex(cell[1:])}" if cell.startswith("-") else escape_latex(cell)


def _score(cell: Cell | None, spec: TaskSpec, best: bool) -> str:
    if cell is None:
        return "--"
    if cell.score is None:
        return f"failed ({cell.n_failed}/{cell.n_seeds})"
    best = best and math.isfinite(cell.error)
    number = f"{cell.score:.{spec.decimals}f}"
    number = rf"\mathbf{{{number}}}" if best else number
    return f"${number}$" if cell.std is None else rf"${number} \pm {spread_text(cell.std, spec)}$"
