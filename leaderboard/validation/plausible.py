"""What a person should look at in a file that the rules allow: numbers that can hardly be, rows that do not rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from nas360.faults import Fault, make, show
from nas360.leaderboard.validation.constant import is_worse
from nas360.rules import at, count, has, is_published, number, rows_of
from nas360.task import TaskSpec

_FIRST_DAY = datetime(2021, 1, 1, tzinfo=UTC)  # the benchmark was published in this year
_SLACK = timedelta(days=1)
_MAX_PARAMS = 10**12
_SHARE_OF_HOURS = (0.5, 1.1)
_HOURS_THAT_MATTER = 0.05


def file_warnings(content: Any, now: datetime) -> Iterator[Fault]:
    """Warnings on what concerns the whole file."""
    if at(content, "digest") is None:
        yield make("W016", "", "has no digest, so that nobody notices a later change", "write it with nas360")
    if at(content, "nas360", "dirty") is True:
        yield make(
            "W014",
            "/nas360/dirty",
            "was scored by a checkout with uncommitted changes, which nobody else has",
            "commit, and score again",
            True,
        )
    yield from _created(content, now)


def _created(content: Any, now: datetime) -> Iterator[Fault]:
    text = at(content, "created")
    try:
        created = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return
    if created.tzinfo is None:
        return
    if created > now + _SLACK:
        yield make("W010", "/created", "lies in the future", "check the clock", text)
    elif created < _FIRST_DAY:
        yield make("W010", "/created", "lies before the benchmark", "check the clock", text)
    else:
        for index, row in enumerate(rows_of(content)):
            seconds = _busy_seconds(row)
            if seconds > (created - _FIRST_DAY).total_seconds():
                yield make(
                    "W010",
                    f"/results/{index}/cost",
                    f"search and training took {seconds / 31_557_600:,.1f} years, longer than the benchmark had been "
                    "there when the file was made",
                    "check the unit: times are seconds",
                )


def _busy_seconds(row: Any) -> float:
    return sum(number(at(row, "cost", name)) or 0.0 for name in ("search_seconds", "train_seconds"))


def row_warnings(content: Any, row: Any, spec: TaskSpec | None) -> Iterator[Fault]:
    """Warnings on one row. Pointers begin at the row.

    Args:
        content: the file, for what stands there once for all rows.
        row: the row.
        spec: of its task; None where that is unknown.
    """
    yield from _conditions(row)
    if spec is not None:
        yield from _score(row, spec)
    if not is_published(row):
        yield from _cost(content, row)
        yield from _completeness(content, row)
        if spec is not None:
            yield from _pinned(row, spec)


def _conditions(row: Any) -> Iterator[Fault]:
    provenance, budget = at(row, "dataset", "provenance"), at(row, "budget")
    if provenance in ("partial", "generated", "synthetic"):
        yield make(
            "W001",
            "/dataset/provenance",
            f"the data is {provenance}: the row is shown, but never ranks with official results",
            "run on the official data",
            provenance,
        )
    if budget in ("small", "smoke"):
        yield make(
            "W002", "/budget", f"the budget is {budget}: the row does not rank", "run with the full budget", budget
        )
    for name, wanted in (("split", "test"), ("config", "default")):
        found = at(row, name) if has(row, name) else wanted
        if isinstance(found, str) and found != wanted:
            yield make(
                "W003",
                f"/{name}",
                f"{name} is {show(found)}: only the test split of the default config ranks, so the row is left out",
                "evaluate on it",
                found,
            )


def _score(row: Any, spec: TaskSpec) -> Iterator[Fault]:
    published = is_published(row)
    pointer = "/published/mean" if published else "/score"
    score = number(at(row, "published", "mean") if published else at(row, "score"))
    low, high = spec.bounds
    if score is None or score < low or (high is not None and score > high):
        return
    constant = is_worse(spec, score)
    if constant is not None:
        yield make(
            "W005",
            pointer,
            f"worse than a constant prediction, which scores {constant.score:.4g} or better, for {constant.why}",
            "look for swapped labels, a wrong order of rows, or a run that diverged",
            score,
        )
    if spec.unit == "percent" and 0 < score < 1:
        yield make(
            "W006",
            pointer,
            f"the unit is percent, and {score:g} is less than one",
            f"if it is a fraction, give {100 * score:g}",
            score,
        )
    if spec.error(score) == 0:
        yield make("W007", pointer, "a score without any error", "check that no test label reached the model", score)


def _cost(content: Any, row: Any) -> Iterator[Fault]:
    trained = any((number(at(row, "cost", name)) or 0) > 0 for name in ("epochs", "steps"))
    if number(at(row, "cost", "train_seconds")) == 0 and trained:
        yield make(
            "W008", "/cost/train_seconds", "steps were trained in no time", "give the time, or null and a reason", 0
        )
    hours, seconds = number(at(row, "cost", "gpu_hours")), _busy_seconds(row)
    devices = at(content, "environment", "devices")
    times = [number(at(row, "cost", name)) for name in ("search_seconds", "train_seconds")]
    if hours is None or None in times or not isinstance(devices, list):
        return
    n_devices = sum(count(at(device, "count")) or 0 for device in devices)
    least, most = (seconds / 3600 if n_devices else 0.0), seconds / 3600 * n_devices
    low, high = _SHARE_OF_HOURS[0] * least - _HOURS_THAT_MATTER, _SHARE_OF_HOURS[1] * most + _HOURS_THAT_MATTER
    if not low <= hours <= high:
        yield make(
            "W009",
            "/cost/gpu_hours",
            f"{hours:,.4g} GPU hours, but {seconds:,.4g} seconds of search and training on {n_devices} "
            f"accelerator{'' if n_devices == 1 else 's'} are {least:,.4g} to {most:,.4g} hours",
            "check units: seconds for times, hours for gpu_hours; list every accelerator in environment/devices",
            hours,
        )


def _completeness(content: Any, row: Any) -> Iterator[Fault]:
    well = not has(row, "status") or at(row, "status") == "ok"
    missing = count(at(row, "n_missing"))
    if well and missing:
        yield make(
            "W019",
            "/n_missing",
            f"{missing:,} units have no prediction; the score is of the others",
            "predict all",
            missing,
        )
    params, macs = at(row, "architecture", "params"), at(row, "architecture", "macs")
    if count(params) is not None and not 0 < params < _MAX_PARAMS:
        yield make("W018", "/architecture/params", f"{params:,} parameters", "check the number", params)
    if macs == 0:
        yield make(
            "W018", "/architecture/macs", "a network without multiplications", "give null where it is unknown", 0
        )
    status = at(content, "submission", "status")
    if well and status in ("rescored", "reproduced") and at(row, "predictions") is None:
        yield make(
            "W021",
            "/predictions",
            f"the file claims to be {status}, but this row has no predictions to check it by",
            "attach predictions, or give the status 'self_reported'",
        )


def _pinned(row: Any, spec: TaskSpec) -> Iterator[Fault]:
    # No content hash stands in the registry yet: it is published with the data sets. Until then equal data is told by
    # equal hashes among the files that are checked together (W015 of `check_across`); then it will be compared here.
    if at(row, "dataset", "provenance") != "official" or not isinstance(at(row, "dataset"), dict):
        return
    repo = at(row, "dataset", "repo")
    if isinstance(repo, str) and repo != spec.repo:
        yield make(
            "W017",
            "/dataset/repo",
            f"the official data is in {spec.repo}",
            "run on it, or mark the data as it is",
            repo,
        )
    elif has(at(row, "dataset"), "revision") and at(row, "dataset", "revision") is None:
        yield make(
            "W017",
            "/dataset/revision",
            "the data has no Hub revision to look it up by",
            f"run on {spec.repo} at a revision",
            None,
        )


def by_task(content: Any, specs: Mapping[str, TaskSpec]) -> Iterator[tuple[int, Any, TaskSpec | None]]:
    """(index, row, spec of its task) of a file's rows that are objects."""
    for index, row in enumerate(rows_of(content)):
        if isinstance(row, dict):
            task = row.get("task")
            yield index, row, specs.get(task) if isinstance(task, str) else None
