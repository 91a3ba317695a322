"""The files of a dataset repository beside its data, each a function of spec, hand-written prose and manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas360.errors import DatasetError
from nas360.files import MIB, json_text, read_json
from nas360.loaders.base import Task
from nas360.loaders.repository.manifest import MANIFEST, Manifest
from nas360.loaders.repository.markdown import escape
from nas360.task import SPLITS, TaskSpec

AUDIT = "audit.json"


def texts(task: Task, manifest: Manifest, audit: Mapping[str, Any] | None = None) -> dict[str, str]:
    """File name → text; equal arguments give equal texts.

    Args:
        task: the task.
        manifest: what the repository holds.
        audit: the content of its `audit.json`, if it has one (`read_audit`); it is shown on the card.
    """
    from nas360.loaders.repository.card import card
    from nas360.loaders.repository.croissant import croissant
    from nas360.loaders.repository.front_matter import read_head
    from nas360.metric_script import metric_script

    spec, columns, public = task.spec, task.loader.columns, manifest.public()
    _, head = read_head(spec.id)
    return {
        "README.md": card(spec, columns, public, audit),
        "metric.py": metric_script(spec, columns["y"].names),
        MANIFEST: json_text(public),
        "croissant.json": json_text(croissant(spec, columns, public)),
        "eval.yaml": eval_yaml(spec),
        "CHANGELOG.md": changelog(spec, public, [(one.version, f"{one.date}", one.text) for one in head.changes]),
    }


def read_audit(folder: Path) -> Mapping[str, Any] | None:
    """The content of a repository's `audit.json`; None when it has none.

    Raises:
        DatasetError: it is not strict JSON, or no object.
    """
    path = folder / AUDIT
    if not path.exists():
        return None
    content = read_json(path, 16 * MIB, DatasetError)
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: not an audit of nas360. Remove it, or write it anew with `nas360 audit {folder}`")
    return content


def eval_yaml(spec: TaskSpec) -> str:
    """The Hub's description of the benchmark: which split of which configuration is scored.

    The Hub sorts by higher values, so what is entered there is 1 - error or, for errors without a bound, -error.
    """
    from huggingface_hub import CardData

    low, high = spec.bounds
    if spec.direction == "higher":
        value = f"{spec.metric}, from {low:g} to {high:g}"
    elif high is not None:
        value = f"1 - {spec.metric} / {high:g}, from 0 to 1"
    else:
        value = f"-{spec.metric}, in {spec.unit}"
    content = CardData(
        name=f"NAS-Bench-360 {spec.name}",
        description=f"{spec.summary}. Values are higher for better methods: {value}.",
        evaluation_framework="nas360",
        tasks=[{"id": spec.id, "config": "default", "split": "test"}],
    )
    return f"{content.to_yaml()}\n"


def changelog(spec: TaskSpec, manifest: Mapping[str, Any], changes: list[tuple[str, str, str]]) -> str:
    """What every version of the dataset brought.

    Args:
        spec: the task.
        manifest: what the repository holds.
        changes: version, date and text, the newest first; from the head of the task's card.
    """
    (version, _, _), *_ = changes
    sizes = ", ".join(f"{manifest['splits'][split]['rows']:,} {split}" for split in SPLITS)
    parts = [
        f"# Changes of {spec.repo}",
        "Versions are tags of the repository: `load_dataset(..., revision=TAG)` reads one for ever. The first number "
        "changes with the protocol, and results of different protocols are not comparable; the second with the rows; "
        "the third with what stands beside them.",
        *(f"## {name}, {day}\n\n{text}" for name, day, text in changes),
        "## This copy",
        f"{version} by protocol {manifest['protocol']}, {manifest['provenance']} data, prepared by nas360 "
        f"{escape(manifest['nas360_version'])}: {sizes} rows. SHA-256 of the decoded content: "
        f"`{manifest['content_sha256']}`.",
    ]
    return "\n\n".join(parts) + "\n"
