"""`nas360 rescore` as a user calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nas360.cli import main
from nas360.leaderboard.submission.entries import write_content
from nas360.results import load_result

Run = Callable[..., tuple[int, str, str]]
MakeRun = Callable[..., Path]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command: exit code, output, errors."""

    def command(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["rescore", *map(str, arguments)])
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return command


def state(path: Path, score: float) -> None:
    content = json.loads(path.read_text())
    content["results"][0]["score"] = score
    write_content(path, content)


def test_what_holds_and_what_moved(run: Run, scored_run: MakeRun, tmp_path: Path) -> None:
    path = scored_run(seeds=(0, 1), method={"display_name": "[red]x[/red]"})
    code, out, _ = run(tmp_path)
    assert code == 0 and "2 rows: 2 same, 0 moved, 0 not re-scored, 0 with a fault; 0 files written" in out
    state(path, 40.0)
    before = path.read_bytes()
    code, out, _ = run(tmp_path)
    assert code == 0 and "1 same, 1 moved" in out and "my_method" in out and path.read_bytes() == before
    code, _, err = run(tmp_path, "--check")
    assert code == 2 and "1 of 2 rows moved" in err
    code, out, _ = run(tmp_path, "--write", "--json")
    told = json.loads(out)
    assert code == 0 and told["written"] == [str(path)] and told["counts"]["moved"] == 1
    row = told["rows"][0]
    assert row["old"] == 40.0 and row["difference"] == row["new"] - 40.0
    assert load_result(path).results[0].score == row["new"]  # type: ignore[union-attr]
    assert run(tmp_path, "--check")[0] == 0


def test_ranks_that_change_are_shown(run: Run, scored_run: MakeRun, tmp_path: Path) -> None:
    scored_run("a", wrong=0.2, method={"name": "first"})
    bad = scored_run("b", wrong=0.5, method={"name": "second"})
    state(bad, 0.0)  # it would be the best
    code, out, _ = run(tmp_path, "--panel", "none", "--json")
    ranks = {move["line"].partition("@")[0]: move for move in json.loads(out)["ranks"]}
    assert code == 0
    assert (ranks["second"]["old_place"], ranks["second"]["new_place"]) == (1, 2)
    assert (ranks["first"]["old_median"], ranks["first"]["new_median"]) == (2.0, 1.0)
    assert "1 → 2" in run(tmp_path, "--panel", "none")[1]


def test_rows_that_cannot_be_scored_are_listed(run: Run, scored_run: MakeRun, tmp_path: Path) -> None:
    path = scored_run()
    (path.parent / "predictions-seed0.npz").unlink()
    code, out, _ = run(tmp_path)
    assert code == 0 and "not re-scored, 1 of them" in out and "results/0: its predictions are not there" in out


def test_a_status_without_predictions_does_not_pass_a_check(run: Run, scored_run: MakeRun, tmp_path: Path) -> None:
    path = scored_run()
    (path.parent / "predictions-seed0.npz").unlink()
    assert run(tmp_path, "--check")[0] == 0
    content = json.loads(path.read_text())
    write_content(path, content | {"submission": content["submission"] | {"status": "rescored"}})
    code, _, err = run(tmp_path, "--check")
    assert code == 2 and "its predictions are not there, but the submission's status is 'rescored'" in err


def test_a_fault_leaves_with_2(run: Run, scored_run: MakeRun, tmp_path: Path) -> None:
    path = scored_run()
    (path.parent / "predictions-seed0.npz").write_bytes(b"else")
    code, out, err = run(tmp_path, "--json")
    assert code == 2 and json.loads(out)["counts"]["fault"] == 1
    assert "the predictions are not those of their rows, 1 of them" in err and "predictions/sha256" in err


def test_what_is_given_wrong_is_told(run: Run, tmp_path: Path) -> None:
    for arguments, message in [
        ((tmp_path,), "no result files below this folder"),
        ((tmp_path, "--panel", "papr"), "Did you mean 'paper'"),
        ((tmp_path, "--tolerance", "nan"), "must be a finite number"),
    ]:
        code, out, err = run(*arguments)
        assert (code, out) == (2, "") and message in err
