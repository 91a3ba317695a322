"""The lock of the published leaderboard: its inputs' hashes and its numbers, so that no table changes unseen.

    python -m nas360.leaderboard.submission.lock --check    fails, with a diff, when a regeneration gives another table
    python -m nas360.leaderboard.submission.lock --write    accepts what a regeneration gives

A change of `leaderboard.lock.json` stands in the same commit as what caused it: a new entry, a number set right, or
rules that rank otherwise. So whoever reviews an entry sees what it does to the ranks of all others.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nas360.errors import Nas360Error, ResultError
from nas360.files import MIB, json_text, read_json, write_text
from nas360.leaderboard.board import Board, rank
from nas360.leaderboard.sources import find_files, load_files
from nas360.leaderboard.submission.entries import read_content
from nas360.leaderboard.submission.rescore import differs
from nas360.leaderboard.table import build_table
from nas360.results import ResultFile, digest
from nas360.task import TaskSpec

RULES = "1"
"""Version of the rules by which results rank. Raise it when the same results are meant to rank otherwise."""

LOCK = "leaderboard.lock.json"

ENTRIES = "entries"
"""The folder of submitted results, beside those of the panels."""

RESULTS = Path(__file__).resolve().parents[1] / "results"

_VERSION = 1
_DIGITS = 9
_TOLERANCE = 1e-8
"""Numbers may differ by rounding from one machine to another, and by no more."""


def regenerate(root: Path = RESULTS, specs: Mapping[str, TaskSpec] | None = None) -> dict[str, Any]:
    """The lock that the result files at hand give.

    Args:
        root: a folder with a folder for each panel of published numbers, and one for entries.
        specs: every known task; the registry's by default.

    Returns:
        JSON values: `lock_version`, `rules`, `inputs` (file → hash of its content), `boards` (panel → its ranked lines;
        where there are entries, each panel also with them).

    Raises:
        ResultError: a result file is not valid, or they cannot be ranked together.
    """
    if specs is None:
        from nas360.loaders import TASKS

        specs = {name: task.spec for name, task in TASKS.items()}
    if not root.is_dir():
        raise ResultError(f"{root}: no such folder. Give the one that holds the result files of the leaderboard")
    panels = {folder.name: _load(folder) for folder in sorted(root.iterdir()) if folder.is_dir()}
    entries = panels.pop(ENTRIES, {})
    boards = dict(panels)
    if entries:
        boards |= {f"{name}+{ENTRIES}": {**files, **entries} for name, files in panels.items()}
    inputs = {path: content for files in (*panels.values(), entries) for path, content in files.items()}
    return {
        "lock_version": _VERSION,
        "rules": RULES,
        "inputs": {
            Path(path).relative_to(root).as_posix(): digest(read_content(Path(path))) for path in sorted(inputs)
        },
        "boards": {name: _board(rank(build_table(files, specs))) for name, files in sorted(boards.items())},
    }


def _load(folder: Path) -> dict[str, ResultFile]:
    """The result files of a folder, which may hold none."""
    try:
        find_files(folder)
    except ResultError:
        return {}
    return load_files([folder])


def _board(board: Board) -> dict[str, Any]:
    return {
        "tasks": list(board.table.specs),
        "baseline": board.baseline,
        "methods": {
            standing.line.id: {
                "place": place,
                "median_rank": round(standing.median_rank, _DIGITS),
                "mean_rank": round(standing.mean_rank, _DIGITS),
                "improvement": _finite(standing.improvement),
                "area": round(standing.profile.area(board.tau_max), _DIGITS),
                "n_tasks": len(standing.cells),
            }
            for place, standing in enumerate(board.standings, start=1)
        },
        "not_ranked": sorted(entry.line.id for entry in board.unranked),
    }


def _finite(value: float | None) -> float | None:
    return round(value, _DIGITS) if value is not None and math.isfinite(value) else None


def read_lock(path: Path) -> dict[str, Any]:
    """A lock from its file.

    Raises:
        ResultError: there is none, or it is none of this version.
    """
    content = read_json(path, 64 * MIB, ResultError)
    if not isinstance(content, dict) or content.get("lock_version") != _VERSION:
        raise ResultError(f"{path}: not a lock of version {_VERSION}. Write it anew: {command('--write')}")
    return content


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """What differs between two locks, a line each.

    Example:
        >>> list(differences({"a": {"b": 1.0, "c": 2}}, {"a": {"b": 1.5, "d": None}}))
        ['a/b: 1.0 → 1.5', 'a/c: gone (2)', 'a/d: new (null)']
    """
    if not (isinstance(old, dict) and isinstance(new, dict)):
        if differs(old, new, _TOLERANCE):
            yield f"{place}: {_short(old)} → {_short(new)}"
        return
    for key in [*old, *(key for key in new if key not in old)]:
        here = f"{place}/{key}" if place else str(key)
        if key not in new:
            yield f"{here}: gone ({_short(old[key])})"
        elif key not in old:
            yield f"{here}: new ({_short(new[key])})"
        else:
            yield from differences(old[key], new[key], here)


def _short(value: Any) -> str:
    text = " ".join(json_text(value).split())
    return text if len(text) <= 160 else f"{text[:157]}…"


def command(option: str) -> str:
    """What to type."""
    return f"python -m nas360.leaderboard.submission.lock {option}"


def check(root: Path = RESULTS) -> list[str]:
    """What a regeneration gives otherwise than the lock says; empty when all is well."""
    return list(differences(read_lock(root / LOCK), regenerate(root)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Check or write the lock; returns the exit code: 0 fine, 2 it differs or cannot be made."""
    parser = argparse.ArgumentParser(
        prog="python -m nas360.leaderboard.submission.lock", description="Lock the published table."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="fail, with a diff, when a regeneration differs")
    what.add_argument("--write", action="store_true", help="write what a regeneration gives")
    parser.add_argument("--root", type=Path, default=RESULTS, metavar="DIR", help="folder of the result files")
    given = parser.parse_args(arguments)
    try:
        if given.write:
            write_text(given.root / LOCK, json_text(regenerate(given.root)))
            return 0
        found = check(given.root)
    except Nas360Error as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    if found:
        sys.stderr.write("\n".join(found))
        sys.stderr.write(
            f"\n\n{given.root / LOCK} differs from a regeneration in {len(found)} places (lock → now). If that is "
            f"meant, run `{command('--write')}` and commit the lock with what caused it\n"
        )
    return 2 if found else 0


if __name__ == "__main__":
    sys.exit(main())
