"""Faults as annotations of GitHub Actions: workflow commands that the runner shows beside the lines of a change.

Form and escapes are those of the runner's toolkit: `%`, carriage return and line feed in messages, and `:` and `,` as
well in properties, are written as `%25`, `%0D`, `%0A`, `%3A`, `%2C`. A foreign text can so neither end the command nor
begin another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from nas360.faults import Fault
from nas360.leaderboard.validation.read import decode, read_bytes
from nas360.leaderboard.validation.strict_json import line_numbers, line_of


def github_lines(faults: Iterable[Fault]) -> Iterator[str]:
    """One workflow command a fault, with the line of its value.

    Args:
        faults: by file; each file is read again for its lines.
    """
    for file, members in groupby(faults, key=lambda fault: fault.file):
        lines = _lines(Path(file))
        for fault in members:
            yield annotation(fault, line_of(fault.pointer, lines))


def annotation(fault: Fault, line: int) -> str:
    """The workflow command of one fault.

    Example:
        >>> from nas360.faults import make
        >>> annotation(make("E033", "/results/0/score", "score is 61", "give 0.61", 61), 7)
        '::error file=,line=7,title=NAS360-E033::/results/0/score = 61: score is 61; give 0.61'
    """
    place = fault.pointer + (f" = {fault.value}" if fault.value else "")
    message = f"{place}: {fault.text}" if place else fault.text
    return (
        f"::{fault.severity} file={_property(fault.file)},line={line},title={_property(fault.code)}::{_data(message)}"
    )


def _lines(path: Path) -> dict[str, int]:
    raw, faults = read_bytes(path)
    text = "" if faults else decode(raw)[0]
    return line_numbers(text) if text else {}


def _data(text: str) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
