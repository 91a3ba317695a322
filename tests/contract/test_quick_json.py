"""The quick parser gives what the strict one gives, or nothing: no breach of strictness goes through it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nas360.errors import ResultError
from nas360.files import parse_json
from nas360.quick_json import digest, quick_parse
from nas360.results import load_result

FIXTURES = sorted((Path(__file__).resolve().parents[1] / "fixtures" / "results").glob("*.json"))
TEXTS = [path.read_text(encoding="utf-8") for path in FIXTURES]
SEAL = "0" * 64

PIECES = [
    *(
        '"',
        '""',
        '\\"',
        "\\u0022",
        "\\\\",
        "\\ud800",
        "\\ud83d\\ude00",
        "\\/",
        "\u20ac",
        "\x00",
        "\x7f",
        "\t",
        "\ufeff",
    ),
    *("NaN", "-Infinity", "1e999", "-1e400", "1e5", "1E-400", "-0", "-0.0", "01", "1.", "9" * 30, "9" * 5000, "true"),
    *("0.1000000000000000055511151231257827", "4.9e-324", "1.7976931348623159e308", "2.2250738585072011e-308"),
    *("[" * 150 + "]" * 150, "[" * 3000, "{}", "{", "}", "[", "]", ",", ":", " ", "\n", "/**/", "'a'", "null", "x"),
    *(
        '"seed": 1,',
        '"digest": 5,',
        f'"digest": "{SEAL}",',
        '"a": "\\"", ',
        '"a": 1, "a": 1,',
        '"schema_version": "1.0",',
    ),
]


def _agree(text: str) -> bool:
    """Whether the quick parser took a text; whatever it takes, the strict one reads the same way."""
    found = quick_parse(text)
    if found is None:
        return False
    content = parse_json(text, "text")
    assert repr(found[0]) == repr(content)  # tells 1 from 1.0 and True, 0.0 from −0.0, and the order of keys
    assert found[1] == digest(content)
    return True


@pytest.mark.parametrize("text", TEXTS, ids=[path.stem for path in FIXTURES])
def test_whole_files_are_read_quickly(text: str) -> None:
    assert _agree(text)


@pytest.mark.parametrize(
    "text",
    [
        *('{"a": 1, "a": 2}', '{"a": 1, "\\u0061": 1}', '{"b": {"a": "", "a": ""}}', '{"a": "\\"\\"", "a": 1}'),
        *(
            '{"a": "\\u0022\\u0022", "a": 1}',
            '{"a": "x", "a": "\\"\\"\\""}',
            '{"a": NaN}',
            '{"a": 1e999}',
            '{"a": [-1e400]}',
        ),
        *(
            "{} {}",
            "",
            " ",
            "\ufeff{}",
            "[]",
            "1",
            '{"a": 01}',
            '{"a": "\n"}',
            '{"a": "\\ud800"}',
            '{"a": ' + "9" * 5000 + "}",
        ),
        *(
            '{"digest": 1e999}',
            '{"digest": "x"}',
            f'{{"digest": "{SEAL}", "digest": "{SEAL}"}}',
            '{"a": 1,}',
            "{'a': 1}",
        ),
    ],
)
def test_what_is_not_strict_or_in_doubt_is_left_to_the_strict_parser(text: str) -> None:
    assert quick_parse(text) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    content=st.dictionaries(st.text(max_size=4), JSON, max_size=4),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 2]),
)
@example(content={"a": '"', '"': "\\"}, ascii_only=True, indent=None)
def test_any_object_is_read_the_same_way(content: dict[str, Any], ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(content, ensure_ascii=ascii_only, indent=indent)
    _agree(text)
    # the same keys once more in front of them: twice, unless there were none
    if content:
        assert quick_parse(f"{{{text.strip()[1:-1]},{text.strip()[1:-1]}}}") is None


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A result file of which one to three places are replaced."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 3))):
        # beginnings of lines and of values, where a piece is most often JSON still
        starts = [index + 1 for index, sign in enumerate(text) if sign in "\n:,{["] or [0]
        start = draw(st.sampled_from(starts) | st.integers(0, len(text)))
        stop = min(start + draw(st.sampled_from([0, 0, 1, 5, 60])), len(text))
        text = text[:start] + draw(st.sampled_from(PIECES)) + text[stop:]
    return text


def _outcome(path: Path) -> object:
    try:
        return load_result(path).model_dump()
    except ResultError as error:
        return str(error)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=damaged())
def test_with_and_without_it_a_file_is_taken_or_refused_alike(text: str, tmp_path: Path) -> None:
    _agree(text)
    path = tmp_path / "result.json"
    path.write_bytes(text.encode())
    quick = _outcome(path)
    with patch("nas360.results.quick_parse", return_value=None):
        assert _outcome(path) == quick
