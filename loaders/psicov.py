"""PSICOV: distances between the residues of a protein from features of its sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nas360.errors import RawDataError
from nas360.loaders.base import Column, Loader, RawData, Rows, Task
from nas360.loaders.differences import TEST_READ_ONCE
from nas360.loaders.pieces import Pieces, in_groups
from nas360.loaders.psicov_features import CHANNELS, CROP, PsicovPreprocessing
from nas360.loaders.psicov_files import (
    PROTEINS_A_PIECE,
    SETS,
    Protein,
    find_tree,
    hash_of_ids,
    make_piece,
    read_list,
)
from nas360.loaders.raw.archive import Place, read_places
from nas360.task import SPLITS, Dense, Difference, Source, SplitName, TaskSpec

N_VALIDATION = 100
MAX_LIST_BYTES = 1 << 20
OFFICIAL_IDS = {
    "deepcov": "c265cba6de10a7d7a47f0d4cd525e180f8dd350034ff6ef4e4889c61d27fb241",
    "psicov": "d4c63d171e22b3827527e6167a9d9ab35cd4ae7bad3b179cea515e0bf42d7b57",
}
"""`hash_of_ids` of the lists in PDNET's repository."""

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
            unpacked=("deepcov", "deepcov.lst", "psicov", "psicov.lst"),
            url="http://deep.cs.umsl.edu/pdnet/train-data.tar.gz",
            note="features and distance maps of PDNET, with the lists deepcov.lst and psicov.lst; unpacked beside it "
            "by hand, or once into nas360's cache",
        ),
        Source(
            filename="protein.zip",
            url="https://drive.google.com/uc?id=1nBs6qJJPK8qNzsmFo3waPsGzHFHplLMo",
            note="the copy of the authors of NAS-Bench-360, read where the other is not there; about 1.1 GB",
            optional=True,
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
        Difference(
            reference="5 zeros are padded on every side of a protein, so that one of more than 118 residues is "
            "cropped, and crops can show padding",
            ours="no padding before cropping: one of more than 128 residues is cropped",
            reason="the convolutions of every network pad on their own",
        ),
        Difference(
            reference="a test map is predicted window by window, in 16 windows of 128 by 128 that do not overlap",
            ours="a test map is predicted as a whole",
            reason="what a network sees must not end at the border of a window",
        ),
        Difference(
            reference="values that are not numbers become zero in features, and stop the program in maps",
            ours="a protein with features that are not finite is left out and told; a distance that is not a number is "
            "unknown: it has no weight in the loss, and is no contact",
            reason="nothing may change without being told, and an unknown residue does not spoil the others",
        ),
    ),
)

COLUMNS = {
    "id": Column("string", about="name of the chain: PDB entry and chain"),
    "seq": Column("string", about="the sequence, a letter a residue, L of them"),
    "ss": Column("float16", (None, 3), about="probabilities of coil, helix and strand, (L, 3)"),
    "pssm": Column("float32", (None, 22), about="position-specific scores, (L, 22)"),
    "sa": Column("float16", (None,), about="solvent accessibility, (L)"),
    "entropy": Column("float16", (None,), about="entropy of the alignment's column, (L)"),
    "ccmpred": Column("float16", (None, None), about="couplings by CCMpred, (L, L)"),
    "freecon": Column("float16", (None, None), about="couplings by FreeContact, (L, L)"),
    "potential": Column("float16", (None, None), about="contact potential of the pair, (L, L)"),
    "y": Column("float16", (None, None), about="distance of Cβ atoms in Å, (L, L); NaN where it is not known"),
}


def open_raw(folder: Path) -> RawData:
    """Open PDNET's distribution: `train-data.tar.gz`, `protein.zip`, or either unpacked; see `loaders.base.Loader`.

    The first 100 proteins of deepcov.lst validate (of a list of fewer than 1,000 the first tenth), the others train;
    a protein's split does not depend on which files are there. A .tar.gz is unpacked into the cache of this user
    first (`NAS360_CACHE`), once: proteins are read in the order of the lists.

    Args:
        folder: where the files are.

    Returns:
        Columns as `COLUMNS`. Proteins without files are skipped and told, as are those of deepcov.lst that are in
        psicov.lst too.

    Raises:
        RawDataError: when a list or a folder is missing, a list is faulty, an archive is damaged or unsafe, or a
            split would be empty. Proteins are judged when rows are read, see `psicov_files.make_piece`.
    """
    tree = find_tree(folder)
    lists = {name: _ids(tree.files[f"{name}.lst"]) for name in SETS}
    both = set(lists["deepcov"]) & set(lists["psicov"])
    cut = max(1, min(N_VALIDATION, len(lists["deepcov"]) // 10))
    wanted: dict[SplitName, Sequence[str]] = {
        "train": [f"deepcov/{name}" for name in lists["deepcov"][cut:] if name not in both],
        "validation": [f"deepcov/{name}" for name in lists["deepcov"][:cut] if name not in both],
        "test": [f"psicov/{name}" for name in lists["psicov"]],
    }
    skipped: dict[str, list[str]] = {"in both lists, kept for test": sorted(both)} if both else {}
    splits: dict[SplitName, list[Protein]] = {}
    for split, names in wanted.items():
        splits[split] = [protein for name in names if (protein := _protein(name, tree.files, skipped)) is not None]
    empty = [split for split in SPLITS if not splits[split]]
    if empty:
        raise RawDataError(
            f"{folder}: no protein of the lists has its files for {' and '.join(empty)}: both features/ID.pkl and "
            f"distance/ID-cb.npy are needed. Get the whole distribution"
        )
    other = [f"{name}.lst is not the official list" for name in SETS if hash_of_ids(lists[name]) != OFFICIAL_IDS[name]]
    known = {place.name for proteins in splits.values() for one in proteins for place in (one.features, one.distance)}
    unlisted = sum(place.name not in known and not name.endswith(".lst") for name, place in tree.files.items())
    return RawData(
        splits={split: Pieces(make_piece, in_groups(proteins, PROTEINS_A_PIECE)) for split, proteins in splits.items()},
        sources=tree.sources,
        n_units={split: len(proteins) for split, proteins in splits.items()},
        skipped={reason: tuple(names) for reason, names in skipped.items()},
        departures=tuple(other),
        notes={"files_that_were_not_used": unlisted} if unlisted else {},
    )


def _ids(place: Place) -> list[str]:
    return read_list(read_places([place], max_bytes=MAX_LIST_BYTES)[0], Path(place.name).name)


def _protein(name: str, files: Mapping[str, Place], skipped: dict[str, list[str]]) -> Protein | None:
    """Where a protein's files lie; None, and a line in `skipped`, where one is missing."""
    kind, _, identifier = name.partition("/")
    features = files.get(f"{kind}/features/{identifier}.pkl")
    distance = files.get(f"{kind}/distance/{identifier}-cb.npy")
    if features is None or distance is None:
        reason = "without a file of features" if features is None else "without a distance map"
        skipped.setdefault(reason, []).append(name)
        return None
    return Protein(identifier, features, distance)


def fit(rows: Rows) -> PsicovPreprocessing:
    """Nothing is fitted: the reference does not normalise."""
    return PsicovPreprocessing()


def _loader() -> Loader:
    from nas360.loaders.synthetic.psicov import write_synthetic

    return Loader(columns=COLUMNS, open_raw=open_raw, fit=fit, synthesise=write_synthetic)


TASK = Task(SPEC, _loader)
