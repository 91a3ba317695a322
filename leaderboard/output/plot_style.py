"""What the leaderboard's pictures share: colours, signs, names, and how a file is written. Needs the extra `plots`.

A picture must be read by people of any colour vision and in grey print: lines differ by dashes and points by shape as
well as by colour. Equal boards give equal files: no dates, and ids in SVG from a fixed salt.
"""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas360.errors import MissingExtraError, UserError
from nas360.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")

MAX_NAME = 36
"""Longer names are cut in pictures, in characters."""

# Okabe and Ito's colours, which people with any common colour vision tell apart, without the yellow, pale on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
# and line styles besides, for black-and-white print
STYLES: tuple[Any, ...] = (
    "-",
    (0, (6, 2)),
    (0, (1, 1.3)),
    (0, (7, 2, 1.3, 2)),
    (0, (3, 1.5)),
    (0, (8, 2, 1.3, 2, 1.3, 2)),
    (0, (2, 1.2, 2, 3)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*", "h")

GREY = "0.35"
"""Of what explains a picture."""


def check_plot(path: Path) -> None:
    """Refuse a name that cannot be drawn to, before any work is done.

    Raises:
        UserError: the suffix is not a picture's.
        MissingExtraError: matplotlib is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: a plot is written as {', '.join(SUFFIXES)}; give a name that ends so")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as cause:
        raise MissingExtraError("matplotlib", "plots") from cause


@contextmanager
def picture(path: Path, width: float, height: float, layout: str | None = "constrained") -> Iterator[Figure]:
    """A figure that is written to `path` when the block ends well.

    Args:
        path: ends in one of `SUFFIXES`.
        width: in inches.
        height: in inches.
        layout: matplotlib's layout engine; None for a figure that is laid out by hand.
    """
    check_plot(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # a name comes from a result file, so nothing is a formula
    settings: dict[Any, Any] = {"svg.hashsalt": "nas360", "font.size": 9, "text.parse_math": False}
    with rc_context(settings), warnings.catch_warnings():
        # a name in a script that the font lacks is drawn as boxes, which needs no warning
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(width, height), layout=layout)  # type: ignore[arg-type]  # a name of any layout
        yield figure
        metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower())
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=200, metadata=metadata)


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
