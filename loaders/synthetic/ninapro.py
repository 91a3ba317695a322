"""A made-up subject of NinaPro DB5: every movement is a pattern over the electrodes and a frequency."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from nas360.files import write_bytes
from nas360.loaders.base import Array
from nas360.loaders.ninapro_recordings import CHANNELS, EXERCISE, MOVEMENTS, REPETITIONS, file_name
from nas360.seeding import derive

SAMPLE_RATE_HZ = 200
_SAMPLES = (58, 62)  # least and most of a stretch: one window of 52, and a rest that is dropped
_ACTIVE = 5  # electrodes that a movement drives
_LOUD, _QUIET = 30.0, 2.0  # in the armband's steps


def write_subject(path: Path, subject: int, seed: int) -> None:
    """Write one subject's zip in the official layout, with exercise 2 alone.

    Args:
        path: where to.
        subject: its number, from 1.
        seed: of all draws; the patterns of the movements hang on it alone and are common to all subjects.
    """
    from scipy.io import savemat

    patterns = derive(seed, "ninapro", "synthetic", "patterns")
    active = np.stack([patterns.permutation(CHANNELS) < _ACTIVE for _ in range(MOVEMENTS + 1)])
    active[0] = False
    rng = derive(seed, "ninapro", "synthetic", subject)
    label, repetition = _course(rng)
    seconds = np.arange(len(label)) / SAMPLE_RATE_HZ
    frequency = 8.0 + 4.0 * label  # hertz; the highest, 76, is below half of the sample rate
    wave = np.sin(2 * np.pi * frequency * seconds)[:, None]
    emg = rng.normal(0, _QUIET, (len(label), CHANNELS)) + _LOUD * active[label] * wave
    variables = {
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
    stream, packed = io.BytesIO(), io.BytesIO()
    # the documentation admits a stream, the type stubs do not
    savemat(stream, variables)  # type: ignore[arg-type]
    content = bytearray(stream.getvalue())
    # scipy writes the time of writing into the first 116 bytes, which are text for people
    content[:116] = b"MATLAB 5.0 MAT-file, made up by nas360".ljust(116)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo(f"s{subject}/{file_name(subject)}", (2017, 1, 1, 0, 0, 0))
        member.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(member, bytes(content))
    write_bytes(path, packed.getvalue())


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
