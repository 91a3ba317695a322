"""The files of a dataset repository beside its data, each a function of spec, hand-written prose and manifest."""

from __future__ import annotations

from nas360.files import json_text
from nas360.loaders.base import Task
from nas360.loaders.manifest import MANIFEST, Manifest


def texts(task: Task, manifest: Manifest) -> dict[str, str]:
    """File name → text; equal arguments give equal texts."""
    from nas360.loaders.card import card
    from nas360.loaders.parquet import features
    from nas360.metric_script import metric_script

    columns = task.loader.columns
    return {
        "README.md": card(task, features(columns), manifest.public()),
        "metric.py": metric_script(task.spec, columns["y"].names),
        MANIFEST: json_text(manifest.public()),
    }
