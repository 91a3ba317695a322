"""Generators with owners: every random draw of nas360 comes from one that was handed over by argument."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def derive(seed: int, *names: str | int) -> np.random.Generator:
    """A generator for one purpose, independent of those for other purposes.

    Names are hashed rather than counted, so that a new purpose does not move the draws of the old ones, and the
    result is the same in every process (Python's own `hash` is salted).

    Args:
        seed: the seed of the whole run, ≥ 0.
        names: the path of the purpose, for instance `"shuffle", epoch`.

    Returns:
        A fresh PCG64 generator.

    Example:
        >>> float(derive(0, "shuffle", 1).random()) == float(derive(0, "shuffle", 1).random())
        True
    """
    # JSON, so that no two paths are spelt alike
    digest = hashlib.sha256(json.dumps(names).encode()).digest()
    words = np.frombuffer(digest, dtype=np.uint32)
    return np.random.default_rng(np.random.SeedSequence([seed, *(int(word) for word in words)]))
