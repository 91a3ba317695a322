"""Numbers and names as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from nas360.loaders import TASKS

ABSENT = "-"


def duration(seconds: float | None) -> str:
    """A time in its most fitting unit.

    Example:
        >>> duration(0.25), duration(42), duration(250), duration(9000), duration(400_000), duration(None)
        ('0.2 s', '42 s', '4.2 min', '2.5 h', '4.6 d', '-')
    """
    if not seconds:
        return ABSENT if seconds is None else "0"
    for unit, size, digits in (("d", 86400, 1), ("h", 3600, 1), ("min", 60, 1)):
        if seconds >= 2 * size or (unit != "d" and seconds >= 1.5 * size):
            return f"{seconds / size:,.{digits}f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def amount(number: float | None) -> str:
    """A count, in thousands, millions and so on where it is large.

    Example:
        >>> amount(8505), amount(174_481), amount(1.9e10), amount(0), amount(None)
        ('8,505', '174 k', '19.0 G', '0', '-')
    """
    if number is None:
        return ABSENT
    if abs(number) < 10_000:
        return f"{number:,.0f}"
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= size:
            return f"{number / size:,.{max(0, 2 - math.floor(math.log10(abs(number) / size)))}f} {unit}"
    raise AssertionError("above 10,000 is above a thousand")


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of those that are known; None of none."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def total(values: Iterable[float | None]) -> float | None:
    """The sum of those that are known; None of none."""
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None


def counted(n: int, one: str, many: str = "") -> str:
    """A number with the name of what is counted.

    Example:
        >>> counted(1, "run"), counted(2, "run"), counted(0, "seed of one", "seeds of one")
        ('1 run', '2 runs', '0 seeds of one')
    """
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names in a sentence; of many, how many more there are.

    Example:
        >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], most=2)
        ('a, b, c', 'a, b and 1 more')
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def seeds(numbers: Iterable[str]) -> str:
    """Seeds, runs of them as ranges.

    Example:
        >>> seeds(["0", "1", "2", "7"]), seeds(["3"]), seeds(["x", "1"])
        ('0-2, 7', '3', '1, x')
    """
    known = sorted({int(one) for one in numbers if one.isascii() and one.isdecimal()})
    parts: list[list[int]] = []
    for number in known:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    others = sorted({one for one in numbers if not (one.isascii() and one.isdecimal())})
    return ", ".join([*(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts), *others])


def in_order(names: Iterable[str], known: Mapping[str, object] | Sequence[str]) -> list[str]:
    """Names, each once: those that are known in their order, then the others by the alphabet."""
    found = set(names)
    return [name for name in known if name in found] + sorted(found - {*known})


def task_name(task: str) -> str:
    """A task's name; its id where nothing is known of it.

    Example:
        >>> task_name("ecg"), task_name("foreign")
        ('ECG', 'foreign')
    """
    return TASKS[task].spec.name if task in TASKS else task
