"""Validation of what a user names: files, and folders of strangers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nas360.fault_codes import PREFIX
from nas360.faults import Fault, make
from nas360.leaderboard.sources import BY_CONTENT, NOT_RESULTS, RESULT, is_foreign, results_may_be_in
from nas360.leaderboard.validation.check import check_files
from nas360.task import TaskSpec

MAX_FILES = 100_000
"""In folders; files that are named one by one are not counted."""

_MAX_ENTRIES = 10 * MAX_FILES
_NOT_READ = frozenset(f"{PREFIX}E{number:03}" for number in range(2, 13))


@dataclass(frozen=True)
class Report:
    """What validation found.

    Attributes:
        faults: by file, errors first.
        files: that were checked as results.
        foreign: JSON files in folders that are no results, and were passed over.
    """

    faults: tuple[Fault, ...]
    files: tuple[Path, ...]
    foreign: tuple[Path, ...]

    @property
    def n_errors(self) -> int:
        """How many faults are errors."""
        return sum(fault.severity == "error" for fault in self.faults)


@dataclass(frozen=True)
class _Found:
    files: list[Path]
    faults: list[Fault]


def check_places(
    places: Iterable[Path], specs: Mapping[str, TaskSpec], workers: int = 1, max_files: int = MAX_FILES
) -> Report:
    """Validate files, and all result files below folders. Never raises.

    Args:
        places: files and folders. In a folder, hidden files, those in hidden folders, and other JSON that a run leaves
            or that never was a result are passed over; links are not followed, and told.
        specs: every known task.
        workers: processes for many files.
        max_files: how many files of a folder are taken at most.
    """
    named: list[Path] = []
    in_folder: dict[Path, list[Path]] = {}
    faults: list[Fault] = []
    for place in places:
        if _is_folder(place):
            found = _walk(place, max_files)
            faults += found.faults
            in_folder[place] = found.files
        else:
            named.append(place)
    walked = {path for files in in_folder.values() for path in files}
    every = [*named, *(path for files in in_folder.values() for path in files)]
    checked = check_files(every, specs, workers)
    unread = {fault.file for fault in checked if fault.code in _NOT_READ}
    named_texts = {str(path) for path in named}
    foreign = [path for path in walked if str(path) in unread - named_texts and is_foreign(path)]
    passed = {str(path) for path in foreign}
    for place, files in in_folder.items():
        if all(str(path) in passed for path in files) and not any(fault.file == str(place) for fault in faults):
            rule = f"no result files below this folder{f', only {len(files)} other JSON' if files else ''}"
            faults.append(replace(make("E062", "", rule, f"a run writes {RESULT} when it ends"), file=str(place)))
    kept = [fault for fault in checked if fault.file not in passed]
    return Report((*faults, *kept), tuple(path for path in every if path not in set(foreign)), tuple(sorted(foreign)))


def _is_folder(place: Path) -> bool:
    try:
        return place.is_dir()
    except (OSError, ValueError):  # a name with a zero byte; reading it tells
        return False


def _walk(folder: Path, max_files: int) -> _Found:
    """Result files below a folder in an order that does not depend on the system, and what was not taken."""
    found = _Found([], [])
    waiting = [str(folder)]
    entries_left = _MAX_ENTRIES
    while waiting:
        inside = waiting.pop()
        try:
            with os.scandir(inside) as entries:
                visible = results_may_be_in(entries)
        except OSError as cause:
            rule = f"cannot be read ({cause.strerror})"
            found.faults.append(replace(make("E001", "", rule, "check the rights"), file=inside))
            continue
        entries_left -= len(visible)
        waiting += [entry.path for entry in reversed(visible) if entry.is_dir(follow_symlinks=False)]
        for entry in visible:
            if not entry.name.endswith(".json") or entry.name in NOT_RESULTS or BY_CONTENT.fullmatch(entry.name):
                continue
            if entry.is_symlink():
                fault = make("W022", "", "a link, which is not followed", "put the file itself there, or name it")
                found.faults.append(replace(fault, file=entry.path))
            elif entry.is_file(follow_symlinks=False):
                found.files.append(Path(entry.path))
        if len(found.files) > max_files or entries_left < 0:
            del found.files[max_files:]
            fault = make("E061", "", f"more than {max_files:,} files below this folder", "validate it in parts")
            found.faults.append(replace(fault, file=str(folder)))
            return found
    return found
