"""The synthetic twin of ECG: pulses whose rate and regularity tell the class."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from nas360.files import write_bytes, write_text
from nas360.loaders.base import Array
from nas360.loaders.ecg import ARCHIVE, CLASSES, REFERENCE, SAMPLE_RATE_HZ
from nas360.seeding import derive


def write_synthetic(folder: Path, seed: int, n_records: int = 80) -> None:
    """Write a tiny archive in the official layout: pulses whose rate and regularity tell the class.

    Normal is regular, fibrillation irregular, other slow with a double pulse, noisy has no pulses.
    """
    rng = derive(seed, "ecg", "synthetic")
    stream, lines = io.BytesIO(), []
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(n_records):
            record, label = f"A{number + 1:05d}", CLASSES[number % len(CLASSES)]
            signal = _synthetic_signal(label, rng)
            lines.append(f"{record},{label}")
            for suffix, content in ((".mat", _mat4(signal)), (".hea", _header(record, len(signal)))):
                archive.writestr(zipfile.ZipInfo(f"training2017/{record}{suffix}", (2017, 1, 1, 0, 0, 0)), content)
        names = "\n".join(line.split(",")[0] for line in lines)
        archive.writestr(zipfile.ZipInfo("training2017/RECORDS", (2017, 1, 1, 0, 0, 0)), names + "\n")
    write_bytes(folder / ARCHIVE, stream.getvalue())
    write_text(folder / REFERENCE, "\n".join(lines) + "\n")


def _synthetic_signal(label: str, rng: np.random.Generator) -> Array:
    n = int(rng.integers(2714, 4001))
    gap = {"N": 240, "A": 170, "O": 380, "~": n}[label]
    jitter = 0.45 if label == "A" else 0.03
    beats = np.cumsum(gap * (1 + jitter * rng.uniform(-1, 1, 2 + 2 * n // gap)))
    pulses = np.concatenate([beats, beats + 60]) if label == "O" else beats
    comb = np.zeros(n)
    comb[pulses[pulses < n].astype(int)] = 0.0 if label == "~" else 900.0
    shape = np.exp(-(((np.arange(41) - 20) / 6.0) ** 2))
    noise = rng.normal(0, 300.0 if label == "~" else 40.0, n)
    return np.clip(np.convolve(comb, shape, "same") + noise, -32768, 32767).astype(np.int16)


def _mat4(signal: Array) -> bytes:
    from scipy.io import savemat

    stream = io.BytesIO()
    # the documentation admits a stream, the type stubs do not
    savemat(stream, {"val": signal[None]}, format="4")  # type: ignore[arg-type]
    return stream.getvalue()


def _header(record: str, n_samples: int) -> str:
    return f"{record} 1 {SAMPLE_RATE_HZ} {n_samples}\n{record}.mat 16+24 1000/mV 16 0 0 0 0 ECG\n"
