"""Checkpoints: no bit can fall over without being noticed, and the one before is there then."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nas360.baselines.checkpoint import Checkpoints

STATE = {"weights": torch.arange(5.0), "step": 3, "optimiser": {"momenta": [torch.ones(2)], "lr": 0.25}}
CPU = torch.device("cpu")


def same(found: object, expected: object) -> bool:
    if isinstance(expected, torch.Tensor):
        return isinstance(found, torch.Tensor) and found.dtype == expected.dtype and torch.equal(found, expected)
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(same(found[name], value) for name, value in expected.items())
        )
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(same, found, expected))
    return type(found) is type(expected) and found == expected


@pytest.mark.parametrize("offset", range(4))
def test_a_bit_that_fell_over_is_noticed_or_of_no_consequence(offset: int, tmp_path: Path) -> None:
    checkpoints, before = Checkpoints(tmp_path, {"seed": 1}), {"step": 2}
    checkpoints.save(before)
    checkpoints.save(STATE)
    content = checkpoints.path.read_bytes()
    noticed = 0
    for place in range(offset, len(content), 17):
        checkpoints.path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        state, warnings = checkpoints.load(CPU)
        noticed += len(warnings)
        assert same(state, before if warnings else STATE), f"bit {place % 8} of byte {place}"
    assert noticed > len(content) / 17 / 3


def test_cut_short_anywhere_the_one_before_is_taken(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"step": 2})
    checkpoints.save(STATE)
    content = checkpoints.path.read_bytes()
    for length in range(0, len(content), 23):
        checkpoints.path.write_bytes(content[:length])
        state, warnings = checkpoints.load(CPU)
        assert state == {"step": 2} and len(warnings) == 1
    checkpoints.previous.write_bytes(b"")
    state, warnings = checkpoints.load(CPU)
    assert state is None and len(warnings) == 2
