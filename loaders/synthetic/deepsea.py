"""A tiny made-up DeepSEA bundle: every label has a motif, which is planted in the sequences that bear it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nas360.files import atomic_path, write_bytes
from nas360.loaders.base import Array
from nas360.loaders.deepsea import label_indices
from nas360.loaders.deepsea_files import ARCHIVE, N_BASES, N_FEATURES, SEQUENCE_LENGTH
from nas360.loaders.synthetic.containers import mat5, tar_gz
from nas360.seeding import derive

# of every file as many again, the reverse complements, follow
_FORWARD = {"train": 500, "valid": 90, "test": 180}
_MOTIF = 10
_COPIES = 5
_MORE_LABELS = 0.02
# A, G, C, T → T, C, G, A
_COMPLEMENT = np.array([3, 2, 1, 0, N_BASES])


def write_synthetic(folder: Path, seed: int) -> None:
    """Write the bundle in the official layout: train.mat of version 7.3, valid.mat and test.mat of version 5."""
    motifs = derive(seed, "deepsea", "synthetic", "motifs").integers(0, N_BASES, (len(label_indices()), _MOTIF))
    files: dict[str, bytes] = {}
    for stem, forward in _FORWARD.items():
        bases, features = _arrays(forward, motifs, derive(seed, "deepsea", "synthetic", stem))
        variables = {f"{stem}xdata": bases, f"{stem}data": features}
        content = _version_73(variables, folder) if stem == "train" else mat5(variables, compressed=True)
        files[f"deepsea_train/{stem}.mat"] = content
    write_bytes(folder / ARCHIVE, tar_gz(files))


def _arrays(forward: int, motifs: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Sequences (2 n, 4, 1000) and features (2 n, 919), uint8; the second half are reverse complements."""
    n_labels = len(motifs)
    label = rng.random((forward, n_labels)) < _MORE_LABELS
    # every label in turn, so that none is without positives; every fifth sequence bears none, and is left out
    label[np.arange(forward), np.arange(forward) % n_labels] = True
    label[::5] = False
    bases = rng.integers(0, N_BASES, (forward, SEQUENCE_LENGTH))
    bases[rng.random(bases.shape) < 0.001] = N_BASES  # unknown
    for sequence, which in np.argwhere(label):
        for place in rng.integers(0, SEQUENCE_LENGTH - _MOTIF, _COPIES):
            bases[sequence, place : place + _MOTIF] = motifs[which]
    bases = np.concatenate([bases, _COMPLEMENT[bases[:, ::-1]]])
    features = (rng.random((forward, N_FEATURES)) < 0.01).astype(np.uint8)
    features[:, label_indices()] = label
    one_hot = (bases[:, None, :] == np.arange(N_BASES)[:, None]).astype(np.uint8)
    return one_hot, np.concatenate([features, features])


def _version_73(variables: dict[str, Array], folder: Path) -> bytes:
    """As MATLAB stores them: an HDF5 file with the axes in reverse."""
    import h5py

    with atomic_path(folder / "train.mat") as temporary:
        with h5py.File(temporary, "w", track_order=False) as file:
            for key, values in variables.items():
                stored = file.create_dataset(
                    key, data=values.T, chunks=True, compression="gzip", compression_opts=1, track_times=False
                )
                stored.attrs["MATLAB_class"] = np.bytes_("uint8")
        content = temporary.read_bytes()
    (folder / "train.mat").unlink()
    return content
