"""Made-up subjects of NinaPro DB5: every movement is a pattern over the electrodes and a frequency."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from nas360.files import write_bytes
from nas360.loaders.base import Array
from nas360.loaders.ninapro_recordings import CHANNELS, EXERCISE, MOVEMENTS, REPETITIONS, SUBJECTS, file_name
from nas360.loaders.synthetic.containers import mat5
from nas360.seeding import derive

SAMPLE_RATE_HZ = 200
_SAMPLES = (58, 62)  # least and most of a stretch: one window of 52, and a rest that is dropped
_ACTIVE = 5  # electrodes that a movement drives
_LOUD, _QUIET = 30.0, 2.0  # in the armband's steps


def write_synthetic(folder: Path, seed: int) -> None:
    """Write ten tiny zips in the official layout, with exercise 2 alone.

    Args:
        folder: where to.
        seed: of all draws; the patterns of the movements hang on it alone and are common to all subjects.
    """
    for subject in range(1, SUBJECTS + 1):
        write_bytes(folder / f"s{subject}.zip", _subject(subject, seed))


def _subject(subject: int, seed: int) -> bytes:
    """One subject's zip."""
    patterns = derive(seed, "ninapro", "synthetic", "patterns")
    active = np.stack([patterns.permutation(CHANNELS) < _ACTIVE for _ in range(MOVEMENTS + 1)])
    active[0] = False
    rng = derive(seed, "ninapro", "synthetic", subject)
    label, repetition = _course(rng)
    seconds = np.arange(len(label)) / SAMPLE_RATE_HZ
    frequency = 8.0 + 4.0 * label  # hertz; the highest, 76, is below half of the sample rate
    wave = np.sin(2 * np.pi * frequency * seconds)[:, None]
    emg = rng.normal(0, _QUIET, (len(label), CHANNELS)) + _LOUD * active[label] * wave
    variables: dict[str, Array] = {
        "emg": np.clip(np.round(emg), -128, 127).astype(np.float32),
        "acc": np.zeros((len(label), 3), np.float32),
        "stimulus": label[:, None].astype(np.int8),
        "restimulus": label[:, None].astype(np.int8),
        "repetition": repetition[:, None].astype(np.int8),
        "rerepetition": repetition[:, None].astype(np.int8),
        "subject": np.array([[subject]], np.int8),
        "exercise": np.array([[EXERCISE]], np.int8),
        "frequency": np.array([[SAMPLE_RATE_HZ]], np.int16),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo(f"s{subject}/{file_name(subject)}", (2017, 1, 1, 0, 0, 0))
        member.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(member, mat5(variables))
    return packed.getvalue()


def _course(rng: np.random.Generator) -> tuple[Array, Array]:
    """Labels and repetitions of all samples: rest, then a movement, and so on; every movement in two repetitions."""
    label: list[int] = []
    repetition: list[int] = []
    for movement in range(1, MOVEMENTS + 1):
        for number in sorted(rng.permutation(REPETITIONS)[:2] + 1):
            for kind, count in ((0, 0), (movement, int(number))):
                samples = int(rng.integers(*_SAMPLES))
                label += [kind] * samples
                repetition += [count] * samples
    return np.array(label), np.array(repetition)
