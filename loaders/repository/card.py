"""The README of a dataset repository: front matter for the Hub, prose by hand, and tables from spec and manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas360.loaders.base import Column
from nas360.loaders.repository.card_blocks import Facts
from nas360.loaders.repository.card_file import readme_body
from nas360.loaders.repository.front_matter import front_matter, read_head
from nas360.task import TaskSpec


def card(
    spec: TaskSpec,
    columns: Mapping[str, Column],
    manifest: Mapping[str, Any],
    audit: Mapping[str, Any] | None = None,
) -> str:
    """The text of a dataset repository's README.md.

    Args:
        spec: the task.
        columns: the dataset's columns.
        manifest: what the repository holds, as `Manifest.public()` gives it.
        audit: the content of the repository's `audit.json`, if it has one; its `summary` is shown.

    Returns:
        YAML front matter with an exact `dataset_info`, then the card of `dataset_cards/` with its generated blocks made
        for this copy. Equal arguments give an equal text. Everything that comes from raw files (their names, reasons,
        notes) is escaped.

    Raises:
        UserError: the task has no card in `dataset_cards`, or a faulty one.
    """
    data, _ = read_head(spec.id)
    return (
        f"---\n{front_matter(spec, columns, manifest, data)}\n---\n\n"
        f"{readme_body(Facts(spec, columns, manifest, audit))}"
    )
