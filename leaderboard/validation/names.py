"""Names that a file system refuses, and names that pretend to be others."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from nas360.faults import Fault, make
from nas360.rules import at, rows_of

_RESERVED = re.compile(r"^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\.|$)", re.IGNORECASE)
_FORBIDDEN = re.compile(r"[<>:\"|?*\\\x00-\x1f]")

_LOOK_ALIKES = dict(
    zip(
        "АВЕЅІЈКМНОРСТУХаеоԛрсԝухѕіјΑΒΕΖΗΙΚΜΝΟΡΤΥΧοικνρυχ",
        "ABESIJKMHOPCTYXaeoqpcwyxsijABEZHIKMNOPTYXoiknpux",
        strict=True,
    )
)
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"  # fillers, which are letters or signs by their category and show nothing
_ALPHABETS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")


def unsafe_name(name: str, signs: bool = True) -> str:
    """Why a name of a file or folder does not do on every system; empty where it does.

    Args:
        name: one name, without slashes.
        signs: whether to look for signs that Windows refuses. A method's id may hold a colon: who makes a folder of it
            replaces that.

    Example:
        >>> unsafe_name("aux.json")
        'Windows keeps this name for a device'
        >>> unsafe_name("result.json")
        ''
    """
    if _RESERVED.match(name):
        return "Windows keeps this name for a device"
    if name.endswith((".", " ")):
        return "Windows drops a dot or blank at the end"
    if signs and _FORBIDDEN.search(name):
        return 'Windows refuses the signs < > : " | ? * \\ in names'
    if len(name.encode(errors="replace")) > 240:
        return "file systems end at 255 bytes, and temporary names need some of them"
    return ""


def name_faults(content: Any) -> Iterator[Fault]:
    """Warnings on the names in a file's content."""
    names = [("/method/name", at(content, "method", "name"), False), ("/run_id", at(content, "run_id"), True)]
    for index, row in enumerate(rows_of(content)):
        path = at(row, "predictions", "path")
        if isinstance(path, str):
            names += [
                (f"/results/{index}/predictions/path", part, True)
                for part in path.split("/")
                if part not in ("", ".", "..")
            ]
    for pointer, name, signs in names:
        why = unsafe_name(name, signs) if isinstance(name, str) else ""
        if why:
            yield make("W011", pointer, why, "use another name", name)
    for path in (("method", "display_name"), ("method", "version"), ("submission", "submitter")):
        text = at(content, *path)
        why = pretends(text) if isinstance(text, str) else ""
        if why:
            yield make("W012", "/" + "/".join(path), why, "write it in one alphabet, without hidden signs", text)


def pretends(text: str) -> str:
    r"""Why a text may read as another one; empty where it does not.

    Example:
        >>> pretends("β-DARTS")
        ''
        >>> pretends("GАEA")  # the first A is Cyrillic
        "mixes LATIN and CYRILLIC letters in 'G\\u0410EA'"
    """
    if text and not skeleton(text):
        return "shows nothing"
    if text.isascii():
        return ""
    hidden = [sign for sign in text if unicodedata.category(sign) == "Cf"]
    if hidden:
        return f"holds a sign that nobody sees (U+{ord(hidden[0]):04X})"
    for word in re.findall(r"[^\W\d_]+", text):
        scripts = {alphabet for sign in word for alphabet in _ALPHABETS if _is_of(sign, alphabet)}
        if len(scripts) > 1 and any(sign in _LOOK_ALIKES for sign in word):
            return f"mixes {' and '.join(sorted(scripts, key=_ALPHABETS.index))} letters in {word[:60]!a}"
        if unicodedata.normalize("NFKC", word) != unicodedata.normalize("NFC", word):
            return f"holds letters that stand for others in {word[:60]!a}"
    return ""


def _is_of(sign: str, alphabet: str) -> bool:
    return unicodedata.name(sign, "").startswith(alphabet)


def skeleton(text: str) -> str:
    """What a reader takes a name for: equal for names that look alike, and empty for one that shows nothing."""
    plain = "".join(_LOOK_ALIKES.get(sign, sign) for sign in unicodedata.normalize("NFKC", text))
    seen = "".join(sign for sign in plain if unicodedata.category(sign) != "Cf" and sign not in _BLANK)
    return " ".join(seen.casefold().split())
