"""`nas360 leaderboard` as it is typed."""

from __future__ import annotations

import csv
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nas360.cli import main
from nas360.cli.leaderboard import leaderboard
from nas360.leaderboard.profiles import TAU_MAX
from nas360.leaderboard.stats.statistics import analyse
from nas360.leaderboard.table import MARKS
from nas360.loaders import TASKS
from nas360.results import load_result, save_result

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "results" / "v1.0-full.json"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """`nas360 leaderboard …` in this process, which saves half a second a call."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as end:
            main(["leaderboard", *arguments])
        out, err = capfd.readouterr()
        return Done(int(end.value.code or 0), out, err)

    return call


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with one run of `wrn`: small budget, generated Darcy Flow."""
    result = load_result(FIXTURE)
    spec = TASKS["darcy_flow"].spec
    row = result.results[0].model_dump()
    row["metric"] = {"id": spec.metric, "lower_is_better": True, "unit": spec.unit, "min": 0.0, "max": None}
    row |= {"task": "darcy_flow", "budget": "small", "score": 0.05, "validation_score": 0.05}
    row |= {"n_evaluated": 10, "n_missing": 0, "fold": None, "replicate": 0}
    row["dataset"] |= {"n": 10, "provenance": "generated", "revision": None}
    content: dict[str, Any] = result.model_dump(by_alias=True) | {"results": [row]}
    content["method"] |= {"name": "wrn", "display_name": None}
    save_result(
        tmp_path / "runs" / "wrn" / "darcy_flow" / "seed0" / "result.json", type(result).model_validate(content)
    )
    return tmp_path / "runs"


def test_the_paper_by_default(run: Run) -> None:
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert "DARTS (GAEA)" in done.stdout
    assert "20.1%" in done.stdout


def test_json_is_for_programs(run: Run) -> None:
    done = run("--panel", "paper", "--format", "json")
    content = json.loads(done.stdout)
    assert {entry["method"]: entry["median_rank"] for entry in content["methods"]} == {
        "amber": 1.0,
        "gaea": 1.5,
        "wrn_asha": 3.5,
        "wrn": 4.0,
        "densenas": 4.0,
        "densenas_random": 4.0,
        "autodl": 6.0,
    }
    assert set(content["profile"]) == {entry["method"] for entry in content["methods"]}
    assert json.loads(run("--json").stdout) == content


def test_own_results_stand_beside_the_panel(run: Run, own: Path) -> None:
    done = run(str(own))
    assert done.returncode == 0
    assert "WRN-16-4 (small, generated)" in done.stdout
    assert "3 of 7" in done.stdout
    assert "not ranked: wrn@small,generated. --include generated,small ranks them too" in done.stderr
    done = run(str(own), "--tasks", "darcy_flow", "--include", "small,generated", "--json")
    assert done.stderr == ""
    methods = json.loads(done.stdout)["methods"]
    assert [entry["method"] for entry in methods][:3] == ["gaea", "autodl", "wrn@small,generated"]


def test_only_own_results(run: Run, own: Path) -> None:
    done = run(str(own), "--panel", "none", "--include", "all", "--baseline", "wrn", "--json")
    (entry,) = json.loads(done.stdout)["methods"]
    assert (entry["median_rank"], entry["improvement"]) == (1.0, 0.0)


def test_files_are_written(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run("--out", "board.csv", "--plot", "profile.svg")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with (tmp_path / "board.csv").open(encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == 7
    assert (tmp_path / "profile.svg").stat().st_size > 5000
    assert run("--out", "board.md").returncode == 0
    assert (tmp_path / "board.md").read_text(encoding="utf-8").startswith("**Leaderboard over 10 tasks**")
    assert run("--out", "board.txt", "--tau-max", "8").returncode == 0
    assert "τ≤8" in (tmp_path / "board.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "egc"], "unknown task 'egc'. Did you mean 'ecg'?"),
        (["--methods", "x"], "no result of method 'x'"),
        (["--panel", "papre"], "unknown panel 'papre'. Did you mean 'paper'? Known: paper, published, none"),
        (["--baseline", "x"], "no ranked method 'x'"),
        (["--include", "tiny"], "no condition 'tiny'"),
        (["--tau-max", "1"], "finite number above 1"),
        (["--draws", "-1"], "-1 draws of the bootstrap"),
        (["--seed", "-1"], "the seed of the bootstrap is -1"),
        (["--plot", "a.png", "--plot-kind", "costs"], "no picture 'costs'. Did you mean 'cost'?"),
        (["--plot-kind", "cost"], "--plot-kind cost without --plot"),
        (["--plot", "a.gif"], "a plot is written as .png, .svg, .pdf"),
        (["absent.json"], "absent.json: no such file or folder"),
        (["--format", "yaml"], "yaml"),
    ],
)
def test_wishes_that_cannot_be_met(arguments: list[str], message: str, run: Run) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_bad_files_are_all_told_at_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text(
        FIXTURE.read_text(encoding="utf-8").replace('"seed": 1', '"sede": 1'), encoding="utf-8"
    )
    (tmp_path / "c.json").write_text("[bold]")
    done = run("a.json", "b.json", "c.json")
    assert done.returncode == 2
    for part in (
        "a.json: not JSON",
        "b.json: not a valid",
        "/results/1/sede: unknown key; did you mean 'seed'?",
        "c.json",
    ):
        assert part in done.stderr


def test_other_json_is_passed_over_with_one_warning(run: Run, own: Path) -> None:
    (own / ".git").mkdir()
    (own / ".git" / "a.json").write_text("{")
    for number in range(5):
        (own / f"other{number}\x1b.json").write_text("[]")
    done = run(str(own))
    assert done.returncode == 0
    assert "WRN-16-4 (small, generated)" in done.stdout
    told = [line for line in done.stderr.splitlines() if "passed over" in line]
    names = ", ".join(f"{own}/other{number}?.json" for number in range(3))
    assert told == [f"warning: passed over 5 JSON files that are no results: {names} and 2 more"]
    (own / "bad.json").write_text('{"schema_version": "9"}')
    done = run(str(own))
    assert done.returncode == 2
    assert "bad.json" in done.stderr
    assert "schema_version is '9'" in done.stderr
    assert done.stdout == ""


def test_no_score_is_cut_at_eighty_columns(run: Run, own: Path) -> None:
    done = run(str(own), "--include", "all", "--per-task")
    for score in ("0.026±0.001", "0.066±0.000", "85.77±0.71"):
        assert score in done.stdout.split()
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_uncertainty_stands_beside_the_ranks(run: Run) -> None:
    done = run()
    header = " ".join(" ".join(done.stdout.splitlines()[2:4]).split())
    assert "95 %" in header and "Tie" in header
    (gaea,) = [line.split() for line in done.stdout.splitlines() if "GAEA" in line]
    low, high = map(float, gaea[3].split("\N{EN DASH}"))
    assert low <= 1.5 <= high
    told = " ".join(done.stdout.split())
    assert "Left out, for they need more than 80 columns" in told
    assert "Not separable" in told
    assert (
        "with 10 tasks and the 5 methods that ran all of them, mean ranks closer than 1.93 are not told apart" in told
    )
    assert "Missing tasks: on each task" in told
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_bootstrap_is_seeded_and_can_be_left_out(run: Run) -> None:
    first, again = run("--draws", "50", "--json").stdout, run("--draws", "50", "--json").stdout
    assert first == again
    content = json.loads(first)["statistics"]
    assert (content["draws"], content["seed"]) == (50, 0)
    assert json.loads(run("--draws", "50", "--seed", "3", "--json").stdout)["statistics"]["seed"] == 3
    bare = json.loads(run("--draws", "0", "--json").stdout)["statistics"]
    assert (bare["draws"], bare["rank_interval"], bare["tie_group"]) == (0, {}, {})
    assert bare["friedman"] == content["friedman"]
    assert "95 %" not in run("--draws", "0").stdout


def test_stability_and_pairs_on_demand(run: Run) -> None:
    plain = run("--draws", "20").stdout
    assert "Stability" not in plain and "Pairs" not in plain
    for form in ("table", "markdown"):
        text = run("--draws", "20", "--stability", "--pairs", "--format", form).stdout
        assert "Stability: median rank when one is left out" in text
        assert "Median rank without the task" in text
        assert "Pairs of methods over the tasks that both ran" in text


def test_the_published_panel_has_experts(run: Run) -> None:
    done = run("--panel", "published", "--draws", "20", "--json")
    assert done.returncode == 0
    assert {"expert", "gaea", "wrn"} <= {entry["method"] for entry in json.loads(done.stdout)["methods"]}


@pytest.mark.parametrize(
    ("name", "start"), [("board.tex", "% made by nas360"), ("board.html", "<!doctype html>"), ("board.json", "{")]
)
def test_the_name_tells_the_form(name: str, start: str, run: Run, tmp_path: Path) -> None:
    assert run("--draws", "20", "--out", name).returncode == 0
    assert (tmp_path / name).read_text(encoding="utf-8").lower().startswith(start)


def test_pictures_of_all_kinds(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run("--draws", "5", "--plot", "a.svg", "--plot-kind", "all", "--tasks", "ecg")
    assert done.returncode == 0
    assert "a-critical-difference.svg: no critical difference to draw" in done.stderr
    assert (tmp_path / "a-profile.svg").exists() and not (tmp_path / "a-critical-difference.svg").exists()
    done = run("--draws", "5", "--plot", "b.svg", "--plot", "c.pdf", "--plot-kind", "critical-difference")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "b.svg").exists() and (tmp_path / "c.pdf").exists()
    done = run("--draws", "5", "--plot", "d.svg", "--plot-kind", "critical-difference", "--tasks", "ecg")
    assert done.returncode == 2
    assert "no critical difference to draw" in done.stderr


def test_defaults_are_those_of_the_library() -> None:
    given, ours = inspect.signature(leaderboard).parameters, inspect.signature(analyse).parameters
    assert given["tau_max"].default == TAU_MAX
    assert (given["draws"].default, given["seed"].default) == (ours["draws"].default, ours["seed"].default)


def test_help_shows_examples(run: Run) -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "nas360 leaderboard runs/ --per-task" in done.stdout
    assert "default: (" not in done.stdout
    assert all(mark in done.stdout for mark in MARKS)
