"""The synthetic twin of Satellite: seasons whose height and time tell the class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nas360.files import write_text
from nas360.loaders.base import Array
from nas360.loaders.satellite import CSV
from nas360.loaders.satellite_files import CLASSES, STEPS
from nas360.seeding import derive


def write_synthetic(folder: Path, seed: int, n_train: int = 600, n_test: int = 120) -> None:
    """Write two tiny CSV files in the official layout: seasons whose height and time tell the class.

    Every class has its own two bumps in the year; level, height and noise differ from pixel to pixel. One training
    series is constant.
    """
    rng = derive(seed, "satellite", "synthetic")
    date = np.arange(STEPS) / STEPS
    # classes on a grid: six times of the main season, four of a second one after it
    main, second = np.divmod(np.arange(CLASSES), 4)
    main, second = 0.1 + main * 0.11, 0.12 + second * 0.1
    curves = _bump(date - main[:, None]) + 0.7 * _bump(date - (main + second)[:, None])
    for name, n in zip(CSV, (n_train, n_test), strict=True):
        labels = rng.permutation(np.arange(n) % CLASSES)
        level, height = rng.uniform(0.05, 0.3, (n, 1)), rng.uniform(0.3, 0.6, (n, 1))
        values = level + height * curves[labels] + rng.normal(0, 0.03, (n, STEPS))
        if name == CSV[0]:
            values[n // 2] = 0.25
        lines = [f"{label + 1}," + ",".join(f"{v:.5g}" for v in row) for label, row in zip(labels, values, strict=True)]
        write_text(folder / name, "\n".join(lines) + "\n")


def _bump(date: Array) -> Array:
    """A season: 1 at its height, gone after two months; the year begins anew after its end."""
    distance = np.abs((date + 0.5) % 1 - 0.5)
    season: Array = np.exp(-((distance / 0.06) ** 2))
    return season
