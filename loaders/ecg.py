"""ECG: windows of single-lead recordings, four rhythm classes (PhysioNet/CinC Challenge 2017)."""

from __future__ import annotations

from nas360.loaders.base import Task
from nas360.loaders.differences import TEST_READ_ONCE
from nas360.task import Difference, Point, Source, TaskSpec

WINDOW = 1000
TRAIN_STRIDES = {"N": 500, "A": 83, "O": 250, "~": 25}
EVALUATION_STRIDE = 500
CLASSES = ("N", "A", "O", "~")

SPEC = TaskSpec(
    id="ecg",
    name="ECG",
    summary="Heart rhythm (normal, atrial fibrillation, other, noisy) from a single-lead recording at 300 Hz",
    spatial_dims=1,
    input_shape=(1, WINDOW),
    output=Point(n_classes=4),
    prediction_shape=(),
    loss="cross_entropy",
    metric="macro_f1_by_record",
    direction="higher",
    bounds=(0.0, 1.0),
    unit="fraction",
    decimals=2,
    unit_of_split="record",
    splits={"train": 6822, "validation": 853, "test": 853},
    rows={"train": 261740},
    group="record_id",
    repo="nas360/ecg",
    licence="ODC-By-1.0",
    citation=(
        "@inproceedings{clifford2017af, title={AF Classification from a Short Single Lead ECG Recording: the "
        "PhysioNet/Computing in Cardiology Challenge 2017}, author={Clifford, Gari D and Liu, Chengyu and Moody, Benjamin and "
        "Lehman, Li-wei H and Silva, Ikaro and Li, Qiao and Johnson, Alistair and Mark, Roger G}, booktitle={Computing in "
        "Cardiology}, year={2017}}"
    ),
    sources=(
        Source(filename="training2017.zip", url="https://archive.physionet.org/challenge/2017/training2017.zip"),
        Source(filename="REFERENCE-v3.csv", url="https://archive.physionet.org/challenge/2017/REFERENCE-v3.csv"),
    ),
    class_names=CLASSES,
    differences=(
        TEST_READ_ONCE,
        Difference(
            reference="windows of validation and test records are cut with a stride that depends on the true label",
            ours="validation and test strides are 500 samples for every record",
            reason="the number of windows would give the label away",
        ),
        Difference(
            reference="search and final training use different record splits; half of the reported test records had been "
            "used to choose the architecture",
            ours="one 80/10/10 split of the records (train_test_split with random_state 0, 0.2 then 0.5) for everything",
            reason="test records must not be seen by the search",
        ),
        Difference(
            reference="a start in range(0, len - 1000, stride), so that the last full window can be lost",
            ours="the same",
            reason="kept, so that the training set has the published 261,740 windows",
        ),
        Difference(
            reference="ties of the vote go to the class that was met first",
            ours="ties go to the class with the lowest index",
            reason="the result must not depend on the order of windows",
        ),
        Difference(
            reference="the papers say windows of 1,000 ms with a stride of 500 ms; the code has windows of 1,000 samples, that "
            "is 3.33 s, and strides that differ from class to class",
            ours="windows of 1,000 samples",
            reason="what the published numbers were made with",
        ),
        Difference(
            reference="the papers give the F1 of the challenge, which averages over N, A and O; the code averages over all four "
            "classes, noisy recordings too",
            ours="the mean over four classes is the score; the mean over N, A and O is reported beside it",
            reason="comparable with the published numbers, and with the challenge",
        ),
    ),
)

TASK = Task(SPEC)
