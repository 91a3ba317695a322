"""DeepSEA: sequences a second and peak memory of a preparation, from a made-up train.mat of 24,000 sequences.

Run: python tests/benchmarks/bench_deepsea.py [SEQUENCES]. Each line is a process of its own, with another layout of
the file's storage, since that of the official one is not known. The last lines have the official size of test.mat in
everything but the number of sequences: what grows with it is a byte a base of the kept ones.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import typer

from nas360.files import MIB
from nas360.loaders import TASKS
from nas360.loaders.deepsea import label_indices
from nas360.loaders.prepare import prepare

SEQUENCES = 24_000
SMALL = 300
LAYOUTS: Mapping[str, Mapping[str, Any]] = {
    "contiguous": {},
    "chunks along the sequences, gzip": {"chunks": (1, 4, SMALL * 20), "compression": "gzip", "compression_opts": 1},
    "chunks of whole sequences, gzip": {"chunks": (1000, 4, 20), "compression": "gzip", "compression_opts": 1},
}


def write(folder: Path, stem: str, count: int, layout: Mapping[str, Any] | None) -> None:
    """Write one file; without a layout in version 5."""
    import h5py
    import scipy.io

    rng = np.random.default_rng(count)
    bases = np.zeros((1000, 4, count), np.uint8)  # in the order of HDF5
    np.put_along_axis(bases, rng.integers(0, 4, (1000, 1, count)), 1, axis=1)
    features = np.zeros((919, count), np.uint8)
    features[list(label_indices())] = rng.random((36, count)) < 0.011  # a third of the sequences has one
    if layout is None:
        scipy.io.savemat(folder / f"{stem}.mat", {f"{stem}xdata": bases.T, f"{stem}data": features.T})
        return
    with h5py.File(folder / f"{stem}.mat", "w") as file:
        file.create_dataset(f"{stem}xdata", data=bases, **layout)
        file.create_dataset(f"{stem}data", data=features)


def measure(folder: Path) -> None:
    """Prepare, and print rates and the peak of this process's memory."""
    # what the libraries take is no part of the preparation
    TASKS["deepsea"].write_synthetic(folder / "twin", 0)
    prepare(TASKS["deepsea"], folder / "twin", folder / "twin-out")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    manifest = prepare(TASKS["deepsea"], folder, folder / "out")
    seconds = time.perf_counter() - start
    read, kept = sum(manifest.notes["sequences"].values()), sum(split.rows for split in manifest.splits.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    whole = read * 4000 / MIB
    typer.echo(
        f"{read / seconds:9,.0f} sequences/s read {kept / seconds:9,.0f} rows/s kept   peak {peak / 1024:5,.0f} MiB, "
        f"{(peak - before) / 1024:5,.0f} more than a twin's (the arrays are {whole:,.0f} MiB)"
    )


def main() -> None:
    """Print the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else SEQUENCES
    cases: list[tuple[str, dict[str, tuple[int, Mapping[str, Any] | None]]]] = [
        (name, {"train": (count, layout), "valid": (SMALL, None), "test": (SMALL, None)})
        for name, layout in LAYOUTS.items()
    ]
    cases.append(
        ("test.mat, version 5", {"train": (SMALL, {}), "valid": (SMALL, None), "test": (count, None)}),
    )
    spawn = multiprocessing.get_context("spawn")
    for name, files in cases:
        with tempfile.TemporaryDirectory() as folder:
            for stem, (sequences, layout) in files.items():
                write(Path(folder), stem, sequences, layout)
            typer.echo(f"{name:<34}", nl=False)
            process = spawn.Process(target=measure, args=(Path(folder),))
            process.start()
            process.join()
            if process.exitcode:
                raise typer.Exit(1)


if __name__ == "__main__":
    main()
