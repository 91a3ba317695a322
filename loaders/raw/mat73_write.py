"""Stacks of square fields written as MATLAB files of version 7.3, the layout of the official Darcy files.

MATLAB sees an (N, S, S) array; HDF5 stores it with its axes in reverse, (S, S, N). Each sample is a chunk of its own,
so that chunks can be compressed apart, by several processes, and written as they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas360.files import atomic_path

_LEVEL = 1  # higher levels gain two percent on solutions and cost time
_USER_BLOCK = 512


def encode_chunk(field: npt.NDArray[Any]) -> bytes:
    """One sample as the bytes of its chunk.

    Args:
        field: (S, S), as MATLAB sees it; stored as float32.

    Returns:
        The chunk after HDF5's byte shuffle and deflate filters.
    """
    values = np.ascontiguousarray(field.T, dtype="<f4")
    # all first bytes, then all second bytes, …: exponents next to exponents compress
    return zlib.compress(values.view(np.uint8).reshape(-1, 4).T.tobytes(), _LEVEL)


def write_stack(path: Path, count: int, size: int, samples: Iterable[Mapping[str, bytes]]) -> None:
    """Write a file of single-precision (count, size, size) arrays atomically; equal samples make equal bytes.

    Args:
        path: the final name.
        count: samples N.
        size: nodes S along an axis.
        samples: for every sample its chunk of every variable, as `encode_chunk` makes it.
    """
    import h5py

    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w", userblock_size=_USER_BLOCK) as file:
            datasets: dict[str, Any] = {}
            for index, chunks in enumerate(samples):
                for key, content in chunks.items():
                    if key not in datasets:
                        datasets[key] = file.create_dataset(
                            key,
                            shape=(size, size, count),
                            dtype="<f4",
                            chunks=(size, size, 1),
                            shuffle=True,
                            compression="gzip",
                            compression_opts=_LEVEL,
                        )
                        datasets[key].attrs["MATLAB_class"] = np.bytes_("single")
                    datasets[key].id.write_direct_chunk((0, 0, index), content)
        # what MATLAB looks at before it believes that the file is one of its own: text, version 2.0, byte order
        header = b"MATLAB 7.3 MAT-file, Platform: nas360, HDF5 schema 1.00 .".ljust(116) + bytes(8) + b"\x00\x02IM"
        with temporary.open("r+b") as stream:
            stream.write(header)
