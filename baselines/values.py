"""Frozen dataclasses as plain JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def plain(value: Any) -> Any:
    """A setting as JSON values.

    Args:
        value: a number, text, None, a sequence or mapping of settings, or a dataclass of settings, which says its name.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Warm:
        ...     share: float = 0.2
        >>> plain({"schedule": Warm(), "betas": (0.9, 0.999)})
        {'schedule': {'name': 'Warm', 'share': 0.2}, 'betas': [0.9, 0.999]}
    """
    if is_dataclass(value):
        settings = {entry.name: plain(getattr(value, entry.name)) for entry in fields(value)}
        return {"name": type(value).__name__, **settings}
    if isinstance(value, Mapping):
        return {str(key): plain(member) for key, member in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(member) for member in value]
    return value


def counted(n: int, name: str) -> str:
    """A number with the name of what is counted, in the plural where it is not one.

    Example:
        >>> counted(1, "step"), counted(2, "step"), counted(0, "time")
        ('1 step', '2 steps', '0 times')
    """
    return f"{n} {name}{'' if n == 1 else 's'}"


def differences(asked: Mapping[str, Any], chosen: Mapping[str, Any], path: str = "") -> list[str]:
    """What differs between two settings of one form, as of `plain`: a phrase a value.

    Example:
        >>> differences({"net": {"width": 36, "cells": 20}}, {"net": {"width": 4, "cells": 20}})
        ['net width 4 instead of 36']
    """
    found = []
    for name, value in chosen.items():
        before = asked.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            found += differences(before, value, f"{path}{name} ")
        elif value != before:
            found.append(f"{path}{name} {value} instead of {before}")
    return found
