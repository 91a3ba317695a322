"""Scoring a predictions file against a task's data: the one place where test labels are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nas360.errors import UserError
from nas360.evaluate import Evaluation, References, evaluate, reference_columns, size_limit
from nas360.loaders.base import Array
from nas360.loaders.data import TaskData, load_task
from nas360.predictions import read_predictions
from nas360.task import SPLITS, SplitName

COMPARABLE = "official"


def load_references(data: TaskData, split: SplitName = "test") -> References:
    """The true values of a split. Only the columns that scoring needs are read; model inputs are not.

    Args:
        data: the task's data.
        split: which split.

    Raises:
        UserError: when there is no such split.
    """
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    rows = data.rows(split)
    return References(
        ids=rows.ids.tolist(),
        y=as_rows(rows.column("y")),
        columns={name: rows.column(name) for name in reference_columns(data.spec).values()},
        class_names=data.loader.columns["y"].names,
        split=split,
    )


def as_rows(column: Array) -> Array | list[Array]:
    """A column as references have it: a list where sizes vary."""
    return list(column) if column.dtype == object else column


def evaluate_predictions(
    path: str | Path, task: str, source: str | Path | None = None, split: SplitName = "test"
) -> Evaluation:
    """Score a predictions file.

    Args:
        path: the file; `nas360 format TASK` shows what it must hold.
        task: the task's id.
        source: the data: a folder or a Hub repository; see `nas360.load_task`.
        split: the split that was predicted.

    Returns:
        The score with all that belongs to it.

    Raises:
        PredictionsError: telling every fault of the file.
        DatasetError: when the data is not there or cannot be scored.
    """
    return score_file(path, load_task(task, source), split)


def score_file(path: str | Path, data: TaskData, split: SplitName = "test") -> Evaluation:
    """Score a predictions file against data that is open already; see `evaluate_predictions`."""
    references = load_references(data, split)
    predictions = read_predictions(path, limit=size_limit(data.spec, references))
    result = evaluate(predictions, references, data.spec)
    warnings = result.warnings
    if data.provenance != COMPARABLE:
        warnings += (f"the data is {data.provenance}: the score does not compare with published ones",)
    return replace(result, warnings=warnings, provenance=data.provenance)
