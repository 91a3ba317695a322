from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas360.loaders.raw.wav import MAX_BYTES, UnusableSoundError, read_wav


def _wav(frames: bytes, channels: int = 1, width: int = 2, rate: int = 22050) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(frames)
    return stream.getvalue()


def _header(rate: int, n_bytes: int) -> bytes:
    """A header that may lie: one channel of 16 bits."""
    form = struct.pack("<4sL2H2L2H", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return b"RIFF" + struct.pack("<L", 36 + n_bytes) + b"WAVE" + form + struct.pack("<4sL", b"data", n_bytes)


@pytest.mark.parametrize(
    ("width", "frames", "expected"),
    [
        (1, bytes([0, 64, 128, 255]), [-1, -0.5, 0, 127 / 128]),
        (2, struct.pack("<4h", -32768, -16384, 0, 32767), [-1, -0.5, 0, 32767 / 32768]),
        (3, b"\x00\x00\x80\x00\x00\xc0\x00\x00\x00\xff\xff\x7f", [-1, -0.5, 0, 8388607 / 8388608]),
        (4, struct.pack("<4i", -(2**31), -(2**30), 0, 2**31 - 1), [-1, -0.5, 0, (2**31 - 1) / 2**31]),
    ],
)
def test_every_width_has_its_full_scale(width: int, frames: bytes, expected: list[float]) -> None:
    signal, rate = read_wav(_wav(frames, width=width))
    assert rate == 22050
    assert signal.dtype == np.float64
    assert signal.tolist() == expected


def test_channels_are_averaged() -> None:
    signal, _ = read_wav(_wav(struct.pack("<4h", 100, 300, -50, 50), channels=2))
    np.testing.assert_array_equal(signal * 32768, [200, 0])


def test_chunks_of_other_programs_are_passed_over() -> None:
    plain = _wav(struct.pack("<2h", 1, 2))
    other = b"RIFF" + struct.pack("<L", len(plain) + 4) + b"WAVELIST" + struct.pack("<L", 4) + b"INFO" + plain[12:]
    np.testing.assert_array_equal(read_wav(other)[0], read_wav(plain)[0])


def test_the_extensible_form_of_pcm_is_the_same_sound() -> None:
    plain = _wav(struct.pack("<3h", 1, -2, 3))
    kind = b"\x01\x00" + bytes.fromhex("000000001000800000aa00389b71")
    form = struct.pack("<4sL", b"fmt ", 40) + b"\xfe\xff" + plain[22:36] + struct.pack("<2HL", 22, 16, 4) + kind
    other = b"RIFF" + struct.pack("<L", len(plain) + 16) + b"WAVE" + form + plain[36:]
    np.testing.assert_array_equal(read_wav(other)[0], read_wav(plain)[0])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"RIFF", "not a readable PCM wav file"),
        (b"fLaC" + bytes(100), "not a readable PCM wav file"),
        (_wav(b""), "no samples"),
        (_wav(bytes(200))[:-1], "truncated wav file"),
        (_header(22050, 2000) + bytes(1999), "truncated wav file"),
        (_header(22050, 0xFFFFFF00) + bytes(100), "longer than 60 s"),
        (_wav(bytes(2 * 22050 * 60 + 2)), "longer than 60 s"),
        (_wav(bytes(20), rate=7999), "sample rate outside 8,000 to 192,000 Hz"),
        (_header(0, 20) + bytes(20), "sample rate outside 8,000 to 192,000 Hz"),
        (_wav(bytes(20), rate=400_000), "sample rate outside 8,000 to 192,000 Hz"),
        (_wav(bytes(36), channels=9), "more than 8 channels"),
        (_header(22050, 20).replace(b"fmt \x10\0\0\0\1\0", b"fmt \x10\0\0\0\3\0") + bytes(20), "not a readable PCM"),
        (bytes(MAX_BYTES + 1), "larger than 32 MiB"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_what_cannot_be_used_has_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(UnusableSoundError, match=reason):
        read_wav(content)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_bytes_are_a_sound_or_a_reason(data: st.DataObject) -> None:
    content = bytearray(_wav(bytes(range(100))))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, 47))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    try:
        signal, rate = read_wav(bytes(content))
    except UnusableSoundError:
        return
    assert 0 < len(signal) <= 100
    assert np.abs(signal).max() <= 1
    assert 8_000 <= rate <= 192_000
