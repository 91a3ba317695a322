"""The README is run: every command and all Python in it, on synthetic twins in the places of the real files."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas360.baselines.method import METHODS, get_method
from nas360.cli import COMMANDS
from nas360.loaders import TASKS
from nas360.loaders.base import SYNTHETIC_MARK

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", TEXT, re.DOTALL)
LINES = [
    line.split("  #")[0].strip()
    for language, block in BLOCKS
    if language == ""
    for line in block.splitlines()
    if line.startswith("nas360 ")
]
# what would take minutes is shortened; nothing is left out
SHORTER = {"--generate": ["--train", "10", "--test", "1"], "small": ["--max-steps", "2"]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the raw files that the README speaks of."""
    folder = tmp_path_factory.mktemp("readme")
    for name, task in (("physionet", "ecg"), ("downloads", "cifar100"), ("fno", "darcy_flow")):
        TASKS[task].write_synthetic(folder / name, 0)
    # what --download would fetch is there already
    TASKS["ecg"].write_synthetic(folder / "home" / "raw" / "ecg", 0)
    (folder / "home" / "raw" / "ecg" / SYNTHETIC_MARK).unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("NAS360_DATA", str(folder / "home"))
        yield folder


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.timeout(400)
def test_every_command_works_in_the_order_of_the_text(place: Path) -> None:
    assert len(LINES) > 12
    assert {line.split()[1] for line in LINES} == {name.split()[0] for name in COMMANDS} - {"demo", "tasks"}
    for line in LINES:
        words = shlex.split(line)
        for mark, more in SHORTER.items():
            words += more if mark in words else []
        if "data/darcy_flow" in words and "prepare" in words:
            words.append("--overwrite")  # the README shows two ways to the same folder
        found = _run(sys.executable, "-m", *words)
        assert found.returncode == 0, f"{line}\n{found.stderr}"
    assert (place / "profile.pdf").stat().st_size > 1000


@pytest.fixture(scope="module")
def constant(place: Path) -> Path:
    """`constant.json` beside the data that it is for, whether or not the commands above have run here."""
    if not (place / "constant.json").exists():
        for line in (line for line in LINES if line.split()[1] in ("prepare", "dummy") and "data/ecg" in line):
            found = _run(sys.executable, "-m", *shlex.split(line))
            assert found.returncode == 0, found.stderr
    return place / "constant.json"


@pytest.mark.timeout(200)
@pytest.mark.usefixtures("constant")
def test_the_python_works() -> None:
    blocks = [block for language, block in BLOCKS if language == "python"]
    assert len(blocks) == 2
    for block in blocks:
        # a comment that shows a value is a promise
        checked = re.sub(
            r"^(\S.*?\S) +# (\['N.*\]|'macro.*'|\(3, 1, 1000\)).*$", r"assert \1 == \2", block, flags=re.MULTILINE
        )
        found = _run(sys.executable, "-W", "error::DeprecationWarning", "-c", checked)
        assert found.returncode == 0, found.stderr
    assert sum(block.count("# ['N") + block.count("# 'macro") + block.count("# (3") for block in blocks) == 3


def test_metric_py_works_as_told(place: Path, constant: Path) -> None:
    found = subprocess.run(
        [sys.executable, "metric.py", constant], cwd=place / "data" / "ecg", capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr


def test_the_table_of_tasks_is_that_of_the_specs() -> None:
    for name in TASKS:
        spec = TASKS[name].spec
        about = "" if spec.splits_exact else "≈"
        sizes = " / ".join(f"{about}{spec.splits[split]:,}" for split in ("train", "validation", "test"))
        assert re.search(rf"^\| `{name}` \|.*\| {re.escape(sizes)} \|$", TEXT, re.MULTILINE), name


def test_the_table_of_searches_is_that_of_the_methods() -> None:
    searched = [name for name, method in METHODS.items() if method.search is not None]
    assert re.findall(r"^\| `(\w+)` \|.*\|.*\| (?:all|dense|1D) \|$", TEXT, re.MULTILINE) == searched
    for variant in re.findall(r"`((?!timm:)\w+:\w+)`", TEXT):
        get_method(variant)
