from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas360.errors import UserError
from nas360.files import atomic_path, parse_json, read_json, sha256_file, write_json, write_text

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_strict_json_reads_what_json_writes(value: object) -> None:
    assert parse_json(json.dumps(value), "text") == value


@given(st.text())
def test_any_text_is_read_or_refused_with_our_error(text: str) -> None:
    try:
        parse_json(text, "text")
    except UserError as error:
        assert "text" in str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("[1, NaN]", "holds NaN"),
        ("[-Infinity]", "holds -Infinity"),
        ("[1e999]", "too large"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ("{", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("1" * 5000, "not acceptable JSON"),
        ("1" * 400 + ".5", "holds 1{40}, which is too large"),
        ('{"a": [{"b": 1, "b": 1}]}', "'b' stands twice"),
        ("\ufeff{}", "byte order mark"),
        (" \t\n", "empty"),
        ("{} {}", r"not JSON \(Extra data, line 1 column 4"),
    ],
)
def test_what_strict_json_refuses(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_json(text, "text")


def test_a_large_file_is_refused_by_its_size_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as stream:
        stream.truncate(1 << 30)  # sparse: takes no disk; reading it would take seconds and a gigabyte
    start = time.perf_counter()
    with pytest.raises(UserError, match=r"1,024 MiB, more than the 1 MiB allowed"):
        read_json(path, 1 << 20)
    assert time.perf_counter() - start < 0.1


@given(st.integers(0, 330), st.integers(-20, 330), st.sampled_from(["{}", "[{}]", '{{"a": {}}}', '["1e999", {}]']))
def test_a_number_is_refused_exactly_where_it_is_too_large(digits: int, exponent: int, around: str) -> None:
    for sign, power in itertools.product(("", "-"), (f"e{exponent}", f"E{exponent:+}", f"e{exponent:+05}")):
        token = f"{sign}1{'0' * digits}.0{power}"
        if math.isinf(float(token)):
            with pytest.raises(UserError, match="too large for a float64"):
                parse_json(around.format(token), "text")
        else:
            assert parse_json(around.format(token), "text") == json.loads(around.format(token))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes on this system")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", tmp_path):
        with pytest.raises(UserError, match="not a regular file"):
            read_json(path, 100)


def test_other_faults_of_json_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_json(tmp_path / "absent.json", 100)
    (tmp_path / "latin.json").write_bytes(b'"\xe4"')
    with pytest.raises(UserError, match="not UTF-8"):
        read_json(tmp_path / "latin.json", 100)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "value.json"
    write_json(target, 1)
    with pytest.raises(RuntimeError, match="midway"), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("midway")
    assert read_json(target, 100) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["value.json"]


def test_nan_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "value.json", math.nan)
    assert not list(tmp_path.iterdir())


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "text")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_sha256_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert sha256_file(tmp_path / "empty").startswith("e3b0c44298fc1c14")


WRITE_FOREVER = """
import itertools, sys
from pathlib import Path
from nas360.files import write_text
for number in itertools.cycle(range(10)):
    write_text(Path(sys.argv[1]), str(number) * 200_000)
"""


def test_a_reader_never_meets_half_a_file_however_the_writer_dies(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, path])
        deadline = time.monotonic() + 20
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        for _ in range(50):
            content = path.read_text()
            assert len(content) == 200_000
            assert len(set(content)) == 1
        writer.kill()
        writer.wait()
        assert len(set(path.read_text())) == 1
