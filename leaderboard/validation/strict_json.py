"""Strict JSON, with every fault at its place: what the fast parser of `nas360.files` refuses at the first one.

This walk over the tokens is slow, and only done for a file that was refused, or of which somebody wants to know on
what line a value stands.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nas360.faults import MAX_LISTED, Fault, make, step
from nas360.rules import has_secret
from nas360.values import MAX_DEPTH

DEPTH = MAX_DEPTH + 16
"""Levels that a file may have: what a genotype may, and what is around it."""

_TOKEN = re.compile(
    r"""[ \t\r\n]*+(?:
      (?P<text>"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+")
    | (?P<sign>[{}\[\]:,])
    | (?P<number>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?)
    | (?P<word>true|false|null|NaN|-?Infinity)
    )""",
    re.VERBOSE,
)
_MAX_DIGITS = 400


@dataclass
class Scan:
    """What a walk over a text found.

    Attributes:
        faults: every breach of strictness.
        lines: pointer → number of the line where the value (or its key) begins, from 1.
    """

    faults: list[Fault] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)


@dataclass
class _Open:
    """A container that is not closed yet."""

    pointer: str
    keys: set[str] | None  # None for a list
    place: str = ""  # pointer of the member that is read
    index: int = 0
    wants_key: bool = True


def scan(text: str) -> Scan:
    """Walk over a text that is JSON by grammar, NaN and infinities let in. Stops where it is not, or is too deep."""
    found = Scan()
    stack: list[_Open] = []
    line, counted, end = 1, 0, 0
    while (match := _TOKEN.match(text, end)) is not None:
        end = match.end()
        kind = str(match.lastgroup)
        begin = match.start(kind)
        line += text.count("\n", counted, begin)
        counted = begin
        token = text[begin:end]
        top = stack[-1] if stack else None
        if token in ("}", "]"):
            if stack:
                stack.pop()
        elif token == ",":
            if top is not None:
                top.wants_key = True
                top.index += 1
        elif token == ":":
            if top is not None:
                top.wants_key = False
        elif top is not None and top.keys is not None and top.wants_key and kind == "text":
            key = _text(token)
            top.place = top.pointer + step(key)
            if key in top.keys and len(found.faults) <= MAX_LISTED:
                found.faults.append(_twice(top, key))
            top.keys.add(key)
            found.lines.setdefault(top.place, line)
        else:
            place = "" if top is None else top.place if top.keys is not None else f"{top.pointer}/{top.index}"
            found.lines.setdefault(place, line)
            if token in ("{", "["):
                if len(stack) >= DEPTH:
                    shown = place if len(place) <= 200 else f"{place[:197]}..."
                    found.faults.append(
                        make("E010", shown, f"is nested deeper than {DEPTH} levels", "store it flatter")
                    )
                    return found
                stack.append(_Open(place, set() if token == "{" else None))
            elif len(found.faults) <= MAX_LISTED:
                found.faults += _scalar_faults(place, token, kind)
    return found


def _text(token: str) -> str:
    if "\\" not in token:
        return token[1:-1]
    try:
        return str(json.loads(token))
    except ValueError:
        return token[1:-1]


def _twice(top: _Open, key: str) -> Fault:
    if has_secret(key):
        return make("E009", top.pointer, "a key stands twice in one object", "keep one")
    return make("E009", top.place, f"key {key[:80]!a} stands twice in one object", "keep one")


def _scalar_faults(place: str, token: str, kind: str) -> Iterator[Fault]:
    if kind == "word" and token[-1] in "Ny":
        yield make(
            "E007", place, f"holds {token}, which JSON does not allow", "give a finite number, or null", float(token)
        )
    elif kind == "number":
        if not set(token) <= set("-0123456789"):
            if math.isinf(float(token)):
                yield make(
                    "E008", place, f"holds {token[:40]}, which is too large for a float64", "give a smaller number"
                )
        elif len(token) > _MAX_DIGITS:
            yield make("E008", place, f"holds an integer of {len(token):,} digits", "give a smaller number")


def lenient(text: str) -> Any:
    """Parse what is JSON by grammar although it is not strict, so that its other faults can be told too.

    Raises:
        ValueError: it is no JSON; a `json.JSONDecodeError` tells where.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, parse_int=lambda token: int(token) if len(token) <= _MAX_DIGITS else math.inf)


def line_numbers(text: str) -> dict[str, int]:
    """Pointer → line, of any text. The pointer `""` is the line of the error where the text is no JSON."""
    lines = scan(text.removeprefix("\ufeff")).lines
    try:
        lenient(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        lines[""] = error.lineno
    except (RecursionError, ValueError):
        pass
    return lines


def line_of(pointer: str, lines: dict[str, int]) -> int:
    """The line of a value, or of the nearest container around it where the value itself is missing."""
    while pointer and pointer not in lines:
        pointer = pointer.rpartition("/")[0]
    return lines.get(pointer, 1)
