"""The synthetic twin of CIFAR-100: noisy images of one coarse colour pattern a class."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nas360.files import write_bytes
from nas360.loaders.cifar100 import ARCHIVE, SHAPE
from nas360.loaders.labels import CIFAR100_CLASSES
from nas360.loaders.synthetic.containers import tar
from nas360.seeding import derive


def write_synthetic(folder: Path, seed: int, n_train: int = 1000, n_test: int = 300) -> None:
    """Write a tiny archive in the official layout: noisy images of one coarse colour pattern a class."""
    rng = derive(seed, "cifar100", "synthetic")
    patterns = rng.uniform(40, 215, (len(CIFAR100_CLASSES), 3, 4, 4)).repeat(8, axis=2).repeat(8, axis=3)
    parts: dict[str, Mapping[str, Any]] = {
        "meta": {"fine_label_names": list(CIFAR100_CLASSES), "coarse_label_names": [f"group {k}" for k in range(20)]}
    }
    for name, n in (("train", n_train), ("test", n_test)):
        labels = rng.permutation(np.arange(n) % len(CIFAR100_CLASSES))
        images = patterns[labels] + rng.normal(0, 25, (n, *SHAPE))
        parts[name] = {
            "data": np.clip(images, 0, 255).astype(np.uint8).reshape(n, -1),
            "fine_labels": labels.tolist(),
            "coarse_labels": (labels // 5).tolist(),
            "filenames": [f"synthetic_{name}_{number}.png" for number in range(n)],
            "batch_label": f"synthetic {name}",
        }
    # the official pickles come from Python 2, whose strings are bytes
    files = {f"cifar-100-python/{name}": pickle.dumps(_as_bytes(part), protocol=2) for name, part in parts.items()}
    # the time of writing must not enter the file: same seed, same bytes
    write_bytes(folder / ARCHIVE, gzip.compress(tar(files), compresslevel=1, mtime=0))


def _as_bytes(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list):
        return [_as_bytes(item) for item in value]
    if isinstance(value, dict):
        return {_as_bytes(key): _as_bytes(item) for key, item in value.items()}
    return value
