"""Everything that is wrong with result files, at once: the validator behind `nas360 validate`, submission and CI.

The errors are those for which the leaderboard would not take a file, and come from the same functions as there; the
warnings are what a person should look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nas360.faults import MAX_LISTED, Fault, make
from nas360.leaderboard.sources import no_collection
from nas360.leaderboard.validation.across import Summary, across, summarise
from nas360.leaderboard.validation.names import name_faults, unsafe_name
from nas360.leaderboard.validation.plausible import by_task, file_warnings, row_warnings
from nas360.leaderboard.validation.read import NO_CONTENT, decode, parse, read_bytes
from nas360.registry import did_you_mean
from nas360.rules import has_secret, may_hold_secret, spec_faults
from nas360.schema_faults import below, content_faults, too_long
from nas360.task import TaskSpec

__all__ = ["Fault", "check_bytes", "check_file", "check_files"]

_NOT_STRICT = ("NAS360-E007", "NAS360-E008", "NAS360-E009")
FEW_FILES = 2000
"""Up to so many files, starting a second process takes longer than it saves."""


def check_file(path: Path, specs: Mapping[str, TaskSpec]) -> list[Fault]:
    """Everything that is wrong with one result file by itself. Never raises.

    Args:
        path: the file.
        specs: every known task.

    Returns:
        Errors first, each in the order of the file's parts.
    """
    return _check_one(path, specs)[0]


def check_files(paths: Iterable[Path], specs: Mapping[str, TaskSpec], workers: int = 1) -> list[Fault]:
    """Everything that is wrong with result files, each by itself and all together. Never raises.

    Args:
        paths: the files. One that is named twice, or by two names, is checked once.
        specs: every known task.
        workers: how many processes share the work, when there are many files.

    Returns:
        By file in the order given; within a file errors first. Faults between files stand at the later one.
    """
    unique = _unique(paths)
    if workers > 1 and len(unique) > FEW_FILES:
        found = _in_processes(unique, specs, workers)
    else:
        found = _check_many(unique, specs)
    faults: dict[str, list[Fault]] = {str(path): list(own) for path, (own, _) in zip(unique, found, strict=True)}
    for fault in across([summary for _, summary in found if summary is not None], specs):
        faults[fault.file].append(fault)
    return [fault for path in unique for fault in _ordered(faults[str(path)])]


def check_bytes(
    raw: bytes, specs: Mapping[str, TaskSpec], file: str = "", now: datetime | None = None
) -> tuple[list[Fault], Summary | None]:
    """Check a file's bytes.

    Args:
        raw: the bytes.
        specs: every known task.
        file: what to call it.
        now: against which times are judged; the clock's by default.

    Returns:
        The faults, errors first, and what the checks across files need; None where nothing could be parsed.
    """
    text, faults = decode(raw)
    if faults and not text:
        return [replace(fault, file=file) for fault in faults], None
    content, strict = parse(text)
    faults += strict
    if content is NO_CONTENT:
        return [replace(fault, file=file) for fault in faults], None
    loose = any(fault.code in _NOT_STRICT for fault in strict)
    told = {fault.pointer for fault in strict}
    for fault in _content_faults(content, specs, now or datetime.now(UTC), may_hold_secret(text)):
        # what follows from a breach of strictness at the same place is not told again
        if len(faults) > 2 * MAX_LISTED:
            break
        if not (fault.pointer in told or (loose and fault.pointer == "/digest")):
            faults.append(fault)
    faults = _ordered([replace(fault, file=file) for fault in faults])
    if len(faults) > MAX_LISTED:
        more = make("W023", "", f"more than {MAX_LISTED:,} faults; the others are not listed", "mend these first")
        faults[MAX_LISTED:] = [replace(more, file=file)]
    return faults, summarise(file, content, specs) if isinstance(content, dict) else None


def _content_faults(content: Any, specs: Mapping[str, TaskSpec], now: datetime, secrets: bool) -> Iterator[Fault]:
    own = content_faults(content, secrets)
    yield from own
    if not isinstance(content, dict) or (own and own[0].code == "NAS360-E012") or too_long(content):
        return
    told = {(fault.code, fault.pointer) for fault in own}
    for index, row, spec in by_task(content, specs):
        place = f"/results/{index}"
        task = row.get("task")
        if spec is not None:
            for fault in below(place, spec_faults(row, spec)):
                if (fault.code, fault.pointer) not in told:
                    told.add((fault.code, fault.pointer))
                    yield fault
        elif isinstance(task, str) and not has_secret(task):
            hint = did_you_mean(task[:80], specs)
            yield make(
                "E050", f"{place}/task", "unknown task", f"{hint.strip()} Known: {', '.join(specs)}".strip(), task
            )
        yield from below(place, row_warnings(content, row, spec))
    yield from file_warnings(content, now)
    yield from name_faults(content)


def _ordered(faults: Sequence[Fault]) -> list[Fault]:
    return sorted(faults, key=lambda fault: fault.severity)  # stable; "error" sorts before "warning"


def _check_one(path: Path, specs: Mapping[str, TaskSpec]) -> tuple[list[Fault], Summary | None]:
    file = str(path)
    raw, faults = read_bytes(path)
    summary = None
    if not faults:
        faults, summary = check_bytes(raw, specs, file)
    why = unsafe_name(path.name)
    if why:
        faults.append(make("W011", "", f"the file's name: {why}", "use another name", path.name))
    return [replace(fault, file=file) for fault in faults], summary


def _check_many(paths: Sequence[Path], specs: Mapping[str, TaskSpec]) -> list[tuple[list[Fault], Summary | None]]:
    with no_collection():
        return [_check_one(path, specs) for path in paths]


def _in_processes(
    paths: Sequence[Path], specs: Mapping[str, TaskSpec], workers: int
) -> list[tuple[list[Fault], Summary | None]]:
    from nas360.loaders.workers import worker_pool

    size = -(-len(paths) // (4 * workers))
    parts = [paths[start : start + size] for start in range(0, len(paths), size)]
    with worker_pool(workers) as pool:
        futures = [pool.submit(_check_many, part, dict(specs)) for part in parts]
        return [one for future in futures for one in future.result()]


def _unique(paths: Iterable[Path]) -> list[Path]:
    seen: set[object] = set()
    unique: list[Path] = []
    for path in paths:
        try:
            status = path.stat()
            key: object = (status.st_dev, status.st_ino)
        except (OSError, ValueError):
            key = str(path)
        if key not in seen:
            seen.add(key)
            unique.append(path)
    return unique
