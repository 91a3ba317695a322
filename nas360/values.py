"""Types of the values that stand in result files, with what is said of one that does not fit."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, JsonValue
from pydantic_core import PydanticCustomError

from nas360.environment import LINE, Line, Name

MAX_DEPTH = 64

_SHA256, _COMMIT, _SLUG = r"^[0-9a-f]{64}$", r"^[0-9a-f]{40}$", r"^[a-z0-9][a-z0-9_.:-]*$"
_URL, _RUN_ID = r"^https?://[^\s<>\"']+$", r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"
_PROSE = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*$"
PATTERNS = {
    _SHA256: "must be a SHA-256: 64 hexadecimal digits in lower case",
    _COMMIT: "must be a commit: 40 hexadecimal digits in lower case",
    _SLUG: "must be lower-case letters, digits and _ . : - alone, and begin with a letter or digit",
    _URL: "must be an address that begins with https:// or http://",
    _RUN_ID: "must be up to 128 letters, digits and _ . - alone, and begin with a letter or digit",
    _PROSE: "must not hold control characters, save tab and line feed, nor marks of writing direction",
    LINE: "must be one line, without control characters or marks of writing direction",
}
"""What a pattern means, for messages."""

Sha256 = Annotated[str, Field(pattern=_SHA256)]
Commit = Annotated[str, Field(pattern=_COMMIT)]
Url = Annotated[Line, Field(pattern=_URL)]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
Prose = Annotated[str, Field(max_length=20_000, pattern=_PROSE)]
Slug = Annotated[str, Field(max_length=100, pattern=_SLUG)]
RunId = Annotated[str, Field(pattern=_RUN_ID)]


def _strict_json(value: JsonValue) -> JsonValue:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        containers: list[Any] = []
        for member in level:
            if isinstance(member, str):
                _check_utf8(member)
            elif isinstance(member, dict | list):
                containers.append(member)
        if not containers:
            return value
        level = []
        for container in containers:
            if isinstance(container, dict):
                level += container.keys()
                level += container.values()
            else:
                level += container
    raise PydanticCustomError(
        "too_deep", "is nested deeper than {levels} levels; store it flatter", {"levels": MAX_DEPTH}
    )


def _check_utf8(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as cause:
        raise PydanticCustomError("surrogate", "holds half of a surrogate pair, which UTF-8 cannot write") from cause


def _not_a_number(value: Any) -> Any:
    # pydantic would take a number for seconds since 1970
    if not isinstance(value, str | datetime):
        raise PydanticCustomError("no_time", "must be a time as ISO 8601 writes it, for instance 2026-01-31T12:00:00Z")
    return value


_OUTSIDE = re.compile(r"^[/~]|^[A-Za-z]:|\\|(^|/)\.\.(/|$)")


def _below(path: str) -> str:
    if _OUTSIDE.search(path):
        raise PydanticCustomError(
            "path_outside", "must be a relative path, with `/`, that stays below the folder of the result file"
        )
    return path


RelativePath = Annotated[Name, AfterValidator(_below)]
Json = Annotated[JsonValue, AfterValidator(_strict_json)]
Time = Annotated[
    AwareDatetime,
    Field(strict=False),
    BeforeValidator(_not_a_number),
    AfterValidator(lambda time: time.astimezone(UTC)),
]


def show_range(low: float, high: float | None) -> str:
    """A range for messages."""
    return f"[{low:g}, {'∞' if high is None else format(high, 'g')}]"


def unit_hint(score: float, unit: str, high: float | None) -> str:
    """A guess for a score that is out of range: percent where a fraction is wanted."""
    if unit == "fraction" and high == 1 and 1 < score <= 100:
        return f"percent, where a fraction is wanted? Then give {score / 100:g}"
    return ""
