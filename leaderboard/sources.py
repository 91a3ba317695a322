"""Where result files come from: files and folders that a user names, and the published panels that nas360 brings."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nas360.errors import ResultError, UnknownNameError, first_faults
from nas360.files import read_json
from nas360.registry import did_you_mean
from nas360.results import MAX_BYTES, ResultFile, load_result

_RESULTS = Path(__file__).resolve().parent / "results"

PANELS: dict[str, Path | None] = {"paper": _RESULTS / "paper", "published": _RESULTS / "published", "none": None}
"""Published numbers to compare with: name → folder of result files. `paper` is Table 2 of the paper's first version,
`published` the tables of its version of July 2022, with more methods."""

RESULT = "result.json"
"""What a run calls its result."""

NOT_RESULTS = frozenset({"architecture.json", "predictions.json"})
"""JSON files that lie in the folder of a run and are no results."""

BENCHMARK = "bench.json"
"""What makes a folder that of a benchmark."""

BESIDE_RUNS = frozenset({BENCHMARK, "leaderboard.json", "data"})
"""What a benchmark keeps beside its runs: what was asked for, their leaderboard, and made-up datasets."""

BY_CONTENT = re.compile(r"[0-9a-f]{64}\.json")
"""Predictions of an entry, which are named by their content, are no results either."""


def load_panel(name: str) -> dict[str, ResultFile]:
    """The result files of a panel, by path.

    Raises:
        UnknownNameError: no such panel.
    """
    if name not in PANELS:
        raise UnknownNameError(f"unknown panel {name!r}.{did_you_mean(name, PANELS)} Known: {', '.join(PANELS)}")
    folder = PANELS[name]
    return load_files([folder]) if folder is not None else {}


def load_files(places: Iterable[Path], foreign: list[Path] | None = None) -> dict[str, ResultFile]:
    """Load result files.

    Args:
        places: files, and folders that are searched through all levels (see `find_files`).
        foreign: takes the JSON files that were met in folders and passed over, because they are no result files (see
            `is_foreign`). A file that is named itself is never passed over.

    Returns:
        Path → content, in the order given, sorted within a folder. A file that is named twice stands once.

    Raises:
        ResultError: a file or folder is absent, empty of results, or not valid; every fault of every file in one
        message.
    """
    results: dict[str, ResultFile] = {}
    passed: dict[tuple[int, int], Path] = {}
    seen: set[tuple[int, int]] = set()
    faults: list[str] = []
    with no_collection():
        for place in places:
            is_folder = place.is_dir()
            others = 0
            try:
                found = find_files(place)
            except ResultError as error:
                faults.append(str(error))
                continue
            for path in found:
                try:
                    status = path.stat()
                except OSError as cause:  # it was there a moment ago; a run that goes on may replace its files
                    faults.append(f"{path}: cannot be read ({cause.strerror}). Try again")
                    continue
                key = (status.st_dev, status.st_ino)
                if key in passed:
                    others += 1
                if key in seen and (is_folder or key not in passed):
                    continue
                seen.add(key)
                try:
                    results[str(path)] = load_result(path)
                except ResultError as error:
                    if is_folder and is_foreign(path):
                        passed[key] = path
                        others += 1
                    else:
                        passed.pop(key, None)
                        faults.append(str(error))
            if is_folder and others == len(found):
                faults.append(
                    f"{place}: no result files below this folder, only {others} other JSON. "
                    f"A run writes {RESULT} when it ends"
                )
    if faults:
        raise ResultError("\n".join(first_faults(faults)))
    if foreign is not None:
        foreign += passed.values()
    return results


def is_foreign(path: Path) -> bool:
    """Whether a file that could not be loaded never was a result file, so that a folder of results may hold it.

    A result file has the key `schema_version`, or is called as a run calls its result. Of a file that is no strict
    JSON, or is too large, the beginning is searched for that key: a damaged result is never passed over.
    """
    if path.name == RESULT:
        return False
    try:
        content = read_json(path, MAX_BYTES, ResultError)
    except ResultError:
        try:
            with path.open("rb") as stream:
                return b'"schema_version"' not in stream.read(MAX_BYTES)
        except OSError:
            return False
    return not isinstance(content, dict) or "schema_version" not in content


def results_may_be_in(entries: Iterable[os.DirEntry[str]]) -> list[os.DirEntry[str]]:
    """Entries of a folder by name, without hidden ones, and of a benchmark's without those beside its runs."""
    visible = sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
    if any(entry.name == BENCHMARK for entry in visible):
        return [entry for entry in visible if entry.name not in BESIDE_RUNS]
    return visible


@contextmanager
def no_collection() -> Iterator[None]:
    """No garbage collection: while thousands of results are read, it would walk those already there again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():
                # all that was read goes to the oldest generation at once; else the next collection would walk it all
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def find_files(place: Path) -> list[Path]:
    """The files that a path stands for.

    Args:
        place: a file stands for itself. A folder stands for all regular files `*.json` below it, save hidden ones,
            those in hidden folders, and those that a run leaves beside its result, or a benchmark beside its runs. A
            link to a file is followed, a link to a folder is not.

    Raises:
        ResultError: no such path, no regular file, or a folder that is without any or cannot be read.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        what = "neither a regular file nor a folder" if place.exists() else "no such file or folder"
        raise ResultError(f"{place}: {what}. Give result files, or folders that hold some")
    found: list[Path] = []
    waiting = [str(place)]
    while waiting:
        try:
            # not `Path.walk`: an entry knows what it is, which saves a system call a file
            with os.scandir(waiting.pop()) as entries:
                visible = results_may_be_in(entries)
        except OSError as cause:
            raise ResultError(f"{cause.filename}: cannot be read ({cause.strerror})") from cause
        waiting += [entry.path for entry in reversed(visible) if entry.is_dir(follow_symlinks=False)]
        found += [
            Path(entry.path)
            for entry in visible
            if entry.name.endswith(".json")
            and entry.name not in NOT_RESULTS
            and not BY_CONTENT.fullmatch(entry.name)
            and entry.is_file()
        ]
    if not found:
        raise ResultError(f"{place}: no result files below this folder. A run writes {RESULT} when it ends")
    return found
