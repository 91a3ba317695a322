"""The layout of entries: where a result file and its predictions lie, in a repository of results or a folder.

    results/<method>/<run id>/result.json
    results/<method>/<run id>/predictions/<SHA-256><suffix>

Names come from result files, which are foreign. A folder's name is made from them so that it is possible on every
file system, and two ids never get one folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from nas360.errors import ResultError
from nas360.files import json_text, read_json, write_text
from nas360.leaderboard.sources import RESULT
from nas360.predictions import FORMATS
from nas360.results import MAX_BYTES, Predictions, ResultFile, digest

ROOT = "results"
"""The folder of all entries."""

PREDICTIONS = "predictions"
"""The folder of an entry that holds its predictions."""

_PORTABLE = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,98}[a-z0-9_-])?")
# names that Windows keeps for devices, whatever follows a dot
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")


def safe_name(name: str) -> str:
    """A folder's name for an id: the id itself, or, where some file system could not keep it, a name made from it.

    Args:
        name: a method's name or a run's id. Whatever it is, the name that comes out is one step of a path, of
            lower-case letters, digits and `_ . -`, and different for different ids.

    Example:
        >>> safe_name("wrn"), safe_name("timm:resnet18"), safe_name("../../etc")
        ('wrn', 'timm-resnet18-56082ded587d', 'etc-74ccf3c5b4c1')
    """
    if _PORTABLE.fullmatch(name) and not _DEVICES.fullmatch(name):
        return name
    # of any text, halves of surrogate pairs too
    mark = sha256(name.encode(errors="surrogatepass")).hexdigest()[:12]
    plain = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-_")[:60]
    return f"{plain or 'x'}-{mark}"


def entry_folder(content: ResultFile) -> str:
    """The folder of a result, relative to the repository's root."""
    return f"{ROOT}/{safe_name(content.method.name)}/{safe_name(content.run_id)}"


def stored_name(stated: Predictions) -> str:
    """Path of predictions relative to their result file in an entry: named by their content."""
    suffix = f".{stated.format.lower()}"
    return f"{PREDICTIONS}/{stated.sha256}{suffix if suffix in FORMATS else ''}"


def stated_path(file: Path, stated: Predictions) -> Path:
    """Where a result file says that its predictions lie.

    Args:
        file: the result file.
        stated: of one of its rows.

    Raises:
        ResultError: the path leads out of the result file's folder, or through a link: else a file from elsewhere could
            have any file of this machine read or published.
    """
    steps = Path(stated.path.replace("\\", "/"))
    if steps.is_absolute() or ".." in steps.parts or re.match("[A-Za-z]:", stated.path):
        raise ResultError(
            f"predictions/path is {ascii(stated.path)[:120]}, which leads out of the result file's folder. "
            "Give a path inside of it"
        )
    path = file.parent / steps
    try:
        if path.resolve() != file.parent.resolve() / steps:
            raise ResultError(
                f"predictions/path {ascii(stated.path)[:120]} goes through a link. Put the file itself there"
            )
    except (OSError, RuntimeError, ValueError) as cause:  # a loop of links, a name too long, a null byte
        raise ResultError(
            f"predictions/path {ascii(stated.path)[:120]} cannot be looked at ({type(cause).__name__})"
        ) from cause
    return path


def read_content(path: Path) -> dict[str, Any]:
    """A result file as plain JSON values, to be changed in few places and written again."""
    content = read_json(path, MAX_BYTES, ResultError)
    if not isinstance(content, dict):
        raise ResultError(f"{path}: a result file is a JSON object, this is a {type(content).__name__}")
    return content


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with a new digest.

    Raises:
        ResultError: it is no valid result any more.
    """
    changed = {**content, "digest": digest(dict(content))}
    try:
        ResultFile.model_validate(changed)
    except ValueError as cause:
        raise ResultError(f"the result would not be valid after the change: {cause}") from cause
    return changed


def content_text(content: Mapping[str, Any]) -> str:
    """A result's JSON as text: indented, or, where that would be more than a reader takes, without blanks.

    Raises:
        ResultError: it is too large either way.
    """
    text = json_text(dict(content))
    if len(text.encode()) > MAX_BYTES:
        text = json.dumps(content, separators=(",", ":"), allow_nan=False, ensure_ascii=False) + "\n"
    if len(text.encode()) > MAX_BYTES:
        raise ResultError(
            f"the result would have {len(text.encode()):,} bytes, more than the {MAX_BYTES:,} allowed. Write one file "
            "a task, or shorten notes, genotypes and extra metrics"
        )
    return text


def write_content(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result's plain JSON atomically, with a new digest."""
    write_text(path, content_text(sealed(content)))


__all__ = [
    "PREDICTIONS",
    "RESULT",
    "ROOT",
    "content_text",
    "entry_folder",
    "read_content",
    "safe_name",
    "sealed",
    "stated_path",
    "stored_name",
    "write_content",
]
