"""FSD50K: clips a second of one core and where the time goes; a whole preparation with its memory; batches.

Run: python tests/benchmarks/bench_fsd50k.py [CLIPS], by default 20,000 in the whole preparation; at most 2 GB are owed.
Its clips are short (0.3 to 2 s) and are links to 200 files, since 20,000 files of the collection's lengths would take
11 GB. The speed of one core is that over 100 clips of 0.3 to 30 s at 44,100 Hz, 6.4 s on average; the collection's
have 7.6 s.
"""

from __future__ import annotations

import io
import resource
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import typer

from nas360.loaders import TASKS
from nas360.loaders.base import Array, Rows
from nas360.loaders.fsd50k_windows import FsdPreprocessing, normalised, window_starts
from nas360.loaders.labels import FSD50K_LABELS
from nas360.loaders.log_mel import FRAME_HOP, SAMPLE_RATE_HZ, log_mel, resample
from nas360.loaders.prepare import prepare
from nas360.loaders.raw.wav import read_wav
from nas360.loaders.synthetic.fsd50k import csv_text
from nas360.loaders.workers import available_cores

RATE = 44100
SOUNDS = 200


def seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """Shortest of several times."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def wav(length: float, rng: np.random.Generator) -> bytes:
    """A wav file of noise, as long as told."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(rng.integers(-9999, 9999, int(length * RATE)).astype("<i2").tobytes())
    return stream.getvalue()


def lengths(n: int, longest: float, rng: np.random.Generator) -> Array:
    """Lengths from 0.3 s on whose logarithm is uniform."""
    return np.exp(rng.uniform(np.log(0.3), np.log(longest), n))


def one_core() -> None:
    """The parts of the work on one clip."""
    rng = np.random.default_rng(0)
    files = [wav(length, rng) for length in lengths(100, 30, rng)]
    sounds = [read_wav(file) for file in files]
    resampled = [resample(*sound) for sound in sounds]
    parts = {
        "wav": seconds(lambda: [read_wav(file) for file in files]),
        "resampling": seconds(lambda: [resample(*sound) for sound in sounds]),
        "log-mel frames": seconds(lambda: [log_mel(sound).astype(np.float16) for sound in resampled]),
    }
    whole = sum(parts.values())
    audio = sum(map(len, resampled)) / SAMPLE_RATE_HZ
    typer.echo(f"one core: {len(files) / whole:,.0f} clips/s, {audio / whole:,.0f} s of sound a second")
    for name, part in parts.items():
        typer.echo(f"  {name:<30}{100 * part / whole:5.0f} %")


def write_raw(folder: Path, n: int) -> None:
    """A raw distribution of n clips: eight in ten for training, one each for validation and test."""
    rng = np.random.default_rng(0)
    tables = {"dev": [["fname", "labels", "mids", "split"]], "eval": [["fname", "labels", "mids"]]}
    for part in tables:
        (folder / f"FSD50K.{part}_audio").mkdir()
    (folder / "FSD50K.ground_truth").mkdir()
    originals = []
    for number, length in enumerate(lengths(SOUNDS, 2, rng)):
        originals.append(folder / f"sound-{number}")
        originals[-1].write_bytes(wav(length, rng))
    for number in range(n):
        part, split = ("eval", []) if number % 10 == 9 else ("dev", ["val" if number % 10 == 8 else "train"])
        tables[part].append([str(number), FSD50K_LABELS[number % 200], "", *split])
        (folder / f"FSD50K.{part}_audio" / f"{number}.wav").hardlink_to(originals[number % SOUNDS])
    vocabulary = [[str(index), label, ""] for index, label in enumerate(FSD50K_LABELS)]
    for name, rows in (tables | {"vocabulary": vocabulary}).items():
        (folder / "FSD50K.ground_truth" / f"{name}.csv").write_text(csv_text(rows))


def preparation(raw: Path, out: Path, workers: int) -> tuple[float, float]:
    """Seconds, and peak memory of this process in GB."""
    start = time.perf_counter()
    prepare(TASKS["fsd50k"], raw, out, workers=workers)
    return time.perf_counter() - start, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


def whole(n: int) -> None:
    """The preparation of a raw set by one worker a core."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_raw(folder, n)
        workers = available_cores()
        # in a process of its own, so that its memory is that of the preparation
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            taken, memory = pool.submit(preparation, folder, folder / "repo", workers).result()
        size = sum(file.stat().st_size for file in (folder / "repo").rglob("*.parquet"))
    typer.echo(
        f"preparation of {n:,} short clips by {workers}: {n / taken:,.0f} clips/s, {memory:.2f} GB in the main "
        f"process, {size / n / 1e3:.0f} kB a clip on disk"
    )


def batches() -> None:
    """Making a training batch, against copying its windows alone; and evaluation windows a second."""
    rng = np.random.default_rng(0)
    clips = 256
    rows: dict[str, Array] = {"x": np.empty(clips, object), "y": np.empty(clips, object)}
    for number, length in enumerate(lengths(clips, 30, rng)):
        n_frames = 1 + int(length * SAMPLE_RATE_HZ) // FRAME_HOP
        rows["x"][number] = rng.uniform(-90, 30, (n_frames, 96)).astype(np.float16)
        rows["y"][number] = np.array([number % 200])
    make = FsdPreprocessing(200)
    few: Rows = {name: column[:32] for name, column in rows.items()}
    n_windows = sum(len(window_starts(len(clip))) for clip in few["x"])
    windows = rng.uniform(-90, 30, (clips, 101, 96)).astype(np.float16)
    training = seconds(lambda: make(rows, np.random.default_rng(0)), 5)
    plain = seconds(lambda: normalised(windows), 5)
    evaluation = seconds(lambda: make(few, None), 5)
    typer.echo(
        f"training batches: {clips / training:,.0f} windows/s, of which normalising is {100 * plain / training:.0f} %"
    )
    typer.echo(f"evaluation batches: {n_windows / evaluation:,.0f} windows/s")


if __name__ == "__main__":
    # first, since a process begins with the peak memory of the one that started it
    whole(int(sys.argv[1]) if sys.argv[1:] else 20_000)
    one_core()
    batches()
