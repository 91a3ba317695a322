"""The lock of the published table: current here, and its diff tells every kind of change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas360.leaderboard.board import rank
from nas360.leaderboard.sources import load_panel
from nas360.leaderboard.submission import lock
from nas360.leaderboard.submission.entries import write_content
from nas360.leaderboard.submission.lock import LOCK, check, differences, main, regenerate
from nas360.leaderboard.submission.send import write_folder
from nas360.leaderboard.submission.submit import prepare
from nas360.leaderboard.table import build_table


@pytest.fixture
def root(tmp_path: Path, repository: Path) -> Path:
    """A copy of the paper's panel, locked."""
    folder = tmp_path / "results"
    shutil.copytree(repository / "leaderboard" / "results" / "paper", folder / "paper")
    assert main(["--write", "--root", str(folder)]) == 0
    return folder


def test_the_published_table_is_what_its_files_give() -> None:
    assert check() == [], f"see {lock.command('--check')}"


def test_the_lock_holds_the_papers_table(specs: Any) -> None:
    held = lock.read_lock(lock.RESULTS / LOCK)["boards"]["paper"]["methods"]
    board = rank(build_table(load_panel("paper"), specs))
    assert list(held) == [standing.line.id for standing in board.standings]
    for place, standing in enumerate(board.standings, start=1):
        assert held[standing.line.id]["place"] == place
        assert held[standing.line.id]["median_rank"] == standing.median_rank
        assert held[standing.line.id]["mean_rank"] == pytest.approx(standing.mean_rank, abs=1e-9)
        assert held[standing.line.id]["improvement"] == pytest.approx(standing.improvement, abs=1e-9)


def change(path: Path, mean: float) -> None:
    content = json.loads(path.read_text())
    content["results"][0]["published"]["mean"] = mean
    write_content(path, content)


def test_another_number_fails_with_a_diff(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", "--root", str(root)]) == 0
    change(root / "paper" / "wrn.json", 99.0)
    assert main(["--check", "--root", str(root)]) == 2
    said = capsys.readouterr().err
    assert "inputs/paper/wrn.json: " in said and "boards/paper/methods/wrn/mean_rank: " in said and " → " in said
    assert "--write" in said and "differs from a regeneration in" in said
    assert main(["--write", "--root", str(root)]) == 0 and check(root) == []


def test_a_change_that_moves_no_rank_is_seen_too(root: Path) -> None:
    content = json.loads((root / "paper" / "wrn.json").read_text())
    write_content(root / "paper" / "wrn.json", content | {"notes": "another"})
    (found,) = check(root)
    assert found.startswith("inputs/paper/wrn.json: ")


def test_formatting_of_a_file_is_no_change(root: Path) -> None:
    path = root / "paper" / "wrn.json"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert check(root) == []


def test_files_that_come_and_go(root: Path) -> None:
    (root / "paper" / "gaea.json").unlink()
    found = check(root)
    assert any(line.startswith("inputs/paper/gaea.json: gone") for line in found)
    assert any(line.startswith("boards/paper/methods/gaea: gone") for line in found)


def test_entries_rank_beside_each_panel(root: Path, scored_run: Callable[..., Path]) -> None:
    from nas360.leaderboard.submission.rescore import Scorer

    write_folder(prepare([scored_run(suffix=".json")], Scorer()), root / "made")
    (root / "made" / "results").rename(root / "entries")
    (root / "made").rmdir()
    found = check(root)
    assert [line.partition(": ")[0] for line in found] == [
        "inputs/entries/my_method/run-1/result.json",
        "boards/paper+entries",
    ]
    made = regenerate(root)["boards"]["paper+entries"]
    # synthetic data and a small budget: shown, and never ranked
    assert made["methods"] == regenerate(root)["boards"]["paper"]["methods"]
    assert made["not_ranked"] == ["my_method@small,synthetic"]


def test_other_rules_are_another_lock(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "RULES", "2")
    assert check(root) == ['rules: "1" → "2"']


def test_rounding_from_one_machine_to_another_is_no_change() -> None:
    assert list(differences({"a": 0.1}, {"a": 0.1 + 1e-9})) == []
    assert list(differences({"a": [1, 2]}, {"a": [1, 3]})) == ["a: [ 1, 2 ] → [ 1, 3 ]"]


@pytest.mark.parametrize("content", ["{}", "[]", '{"lock_version": 2}', "nonsense", ""])
def test_what_is_no_lock_is_told(root: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (root / LOCK).write_text(content)
    assert main(["--check", "--root", str(root)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--write", "--root", str(tmp_path / "absent")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_one_of_two_options_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "--check" in capsys.readouterr().err
