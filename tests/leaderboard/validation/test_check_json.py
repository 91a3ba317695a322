"""Strict JSON: each breach by its code and at its place, bombs in little time, and the lines of values."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from nas360.leaderboard.validation.check import check_bytes, check_file
from nas360.leaderboard.validation.strict_json import line_numbers, line_of
from nas360.loaders import TASKS

SPECS = {name: task.spec for name, task in TASKS.items()}
VALID = (Path(__file__).resolve().parents[2] / "fixtures" / "results" / "v1.0-full.json").read_text(encoding="utf-8")


def _codes(raw: bytes) -> list[tuple[str, str]]:
    faults, _ = check_bytes(raw, SPECS)
    return [(fault.code[-4:], fault.pointer) for fault in faults if fault.severity == "error"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", [("E005", "")]),
        (b" \n", [("E005", "")]),
        (b"{", [("E006", "")]),
        (b"{'a': 1}", [("E006", "")]),
        (b'{"a": 1,}', [("E006", "")]),
        (b'{"a": 01}', [("E006", "")]),
        (b'{"a": "\t"}', [("E006", "")]),
        (b"[]", [("E011", "")]),
        (b"null", [("E011", "")]),
        (b"{}", [("E012", "")]),
        (b'{"schema_version": "9.0"}', [("E012", "/schema_version")]),
        (b"\xef\xbb\xbf[]", [("E004", ""), ("E011", "")]),
        (VALID.encode("utf-16"), [("E003", "")]),
        (VALID.encode("utf-16-le"), [("E003", "")]),
        (VALID.encode("utf-32"), [("E003", "")]),
        (VALID.encode("latin-1"), [("E003", "")]),
        (b"[" * 100_000, [("E010", "/0" * 80)]),
        (b'{"a":' * 100_000, [("E010", "/a" * 80)]),
    ],
)
def test_breaches_of_the_whole_file(raw: bytes, expected: list[tuple[str, str]]) -> None:
    found = _codes(raw)
    assert [code for code, _ in found] == [code for code, _ in expected]
    if expected[0][0] != "E010":
        assert found == expected


def test_every_breach_has_its_place_and_hides_nothing_else() -> None:
    text = VALID.replace('"score": 0.6125', '"score": NaN, "score": -Infinity', 1)
    text = text.replace('"macs": 123456789', '"macs": 1e999', 1).replace(
        '"epochs": 200.0', '"epochs": 1' + "0" * 5000, 1
    )
    text = text.replace('"name": "my_method"', '"name": "x", "name": "My Method"', 1)
    text = text.replace('"budget": "full"', '"budget": "huge"', 1)
    assert sorted(_codes(text.encode())) == [
        ("E007", "/results/0/score"),
        ("E007", "/results/0/score"),
        ("E008", "/results/0/architecture/macs"),
        ("E008", "/results/0/cost/epochs"),
        ("E009", "/method/name"),
        ("E009", "/results/0/score"),
        ("E024", "/results/0/budget"),
    ]


def test_bombs_take_little_time(tmp_path: Path) -> None:
    size = 1 << 20
    bombs = {
        "deep": b"[" * size,
        "deep objects": b'{"":' * (size // 4),
        "open text": b'{"a": "' + b"\\\\" * (size // 2 - 10),
        "wide": b"[" + b"0," * (size // 2 - 2) + b"0]",
        "nan": b"[" + b"NaN," * (size // 4 - 2) + b"0]",
        "digits": b"1" * size,
        "colons": b'{"schema_version": "1.0", "notes": "' + b":" * (size - 50) + b'@"}',
        "slashes": b'{"schema_version": "1.0", "notes": "' + b"a://" * (size // 4 - 20) + b'@"}',
        "key": b'{"' + b"k" * (size - 10) + b'": 1}',
        "words": b'{"schema_version": "1.0", "notes": "' + b"password=" * (size // 9 - 10) + b'"}',
        "keys": json.dumps({"schema_version": "1.0", **{f"key{index}": 1 for index in range(60_000)}}).encode(),
        "twice": b"{" + b'"a":1,' * (size // 6 - 3) + b'"a":1}',
        "faulty rows": b'{"schema_version": "1.0", "results": [' + b"{}," * 4900 + b"{}]}",
        "rows": b'{"schema_version": "1.0", "results": [' + b"{}," * (size // 3 - 20) + b"{}]}",
    }
    for name, raw in bombs.items():
        path = tmp_path / "a.json"
        path.write_bytes(raw[:size])
        start = time.process_time()
        assert check_file(path, SPECS), name
        seconds = time.process_time() - start
        assert seconds < 6, (name, seconds)
    with (tmp_path / "huge.json").open("wb") as stream:
        stream.truncate(1 << 40)  # sparse
    assert [fault.code for fault in check_file(tmp_path / "huge.json", SPECS)] == ["NAS360-E002"]


def test_lines_are_those_of_the_text() -> None:
    lines = line_numbers(VALID)
    rows = VALID.splitlines()
    content = json.loads(VALID)
    assert rows[lines["/results/1/cost/train_seconds"] - 1].strip().startswith('"train_seconds"')
    assert lines["/results/0/score"] < lines["/results/1/score"] < lines["/digest"]
    assert {f"/{key}" for key in content} <= set(lines)
    assert line_of("/results/1/cost/no_such/deeper", lines) == lines["/results/1/cost"]
    assert line_of("/nothing", lines) == 1
    assert line_numbers('{\n"a/b": {\n"~": 1}}') == {"": 1, "/a~1b": 2, "/a~1b/~0": 3}
    assert line_numbers('{\n"a":\n}')[""] == 3
