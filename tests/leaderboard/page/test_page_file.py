"""The page as a file: what is in it, that nothing foreign becomes markup, and that it needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas360.leaderboard.board import Board, rank
from nas360.leaderboard.page import page
from nas360.leaderboard.page.assemble import SCRIPTS
from nas360.leaderboard.page.content import METRICS
from nas360.leaderboard.page.escape import script_json
from nas360.leaderboard.stats.statistics import analyse
from nas360.leaderboard.table import Line, build_table
from nas360.results import ResultFile
from nas360.task import TaskSpec

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    '"><img src=x onerror=alert(3)>',
    "\u202egnirts\u2066 \u200f<!-- ]]> \u2028&amp;",
    "x" * 5000,
    "=HYPERLINK(1)",
    "${data} $policy half \ud800",
)
VOID = {"meta", "link", "input", "br", "img"}


class _Parsed(HTMLParser):
    """Elements with their attributes and the text directly within, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[list[str]] = [[]]
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self._open.append(self.elements[-1][2])

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].append(data)

    def all(self, tag: str, **wanted: str) -> list[tuple[dict[str, str | None], str]]:
        return [
            (attributes, "".join(content))
            for name, attributes, content in self.elements
            if name == tag and all(attributes.get(key) == value for key, value in wanted.items())
        ]


@pytest.fixture(scope="module")
def paper_page(paper_board: Board) -> _Parsed:
    return _Parsed(page(paper_board, analyse(paper_board, draws=50)))


def _data(parsed: _Parsed) -> dict[str, Any]:
    ((_, content),) = parsed.all("script", type="application/json")
    loaded: dict[str, Any] = json.loads(content)
    return loaded


def _renamed(board: Board, names: tuple[str, ...]) -> Board:
    """The board, its methods called otherwise everywhere: name, space, command, notes, sources."""

    def line(old: Line, name: str) -> Line:
        method = old.method.model_copy(
            update={"search_space": name, "version": name, "command": name, "reference_url": f"javascript:{name}"}
        )
        return replace(old, name=name, method=method)

    standings = []
    for standing, name in zip(board.standings, names, strict=False):
        cells = {
            task: replace(cell, notes=(name, name + "2"), sources=(name,)) for task, cell in standing.cells.items()
        }
        standings.append(replace(standing, line=line(standing.line, name), cells=cells))
    return replace(board, standings=tuple(standings), table=replace(board.table, warnings=names))


def test_it_loads_nothing(paper_page: _Parsed) -> None:
    for tag, attributes, _ in paper_page.elements:
        assert "src" not in attributes, tag
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
        if tag == "link":
            assert attributes == {"rel": "icon", "href": "data:,"}
        if tag == "a":
            assert str(attributes["href"]).startswith("#")
    ((_, style),) = paper_page.all("style")
    assert "url(" not in style and "@import" not in style


def test_only_the_projects_own_script_and_style_may_run(paper_page: _Parsed) -> None:
    ((meta, _),) = paper_page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    policy = dict(part.strip().split(" ", 1) for part in str(meta["content"]).split(";"))
    ((_, style),) = paper_page.all("style")
    (script,) = [content for attributes, content in paper_page.all("script") if "type" not in attributes]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    assert policy["default-src"] == "'none'"
    assert [policy["script-src"], policy["style-src"]] == [f"'sha256-{value}'" for value in hashes]
    assert "unsafe" not in str(meta["content"])


def test_the_script_makes_no_markup_of_text(repository: Path) -> None:
    folder = repository / "leaderboard" / "page"
    assert {path.stem for path in folder.glob("*.js")} == set(SCRIPTS)
    for path in folder.glob("*.js"):
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "fetch("):
            assert word not in path.read_text(), f"{path.name} has {word}"


def test_lines_are_as_short_as_pythons(repository: Path) -> None:
    for path in (repository / "leaderboard" / "page").glob("*.*"):
        long = [number for number, line in enumerate(path.read_text().splitlines(), 1) if len(line) > 120]
        assert not long, f"{path.name}: lines {long}"


def test_foreign_names_stay_text(paper_board: Board) -> None:
    board = _renamed(paper_board, HOSTILE)
    content = page(board, analyse(board, draws=10))
    parsed = _Parsed(content)
    assert [attributes.get("type") for attributes, _ in parsed.all("script")] == ["application/json", None]
    assert not parsed.all("img")
    shown = [text for _, text in parsed.all("bdi")]
    for name in HOSTILE:
        readable = name.encode(errors="replace").decode()
        assert readable in shown or f"{readable[:1999]}…" in shown
    assert [line["name"] for line in _data(parsed)["lines"]] == [
        name.encode(errors="replace").decode() for name in HOSTILE
    ]
    content.encode()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_data_of_any_text_is_json_that_cannot_leave_its_element(value: Any) -> None:
    written = script_json(value)
    assert not set(written) & set("<>&\u2028\u2029")
    assert json.loads(written) == value


def test_what_is_not_finite_is_no_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json(float("nan"))


def test_without_script_the_table_is_there(paper_page: _Parsed, paper_board: Board) -> None:
    names = [text for _, text in paper_page.all("bdi")]
    assert names[0:14:2] == [standing.line.name for standing in paper_board.standings]
    medians = [text for _, text in paper_page.all("td", **{"class": "lead-number"})]
    assert [float(text.rstrip("*")) for text in medians] == [one.median_rank for one in paper_board.standings]
    # as the paper's Table 3, with its asterisks
    assert medians == ["1.0*", "1.5", "3.5", "4.0", "4.0", "4.0", "6.0*"]
    cells = [text for _, text in paper_page.all("td")]
    assert (cells.count("on 3"), cells.count("all")) == (2, 5)
    assert {"20.0 %*", "20.1 %", "\N{MINUS SIGN}75.3 %*"} <= set(cells)
    scores = [text for _, text in paper_page.all("span", **{"class": "number"})]
    assert {"23.35", "85.77", "0.026"} <= set(scores)
    heads = paper_page.all("th")
    assert all(attributes.get("scope") in ("row", "col") for attributes, _ in heads)


def test_every_number_has_its_source(paper_page: _Parsed) -> None:
    data = _data(paper_page)
    for line in data["lines"]:
        for cell in line["cells"].values():
            assert [data["texts"][at] for at in cell["sources"]]
    assert any("Table 2" in text for _, text in paper_page.all("bdi"))


def test_data_are_the_boards(paper_page: _Parsed, paper_board: Board) -> None:
    data = _data(paper_page)
    assert [line["id"] for line in data["lines"]] == [standing.line.id for standing in paper_board.standings]
    for line, standing in zip(data["lines"], paper_board.standings, strict=True):
        assert {task: cell["error"] for task, cell in line["cells"].items()} == {
            task: cell.error for task, cell in standing.cells.items()
        }
    assert data["baseline"] == "wrn" and data["ends"] == [2, 4]


def test_twenty_methods_are_at_most_300_kilobytes(crowd: dict[str, ResultFile], specs: Mapping[str, TaskSpec]) -> None:
    board = rank(build_table(crowd, specs))
    assert len(board.standings) + len(board.unranked) >= 20
    assert len(page(board, analyse(board, draws=20)).encode()) <= 300_000


@pytest.mark.parametrize("tasks", [[], ["ecg"]])
def test_few_results_make_a_page_too(
    paper: dict[str, ResultFile], specs: Mapping[str, TaskSpec], tasks: list[str]
) -> None:
    board = rank(build_table(paper if tasks else {}, specs, tasks))
    parsed = _Parsed(page(board))
    assert len(_data(parsed)["lines"]) == len(board.standings)
    assert _data(parsed)["statistics"] is None
    assert bool(parsed.all("td", **{"class": "empty"})) == (not tasks)


def test_every_metric_has_a_name_for_people(specs: Mapping[str, TaskSpec]) -> None:
    assert {spec.metric for spec in specs.values()} == set(METRICS)


def test_contrast_is_readable_in_both_themes(paper_page: _Parsed) -> None:
    """WCAG 2.2: text at least 4.5 to 1, lines and borders of controls at least 3 to 1."""
    ((_, style),) = paper_page.all("style")
    pairs = dict(re.findall(r"--(\w+): light-dark\((#[0-9a-f]{6}, #[0-9a-f]{6})\)", style))
    for theme in (0, 1):
        colour = {name: value.split(", ")[theme] for name, value in pairs.items()}
        for ground in ("paper", "raised", "wash"):
            for text in ("ink", "muted", "accent"):
                assert _contrast(colour[text], colour[ground]) >= 4.5, (text, ground, theme)
        for line in ("strong", *(f"c{index}" for index in range(8))):
            assert _contrast(colour[line], colour["paper"]) >= 3, (line, theme)
        # on the filled segment of a control
        assert _contrast(colour["paper"], colour["accent"]) >= 4.5


def _contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
