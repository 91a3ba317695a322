"""Metrics against hand-computed cases, second implementations and their laws."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas360.evaluate import kind_of, metric_of, reference_columns
from nas360.loaders import TASKS
from nas360.metrics import METRICS, Score
from nas360.ranking import auroc, average_precision

Array = npt.NDArray[Any]
Inputs = tuple[Any, Any, int, dict[str, Array]]


def inputs(metric: str, n: int, seed: int) -> Inputs:
    """Random predictions, references, n_outputs and columns of a metric, with many ties; n is at least 2."""
    rng = np.random.default_rng(seed)
    if metric == "zero_one_error":
        return rng.integers(0, 5, n), rng.integers(0, 5, n), 5, {}
    if metric in ("macro_map", "macro_auroc"):
        labels = rng.random((n, 4)) < 0.4
        labels[0], labels[1] = True, False
        return rng.integers(0, 6, (n, 4)) / 8, labels.astype(np.uint8), 4, {}
    if metric == "relative_l2":
        return rng.normal(size=(n, 5, 7)), rng.normal(size=(n, 5, 7)), 1, {}
    if metric == "mae8":
        sizes = rng.integers(20, 40, n)
        sizes[0] = 36
        maps = [rng.uniform(3, 14, (size, size)) for size in sizes]
        return [one + rng.normal(size=one.shape) for one in maps], maps, 1, {}
    if metric == "cosmic_fnr":
        mask = rng.random((n, 6, 6)) < 0.3
        mask[0, 0, 0] = True
        ignore = rng.random((n, 6, 6)) < 0.2
        ignore[0, 0, 0] = False
        return rng.integers(0, 9, (n, 6, 6)) / 8, mask, 1, {"ignore": ignore}
    groups = rng.integers(0, max(2, n // 3), n)
    return rng.integers(0, 4, n), groups % 4, 4, {"groups": np.array([f"r{group}" for group in groups])}


def part(values: Any, index: Array) -> Any:
    return [values[row] for row in index] if isinstance(values, list) else values[index]


def scored(metric: str, given: Inputs, index: Array) -> Score:
    predictions, references, n_outputs, columns = given
    chosen = {name: column[index] for name, column in columns.items()}
    return METRICS[metric](part(predictions, index), part(references, index), n_outputs, **chosen)


every_metric = pytest.mark.parametrize("metric", list(METRICS))


@pytest.mark.parametrize("task", list(TASKS))
def test_each_task_has_a_metric_that_takes_its_output(task: str) -> None:
    spec = TASKS[task].spec
    metric = metric_of(spec)
    assert metric.takes == kind_of(spec.output)
    assert metric.unit == spec.unit
    assert all(reference_columns(spec).values())


def test_no_metric_without_a_task() -> None:
    assert {task.spec.metric for task in TASKS.values()} == set(METRICS)


def test_a_metric_by_group_needs_a_group() -> None:
    with pytest.raises(ValueError, match="needs the task's group column"):
        METRICS["macro_f1_by_record"].columns_of(None)


@every_metric
@settings(deadline=None, max_examples=25)
@given(n=st.integers(2, 40), seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 40), max_size=4))
def test_parts_equal_the_whole_to_the_bit(metric: str, n: int, seed: int, cuts: list[int]) -> None:
    predictions, references, n_outputs, columns = given = inputs(metric, n, seed)
    rng = np.random.default_rng(seed)
    whole = scored(metric, given, np.arange(n))
    # parts in any order, some empty, seen by two workers and merged
    workers = [METRICS[metric].accumulator(n_outputs) for _ in range(2)]
    for number, index in enumerate(np.split(rng.permutation(n), sorted(min(cut, n) for cut in cuts))):
        chosen = {name: column[index] for name, column in columns.items()}
        workers[number % 2].update(part(predictions, index), part(references, index), **chosen)
    workers[1].merge(workers[0])
    found = workers[1].compute()
    assert found == whole
    assert workers[1].compute() == whole  # computing does not use the state up


@every_metric
def test_results_are_plain_json_and_name_their_count(metric: str) -> None:
    result = scored(metric, inputs(metric, 12, 0), np.arange(12))
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert isinstance(result["score"], float)
    assert isinstance(result["n"], int)


@every_metric
def test_nothing_to_score_is_refused(metric: str) -> None:
    given = inputs(metric, 4, 0)
    with pytest.raises(ValueError, match="no sample to score"):
        scored(metric, given, np.arange(0))
    with pytest.raises(ValueError, match="no sample to score"):
        METRICS[metric].accumulator(given[2]).compute()


@every_metric
def test_buffers_may_be_filled_again(metric: str) -> None:
    predictions, references, n_outputs, columns = inputs(metric, 8, 3)
    whole = METRICS[metric](predictions, references, n_outputs, **columns)
    accumulator = METRICS[metric].accumulator(n_outputs)
    accumulator.update(predictions, references, **columns)
    for one in [predictions, references] if isinstance(predictions, np.ndarray) else [*predictions, *references]:
        one[...] = 1
    assert accumulator.compute() == whole


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.float32, np.float16])
def test_small_types_do_not_wrap_around(dtype: type) -> None:
    zero: Array = np.zeros((1, 3, 3), dtype)
    one: Array = np.ones((1, 3, 3), dtype)
    assert METRICS["relative_l2"](zero, one)["score"] == 1.0
    assert METRICS["mae8"]([np.zeros((30, 30), dtype)], [np.ones((30, 30), dtype)])["score"] == 1.0


scores_and_labels = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=40)


@settings(deadline=None)
@given(scores_and_labels)
def test_average_precision_and_auroc_equal_scikit_learn(samples: list[tuple[int, bool]]) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    scores = np.array([score for score, _ in samples], dtype=np.float64)
    labels = np.array([label for _, label in samples])
    positive, negative = scores[labels], scores[~labels]
    if labels.any():
        assert average_precision(positive, negative) == pytest.approx(
            average_precision_score(labels, scores), abs=1e-12
        )
    else:
        assert np.isnan(average_precision(positive, negative))
    if labels.any() and not labels.all():
        assert auroc(positive, negative) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        assert auroc(positive, negative) + auroc(negative, positive) == pytest.approx(1.0, abs=1e-15)
    else:
        assert np.isnan(auroc(positive, negative))


@settings(deadline=None)
@given(scores_and_labels)
def test_ranking_sees_the_order_alone(samples: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in samples], dtype=np.float64)
    labels = np.array([label for _, label in samples])
    for measure in (average_precision, auroc):
        assert measure(scores[labels], scores[~labels]) == pytest.approx(
            measure(np.exp(scores[labels]) * 7 - 3, np.exp(scores[~labels]) * 7 - 3), nan_ok=True, abs=0
        )


@pytest.mark.parametrize(
    ("metric", "name"), [("macro_map", "average_precision_score"), ("macro_auroc", "roc_auc_score")]
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_macro_scores_equal_scikit_learn(metric: str, name: str, dtype: type) -> None:
    import sklearn.metrics

    rng = np.random.default_rng(4)
    labels = rng.random((500, 7)) < 0.1
    scores: Array = rng.normal(size=(500, 7)).round(1).astype(dtype)
    expected = getattr(sklearn.metrics, name)(labels, scores, average="macro")
    assert METRICS[metric](scores, labels, 7)["score"] == pytest.approx(expected, abs=1e-12)


def test_labels_that_cannot_be_scored_are_named() -> None:
    scores = np.array([[0.9, 0.1, 0.5], [0.1, 0.9, 0.5], [0.5, 0.5, 0.6]])
    labels = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1]])
    precision = METRICS["macro_map"](scores, labels, 3)
    assert precision == {"score": 1.0, "n": 3, "labels_scored": 2, "labels_skipped": [1]}
    area = METRICS["macro_auroc"](scores, labels, 3)
    assert area == {"score": 1.0, "n": 3, "labels_scored": 1, "labels_skipped": [1, 2]}
    with pytest.raises(ValueError, match="no label has a positive sample"):
        METRICS["macro_map"](scores, np.zeros((3, 3)), 3)
    with pytest.raises(ValueError, match="no label has both positive and negative samples"):
        METRICS["macro_auroc"](scores, np.ones((3, 3)), 3)


def test_zero_one_error_is_a_percentage() -> None:
    assert METRICS["zero_one_error"](np.array([0, 1, 2]), np.array([0, 1, 1]), 3)["score"] == pytest.approx(100 / 3)


def test_relative_l2_is_the_mean_of_ratios_not_the_ratio_of_means() -> None:
    true = np.stack([np.full((2, 2), 1.0), np.full((2, 2), 10.0)])
    found = METRICS["relative_l2"](np.zeros_like(true) + np.array([0.0, 10.0])[:, None, None], true)
    assert found["score"] == 0.5
    assert found["n"] == 2


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), factor=st.floats(1e-3, 1e3))
def test_relative_l2_does_not_depend_on_the_unit(seed: int, factor: float) -> None:
    predictions, references, *_ = inputs("relative_l2", 5, seed)
    plain = METRICS["relative_l2"](predictions, references)["score"]
    assert METRICS["relative_l2"](predictions * factor, references * factor)["score"] == pytest.approx(plain, rel=1e-12)
    loop = [np.linalg.norm(p - t) / np.linalg.norm(t) for p, t in zip(predictions, references, strict=True)]
    assert plain == pytest.approx(float(np.mean(loop)), rel=1e-12)


def test_relative_l2_of_a_zero_map_is_refused() -> None:
    true = np.ones((3, 2, 2))
    true[1] = 0
    with pytest.raises(ValueError, match="sample 1 is zero everywhere"):
        METRICS["relative_l2"](true, true)


def slow_mae(predictions: list[Array], references: list[Array], separation: int, distance: float) -> float | None:
    """MAE8 once more, pair by pair."""
    proteins = []
    for predicted, true in zip(predictions, references, strict=True):
        errors = [
            abs((predicted[i, j] + predicted[j, i]) / 2 - true[i, j])
            for i in range(len(true))
            for j in range(i + separation, len(true))
            if true[i, j] <= distance
        ]
        if errors:
            proteins.append(sum(errors) / len(errors))
    return sum(proteins) / len(proteins) if proteins else None


def test_mae8_and_its_variants_equal_loops() -> None:
    predictions, references, *_ = inputs("mae8", 6, 1)
    found = METRICS["mae8"](predictions, references)
    names = {"score": (24, 8), "mae8_separation_12": (12, 8), "mae12": (24, 12), "mae12_separation_12": (12, 12)}
    for name, (separation, distance) in names.items():
        assert found[name] == pytest.approx(slow_mae(predictions, references, separation, distance), rel=1e-12)
    assert found["n"] == 6
    assert found["proteins_without_contact"] == sum(len(one) <= 24 for one in references)


def test_mae8_by_hand() -> None:
    true = np.full((26, 26), 20.0)
    true[0, 24], true[1, 25], true[0, 25] = 8.0, 5.0, 8.5  # the last is no contact
    true[0, 23] = 4.0  # separation 23 does not count
    predicted = np.zeros((26, 26))
    predicted[0, 24], predicted[24, 0] = 10.0, 8.0  # symmetrised 9: error 1
    predicted[1, 25], predicted[25, 1] = 2.0, 2.0  # error 3
    found = METRICS["mae8"]([predicted, predicted[:24, :24]], [true, true[:24, :24]])
    assert found["score"] == 2.0
    assert (found["n"], found["proteins_without_contact"]) == (2, 1)
    assert METRICS["mae8"]([predicted.T], [true])["score"] == 2.0


def test_mae8_leaves_unknown_distances_out() -> None:
    true = np.full((30, 30), 5.0)
    plain = METRICS["mae8"]([np.zeros((30, 30))], [true])["score"]
    true[0, 29] = np.nan
    assert METRICS["mae8"]([np.zeros((30, 30))], [true])["score"] == plain
    with pytest.raises(ValueError, match="no protein has a pair"):
        METRICS["mae8"]([np.zeros((20, 20))], [np.ones((20, 20))])


def test_cosmic_by_hand() -> None:
    probabilities = np.array([[[0.9, 0.5], [0.6, 0.2]], [[0.1, 0.7], [0.3, 0.99]]])
    mask = np.array([[[1, 1], [0, 0]], [[1, 0], [0, 1]]])
    ignore = np.zeros_like(mask)
    ignore[1, 1, 1] = 1
    found = METRICS["cosmic_fnr"](probabilities, mask, ignore=ignore)
    # inside and counted: 0.9 (hit), 0.5 and 0.1 (missed: 0.5 is not above the threshold); outside: 0.6, 0.2, 0.7, 0.3
    assert found["score"] == pytest.approx(200 / 3)
    assert found["fpr_percent"] == 50.0
    assert found["precision_percent"] == pytest.approx(100 / 3)
    assert found["one_minus_auroc_percent"] == pytest.approx(100 * 6 / 12)
    assert found["n"] == 2


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_cosmic_equals_scikit_learn_and_ignores_ignored_pixels(seed: int) -> None:
    from sklearn.metrics import precision_score, recall_score, roc_auc_score

    probabilities, mask, _, columns = inputs("cosmic_fnr", 3, seed)
    ignore = columns["ignore"]
    found = METRICS["cosmic_fnr"](probabilities, mask, ignore=ignore)
    true, score = mask[~ignore], probabilities[~ignore]
    assert found["score"] == pytest.approx(100 * (1 - recall_score(true, score > 0.5, zero_division=0)), abs=1e-12)
    assert found["fpr_percent"] == pytest.approx(100 * np.mean(score[~true] > 0.5), abs=1e-12)
    if (score > 0.5).any():
        assert found["precision_percent"] == pytest.approx(100 * precision_score(true, score > 0.5), abs=1e-12)
    assert found["one_minus_auroc_percent"] == pytest.approx(100 * (1 - roc_auc_score(true, score)), abs=1e-10)
    assert METRICS["cosmic_fnr"](np.where(ignore, 1 - probabilities, probabilities), mask, ignore=ignore) == found


def test_cosmic_rates_without_a_denominator_are_none() -> None:
    mask, ignore = np.ones((1, 2, 2)), np.zeros((1, 2, 2))
    found = METRICS["cosmic_fnr"](np.zeros((1, 2, 2)), mask, ignore=ignore)
    assert found["score"] == 100.0
    assert found["fpr_percent"] is found["precision_percent"] is found["one_minus_auroc_percent"] is None
    with pytest.raises(ValueError, match="no pixel that counts is inside the true mask"):
        METRICS["cosmic_fnr"](np.zeros((1, 2, 2)), mask, ignore=mask)


def test_votes_by_hand() -> None:
    records = np.array(["b", "a", "a", "b", "c", "a"])
    true = np.array([1, 0, 0, 1, 2, 0])
    votes = np.array([3, 0, 1, 1, 2, 0])  # a: 0 by majority; b: tie of 3 and 1, the lower wins; c: 2
    found = METRICS["macro_f1_by_record"](votes, true, 4, groups=records)
    assert found["f1_by_class"] == [1.0, 1.0, 1.0, 0.0]  # nobody has class 3: its F1 is 0, not left out
    assert found["score"] == 0.75
    assert found["challenge_f1"] == 1.0
    assert (found["n"], found["rows"], found["record_error_percent"]) == (3, 6, 0.0)


@settings(deadline=None, max_examples=50)
@given(n=st.integers(1, 60), seed=st.integers(0, 10**6))
def test_macro_f1_equals_scikit_learn_on_votes(n: int, seed: int) -> None:
    from collections import Counter

    from sklearn.metrics import f1_score

    votes, true, _, columns = inputs("macro_f1_by_record", n, seed)
    by_record: dict[str, list[int]] = {}
    truth: dict[str, int] = {}
    for record, vote, label in zip(columns["groups"].tolist(), votes.tolist(), true.tolist(), strict=True):
        by_record.setdefault(record, []).append(vote)
        truth[record] = label
    winners = [min(Counter(cast).items(), key=lambda item: (-item[1], item[0]))[0] for cast in by_record.values()]
    labels = [truth[record] for record in by_record]
    found = METRICS["macro_f1_by_record"](votes, true, 4, groups=columns["groups"])
    each = f1_score(labels, winners, labels=range(4), average=None, zero_division=0)
    assert found["f1_by_class"] == pytest.approx(each.tolist(), abs=1e-12)
    assert found["score"] == pytest.approx(float(np.mean(each)), abs=1e-12)
    assert found["challenge_f1"] == pytest.approx(float(np.mean(each[:3])), abs=1e-12)


def test_rows_of_one_record_must_agree() -> None:
    with pytest.raises(ValueError, match="rows of record 'a' have different true classes"):
        METRICS["macro_f1_by_record"](np.array([0, 0]), np.array([0, 1]), 4, groups=np.array(["a", "a"]))


@pytest.mark.parametrize(
    ("metric", "perfect"),
    [
        ("zero_one_error", 0.0),
        ("macro_map", 1.0),
        ("relative_l2", 0.0),
        ("mae8", 0.0),
        ("cosmic_fnr", 0.0),
        ("macro_auroc", 1.0),
    ],
)
def test_the_truth_is_the_best_prediction(metric: str, perfect: float) -> None:
    _, references, n_outputs, columns = inputs(metric, 30, 7)
    if isinstance(references, list):
        references = [(one + one.T) / 2 for one in references]  # distances are symmetric
        predictions: Any = [one.copy() for one in references]
    else:
        predictions = references.astype(np.float64)
    assert METRICS[metric](predictions, references, n_outputs, **columns)["score"] == perfect
