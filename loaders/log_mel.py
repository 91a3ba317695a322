"""Sound to log-mel frames: short-time power spectra, summed in mel bands, in decibel.

Constants and conventions are the reference's (torchaudio's defaults: a periodic Hann window, frames centred on
multiples of the hop, the ends of the sound mirrored, mel bands by the formula of HTK, unnormalised triangles).
"""

from __future__ import annotations

from functools import cache
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 22050
MELS = 96
FFT = 1920
FRAME = 661
"""Samples in a frame: 30 ms."""
FRAME_HOP = 220
"""Samples from frame to frame: 10 ms."""
FLOOR = 1e-10
"""The lowest power that is told from silence: -100 dB."""

_BLOCK = 512
"""Frames that are transformed at once; bounds the memory to some 15 MiB."""

Signal = npt.NDArray[np.float64]


def resample(signal: Signal, rate_hz: int) -> Signal:
    """A signal at 22,050 samples a second.

    Args:
        signal: (n,), at `rate_hz` samples a second.
        rate_hz: its rate; 44,100 is halved, any other rate is changed by the exact ratio of whole numbers.

    Returns:
        (ceil(n · 22,050 / rate),): polyphase filtered, with a low-pass filter of zero phase.
    """
    if rate_hz == SAMPLE_RATE_HZ:
        return signal
    from scipy.signal import resample_poly

    common = gcd(SAMPLE_RATE_HZ, rate_hz)
    resampled: Signal = resample_poly(signal, SAMPLE_RATE_HZ // common, rate_hz // common)
    return resampled


def n_frames(n_samples: int) -> int:
    """How many frames `log_mel` makes of a signal."""
    return 1 + n_samples // FRAME_HOP


def log_mel(signal: Signal) -> Signal:
    """Log-mel frames of a signal at 22,050 samples a second.

    Frame t is centred on sample 220·t. In it, the power spectrum of the windowed sound (1,920 points, the sound padded
    with zeros) is summed in 96 triangular bands and given as 10·log10, at least -100 dB.

    Args:
        signal: (n,), full scale ±1, n ≥ 1.

    Returns:
        (1 + n // 220, 96) dB, against a band power of 1.
    """
    from scipy.fft import rfft

    # a frame in the middle of 1,920 points begins (1920 - 661) // 2 after them, and so 331 samples before its centre;
    # where in the 1,920 points it lies changes phases only
    before = FFT // 2 - (FFT - FRAME) // 2
    padded = np.pad(signal, (before, FRAME - before), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::FRAME_HOP][: n_frames(len(signal))]
    window, bands = hann(), _sparse_bands()
    out = np.empty((len(frames), MELS))
    for start in range(0, len(frames), _BLOCK):
        spectrum = rfft(frames[start : start + _BLOCK] * window, n=FFT, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        out[start : start + _BLOCK] = (bands @ power.T).T
    decibel: Signal = 10.0 * np.log10(np.maximum(out, FLOOR))
    return decibel


@cache
def hann() -> Signal:
    """The periodic Hann window, (661,)."""
    window: Signal = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    return window


@cache
def mel_bands() -> Signal:
    """The weight of each point of the spectrum in each band, (96, 961).

    Triangles with peak 1 between neighbouring edges; the 98 edges are equally far apart on HTK's mel scale,
    2595·log10(1 + f / 700), from 0 to 11,025 Hz.
    """
    points = np.linspace(0, SAMPLE_RATE_HZ / 2, FFT // 2 + 1)
    highest = 2595 * np.log10(1 + SAMPLE_RATE_HZ / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, MELS + 2) / 2595) - 1)
    rise = (points - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - points) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0.0, np.minimum(rise, fall))


@cache
def _sparse_bands() -> Any:
    # a point lies in two bands at most; and unlike those of a dense product, these sums are taken in one fixed order,
    # whatever the machine
    from scipy.sparse import csr_array

    return csr_array(mel_bands())
