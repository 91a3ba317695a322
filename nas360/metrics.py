"""The metrics of the ten tasks.

A metric is two pure functions. `observe` turns a batch of predictions and references into a small state: arrays with
one row for each thing that cannot be summed up yet. `reduce` turns a state into numbers. States merge by concatenation,
so a metric over a stream is `reduce` of the joined states, and since sums of floats are exactly rounded (`math.fsum`)
it equals the metric over the whole to the bit, however the stream was cut and in whatever order its parts were merged.

This file needs NumPy alone: the `metric.py` of each dataset repository is made from its very source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas360.matching import Array, Kind
from nas360.ranking import auroc, average_precision

Values = Array | Sequence[Array]
State = dict[str, Array]
Score = dict[str, Any]

CONTACT_VARIANTS = (
    # name, least separation in the sequence, largest true distance in Å; the first is the score
    ("score", 24, 8.0),
    ("mae8_separation_12", 12, 8.0),
    ("mae12", 24, 12.0),
    ("mae12_separation_12", 12, 12.0),
)
MASK_THRESHOLD = 0.5


class Accumulator:
    """A metric over parts: `update` with each batch, `merge` what other workers saw, then `compute`.

    Args:
        observe: see `Metric`.
        reduce: see `Metric`.
        n_outputs: number of classes, labels or channels of the task.
    """

    def __init__(self, observe: Callable[..., State], reduce: Callable[[State, int], Score], n_outputs: int) -> None:
        self._observe = observe
        self._reduce = reduce
        self._n_outputs = n_outputs
        self._states: list[State] = []

    def update(self, predictions: Values, references: Values, **columns: Array) -> None:
        """Take in a batch; arguments as those of the metric."""
        if len(references):
            state = self._observe(predictions, references, **columns)
            # a copy, for the caller may fill its buffers again
            self._states.append({name: np.array(array) for name, array in state.items()})

    def merge(self, other: Accumulator) -> None:
        """Take in all that another accumulator of the same metric saw."""
        self._states.extend(other._states)

    def compute(self) -> Score:
        """The metric of everything seen.

        Raises:
            ValueError: when nothing was seen, or the metric is not defined on what was.
        """
        if not self._states:
            raise ValueError("no sample to score")
        names = self._states[0]
        joined = {name: np.concatenate([state[name] for state in self._states]) for name in names}
        self._states = [joined]
        return self._reduce(joined, self._n_outputs)


def observe_zero_one(predictions: Array, references: Array) -> State:
    """Number of wrong classes and of samples; predictions and references are class indices, (n,)."""
    wrong = np.count_nonzero(np.asarray(predictions) != np.asarray(references))
    return {"counts": np.array([[wrong, len(references)]], dtype=np.int64)}


def reduce_zero_one(state: State, n_outputs: int) -> Score:
    """Share of wrong classes, in percent."""
    wrong, n = (int(count) for count in state["counts"].sum(axis=0))
    return {"score": 100.0 * wrong / n, "n": n}


def observe_scores(predictions: Array, references: Array) -> State:
    """Scores and labels as they are: a ranking metric needs them all; both (n, n_labels), labels 0 or 1."""
    return {"scores": np.asarray(predictions), "labels": np.asarray(references) != 0}


def reduce_macro_map(state: State, n_outputs: int) -> Score:
    """Mean over labels of the average precision; labels without a positive sample have none, and are left out and told.

    Raises:
        ValueError: when no label has a positive sample.
    """
    return reduce_by_label(state, average_precision, "no label has a positive sample")


def reduce_macro_auroc(state: State, n_outputs: int) -> Score:
    """Mean over labels of the area under the ROC curve; labels of one class have none, and are left out and told.

    Raises:
        ValueError: when no label has both positive and negative samples.
    """
    return reduce_by_label(state, auroc, "no label has both positive and negative samples")


def reduce_by_label(state: State, of_label: Callable[[Array, Array], float], undefined: str) -> Score:
    """Mean of `of_label(scores of positives, scores of negatives)` over the labels where it is defined."""
    # one label after the other along contiguous memory
    scores, labels = np.ascontiguousarray(state["scores"].T), np.ascontiguousarray(state["labels"].T)
    values = [of_label(score[label], score[~label]) for score, label in zip(scores, labels, strict=True)]
    defined = [value for value in values if not math.isnan(value)]
    if not defined:
        raise ValueError(undefined)
    skipped = [index for index, value in enumerate(values) if math.isnan(value)]
    return {
        "score": math.fsum(defined) / len(defined),
        "n": scores.shape[1],
        "labels_scored": len(defined),
        "labels_skipped": skipped,
    }


def observe_relative_l2(predictions: Array, references: Array) -> State:
    """Relative l2 error of each map; both (n, *space) real.

    Raises:
        ValueError: when a reference is zero everywhere, for then the ratio is not defined.
    """
    true = np.asarray(references, dtype=np.float64).reshape(len(references), -1)
    norms = np.sqrt(np.square(true).sum(axis=1))
    if not norms.all():
        raise ValueError(f"the reference of sample {int(np.argmin(norms))} is zero everywhere")
    with np.errstate(over="ignore"):  # absurd predictions have an infinite error
        difference = np.subtract(np.asarray(predictions).reshape(true.shape), true, dtype=np.float64)
        return {"ratios": np.sqrt(np.square(difference, out=difference).sum(axis=1)) / norms}


def reduce_relative_l2(state: State, n_outputs: int) -> Score:
    """Mean over samples of the relative l2 error."""
    ratios = state["ratios"].tolist()
    return {"score": math.fsum(ratios) / len(ratios), "n": len(ratios)}


def observe_contacts(predictions: Values, references: Values) -> State:
    """Mean absolute distance error of each protein over its contacts.

    Args:
        predictions: for each protein the predicted distances in Å, (L, L). Both triangles count alike: their mean is
            scored.
        references: for each protein the true distances in Å, (L, L), read from the upper triangle. A NaN is no contact.

    Returns:
        `errors`: (n, variants) mean over the pairs of each of `CONTACT_VARIANTS`; NaN for a protein without such a
        pair.
    """
    errors = np.full((len(references), len(CONTACT_VARIANTS)), np.nan)
    for row, (predicted, true) in enumerate(zip(predictions, references, strict=True)):
        distance = np.asarray(true, dtype=np.float64)
        both = np.asarray(predicted, dtype=np.float64)
        with np.errstate(over="ignore"):  # absurd predictions have an infinite error
            error = np.abs((both + both.T) / 2 - distance)
            for column, (_, separation, largest) in enumerate(CONTACT_VARIANTS):
                chosen = error[np.triu(distance <= largest, k=separation)]
                if chosen.size:
                    errors[row, column] = chosen.mean()
    return {"errors": errors}


def reduce_contacts(state: State, n_outputs: int) -> Score:
    """Mean over the proteins that have a contact, for each variant.

    Raises:
        ValueError: when no protein has a pair of the score's variant.
    """
    result: Score = {"score": math.nan, "n": len(state["errors"])}
    for (name, _, _), errors in zip(CONTACT_VARIANTS, state["errors"].T, strict=True):
        defined = errors[~np.isnan(errors)].tolist()
        result[name] = math.fsum(defined) / len(defined) if defined else None
        if name == "score":
            result["proteins_without_contact"] = len(errors) - len(defined)
    if result["score"] is None:
        raise ValueError("no protein has a pair with a separation of 24 or more and a true distance of 8 Å or less")
    return result


def observe_mask(predictions: Array, references: Array, ignore: Array) -> State:
    """Probabilities of the pixels that count, by true class.

    Args:
        predictions: probabilities of the mask, (n, *space), in [0, 1].
        references: the true mask, (n, *space), non-zero inside.
        ignore: pixels to leave out, (n, *space), non-zero where ignored.
    """
    scores = np.asarray(predictions)
    inside, counted = np.asarray(references) != 0, np.asarray(ignore) == 0
    return {
        "positive": scores[inside & counted],
        "negative": scores[~inside & counted],
        "n": np.array([len(scores)], dtype=np.int64),
    }


def reduce_mask(state: State, n_outputs: int) -> Score:
    """False negative rate in percent: inside pixels whose probability is not above 0.5, pooled over all samples.

    Calling everything inside would score 0, so further rates stand beside it. A rate whose denominator is zero is None.
    `one_minus_auroc_percent` is of the probabilities, and exact.

    Raises:
        ValueError: when no counted pixel is inside the true mask.
    """
    positive, negative = state["positive"], state["negative"]
    if not positive.size:
        raise ValueError("no pixel that counts is inside the true mask")
    hits = int(np.count_nonzero(positive > MASK_THRESHOLD))
    false = int(np.count_nonzero(negative > MASK_THRESHOLD))
    return {
        "score": 100.0 * (positive.size - hits) / positive.size,
        "n": int(state["n"].sum()),
        "fpr_percent": 100.0 * false / negative.size if negative.size else None,
        "precision_percent": 100.0 * hits / (hits + false) if hits + false else None,
        "one_minus_auroc_percent": 100.0 * (1.0 - auroc(positive, negative)) if negative.size else None,
    }


def observe_votes(predictions: Array, references: Array, groups: Array) -> State:
    """Each row's record, predicted and true class; (n,) each."""
    return {
        "record": np.asarray(groups, dtype=np.str_),
        "vote": np.asarray(predictions, dtype=np.int64),
        "true": np.asarray(references, dtype=np.int64),
    }


def reduce_votes(state: State, n_outputs: int) -> Score:
    """Macro F1 of records, each classed by the majority of its rows; a tie goes to the class of the lowest index.

    The mean is always over all `n_outputs` classes. A class that is in neither truth nor prediction has F1 0, as with
    scikit-learn's `labels=range(n_outputs), zero_division=0`: on a small sample a missing class lowers the score.
    `challenge_f1` is the mean without the last class (noise), the final score of the PhysioNet/CinC Challenge 2017.

    Raises:
        ValueError: when rows of one record have different true classes.
    """
    _, first, record = np.unique(state["record"], return_index=True, return_inverse=True)
    true = state["true"][first]
    if (state["true"] != true[record]).any():
        name = state["record"][np.argmax(state["true"] != true[record])]
        raise ValueError(f"rows of record {str(name)!r} have different true classes")
    n = len(first)
    votes = np.bincount(record * n_outputs + state["vote"], minlength=n * n_outputs).reshape(n, n_outputs)
    predicted = votes.argmax(axis=1)
    both = np.bincount(true[true == predicted], minlength=n_outputs)
    either = np.bincount(true, minlength=n_outputs) + np.bincount(predicted, minlength=n_outputs)
    f1 = (2 * both / np.maximum(either, 1)).tolist()
    return {
        "score": math.fsum(f1) / n_outputs,
        "n": n,
        "challenge_f1": math.fsum(f1[:-1]) / (n_outputs - 1),
        "f1_by_class": f1,
        "record_error_percent": 100.0 * int(np.count_nonzero(true != predicted)) / n,
        "rows": len(record),
    }


@dataclass(frozen=True)
class Metric:
    """What a metric is called, what it takes, and how it is computed.

    Attributes:
        id: short name, as in `TaskSpec.metric` and result files.
        title: name for people.
        unit: unit of the score.
        takes: what predictions are: class indices (n,); scores (n, n_labels) of which the order counts; real maps; or
            probabilities of a mask in [0, 1].
        observe: (predictions, references, **columns) → state of a batch.
        reduce: (state, n_outputs) → `score`, `n` (how many units were scored), and further numbers.
        columns: reference columns beyond `y` that `observe` needs, as its keyword → the dataset's column; an empty
            column name stands for the task's group column.
    """

    id: str
    title: str
    unit: str
    takes: Kind
    observe: Callable[..., State]
    reduce: Callable[[State, int], Score]
    columns: tuple[tuple[str, str], ...] = ()

    def __call__(self, predictions: Values, references: Values, n_outputs: int = 1, **columns: Array) -> Score:
        """The metric of a whole set.

        Args:
            predictions: see `takes`, in the order of the references.
            references: true values.
            n_outputs: classes, labels or channels of the task, `spec.output.channels`.
            columns: what `columns` names, each with a row for each prediction.

        Returns:
            `score`, `n` and the metric's further numbers; undefined ones are None.

        Raises:
            ValueError: when the metric is not defined on these references.

        Example:
            >>> METRICS["zero_one_error"](np.array([1, 2, 0, 0]), np.array([1, 2, 3, 0]), 4)
            {'score': 25.0, 'n': 4}
        """
        if not len(references):
            raise ValueError("no sample to score")
        return self.reduce(self.observe(predictions, references, **columns), n_outputs)

    def accumulator(self, n_outputs: int = 1) -> Accumulator:
        """A fresh accumulator, for what comes in parts."""
        return Accumulator(self.observe, self.reduce, n_outputs)

    def columns_of(self, group: str | None) -> dict[str, str]:
        """Keyword of `observe` → dataset column, with the task's group column filled in.

        Raises:
            ValueError: when the metric needs a group column and the task names none.
        """
        if group is None and any(not column for _, column in self.columns):
            raise ValueError(f"metric {self.id!r} needs the task's group column, and the spec names none")
        return {keyword: column or str(group) for keyword, column in self.columns}


METRICS: Mapping[str, Metric] = {
    metric.id: metric
    for metric in (
        Metric("zero_one_error", "0-1 error", "percent", "classes", observe_zero_one, reduce_zero_one),
        Metric("macro_map", "macro mAP", "fraction", "scores", observe_scores, reduce_macro_map),
        Metric("relative_l2", "relative l2 error", "ratio", "maps", observe_relative_l2, reduce_relative_l2),
        Metric("mae8", "MAE8", "angstrom", "maps", observe_contacts, reduce_contacts),
        Metric(
            "cosmic_fnr", "false negative rate", "percent", "probabilities", observe_mask, reduce_mask,
            columns=(("ignore", "ignore"),),
        ),
        Metric(
            "macro_f1_by_record", "macro F1 by record", "fraction", "classes", observe_votes, reduce_votes,
            columns=(("groups", ""),),
        ),
        Metric("macro_auroc", "macro AUROC", "fraction", "scores", observe_scores, reduce_macro_auroc),
    )
}  # fmt: skip
