"""Satellite: land cover of a pixel from a year of satellite images of Toulouse, 24 classes."""

from __future__ import annotations

from nas360.loaders.base import Task
from nas360.loaders.differences import TEST_READ_ONCE
from nas360.task import Difference, Point, Source, TaskSpec

STEPS = 46
_CLOUDSTOR = (
    "https://cloudstor.aarnet.edu.au/plus/s/pRLVtQyNhxDdCoM/download?path=%2FDataset%2FSITS_2006_NDVI_C%2FSITS1M_fold1"
)
_DRIVE = "https://drive.google.com/uc?id="

SPEC = TaskSpec(
    id="satellite",
    name="Satellite",
    summary="Land cover of a pixel from its vegetation index on 46 dates of one year",
    spatial_dims=1,
    input_shape=(1, STEPS),
    output=Point(n_classes=24),
    prediction_shape=(),
    loss="cross_entropy",
    metric="zero_one_error",
    direction="lower",
    bounds=(0.0, 100.0),
    unit="percent",
    decimals=2,
    unit_of_split="pixel",
    splits={"train": 800000, "validation": 100000, "test": 100000},
    repo="nas360/satellite",
    licence="unknown (no licence text is known for the series; NAS-Bench-360 lists GPL-3.0)",
    citation=(
        "@article{petitjean2012satellite, title={Satellite Image Time Series Analysis Under Time Warping}, "
        "author={Petitjean, François and Inglada, Jordi and Gançarski, Pierre}, journal={IEEE Transactions on "
        "Geoscience and Remote Sensing}, volume={50}, number={8}, pages={3081--3095}, "
        "year={2012}}\n"
        "@inproceedings{tan2017indexing, title={Indexing and classifying gigabytes of time series under "
        "time warping}, author={Tan, Chang Wei and Webb, Geoffrey I. and Petitjean, François}, "
        "booktitle={Proceedings of the 2017 SIAM International Conference on Data Mining}, year={2017}}"
    ),
    sources=(
        Source(
            filename="SITS1M_fold1_TRAIN.csv",
            url=_CLOUDSTOR + "&files=SITS1M_fold1_TRAIN.csv",
            note="900,000 series; the first column is the label; the service that held it has been closed",
        ),
        Source(
            filename="SITS1M_fold1_TEST.csv",
            url=_CLOUDSTOR + "&files=SITS1M_fold1_TEST.csv",
            note="100,000 series; the service that held it has been closed",
        ),
        Source(
            filename="satellite_train.npy",
            url=_DRIVE + "1TB38jKE1njCyo_M4P8iYvNmF6BV4T51f",
            note="the same training series, as the authors of NAS-Bench-360 distribute them; about 323 MiB",
        ),
        Source(
            filename="satellite_test.npy",
            url=_DRIVE + "1u8iakYN99Vea81ucDGtEYbRkCAR99pDL",
            note="the same test series, as the authors of NAS-Bench-360 distribute them; about 36 MiB",
        ),
    ),
    differences=(
        TEST_READ_ONCE,
        Difference(
            reference="each series is divided by its standard deviation without a guard, so that a constant series "
            "becomes NaN",
            ours="a constant series becomes zeros",
            reason="one NaN ends a training run",
        ),
        Difference(
            reference="the text of the paper says 46 land cover types",
            ours="24 classes; 46 is the number of dates",
            reason="that is what the data, the code and the paper's own table have",
        ),
        Difference(
            reference="DenseNAS sees a zero added at each end of a series",
            ours="46 steps for every method",
            reason="all methods must see the same input",
        ),
        Difference(
            reference="the split is random over pixels, so that neighbours in one field are likely to be in training "
            "and test",
            ours="the same: the last 100,000 of the 900,000 training series validate, fold 1 tests",
            reason="what the published numbers were made with; positions of the pixels are not published",
        ),
    ),
)

TASK = Task(SPEC)
