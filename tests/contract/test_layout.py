"""The shape of the package: what is listed is what is there, arrows point one way, and nothing heavy loads early."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nas360.cli import COMMANDS

MAPPED = {"nas360": "nas360", "nas360.loaders": "loaders", "nas360.baselines": "baselines"} | {
    "nas360.bench": "bench",
    "nas360.leaderboard": "leaderboard",
    "nas360.dataset_cards": "dataset_cards",
}


def test_listed_packages_are_the_folders_that_hold_an_init(repository: Path) -> None:
    settings = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = set()
    for package, folder in MAPPED.items():
        for init in (repository / folder).rglob("__init__.py"):
            inside = init.parent.relative_to(repository / folder).parts
            if package == "nas360" and inside and f"nas360.{inside[0]}" in MAPPED:
                continue  # a link to one of the others
            found.add(".".join((package, *inside)))
    assert set(settings["packages"]) == found
    assert settings["package-dir"] == MAPPED


def test_links_lead_to_the_top_folders(repository: Path) -> None:
    for folder in ("loaders", "baselines", "bench", "leaderboard", "dataset_cards"):
        link = repository / "nas360" / folder
        assert link.is_symlink()
        assert link.resolve() == (repository / folder).resolve()


def test_top_level_is_the_users(repository: Path) -> None:
    found = subprocess.run(["git", "ls-files"], cwd=repository, capture_output=True, text=True, check=True)
    allowed = {"nas360", "dataset_cards", "loaders", "baselines", "bench", "leaderboard", "tests"}
    allowed |= {"pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile"}
    allowed |= {".gitignore", ".ci"}
    assert {path.split("/")[0] for path in found.stdout.split()} <= allowed


def test_layers_point_one_way(repository: Path) -> None:
    found = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=repository, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(
    "statement",
    [
        "import nas360",
        "import nas360.leaderboard",
        "import nas360.results",
        "from nas360.loaders import TASKS; [TASKS[name] for name in TASKS]",
        "import nas360.cli",
    ],
)
def test_light_imports_stay_light(statement: str) -> None:
    heavy = ["torch", "datasets", "timm", "pandas", "sklearn", "h5py", "pyarrow", "scipy", "matplotlib"]
    code = f"import sys; {statement}; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_no_task_is_named_in_a_condition_outside_the_loaders(repository: Path) -> None:
    from nas360.loaders import TASKS

    names = "|".join(TASKS)
    condition = re.compile(rf"""(==|!=|\bin\b|\bcase\b)\s*[(\[{{]?\s*["']({names})["']|["']({names})["']\s*(==|!=)""")
    faults = []
    for folder in ("nas360", "baselines", "bench", "leaderboard"):
        for path in (repository / folder).rglob("*.py"):
            inside = path.relative_to(repository).parts
            if inside[0] == "nas360" and inside[1] in ("loaders", "baselines", "bench", "leaderboard", "dataset_cards"):
                continue
            for number, line in enumerate(path.read_text().splitlines(), start=1):
                if condition.search(line):
                    faults.append(f"{path.relative_to(repository)}:{number}: {line.strip()}")
    assert not faults


def test_every_command_exists_and_says_what_the_table_says() -> None:
    import importlib

    for name, (target, summary) in COMMANDS.items():
        module, _, attribute = target.partition(":")
        function = getattr(importlib.import_module(module), attribute)
        assert function.__doc__, name
        assert "Examples:" in function.__doc__, name
        assert summary.endswith("."), name


def test_files_have_a_reasonable_length(repository: Path) -> None:
    lengths = {}
    for folder in ("nas360/cli", "loaders", "baselines", "bench", "leaderboard"):
        for path in (repository / folder).rglob("*.py"):
            lengths[str(path.relative_to(repository))] = len(path.read_text().splitlines())
    for path in (repository / "nas360").glob("*.py"):
        lengths[f"nas360/{path.name}"] = len(path.read_text().splitlines())
    assert {path: length for path, length in lengths.items() if length > 450} == {}
