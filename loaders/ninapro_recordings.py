"""Recordings of NinaPro DB5 as published: one folder or zip a subject, one MATLAB file an exercise.

Pizzolato et al. 2017; the variables are described on the publisher's page of the database.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from nas360.errors import RawDataError
from nas360.files import MIB
from nas360.loaders.base import FloatArray
from nas360.loaders.raw.archive import members
from nas360.loaders.raw.matfile import MissingVariableError, open_mat, read_mat

SUBJECTS = 10
EXERCISE = 2
MOVEMENTS = 17
REPETITIONS = 6
CHANNELS = 16
# a recording of exercise 2 has about 204,000 samples; the archives hold two more exercises
MAX_SAMPLES = 2_000_000
MAX_ARCHIVE_BYTES = 1024 * MIB


@dataclass(frozen=True)
class Recording:
    """One subject's recording of exercise 2.

    Attributes:
        label: (n,) int64, 0 rest, 1 to 17 movements (`restimulus`).
        repetition: (n,) int64, 0 in rest, from 1 in movements (`rerepetition`).
        departures: what its file says of subject and exercise otherwise than its name, in words.
    """

    label: npt.NDArray[np.int64]
    repetition: npt.NDArray[np.int64]
    departures: tuple[str, ...] = ()


def file_name(subject: int) -> str:
    """Name of the file of a subject, for instance `S1_E2_A1.mat`."""
    return f"S{subject}_E{EXERCISE}_A1.mat"


def read_recording(path: Path, subject: int) -> Recording:
    """Read the labels of a recording.

    Args:
        path: `s1.zip`, or the same unpacked as a folder; files of other exercises in it are not read.
        subject: whose recording it must be.

    Raises:
        RawDataError: when the file is missing, damaged or not in the official layout, holds a label that is not 0 to
            17 or a negative repetition, or its variables differ in length.
    """
    content, name = _content(path, subject)
    with open_mat(io.BytesIO(content), "emg", name) as emg:
        shape = emg.shape
    if len(shape) != 2 or shape[1] != CHANNELS or not 0 < shape[0] <= MAX_SAMPLES:
        raise RawDataError(f"{name}: 'emg' has shape {shape}, must be (samples, {CHANNELS}), samples ≤ {MAX_SAMPLES:,}")
    label = _integers(content, "restimulus", shape[0], name)
    strange = np.unique(label[(label < 0) | (label > MOVEMENTS)])
    if len(strange):
        raise RawDataError(
            f"{name}: 'restimulus' holds {', '.join(map(str, strange[:5]))}; exercise {EXERCISE} has 0 (rest) to "
            f"{MOVEMENTS}. Look whether the file is of another exercise, or numbers the movements of all exercises on"
        )
    repetition = _integers(content, "rerepetition", shape[0], name)
    if repetition.min() < 0:
        raise RawDataError(f"{name}: 'rerepetition' holds {repetition.min()}, must be 0 or more")
    return Recording(label, repetition, _departures(content, subject, name))


def read_signal(path: Path, subject: int) -> FloatArray:
    """Read the signal of a recording whose labels were read before.

    Returns:
        (n, 16) float32, in the armband's steps.

    Raises:
        RawDataError: when it is damaged or holds NaN or infinite values.
    """
    content, name = _content(path, subject)
    emg = read_mat(io.BytesIO(content), "emg", ndim=2, max_bytes=MAX_SAMPLES * CHANNELS * 8, name=name)
    # NaN fails the comparison too
    bad = ~(np.abs(emg) <= np.finfo(np.float32).max)
    if bad.any():
        sample, channel = np.argwhere(bad)[0]
        raise RawDataError(
            f"{name}: 'emg' holds {bad.sum():,} values that are not finite numbers, the first in sample {sample} of "
            f"channel {channel}. Get the recording anew"
        )
    return emg.astype(np.float32)


def _content(path: Path, subject: int) -> tuple[bytes, str]:
    """The bytes of a subject's file, and what to call it."""
    wanted = file_name(subject)
    found = {}
    for name, read in members(path, max_bytes=MAX_ARCHIVE_BYTES):
        if PurePosixPath(name).name == wanted:
            found[name] = read()
    if len(found) != 1:
        state = f"holds {wanted} more than once: {', '.join(found)}" if found else f"lacks {wanted}"
        raise RawDataError(f"{path.name}: {state}. Get the recordings of subject {subject} anew")
    return found.popitem()[1], f"{path.name}: {wanted}"


def _departures(content: bytes, subject: int, name: str) -> tuple[str, ...]:
    """What the file says of itself otherwise than its name does; it need not say anything."""
    found = []
    for key, expected in (("subject", subject), ("exercise", EXERCISE)):
        try:
            stated = read_mat(io.BytesIO(content), key, max_bytes=MIB, name=name)
        except MissingVariableError:
            continue
        if stated.size != 1 or stated.item() != expected:
            found.append(f"its file says that {key!r} is {stated.ravel()[:3].tolist()}, not {expected}")
    return tuple(found)


def _integers(content: bytes, key: str, samples: int, name: str) -> npt.NDArray[np.int64]:
    """A column of whole numbers, as long as the signal."""
    values = read_mat(io.BytesIO(content), key, max_bytes=MAX_SAMPLES * 8, name=name)
    if values.shape != (samples, 1):
        raise RawDataError(f"{name}: {key!r} has shape {values.shape}, must be ({samples}, 1) as 'emg' has {samples}")
    whole = np.trunc(np.nan_to_num(values.astype(np.float64), nan=0.5)) if values.dtype.kind == "f" else values
    if not np.array_equal(whole, values) or np.abs(whole).max() > np.iinfo(np.int32).max:
        raise RawDataError(f"{name}: {key!r} holds values that are not whole numbers. Get the recording anew")
    return values[:, 0].astype(np.int64)
