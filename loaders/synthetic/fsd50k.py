"""A tiny made-up FSD50K: each of ten labels is a sound of its own, in a band of its own."""

from __future__ import annotations

import csv
import io
import wave
from pathlib import Path

import numpy as np

from nas360.files import write_bytes, write_text
from nas360.loaders.base import Array
from nas360.loaders.labels import FSD50K_LABELS
from nas360.seeding import derive

LABELS = tuple(range(9, 200, 20))
"""The labels that have sounds."""

_CLIPS = (("dev", "train", 30), ("dev", "val", 12), ("eval", "", 18))
_FIRST_NAME = 1000


def write_synthetic(folder: Path, seed: int) -> None:
    """Write 60 clips of 0.3 to 2 s, at 22,050 or 44,100 Hz, and their ground truth, unpacked as the archives are.

    Each of the ten labels has at least one clip in each split; a third of the clips have two.
    """
    rng = derive(seed, "fsd50k", "synthetic")
    lines: dict[str, list[list[str]]] = {
        "dev": [["fname", "labels", "mids", "split"]],
        "eval": [["fname", "labels", "mids"]],
    }
    number = 0
    for part, split, n_clips in _CLIPS:
        for _ in range(n_clips):
            labels = {number % len(LABELS)} | ({int(rng.integers(len(LABELS)))} if rng.random() < 0.4 else set())
            rate = 44100 if number % 4 == 0 else 22050
            seconds = rng.uniform(0.3, 2.0)
            sound = np.sum([_sound(label, rate, int(seconds * rate), rng) for label in sorted(labels)], axis=0)
            name = str(_FIRST_NAME + number)
            write_bytes(folder / f"FSD50K.{part}_audio" / f"{name}.wav", _wav(sound, rate, rng))
            indices = [LABELS[label] for label in sorted(labels)]
            row = [name, ",".join(FSD50K_LABELS[k] for k in indices), ",".join(_mid(k) for k in indices)]
            lines[part].append([*row, split] if split else row)
            number += 1
    truth = folder / "FSD50K.ground_truth"
    for part, rows in lines.items():
        write_text(truth / f"{part}.csv", csv_text(rows))
    vocabulary = [[str(index), label, _mid(index)] for index, label in enumerate(FSD50K_LABELS)]
    write_text(truth / "vocabulary.csv", csv_text(vocabulary))


def csv_text(rows: list[list[str]]) -> str:
    """Rows as CSV, quoted where they must be."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def _mid(index: int) -> str:
    return f"/m/{index:04x}"


def _sound(label: int, rate: int, n: int, rng: np.random.Generator) -> Array:
    """A tone, a sweep over a third of an octave, or a band of noise, in one of ten bands from 150 to 7,700 Hz."""
    time = np.arange(n) / rate
    pitch = 150 * 2 ** (0.63 * label) * rng.uniform(0.96, 1.04)
    if label % 3 == 1:
        pitch = pitch * 2 ** (time / time[-1] / 3)
    width = pitch * 0.06 if label % 3 == 2 else 0.5
    # a tone whose phase wanders is noise around its pitch, as wide as the wandering is fast
    phase = np.cumsum(2 * np.pi * pitch / rate + rng.normal(0, np.sqrt(2 * np.pi * width / rate), n))
    sound: Array = rng.uniform(0.1, 0.4) * np.sin(phase)
    return sound


def _wav(sound: Array, rate: int, rng: np.random.Generator) -> bytes:
    noisy = sound + rng.normal(0, 0.003, len(sound))
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(noisy, -1, 1) * 32767).astype("<i2").tobytes())
    return stream.getvalue()
