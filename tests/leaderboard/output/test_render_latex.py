"""LaTeX: that it is well formed whatever a name holds, and that it says what the board says."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas360.leaderboard.board import Board, rank
from nas360.leaderboard.output.render import View, escape_latex, to_latex
from nas360.leaderboard.sources import load_panel
from nas360.leaderboard.stats.statistics import analyse
from nas360.leaderboard.table import build_table
from nas360.results import ResultFile
from nas360.task import TaskSpec

COMMANDS = {
    *("begin", "end", "centering", "caption", "label", "footnotesize", "setlength", "tabcolsep", "shortstack"),
    *("toprule", "midrule", "bottomrule", "mathbf", "pm", "downarrow", "uparrow", "leq", "usepackage"),
    *("textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar", "textasciigrave"),
    *("ldots", "infty", "times", "geq", "cdot", "rightarrow", "partial"),
}
"""What our text may call, beside accents and escaped signs: all known to LaTeX with booktabs."""

GREEK = {
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "pi",
}
GREEK |= {"rho", "sigma", "tau", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma"}
GREEK |= {"Phi", "Psi", "Omega"}

TOKEN = re.compile(r"\\[A-Za-z]+|\\.|%.*|[{}$&#^_~]|[^\\%{}$&#^_~]+", re.DOTALL)


def _check(source: str) -> list[list[str]]:
    """Parse LaTeX strictly.

    Returns:
        The rows of each tabular.

    Raises:
        AssertionError: braces, environments or formulas that do not close, a raw special sign, an unknown command, a
            row with other than its tabular's cells, a row that begins with an argument of the end of line before.
    """
    assert source.isascii()
    braces, environments, formula = 0, [], False
    tokens = [token for line in source.splitlines(keepends=True) for token in TOKEN.findall(line)]
    assert "".join(tokens) == source
    for place, token in enumerate(tokens):
        if token.startswith("%"):
            assert place == 0, "a raw percent sign"
        elif re.fullmatch(r"\\[A-Za-z]+", token):
            name = token[1:]
            assert name in COMMANDS | GREEK | set("uvHcdrijlLoO") | {"ss", "ae", "oe", "AE", "OE"}, token
            if name in ("begin", "end"):
                kind = tokens[place + 2]
                if name == "begin":
                    environments.append((kind, braces))
                else:
                    assert environments.pop() == (kind, braces)
            if name in {"mathbf", "pm", "leq", "infty", "times"} | GREEK:
                assert formula, f"{token} outside of a formula"
        elif token == "{":
            braces += 1
        elif token == "}":
            braces -= 1
            assert braces >= 0
        elif token == "$":
            formula = not formula
        elif token == "\\\\":
            rest = "".join(tokens[place + 1 : place + 3]).lstrip()
            assert not formula and not rest.startswith(("[", "*")), "an argument of the end of line"
        elif token in ("&",):
            assert environments and environments[-1][0] == "tabular" and not formula
        else:
            assert token not in set("#^_~"), f"a raw {token}"
    assert braces == 0 and not environments and not formula
    return _tabulars(source)


def _tabulars(source: str) -> list[list[str]]:
    found = []
    for columns, body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}\n(.*?)\\end\{tabular\}", source, re.DOTALL):
        rows = [line for line in body.splitlines() if not line.startswith(("\\toprule", "\\midrule", "\\bottomrule"))]
        for row in rows:
            assert row.endswith(r" \\")
            assert len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1, row
        found.append(rows)
    return found


@pytest.fixture(scope="module")
def board(paper: Mapping[str, ResultFile], specs: Mapping[str, TaskSpec]) -> Board:
    return rank(build_table(paper, specs))


def test_the_paper_is_well_formed_and_reads_as_printed(board: Board) -> None:
    text = to_latex(board, View(analyse(board, 50), per_task=True))
    ranks, scores = _check(text)
    assert len(ranks) == 1 + 7
    assert len(scores) == 2 * (1 + 7)
    gaea = next(row for row in ranks if row.startswith("DARTS"))
    assert gaea.startswith("DARTS (GAEA) & 1.5 & ")
    assert gaea.endswith(r"& a & 2.20 & 20.1\% & 0.825 & 0.921 & all \\")
    assert r"$-$75.3\%" in text  # a minus, not a hyphen
    assert r"$\mathbf{48.23} \pm 2.87$" in text
    # bold is the best of each task, here one method each, bar none
    assert text.count(r"\mathbf") == 10
    assert "Resolution: with 10 tasks and the 5 methods that ran all of them" in text
    assert "50 draws, seed 0" in text


@pytest.mark.parametrize("panel", ["paper", "published"])
@pytest.mark.parametrize("tasks", [[], ["ecg"], ["ecg", "fsd50k"], ["cosmic", "psicov", "darcy_flow"]])
def test_any_choice_of_tasks_is_well_formed(panel: str, tasks: list[str], specs: Mapping[str, TaskSpec]) -> None:
    board = rank(build_table(load_panel(panel), specs, tasks))
    for view in (View(), View(analyse(board, 5), True, True, True)):
        assert _check(to_latex(board, view))
    assert _check(to_latex(rank(build_table({}, specs)))) == []


@pytest.fixture(scope="module")
def the_board(board: Board) -> Callable[[], Board]:
    """The board behind a function: hypothesis prints what a test is given, and a board is long."""
    return lambda: board


@given(name=st.text(min_size=1, max_size=40))
def test_any_name_is_well_formed(name: str, the_board: Callable[[], Board]) -> None:
    board = the_board()
    first = replace(board.standings[0], line=replace(board.standings[0].line, name=name))
    text = to_latex(replace(board, standings=(first, *board.standings[1:])), View(per_task=True))
    ranks, _ = _check(text)
    assert len(ranks) == 8


@given(st.text(alphabet=string.printable))
def test_what_was_escaped_can_be_read_again(text: str) -> None:
    back = escape_latex(text)
    for sign, form in {
        "\\": r"\textbackslash{}",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "`": r"\textasciigrave{}",
        '"': "{''}",
    }.items():
        back = back.replace(form, f"\0{ord(sign)}\0")
    back = re.sub(r"\{([\[\]*])\}", r"\1", back.replace(r"\{", "\x01").replace(r"\}", "\x02")).replace("{}", "")
    back = re.sub(r"\\([$&#%_])", r"\1", back).replace("\x01", "{").replace("\x02", "}")
    back = re.sub("\0([0-9]+)\0", lambda found: chr(int(found[1])), back)
    assert back == " ".join(text.split())


def test_signs_beyond_ascii_are_letters_where_latex_has_them() -> None:
    assert escape_latex("Müller, Łukasz, Čapek, naïve") == r"M{\"u}ller, \L{}ukasz, {\v{C}}apek, na{\"{\i}}ve"
    assert escape_latex("α-net ≤ 2 × ∞") == r"$\alpha$-net $\leq$ 2 $\times$ $\infty$"  # noqa: RUF001
    assert escape_latex("中") == "{[}U+4E2D{]}"
    assert escape_latex("a--b ,, ''") == r"a-{}-b ,{}, '{}'"
    assert escape_latex("ｗｒｎ") == "wrn"  # noqa: RUF001


def test_every_command_of_greek_letters_exists() -> None:
    from matplotlib.mathtext import MathTextParser

    pytest.importorskip("matplotlib")
    parser = MathTextParser("agg")
    for code in (*range(0x391, 0x3AA), *range(0x3B1, 0x3CA)):
        text = escape_latex(chr(code))
        if "$" in text:
            parser.parse(text)
