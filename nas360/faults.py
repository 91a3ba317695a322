"""One fault of a result file: what a validator tells, for people and programs alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]


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
