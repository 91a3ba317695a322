"""Where result files come from: files and folders that a user names, and the published panels that nas360 brings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nas360.errors import ResultError, UnknownNameError
from nas360.results import ResultFile, load_result

_RESULTS = Path(__file__).resolve().parent / "results"

PANELS: dict[str, Path | None] = {"paper": _RESULTS / "paper", "none": None}
"""Published numbers to compare with: name → folder of result files."""

RUN_RESULT = "result.json"
MAX_FAULTS = 20


def load_panel(name: str) -> dict[str, ResultFile]:
    """The result files of a panel, by path.

    Raises:
        UnknownNameError: no such panel.
    """
    if name not in PANELS:
        raise UnknownNameError(f"unknown panel {name!r}. Known: {', '.join(PANELS)}")
    folder = PANELS[name]
    return load_files([folder]) if folder is not None else {}


def load_files(places: Iterable[Path]) -> dict[str, ResultFile]:
    """Load result files.

    Args:
        places: files, and folders that are searched through all levels (see `find_files`).

    Returns:
        Path → content, in the order given, sorted within a folder. A file that is named twice stands once.

    Raises:
        ResultError: a file or folder is absent, empty of results, or not valid; every fault of every file in one
        message.
    """
    found: dict[Path, Path] = {}
    faults: list[str] = []
    for place in places:
        try:
            for path in find_files(place):
                found.setdefault(path.resolve(), path)
        except ResultError as error:
            faults.append(str(error))
    results: dict[str, ResultFile] = {}
    for path in found.values():
        try:
            results[str(path)] = load_result(path)
        except ResultError as error:
            faults.append(str(error))
    if faults:
        more = len(faults) - MAX_FAULTS
        raise ResultError("\n".join(faults[:MAX_FAULTS] + ([f"and {more} more"] if more > 0 else [])))
    return results


def find_files(place: Path) -> list[Path]:
    """The result files that a path stands for.

    Args:
        place: a file stands for itself. A folder stands for all `*.json` below it, save hidden ones; where a folder
            of a run holds a `result.json`, its other JSON files (the architecture, say) are not results.

    Raises:
        ResultError: no such path, or a folder without any.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise ResultError(f"{place}: no such file or folder. Give result files, or folders that hold some")
    everything = sorted(path for path in place.rglob("*.json") if not path.name.startswith(".") and path.is_file())
    runs = {path.parent for path in everything if path.name == RUN_RESULT}
    # a run that is not over has an architecture, but no result yet
    found = [
        path
        for path in everything
        if path.name == RUN_RESULT or (path.parent not in runs and path.name != "architecture.json")
    ]
    if not found:
        raise ResultError(f"{place}: no result files below this folder. A run writes result.json when it ends")
    return found
