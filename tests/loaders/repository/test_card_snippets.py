"""The commands and the Python on every card are run, on the synthetic twin in the place of the data."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard

from nas360.cli import main
from nas360.loaders import TASKS
from nas360.loaders.repository.card_blocks import BLOCKS, Facts

Repo = Callable[[str], Path]
SHORT = ["--budget", "smoke", "--max-steps", "1"]


def blocks_of(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def perform(line: str, folder: Path) -> str:
    """One shell command of a card; `nas360` in this process, to save its start."""
    words = shlex.split(line, comments=True)
    out = io.StringIO()
    if words[0] == "python":
        found = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        return found.stdout
    assert words[0] == "nas360", line
    if words[1] == "run":
        words += SHORT
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as left:
        main([*words[1:], *(["--json"] if words[1] == "evaluate" else [])])
    assert not left.value.code, line
    return out.getvalue()


def python_works(text: str) -> None:
    blocks = blocks_of(text, "python")
    assert len(blocks) == 2
    for block in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            exec(compile(block, "card", "exec"), {"__name__": "card"})  # what the card shows, as a user would run it
        assert shown.getvalue().strip()


def commands_work(text: str, folder: Path, *, runs: bool) -> None:
    evaluating, running = (block.strip().splitlines() for block in blocks_of(text, "sh"))
    shown = {line.split()[1]: perform(line, folder) for line in evaluating}
    assert list(shown) == ["format", "dummy", "evaluate", f"{folder}/metric.py"]
    ours, alone = json.loads(shown["evaluate"]), json.loads(shown[f"{folder}/metric.py"])
    assert alone["score"] == pytest.approx(ours["score"], nan_ok=True)
    assert alone["n"] == ours["n"]
    if runs:
        for line in running:
            perform(line, folder)
        results = list(Path("runs").rglob("result.json"))
        assert len(results) == 1


def official_text(task: str, folder: Path) -> str:
    """The usage of the card in the source, with the twin's folder for what only the Hub has."""
    spec = TASKS[task].spec
    text = BLOCKS["usage"](Facts.of(TASKS[task]))
    address = f'"{spec.repo}", revision="{spec.revision}"'
    assert text.count(address) == 1
    return text.replace(address, f'"{folder}"').replace("FOLDER", str(folder))


@pytest.mark.parametrize("task", list(TASKS))
def test_what_the_card_shows_works(
    task: str, synthetic_repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = synthetic_repo(task)
    # where the commands look when no data is named
    monkeypatch.setenv("NAS360_DATA", str(folder.parent))
    monkeypatch.chdir(tmp_path)
    text = official_text(task, folder)
    python_works(text)
    commands_work(text, folder, runs=task == "ecg")


@pytest.mark.slow
@pytest.mark.parametrize("task", list(TASKS))
def test_the_runs_on_the_card_work(
    task: str, synthetic_repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = synthetic_repo(task)
    monkeypatch.setenv("NAS360_DATA", str(folder.parent))
    monkeypatch.chdir(tmp_path)
    commands_work(official_text(task, folder), folder, runs=True)


def test_what_the_readme_of_a_twin_shows_works(
    synthetic_repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = synthetic_repo("darcy_flow")
    monkeypatch.chdir(tmp_path)
    body = DatasetCard.load(folder / "README.md").text
    text = body[body.index("## Load and evaluate") :].replace("FOLDER", str(folder))
    python_works(text)
    commands_work(text, folder, runs=False)


def test_further_configurations_are_shown_as_they_load(synthetic_repo: Repo) -> None:
    from datasets import load_dataset

    folder = synthetic_repo("ninapro")
    body = DatasetCard.load(folder / "README.md").text
    assert 'full = load_dataset("FOLDER", "full", split="train")' in body
    assert len(load_dataset(str(folder), "full", split="train")) > len(load_dataset(str(folder), split="train"))
