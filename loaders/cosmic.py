"""Cosmic: pixels hit by cosmic rays in images of the Hubble Space Telescope."""

from __future__ import annotations

from nas360.loaders.base import Task
from nas360.loaders.differences import TEST_READ_ONCE
from nas360.task import Dense, Difference, Source, TaskSpec

FILTER = "f435w"
FIELD_TYPE = "GAL"
PATCH = 256
CROP = 128

SPEC = TaskSpec(
    id="cosmic",
    name="Cosmic",
    summary="Mask of the pixels that cosmic rays hit in a single exposure of the Hubble Space Telescope",
    spatial_dims=2,
    input_shape=(1, CROP, CROP),
    output=Dense(channels=1, target="mask"),
    prediction_shape=(CROP, CROP),
    loss="masked_binary_cross_entropy",
    metric="cosmic_fnr",
    direction="lower",
    bounds=(0.0, 100.0),
    unit="percent",
    decimals=2,
    unit_of_split="image",
    splits={"train": 4347, "validation": 483, "test": 420},
    repo="nas360/cosmic",
    licence="CC-BY-4.0 (as NAS-Bench-360's page lists it, after it said open data; the exposures of the telescope "
    "are public)",
    citation=(
        "@article{kwon2021deepcr, title={{DeepCR} on {ACS/WFC}: Cosmic-Ray Rejection for {HST} {ACS/WFC} "
        "Photometry}, author={Kwon, K. J. and Zhang, Keming and Bloom, Joshua S.}, journal={Research Notes of the "
        "American Astronomical Society}, volume={5}, number={4}, pages={98}, year={2021}}\n"
        "@article{zhang2020deepcr, "
        "title={{deepCR}: Cosmic Ray Rejection with Deep Learning}, author={Zhang, Keming and Bloom, Joshua S.}, "
        "journal={The Astrophysical Journal}, volume={889}, number={1}, pages={24}, year={2020}}"
    ),
    sources=(
        Source(
            filename="deepCR.ACS-WFC.train.tar",
            url="https://zenodo.org/records/4295902/files/deepCR.ACS-WFC.train.tar?download=1",
            note="training and validation patches; about 6.5 GB",
        ),
        Source(
            filename="deepCR.ACS-WFC.test.tar",
            url="https://zenodo.org/records/4295902/files/deepCR.ACS-WFC.test.tar?download=1",
            note="test patches; about 2.0 GB",
        ),
    ),
    differences=(
        TEST_READ_ONCE,
        Difference(
            reference="a pixel is positive where the raw logit is above 0.5, a probability of 0.62",
            ours="a pixel is positive where the probability is above 0.5",
            reason="0.5 was meant as a probability",
        ),
        Difference(
            reference="pixels that the ignore plane marks count in the metric, and enter the loss as a constant",
            ours="ignored pixels are left out of metric and loss",
            reason="their true label is not known",
        ),
        Difference(
            reference="the order of patches, and so the split, is that in which the file system lists them; patches "
            "of one visit can be in training and validation",
            ours="patches in sorted order; the cut between training and validation is moved to the nearest border "
            "between visits, so that their sizes can differ a little from 4,347 and 483",
            reason="a split must be reproducible, and overlapping exposures of one field must not be on both sides",
        ),
        Difference(
            reference="a random amount of sky is added at validation and test too",
            ours="a random amount of sky is added in training only",
            reason="a score must not depend on a draw",
        ),
        Difference(
            reference="false negative rate alone; later tables of the authors print half the sum of false negative "
            "and false positive rate under the name 1 - AUROC",
            ours="false negative rate, with the false positive rate, the precision and 1 - AUROC of the "
            "probabilities beside it",
            reason="the false negative rate alone is zero for a network that calls every pixel a hit",
        ),
        Difference(
            reference="the project's page calls the task identification and replacement",
            ours="identification",
            reason="nothing is replaced in data or code",
        ),
    ),
)

TASK = Task(SPEC)
