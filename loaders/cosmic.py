"""Cosmic: pixels hit by cosmic rays in images of the Hubble Space Telescope."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from nas360.errors import RawDataError
from nas360.loaders.base import Batch, Column, Loader, OutputScale, RawData, Rows, Task
from nas360.loaders.cosmic_files import PATCH, Patch, count_planes, find_archives, find_patches, make_piece
from nas360.loaders.differences import TEST_READ_ONCE
from nas360.loaders.pieces import Pieces, in_groups
from nas360.loaders.raw.archive import fingerprint
from nas360.task import SPLITS, Dense, Difference, Source, SplitName, TaskSpec

CROP = 128
TRAIN_SHARE = 0.9
SKY_FACTOR = (-0.9, 3.0)
N_OFFICIAL = {"train": 4830, "test": 420}
PATCHES_A_PIECE = 16

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
    apart=("visit",),
    splits={"train": 4347, "validation": 483, "test": 420},
    splits_exact=False,
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
            unpacked=("npy_train",),
            url="https://zenodo.org/records/4295902/files/deepCR.ACS-WFC.train.tar?download=1",
            note="training and validation patches; about 6.5 GB",
        ),
        Source(
            filename="deepCR.ACS-WFC.test.tar",
            unpacked=("npy_test",),
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
            "between visits, so that their sizes differ from 4,347 and 483 by up to half a visit",
            reason="a split must be reproducible, and overlapping exposures of one field must not be on both sides",
        ),
        Difference(
            reference="values that are not finite go into the network",
            ours="a patch with such values in its image is left out and told",
            reason="one of them spoils every pixel that a network computes from it",
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

COLUMNS = {
    "id": Column("string", about="train or test, proposal, visit, exposure and patch"),
    "visit": Column("string", about="proposal and visit of the telescope"),
    "exposure": Column("int64", about="number of the exposure in its visit, from 1"),
    "sky": Column("float32", about="level of the sky in the exposure, in the image's unit"),
    "x": Column("float32", (PATCH, PATCH), about="the image, in raw counts"),
    "y": Column("uint8", (PATCH, PATCH), about="1 where a cosmic ray hit"),
    "ignore": Column("uint8", (PATCH, PATCH), about="1 where nothing can be said; left out of loss and metric"),
}


def open_raw(folder: Path) -> RawData:
    """Open the two archives of deepCR, as downloaded or unpacked; see `loaders.base.Loader`.

    Patches are sorted by proposal (a number), visit (a text), exposure and patch (numbers).

    Args:
        folder: with `deepCR.ACS-WFC.train.tar` and `.test.tar`, or folders of these names without `.tar`, or the
            folders `npy_train` and `npy_test`.

    Returns:
        Columns as `COLUMNS`.

    Raises:
        RawDataError: when an archive is missing, damaged or unsafe, holds no patch of the filter and fields, holds one
            twice, or lacks sky levels; or there are fewer than two training patches. The patches themselves are judged
            when rows are read, see `cosmic_files.make_piece`.
    """
    found: dict[str, list[Patch]] = {}
    sources: dict[str, str] = {}
    other: dict[str, int] = {}
    for part, path in find_archives(folder).items():
        sources[path.name] = fingerprint(path)
        found[part], other[part] = find_patches(path, part)
    cut, how = cut_at([patch.order for patch in found["train"]])
    splits: dict[SplitName, Sequence[Patch]] = {
        "train": found["train"][:cut],
        "validation": found["train"][cut:],
        "test": found["test"],
    }
    departures = [
        f"{len(found[part]):,} patches for {'training and validation' if part == 'train' else 'test'}, officially {n:,}"
        for part, n in N_OFFICIAL.items()
        if len(found[part]) != n
    ]
    if how != "visit":
        departures.append(
            "all training patches are of one visit: the cut between training and validation is inside it, at the end "
            f"of one {how}"
        )
    shared = sorted({patch.visit for patch in found["train"]} & {patch.visit for patch in found["test"]})
    return RawData(
        splits={split: Pieces(make_piece, in_groups(patches, PATCHES_A_PIECE)) for split, patches in splits.items()},
        sources=sources,
        n_units={split: len(splits[split]) for split in SPLITS},
        departures=tuple(departures),
        notes={
            "visits": {split: len({patch.visit for patch in splits[split]}) for split in SPLITS},
            "patches_of_other_fields": other,
            "patches_without_ignore_plane": {
                split: sum(count_planes(patch.place.size) == 2 for patch in splits[split]) for split in SPLITS
            },
            **({"visits_in_training_and_test": shared} if shared else {}),
        },
    )


def cut_at(keys: Sequence[tuple[int, str, int, int]]) -> tuple[int, str]:
    """Where sorted patches are cut into training and validation: at the border of visits that is nearest to 90 %.

    Of equally near borders the first is taken. Where all patches are of one visit, it is the nearest border of
    exposures, or else of patches.

    Args:
        keys: proposal, visit, exposure and patch of each, sorted.

    Returns:
        How many patches train, and whether a `visit`, an `exposure` or a `patch` ends there.

    Raises:
        RawDataError: when there is one patch, or none.

    Example:
        >>> cut_at([(1, "a", 1, 0), (1, "a", 1, 1), (1, "b", 1, 0), (2, "b", 1, 0), (2, "b", 2, 0)])
        (3, 'visit')
    """
    target = int(TRAIN_SHARE * len(keys))
    for size, kind in ((2, "visit"), (3, "exposure"), (4, "patch")):
        borders = [at for at, (one, two) in enumerate(pairwise(keys), start=1) if one[:size] != two[:size]]
        if borders:
            return min(borders, key=lambda border: (abs(border - target), border)), kind
    raise RawDataError(f"{len(keys)} patches to train and validate with; at least 2 are needed. Get the archive anew")


class CosmicPreprocessing:
    """The central 128×128 of image and mask, in raw counts, without weight where the ignore plane says so.

    In training (with a generator) the level of the sky times U(-0.9, 3), one draw a patch, is added to the image: the
    same field under a darker or brighter sky. The shot noise of the added sky is left out, as in the reference.
    """

    output_scale: OutputScale | None = None

    def __call__(self, rows: Rows, rng: np.random.Generator | None) -> Batch:
        """Make a batch; see `loaders.base.Preprocessing`."""
        start = (PATCH - CROP) // 2
        centre = (slice(None), slice(start, start + CROP), slice(start, start + CROP))
        x = np.array(rows["x"][centre], dtype=np.float32)[:, None]
        if rng is not None:
            factor = rng.uniform(*SKY_FACTOR, size=len(x)).astype(np.float32)
            x += (rows["sky"] * factor)[:, None, None, None]
        return Batch(x, rows["y"][centre].astype(np.float32), 1.0 - rows["ignore"][centre].astype(np.float32))


def fit(rows: Rows) -> CosmicPreprocessing:
    """Nothing is fitted: the reference does not normalise."""
    return CosmicPreprocessing()


def _loader() -> Loader:
    from nas360.loaders.synthetic.cosmic import write_synthetic

    return Loader(columns=COLUMNS, open_raw=open_raw, fit=fit, synthesise=write_synthetic)


TASK = Task(SPEC, _loader)
