"""Names to members, loaded when first asked for, with an answer for a misspelt name."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar, cast

from nas360.errors import UnknownNameError

T = TypeVar("T")


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that a misspelt name was most likely meant to be; None when none is near.

    Upper and lower case count as equal.

    Example:
        >>> nearest("DarcyFlow", ["ecg", "darcy_flow"])
        'darcy_flow'
        >>> nearest("x", ["ecg", "darcy_flow"]) is None
        True
    """
    lowered = {known.lower(): known for known in names}
    found = difflib.get_close_matches(name.lower(), lowered, n=1)
    return lowered[found[0]] if found else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`" Did you mean 'ecg'?"`, to be set behind the sentence that refuses a name; empty when no name is near."""
    found = nearest(name, names)
    return f" Did you mean {found!r}?" if found is not None else ""


class Registry(Mapping[str, T], Generic[T]):
    """A read-only mapping from a name to an object given as `"module:attribute"`.

    The module is imported on first access, so that listing names costs nothing. Order is the order of definition.

    Args:
        kind: what the members are, in the singular; it opens the message for an unknown name.
        entries: name → `"package.module:attribute"`.

    Example:
        >>> registry: Registry[type] = Registry("mapping type", {"ordered": "collections:OrderedDict"})
        >>> registry["ordered"].__name__
        'OrderedDict'
        >>> registry["odered"]
        Traceback (most recent call last):
        ...
        nas360.errors.UnknownNameError: unknown mapping type 'odered'. Did you mean 'ordered'? Known: ordered
    """

    def __init__(self, kind: str, entries: Mapping[str, str]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> T:
        target = self._entries.get(name)
        if target is None:
            hint = did_you_mean(name, self._entries)
            raise UnknownNameError(f"unknown {self.kind} {name!r}.{hint} Known: {', '.join(self._entries)}")
        module, _, attribute = target.partition(":")
        return cast(T, getattr(importlib.import_module(module), attribute))

    def __contains__(self, name: object) -> bool:
        # Mapping's own test would import the member
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
