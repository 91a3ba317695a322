"""Names to members, loaded when first asked for, with an answer for a misspelt name."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, cast

from nas360.errors import UnknownNameError

T = TypeVar("T")


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
            raise UnknownNameError(self._unknown(name))
        module, _, attribute = target.partition(":")
        return cast(T, getattr(importlib.import_module(module), attribute))

    def __contains__(self, name: object) -> bool:
        # Mapping's own test would import the member
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name.lower(), self._entries, n=1, cutoff=0.6)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"unknown {self.kind} {name!r}.{hint} Known: {', '.join(self._entries)}"
