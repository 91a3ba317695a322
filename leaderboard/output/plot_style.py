"""Names, texts and ticks in the leaderboard's pictures."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable

MAX_NAME = 36
"""Longer names are cut in pictures, in characters."""


def short(name: str) -> str:
    """A name that leaves room for the axes."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"


def text_width(text: str, size: float) -> float:
    """How wide a text is in a picture, in inches; call it inside of `picture`.

    Args:
        text: one line.
        size: of the font, in points.
    """
    from matplotlib.textpath import TextPath

    # a blank alone has no outline
    return float(TextPath((0, 0), text, size=size).get_extents().width) / 72 if text.strip() else 0.0


def listing(intro: str, names: Iterable[str], width: int, most: int = 12) -> str:
    """Names in one sentence, folded to `width` characters; of more than `most`, how many more there are.

    Example:
        >>> listing("Left out: ", ["a", "b", "c"], 80, most=2)
        'Left out: a, b and 1 more'
    """
    found = [short(name) for name in names]
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return "\n".join(textwrap.wrap(f"{intro}{', '.join(found[:most])}{more}", width))


def logarithmic_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers for a logarithmic axis: decades, and between them as many as fit.

    Args:
        low: end of the axis, above 0.
        high: the other end, above `low`.
        most: about how many fit.

    Example:
        >>> logarithmic_ticks(0.8, 30)
        [1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0]
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        ticks = [digit * 10.0**power for power in decades for digit in digits]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most:
            return ticks
    return ticks[:: -(-len(ticks) // most)]
