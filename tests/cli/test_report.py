"""`nas360 report`: where the page goes, and in which form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that has begun."""
    place = tmp_path / "runs" / "wrn" / "ecg" / "seed0"
    place.mkdir(parents=True)
    lines = ({"identity": {"method": "wrn", "task": "ecg", "seed": 0}}, {"step": 1, "loss": 0.5})
    (place / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return tmp_path / "runs"


def test_a_page_lies_in_the_folder_unless_told_otherwise(call: Call, folder: Path, tmp_path: Path) -> None:
    code, shown, told = call("report", folder)
    assert (code, shown, told) == (0, f"{folder / 'report.html'}\n", "")
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert call("report", folder, "--format", "markdown")[:2] == (0, f"{folder / 'report.md'}\n")
    assert (folder / "report.md").read_text().startswith("# nas360 report: runs\n")
    assert call("report", folder, "--out", tmp_path / "a.md")[0] == 0
    assert (tmp_path / "a.md").read_text() == (folder / "report.md").read_text()
    assert call("report", folder, "--out", tmp_path / "a.txt", "--format", "markdown")[0] == 0
    assert (tmp_path / "a.txt").read_text() == (folder / "report.md").read_text()


def test_what_cannot_be_reported_on_is_told(call: Call, folder: Path, tmp_path: Path) -> None:
    code, _, told = call("report", tmp_path / "none")
    assert code == 2 and "there is no such folder" in told
    code, _, told = call("report", folder, "--panel", "papre")
    assert code == 2 and "Did you mean 'paper'?" in told
