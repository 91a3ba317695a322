from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from nas360.seeding import derive

CODE = "from nas360.seeding import derive; print(derive(3, 'shuffle', 7).integers(0, 2**62, 4).tolist())"


def test_equal_in_another_process_with_another_hash_salt() -> None:
    here = str(derive(3, "shuffle", 7).integers(0, 2**62, 4).tolist())
    for salt in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", CODE], env={"PYTHONHASHSEED": salt}, capture_output=True, text=True, check=True
        )
        assert there.stdout.strip() == here


@given(st.integers(0, 2**32), st.lists(st.text(max_size=5) | st.integers(0, 9), max_size=3), st.text(max_size=5))
def test_another_seed_or_purpose_is_another_stream(seed: int, path: list[str | int], name: str) -> None:
    draw = derive(seed, *path).integers(0, 2**62)
    assert draw != derive(seed + 1, *path).integers(0, 2**62)
    assert draw != derive(seed, *path, name).integers(0, 2**62)


def test_purposes_do_not_run_together() -> None:
    assert derive(0, "ab", "c").random() != derive(0, "a", "bc").random()
