"""Darcy Flow made anew: the published recipe on the official grid, written in the official layout.

Sample i of a file has a generator of its own, so that the data depends neither on the number of processes nor on the
order in which they finish. Every finished sample is kept in a hidden folder until both files are whole: a run that is
killed and called again goes on where it was and writes the same bytes.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np

from nas360.errors import RawDataError, RunError, UserError
from nas360.files import atomic_path, read_json, write_json
from nas360.loaders.darcy_flow import (
    GENERATED_MARK,
    GRID,
    MAX_JSON_BYTES,
    MIN_TRAINING_SAMPLES,
    SIZE,
    SPEC,
    SUBSAMPLING,
)
from nas360.loaders.darcy_pde import ALPHA, HIGH, LOW, TAU, coefficient, solve
from nas360.loaders.raw.mat73_write import encode_chunk, write_stack
from nas360.loaders.workers import available_cores, worker_pool
from nas360.seeding import derive

RECIPE = 1  # to be raised whenever the same seed gives other numbers
SYNTHETIC_SAMPLES = (40, 10)
# a process takes about 150 MB; the whole must stay below 2 GB
_MAX_WORKERS = 8
# below this, starting processes takes longer than it saves
_MIN_FOR_POOL = 12
_FILES = tuple(source.filename for source in SPEC.sources)
_PART_ERRORS = (OSError, ValueError, KeyError, zipfile.BadZipFile)


def generate(
    folder: Path,
    n_train: int,
    n_test: int,
    seed: int,
    progress: Callable[[int, int], None],
    workers: int | None = None,
) -> None:
    """Write both files of Darcy Flow and `generated.json`, which marks them as generated.

    A sample takes about 0.2 s on one core, and 0.6 MB on disk.

    Args:
        folder: where to; made if it is not there.
        n_train: samples of the first file (training and validation), 3 to 1000.
        n_test: samples of the second file, 1 to 100.
        seed: ≥ 0; the first samples of a larger set are those of a smaller one.
        progress: called with (done, total) after each sample, in this process.
        workers: processes; by default one for each core, at most eight. The data does not depend on it.

    Raises:
        UserError: when a size or the seed is out of range.
        RawDataError: when the folder holds other files of these names.
        RunError: when a worker process ends unexpectedly.
    """
    most = SPEC.splits["train"] + SPEC.splits["validation"]
    _check_range("n_train", n_train, MIN_TRAINING_SAMPLES, most)
    _check_range("n_test", n_test, 1, SPEC.splits["test"])
    if seed < 0:
        raise UserError(f"seed {seed}: must not be negative")
    counts = dict(zip(_FILES, (n_train, n_test), strict=True))
    identity = {"recipe": RECIPE, "seed": seed, "samples": counts}
    total = n_train + n_test
    if not _missing_files(folder, identity):
        progress(total, total)
        return

    parts = folder / f".darcy_flow-recipe{RECIPE}-seed{seed}"
    parts.mkdir(parents=True, exist_ok=True)
    jobs = {
        (name, index): parts / f"{Path(name).stem}-{index:05d}.npz" for name, n in counts.items() for index in range(n)
    }
    todo = {job: path for job, path in jobs.items() if not path.exists()}
    done = total - len(todo)
    if done:
        progress(done, total)
    for _ in _make_parts(todo, seed, workers or min(available_cores(), _MAX_WORKERS)):
        done += 1
        progress(done, total)

    def samples(name: str) -> Iterator[Mapping[str, bytes]]:
        for index in range(counts[name]):
            content = _read_part(jobs[name, index], name, index, seed)
            yield {key: content[key].tobytes() for key in ("coeff", "sol")}

    residual = max(float(_read_part(path, *job, seed)["residual"]) for job, path in jobs.items())
    # before the files: without this mark they would be taken for the official ones
    write_json(
        folder / GENERATED_MARK,
        identity
        | {
            "grid": GRID,
            "equation": "-div(a grad u) = 1 on the unit square, u = 0 on its boundary",
            "coefficient": f"{HIGH:g} where N(0, (-Laplace + {TAU**2:g})^-{ALPHA:g}) is >= 0, else {LOW:g}",
            "largest_relative_residual": residual,
        },
    )
    for name in _missing_files(folder, identity):
        # by way of the hidden folder, so that what a kill leaves half-written goes when that goes
        write_stack(parts / name, counts[name], GRID, samples(name))
        (parts / name).replace(folder / name)
    shutil.rmtree(parts)


def write_synthetic(folder: Path, seed: int) -> None:
    """Write a tiny twin of the official files: the same equation, solved on the coarse grid that the task reads.

    Every fifth node, which is all that the task reads, carries a true solution of the equation on 85×85 nodes; the
    nodes between are filled in, so that files, names, types and shapes are the official ones.

    Args:
        folder: where to; made if it is not there.
        seed: of all draws.
    """
    nearest = (np.arange(GRID) + SUBSAMPLING // 2) // SUBSAMPLING
    # linear interpolation as a matrix; a node of the coarse grid keeps its value exactly
    fine = np.maximum(0, 1 - np.abs(np.arange(GRID)[:, None] / SUBSAMPLING - np.arange(SIZE)[None, :]))

    def samples(name: str, count: int) -> Iterator[Mapping[str, bytes]]:
        for index in range(count):
            a = coefficient(SIZE, derive(seed, "darcy_flow", "synthetic", name, index))
            u = solve(a).values
            yield {"coeff": encode_chunk(a[np.ix_(nearest, nearest)]), "sol": encode_chunk(fine @ u @ fine.T)}

    for name, count in zip(_FILES, SYNTHETIC_SAMPLES, strict=True):
        write_stack(folder / name, count, GRID, samples(name, count))


def _check_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise UserError(f"{name} = {value}: Darcy Flow uses {least} to {most} samples there")


def _missing_files(folder: Path, identity: Mapping[str, Any]) -> list[str]:
    """Which files are still to be written.

    Raises:
        RawDataError: when those that are there are of another set.
    """
    there = [name for name in _FILES if (folder / name).exists()]
    if there:
        mark = folder / GENERATED_MARK
        found = read_json(mark, MAX_JSON_BYTES, RawDataError) if mark.exists() else None
        if not isinstance(found, dict) or any(found.get(key) != value for key, value in identity.items()):
            what = f"made with {found}" if isinstance(found, dict) else "which were not generated"
            raise RawDataError(
                f"{folder} already holds {', '.join(there)}, {what}; asked for was {dict(identity)}. "
                f"Choose another folder, or remove them"
            )
    return [name for name in _FILES if name not in there]


def _make_parts(todo: Mapping[tuple[str, int], Path], seed: int, workers: int) -> Iterator[None]:
    """Solve the samples, here or in other processes; yields after each."""
    if workers == 1 or len(todo) < _MIN_FOR_POOL:
        for (name, index), path in todo.items():
            _make_part(path, name, index, seed)
            yield
        return
    try:
        with worker_pool(workers) as pool:
            for future in as_completed([pool.submit(_make_part, path, *job, seed) for job, path in todo.items()]):
                future.result()
                yield
    except BrokenProcessPool as cause:
        raise RunError(
            "a process that solves samples ended unexpectedly. If memory is short, free some and call again: finished "
            "samples are kept. If this is your own script, call from under `if __name__ == '__main__':`"
        ) from cause


def _make_part(path: Path, name: str, index: int, seed: int) -> None:
    """Draw and solve one sample, and keep it under `path`."""
    a = coefficient(GRID, derive(seed, "darcy_flow", name, index))
    solution = solve(a)
    coeff, sol = (np.frombuffer(encode_chunk(field), np.uint8) for field in (a, solution.values))
    with atomic_path(path) as temporary:
        np.savez(temporary, coeff=coeff, sol=sol, residual=np.float64(solution.residual))


def _read_part(path: Path, name: str, index: int, seed: int) -> dict[str, Any]:
    """A kept sample; made again if its file is damaged."""
    try:
        return _load(path)
    except _PART_ERRORS:
        _make_part(path, name, index, seed)
        return _load(path)


def _load(path: Path) -> dict[str, Any]:
    # np.load would leave a file open that it opened itself and then found to be damaged
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        return {key: file[key] for key in ("coeff", "sol", "residual")}
