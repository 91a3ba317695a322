"""The constant predictor of a task: what training labels alone can say. A rule by kind of output, not by task."""

from __future__ import annotations

import numpy as np

from nas360.evaluate import expected_of, kind_of
from nas360.loaders.data import TaskData
from nas360.loaders.scoring import as_rows, load_references
from nas360.matching import Array, true_values
from nas360.task import SplitName


def constant_predictions(data: TaskData, split: SplitName = "test") -> tuple[tuple[str, ...], Array | list[Array]]:
    """Predictions that do not look at the input.

    By kind of output: the most frequent class of the training units (a record counts once, however many rows it has; a
    tie goes to the lowest index); the share of training rows that have each label; the mean training map, or the mean
    value where sizes vary; no pixel inside the mask.

    Args:
        data: the task's data.
        split: which split's rows to predict.

    Returns:
        Ids, and one prediction a row.
    """
    rows, references = data.rows("train"), load_references(data, split)
    kind, n = kind_of(data.spec.output), len(references)
    if kind == "classes":
        classes = rows.column("y")
        if data.spec.group is not None:
            classes = classes[np.unique(rows.column(data.spec.group), return_index=True)[1]]
        constant = np.int64(np.bincount(classes, minlength=data.spec.output.channels).argmax())
        values: Array | list[Array] = np.full(n, constant)
    elif kind == "scores":
        labels = np.asarray(true_values(expected_of(data.spec), as_rows(rows.column("y"))))
        values = np.tile(labels.mean(axis=0, dtype=np.float64).astype(np.float32), (n, 1))
    elif kind == "maps" and -1 in data.spec.prediction_shape:
        known = [one[~np.isnan(one)] for one in rows.column("y")]
        mean = sum(float(one.sum(dtype=np.float64)) for one in known) / sum(one.size for one in known)
        values = [np.full(np.shape(one), mean, dtype=np.float32) for one in references.y]
    elif kind == "maps":
        values = np.repeat(rows.column("y").mean(axis=0, dtype=np.float64).astype(np.float32)[None], n, axis=0)
    else:
        values = np.zeros((n, *data.spec.prediction_shape), dtype=np.float32)
    return tuple(references.ids), values
