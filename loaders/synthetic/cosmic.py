"""The synthetic twin of Cosmic: straight bright streaks on smooth fields with noise, in deepCR's archives."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from nas360.files import write_bytes
from nas360.loaders.base import Array, FloatArray
from nas360.loaders.cosmic_files import FILTER, PATCH
from nas360.loaders.synthetic.containers import tar
from nas360.seeding import derive

VISITS = {"train": (("10760", "2"), ("10760", "4"), ("9490", "a3")), "test": (("12058", "16"),)}
EXPOSURES, PATCHES = 2, 2
STREAKS = 60


def write_synthetic(folder: Path, seed: int) -> None:
    """Write the two archives: three visits for training, one for test, four patches each.

    Half of the patches have no ignore plane, as some official ones.

    Args:
        folder: where to.
        seed: of all draws.
    """
    for part, visits in VISITS.items():
        rng = derive(seed, "cosmic", "synthetic", part)
        files: dict[str, bytes] = {}
        for proposal, visit in visits:
            sky = rng.uniform(40, 120, EXPOSURES)
            where = f"npy_{part}/{FILTER}/{proposal}/{visit}"
            files[f"{where}/sky.npy"] = _npy(sky)
            for exposure in range(EXPOSURES):
                for patch in range(PATCHES):
                    planes = _patch(float(sky[exposure]), rng)
                    files[f"{where}/{exposure + 1}_{patch}.npy"] = _npy(planes[: 3 - patch % 2])
        write_bytes(folder / f"deepCR.ACS-WFC.{part}.tar", tar(files))


def _patch(sky: float, rng: np.random.Generator) -> FloatArray:
    """Image, mask and ignore plane, (3, 256, 256)."""
    rows, columns = np.mgrid[:PATCH, :PATCH]
    image = sky + rng.normal(0, 4.0, (PATCH, PATCH))
    for row, column in rng.uniform(0, PATCH, (4, 2)):  # smooth sources, which are no hits
        image += rng.uniform(50, 300) * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 60.0)
    mask = np.zeros((PATCH, PATCH), bool)
    for row, column in rng.uniform(0, PATCH, (STREAKS, 2)):
        angle, length = rng.uniform(0, np.pi), rng.uniform(2, 14)
        along = np.arange(0, length, 0.5)
        hit = np.stack([row + along * np.sin(angle), column + along * np.cos(angle)]).astype(int)
        hit = hit[:, (hit < PATCH).all(axis=0) & (hit >= 0).all(axis=0)]
        mask[hit[0], hit[1]] = True
        image[hit[0], hit[1]] = sky + rng.uniform(300, 1500)
    ignore = np.zeros((PATCH, PATCH), bool)
    ignore[:, rng.integers(0, PATCH)] = True  # a bad column of the detector
    return np.stack([image, mask, ignore]).astype(np.float32)


def _npy(values: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()
