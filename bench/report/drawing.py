"""Pictures as SVG texts. matplotlib is in the extra `plots`; a report without it has tables in their place."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def svg_of(draw: Callable[[Path], object]) -> str:
    """What a function draws into the file that it is given, as text."""
    with tempfile.TemporaryDirectory(prefix="nas360-report-") as folder:
        path = Path(folder) / "picture.svg"
        draw(path)
        return path.read_text(encoding="utf-8")
