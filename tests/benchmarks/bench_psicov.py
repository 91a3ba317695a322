"""Proteins a second of PSICOV's transforms, against channels laid out one by one.

Run: python tests/benchmarks/bench_psicov.py [FOLDER], with a prepared PSICOV, or else on its synthetic twin.
The figures of one line come from one process in turn, so that ratios hold where absolute times do not.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import typer

from nas360.loaders import TASKS
from nas360.loaders.base import FloatArray, Rows
from nas360.loaders.data import TaskData, load_task
from nas360.loaders.prepare import prepare
from nas360.loaders.psicov_features import CHANNELS, CLIP_ANGSTROM, CROP, clean_distances

BATCH_SIZE = 8
SECONDS = 1.0
ROUNDS = 5


def naive(rows: Rows, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """As the reference does it: all channels of the whole protein, one after the other, then the crop."""
    inputs, targets = [], []
    for index in range(len(rows["sa"])):
        length = len(rows["sa"][index])
        side = max(length, CROP)
        x = np.zeros((CHANNELS, side, side), np.float32)
        channel = 0
        for name in ("ss", "pssm", "sa", "entropy"):
            for feature in rows[name][index].reshape(length, -1).T:
                repeated = np.repeat(feature.reshape(1, length), length, axis=0).astype(np.float32)
                x[channel, :length, :length] = repeated
                x[channel + 1, :length, :length] = repeated.T
                channel += 2
        for name in ("ccmpred", "freecon", "potential"):
            x[channel, :length, :length] = rows[name][index]
            channel += 1
        y = np.zeros((side, side), np.float32)
        everything = slice(0, length)
        y[:length, :length] = clean_distances(rows["y"][index], everything, everything).clip(max=CLIP_ANGSTROM)
        row, column = rng.integers(0, side - CROP + 1, 2)
        inputs.append(x[:, row : row + CROP, column : column + CROP])
        targets.append(y[row : row + CROP, column : column + CROP])
    return np.stack(inputs), np.stack(targets)


def rate(step: Callable[[], object]) -> float:
    """Proteins a second of a step that handles one batch."""
    step()
    batches, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS:
        step()
        batches += 1
    return batches * BATCH_SIZE / elapsed


def _data(arguments: list[str]) -> TaskData:
    if arguments:
        return load_task("psicov", arguments[0])
    folder = Path(tempfile.mkdtemp())
    TASKS["psicov"].write_synthetic(folder, 0)
    prepare(TASKS["psicov"], folder, folder / "repo")
    return load_task("psicov", folder / "repo")


def main() -> None:
    """Print the rates and their ratio."""
    data = _data(sys.argv[1:])
    source, preprocessing, rng = data.rows("train"), data.preprocessing("train"), np.random.default_rng(0)
    order = rng.permutation(len(source))[:BATCH_SIZE]
    rows = source.take(order)
    lengths = [len(values) for values in rows["sa"]]
    typer.echo(
        f"batches of {BATCH_SIZE} proteins of {min(lengths)} to {max(lengths)} residues; median of {ROUNDS} turns"
    )
    ours, whole, ratios = [], [], []
    for _ in range(ROUNDS):
        ours.append(rate(lambda: preprocessing(rows, rng)))
        ratios.append(ours[-1] / rate(lambda: naive(rows, rng)))
        whole.append(rate(lambda: preprocessing(rows, None)))
    low, middle, high = np.quantile(ratios, [0, 0.5, 1])
    typer.echo(f"training crops, proteins a second                  {np.median(ours):8.0f}")
    typer.echo(f"  against channels laid out one by one, then cropped {middle:6.2f}  ({low:.2f} to {high:.2f})")
    typer.echo(f"whole maps, proteins a second                      {np.median(whole):8.0f}")


if __name__ == "__main__":
    main()
