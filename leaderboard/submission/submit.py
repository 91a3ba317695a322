"""Results as entries of a leaderboard: checked, scored anew, and laid out; `send` beside this file sends them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas360.errors import ResultError, UserError
from nas360.files import MIB, sha256_file
from nas360.leaderboard.sources import find_files, is_foreign
from nas360.leaderboard.submission.entries import RESULT, content_text, entry_folder, read_content, sealed, stored_name
from nas360.leaderboard.submission.rescore import MAX_PREDICTIONS, NOWHERE, Rescored, Scorer, rescore
from nas360.leaderboard.validation.check import Fault, check_files
from nas360.results import Predictions, PublishedRow, ResultFile, SeedRow, load_result

MAX_FILES = 1000
MAX_TOTAL = 8 << 30
"""Bytes of one submission."""


@dataclass(frozen=True)
class Submission:
    """Entries that are ready to go.

    Attributes:
        files: path in the repository → where the content is: a file on this machine, or text.
        sizes: path in the repository → bytes.
        results: the entries, as they will be.
        rescored: what became of every row of every entry.
        warnings: what the submitter should know.
    """

    files: Mapping[str, Path | str]
    sizes: Mapping[str, int]
    results: tuple[ResultFile, ...]
    rescored: tuple[Rescored, ...]
    warnings: tuple[str, ...] = field(default=())


def prepare(
    places: Sequence[Path],
    scorer: Scorer,
    predictions: Sequence[Path] = (),
    attach: bool = True,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Submission:
    """Make entries of result files. Nothing is written and nobody is asked, save for the data to score with.

    Args:
        places: result files, and folders that hold some.
        scorer: scores the predictions anew.
        predictions: their files, found by their hash; beside these, the files that rows name are taken.
        attach: whether to take the files that rows name.
        report: called after each row that was scored, with how many are done, of how many.

    Returns:
        The entries. One whose scores all follow from its predictions has the status `"rescored"`.

    Raises:
        ResultError: there are errors in the results, or predictions do not give their score; all in one message.
        UserError: a place or a file is not as it must be.
    """
    paths, foreign = _find(places)
    faults = [*check_files(paths, _specs())]
    errors = [_said(fault) for fault in faults if fault.severity == "error"]
    if errors:
        raise _refused(errors)
    given = _hashed(predictions)
    contents = {str(path): load_result(path) for path in paths}
    used = {stated.sha256 for content in contents.values() for stated in map(_stated, content.results) if stated}

    def place(path: str, index: int) -> Path | None:
        stated = _stated(contents[path].results[index])
        return None if stated is None else given.get(stated.sha256, None if attach else NOWHERE)

    rescored = rescore(contents, scorer, place, report)
    by_file: dict[str, list[Rescored]] = {path: [] for path in contents}
    for row in rescored:
        by_file[row.file].append(row)
    errors = [f"{row.file}: results/{row.index}: {_why(row)}" for row in rescored if row.outcome in ("fault", "moved")]
    warnings = [_said(fault) for fault in faults]
    if foreign:
        names = ", ".join(_plain(path) for path in foreign[:3]) + (", …" if len(foreign) > 3 else "")
        warnings.append(f"passed over {len(foreign)} JSON files that are no results: {names}")
    files: dict[str, Path | str] = {}
    results = []
    for path, content in contents.items():
        folder = entry_folder(content)
        if f"{folder}/{RESULT}" in files:
            errors.append(f"{path}: the run {content.run_id!r} of {content.method.name!r} stands twice. Give it once")
            continue
        entry, notices = _entry(Path(path), content, by_file[path])
        warnings += notices
        results.append(ResultFile.model_validate(entry))
        files[f"{folder}/{RESULT}"] = content_text(entry)
        for row in by_file[path]:
            stated = _stated(content.results[row.index])
            if row.predictions is not None and stated is not None:
                files[f"{folder}/{stored_name(stated)}"] = row.predictions
    errors += [
        f"{file}: no row has predictions of this content; it has the SHA-256 {sha}. Give the result that was made from "
        "it, or state it there: `predictions` with path, format, sha256 and n, beside the score of `nas360 evaluate`"
        for sha, file in given.items()
        if sha not in used
    ]
    if errors:
        raise _refused(errors)
    sizes = {name: len(at.encode()) if isinstance(at, str) else at.stat().st_size for name, at in files.items()}
    if len(sizes) > MAX_FILES or sum(sizes.values()) > MAX_TOTAL:
        raise ResultError(
            f"{len(sizes):,} files of {sum(sizes.values()) / MIB:,.0f} MiB in one submission; at most {MAX_FILES:,} "
            f"and {MAX_TOTAL / MIB:,.0f} MiB are taken. Submit method by method, or leave predictions out"
        )
    return Submission(files, sizes, tuple(results), tuple(rescored), tuple(map(_plain, warnings)))


def _specs() -> Mapping[str, Any]:
    from nas360.loaders import TASKS

    return {name: task.spec for name, task in TASKS.items()}


def _find(places: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Result files, each once, and the JSON files of folders that are none."""
    found: dict[Path, Path] = {}
    foreign = []
    for place in places:
        for path in find_files(place):
            if place.is_dir() and is_foreign(path):
                foreign.append(path)
            else:
                found.setdefault(path.resolve(), path)
    if not found:
        raise ResultError(f"{', '.join(map(_plain, places)) or 'nothing'}: no result files. A run writes {RESULT}")
    return list(found.values()), foreign


def _plain(path: object) -> str:
    # a file's name may hold anything, the codes that steer a terminal too
    return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in str(path))


def _said(fault: Fault) -> str:
    place = f"{fault.file}: {fault.pointer}" if fault.pointer else fault.file
    value = f" (it is {fault.value})" if fault.value else ""
    return _plain(f"{place}: {fault.text}{value} [{fault.code}]")


def _refused(errors: Sequence[str]) -> ResultError:
    count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    return ResultError(f"not submitted: {count}\n" + "\n".join(f"  - {_plain(error)}" for error in errors))


def _hashed(predictions: Sequence[Path]) -> dict[str, Path]:
    """SHA-256 → file, of predictions that the user names."""
    found = {}
    for path in predictions:
        if not path.is_file():
            raise UserError(f"{path}: there is no such file. Name predictions files")
        if path.stat().st_size > MAX_PREDICTIONS:
            raise UserError(
                f"{path}: {path.stat().st_size:,} bytes, more than the {MAX_PREDICTIONS:,} that any task needs"
            )
        found[sha256_file(path)] = path
    return found


def _stated(row: SeedRow | PublishedRow) -> Predictions | None:
    return row.predictions if isinstance(row, SeedRow) else None


def _why(row: Rescored) -> str:
    if row.outcome == "fault":
        return row.reason
    if row.new is not None and row.old is not None and row.new != row.old and not row.moved_extra:
        return (
            f"the score is {row.old!r}, but the predictions give {row.new!r}, {abs(row.new - row.old):.2g} away. "
            "Evaluate them again with this nas360, and submit that result"
        )
    moved = "".join(f", {name}" for name in row.moved_extra)
    return (
        f"the score is {row.old!r}, but the predictions give {row.new!r}; other numbers that differ: {moved[2:]}. "
        "Evaluate them again with this nas360, and submit that result"
    )


def _entry(path: Path, content: ResultFile, rows: Sequence[Rescored]) -> tuple[dict[str, Any], list[str]]:
    """The result file as an entry, and what its submitter should know."""
    entry = read_content(path)
    notices = []
    status = content.submission.status
    scored = [row for row in rows if row.old is not None]
    if status in ("self_reported", "rescored"):
        confirmed = bool(scored) and all(row.outcome == "same" for row in scored)
        new = "rescored" if confirmed else "self_reported"
        if status == "rescored" and not confirmed:
            notices.append(f"{path}: its status 'rescored' could not be confirmed, and becomes 'self_reported'")
        entry["submission"] = {**entry["submission"], "status": new}
    for row in rows:
        if row.outcome == "unscored" and row.old is not None and status != "paper":
            notices.append(f"{path}: results/{row.index} could not be re-scored: {row.reason}")
    entry["results"] = [
        # named by content, so that no path of the submitter's machine is published and none is obeyed
        {**row, "predictions": {**row["predictions"], "path": stored_name(stated.predictions)}}
        if isinstance(stated, SeedRow) and stated.predictions is not None
        else row
        for row, stated in zip(entry["results"], content.results, strict=True)
    ]
    return sealed(entry), notices
