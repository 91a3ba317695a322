"""deepCR's files: patches as .npy arrays below proposal and visit, with the level of the sky beside them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas360.errors import RawDataError, first_faults
from nas360.files import MIB
from nas360.loaders.base import Array, Rows
from nas360.loaders.pieces import Piece
from nas360.loaders.raw.archive import Place, places, read_places
from nas360.loaders.raw.npy import npy_array

FILTER = "f435w"
GALAXY_VISITS = frozenset(
    """
    10760_2 10760_4 13737_2 13737_3 9490_a3 12513_2 12513_3 10182_pb 10182_pd 10584_13 10342_3 14343_1 13057_1
    10260_7 10260_5 10407_3 13364_95 10190_28 10190_13 9490_a2 13691_11 12058_12 12058_16 12058_1 12058_6 14704_1
    13804_6
    """.split()
)
"""`proposal_visit` of the fields of type GAL (resolved galaxies), as the authors of NAS-Bench-360 list them."""

PATCH = 256
# a patch of three planes in float64 has 1.5 MiB; the archives of 6.5 and 2.0 GB hold some ten thousand
MAX_BYTES, MAX_MEMBERS, MAX_FILE_BYTES = 32 * 1024 * MIB, 200_000, 2 * MIB
MAX_FLOAT32 = float(np.finfo(np.float32).max)
NOT_FINITE = "values that are not finite in the image"
NOT_BINARY = "values other than 0 and 1 in the mask or ignore plane"

_MEMBER = re.compile(
    rf"(?:^|/)npy_(train|test)/{FILTER}/([0-9]{{1,9}})/([0-9a-z]{{1,9}})/(?:([0-9]{{1,9}})_([0-9]{{1,9}})|sky)\.npy$"
)


@dataclass(frozen=True)
class Patch:
    """Where one patch lies, and what its name tells.

    Attributes:
        order: proposal, visit, exposure, patch: what patches are sorted by.
        name: its `id`.
        place: where it lies.
        sky: level of the sky in its exposure.
    """

    order: tuple[int, str, int, int]
    name: str
    place: Place
    sky: float = 0.0

    @property
    def visit(self) -> str:
        """Proposal and visit."""
        return f"{self.order[0]}_{self.order[1]}"


def find_archives(folder: Path) -> dict[str, Path]:
    """`train` and `test` → archive or folder."""
    if not folder.is_dir():
        raise RawDataError(f"{folder} is not a folder. Give --raw the folder with the archives of deepCR")
    found = {}
    for part in ("train", "test"):
        names = (f"npy_{part}", f"deepCR.ACS-WFC.{part}", f"deepCR.ACS-WFC.{part}.tar")
        path = next((folder / name for name in names if (folder / name).exists()), None)
        if path is not None:
            found[part] = path
    missing = [f"deepCR.ACS-WFC.{part}.tar (or npy_{part})" for part in ("train", "test") if part not in found]
    if missing:
        raise RawDataError(f"{folder} lacks {' and '.join(missing)}. `nas360 info cosmic` shows where to get them")
    return found


def find_patches(path: Path, part: str) -> tuple[list[Patch], int]:
    """The patches of the filter and the fields in question, sorted, with sky; and how many are of other fields."""
    # a folder npy_train is itself a part of the names
    container = path.parent if path.name == f"npy_{part}" and path.is_dir() else path
    inside = [
        Place(container, (f"{path.name}/" if container != path else "") + place.name, place.size, place.offset)
        for place in places(path, max_bytes=MAX_BYTES, max_members=MAX_MEMBERS)
    ]
    patches: dict[str, Patch] = {}
    skies: dict[str, Place] = {}
    others = 0
    for place in inside:
        match = _MEMBER.search(place.name)
        if match is None or match[1] != part:
            continue
        _, proposal, visit, exposure, number = match.groups()
        if f"{proposal}_{visit}" not in GALAXY_VISITS:
            others += exposure is not None
            continue
        name = f"{part}-{proposal}-{visit}-" + (f"{exposure}_{number}" if exposure else "sky")
        if name in patches or name in skies:
            raise RawDataError(f"{path.name}: holds {name} twice. Get the archive anew")
        if exposure is None:
            skies[name] = place
        else:
            patches[name] = Patch((int(proposal), visit, int(exposure), int(number)), name, place)
    if not patches:
        raise RawDataError(
            f"{path.name}: holds no npy_{part}/{FILTER}/PROPOSAL/VISIT/EXPOSURE_PATCH.npy of a field of type GAL. "
            f"Get the archive anew"
        )
    return _with_sky(sorted(patches.values(), key=lambda one: (one.order, one.name)), skies, path.name), others


def _with_sky(patches: Sequence[Patch], skies: Mapping[str, Place], source: str) -> list[Patch]:
    """The patches with the level of the sky in their exposure: entry exposure - 1 of their visit's sky.npy."""
    contents = dict(zip(skies, read_places(list(skies.values()), max_bytes=MAX_FILE_BYTES), strict=True))
    levels = {name: npy_array(content, f"{source}: {skies[name].name}") for name, content in contents.items()}
    done, faults = [], []
    for patch in patches:
        known = levels.get(patch.name.rpartition("-")[0] + "-sky", np.empty(0))
        at = patch.order[2] - 1
        if known.ndim != 1 or not 0 <= at < len(known) or not abs(float(known[at])) <= MAX_FLOAT32:
            faults.append(patch.name)
        else:
            done.append(Patch(patch.order, patch.name, patch.place, float(known[at])))
    if faults:
        raise RawDataError(
            f"{source}: {len(faults)} patches have no level of the sky in the sky.npy beside them (a list of finite "
            f"numbers, one an exposure): {', '.join(first_faults(faults))}. Get the archive anew"
        )
    return done


def count_planes(size: int) -> int:
    """Planes that a patch's file of this size holds, whatever its dtype; the file is not read."""
    # 2 or 3 planes of 2^16 values of 1, 2, 4 or 8 bytes, and a header far smaller than a plane
    return 3 if size // PATCH**2 % 3 == 0 else 2


def make_piece(patches: Sequence[Patch]) -> Piece:
    """Read some patches; those whose image is not finite, or whose masks are not of 0 and 1, are left out.

    Raises:
        RawDataError: when a file is damaged or is not (2 or 3, 256, 256).
    """
    contents = read_places([patch.place for patch in patches], max_bytes=MAX_FILE_BYTES)
    good, planes, skipped = [], [], defaultdict[str, list[str]](list)
    for patch, content in zip(patches, contents, strict=True):
        array = npy_array(content, patch.name, shapes=((2, PATCH, PATCH), (3, PATCH, PATCH)))
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and the patch is left out
            image = array[0].astype(np.float32)
        if not np.isfinite(image).all():
            skipped[NOT_FINITE].append(patch.name)
        elif not np.isin(array[1:], (0, 1)).all():
            skipped[NOT_BINARY].append(patch.name)
        else:
            good.append(patch)
            planes.append((image, _masks(array)))
    rows: Rows = {
        "id": np.array([patch.name for patch in good], dtype=np.str_),
        "visit": np.array([patch.visit for patch in good], dtype=np.str_),
        "exposure": np.array([patch.order[2] for patch in good], dtype=np.int64),
        "sky": np.array([patch.sky for patch in good], dtype=np.float32),
        "x": np.array([image for image, _ in planes], dtype=np.float32).reshape(-1, PATCH, PATCH),
        "y": np.array([masks[0] for _, masks in planes], dtype=np.uint8).reshape(-1, PATCH, PATCH),
        "ignore": np.array([masks[1] for _, masks in planes], dtype=np.uint8).reshape(-1, PATCH, PATCH),
    }
    return Piece([rows] if good else [], {reason: tuple(names) for reason, names in skipped.items()})


def _masks(array: Array) -> Array:
    """Mask and ignore plane, (2, 256, 256) uint8; a missing ignore plane is zeros."""
    masks = np.zeros((2, PATCH, PATCH), np.uint8)
    masks[: len(array) - 1] = array[1:]
    return masks
