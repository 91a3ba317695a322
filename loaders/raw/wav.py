"""Sound out of a wav file that came from outside.

The standard library's reader is used: it tells a file's size before any sample is taken, and it is memory-safe. It
reads uncompressed integers (PCM), which is what sound collections are kept in.
"""

from __future__ import annotations

import io
import struct
import wave

import numpy as np

from nas360.errors import RawDataError
from nas360.files import MIB
from nas360.loaders.base import Array
from nas360.loaders.log_mel import Signal

MAX_BYTES = 32 * MIB
MAX_SECONDS = 60
RATES_HZ = (8_000, 192_000)
MAX_CHANNELS = 8


class UnusableSoundError(RawDataError):
    """A sound that cannot be used; the message is a reason in a few words, which names no file."""


def read_wav(content: bytes) -> tuple[Signal, int]:
    """The sound of a wav file, its channels averaged.

    Args:
        content: the file.

    Returns:
        Signal (n,), full scale ±1, n ≥ 1, and its samples a second.

    Raises:
        UnusableSoundError: when the file is no PCM wav, holds fewer samples than it says or none, or is absurd: larger
            than 32 MiB, longer than 60 s, of more than 8 channels, or outside 8,000 to 192,000 samples a second.
    """
    if len(content) > MAX_BYTES:
        raise UnusableSoundError(f"larger than {MAX_BYTES // MIB} MiB")
    if not content:
        raise UnusableSoundError("empty file")
    try:
        with wave.open(io.BytesIO(_plain(content))) as sound:
            n, rate = sound.getnframes(), sound.getframerate()
            channels, width = sound.getnchannels(), sound.getsampwidth()
            _check(n, rate, channels, width)
            frames = sound.readframes(n)
    except (wave.Error, EOFError, struct.error, RuntimeError, ValueError) as cause:
        raise UnusableSoundError("not a readable PCM wav file") from cause
    if len(frames) != n * channels * width:
        raise UnusableSoundError("truncated wav file")
    return _samples(frames, width).reshape(n, channels).mean(axis=1, dtype=np.float64) / 2.0 ** (8 * width - 1), rate


def _plain(content: bytes) -> bytes:
    """The file with its format named by the old number for PCM, where it is named by the extensible one.

    Both hold the same; from Python 3.12 on, the library reads the latter by itself.
    """
    extensible = content[12:16] == b"fmt " and content[20:22] == b"\xfe\xff" and content[44:46] == b"\x01\x00"
    return content[:20] + b"\x01\x00" + content[22:] if extensible else content


def _check(n: int, rate: int, channels: int, width: int) -> None:
    if n == 0:
        raise UnusableSoundError("no samples")
    if not RATES_HZ[0] <= rate <= RATES_HZ[1]:
        raise UnusableSoundError(f"sample rate outside {RATES_HZ[0]:,} to {RATES_HZ[1]:,} Hz")
    if n > MAX_SECONDS * rate:
        raise UnusableSoundError(f"longer than {MAX_SECONDS} s")
    if channels > MAX_CHANNELS:
        raise UnusableSoundError(f"more than {MAX_CHANNELS} channels")
    if width > 4:
        raise UnusableSoundError("samples of more than 32 bits")


def _samples(frames: bytes, width: int) -> Array:
    """Whole numbers around zero; full scale is 2 ** (8 * width - 1)."""
    if width == 1:  # the only width without a sign
        return np.frombuffer(frames, np.uint8).astype(np.int16) - 128
    if width == 3:
        low = np.frombuffer(frames, np.uint8).reshape(-1, 3)
        return np.pad(low, ((0, 0), (1, 0))).view("<i4")[:, 0] >> 8
    return np.frombuffer(frames, f"<i{width}")
