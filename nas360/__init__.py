"""NAS-Bench-360 as software: ten diverse tasks, the paper's methods, and a leaderboard that checks results.

The public functions are loaded when first used, so that `import nas360` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nas360.version import __version__

if TYPE_CHECKING:
    from nas360.loaders import TASKS as TASKS
    from nas360.loaders.data import load_task as load_task
    from nas360.loaders.scoring import evaluate_predictions as evaluate_predictions

_LAZY = {
    "TASKS": "nas360.loaders",
    "load_task": "nas360.loaders.data",
    "evaluate_predictions": "nas360.loaders.scoring",
}

__all__ = ["TASKS", "__version__", "evaluate_predictions", "load_task"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
