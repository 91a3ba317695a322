from __future__ import annotations

import math
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas360.loaders.log_mel import FRAME_HOP, MELS, SAMPLE_RATE_HZ, Signal, log_mel, mel_bands, n_frames, resample


def _noise(n: int, seed: int = 0) -> Signal:
    return np.random.default_rng(seed).normal(0, 0.1, n)


def _tone(hertz: float, n: int, rate: int = SAMPLE_RATE_HZ) -> Signal:
    tone: Signal = 0.5 * np.sin(2 * np.pi * hertz * np.arange(n) / rate)
    return tone


def _slow_bands() -> Signal:
    """The filter bank by its definition, one number after the other."""

    def mel(hertz: float) -> float:
        return 2595 * math.log10(1 + hertz / 700)

    step = mel(11025) / 97
    edges = [700 * (10 ** (k * step / 2595) - 1) for k in range(98)]
    bands = np.zeros((96, 961))
    for band in range(96):
        low, middle, high = edges[band : band + 3]
        for point in range(961):
            hertz = point * 22050 / 1920
            if low < hertz <= middle:
                bands[band, point] = (hertz - low) / (middle - low)
            elif middle < hertz < high:
                bands[band, point] = (high - hertz) / (high - middle)
    return bands


def _second(signal: Signal) -> Signal:
    """The same by torch.stft, which the reference's transform calls, and the slow filter bank."""
    import torch

    spectrum = torch.stft(
        torch.from_numpy(signal),
        n_fft=1920,
        hop_length=220,
        win_length=661,
        window=torch.hann_window(661, dtype=torch.float64),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    power = np.abs(spectrum.numpy()) ** 2
    decibel: Signal = 10 * np.log10(np.maximum(1e-10, _slow_bands() @ power))
    return decibel.T


@pytest.mark.parametrize(
    "signal",
    [
        _noise(22050),
        _noise(961),
        _noise(5 * 22050 + 123, seed=1),
        _tone(440, 30000) + 1e-4 * _noise(30000),
        np.concatenate([np.zeros(8000), _noise(9000), np.zeros(8000)]),
    ],
    ids=["one second", "shortest for torch", "five seconds", "tone", "between silences"],
)
def test_a_second_implementation_agrees(signal: Signal) -> None:
    ours, second = log_mel(signal), _second(signal)
    assert ours.shape == second.shape
    np.testing.assert_allclose(ours, second, rtol=0, atol=1e-3)


def test_a_second_implementation_agrees_on_a_real_clip(real_data: object) -> None:
    from pathlib import Path

    path = min((Path(str(real_data)) / "fsd50k/FSD50K.dev_audio").glob("*.wav"), key=lambda file: file.stat().st_size)
    with wave.open(str(path)) as file:
        signal = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
        rate = file.getframerate()
    at_rate = resample(signal, rate)
    np.testing.assert_allclose(log_mel(at_rate), _second(at_rate), rtol=0, atol=1e-3)


def test_the_bands_are_those_of_the_definition() -> None:
    np.testing.assert_allclose(mel_bands(), _slow_bands(), rtol=0, atol=1e-12)
    assert (mel_bands().max(axis=1) > 0.5).all()  # none is so narrow that it falls between two points


@given(st.integers(1, 3000))
@settings(max_examples=40, deadline=None)
def test_every_length_has_its_frames(n: int) -> None:
    frames = log_mel(_noise(n))
    assert frames.shape == (n_frames(n), MELS) == (1 + n // FRAME_HOP, MELS)
    assert np.isfinite(frames).all()


def test_one_second_is_one_window() -> None:
    assert n_frames(SAMPLE_RATE_HZ) == 101


def test_long_signals_are_the_same_in_blocks() -> None:
    """Frames do not depend on where the transform cuts a long signal into blocks."""
    signal = _noise(600 * FRAME_HOP)
    late = log_mel(signal[300 * FRAME_HOP :])
    np.testing.assert_allclose(log_mel(signal)[302:], late[2:], rtol=0, atol=1e-9)


def test_silence_is_the_floor() -> None:
    assert (log_mel(np.zeros(5000)) == -100).all()


@given(st.floats(1.5, 50))
@settings(max_examples=20, deadline=None)
def test_a_louder_sound_is_as_much_louder_in_every_place(factor: float) -> None:
    signal = _noise(3000)
    np.testing.assert_allclose(log_mel(factor * signal) - log_mel(signal), 20 * np.log10(factor), atol=1e-9)


@pytest.mark.parametrize("band", [5, 20, 50, 80, 95])
def test_a_tone_is_loudest_in_its_band(band: int) -> None:
    hertz = 700 * (10 ** ((band + 1) * 2595 * math.log10(1 + 11025 / 700) / 97 / 2595) - 1)
    frames = log_mel(_tone(min(hertz, 10900), 8000))
    assert set(frames[5:-5].argmax(axis=1)) == {band}


def test_a_delay_by_a_hop_moves_the_frames_by_one() -> None:
    signal = _noise(20000)
    np.testing.assert_allclose(log_mel(signal)[12:-3], log_mel(signal[10 * FRAME_HOP :])[2:-3], atol=1e-9)


@pytest.mark.parametrize("rate", [8000, 16000, 32000, 44100, 48000, 96000, 44099])
def test_a_tone_keeps_pitch_and_loudness_at_another_rate(rate: int) -> None:
    resampled = resample(_tone(1000, rate, rate), rate)
    assert len(resampled) == SAMPLE_RATE_HZ
    inner = slice(1000, -1000)  # at its ends the filter sees silence
    np.testing.assert_allclose(resampled[inner], _tone(1000, SAMPLE_RATE_HZ)[inner], atol=2e-3)


def test_what_the_lower_rate_cannot_hold_is_filtered_away() -> None:
    resampled = resample(_tone(15000, 44100, 44100), 44100)
    assert np.abs(resampled[1000:-1000]).max() < 5e-3


def test_the_right_rate_is_left_alone() -> None:
    signal = _noise(100)
    assert resample(signal, SAMPLE_RATE_HZ) is signal
