"""Tables, Markdown, CSV, JSON and the picture; and that foreign names do no harm in any of them."""

from __future__ import annotations

import csv
import io
import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from nas360.errors import MissingExtraError, UserError
from nas360.leaderboard.board import Board, rank
from nas360.leaderboard.plot import MAX_LINES, plot_profile
from nas360.leaderboard.profiles import Profile
from nas360.leaderboard.render import View, escape_markdown, generated_from, to_csv, to_json, to_markdown, to_rich
from nas360.leaderboard.table import MARKS, build_table
from nas360.results import ResultFile
from nas360.task import TaskSpec

HOSTILE = "[red]a|b `c` <script>1</script> $x^$ *d*"


@pytest.fixture(scope="module")
def board(paper: Mapping[str, ResultFile], specs: Mapping[str, TaskSpec]) -> Board:
    return rank(build_table(paper, specs))


@pytest.fixture(scope="module")
def hostile(
    specs: Mapping[str, TaskSpec], make_file: Callable[..., ResultFile], make_row: Callable[..., dict[str, Any]]
) -> tuple[Board, dict[str, ResultFile]]:
    files = {
        "a": make_file("m", [make_row("darcy_flow", 0.5, notes=HOSTILE)], display_name=HOSTILE, version=HOSTILE),
        "b": make_file("m", [make_row("darcy_flow", None)], display_name="_hidden", version="=2+2"),
        "c": make_file("m", [make_row("ecg", 0.5, provenance="synthetic")], display_name=HOSTILE, version="3"),
    }
    return rank(build_table(files, specs)), files


def _terminal(board: Board, per_task: bool = False, width: int = 100) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width)
    for part in to_rich(board, View(per_task=per_task)):
        console.print(part, crop=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_reads_as_the_paper(board: Board) -> None:
    lines = _terminal(board).splitlines()
    (gaea,) = [line.split() for line in lines if "GAEA" in line]
    assert gaea == ["DARTS", "(GAEA)", "1.5", "2.20", "20.1%", "0.825", "0.921", "all"]
    (amber,) = [line.split() for line in lines if "AMBER" in line]
    assert amber[:4] + amber[-2:] == ["AMBER", "1.0*", "1.33*", "20.0%*", "on", "3"]
    order = [line.split()[0] for line in lines if "%" in line]
    assert order == ["AMBER", "DARTS", "WRN-16-4", "DenseNAS", "WRN-16-4", "DenseNAS", "Auto-DeepLab"]


def test_every_score_is_shown_on_demand(board: Board) -> None:
    text = _terminal(board, per_task=True)
    for score in ("85.77±0.71", "0.026±0.001", "99.79±0.02", "0.40±0.001", "0.68±0.01", "37.53±10.16"):
        assert score in text


def test_eighty_columns_are_enough(board: Board) -> None:
    for per_task in (False, True):
        text = _terminal(board, per_task, width=80)
        assert "…" not in text
        assert "DenseNAS" in text


def test_scores_take_as_few_tables_as_the_width_allows(board: Board) -> None:
    tables = [
        _terminal(board, per_task=True, width=width).count("Scores") for width in (40, 60, 80, 100, 120, 160, 219)
    ]
    assert tables == sorted(tables, reverse=True)
    assert (tables[0], tables[4], tables[-1]) == (10, 2, 1)


def test_a_long_baseline_is_folded_and_not_cut(
    specs: Mapping[str, TaskSpec], make_file: Callable[..., ResultFile], make_row: Callable[..., dict[str, Any]]
) -> None:
    name = "".join(f"{k:02}" for k in range(50))
    files = {"a": make_file(name, [make_row("ecg", 0.5), make_row("cifar100", 0.5)])}
    text = _terminal(rank(build_table(files, specs), name), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert all(name[first : first + 14] in text for first in range(0, 100, 14))


@pytest.mark.parametrize("width", [1, 20, 30, 40, 60, 70, 80, 100, 120, 150, 300])
def test_no_number_is_cut_at_any_width(width: int, board: Board, hostile: tuple[Board, dict[str, ResultFile]]) -> None:
    for shown in (board, hostile[0], rank(hostile[0].table, include=MARKS)):
        lines = _terminal(shown, per_task=True, width=width).splitlines()
        words = {word for line in lines for word in line.split()}
        _, *tables = to_markdown(shown, View(per_task=True)).split("**Scores")
        scores = {cell.strip(" *") for table in tables for line in table.splitlines() for cell in line.split("|")[2:-1]}
        assert {score for score in scores if "±" in score} <= words
        assert scores
        told = "".join("".join(lines).split())
        for standing in shown.standings:
            for end in (2, 4):
                assert f"{standing.profile.area(end):.3f}" in words or f"Areaτ≤{end}" in told
        if width >= 80:
            assert max(map(len, lines)) <= width


def test_json_holds_everything_and_is_strict(board: Board, paper: Mapping[str, ResultFile]) -> None:
    content = json.loads(json.dumps(to_json(board, paper), allow_nan=False))
    assert [entry["method"] for entry in content["methods"]][:2] == ["amber", "gaea"]
    gaea = content["methods"][1]
    assert (gaea["median_rank"], gaea["n_tasks"], gaea["partial"]) == (1.5, 10, False)
    assert gaea["improvement"] == pytest.approx(0.2008, abs=1e-4)
    assert gaea["tasks"]["spherical"] | {"notes": []} == {
        "score": 48.23,
        "error": 48.23,
        "std": 2.87,
        "n_seeds": 3,
        "n_failed": 0,
        "notes": [],
        "rank": 1.0,
    }
    assert content["baseline"] == "wrn"
    assert len(content["tasks"]) == 10
    for method, steps in content["profile"].items():
        (standing,) = [standing for standing in board.standings if standing.line.id == method]
        again = Profile(tuple(steps["tau"]), tuple(steps["rho"]), standing.profile.ratios)
        assert again == standing.profile
        assert steps["area"] == steps["areas"]["4"] == standing.profile.area(4)


def test_infinite_values_are_null_in_json(hostile: tuple[Board, dict[str, ResultFile]]) -> None:
    board, files = hostile
    content = json.loads(json.dumps(to_json(board, files), allow_nan=False))
    failed = content["methods"][1]["tasks"]["darcy_flow"]
    assert (failed["error"], failed["score"], failed["n_failed"], failed["rank"]) == (None, None, 1, 2.0)
    assert content["not_ranked"][0]["conditions"] == ["synthetic"]
    assert content["not_ranked"][0]["tasks"]["ecg"]["of"] == 1


def test_what_it_was_made_from_does_not_depend_on_order(paper: Mapping[str, ResultFile]) -> None:
    forward, backward = generated_from(list(paper.values())), generated_from(list(paper.values())[::-1])
    assert forward == backward
    assert forward["files"] == 7
    assert generated_from(list(paper.values())[1:])["sha256"] != forward["sha256"]


def test_csv_has_a_line_for_every_method(board: Board) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert [row["method"] for row in rows] == [standing.line.id for standing in board.standings]
    (gaea,) = [row for row in rows if row["method"] == "gaea"]
    assert (float(gaea["median_rank"]), float(gaea["score_cosmic"])) == (1.5, 31.15)
    (amber,) = [row for row in rows if row["method"] == "amber"]
    assert amber["score_cosmic"] == ""


def test_a_spreadsheet_takes_nothing_for_a_formula(hostile: tuple[Board, dict[str, ResultFile]]) -> None:
    for row in csv.reader(io.StringIO(to_csv(hostile[0]))):
        assert not any(cell.startswith(("=", "+", "@", "\t")) for cell in row)


def test_terminal_shows_foreign_names_as_they_are(hostile: tuple[Board, dict[str, ResultFile]]) -> None:
    text = _terminal(hostile[0], per_task=True, width=300)
    assert HOSTILE in text
    assert "failed (1/1)" in text


def test_markdown_shows_foreign_names_as_they_are(hostile: tuple[Board, dict[str, ResultFile]]) -> None:
    text = to_markdown(hostile[0], View(per_task=True))
    assert "<script>" not in text.replace("\\<script\\>", "")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows if HOSTILE[1:4] in line} <= {6, 7, 8}
    assert escape_markdown("a|b\n[c]") == "a\\|b \\[c\\]"


def test_one_task_is_a_plain_ranking(
    paper: Mapping[str, ResultFile], specs: Mapping[str, TaskSpec], make_file: Any, make_row: Any
) -> None:
    own = make_file("mine", [make_row("darcy_flow", 0.06, provenance="generated", budget="small")])
    table = build_table({**paper, "own": own}, specs, tasks=["darcy_flow"])
    text = _terminal(rank(table))
    assert "Leaderboard on darcy_flow" in text
    assert "Not ranked, for the conditions differ" in text
    (line,) = [line.split() for line in text.splitlines() if "mine" in line]
    assert line == ["mine", "(small,", "generated)", "darcy_flow", "0.060", "1", "3", "of", "7"]
    (line,) = [line.split() for line in _terminal(rank(table, include=MARKS)).splitlines() if "mine" in line]
    assert line[3:6] == ["3", "0.060", "1"]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_profile_is_drawn_the_same_every_time(suffix: str, board: Board, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    assert plot_profile(board, first) == 0
    plot_profile(board, second)
    content = first.read_bytes()
    assert content == second.read_bytes()
    if suffix == ".png":
        width, height = struct.unpack(">II", content[16:24])
        assert width > 1200 < 2 * height
    elif suffix == ".svg":
        assert b"DARTS" in content or b"path" in content
    else:
        assert content.startswith(b"%PDF")


def test_names_are_no_formulas_in_a_picture(hostile: tuple[Board, dict[str, ResultFile]], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot_profile(hostile[0], tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 5000


@pytest.mark.parametrize("worst", [0.0, 1e-6, 0.5, 100.0])
def test_any_spread_of_errors_can_be_drawn(
    worst: float, specs: Mapping[str, TaskSpec], make_file: Any, make_row: Any, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    files = {name: make_file(name, [make_row("cifar100", score)]) for name, score in [("a", worst), ("b", 0.5)]}
    table = build_table(files, specs)
    for tau_max in (1.01, 4.0, 1e6):
        assert plot_profile(rank(table, tau_max=tau_max), tmp_path / "a.png") == 0


def test_too_many_lines_are_told(specs: Mapping[str, TaskSpec], make_file: Any, make_row: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    files = {str(k): make_file(f"m{k}", [make_row("ecg", 0.5 + k / 100)]) for k in range(MAX_LINES + 3)}
    assert plot_profile(rank(build_table(files, specs)), tmp_path / "a.png") == 3


def test_a_picture_needs_its_suffix_and_something_to_draw(
    board: Board, specs: Mapping[str, TaskSpec], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(UserError, match=r"a plot is written as \.png, \.svg, \.pdf"):
        plot_profile(board, tmp_path / "a.gif")
    with pytest.raises(UserError, match="nothing to draw"):
        plot_profile(rank(build_table({}, specs)), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_extra_is_named(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nas360\[plots\]'"):
        plot_profile(board, tmp_path / "a.png")


def test_ranking_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, nas360.cli.leaderboard as c; c.leaderboard(results=None, panel='paper', tasks='', methods='', "
        "baseline=None, include='', per_task=True, format_=None, as_json=False, out=None, plot=None); "
        # the tests of significance need scipy, and nothing else does
        "heavy = ('torch', 'datasets', 'pandas', 'matplotlib', 'sklearn', 'pyarrow'); "
        "sys.exit(str([m for m in heavy if m in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() in ("", "[]"), done.stderr
