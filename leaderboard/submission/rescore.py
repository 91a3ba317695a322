"""Scores computed again from stored predictions: whether they hold, and what a mended metric moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nas360.errors import DatasetError, HubError, PredictionsError, ResultError, UserError
from nas360.files import sha256_file
from nas360.leaderboard.submission.entries import read_content, stated_path, write_content
from nas360.registry import did_you_mean
from nas360.results import Package, PublishedRow, ResultFile, SeedRow, collect_package

if TYPE_CHECKING:
    from nas360.evaluate import Evaluation, References
    from nas360.loaders.data import TaskData
    from nas360.task import SplitName

TOLERANCE = 1e-6
"""A score that differs by no more, in the metric's own unit, is the same."""

MAX_PREDICTIONS = 2 << 30
"""Larger predictions files, in bytes, are not read: the largest task needs a tenth of it."""

NOWHERE = Path()
"""In the place of a predictions file: it is left out."""

Outcome = Literal["same", "moved", "fault", "unscored"]


@dataclass(frozen=True)
class Rescored:
    """What became of one row.

    Attributes:
        file: its result file.
        index: of the row in the file.
        method: name; `task`, `seed` and `split` of the row.
        outcome: `"same"` within the tolerance; `"moved"`; `"fault"`: the predictions are not those of the row;
            `"unscored"`: nothing to score, or nothing to score it with.
        old: score that the row states; `new`: that its predictions have.
        reason: of a fault, and of what could not be scored.
        moved_extra: names of the row's extra metrics that moved.
        extra: all extra metrics, as computed now.
        predictions: the file that was looked at.
    """

    file: str
    index: int
    method: str
    task: str
    seed: int | None
    split: str
    outcome: Outcome
    old: float | None = None
    new: float | None = None
    reason: str = ""
    moved_extra: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    predictions: Path | None = None

    @property
    def difference(self) -> float | None:
        """New score less old score."""
        return None if self.old is None or self.new is None else self.new - self.old

    def public(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "file": self.file,
            "row": self.index,
            "method": self.method,
            "task": self.task,
            "seed": self.seed,
            "split": self.split,
            "outcome": self.outcome,
            "old": self.old,
            "new": self.new,
            "difference": self.difference,
            "reason": self.reason,
            "moved_extra": list(self.moved_extra),
        }


def data_places(places: Sequence[str]) -> dict[str, str]:
    """Which data to take for which task.

    Args:
        places: each a dataset repository of one task, a folder that holds such under the tasks' ids, the name of a Hub
            repository that ends in the task's id, `TASK=PLACE` for any other, or `"synthetic"` for the made-up twins.

    Returns:
        Task id → what `load_task` takes. A place that is named earlier goes before a later one.

    Raises:
        UserError: a place holds no task's data.
    """
    from nas360.loaders import TASKS
    from nas360.loaders.repository.manifest import MANIFEST, read_manifest

    found: dict[str, str] = {}
    for place in places:
        task, equals, source = place.partition("=")
        folder = Path(place).expanduser()
        name = place.partition("@")[0].rpartition("/")[2]
        if equals and task in TASKS:
            here = {task: source}
        elif place == "synthetic":
            here = dict.fromkeys(TASKS, place)
        elif (folder / MANIFEST).is_file():
            here = {read_manifest(folder).task: place}
        elif folder.is_dir():
            here = {task: str(folder / task) for task in TASKS if (folder / task / MANIFEST).is_file()}
        else:
            here = {name: place} if name in TASKS and "/" in place else {}
        if not here:
            raise UserError(
                f"--data {place}: no dataset of a task is there.{did_you_mean(name, TASKS)} Give a folder that `nas360 "
                "prepare` made, a folder of such, or a Hub repository; TASK=PLACE says which task a place is for"
            )
        found = {**here, **found}
    return found


class Scorer:
    """Scores rows of result files anew. The data of one task is kept open at a time.

    Args:
        places: see `data_places`; for a task that they do not have, `load_task` looks where it always does.
        tolerance: up to which difference a score is the same, in the metric's own unit.
    """

    def __init__(self, places: Sequence[str] = (), tolerance: float = TOLERANCE) -> None:
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise UserError(f"the tolerance is {tolerance}; it must be a finite number, 0 or more")
        self._sources = data_places(places)
        self._tolerance = tolerance
        self._open: tuple[object, TaskData] | None = None
        self._absent: dict[object, str] = {}
        self._references: tuple[object, References] | None = None

    def score(self, file: Path, index: int, content: ResultFile, predictions: Path | None = None) -> Rescored:
        """Score one row of a result file.

        Args:
            file: the result file.
            index: of the row.
            content: of the file.
            predictions: their file, or `NOWHERE`; by default where the row says. It is taken for hostile.
        """
        row = content.results[index]
        seed = row.seed if isinstance(row, SeedRow) else None
        old = row.score if isinstance(row, SeedRow) else row.published.mean

        def told(outcome: Outcome, reason: str = "", **more: Any) -> Rescored:
            return Rescored(
                str(file), index, content.method.name, row.task, seed, row.split, outcome, old, reason=reason, **more
            )

        if isinstance(row, PublishedRow):
            return told("unscored", "a published number, without predictions")
        if row.score is None:
            return told("unscored", f"the run ended without a score ({row.status})")
        if row.predictions is None:
            return told("unscored", "the row states no predictions")
        if predictions == NOWHERE:
            return told("unscored", "its predictions are left out")
        try:
            path = stated_path(file, row.predictions) if predictions is None else predictions
            if predictions is None and not path.is_file():
                return told("unscored", "its predictions are not there")
            _check_file(path, row)
            data = self._data(row)
            if isinstance(data, str):
                return told("unscored", data, predictions=path)
            evaluation = self._evaluate(path, row, data)
        except (PredictionsError, ResultError) as error:
            return told("fault", str(error))
        except DatasetError as error:
            return told("unscored", _first_line(error), predictions=path)
        moved = abs(evaluation.score - row.score) > self._tolerance
        extra = tuple(
            name
            for name, value in evaluation.extra.items()
            if name in row.extra_metrics and differs(row.extra_metrics[name], value, self._tolerance)
        )
        return told(
            "moved" if moved or extra else "same",
            new=evaluation.score,
            moved_extra=extra,
            extra=dict(evaluation.extra),
            predictions=path,
        )

    def _data(self, row: SeedRow) -> TaskData | str:
        """The data that the row was scored on, or why it is not at hand."""
        from nas360.loaders.data import load_task

        if row.config != "default":
            return f"config {row.config!r}: only the default one can be scored"
        # the made-up twins are the same everywhere, and never where a task's own data is looked for
        twin = "synthetic" if row.dataset.provenance == "synthetic" else None
        source = self._sources.get(row.task, twin)
        key = (row.task, source)
        if key in self._absent:  # asking the Hub again and again would take long
            return self._absent[key]
        if self._open is None or self._open[0] != key:
            try:
                self._open = (key, load_task(row.task, source))
            except (DatasetError, HubError) as error:
                self._absent[key] = _first_line(error)
                return self._absent[key]
        data = self._open[1]
        if data.content_hash != row.dataset.content_sha256:
            return (
                f"the data at hand has the content {data.content_hash[:12]}…, the row was scored on "
                f"{row.dataset.content_sha256[:12]}…; name that data with --data"
            )
        return data

    def _evaluate(self, path: Path, row: SeedRow, data: TaskData) -> Evaluation:
        from nas360.evaluate import evaluate, size_limit
        from nas360.predictions import read_predictions

        references = self._load_references(data, row.split)
        predictions = read_predictions(path, size_limit(data.spec, references))
        stated = row.predictions
        if stated is not None and len(predictions) != stated.n:
            raise PredictionsError(
                f"{path.name} holds {len(predictions):,} predictions, the row's predictions/n is {stated.n:,}"
            )
        evaluation = evaluate(predictions, references, data.spec)
        if evaluation.n != row.n_evaluated:
            raise PredictionsError(
                f"{path.name} has {evaluation.n:,} {data.spec.unit_of_split}s to score, the row's n_evaluated is "
                f"{row.n_evaluated:,}"
            )
        return evaluation

    def _load_references(self, data: TaskData, split: SplitName) -> References:
        from nas360.loaders.scoring import load_references

        key = (data.content_hash, split)
        if self._references is None or self._references[0] != key:
            self._references = None  # so that two are never held at once
            self._references = (key, load_references(data, split))
        return self._references[1]


def _check_file(path: Path, row: SeedRow) -> None:
    """Raise unless the file is, by size, format and hash, the one that the row states."""
    stated = row.predictions
    assert stated is not None
    try:
        size = path.stat().st_size
    except OSError as cause:
        raise PredictionsError(f"{path}: cannot be read ({cause.strerror}). Check the name") from cause
    if not path.is_file():
        raise PredictionsError(f"{path}: is not a file. Name a predictions file")
    if size > MAX_PREDICTIONS:
        raise PredictionsError(
            f"{path.name} has {size:,} bytes, more than the {MAX_PREDICTIONS:,} that any task needs. Write float32, "
            "or .npz"
        )
    found = sha256_file(path)
    if found != stated.sha256:
        raise PredictionsError(
            f"{path.name} has the SHA-256 {found[:12]}…, the row's predictions/sha256 is {stated.sha256[:12]}…: these "
            "are not the predictions that were scored. Give those, or evaluate these and write the result anew"
        )
    if path.suffix.lower() != f".{stated.format.lower()}":
        raise PredictionsError(
            f"{path.name} ends in {path.suffix!r}, the row's predictions/format is {stated.format!r}"
        )


def differs(old: Any, new: Any, tolerance: float = TOLERANCE) -> bool:
    """Whether two JSON values differ, numbers by more than a tolerance.

    Example:
        >>> differs([0.1, None, {"n": 3}], [0.1 + 1e-9, None, {"n": 3}]), differs(0.5, None)
        (False, True)
    """
    if isinstance(old, bool) or isinstance(new, bool):
        return old is not new
    if isinstance(old, int | float) and isinstance(new, int | float):
        try:
            return not abs(old - new) <= tolerance
        except OverflowError:  # a whole number that no float reaches
            return True
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        return len(old) != len(new) or any(differs(a, b, tolerance) for a, b in zip(old, new, strict=True))
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() != new.keys() or any(differs(old[key], new[key], tolerance) for key in old)
    return bool(old != new)


def rescore(
    files: Mapping[str, ResultFile],
    scorer: Scorer,
    predictions: Callable[[str, int], Path | None] = lambda path, index: None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Rescored]:
    """Score every row of result files anew.

    Args:
        files: path → content, of `load_files`.
        scorer: with the data.
        predictions: path and row → where that row's predictions are, if not where the row says.
        report: called after each row with how many are done, of how many.

    Returns:
        One a row, in the order of the files.
    """
    rows = [(path, index) for path, content in files.items() for index in range(len(content.results))]
    # task by task, so that the data of each is opened once
    ordered = sorted(rows, key=lambda row: _data_key(files[row[0]].results[row[1]]))
    found = {}
    for done, (path, index) in enumerate(ordered, start=1):
        found[path, index] = scorer.score(Path(path), index, files[path], predictions(path, index))
        report(done, len(rows))
    return [found[row] for row in rows]


def _data_key(row: SeedRow | PublishedRow) -> tuple[str, str, str]:
    provenance = row.dataset.provenance if isinstance(row, SeedRow) else ""
    return (row.task, provenance, row.split)


def _first_line(error: UserError) -> str:
    return str(error).partition("\n")[0]


def updated(content: Mapping[str, Any], found: Sequence[Rescored]) -> dict[str, Any]:
    """A result file's plain JSON with the new scores; nothing else of it changes, save the digest when it is written.

    Args:
        content: of the file, as JSON values.
        found: of its rows; those that moved are written: score, extra metrics, a note, and the package that scored.
    """
    package = _package()
    rows = list(content["results"])
    for one in found:
        if one.outcome != "moved" or one.new is None:
            continue
        row = rows[one.index]
        note = f"Re-scored by nas360 {package.version}; the score was {one.old!r}."
        before = str(row.get("notes", ""))[: 20_000 - len(note) - 1]
        rows[one.index] = {
            **row,
            "score": one.new,
            "extra_metrics": {**row.get("extra_metrics", {}), **one.extra},
            "notes": f"{before} {note}".strip(),
        }
    return {**content, "nas360": package.model_dump(mode="json"), "results": rows}


@cache
def _package() -> Package:
    # it asks git, which takes longer than all else that is done for a file
    return collect_package()


def to_write(found: Sequence[Rescored]) -> dict[str, list[Rescored]]:
    """The files that have a row that moved and none with a fault, with what became of all their rows."""
    by_file: dict[str, list[Rescored]] = {}
    for one in found:
        by_file.setdefault(one.file, []).append(one)
    return {
        file: rows
        for file, rows in by_file.items()
        if "moved" in (outcomes := {row.outcome for row in rows}) and "fault" not in outcomes
    }


def write_moved(found: Sequence[Rescored]) -> list[str]:
    """Write the new scores into the result files whose rows moved, each atomically. A file with a fault is let be.

    Returns:
        The files that were written.
    """
    files = to_write(found)
    for file, rows in files.items():
        write_content(Path(file), updated(read_content(Path(file)), rows))
    return list(files)
