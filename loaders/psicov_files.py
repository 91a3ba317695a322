"""PDNET's files: lists of proteins, features as pickles, distance maps as pickles in .npy files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas360.errors import RawDataError, first_faults
from nas360.files import MIB
from nas360.loaders.base import Array, Rows
from nas360.loaders.pieces import Piece
from nas360.loaders.raw.archive import Place, fingerprint, places, read_places
from nas360.loaders.raw.npy import npy_objects
from nas360.loaders.raw.pickles import load_pickle
from nas360.loaders.raw.unpacked import unpacked_gzip

SETS = ("deepcov", "psicov")
_PARTS = ("features", "distance")
ARCHIVES = ("train-data.tar.gz", "train-data.tar", "protein.zip")
FOLDERS = (".", "train-data", "protein", "data")
# 3,737 proteins of two files each; those of the official lists have at most 512 residues
MAX_BYTES, MAX_MEMBERS, MAX_FILE_BYTES, MAX_LENGTH = 16 * 1024 * MIB, 100_000, 32 * MIB, 1500
PROTEINS_A_PIECE = 4  # so that a piece stays below 50 MB
NOT_FINITE = "features that are not finite"

_MEMBER = re.compile(r"(?:^|/)((?:deepcov|psicov)(?:\.lst|/features/[^/.][^/]*\.pkl|/distance/[^/.][^/]*-cb\.npy))$")
_ID = re.compile(r"^\w[\w.-]{0,31}$", re.ASCII)


@dataclass(frozen=True)
class Tree:
    """The files of a raw distribution, however it is packed.

    Attributes:
        files: path inside the distribution, for instance `psicov/features/1a3aA.pkl` → where it lies.
        sources: what was found → its hash.
    """

    files: Mapping[str, Place]
    sources: Mapping[str, str]


def find_tree(folder: Path) -> Tree:
    """The distribution in a folder: unpacked, else one of the archives. Lists may lie beside an archive without them.

    Raises:
        RawDataError: when there is none, or it lacks a list or a folder; or an archive is damaged, unsafe, or holds a
            file twice.
    """
    if not folder.is_dir():
        raise RawDataError(f"{folder} is not a folder. Give --raw the folder with {ARCHIVES[0]}")
    root = next((folder / name for name in FOLDERS if any((folder / name / one).is_dir() for one in SETS)), None)
    archive = next((folder / name for name in ARCHIVES if (folder / name).is_file()), None)
    if root is not None:
        tree = [path for one in SETS for path in (root / one).rglob("*")]
        found = [_place(root, path) for path in sorted(tree) if path.is_file()]
        sources = {one: fingerprint(root / one) for one in SETS if (root / one).is_dir()}
    elif archive is not None:
        name = archive.name
        if name.endswith(".gz"):  # what it holds is wanted in another order than it lies there
            archive, digest = unpacked_gzip(archive, max_bytes=MAX_BYTES)
        else:
            digest = fingerprint(archive)
        sources = {name: digest}
        found = list(places(archive, max_bytes=MAX_BYTES, max_members=MAX_MEMBERS))
    else:
        wanted = ", ".join([f"{one}.lst" for one in SETS] + [f"{one}/{part}/" for one in SETS for part in _PARTS])
        raise RawDataError(
            f"{folder} holds neither {' nor '.join(ARCHIVES)}, nor these, unpacked: {wanted}. "
            f"`nas360 info psicov` shows where to get them"
        )
    files: dict[str, Place] = {}
    for place in found:
        if match := _MEMBER.search(place.name):
            if match[1] in files:
                raise RawDataError(f"{place.container.name}: holds {match[1]} twice. Get it anew")
            files[match[1]] = place
    for name in (f"{one}.lst" for one in SETS):
        beside = next((path / name for path in (root or folder, folder) if (path / name).is_file()), None)
        if beside is not None and name not in files:
            files[name] = _place(beside.parent, beside)
            sources[name] = fingerprint(beside)
    _complete(folder, files)
    return Tree(files, sources)


def _complete(folder: Path, files: Mapping[str, Place]) -> None:
    """Name all that is missing at once."""
    missing = [f"{one}.lst" for one in SETS if f"{one}.lst" not in files]
    for start in (f"{one}/{part}/" for one in SETS for part in _PARTS):
        if not any(name.startswith(start) for name in files):
            missing.append(start)
    if missing:
        raise RawDataError(
            f"{folder} lacks {', '.join(missing)} (lists of proteins; features/ID.pkl; distance/ID-cb.npy). "
            f"`nas360 info psicov` shows where to get them"
        )


def _place(root: Path, path: Path) -> Place:
    return Place(root, path.relative_to(root).as_posix(), path.stat().st_size)


def read_list(content: bytes, source: str) -> list[str]:
    """The proteins of a list, in order: the first word of each line (in deepcov.lst the length follows).

    Raises:
        RawDataError: when it is empty or no text, an id is not of letters, digits and `_.-`, or stands there twice.
    """
    try:
        lines = content.decode("ascii").split("\n")
    except UnicodeDecodeError as cause:
        raise RawDataError(f"{source}: not readable as text ({cause}). Get the file anew") from cause
    ids = [line.split()[0] for line in lines if line.strip()]
    faults = [f"{name[:40]!r} is no name of a protein" for name in ids if not _ID.match(name)]
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            faults.append(f"{name[:40]!r} stands there twice")
        seen.add(name)
    if not ids:
        faults = ["names no protein"]
    if faults:
        raise RawDataError(f"{source}: {'; '.join(first_faults(faults))}. Get the file anew")
    return ids


def hash_of_ids(ids: Sequence[str]) -> str:
    """SHA-256 of ids in their order."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


@dataclass(frozen=True)
class Protein:
    """Where one protein's files lie."""

    name: str
    features: Place
    distance: Place


def make_piece(proteins: Sequence[Protein]) -> Piece:
    """Read some proteins; those with features that are not finite are left out.

    Raises:
        RawDataError: when a file is damaged, hostile, or not in the official layout.
    """
    contents = read_places(
        [place for one in proteins for place in (one.features, one.distance)], max_bytes=MAX_FILE_BYTES
    )
    rows: list[Rows] = []
    skipped: list[str] = []
    for number, protein in enumerate(proteins):
        features = _features(contents[2 * number], protein.features.name)
        if all(np.isfinite(value).all() for value in features.values() if isinstance(value, np.ndarray)):
            y = _distances(contents[2 * number + 1], protein.distance.name, str(features["seq"]))
            rows.append(_one_row({"id": protein.name, **features, "y": y}))
        else:
            skipped.append(protein.name)
    return Piece(rows, {NOT_FINITE: tuple(skipped)} if skipped else {})


def _one_row(values: Mapping[str, Any]) -> Rows:
    row: dict[str, Array] = {}
    for name, value in values.items():
        row[name] = np.empty(1, dtype=object)
        row[name][0] = value
    return row


_LAYOUT: Mapping[str, tuple[str, tuple[int | None, ...]]] = {
    # key: dtype of the column, shape in the file (None: the protein's length)
    "ss": ("float16", (3, None)),
    "pssm": ("float32", (None, 22)),
    "sa": ("float16", (None,)),
    "entropy": ("float16", (None,)),
    "ccmpred": ("float16", (None, None)),
    "freecon": ("float16", (None, None)),
    "potential": ("float16", (None, None)),
}


def _features(content: bytes, source: str) -> dict[str, str | Array]:
    """`seq` and the arrays of `_LAYOUT`, `ss` as (L, 3)."""
    loaded = load_pickle(content, source)
    if not isinstance(loaded, dict):
        raise RawDataError(f"{source}: holds {type(loaded).__name__}, must hold a dict. Get the file anew")
    # Python 2 wrote names as bytes
    found = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in loaded.items()}
    missing = [key for key in ("seq", *_LAYOUT) if key not in found]
    if missing:
        raise RawDataError(f"{source}: lacks {', '.join(missing)}. Get the file anew from its publisher")
    seq = sequence(found["seq"], source)
    result: dict[str, str | Array] = {"seq": seq}
    for key, (dtype, form) in _LAYOUT.items():
        shape = tuple(len(seq) if size is None else size for size in form)
        values = exact(found[key], dtype, shape, f"{source}: {key!r}")
        result[key] = np.ascontiguousarray(values.T if key == "ss" else values)
    return result


def sequence(value: object, source: str, gaps: bool = False) -> str:
    """A protein's sequence.

    Args:
        value: as the file has it.
        source: the file's name, for messages.
        gaps: whether residues may be unknown (`-`), as PDNET writes those that a structure lacks.

    Raises:
        RawDataError: when it is no text of 2 to `MAX_LENGTH` letters.
    """
    text = value.decode("latin1") if isinstance(value, bytes) else value
    letters = text.replace("-", "" if gaps else "-") if isinstance(text, str) else ""
    if not isinstance(text, str) or not 2 <= len(text) <= MAX_LENGTH or not (letters.isascii() and letters.isalpha()):
        raise RawDataError(
            f"{source}: its sequence is {str(text)[:40]!r}, must be 2 to {MAX_LENGTH} letters. Get the file anew"
        )
    return text


def exact(value: object, dtype: str, shape: tuple[int, ...], source: str) -> Array:
    """Real numbers in the column's dtype: narrower ones are widened, wider ones only taken where nothing is lost.

    Raises:
        RawDataError: when it is no array of numbers of this shape, or does not fit the dtype.
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf" or value.shape != shape:
        got = f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise RawDataError(f"{source} is {got}, must be numbers of shape {shape}. Get the file anew")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = value.astype(dtype)
    if not np.array_equal(cast, value, equal_nan=True):
        raise RawDataError(
            f"{source} is {value.dtype} with values that {dtype} cannot hold, which the official files have. "
            f"Get the file anew from its publisher"
        )
    return cast


def _distances(content: bytes, source: str, seq: str) -> Array:
    """The map of (length, sequence, map), float16 (L, L) in Å; NaN where a residue's position is not known."""
    parts = npy_objects(content, source)
    if parts.shape != (3,):
        raise RawDataError(f"{source}: has shape {parts.shape}, must be (length, sequence, map). Get the file anew")
    length, theirs, distances = parts
    theirs = sequence(theirs, source, gaps=True)
    if not isinstance(length, int) or not length == len(theirs) == len(seq):
        raise RawDataError(
            f"{source}: is of {len(theirs)} residues and says {str(length)[:20]}, its features are of {len(seq)}. "
            f"Get both files from one release"
        )
    differing = sum(one != other != "-" for one, other in zip(seq, theirs, strict=True))
    if 2 * differing > len(seq):  # a few letters may differ, where a residue is modified
        raise RawDataError(
            f"{source}: is of another protein than its features: {differing} of {len(seq)} residues differ. "
            f"Get both files from one release"
        )
    y = exact(distances, "float16", (len(seq), len(seq)), source)
    if not (np.isnan(y) | ((y >= 0) & np.isfinite(y))).all():
        raise RawDataError(f"{source}: holds distances that are negative or infinite. Get the file anew")
    return y
