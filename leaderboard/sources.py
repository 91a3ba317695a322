"""Where result files come from: files and folders that a user names, and the published panels that nas360 brings."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nas360.errors import ResultError, UnknownNameError
from nas360.results import ResultFile, load_result

_RESULTS = Path(__file__).resolve().parent / "results"

PANELS: dict[str, Path | None] = {"paper": _RESULTS / "paper", "none": None}
"""Published numbers to compare with: name → folder of result files."""

NOT_RESULTS = frozenset({"architecture.json", "predictions.json"})
"""JSON files that lie in the folder of a run and are no results."""

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
    found: dict[tuple[int, int], Path] = {}
    faults: list[str] = []
    for place in places:
        try:
            for path in find_files(place):
                status = path.stat()
                found.setdefault((status.st_dev, status.st_ino), path)
        except ResultError as error:
            faults.append(str(error))
    results: dict[str, ResultFile] = {}
    with _no_collection():
        for path in found.values():
            try:
                results[str(path)] = load_result(path)
            except ResultError as error:
                faults.append(str(error))
    if faults:
        more = len(faults) - MAX_FAULTS
        raise ResultError("\n".join(faults[:MAX_FAULTS] + ([f"and {more} more"] if more > 0 else [])))
    return results


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection: while thousands of results are read, it would walk those already there again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def find_files(place: Path) -> list[Path]:
    """The result files that a path stands for.

    Args:
        place: a file stands for itself. A folder stands for all `*.json` below it, save hidden ones and those that a
            run leaves beside its result.

    Raises:
        ResultError: no such path, or a folder without any.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise ResultError(f"{place}: no such file or folder. Give result files, or folders that hold some")
    found: list[Path] = []
    for name, folders, names in os.walk(place):
        folders.sort()
        found += [
            Path(name, file)
            for file in sorted(names)
            if file.endswith(".json") and not file.startswith(".") and file not in NOT_RESULTS
        ]
    if not found:
        raise ResultError(f"{place}: no result files below this folder. A run writes result.json when it ends")
    return found
