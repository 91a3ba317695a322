"""The README of a dataset repository: front matter for the Hub, prose by hand, and tables from spec and manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import datasets
from huggingface_hub import DatasetCard

from nas360.loaders.base import Task
from nas360.loaders.front_matter import front_matter
from nas360.loaders.markdown import escape, table
from nas360.task import SPLITS, TaskSpec

FORMULAS = {
    "zero_one_error": "100 · (number of wrong classes) / (number of samples)",
    "macro_map": "mean over the labels of the average precision of the label's scores; average precision is "
    "Σₙ (Rₙ - Rₙ₋₁) · Pₙ over the thresholds n, with precision P and recall R",
    "relative_l2": "mean over the samples of ‖û - u‖₂ / ‖u‖₂, with prediction û and solution u on the whole grid",
    "mae8": "mean over the proteins of the mean of |d̂ᵢⱼ - dᵢⱼ| over the pairs with j - i ≥ 24 and dᵢⱼ ≤ 8 Å, where "
    "d̂ is the mean of the predicted map and its transpose; a protein without such a pair is left out. Reported "
    "beside it: the same for j - i ≥ 12 and for dᵢⱼ ≤ 12 Å",
    "cosmic_fnr": "100 · FN / (TP + FN), counted over all pixels of all images that are not ignored; a pixel is called "
    "a hit where its predicted probability is above 0.5. Reported beside it: false positive rate, precision, 1 - AUROC",
    "macro_f1_by_record": "the class of a record is the one that most of its windows are given (ties: the lowest "
    "index); the score is the mean over the classes of F1 = 2 TP / (2 TP + FP + FN), counted over records. Reported "
    "beside it: the mean over N, A and O, which is the challenge's score",
    "macro_auroc": "mean of the area under the receiver operating characteristic over the labels of which both classes "
    "occur; labels that are left out are reported",
}
"""What each metric is, for readers; the code that computes it is the `metric.py` beside the card."""

PROVENANCE = {
    "official": "Made from the complete official files.",
    "partial": "Made from a part of the official files. Results on it are not results of the benchmark.",
    "generated": "Made from the published recipe by a generator of its own, not from the official files. Results on it "
    "are comparable with each other, and with published ones only as far as the recipe goes.",
    "synthetic": "Made up, to try the software. Results on it mean nothing about the task.",
}
_MANY_CLASSES = 24
_NAMES_SHOWN = 5


def card(task: Task, features: datasets.Features, manifest: Mapping[str, Any]) -> str:
    """The text of a dataset repository's README.md.

    Args:
        task: the task.
        features: the types of the dataset's columns.
        manifest: what the repository holds: `task`, `protocol`, `nas360_version`, `provenance`, `splits` (split →
            `rows`, `units`, `num_bytes`, `files` with `path`, `bytes` and `sha256`, `content_sha256`),
            `content_sha256`, `sources` (name → SHA-256), `skipped` (reason → names), `notes`.

    Returns:
        YAML front matter with an exact `dataset_info`, then Markdown. Equal arguments give an equal text. Everything
        that comes from raw files (their names, reasons, notes) is escaped.

    Raises:
        FileNotFoundError: when the task has no prose in `dataset_cards`.
    """
    spec = task.spec
    prose = DatasetCard(resources.files("nas360.dataset_cards").joinpath(f"{spec.id}.md").read_text(encoding="utf-8"))
    parts = [
        f"# NAS-Bench-360: {spec.name}",
        _provenance_box(manifest["provenance"]),
        f"{escape(spec.summary)}.",
        prose.text.strip(),
        "## Splits\n\n" + _splits(spec, manifest),
        "## Columns\n\n" + _columns(features),
        "## Metric\n\n" + _metric(spec),
        "## Differences from the reference\n\n" + _differences(spec),
        "## Provenance\n\n" + _provenance(spec, manifest),
        "## Load and evaluate\n\n" + _usage(spec, manifest["provenance"]),
        f"## Licence\n\n{escape(spec.licence)}",
        f"## Citation\n\n```bibtex\n{spec.citation}\n```",
    ]
    return (
        f"---\n{front_matter(spec, features, manifest, prose.data)}\n---\n\n" + "\n\n".join(filter(None, parts)) + "\n"
    )


def _provenance_box(provenance: str) -> str:
    if provenance == "official":
        return ""
    return f"> [!WARNING]\n> **This is {provenance} data.** {PROVENANCE[provenance]}"


def _splits(spec: TaskSpec, manifest: Mapping[str, Any]) -> str:
    unit = spec.unit_of_split
    return table(
        ("split", "rows", f"{unit}s", f"official {unit}s", "bytes of Parquet", "content hash"),
        (
            (
                name,
                f"{split['rows']:,}",
                f"{split['units']:,}",
                f"{spec.splits[name]:,}",
                f"{sum(file['bytes'] for file in split['files']):,}",
                escape(split["content_sha256"][:16]) + "…",
            )
            for name in SPLITS
            if (split := manifest["splits"].get(name)) is not None
        ),
    )


def _columns(features: datasets.Features) -> str:
    shown = table(("column", "type", "shape"), ((escape(name), *_type(kind)) for name, kind in features.items()))
    lists = [
        f"Classes of `{name}`: " + ", ".join(f"{index} {escape(label)}" for index, label in enumerate(kind.names))
        for name, kind in features.items()
        if isinstance(kind, datasets.ClassLabel) and len(kind.names) <= _MANY_CLASSES
    ]
    return "\n\n".join([shown, *lists])


def _type(feature: Any) -> tuple[str, str]:
    if isinstance(feature, datasets.ClassLabel):
        return f"class label of {len(feature.names)}", "scalar"
    if isinstance(feature, datasets.List):
        inner, shape = _type(feature.feature)
        size = "any" if feature.length == -1 else str(feature.length)
        return inner, size if shape == "scalar" else f"{size} x {shape}"
    if hasattr(feature, "shape"):
        return str(feature.dtype), " x ".join("any" if size is None else str(size) for size in feature.shape)
    return str(feature.dtype), "scalar"


def _metric(spec: TaskSpec) -> str:
    low, high = spec.bounds
    error = "the metric itself" if spec.direction == "lower" else "1 - metric"
    return (
        f"`{spec.metric}`: {escape(FORMULAS[spec.metric])}.\n\n"
        f"Unit: {spec.unit}, from {low:g} to {'∞' if high is None else f'{high:g}'}; {spec.direction} is better. "
        f"Methods are ranked by the error, {error}, rounded to {spec.decimals} digits as in the paper's table."
    )


def _differences(spec: TaskSpec) -> str:
    rows = ((escape(item.reference), escape(item.ours), escape(item.reason)) for item in spec.differences)
    return f"Protocol {spec.protocol} of nas360 is what the paper says, done right.\n\n" + table(
        ("the reference", "here", "reason"), rows
    )


def _provenance(spec: TaskSpec, manifest: Mapping[str, Any]) -> str:
    parts = [
        f"{PROVENANCE[manifest['provenance']]} Prepared by nas360 {escape(manifest['nas360_version'])}, protocol "
        f"{manifest['protocol']}. SHA-256 of the decoded content: `{escape(manifest['content_sha256'])}`; the hashes "
        "of all files are in `manifest.json`.",
        "Official raw files:\n\n"
        + table(
            ("file", "where", "bytes", "hash", "note"),
            (
                (
                    escape(source.filename),
                    f"<{source.url}>",
                    f"{source.size_bytes:,}" if source.size_bytes else "",
                    f"sha256 {source.sha256}" if source.sha256 else f"md5 {source.md5}" if source.md5 else "",
                    escape(source.note),
                )
                for source in spec.sources
            ),
        ),
    ]
    if manifest["sources"]:
        read = sorted(manifest["sources"].items())
        parts.append(
            "Raw files that this copy was made from:\n\n"
            + table(("file", "SHA-256"), ((escape(name), escape(digest)) for name, digest in read))
        )
    if manifest["skipped"]:
        parts.append(
            "Left out:\n\n"
            + table(
                ("reason", "number", "first of them"),
                (
                    (escape(reason), f"{len(names):,}", ", ".join(escape(name) for name in names[:_NAMES_SHOWN]))
                    for reason, names in sorted(manifest["skipped"].items())
                ),
            )
        )
    # `key` tells the preparation what it has already done and a reader nothing
    notes = {name: note for name, note in sorted(manifest["notes"].items()) if name != "key"}
    if notes:
        shown = ((escape(name), escape(json.dumps(note, ensure_ascii=False))) for name, note in notes.items())
        parts.append("Notes:\n\n" + table(("note", "value"), shown))
    return "\n\n".join(parts)


def _usage(spec: TaskSpec, provenance: str) -> str:
    if provenance == "official":
        where, option = f'"{spec.repo}", revision="{spec.revision}"', ""
    else:
        # the repository on the Hub holds the official data, not this
        where, option = '"FOLDER"', " --data FOLDER"
    return f"""```python
from datasets import load_dataset

dataset = load_dataset({where})
test = dataset["test"].with_format("numpy")
print(test.features, len(test))
```

Predictions are a file with one entry for each `id` of the test split; `nas360 format {spec.id}` shows its form.
`FOLDER` stands for a folder that holds this repository.

```sh
nas360 evaluate predictions.npz --task {spec.id}{option}
python FOLDER/metric.py predictions.npz  # the same number, without nas360
```"""
