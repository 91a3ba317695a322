"""What is wrong with the content of a result file by itself: the one answer for readers and for the validator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from pydantic import BaseModel, ValidationError

from nas360.faults import MAX_LISTED, NOTHING, Fault, make, show, step
from nas360.quick_json import digest
from nas360.registry import nearest
from nas360.rules import cost_faults, file_faults, has_secret, is_published, row_faults, rows_of, secret_faults
from nas360.schema import FIELDS, RULE, SCHEMA_VERSION, ResultFile
from nas360.values import PATTERNS

MAX_ROWS = 5000
"""A row takes more than 400 bytes, and a file at most a mebibyte."""

_SUGGESTIONS = 50
"""Faults of a file for which the nearest known key is looked up, which takes milliseconds each."""


def content_faults(content: Any, secrets: bool = True) -> list[Fault]:
    """Every error of a parsed file that can be told from the file alone; a place and code at most once.

    Args:
        content: what the JSON parser gave.
        secrets: whether to search all texts for secrets; `may_hold_secret` tells where that is in vain.
    """
    if not isinstance(content, dict):
        what = type(content).__name__
        return [make("E011", "", f"a result file is a JSON object, this is a {what}", "give a result file", content)]
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        return [
            make(
                "E012",
                "/schema_version" if "schema_version" in content else "",
                f"schema_version is {show(version)}; this nas360 reads {SCHEMA_VERSION!r}",
                "newer files need a newer nas360; a file without it is not a result file",
                version,
            )
        ]
    if too_long(content):
        rule = f"{len(rows_of(content)):,} rows, more than the {MAX_ROWS:,} that can be whole in a file of this size"
        return [make("E026", "/results", rule, "write one file a task")]
    hidden = secret_faults(content) if secrets else ()
    every = chain(_schema_faults(content), rule_faults(content), hidden, _digest_faults(content))
    faults = list(islice(every, MAX_LISTED + 1))
    return list({(fault.code, fault.pointer): fault for fault in reversed(faults)}.values())[::-1]


def too_long(content: Any) -> bool:
    """Whether a file has more rows than can be good ones; to tell of each would take minutes."""
    return len(rows_of(content)) > MAX_ROWS


def rule_faults(content: Any) -> Iterator[Fault]:
    """What `nas360.rules` finds in a file, with pointers from its root."""
    yield from file_faults(content)
    for index, row in enumerate(rows_of(content)):
        place = f"/results/{index}"
        yield from below(place, row_faults(row))
        if not is_published(row) and isinstance(row, dict):
            yield from below(f"{place}/cost", cost_faults(row.get("cost")))


def below(place: str, faults: Iterator[Fault]) -> Iterator[Fault]:
    """Faults with their pointers set behind another."""
    return (replace(fault, pointer=place + fault.pointer) for fault in faults)


def _digest_faults(content: dict[str, Any]) -> Iterator[Fault]:
    stated = content.get("digest")
    if not (isinstance(stated, str) and re.fullmatch("[0-9a-f]{64}", stated)):
        return
    try:
        true = digest(content)
    except RecursionError:
        yield make("E010", "", "is nested too deeply", "store it flatter")
        return
    except ValueError:  # a NaN, which was told already
        return
    if stated != true:
        yield make(
            "E042",
            "/digest",
            f"changed after it was written: its digest is {stated[:12]}…, its content gives {true[:12]}…",
            "restore the file, or make it again with nas360",
            stated,
        )


_TAGS = ("seed", "published")
_KINDS = {
    "tuple_type": "must be a list",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "too_short": "must not be empty",
    "recursion_loop": "is nested too deeply",
}
_CODES = {
    "missing": "E020",
    "extra_forbidden": "E021",
    "finite_number": "E023",
    "greater_than_equal": "E023",
    "less_than_equal": "E023",
    "literal_error": "E024",
    "string_pattern_mismatch": "E025",
    "string_too_short": "E026",
    "string_too_long": "E026",
    "too_short": "E026",
    "no_time": "E027",
    "surrogate": "E028",
    "string_unicode": "E028",
    "recursion_loop": "E010",
    "too_deep": "E010",
    "path_outside": "E044",
}


def _schema_faults(content: dict[str, Any]) -> list[Fault]:
    try:
        ResultFile.model_validate(content)
    except ValidationError as error:
        found = error.errors(include_url=False)
    else:
        return []
    # pydantic counts only good rows, and so adds "at least 1 item" when every row has a fault of its own
    rows = any(fault["loc"][:1] == ("results",) and len(fault["loc"]) > 1 for fault in found)
    own = (fault for fault in found if fault["type"] != RULE and not (rows and fault["loc"] == ("results",)))
    listed = enumerate(islice(own, MAX_LISTED + 1))
    faults = [_schema_fault(fault, suggest=index < _SUGGESTIONS) for index, fault in listed]
    if faults or any(rule_faults(content)):
        return faults
    return [make("E029", "", str(fault["msg"])) for fault in found]  # never silent, whatever the rules overlook


def _schema_fault(fault: Any, suggest: bool) -> Fault:
    place = list(fault["loc"])
    if place[:1] == ["results"] and len(place) > 2 and place[2] in _TAGS:
        del place[2]  # the name of the union's branch, which the file does not have
    kind, message, value = str(fault["type"]), str(fault["msg"]).removeprefix("Value error, "), fault["input"]
    pointer = "".join(step(key) for key in place)
    code = _CODES.get(kind) or _code_by_ending(kind)
    if kind == "missing":
        return make(code, pointer, "missing, but required", "add it")
    if any(isinstance(key, str) and has_secret(key) for key in place):
        pointer = "".join(step(key) for key in place[:-1])
        return make(code, pointer, "holds a key that is not allowed", "remove it")
    if kind == "extra_forbidden":
        return make(code, pointer, *_unknown_key(str(place[-1]), suggest))
    if kind in _KINDS:
        message = _KINDS[kind]
    elif kind == "string_pattern_mismatch":
        message = PATTERNS.get(str(fault["ctx"]["pattern"]), message)
    if isinstance(value, dict | list | BaseModel):
        return make(code, pointer, message)
    hidden = isinstance(value, str) and has_secret(value)
    return make(code, pointer, message, "" if hidden else f"it is {show(value)}", NOTHING if hidden else value)


def _code_by_ending(kind: str) -> str:
    if kind.startswith(("datetime", "timezone", "date", "time")) and kind != "datetime_type":
        return "E027"
    if kind.startswith("int_parsing"):
        return "E023"
    return "E022" if kind.endswith(("_type", "_from_float", "_attributes")) else "E029"


def _unknown_key(key: str, suggest: bool) -> tuple[str, str]:
    if key in FIELDS:
        return "does not belong here", "a row either has `published` or is one run with a seed"
    near = nearest(key[:80], FIELDS) if suggest else None
    return "unknown key", f"did you mean {near!r}?" if near else "remove it (free text goes into `notes`)"
