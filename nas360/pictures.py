"""What all pictures share: colours, signs, and how a file is written. Needs the extra `plots`.

A picture must be read by people of any colour vision and in grey print: lines differ by dashes and points by shape as
well as by colour. Equal contents give equal files: no dates, and ids in SVG from a fixed salt.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas360.errors import MissingExtraError, UserError
from nas360.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")

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

    # names come from files of strangers, so nothing is a formula
    settings: dict[Any, Any] = {"svg.hashsalt": "nas360", "font.size": 9, "text.parse_math": False}
    with rc_context(settings), warnings.catch_warnings():
        # a name in a script that the font lacks is drawn as boxes, which needs no warning
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(width, height), layout=layout)  # type: ignore[arg-type]  # a name of any layout
        yield figure
        metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower())
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=200, metadata=metadata)
