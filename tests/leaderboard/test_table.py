"""From result files to the table: averaging, rounding, failures, marks, and what is refused."""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from nas360.errors import ResultError, UnknownNameError, UserError
from nas360.leaderboard.board import rank
from nas360.leaderboard.profiles import profiles
from nas360.leaderboard.sources import find_files, load_files
from nas360.leaderboard.table import MARKS, build_table
from nas360.leaderboard.validation.places import check_places
from nas360.results import ResultFile, save_result
from nas360.task import TaskSpec

Specs = Mapping[str, TaskSpec]
MakeRow = Callable[..., dict[str, Any]]
MakeFile = Callable[..., ResultFile]


def test_seeds_are_averaged_before_the_error_is_rounded(specs: Specs, make_row: MakeRow, make_file: MakeFile) -> None:
    # F1: 0.574 and 0.584 have the mean 0.579, whose error 0.421 rounds to 0.42; rounding first would give 0.425
    rows = [make_row("ecg", 0.574, seed=0), make_row("ecg", 0.584, seed=1)]
    table = build_table({"a": make_file("m", rows)}, specs)
    cell = table.cells["m", "ecg"]
    assert cell.error == 0.42
    assert cell.score == pytest.approx(0.579)
    assert cell.std == pytest.approx(0.01 / math.sqrt(2))
    assert (cell.n_seeds, cell.n_failed) == (2, 0)


def test_replicates_are_averaged_within_their_seed(specs: Specs, make_row: MakeRow, make_file: MakeFile) -> None:
    rows = [
        make_row("ecg", score, seed=seed, replicate=k) for seed, k, score in [(0, 0, 0.5), (0, 1, 0.7), (1, 0, 0.9)]
    ]
    cell = build_table({"a": make_file("m", rows)}, specs).cells["m", "ecg"]
    assert cell.score == pytest.approx((0.6 + 0.9) / 2)
    assert cell.n_seeds == 2


def test_float_noise_ties_at_the_published_precision(specs: Specs, make_row: MakeRow, make_file: MakeFile) -> None:
    assert 0.1 + 0.2 != 0.3
    files = {
        "a": make_file("a", [make_row("darcy_flow", 0.1 + 0.2)]),
        "b": make_file("b", [make_row("darcy_flow", 0.3)]),
        "c": make_file("c", [make_row("darcy_flow", 0.30049)]),
    }
    table = build_table(files, specs, tasks=["darcy_flow"])
    assert [cell.error for cell in table.cells.values()] == [0.3] * 3
    assert [steps(1) for steps in profiles(table.errors(table.lines))] == [1.0] * 3
    assert {standing.median_rank for standing in rank(table).standings} == {2.0}


def test_a_failed_seed_is_infinite_and_a_repetition_mends_it(
    specs: Specs, make_row: MakeRow, make_file: MakeFile
) -> None:
    failed = [make_row("ecg", 0.9, seed=0), make_row("ecg", None, seed=1)]
    mended = [*failed, make_row("ecg", 0.7, seed=1, replicate=1)]
    good = [make_row("ecg", 0.1, seed=0)]
    files = {name: make_file(name, rows) for name, rows in [("f", failed), ("m", mended), ("g", good)]}
    table = build_table(files, specs, tasks=["ecg"])
    assert table.cells["f", "ecg"].error == math.inf
    assert (table.cells["f", "ecg"].n_failed, table.cells["f", "ecg"].score) == (1, None)
    assert table.cells["m", "ecg"].score == pytest.approx(0.8)
    board = rank(table, baseline="g")
    assert [standing.line.id for standing in board.standings] == ["m", "g", "f"]
    assert board.standings[2].improvement == -math.inf
    assert board.standings[2].profile.area(1e6) == 0


def test_conditions_do_not_rank_unless_asked(specs: Specs, make_row: MakeRow, make_file: MakeFile) -> None:
    files = {
        "full": make_file("m", [make_row("darcy_flow", 0.2)]),
        "small": make_file("m", [make_row("darcy_flow", 0.1, budget="small", provenance="generated")]),
        "toy": make_file("m", [make_row("darcy_flow", 0.01, budget="smoke", provenance="synthetic")]),
    }
    table = build_table(files, specs)
    assert [line.id for line in table.lines] == ["m", "m@small,generated", "m@smoke,synthetic"]
    board = rank(table)
    assert [standing.line.id for standing in board.standings] == ["m"]
    assert [entry.line.id for entry in board.unranked] == ["m@small,generated", "m@smoke,synthetic"]
    assert board.unranked[0].places == {"darcy_flow": (1.0, 2)}
    # every condition of a line has to be let in
    assert len(rank(table, include=["small"]).standings) == 1
    assert len(rank(table, include=["small", "generated"]).standings) == 2
    assert len(rank(table, include=MARKS).standings) == 3


def test_the_place_it_would_have_is_the_rank_it_gets(
    specs: Specs, make_row: MakeRow, make_file: MakeFile, paper: Mapping[str, ResultFile]
) -> None:
    for score in (0.001, 0.026, 0.0705, 0.071, 0.5):
        own = make_file("mine", [make_row("darcy_flow", score, provenance="generated")])
        table = build_table({**paper, "own": own}, specs, tasks=["darcy_flow"])
        (entry,) = rank(table).unranked
        (standing,) = [line for line in rank(table, include=["generated"]).standings if line.line.id == entry.line.id]
        assert entry.places["darcy_flow"] == (standing.ranks["darcy_flow"], 7)


def test_an_own_run_of_a_published_method_is_a_line_of_its_own(
    specs: Specs, make_row: MakeRow, make_file: MakeFile, paper: Mapping[str, ResultFile]
) -> None:
    own = make_file("wrn", [make_row("ecg", 0.9)], version="7")
    table = build_table({"own": own, **paper}, specs)
    assert {line.id for line in table.lines if line.method.name == "wrn"} == {"wrn", "wrn@own"}
    board = rank(table)
    assert board.baseline == "wrn"
    assert next(line for line in table.lines if line.id == "wrn").paper
    assert rank(table, baseline="wrn@own").baseline == "wrn@own"


def test_names_stay_short_and_agree_with_the_panel(
    specs: Specs, make_row: MakeRow, make_file: MakeFile, paper: Mapping[str, ResultFile]
) -> None:
    own = {
        "a": make_file("wrn", [make_row("ecg", 0.9, budget="small")], display_name="Wide ResNet"),
        "b": make_file("m", [make_row("ecg", 0.9)], display_name="A name. " * 20),
        "c": make_file("n", [make_row("ecg", 0.9)], display_name="My method"),
    }
    names = {line.id: line.name for line in build_table({**own, **paper}, specs).lines}
    assert (names["wrn"], names["wrn@small"]) == ("WRN-16-4", "WRN-16-4 (small)")
    assert (names["m"], names["n"]) == ("m", "My method")


def test_no_line_is_shown_by_the_name_of_another_or_by_none(
    specs: Specs, make_row: MakeRow, make_file: MakeFile, paper: Mapping[str, ResultFile]
) -> None:
    own = {
        "a": make_file("mine", [make_row("ecg", 0.9)], display_name="darts (G\u0410EA)"),  # the first A is Cyrillic
        "b": make_file("one", [make_row("ecg", 0.9)], display_name="Twin"),
        "c": make_file("two", [make_row("ecg", 0.9)], display_name="Twin"),
        "d": make_file("blank", [make_row("ecg", 0.9)], display_name="\u00a0\u200b"),
    }
    for files in ({**own, **paper}, {**paper, **own}):
        names = {line.id: line.name for line in build_table(files, specs).lines}
        assert names["gaea"] == "DARTS (GAEA)"
        assert [names[line] for line in ("mine", "one", "two", "blank")] == ["mine", "one", "two", "blank"]


def test_versions_are_told_apart(specs: Specs, make_row: MakeRow, make_file: MakeFile) -> None:
    files = {version: make_file("m", [make_row("ecg", 0.5)], version=version) for version in ("1", "2")}
    assert {line.id for line in build_table(files, specs).lines} == {"m@1", "m@2"}


def test_other_contents_of_the_data_are_told(specs: Specs, make_row: MakeRow, make_file: MakeFile) -> None:
    rows = [make_row("ecg", 0.5, seed=0, content="a"), make_row("ecg", 0.5, seed=1, content="b")]
    (warning,) = build_table({"a": make_file("m", rows)}, specs).warnings
    assert "2 different contents of the data" in warning


def test_other_splits_are_left_out_and_told(specs: Specs, make_row: MakeRow, make_file: MakeFile) -> None:
    rows = [make_row("darcy_flow", 0.5, split="validation"), make_row("darcy_flow", 0.25)]
    table = build_table({"a": make_file("m", rows)}, specs)
    assert table.cells["m", "darcy_flow"].score == 0.25
    assert "split 'validation'; only the test split" in table.warnings[0]


def test_the_same_run_twice_is_refused(specs: Specs, make_row: MakeRow, make_file: MakeFile) -> None:
    content = make_file("m", [make_row("ecg", 0.5, seed=3)])
    with pytest.raises(ResultError, match=r"b: results/0 is the same run as one in a \(m, ecg, seed 3, replicate 0\)"):
        build_table({"a": content, "b": content}, specs)


def test_every_contradiction_comes_at_once(specs: Specs, make_row: MakeRow, make_file: MakeFile) -> None:
    wrong_unit = make_row("ecg", 0.5)
    wrong_unit["metric"] = {**wrong_unit["metric"], "unit": "percent"}
    files = {
        "a": make_file("m", [wrong_unit]),
        "b": make_file("m", [make_row("ecg", 0.5) | {"task": "ekg"}]),
        "c": make_file("m", [make_row("ecg", 0.5, n_missing=3)]),
    }
    with pytest.raises(ResultError, match="unit is 'percent'") as caught:
        build_table(files, specs)
    assert "b: results/0/task: unknown task 'ekg'. Did you mean 'ecg'?" in str(caught.value)
    assert "c: results/0/n_evaluated 853 + n_missing 3 is not dataset/n 853" in str(caught.value)


def test_choosing_tasks_and_methods(specs: Specs, paper: Mapping[str, ResultFile]) -> None:
    table = build_table(paper, specs, tasks=["ecg", "cifar100"], methods=["gaea", "wrn"])
    assert list(table.specs) == ["cifar100", "ecg"]
    assert {line.id for line in table.lines} == {"gaea", "wrn"}
    assert len(table.cells) == 4
    with pytest.raises(UnknownNameError, match=r"unknown task 'egc'\. Did you mean 'ecg'"):
        build_table(paper, specs, tasks=["egc"])
    with pytest.raises(UnknownNameError, match=r"no result of method 'x'\. The results given have: amber"):
        build_table(paper, specs, methods=["x"])


def test_impossible_wishes(specs: Specs, paper: Mapping[str, ResultFile]) -> None:
    table = build_table(paper, specs)
    with pytest.raises(UnknownNameError, match="no ranked method 'x' to be the baseline"):
        rank(table, baseline="x")
    with pytest.raises(UserError, match=r"no condition 'tiny' to include\. Known: small"):
        rank(table, include=["tiny"])
    for tau_max in (1.0, -3.0, math.inf, math.nan):
        with pytest.raises(UserError, match="finite number above 1"):
            rank(table, tau_max=tau_max)


def test_the_order_of_files_changes_nothing(specs: Specs, paper: Mapping[str, ResultFile]) -> None:
    files = list(paper.items())
    forward, backward = (rank(build_table(dict(order), specs)) for order in (files, files[::-1]))
    assert forward.standings == backward.standings


def test_folders_give_results_and_not_the_rest(
    tmp_path: Path, specs: Specs, make_row: MakeRow, make_file: MakeFile
) -> None:
    content = make_file("m", [make_row("ecg", 0.5)])
    run = tmp_path / "runs" / "m" / "ecg" / "seed0"
    save_result(run / "result.json", content)
    (run / "architecture.json").write_text("{}")
    (run / "predictions.json").write_text("{}")
    going = tmp_path / "runs" / "m" / "ecg" / "seed1"
    going.mkdir()
    (going / "architecture.json").write_text("{}")
    save_result(tmp_path / "runs" / "other.json", make_file("n", [make_row("ecg", 0.5)]))
    (tmp_path / "runs" / ".hidden.json").write_text("{")
    assert [path.name for path in find_files(tmp_path)] == ["other.json", "result.json"]
    twice = load_files([tmp_path, run / "result.json", tmp_path / "runs"])
    assert len(twice) == 2


def test_a_benchmark_gives_its_runs_and_nothing_else(
    tmp_path: Path, specs: Specs, make_row: MakeRow, make_file: MakeFile
) -> None:
    for name in ("bench.json", "leaderboard.json", "data/ecg/manifest.json", "data/ecg/info.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("{}")
    run = tmp_path / "runs" / "m" / "ecg" / "seed0"
    # below the runs these names are nothing special
    for path in (run / "result.json", run.with_name("data") / "result.json"):
        save_result(path, make_file("m", [make_row("ecg", 0.5)]))
    foreign: list[Path] = []
    assert sorted(load_files([tmp_path], foreign)) == sorted(map(str, tmp_path.rglob("result.json")))
    assert foreign == []
    report = check_places([tmp_path], specs)
    assert (len(report.files), report.foreign) == (2, ())
    # without a benchmark, a folder of that name is one like any other
    (tmp_path / "bench.json").unlink()
    load_files([tmp_path], foreign)
    assert {path.stem for path in foreign} == {"leaderboard", "manifest", "info"}


@pytest.fixture
def mixed(tmp_path: Path, make_row: MakeRow, make_file: MakeFile) -> Path:
    """A folder with one result and much else that ends in .json."""
    save_result(tmp_path / "run" / "result.json", make_file("m", [make_row("ecg", 0.5)]))
    for name, text in {
        "manifest.json": '{"files": [], "inner": {"schema_version": "1.0"}}',
        "generated.json": "{}",
        "list.json": "[]",
        "number.json": "1",
        "other_tool.json": '{"loss": NaN}',
        "lines.json": "{}\n{}\n",
        "large.json": "[" + "0," * (1 << 19) + "0]",
        "empty.json": "",
        "run/.hidden.json": "{",
        ".cache/result.json": "{",
        "run/.git/deep/result.json": "{",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    return tmp_path


FOREIGN = {"manifest", "generated", "list", "number", "other_tool", "lines", "large", "empty"}


def test_other_json_in_a_folder_is_passed_over_and_told(mixed: Path) -> None:
    foreign: list[Path] = []
    assert [Path(name).name for name in load_files([mixed], foreign)] == ["result.json"]
    assert {path.stem for path in foreign} == FOREIGN


@pytest.mark.parametrize("name", sorted(FOREIGN))
def test_a_file_that_is_named_is_never_passed_over(name: str, mixed: Path) -> None:
    path = mixed / f"{name}.json"
    for places in ([path], [mixed, path], [path, mixed]):
        with pytest.raises(ResultError, match=f"{name}\\.json") as caught:
            load_files(places)
        assert str(caught.value).count(path.name) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"schema_version": "9.0"}'),
        ("a.json", '{"schema_version": "1.0"}'),
        ("a.json", '{"schema_version": null}'),
        ("a.json", '{"schema_version": "1.0", "run_id'),
        ("a.json", '{"schema_version": "1.0", "score": NaN}'),
        ("a.json", '{"schema_version": "1.0", "notes": "' + "x" * (1 << 20) + '"}'),
        ("result.json", "{}"),
        ("result.json", ""),
    ],
)
def test_a_faulty_result_in_a_folder_is_an_error(name: str, text: str, mixed: Path) -> None:
    (mixed / "faulty").mkdir()
    (mixed / "faulty" / name).write_text(text)
    with pytest.raises(ResultError, match=f"faulty/{name}"):
        load_files([mixed])


def test_a_folder_of_other_json_alone_has_no_results(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    for places in ([tmp_path], [tmp_path, tmp_path]):
        with pytest.raises(ResultError, match="no result files below this folder, only 1 other JSON"):
            load_files(places)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes on this system")
def test_pipes_and_dead_links_are_no_files(mixed: Path) -> None:
    os.mkfifo(mixed / "pipe.json")
    (mixed / "dead.json").symlink_to(mixed / "nothing")
    (mixed / "loop").symlink_to(mixed)
    assert not {"pipe", "dead"} & {path.stem for path in find_files(mixed)}
    assert len(load_files([mixed])) == 1
    with pytest.raises(ResultError, match=r"pipe\.json: neither a regular file nor a folder"):
        load_files([mixed / "pipe.json"])
    with pytest.raises(ResultError, match=r"dead\.json: no such file or folder"):
        load_files([mixed / "dead.json"])


def test_a_file_that_vanishes_is_told(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas360.leaderboard.sources.find_files", lambda place: [place / "gone.json"])
    with pytest.raises(ResultError, match=r"gone\.json: cannot be read"):
        load_files([mixed])


@pytest.mark.parametrize("on", [True, False])
def test_collection_goes_on_as_before(on: bool, mixed: Path) -> None:
    was_on = gc.isenabled()
    frozen = gc.get_freeze_count()
    try:
        (gc.enable if on else gc.disable)()
        load_files([mixed])
        assert gc.isenabled() is on
        assert gc.get_freeze_count() == frozen
    finally:
        (gc.enable if was_on else gc.disable)()


def test_bad_files_are_all_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text("[]")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultError, match="not JSON") as caught:
        load_files([tmp_path / "a.json", tmp_path / "b.json", tmp_path / "empty", tmp_path / "absent"])
    for part in ("b.json: a result file is a JSON object", "empty: no result files", "absent: no such file or folder"):
        assert part in str(caught.value)


def test_seeds_and_costs_are_kept_for_the_statistics(make_file: MakeFile, make_row: MakeRow, specs: Specs) -> None:
    rows = [make_row("ecg", score, seed=seed) for seed, score in enumerate([0.25, 0.5, None])]
    rows.append(make_row("ecg", 0.75, seed=0, replicate=1))  # averaged with the first
    rows[0]["cost"] |= {"gpu_hours": 2.0}
    rows[1]["cost"] |= {"gpu_hours": 4.0}
    rows[1]["architecture"] = {"space": "a space", "params": 4}
    cell = build_table({"f": make_file("m", rows)}, specs).cells["m", "ecg"]
    assert cell.seeds == (0.5, 0.5, math.inf)
    assert cell.error == math.inf
    assert (cell.gpu_hours, cell.parameters) == (3.0, 2.0)  # of the runs that state it


def test_a_paper_has_no_seeds(paper: Mapping[str, ResultFile], specs: Specs) -> None:
    cell = build_table(paper, specs).cells["gaea", "cifar100"]
    assert (cell.seeds, cell.gpu_hours, cell.parameters) == ((), None, None)


def test_a_file_that_says_it_is_faulty_is_a_line_of_its_own(
    make_file: MakeFile, make_row: MakeRow, specs: Specs
) -> None:
    good = make_file("m", [make_row("ecg", 0.5)])
    bad = make_file("m", [make_row("psicov", 0.5)]).model_copy(update={"tags": ("faulty",)})
    lines = build_table({"good": good, "bad": bad}, specs).lines
    assert {line.id: line.marks for line in lines} == {"m": (), "m@faulty": ("faulty",)}
    assert [line.ranks(()) for line in lines] == [True, False]
