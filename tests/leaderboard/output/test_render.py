"""Tables, Markdown, CSV and JSON; and that foreign names do no harm in any of them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas360.leaderboard.board import Board, rank
from nas360.leaderboard.output.render import (
    View,
    escape_markdown,
    generated_from,
    harmless,
    to_csv,
    to_json,
    to_latex,
    to_markdown,
    to_rich,
)
from nas360.leaderboard.output.statistics_text import not_separable, pair_table, stability_tables
from nas360.leaderboard.output.tables import main_table
from nas360.leaderboard.output.text import narrowed
from nas360.leaderboard.page import page
from nas360.leaderboard.profiles import Profile
from nas360.leaderboard.stats.statistics import Statistics, analyse
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


def test_own_results_on_some_tasks_bear_an_asterisk_in_every_form(
    specs: Mapping[str, TaskSpec], make_file: Callable[..., ResultFile], make_row: Callable[..., dict[str, Any]]
) -> None:
    def scored(task: str) -> float:
        spec = specs[task]
        return 0.5 if spec.bounds[1] in (None, 1.0) else 20.0

    files = {
        "some": make_file("mine", [make_row(task, scored(task)) for task in ("ecg", "satellite")], display_name="Mine"),
        "all": make_file("base", [make_row(task, scored(task)) for task in specs], run_id="2", display_name="Base"),
        "alone": make_file("lone", [make_row("ecg", 0.4)], run_id="3", display_name="Lone"),
    }
    board = rank(build_table(files, specs), baseline="base")
    forms = {
        "table": _terminal(board, width=120),
        "markdown": to_markdown(board).replace("\\", "").replace("|", " "),
        "latex": to_latex(board).replace("{*}", "*").replace("&", " ").replace("\\", ""),
    }
    for form, text in forms.items():
        lines = {line.split()[0]: line.split() for line in text.splitlines() if line.split()[:1]}
        assert (lines["Mine"][1], lines["Mine"][-2:]) == ("1.5*", ["on", "2"]), form
        assert (lines["Lone"][1], lines["Lone"][-2:]) == ("3.0*", ["on", "1"]), form
        assert (lines["Base"][1], lines["Base"][-1]) == ("1.0", "all"), form
        assert not any("*" in word for word in lines["Base"]), form
        assert "over the tasks that the method ran" in " ".join(text.split()), form
    html = page(board)
    assert "<td>on 2</td>" in html and html.count("<td>on 1</td>") == 1 and html.count("<td>all</td>") == 1
    # a method without a gain has none to star
    assert "-*" not in to_markdown(rank(build_table(files, specs), baseline="lone")).replace("\\", "")


def test_the_footnote_on_areas_names_the_ends_of_both_columns(board: Board) -> None:
    assert "up to 2 and 4 times the best error" in to_markdown(board)
    assert "up to 1.5 times the best error" in to_markdown(rank(board.table, tau_max=1.5))


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
    # the name of a metric parts after an underscore, and not anywhere
    text = _terminal(rank(build_table(paper, specs, tasks=["ecg"])), width=80)
    assert {"macro_f1_by_", "record"} <= set(text.split())


def test_statistics_are_in_json_and_csv(board: Board, paper: Mapping[str, ResultFile]) -> None:
    statistics = analyse(board, 50)
    content = json.loads(json.dumps(to_json(board, paper, statistics), allow_nan=False))["statistics"]
    assert set(content) == {field.name for field in fields(Statistics)}
    assert content["rank_interval"]["gaea"] == list(statistics.rank_interval["gaea"])
    assert content["friedman"]["lines"] == list(statistics.friedman.lines if statistics.friedman else ())
    assert len(content["pairs"]) == 21
    assert to_json(board, paper)["statistics"] is None
    rows = list(csv.DictReader(io.StringIO(to_csv(board, statistics))))
    for row in rows:
        ends = statistics.rank_interval.get(row["method"])  # none for a line of too few tasks
        stated = (row["median_rank_low"], row["median_rank_high"])
        assert stated == ("", "") if ends is None else tuple(map(float, stated)) == ends
        assert row["tie_group"] == statistics.tie_group[row["method"]]


@given(st.text())
def test_no_text_is_a_formula_in_csv(text: str) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_NONNUMERIC).writerow([harmless(text)])
    (cell,) = next(csv.reader(io.StringIO(out.getvalue(), newline="")))
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", " "))
    assert cell.removeprefix("'") in " ".join(text.split()) or cell == " ".join(text.split())


def test_cells_of_csv_do_not_part_at_semicolons(hostile: tuple[Board, dict[str, ResultFile]]) -> None:
    board, _ = hostile
    first = replace(board.standings[0], line=replace(board.standings[0].line, name='a;=1+1,"b'))
    text = to_csv(replace(board, standings=(first,)))
    assert '"a;=1+1,""b"' in text


def test_columns_are_left_out_in_order_and_named(board: Board) -> None:
    table = main_table(board, analyse(board, 20))
    assert [table.header[index] for index in table.expendable] == [
        "Area\nτ≤2", "Mean\nrank", "Tasks", "Area\nτ≤4", "Better than\nwrn",
    ]  # fmt: skip
    shown = [len(narrowed(table, width)[0].header) for width in range(20, 140)]
    assert shown == sorted(shown)
    assert (shown[0], shown[-1]) == (4, 9)
    for width in range(20, 140):
        narrow, left_out = narrowed(table, width)
        assert sorted([*narrow.header, *left_out]) == sorted(table.header)
        assert {"Method", "Median\nrank", "95 %\ninterval", "Tie\ngroup"} <= set(narrow.header)


def test_what_is_not_separable_is_said() -> None:
    names = {"x": "X", "y": "Y", "z": "Z"}
    assert not_separable(names, {"x": "a", "y": "ab1", "z": "b1"}).endswith("a: X, Y; b1: Y, Z.")
    assert not_separable(names, {"x": "a", "y": "a", "z": "a"}).startswith("Not separable: none of the 3")
    assert not_separable(names, {"x": "a", "y": "b", "z": "c"}) == "All methods are told apart: no two share a letter."
    many = {f"{k}": f"M{k}" for k in range(12)}
    groups = dict.fromkeys(many, "a") | {"11": "b"}
    assert not_separable(many, groups).endswith("a: M0, M1, M2, M3, M4, M5, M6, M7 and 3 more.")


def test_with_few_tasks_ties_are_no_finding(paper: Mapping[str, ResultFile], specs: Mapping[str, TaskSpec]) -> None:
    for tasks, few in ((list(specs)[:5], True), (list(specs)[:6], False)):
        shown = rank(build_table(paper, specs, tasks=tasks))
        text = to_markdown(shown, View(analyse(shown, 20)))
        assert ("fewer than 6 tasks are too few to tell any two methods apart" in text) == few


def test_stability_names_what_moves_a_rank_most(board: Board) -> None:
    statistics = analyse(board, 5)
    summary, *full = stability_tables(board, statistics, None)
    rows = {row[0]: row[1:] for row in summary.rows}
    # without the task or method named, the median rank is at one end of the range
    for standing in board.standings:
        low, *high = rows[standing.line.name][1].split("\N{EN DASH}")
        moved = [ranks.get(standing.line.id) for ranks in statistics.without_task.values()]
        there = [rank for rank in moved if rank is not None]
        assert (float(low), float(high[0] if high else low)) == (min(there), max(there))
        task = rows[standing.line.name][2]
        if task != "none":
            furthest = max(there, key=lambda rank: abs(rank - standing.median_rank))
            distance = abs(statistics.without_task[task][standing.line.id] - standing.median_rank)
            assert distance == abs(furthest - standing.median_rank)
    assert sum(len(table.header) - 1 for table in full) == 10


def test_pairs_begin_with_the_surest(board: Board) -> None:
    statistics = analyse(board, 5)
    (table,) = pair_table(board, statistics)
    assert len(table.rows) == len(statistics.pairs) == 21
    p = [float(row[4]) for row in table.rows if row[4] != "-"]
    holm = [float(row[5]) for row in table.rows if row[5] != "-"]
    assert holm == sorted(holm)
    assert p[0] == min(p)
    (apart,) = [row for row in table.rows if row[0] == "AMBER : Auto-DeepLab"]
    assert apart[1:] == ["0", "0:0:0", "-", "-", "-"]
    (some,) = pair_table(board, statistics, most=3)
    assert some.rows == table.rows[:3]
    assert "Wins : ties : losses" in to_markdown(board, View(statistics, pairs=True))
    assert some.title.endswith("the 3 surest of 21, all in other formats")


def test_the_best_of_each_task_is_marked(board: Board) -> None:
    text = to_markdown(board, View(per_task=True))
    assert text.count("**48.23±2.87**") == 1
    assert len(re.findall(r"\| \*\*[\d.±]+\*\* ", text)) == 10


def test_ranking_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, nas360.cli.leaderboard as c; c.leaderboard(results=None, panel='paper', tasks='', methods='', "
        "baseline=None, include='', per_task=True, format_=None, as_json=False, out=None, plot=None); "
        "heavy = ('torch', 'datasets', 'scipy', 'pandas', 'matplotlib', 'sklearn', 'pyarrow'); "
        "sys.exit(str([m for m in heavy if m in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() in ("", "[]"), done.stderr
