"""From a path to JSON content, with every reason why there is none."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from nas360.errors import ResultError
from nas360.fault_codes import PREFIX
from nas360.faults import Fault, make
from nas360.files import MIB, parse_json
from nas360.leaderboard.validation.strict_json import lenient, scan
from nas360.results import MAX_BYTES

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class _NoContent:
    """What stands for the content of a file of which nothing can be parsed."""


NO_CONTENT = _NoContent()


def read_bytes(path: Path) -> tuple[bytes, list[Fault]]:
    """A file's bytes, or why they cannot be had. Nothing of a file that is too large is read."""
    try:
        # the one that is measured must be the one that is read, and a pipe must not be waited for
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as cause:
        reason = getattr(cause, "strerror", None) or str(cause)
        return b"", [make("E001", "", f"cannot be read ({reason})", "check the name and the rights")]
    try:
        with os.fdopen(handle, "rb", buffering=0) as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                return b"", [make("E001", "", "not a regular file", "give the name of a file")]
            content = stream.read(MAX_BYTES + 1) if status.st_size <= MAX_BYTES else b""
    except OSError as cause:  # a folder, on systems that open one
        return b"", [make("E001", "", f"cannot be read ({cause.strerror})", "check the name and the rights")]
    size = max(status.st_size, len(content))
    if size > MAX_BYTES:
        allowed = f"{size / MIB:,.1f} MiB, more than the {MAX_BYTES / MIB:,.0f} MiB allowed"
        return b"", [make("E002", "", allowed, "write one file a task; shorten notes, genotypes and extra metrics")]
    return content, []


def decode(raw: bytes) -> tuple[str, list[Fault]]:
    """The text, and what is wrong with its encoding. A byte order mark is told and taken off."""
    if raw[:2] in _UTF16_MARKS or (len(raw) > 3 and b"\x00" in raw[:4]):
        return "", [make("E003", "", "not UTF-8, but probably UTF-16 or UTF-32", "save it as UTF-8")]
    try:
        text = raw.decode()
    except UnicodeDecodeError as cause:
        line = raw.count(b"\n", 0, cause.start) + 1
        rule = f"not UTF-8 (byte {cause.start}, line {line}), but perhaps Latin-1 or Windows-1252"
        return "", [make("E003", "", rule, "save it as UTF-8")]
    if text.startswith("\ufeff"):
        fault = make("E004", "", "begins with a byte order mark", "save it as UTF-8 without one")
        return text[1:], [fault]
    return text, []


def parse(text: str) -> tuple[Any, list[Fault]]:
    """The content (`NO_CONTENT` where there is none), and every breach of strict JSON."""
    if not text or text.isspace():
        return NO_CONTENT, [make("E005", "", "empty, where JSON was expected", "write the result anew")]
    try:
        return parse_json(text, "", ResultError), []
    except ResultError as cause:
        first = str(cause).removeprefix(": ")
    found = scan(text)
    try:
        content = lenient(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        return NO_CONTENT, [make("E006", "", f"not JSON ({error.msg}, {where})", "write it with a JSON library")]
    except (RecursionError, ValueError):
        return NO_CONTENT, found.faults or [make("E010", "", first, "store it flatter")]
    faults = found.faults or [make("E006", "", first, "write it with a JSON library")]
    too_deep = any(fault.code == PREFIX + "E010" for fault in faults)
    return (NO_CONTENT if too_deep else content), faults
