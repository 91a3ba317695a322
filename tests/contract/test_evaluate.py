"""Evaluation: alignment, every fault of a predictions file at once, and the numbers that come out."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas360.errors import DatasetError, PredictionsError
from nas360.evaluate import References, evaluate, size_limit
from nas360.loaders import TASKS
from nas360.matching import Expected, Names, true_values
from nas360.metrics import METRICS
from nas360.predictions import Predictions, read_predictions, write_predictions
from nas360.task import TaskSpec

Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)


def spec_of(task: str) -> TaskSpec:
    return TASKS[task].spec


def references(task: str, n: int = 12) -> References:
    """True values in the form of the task's dataset, few rows."""
    spec, rng = spec_of(task), np.random.default_rng(1)
    ids, columns = [f"{task}-{row}" for row in range(n)], {}
    y: Any
    if spec.output.kind == "point":
        y = np.arange(n) % spec.output.channels
        if spec.group:
            columns[spec.group] = np.array([f"record {label}" for label in y])
    elif spec.output.kind == "multilabel":
        y = (rng.random((n, spec.output.channels)) < 0.5).astype(np.uint8)
    elif spec.output.target == "mask":
        y = rng.random((n, *spec.prediction_shape)) < 0.3
        columns["ignore"] = rng.random(y.shape) < 0.1
    elif -1 in spec.prediction_shape:
        y = [rng.uniform(3, 15, (size, size)) for size in range(28, 28 + n)]
    else:
        y = rng.normal(size=(n, *spec.prediction_shape))
    return References(ids, y, columns)


def guesses(task: str, true: References) -> Any:
    """Valid predictions that are not the truth."""
    spec, rng = spec_of(task), np.random.default_rng(2)
    if spec.output.kind == "point":
        return rng.integers(0, spec.output.channels, len(true))
    if spec.output.kind == "multilabel":
        return rng.normal(size=(len(true), spec.output.channels))
    if isinstance(true.y, list):
        return [one + rng.normal(size=one.shape) for one in true.y]
    return rng.random(np.shape(true.y))


def faults(predictions: Predictions, true: References, task: str) -> list[str]:
    """The faults that the one message lists."""
    with pytest.raises(
        PredictionsError, match=f"`nas360 format {task}` shows what a predictions file must hold"
    ) as raised:
        evaluate(predictions, true, spec_of(task))
    lines = str(raised.value).splitlines()
    found = [line.removeprefix("  - ") for line in lines if line.startswith("  - ")]
    assert lines[0].endswith(f": {len(found)} fault{'s' if len(found) > 1 else ''}")
    return found


ONE_OF_A_KIND = ["cifar100", "ecg", "fsd50k", "darcy_flow", "psicov", "cosmic", "deepsea"]


@pytest.mark.parametrize("task", ONE_OF_A_KIND)
def test_order_does_not_matter_where_there_are_ids(task: str) -> None:
    true, spec = references(task), spec_of(task)
    values = guesses(task, true)
    plain = evaluate(Predictions(None, values), true, spec)
    order = np.random.default_rng(3).permutation(len(true))
    shuffled = [values[row] for row in order] if isinstance(values, list) else values[order]
    by_id = evaluate(Predictions(tuple(true.ids[row] for row in order), shuffled), true, spec)
    assert by_id.score == plain.score
    assert by_id.extra == plain.extra
    assert by_id.warnings == ()
    assert plain.warnings == ("the file has no ids: its order was taken to be that of the split",)
    columns = {keyword: true.columns[name] for keyword, name in METRICS[spec.metric].columns_of(spec.group).items()}
    numbers = METRICS[spec.metric](values, true.y, spec.output.channels, **columns)
    assert by_id.score == numbers["score"]
    assert by_id.n == numbers["n"]
    assert by_id.error == spec.error(numbers["score"])
    assert json.loads(json.dumps(by_id.public(), allow_nan=False))["metric"] == spec.metric


@pytest.mark.parametrize("task", ONE_OF_A_KIND)
@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_written_file_scores_as_its_values(tmp_path: Path, task: str, suffix: str) -> None:
    true = references(task, 2) if task == "cosmic" else references(task)
    values = guesses(task, true)
    path = tmp_path / f"p{suffix}"
    write_predictions(path, true.ids, values)
    found = evaluate(read_predictions(path, size_limit(spec_of(task), true)), true, spec_of(task))
    assert found == evaluate(Predictions(tuple(true.ids), values), true, spec_of(task))


def test_units_of_a_grouped_task_are_its_groups() -> None:
    found = evaluate(Predictions(None, np.zeros(12, dtype=int)), references("ecg"), spec_of("ecg"))
    assert found.n == 4
    assert found.extra["rows"] == 12


def test_scores_names_and_indices_of_classes_are_one() -> None:
    true, spec = references("ecg"), spec_of("ecg")
    index = guesses("ecg", true)
    scores = RNG.random((12, 4))
    scores[np.arange(12), index] = 2
    names = np.array(spec.class_names)[index]
    forms = [
        index,
        index[:, None],
        index.astype(np.uint8),
        index.astype(np.float32),
        names,
        scores,
        scores.astype(np.float16),
    ]
    found = {evaluate(Predictions(None, form), true, spec).score for form in forms}
    assert len(found) == 1


def test_class_names_of_the_dataset_serve_where_the_spec_has_none() -> None:
    spec = spec_of("satellite")
    assert not spec.class_names
    names = tuple(f"crop {label}" for label in range(24))
    true = References(["a", "b"], np.array([0, 23]), class_names=names)
    assert evaluate(Predictions(None, np.array(["crop 0", "crop 23"])), true, spec).score == 0
    unnamed = References(["a", "b"], np.array([0, 23]))
    (fault,) = faults(Predictions(None, np.array(["crop 0", "crop 23"])), unnamed, "satellite")
    assert "no names; give indices" in fault


def test_a_network_s_single_channel_may_stay() -> None:
    true = references("darcy_flow", 3)
    values = guesses("darcy_flow", true)
    with_channel = evaluate(Predictions(None, values[:, None]), true, spec_of("darcy_flow"))
    assert with_channel == evaluate(Predictions(None, values), true, spec_of("darcy_flow"))


def test_all_faults_come_at_once() -> None:
    ids = ("ecg-0", "ecg-0", "ecg-1", "else", "ecg-3", "ecg-4", "ecg-5", "ecg-6", "ecg-6")
    found = faults(Predictions(ids, np.array([0, 1, 4, np.nan, 1.5, -1, 2, np.inf, 3])), references("ecg"), "ecg")
    assert found == [
        "ids missing: 'ecg-2', 'ecg-7', 'ecg-8', 'ecg-9', 'ecg-10' and 1 more (6 of 12)",
        "ids that the split does not have: 'else' (1)",
        "ids given more than once: 'ecg-0', 'ecg-6' (2)",
        "NaN or infinity in 'else', 'ecg-6' (2)",
        "classes that are not whole numbers: '1.5' for 'ecg-3' (1 of 9); give a class index from 0 to 3, a class name, "
        "or 4 class scores",
        "classes outside 0 to 3: '4.0' for 'ecg-1', '-1.0' for 'ecg-4' (2 of 9)",
    ]


def test_ids_of_another_split_are_recognised() -> None:
    found = faults(Predictions(("x", "y"), np.array([0, 1])), references("ecg"), "ecg")
    assert found[1].endswith("none is known: do they belong to another split or task?")


@pytest.mark.parametrize("n", [0, 1, 11, 13])
def test_without_ids_the_count_must_be_exact(n: int) -> None:
    (fault,) = faults(Predictions(None, np.zeros(n, dtype=int)), references("ecg"), "ecg")
    assert fault.startswith("no predictions" if n == 0 else f"{n} predictions without ids for 12 rows")


@pytest.mark.parametrize("ids", [None, ("ecg-0", "ecg-1")])
@pytest.mark.parametrize("task", ["ecg", "psicov"])
def test_very_many_rows_without_ids_cost_little(task: str, ids: tuple[str, ...] | None) -> None:
    values = np.zeros(5_000_000, dtype=np.int8)
    tracemalloc.start()
    try:
        (fault,) = faults(Predictions(ids, values), references(task), task)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert fault.startswith(f"5,000,000 predictions with{'out ids' if ids is None else ' 2 ids'} for 12 rows")


def test_faults_in_every_row_are_told_of_a_few() -> None:
    names = Names(("a", "b"))
    assert [names[row] for row in range(3)] == ["a", "b", "row 2"]
    assert names.shown(range(2)) == "'a', 'b' (2)"
    assert names.shown(np.arange(2000)) == "'a', 'b', 'row 2', 'row 3', 'row 4' and 1,995 more (2,000)"


def test_ids_and_predictions_must_be_as_many() -> None:
    true = references("ecg")
    assert faults(Predictions(tuple(true.ids), np.zeros(11, dtype=int)), true, "ecg") == [
        "12 ids for 11 predictions: give one id a prediction"
    ]
    found = faults(Predictions(tuple(true.ids[:3]), np.zeros(12, dtype=int)), true, "ecg")
    assert found[0] == "3 ids for 12 predictions: give one id a prediction"


def test_classes_counted_from_one_are_recognised() -> None:
    (fault,) = faults(Predictions(None, np.arange(12) % 4 + 1), references("ecg"), "ecg")
    assert fault.endswith("classes count from 0: were these counted from 1?")


def test_unknown_class_names_are_told_with_the_known() -> None:
    names = np.array(["N"] * 11 + ["AF"])
    (fault,) = faults(Predictions(None, names), references("ecg"), "ecg")
    assert fault == "unknown class names: 'AF' for 'row 11' (1 of 12); known: 'N', 'A', 'O', '~'"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.full((12, 3), 0.5),
            r"wrong shape: all 12 predictions with (3,), expected (): each prediction must be a class",
        ),
        (np.full((12, 4, 2), 0.5), "wrong shape: all 12 predictions with (4, 2)"),
        (np.array([["a", "b", "c", "d"]] * 12), "predictions are text, where a class index"),
        (np.array([True] * 12), "predictions are true or false, where a class index"),
        ([np.zeros(4)] * 11 + [np.zeros(5)], "wrong shape: 'row 11' (1) with (5,)"),
    ],
)
def test_wrong_forms_of_classes(values: Any, message: str) -> None:
    (fault,) = faults(Predictions(None, values), references("ecg"), "ecg")
    assert fault.startswith(message)


def test_wrong_forms_of_scores_and_maps() -> None:
    true = references("fsd50k")
    (fault,) = faults(Predictions(None, np.zeros((12, 100))), true, "fsd50k")
    assert fault.startswith(
        "wrong shape: all 12 predictions with (100,), expected (200,): each prediction must be 200 label"
    )
    (fault,) = faults(Predictions(None, np.array([["a"] * 200] * 12)), true, "fsd50k")
    assert fault.startswith("predictions are text, where 200 label scores")
    bad = np.zeros((12, 200))
    bad[3, 5], bad[7, 0] = np.nan, -np.inf
    assert faults(Predictions(tuple(true.ids), bad), true, "fsd50k") == [
        "NaN or infinity in 'fsd50k-3', 'fsd50k-7' (2)"
    ]
    (fault,) = faults(Predictions(None, np.zeros((12, 85, 84))), references("darcy_flow"), "darcy_flow")
    assert fault.startswith("wrong shape: all 12 predictions with (85, 84), expected (85, 85)")


def test_percent_for_fractions_and_logits_are_recognised() -> None:
    true = references("cosmic", 3)
    values = guesses("cosmic", true)
    (fault,) = faults(Predictions(None, values * 100), true, "cosmic")
    assert "were percent given? Divide by 100" in fault
    assert "'row 0', 'row 1', 'row 2' (3)" in fault
    (fault,) = faults(Predictions(None, values * 9 - 5), true, "cosmic")
    assert "were logits given? Apply the sigmoid" in fault


def test_maps_of_varying_size_must_fit_their_own_reference() -> None:
    true = references("psicov", 3)
    values = guesses("psicov", true)
    (fault,) = faults(Predictions(tuple(true.ids), [values[1], values[0], values[2]]), true, "psicov")
    assert fault == "wrong shape: 'psicov-0', 'psicov-1' (2); 'psicov-0' has (29, 29), expected (28, 28)"
    swapped = Predictions((true.ids[1], true.ids[0], true.ids[2]), [values[1], values[0], values[2]])
    assert (
        evaluate(swapped, true, spec_of("psicov")).score
        == evaluate(Predictions(None, values), true, spec_of("psicov")).score
    )
    values[2][0, 0] = np.nan
    assert faults(Predictions(None, values), true, "psicov") == ["NaN or infinity in 'row 2' (1)"]
    text = [np.array([["a"]]), *values[1:]]
    (fault,) = faults(Predictions(None, text), true, "psicov")
    assert fault == "predictions are not numbers, where a map of L x L real numbers was expected"


def test_maps_of_one_size_may_come_as_an_array() -> None:
    one = np.full((30, 30), 6.0)
    true = References(["a", "b"], [one, one + 1])
    found = evaluate(Predictions(None, np.stack([one, one])), true, spec_of("psicov"))
    assert found.score == 0.5


def test_hostile_ids_are_cut_and_escaped() -> None:
    found = faults(Predictions(("\x1b[31m\n" + "x" * 10**6,) * 2, np.array([0, 1])), references("ecg"), "ecg")
    assert all(len(fault) < 500 and "\x1b" not in fault for fault in found)


def test_references_that_cannot_be_scored_are_the_data_s_fault() -> None:
    flat = References(["a"], np.zeros((1, 85, 85)))
    with pytest.raises(DatasetError, match="test split at hand cannot be scored by relative_l2: the reference of"):
        evaluate(Predictions(None, np.ones((1, 85, 85))), flat, spec_of("darcy_flow"))


@pytest.mark.parametrize("huge", [1e200, 1.7e308])
def test_absurd_numbers_are_told_and_do_not_warn(huge: float) -> None:
    true = references("darcy_flow", 3)
    with pytest.raises(PredictionsError, match="values too large to score"):
        evaluate(Predictions(None, np.full((3, 85, 85), huge)), true, spec_of("darcy_flow"))
    proteins = references("psicov", 3)
    values = [np.full(one.shape, huge) for one in proteins.y]
    try:
        assert evaluate(Predictions(None, values), proteins, spec_of("psicov")).score == pytest.approx(huge)
    except PredictionsError as error:
        assert "values too large to score" in str(error)


@settings(deadline=None, max_examples=200)
@given(
    ids=st.none() | st.lists(st.sampled_from(["ecg-0", "ecg-1", "ecg-2", "else"]), max_size=5),
    values=st.lists(st.sampled_from([0, 1, 3, 4, -1, 0.5, float("nan"), 1e300]), max_size=5),
)
def test_any_predictions_are_scored_or_refused(ids: list[str] | None, values: list[float]) -> None:
    true = references("ecg", 3)
    given = Predictions(None if ids is None else tuple(ids), np.array(values))
    sound = len(values) == 3 and all(value in (0, 1, 2, 3) for value in values)
    if sound and (ids is None or sorted(ids) == list(true.ids)):
        assert 0 <= evaluate(given, true, spec_of("ecg")).score <= 1
    else:
        assert faults(given, true, "ecg")


def test_a_large_split_is_matched_fast() -> None:
    n = 150_000
    true = References([f"id-{row}" for row in range(n)], np.zeros(n, dtype=int))
    start = time.perf_counter()
    evaluate(Predictions(tuple(true.ids)[::-1], np.zeros(n, dtype=int)), true, spec_of("satellite"))
    assert time.perf_counter() - start < 5  # about 0.1 s; a search of each id in a list would take minutes


def test_evaluation_loads_no_library_that_it_does_not_need() -> None:
    heavy = "('torch', 'datasets', 'pandas', 'pyarrow', 'h5py', 'sklearn', 'scipy')"
    code = (
        f"import sys, nas360.evaluate, nas360.metric_script; print([name for name in {heavy} if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_size_limit_admits_what_the_task_needs() -> None:
    for task in ONE_OF_A_KIND:
        true = references(task)
        values = guesses(task, true)
        assert size_limit(spec_of(task), true) > sum(np.asarray(one, dtype=np.float64).nbytes for one in values)


class TestReferences:
    """What the dataset stores is brought to the form that the metric takes."""

    def test_lists_of_labels_are_rows_of_zero_and_one(self) -> None:
        expected = Expected("scores", (5,), 5)
        lists = [np.array([0, 3]), np.array([], dtype=np.int64), np.array([4])]
        hot = true_values(expected, lists)
        assert np.asarray(hot).tolist() == [[1, 0, 0, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1]]
        # lists that happen to have one length come as an array
        assert np.asarray(true_values(expected, np.array([[1, 2], [0, 4]]))).tolist() == [
            [0, 1, 1, 0, 0],
            [1, 0, 0, 0, 1],
        ]
        assert true_values(expected, np.eye(5)) is not None
        np.testing.assert_array_equal(np.asarray(true_values(expected, np.eye(5))), np.eye(5))

    @pytest.mark.parametrize("label", [-1, 5])
    def test_unknown_labels_are_told(self, label: int) -> None:
        with pytest.raises(ValueError, match="where 0 to 4 are known"):
            true_values(Expected("scores", (5,), 5), [np.array([label])])

    @given(size=st.integers(1, 9), wanted=st.integers(1, 9))
    def test_larger_maps_are_scored_over_their_centre(self, size: int, wanted: int) -> None:
        maps = np.arange(size * size).reshape(1, size, size)
        part = np.asarray(true_values(Expected("maps", (wanted, wanted), 1), maps))
        assert part.shape == (1, min(size, wanted), min(size, wanted))
        if (size - wanted) % 2 == 0:  # else there is no exact centre
            np.testing.assert_array_equal(part[:, ::-1, ::-1], maps.max() - part)

    def test_maps_of_varying_size_and_classes_stay(self) -> None:
        maps = [np.zeros((3, 3)), np.zeros((4, 4))]
        assert [one.shape for one in true_values(Expected("maps", (-1, -1), 1), maps)] == [(3, 3), (4, 4)]
        classes = np.array([3, 1])
        assert true_values(Expected("classes", (), 5), classes) is classes
