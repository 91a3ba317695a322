"""NinaPro: windows that hold one label and one repetition, and a draw whose sizes and shares are exact."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from nas360.errors import RawDataError
from nas360.loaders import TASKS
from nas360.loaders.base import Rows
from nas360.loaders.ninapro import CLASSES, PROTOCOL_SEED, SPEC, cut_windows, open_raw, window_starts
from nas360.loaders.ninapro_recordings import Recording
from nas360.loaders.pieces import Pieces
from nas360.loaders.stratified import largest_remainder, scaled_sizes, stratified_draw
from nas360.seeding import derive
from nas360.task import SPLITS, SplitName

Variables = dict[str, npt.NDArray[Any]]
IntArray = npt.NDArray[np.int64]


def _mat(variables: Variables) -> bytes:
    stream = io.BytesIO()
    scipy.io.savemat(stream, variables)  # type: ignore[arg-type]  # a stream is documented
    return stream.getvalue()


def _variables(subject: int, samples: int = 400) -> Variables:
    """A recording whose signal tells its own sample and channel: sample + channel / 100."""
    label = (np.arange(samples) // 60 % 3).astype(np.int8)[:, None]
    return {
        "emg": np.arange(samples)[:, None] + np.arange(16)[None] / 100,
        "restimulus": label,
        "rerepetition": (label > 0).astype(np.int8),
        "subject": np.array([[subject]]),
        "exercise": np.array([[2]]),
    }


def _raw(folder: Path, changed: dict[int, Variables] | None = None) -> Path:
    """Ten subjects, unpacked; of some the variables are replaced (None-sized ones left out)."""
    for subject in range(1, 11):
        (folder / f"s{subject}").mkdir(parents=True)
        variables = _variables(subject) | (changed or {}).get(subject, {})
        variables = {key: value for key, value in variables.items() if value.size}
        (folder / f"s{subject}" / f"S{subject}_E2_A1.mat").write_bytes(_mat(variables))
    return folder


def _all(rows: list[Rows]) -> Rows:
    return {name: np.concatenate([one[name] for one in rows]) for name in rows[0]}


def _split(folder: Path, split: SplitName) -> Rows:
    return _all(list(open_raw(folder).splits[split]()))


# --- windows


def _windows_by_hand(label: IntArray, repetition: IntArray) -> list[int]:
    """Walk sample by sample: a window is full when 52 samples in a row had one label and repetition."""
    starts, begin = [], 0
    for sample in range(len(label)):
        if (label[sample], repetition[sample]) != (label[begin], repetition[begin]):
            begin = sample
        if sample - begin == 51:
            starts.append(begin)
            begin = sample + 1
            if begin == len(label):
                break
    return starts


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(1, 170)), min_size=1, max_size=12))
def test_windows_are_those_of_a_walk_through_the_recording(stretches: list[tuple[int, int, int]]) -> None:
    label = np.concatenate([np.full(length, one) for one, _, length in stretches])
    repetition = np.concatenate([np.full(length, one) for _, one, length in stretches])
    starts = window_starts(Recording(label, repetition))
    assert starts.dtype == np.int64
    assert starts.tolist() == _windows_by_hand(label, repetition)


@pytest.mark.parametrize(
    ("lengths", "starts"),
    [
        ([51], []),
        ([52], [0]),
        ([103], [0]),
        ([104], [0, 52]),
        ([51, 52], [51]),
        ([60, 60], [0, 60]),
        ([1, 105], [1, 53]),
    ],
)
def test_windows_by_hand(lengths: list[int], starts: list[int]) -> None:
    label = np.repeat(np.arange(len(lengths)), lengths)
    assert window_starts(Recording(label, np.zeros_like(label))).tolist() == starts
    # a change of the repetition alone cuts too
    assert window_starts(Recording(np.zeros_like(label), label)).tolist() == starts


def test_rows_are_the_samples_that_their_id_names(tmp_path: Path) -> None:
    folder = _raw(tmp_path)
    for split in SPLITS:
        rows = _split(folder, split)
        for identifier, subject, x, y in zip(rows["id"], rows["subject"], rows["x"], rows["y"], strict=True):
            name, exercise, start = str(identifier).split("-")
            assert (name, exercise) == (f"s{subject:02d}", "e2")
            expected = int(start) + np.arange(52)[None] + np.arange(16)[:, None] / 100
            np.testing.assert_array_equal(x, expected.astype(np.float32))
            assert y == int(start) // 60 % 3


# --- the draw


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20).filter(any), st.integers(0, 5000))
def test_largest_remainder_is_exact_and_fair(weights: list[int], total: int) -> None:
    parts = largest_remainder(weights, total)
    exact = np.array(weights) * total / sum(weights)
    assert parts.sum() == total
    assert (np.abs(parts - exact) < 1).all()
    assert (parts[np.array(weights) == 0] == 0).all()


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=18).filter(lambda counts: sum(counts) >= 8), st.integers(0, 9)
)
def test_the_draw_has_exact_sizes_and_the_shares_of_the_classes(counts: list[int], seed: int) -> None:
    label = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    sizes: dict[SplitName, int] = {"train": 264, "validation": 66, "test": 66}
    drawn = stratified_draw(label, sizes, derive(seed, "draw"))
    expected = sizes if len(label) >= 396 else scaled_sizes(sizes, len(label))
    assert {split: len(chosen) for split, chosen in drawn.items()} == expected
    everything = np.concatenate(list(drawn.values()))
    assert len(np.unique(everything)) == len(everything) == min(396, len(label))
    for split, chosen in drawn.items():
        found = np.bincount(label[chosen], minlength=len(counts))
        # one for the draw, one for each part that was cut from it
        assert (np.abs(found - np.array(counts) * expected[split] / len(label)) < 3).all()
    again = stratified_draw(label, sizes, derive(seed, "draw"))
    assert all(np.array_equal(again[split], drawn[split]) for split in SPLITS)


def test_every_window_is_as_likely_to_be_drawn() -> None:
    label = np.repeat([0, 1], [60, 20])
    sizes: dict[SplitName, int] = {"train": 24, "validation": 8, "test": 8}
    count = np.zeros(80)
    for seed in range(400):
        count[stratified_draw(label, sizes, derive(seed, "draw"))["test"]] += 1
    # binomial with 400 draws of probability 0.1: five standard deviations are 30
    assert np.abs(count - 40).max() < 30


def test_the_official_sizes_are_drawn_from_more_windows() -> None:
    label = np.random.default_rng(0).choice(18, 39_000, p=[0.66, *[0.02] * 17])
    drawn = stratified_draw(label, SPEC.splits, derive(0, "draw"))
    assert {split: len(chosen) for split, chosen in drawn.items()} == SPEC.splits
    assert all(len(np.unique(label[chosen])) == 18 for chosen in drawn.values())


def test_the_draw_is_always_the_same() -> None:
    """It is a part of the protocol: another NumPy must not draw others."""
    drawn = stratified_draw(np.arange(39_000) % 18, SPEC.splits, derive(PROTOCOL_SEED, "ninapro", "draw"))
    digest = hashlib.sha256(np.concatenate([drawn[split] for split in SPLITS]).astype("<i8").tobytes()).hexdigest()
    assert digest.startswith("9d202c2531dd01f8")


# --- both configurations


def test_both_configurations_hold_the_same_windows(synthetic_raw: Callable[[str], Path]) -> None:
    opened = open_raw(synthetic_raw("ninapro"))
    full = _all(list(opened.configs["full"]()))
    assert len(np.unique(full["id"])) == len(full["id"]) == opened.notes["windows"] == 680
    where = {identifier: index for index, identifier in enumerate(full["id"])}
    for split in SPLITS:
        rows = _all(list(opened.splits[split]()))
        index = [where.pop(identifier) for identifier in rows["id"]]
        for name, values in rows.items():
            np.testing.assert_array_equal(values, full[name][index])
    # with fewer windows than the draw takes, the splits hold all of them
    assert not where


def test_the_number_of_workers_changes_nothing(synthetic_raw: Callable[[str], Path]) -> None:
    source = open_raw(synthetic_raw("ninapro")).configs["full"]
    assert isinstance(source, Pieces)
    alone, shared = ([rows for piece in source.made_by(workers) for rows in piece.rows] for workers in (1, 2))
    assert len(alone) == len(shared) == 10
    for one, other in zip(alone, shared, strict=True):
        for name, values in one.items():
            np.testing.assert_array_equal(values, other[name])


def test_the_twin_can_be_learnt(synthetic_raw: Callable[[str], Path]) -> None:
    """The power of each electrode at the frequencies of the window tells the movement."""
    features = {}
    for split in ("train", "test"):
        rows = _split(synthetic_raw("ninapro"), split)
        features[split] = np.abs(np.fft.rfft(rows["x"])).max(axis=1), rows["y"]
    (x, y), (test_x, test_y) = features["train"], features["test"]
    nearest = ((test_x[:, None] - x[None]) ** 2).sum(-1).argmin(1)
    assert np.mean(y[nearest] == test_y) > 0.8


def test_the_model_input_is_the_window_as_one_channel(synthetic_raw: Callable[[str], Path]) -> None:
    rows = _split(synthetic_raw("ninapro"), "test")
    batch = TASKS["ninapro"].loader.fit(rows)(rows, np.random.default_rng(0))
    np.testing.assert_array_equal(batch.x, rows["x"][:, None])
    np.testing.assert_array_equal(batch.y, rows["y"])


def test_zip_and_folder_give_the_same_rows(tmp_path: Path) -> None:
    folder = _raw(tmp_path / "folder")
    packed = tmp_path / "packed"
    packed.mkdir()
    for subject in range(1, 11):
        with zipfile.ZipFile(packed / f"s{subject}.zip", "w") as archive:
            name = f"S{subject}_E2_A1.mat"
            archive.writestr(f"s{subject}/{name}", (folder / f"s{subject}" / name).read_bytes())
            # not read, whatever it holds
            archive.writestr(f"s{subject}/S{subject}_E1_A1.mat", b"another exercise")
    for split in SPLITS:
        for name, values in _split(folder, split).items():
            np.testing.assert_array_equal(values, _split(packed, split)[name])


# --- bad input


def test_all_missing_subjects_are_named_at_once(tmp_path: Path) -> None:
    folder = _raw(tmp_path)
    for subject in (3, 7):
        (folder / f"s{subject}").rename(folder / f"elsewhere{subject}")
    with pytest.raises(RawDataError, match=r"lacks s3\.zip, s7\.zip"):
        open_raw(folder)


def _changed(**changes: Any) -> Variables:
    return {key: np.asarray(value) for key, value in changes.items()}


LABELS = _variables(4)["restimulus"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_changed(emg=np.zeros((400, 8))), r"'emg' has shape \(400, 8\), must be \(samples, 16\)"),
        (_changed(emg=[[]]), "no variable 'emg'"),
        (_changed(restimulus=LABELS[:-1]), r"'restimulus' has shape \(399, 1\), must be \(400, 1\)"),
        (_changed(rerepetition=LABELS.T), r"'rerepetition' has shape \(1, 400\)"),
        (
            _changed(restimulus=LABELS + 18),
            "'restimulus' holds 18, 19, 20; exercise 2 has 0 .rest. to 17. Look whether",
        ),
        (_changed(restimulus=-LABELS), "'restimulus' holds -2, -1"),
        (_changed(restimulus=LABELS + 0.5), "'restimulus' holds values that are not whole numbers"),
        (_changed(restimulus=LABELS * np.nan), "'restimulus' holds values that are not whole numbers"),
        (_changed(rerepetition=-LABELS), "'rerepetition' holds -2, must be 0 or more"),
    ],
)
def test_faulty_recordings_are_refused_by_name(tmp_path: Path, change: Variables, message: str) -> None:
    with pytest.raises(RawDataError, match=message) as caught:
        open_raw(_raw(tmp_path, {4: change}))
    assert "S4_E2_A1.mat" in str(caught.value)


def test_a_file_that_names_another_subject_or_exercise_is_a_departure(tmp_path: Path) -> None:
    found = open_raw(_raw(tmp_path, {4: _changed(subject=[[5]], exercise=[[1, 2]]), 6: _changed(subject=[[-1]])}))
    assert "there is no 3, 4" in found.departures[0]
    assert found.departures[1:] == (
        "subject 4: its file says that 'subject' is [5], not 4",
        "subject 4: its file says that 'exercise' is [1, 2], not 2",
        "subject 6: its file says that 'subject' is [-1], not 6",
    )


def test_a_file_need_not_name_subject_and_exercise(tmp_path: Path) -> None:
    whole = open_raw(_raw(tmp_path / "whole"))
    without = open_raw(_raw(tmp_path / "without", dict.fromkeys(range(1, 11), _changed(subject=[[]], exercise=[[]]))))
    assert without.departures == whole.departures
    for name, values in _split(tmp_path / "whole", "test").items():
        np.testing.assert_array_equal(_split(tmp_path / "without", "test")[name], values)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_a_signal_that_is_not_finite_is_refused_with_its_place(tmp_path: Path, value: float) -> None:
    emg = _variables(4)["emg"].copy()
    emg[7, 11] = value
    folder = _raw(tmp_path, {4: _changed(emg=emg)})
    with pytest.raises(RawDataError, match=r"S4_E2_A1\.mat: 'emg' holds 1 values.*sample 7 of channel 11"):
        _split(folder, "train")
    with pytest.raises(RawDataError, match="'emg' holds 1 values"):
        list(open_raw(folder).configs["full"]())


def test_a_file_that_stands_twice_or_not_at_all_is_refused(tmp_path: Path) -> None:
    folder = _raw(tmp_path)
    (folder / "s2" / "more").mkdir()
    file = folder / "s2" / "S2_E2_A1.mat"
    (folder / "s2" / "more" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(RawDataError, match=r"s2: holds S2_E2_A1\.mat more than once: S2_E2_A1\.mat, more/S2_E2_A1"):
        open_raw(folder)
    (folder / "s2" / "more" / file.name).unlink()
    file.rename(folder / "s2" / "S2_E3_A1.mat")
    with pytest.raises(RawDataError, match=r"s2: lacks S2_E2_A1\.mat"):
        open_raw(folder)


def test_too_few_windows_for_three_splits_are_refused(tmp_path: Path) -> None:
    few = {
        subject: _changed(**{key: value[:51] for key, value in _variables(subject).items() if len(value) > 1})
        for subject in range(1, 11)
    }
    few[1] = _changed(**{key: value[:60] for key, value in _variables(1).items() if len(value) > 1})
    with pytest.raises(RawDataError, match="hold 1 windows of 52 samples"):
        open_raw(_raw(tmp_path, few))


# --- whole or partial


def _whole(subject: int, repetitions: int = 6) -> Variables:
    """A recording with every movement in every repetition, a window each."""
    label = np.repeat(np.arange(1, 18), 60 * repetitions)
    repetition = np.tile(np.repeat(np.arange(1, repetitions + 1), 60), 17)
    label, repetition = np.append(label, np.zeros(60)), np.append(repetition, np.zeros(60))
    return _changed(emg=np.zeros((len(label), 16)), restimulus=label[:, None], rerepetition=repetition[:, None])


def test_recordings_with_all_movements_and_repetitions_are_whole(tmp_path: Path) -> None:
    opened = open_raw(_raw(tmp_path / "whole", {subject: _whole(subject) for subject in range(1, 11)}))
    assert not opened.departures
    five = {subject: _whole(subject, 6 if subject != 9 else 5) for subject in range(1, 11)}
    (departure,) = open_raw(_raw(tmp_path / "five", five)).departures
    assert departure.startswith("subject 9: not exactly the repetitions 1 to 6 of every movement (the first of 17")


def test_the_stand_in_is_cut_as_counted_from_its_labels(real_data: Path) -> None:
    opened = open_raw(real_data / "ninapro")
    expected: Counter[int] = Counter()
    for subject in range(1, 11):
        content = scipy.io.loadmat(str(real_data / "ninapro" / f"s{subject}" / f"S{subject}_E2_A1.mat"))
        label, repetition = content["restimulus"][:, 0], content["rerepetition"][:, 0]
        starts = _windows_by_hand(label, repetition)
        expected.update(label[starts].tolist())
        rows = cut_windows(real_data / "ninapro" / f"s{subject}", subject, np.array(starts[:3]))
        for start, x in zip(starts, rows["x"], strict=False):
            np.testing.assert_array_equal(x, content["emg"][start : start + 52].T)
    assert opened.n_units == SPEC.splits
    assert opened.notes["windows"] == expected.total()
    # it has 7 of the 18 classes, and must not pass for the whole
    (departure,) = opened.departures
    assert departure.startswith("subject 1, 2, 3, 4, 5, 6, 7, 8, 9, 10: of the classes 0 to 17 there is no 1, 2, 3")
    total = sum(SPEC.splits.values())
    drawn = Counter(
        int(label) for split in SPLITS for rows in opened.splits[split]() for label in np.asarray(rows["y"])
    )
    for label in range(len(CLASSES)):
        assert abs(drawn[label] - expected[label] * total / expected.total()) < 1
