"""Files that are either whole or absent, and JSON that is strict and bounded.

Writers go to a temporary name in the same folder, flush to disk, then rename: a reader, or the next run after a kill,
never meets half a file.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nas360.errors import UserError

MIB = 1 << 20


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path that takes the name `path` when the block ends well, and vanishes when it does not.

    Args:
        path: the final name; its folder is made. The temporary name keeps the suffix, for writers that look at it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=f".tmp{path.suffix}")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files for the owner alone; a result should have the rights that the user's umask gives
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` atomically, as UTF-8."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write strict JSON (no NaN or infinity) to `path` atomically, indented, with a final line end."""
    write_text(path, json_text(content))


def json_text(content: Any) -> str:
    """Strict JSON as `write_json` writes it."""
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_json(path: Path, max_bytes: int, error: type[UserError] = UserError) -> Any:
    """Read JSON from a source that is not trusted.

    Args:
        path: the file.
        max_bytes: refuse a larger file before anything of it is read.
        error: the class of what is raised.

    Returns:
        The parsed value.

    Raises:
        UserError: (as `error`) when the file is absent, no regular file, too large, not UTF-8, not JSON, nested too
            deeply, or holds NaN, an infinity or a key twice.
    """
    return parse_json(read_text(path, max_bytes, error), str(path), error)


def read_text(path: Path, max_bytes: int, error: type[UserError] = UserError) -> str:
    """Read a text in UTF-8 from a source that is not trusted; see `read_json`."""
    try:
        status = path.stat()
    except OSError as cause:
        raise error(f"{path}: cannot be read ({cause.strerror}). Check the name") from cause
    except ValueError as cause:  # a name with a zero byte
        raise error(f"{str(path)!r}: cannot be read ({cause}). Check the name") from cause
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for without end
        raise error(f"{path}: not a regular file. Give the name of a file")
    size = status.st_size
    if size > max_bytes:
        raise error(f"{path}: {size / MIB:,.0f} MiB, more than the {max_bytes / MIB:,.0f} MiB allowed for JSON here")
    try:
        with path.open("rb", buffering=0) as stream:
            return stream.readall().decode()
    except UnicodeDecodeError as cause:
        raise error(f"{path}: not UTF-8 (byte {cause.start}). Save it as UTF-8") from cause
    except OSError as cause:
        raise error(f"{path}: cannot be read ({cause.strerror})") from cause


class _Refused(Exception):
    """What the grammar of JSON, or Python's reading of it, allows and we do not."""


def _refuse_constant(token: str) -> float:
    raise _Refused(f"holds {token}, which JSON does not allow; give finite numbers")


def _refuse_overflow(token: str) -> float:
    number = float(token)
    if math.isinf(number):
        raise _Refused(f"holds {token[:40]}, which is too large for a float64")
    return number


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise _Refused(f"key {twice[:80]!r} stands twice in one object; keep one")
    return found


# made once: for small files, making it would take as long as reading
_STRICT = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_refuse_overflow, object_pairs_hook=_refuse_duplicates
)


def parse_json(text: str, source: str, error: type[UserError] = UserError) -> Any:
    """Parse strict JSON; see `read_json`. `source` names the text in messages."""
    if not text or text.isspace():
        raise error(f"{source}: empty, where JSON was expected")
    if text.startswith("\ufeff"):
        raise error(f"{source}: begins with a byte order mark. Save it as UTF-8 without one")
    try:
        return _STRICT.decode(text)
    except _Refused as cause:
        raise error(f"{source}: {cause}") from None
    except json.JSONDecodeError as cause:
        raise error(f"{source}: not JSON ({cause.msg}, line {cause.lineno} column {cause.colno})") from cause
    except RecursionError as cause:
        raise error(f"{source}: nested too deeply") from cause
    except ValueError as cause:  # an integer with more digits than Python converts
        raise error(f"{source}: not acceptable JSON ({cause})") from cause
