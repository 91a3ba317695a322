"""One fault of a result file: what a validator tells, for people and programs alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from nas360.fault_codes import PREFIX

NOTHING = object()
"""No value: there is none, or it must not be shown."""

Severity = Literal["error", "warning"]

MAX_LISTED = 1000
"""Faults of one file that are listed: a megabyte can hold hundreds of thousands, which nobody reads."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a result file, or that a person should look at.

    Attributes:
        severity: an `"error"` keeps a file off the leaderboard; a `"warning"` is for a person to judge.
        code: for programs, and for `nas360 validate --explain`; stable.
        file: where.
        pointer: JSON pointer (RFC 6901) of the value; empty for the file as a whole.
        value: what stands there, shortened and in ASCII; empty where it must not be shown or there is none.
        rule: what it breaks.
        fix: what to do.
    """

    severity: Severity
    code: str
    file: str
    pointer: str
    value: str
    rule: str
    fix: str

    @property
    def text(self) -> str:
        """The rule and the fix as one line."""
        return f"{self.rule}; {self.fix}" if self.fix else self.rule

    def public(self) -> dict[str, Any]:
        """The fault as plain JSON values."""
        return dict(self.__dict__)


def make(code: str, pointer: str, rule: str, fix: str = "", value: object = NOTHING) -> Fault:
    """A fault, of which the code's letter tells the severity; the file is filled in by whoever knows it."""
    shown = "" if value is NOTHING else show(value)
    return Fault("error" if code[0] == "E" else "warning", PREFIX + code, "", pointer, shown, rule, fix)


def show(value: object) -> str:
    """A value for messages: ASCII, at most 80 signs."""
    if isinstance(value, dict | list | tuple):
        what = "an object" if isinstance(value, dict) else "a list"
        return f"{what} of {len(value)}"
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def step(key: object) -> str:
    """One step of a JSON pointer, with its slash, as RFC 6901 escapes it, in ASCII and not longer than a line."""
    if isinstance(key, int):
        return f"/{key}"
    text = str(key).replace("~", "~0").replace("/", "~1").encode("ascii", "backslashreplace").decode()
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in text)
    return "/" + (text if len(text) <= 120 else f"{text[:117]}...")
