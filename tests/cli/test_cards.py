"""`nas360 cards` as a maintainer calls it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nas360.cli import main
from nas360.loaders import TASKS
from nas360.loaders.repository.card_file import card_folder, read_card

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the cards."""
    copy = tmp_path / "checkout" / "dataset_cards"
    shutil.copytree(card_folder(), copy, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "checkout" / "pyproject.toml").touch()
    monkeypatch.setattr("nas360.loaders.repository.card_file.card_folder", lambda: copy)
    return copy


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["cards", *arguments])
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run


def spoil(folder: Path, task: str, old: str, new: str) -> None:
    text = read_card(task, folder)
    assert old in text
    (folder / f"{task}.md").write_text(text.replace(old, new), encoding="utf-8")


def test_all_cards_are_up_to_date(call: Call) -> None:
    code, out, err = call("--check")
    assert (code, out) == (0, ""), f"run `nas360 cards --write`\n{out}"
    assert f"{len(TASKS)} cards are up to date" in err


def test_drift_is_told_then_written(call: Call, folder: Path) -> None:
    before = read_card("ecg", folder)
    spoil(folder, "ecg", "| 853 |", "| 854 |")
    spoil(folder, "ecg", "ODC-By-1.0\n<!-- end -->", "MIT\n<!-- end -->")
    spoil(folder, "ecg", "a hand-held device", "some other device")  # prose, which is the author's
    code, out, err = call("ecg", "darcy_flow", "--check")
    assert code == 2
    assert out.startswith("ecg.md, splits:\n@@")
    assert "-| validation | 854 |  |" in out.splitlines()
    assert "+| validation | 853 |  |" in out.splitlines()
    assert "ecg.md, licence:" in out
    assert "darcy" not in out
    assert "2 blocks differ" in err
    assert "nas360 cards ecg --write" in err
    code, out, _ = call("ecg", "--check", "--json")
    assert code == 2
    assert list(json.loads(out)["ecg"]) == ["splits", "licence"]
    code, _, err = call("--write")
    assert (code, err.split()) == (0, ["wrote", "ecg.md"])
    assert read_card("ecg", folder) == before.replace("a hand-held device", "some other device")
    assert call("--check")[0] == 0


def test_a_missing_block_is_told_then_put_in_its_place(call: Call, folder: Path) -> None:
    before = read_card("ecg", folder)
    start = before.index("<!-- generated:metric -->")
    end = before.index("<!-- generated:differences -->")
    (folder / "ecg.md").write_text(before[:start] + before[end:], encoding="utf-8")
    code, out, err = call("ecg", "--check")
    assert (code, out) == (2, "ecg.md, metric:\nthe block is missing\n")
    assert "1 block differs" in err
    assert call("ecg", "--write")[0] == 0
    assert read_card("ecg", folder) == before


def test_a_card_is_printed_and_nothing_is_changed(call: Call, folder: Path) -> None:
    spoil(folder, "ecg", "| 853 |", "| 854 |")
    before = {path: path.read_bytes() for path in folder.glob("*.md")}
    code, out, _ = call("ecg")
    assert code == 0
    assert "| validation | 853 |" in out
    assert {path: path.read_bytes() for path in folder.glob("*.md")} == before


def test_an_installed_package_keeps_its_cards(call: Call, folder: Path) -> None:
    (folder.parent / "pyproject.toml").unlink()
    spoil(folder, "ecg", "| 853 |", "| 854 |")
    code, _, err = call("--write")
    assert code == 2
    assert "belong to an installed package" in err
    assert "| 854 |" in read_card("ecg", folder)
    # to look is allowed
    assert call("ecg", "--check")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--check", "--write"], "exclude each other"),
        (["ecg", "--json"], "give --check too"),
        (["ecgg"], "Did you mean 'ecg'?"),
    ],
)
def test_wrong_calls_are_refused(arguments: list[str], message: str, call: Call) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())


def test_a_faulty_card_is_told(call: Call, folder: Path) -> None:
    spoil(folder, "ecg", "<!-- end -->\n\n<!-- generated:columns -->", "<!-- generated:columns -->")
    code, _, err = call("ecg", "--write")
    assert code == 2
    assert "ecg.md" in err
    assert "block 'columns' begins inside block 'splits'" in err
