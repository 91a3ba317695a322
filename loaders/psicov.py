"""PSICOV: distances between the residues of a protein from features of its sequence."""

from __future__ import annotations

from nas360.loaders.base import Task
from nas360.loaders.differences import TEST_READ_ONCE
from nas360.task import Dense, Difference, Source, TaskSpec

CHANNELS = 57
CROP = 128

SPEC = TaskSpec(
    id="psicov",
    name="PSICOV",
    summary="Distances between all pairs of residues of a protein from pairwise features of its sequence",
    spatial_dims=2,
    input_shape=(CHANNELS, CROP, CROP),
    output=Dense(channels=1, target="real"),
    prediction_shape=(-1, -1),
    loss="mean_squared_error",
    metric="mae8",
    direction="lower",
    bounds=(0.0, None),
    unit="angstrom",
    decimals=2,
    unit_of_split="protein",
    splits={"train": 3356, "validation": 100, "test": 150},
    repo="nas360/psicov",
    licence="unknown (the code of PDNET is under Apache-2.0; NAS-Bench-360 lists the data as GPL)",
    citation=(
        "@article{adhikari2020fully, title={A fully open-source framework for deep learning protein real-valued "
        "distances}, author={Adhikari, Badri}, journal={Scientific Reports}, volume={10}, year={2020}, "
        "doi={10.1038/s41598-020-70181-0}}\n"
        "@article{jones2012psicov, title={{PSICOV}: precise structural contact "
        "prediction using sparse inverse covariance estimation on large multiple sequence alignments}, "
        "author={Jones, David T. and Buchan, Daniel W. A. and Cozzetto, Domenico and Pontil, Massimiliano}, "
        "journal={Bioinformatics}, volume={28}, number={2}, pages={184--190}, year={2012}}"
    ),
    sources=(
        Source(
            filename="train-data.tar.gz",
            url="http://deep.cs.umsl.edu/pdnet/train-data.tar.gz",
            note="features and distance maps of PDNET, with the lists deepcov.lst and psicov.lst",
        ),
        Source(
            filename="protein.zip",
            url="https://drive.google.com/uc?id=1nBs6qJJPK8qNzsmFo3waPsGzHFHplLMo",
            note="the copy of the authors of NAS-Bench-360; about 1.1 GB",
        ),
    ),
    differences=(
        TEST_READ_ONCE,
        Difference(
            reference="prediction and transpose are averaged twice, which gives the upper triangle a weight of 0.25 "
            "and the lower one 0.75",
            ours="the mean of the prediction and its transpose",
            reason="a distance is the same in both directions",
        ),
        Difference(
            reference="test proteins are shuffled while their lengths are looked up in the order of the list, so "
            "that pairs beyond a wrong, too small length are dropped",
            ours="every protein is scored over its own length",
            reason="the published value is an average over a random part of the pairs",
        ),
        Difference(
            reference="the papers define MAE8 over distances below 8 Å and do not say that only pairs with a "
            "sequence separation of 24 and more count",
            ours="separation of at least 24 and true distance of at most 8 Å, the mean for each protein and then "
            "over proteins; separation of at least 12 and distance of at most 12 Å are reported beside it",
            reason="what the code measures, said openly",
        ),
        Difference(
            reference="validation measures the error over clipped random crops, another quantity than test",
            ours="validation measures MAE8 as test does",
            reason="validation must measure what test measures",
        ),
        Difference(
            reference="crops are drawn from a generator that was not seeded",
            ours="crops, with independent row and column offsets as in the reference, are drawn from the run's seed",
            reason="runs must be reproducible",
        ),
        Difference(
            reference="the loss covers the padding around proteins that are smaller than a crop",
            ours="padding has no weight in the loss",
            reason="a network should learn distances, not where the padding is",
        ),
    ),
)

TASK = Task(SPEC)
