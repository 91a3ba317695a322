"""Strict JSON at the speed of pydantic's parser, for the files that are strict: most are.

That parser is faster than Python's, but where a key stands twice it keeps the last and says nothing, and a number that
is too large it makes infinite. So what it gives is written again, which the digest needs anyhow, and compared: there
`nas360.files.parse_json`, which stays the one judge of what is strict, is asked whenever a doubt is left.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from pydantic_core import from_json

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_HEX = re.compile("[0-9a-f]{64}")


def canonical(content: dict[str, Any]) -> str:
    """The text of which `digest` is the hash.

    Raises:
        ValueError: it holds NaN or an infinity, or an integer with more digits than Python converts.
        RecursionError: it is nested too deeply.
    """
    return _CANONICAL.encode({key: value for key, value in content.items() if key != "digest"})


def digest(content: dict[str, Any]) -> str:
    r"""SHA-256 of the canonical JSON of a result file's content, without the key `digest`.

    Canonical: keys sorted, no blanks, signs beyond ASCII as `\u` escapes, numbers as Python writes them.

    Args:
        content: the parsed file.

    Example:
        >>> digest({"b": 0.5, "a": "é"}) == digest({"a": "é", "b": 0.5, "digest": "whatever"})
        True
    """
    return _hash(canonical(content))


def quick_parse(text: str) -> tuple[dict[str, Any], str] | None:
    """The content of a result file, and its digest; None where strictness is in doubt, and for what is no object.

    What is given equals what `parse_json` gives, and is given only for a text that it takes. Every string, key or
    value, has two quotes in any text of it, and more only for quotes within. The canonical text is made of what was
    parsed; so has it as many quotes as the file, none was lost, as the first of two equal keys is. The one way to
    write a quote without a quote, its number, leaves a doubt, as does a `digest` that is none.
    """
    try:
        content = from_json(text, allow_inf_nan=False)
        if not isinstance(content, dict):
            return None
        bare = canonical(content)
    except (ValueError, RecursionError):  # no JSON, not strict, or what only Python's parser takes
        return None
    quotes = bare.count('"')
    if "digest" in content:
        stated = content["digest"]
        if not (isinstance(stated, str) and _HEX.fullmatch(stated)):
            return None
        quotes += 4
    if text.count('"') != quotes or "\\u0022" in text:
        return None
    return content, _hash(bare)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
