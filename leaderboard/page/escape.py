"""Foreign text and data within HTML."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from typing import Any

_IN_SCRIPT = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def text(value: object) -> str:
    """Text that HTML shows as it is, in elements and in quoted attributes."""
    return html.escape(str(value), quote=True)


def name(value: str) -> str:
    """A foreign name, isolated so that its direction of writing ends with it."""
    return f"<bdi>{text(value)}</bdi>"


def script_json(value: Any) -> str:
    r"""JSON for a `<script>` of a data type: nothing in it can end the element or begin a comment.

    Args:
        value: JSON values; NaN and infinities are refused.

    Raises:
        ValueError: a number that is not finite.

    Example:
        >>> script_json("</script>")
        '"\\u003c/script\\u003e"'
    """
    plain = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # half of a surrogate pair cannot be written as UTF-8; it becomes the sign for what cannot be shown
    return plain.translate(_IN_SCRIPT).encode(errors="replace").decode()


def policy_hash(source: str) -> str:
    """What a Content-Security-Policy calls an inline script or style: the hash of exactly its text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
