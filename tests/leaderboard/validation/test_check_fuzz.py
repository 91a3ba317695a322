"""The validator on anything: it never raises, tells of all that is invalid, and agrees with the leaderboard."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas360.errors import ResultError
from nas360.leaderboard.sources import load_files
from nas360.leaderboard.table import build_table
from nas360.leaderboard.validation.check import Fault, check_bytes, check_files
from nas360.leaderboard.validation.github import github_lines
from nas360.leaderboard.validation.strict_json import line_numbers
from nas360.loaders import TASKS
from nas360.results import digest, json_schema, load_result
from nas360.rules import has_secret, hide_secrets, may_hold_secret
from nas360.task import TaskSpec

SPECS: Mapping[str, TaskSpec] = {name: task.spec for name, task in TASKS.items()}
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "results"
FILES = [path.read_bytes() for path in sorted(FIXTURES.glob("*.json"))]
VALID: list[dict[str, Any]] = [json.loads(raw) for raw in FILES]
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

WORDS = ["", "1.0", "ok", "oom", "paper", "open", "standard", "synthetic", "a" * 64, "..", "aux", "ecg", "satellite"]
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([0, -1, 1, 1.5, 61.25, 10**25, 10**400, 1e308, -0.0, *WORDS])
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _errors(faults: list[Fault]) -> list[Fault]:
    return [fault for fault in faults if fault.severity == "error"]


def _well_formed(faults: list[Fault]) -> None:
    for fault in faults:
        assert fault.rule
        assert (fault.severity == "error") == ("-E" in fault.code)
        assert fault.pointer == "" or fault.pointer.startswith("/")
        assert len(str(fault.public())) < 3000
        json.dumps(fault.public(), allow_nan=False).encode()
        assert fault.value.isascii()
        assert fault.value.isprintable()
        assert fault.pointer.isascii()


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A valid file of which one to three nodes are deleted, replaced, doubled or swapped."""
    content: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 3))):
        places: list[tuple[Any, Any]] = []
        waiting: list[Any] = [content]
        while waiting:
            node = waiting.pop()
            for key in list(node) if isinstance(node, dict) else range(len(node)):
                places.append((node, key))
                if isinstance(node[key], dict | list):
                    waiting.append(node[key])
        if not places:
            break
        node, key = draw(st.sampled_from(places))
        action = draw(st.sampled_from(["delete", "replace", "double", "swap", "rename"]))
        if action == "delete":
            del node[key]
        elif action == "replace":
            node[key] = draw(ANYTHING)
        elif action == "double" and isinstance(node, list):
            node.insert(key, copy.deepcopy(node[key]))
        elif action == "rename" and isinstance(node, dict):
            node[draw(st.text(max_size=6))] = node.pop(key)
        else:
            other, place = draw(st.sampled_from(places))
            node[key] = copy.deepcopy(other[place]) if place in range(len(other)) or isinstance(other, dict) else None
    if draw(st.booleans()) and isinstance(content.get("digest"), str):
        content["digest"] = digest(content)
    return content


@QUICK
@given(raw=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_faulty_and_no_more_than_that(raw: bytes, tmp_path: Path) -> None:
    faults, _ = check_bytes(raw, SPECS)
    assert _errors(faults)
    _well_formed(faults)
    path = tmp_path / "a.json"
    path.write_bytes(raw)
    assert [fault.code for fault in check_files([path], SPECS)] == [fault.code for fault in faults]
    with pytest.raises(ResultError, match=r"a\.json"):
        load_result(path)
    assert len(list(github_lines(check_files([path], SPECS)))) == len(faults)


@QUICK
@given(data=st.data())
def test_damaged_bytes(data: st.DataObject, tmp_path: Path) -> None:
    raw = bytearray(data.draw(st.sampled_from(FILES)))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, max(len(raw) - 1, 0)))
        stop = min(start + data.draw(st.sampled_from([0, 1, 5, 100])), len(raw))
        raw[start:stop] = data.draw(
            st.sampled_from([b"", b"NaN", b'"', b"{", b"]", b"\\u0", b"1e999", b"\xff", b"\n,"])
        )
    path = tmp_path / "a.json"
    path.write_bytes(bytes(raw))
    _agree(path)


@QUICK
@given(content=mutated())
def test_damaged_structure(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    _agree(path)


@QUICK
@given(content=mutated())
def test_what_a_validator_of_json_schema_refuses_is_refused(content: dict[str, Any]) -> None:
    second = jsonschema.Draft202012Validator(json_schema())
    if not second.is_valid(content):
        assert _errors(check_bytes(json.dumps(content).encode(), SPECS)[0])


def _agree(path: Path) -> None:
    """The leaderboard takes a file exactly when the validator has no error to tell."""
    faults = check_files([path], SPECS)
    _well_formed(faults)
    try:
        build_table(load_files([path]), SPECS)
    except ResultError:
        assert _errors(faults)
    else:
        assert not _errors(faults), faults


@settings(QUICK, max_examples=60)
@given(contents=st.lists(mutated() | st.sampled_from(VALID), min_size=2, max_size=3))
def test_several_files(contents: list[dict[str, Any]], tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.json" for index in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_text(json.dumps(content), encoding="utf-8")
    faults = check_files(paths, SPECS)
    _well_formed(faults)
    try:
        build_table(load_files(paths), SPECS)
    except ResultError:
        assert _errors(faults)
    else:
        assert not _errors(faults), faults


@settings(QUICK, max_examples=60)
@given(content=ANYTHING, indent=st.sampled_from([None, 1]))
def test_every_value_has_a_line(content: Any, indent: int | None) -> None:
    text = json.dumps(content, indent=indent)
    lines = line_numbers(text)
    last = text.count("\n") + 1
    assert lines[""] == 1
    assert all(1 <= line <= last for line in lines.values())

    def count(node: Any) -> int:
        if isinstance(node, dict):
            return 1 + sum(count(value) for value in node.values())
        return 1 + sum(map(count, node)) if isinstance(node, list) else 1

    assert len(lines) == count(content)


PIECES = ["hf_", "a1B2c3D4" * 4, "password=", "--token ", "://", ":", "@", "sk-", "x", " ", "/", "AKIA" + "A" * 16, "'"]


@settings(QUICK, max_examples=300)
@given(text=st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_what_secrets_are_taken_out_of_holds_none(text: str) -> None:
    hidden = hide_secrets(text)
    assert not has_secret(hidden)
    assert hidden == text or has_secret(text)
    # a look at the whole file never misses what a look at each text finds
    assert may_hold_secret(json.dumps({"a": text})) or not has_secret(text)
    assert may_hold_secret(json.dumps({"a": text}).replace("/", "\\/")) or not has_secret(text)


@pytest.mark.parametrize("raw", FILES)
def test_valid_files_have_no_errors_and_stay_so_in_other_words(raw: bytes) -> None:
    assert not _errors(check_bytes(raw, SPECS)[0])
    content = json.loads(raw)
    turned = json.dumps(dict(reversed(content.items())), indent=5).encode()
    assert check_bytes(turned, SPECS)[0] == check_bytes(raw, SPECS)[0]
