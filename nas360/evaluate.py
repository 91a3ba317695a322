"""Scoring: predictions + references + spec → one Evaluation, or one message with everything that is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nas360 import prediction_formats
from nas360.errors import DatasetError, PredictionsError
from nas360.matching import Array, Expected, Kind, fit, true_values
from nas360.metrics import METRICS, Metric
from nas360.predictions import Predictions
from nas360.task import Dense, MultiLabel, Output, SplitName, TaskSpec


@dataclass(frozen=True, eq=False)
class References:
    """The true values of a split, and what the metric needs beside them.

    Attributes:
        ids: row ids, all different.
        y: one row each: class indices (n,); labels 0 or 1 (n, n_labels), or a list of the labels that each row has;
            maps (n, *space), which may be larger than predictions and are then scored over their centre; or a list of
            maps whose sizes vary.
        columns: further dataset columns by name, one row each.
        class_names: names of the classes, where the dataset has them.
        split: the split they are of.
    """

    ids: Sequence[str]
    y: Array | Sequence[Array]
    columns: Mapping[str, Array] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    split: SplitName = "test"

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Evaluation:
    """What predictions scored.

    Attributes:
        task: id of the task.
        split: the split that was scored.
        n: number of units (`TaskSpec.unit_of_split`) that were scored.
        metric: id of the metric.
        score: the metric, in its own direction and unit.
        error: the score as an error, lower better.
        extra: the metric's further numbers; None where one is not defined.
        warnings: what to know before trusting the score.
        provenance: of the data, where known: official, partial, generated, or synthetic.
    """

    task: str
    split: SplitName
    n: int
    metric: str
    score: float
    error: float
    extra: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    provenance: str | None = None

    def public(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "task": self.task,
            "split": self.split,
            "n": self.n,
            "metric": self.metric,
            "score": self.score,
            "error": self.error,
            "extra": dict(self.extra),
            "warnings": list(self.warnings),
            "provenance": self.provenance,
        }


def metric_of(spec: TaskSpec) -> Metric:
    """The task's metric."""
    return METRICS[spec.metric]


def reference_columns(spec: TaskSpec) -> dict[str, str]:
    """Keyword of the metric → the dataset column that it needs beyond `y`."""
    return metric_of(spec).columns_of(spec.group)


def kind_of(output: Output) -> Kind:
    """What predictions of such an output are."""
    if isinstance(output, Dense):
        return "probabilities" if output.target == "mask" else "maps"
    return "scores" if isinstance(output, MultiLabel) else "classes"


def expected_of(spec: TaskSpec, class_names: tuple[str, ...] = ()) -> Expected:
    """What one prediction of the task must be.

    Args:
        spec: the task.
        class_names: the dataset's names of the classes, used where the spec has none.
    """
    return Expected(kind_of(spec.output), spec.prediction_shape, spec.output.channels, spec.class_names or class_names)


def size_limit(spec: TaskSpec, references: References) -> int:
    """Bytes that a predictions file of the task may unpack to: what it can need, with room to spare."""
    values = sum(np.size(one) for one in references.y) if isinstance(references.y, list) else np.size(references.y)
    return prediction_formats.size_limit(int(values), len(references), spec.output.channels)


def evaluate(predictions: Predictions, references: References, spec: TaskSpec) -> Evaluation:
    """Score predictions.

    Args:
        predictions: from `nas360.predictions.read_predictions`, or made in memory. Aligned by id where they have ids,
            else by order, one for each row.
        references: the true values.
        spec: the task.

    Returns:
        The score with all that belongs to it.

    Raises:
        PredictionsError: telling every fault of the predictions at once.
        DatasetError: when the metric is not defined on these references.
    """
    expected = expected_of(spec, references.class_names)
    shapes = [np.shape(one) for one in references.y] if -1 in spec.prediction_shape else None
    values, faults = fit(expected, predictions.values, predictions.ids, references.ids, shapes)
    if faults:
        raise PredictionsError(_all_faults(predictions.source, spec, references.split, faults))
    try:
        columns = {
            keyword: np.asarray(true_values(expected, references.columns[column]))
            for keyword, column in reference_columns(spec).items()
        }
        numbers = metric_of(spec)(values, true_values(expected, references.y), spec.output.channels, **columns)
    except OverflowError as cause:
        raise PredictionsError(f"{predictions.source}: values too large to score. Check the unit") from cause
    except ValueError as cause:
        raise DatasetError(
            f"the {references.split} split at hand cannot be scored by {spec.metric}: {cause}. Use more of the data"
        ) from cause
    score = float(numbers.pop("score"))
    if not all(math.isfinite(number) for number in (score, *numbers.values()) if isinstance(number, float)):
        raise PredictionsError(f"{predictions.source}: values too large to score. Check the unit")
    warnings = (
        () if predictions.ids is not None else ("the file has no ids: its order was taken to be that of the split",)
    )
    return Evaluation(
        task=spec.id,
        split=references.split,
        n=int(numbers.pop("n")),
        metric=spec.metric,
        score=score,
        error=spec.error(score),
        extra=numbers,
        warnings=warnings,
    )


def _all_faults(source: str, spec: TaskSpec, split: str, faults: Sequence[str]) -> str:
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    listed = "".join(f"\n  - {fault}" for fault in faults)
    return (
        f"{source} does not fit {spec.id} ({split}): {count}{listed}\n"
        f"`nas360 format {spec.id}` shows what a predictions file must hold; `nas360 dummy {spec.id}` writes one"
    )
