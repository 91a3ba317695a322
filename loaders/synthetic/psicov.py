"""The synthetic twin of PSICOV: made-up chains in PDNET's files, whose features tell the distances."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np

from nas360.files import write_bytes
from nas360.loaders.base import Array, FloatArray
from nas360.loaders.synthetic.containers import tar_gz
from nas360.seeding import derive

N_DEEPCOV, N_PSICOV = 34, 6
LETTERS = "ACDEFGHIKLMNPQRSTVWY"
STEP_ANGSTROM = 3.8  # between neighbours in a chain


def write_synthetic(folder: Path, seed: int) -> None:
    """Write `train-data.tar.gz` with lists, features and maps.

    A chain winds around an axis, so that residues one turn (20 to 30 residues) apart are in contact; the coupling
    features are noisy functions of the distances.

    Args:
        folder: where to.
        seed: of all draws.
    """
    files: dict[str, bytes] = {}
    for name, count, lengths in (("deepcov", N_DEEPCOV, (40, 150)), ("psicov", N_PSICOV, (50, 110))):
        rng = derive(seed, "psicov", "synthetic", name)
        ids = [f"{number % 9 + 1}{name[0]}{number:02d}A" for number in range(count)]
        # the first ones are longer than a crop, the rest spread over the range
        sizes = [lengths[1] - number for number in range(3)]
        sizes += rng.integers(lengths[0], lengths[1] // 2 + 20, count - len(sizes)).tolist()
        rng.shuffle(sizes)
        as_lines = [f"{one} {size}" if name == "deepcov" else one for one, size in zip(ids, sizes, strict=True)]
        files[f"{name}.lst"] = ("\n".join(as_lines) + "\n").encode()
        for one, size in zip(ids, sizes, strict=True):
            seq, features, distances = _protein(size, rng)
            files[f"{name}/features/{one}.pkl"] = pickle.dumps({"seq": seq, **features}, protocol=4)
            files[f"{name}/distance/{one}-cb.npy"] = _as_npy(seq, distances)
    write_bytes(folder / "train-data.tar.gz", tar_gz(files))


def _protein(length: int, rng: np.random.Generator) -> tuple[str, dict[str, Array], Array]:
    """Sequence, features by name, and map of distances in Å."""
    distances = _distances(length, rng)
    noise = rng.normal(0, 1, (3, length, length))
    noise = (noise + noise.transpose(0, 2, 1)) / 2
    near = np.exp(-distances / 8.0)
    codes = rng.integers(0, len(LETTERS), length)
    turn = np.sin(np.arange(length) / rng.uniform(3, 6) + rng.uniform(0, 6))
    pssm = np.zeros((length, 22))
    pssm[np.arange(length), codes] = 1.0
    features: dict[str, Array] = {
        "ss": np.stack([turn > 0.4, np.abs(turn) <= 0.4, turn < -0.4]).astype(np.float16),
        "pssm": (pssm + rng.uniform(0, 0.2, pssm.shape)).astype(np.float32),
        "sa": rng.uniform(0, 1, length).astype(np.float16),
        "entropy": rng.uniform(0, 3, length).astype(np.float16),
        "ccmpred": (near + 0.03 * noise[0]).astype(np.float16),
        "freecon": (2 * near - 0.5 + 0.1 * noise[1]).astype(np.float16),
        "potential": (-1.0 / (1.0 + distances / 6.0) + 0.03 * noise[2]).astype(np.float16),
    }
    return "".join(LETTERS[code] for code in codes), features, distances.astype(np.float16)


def _distances(length: int, rng: np.random.Generator) -> FloatArray:
    """Distances between the residues of a chain that winds around an axis, (L, L) in Å."""
    residues_a_turn, pitch = rng.uniform(25, 29), rng.uniform(4.5, 7.0)
    radius = STEP_ANGSTROM * residues_a_turn / (2 * np.pi)
    at = np.arange(length) / residues_a_turn
    angle = 2 * np.pi * at + 0.2 * np.sin(2 * np.pi * at / 3)
    chain = np.stack([radius * np.cos(angle), radius * np.sin(angle), pitch * at], axis=1)
    chain += rng.normal(0, 0.3, chain.shape)
    distances: FloatArray = np.linalg.norm(chain[:, None] - chain[None], axis=2).astype(np.float32)
    return distances


def _as_npy(seq: str, distances: Array) -> bytes:
    """(length, sequence, map) as PDNET saves it."""
    parts = np.empty(3, dtype=object)
    parts[:] = [len(seq), seq, distances]
    stream = io.BytesIO()
    np.save(stream, parts, allow_pickle=True)
    return stream.getvalue()
