"""The generated blocks of a card, one function each.

The same function makes the block of the card in `dataset_cards/`, from the spec and the columns alone, and that of a
dataset repository's README, which also tells what this copy holds. Equal arguments give an equal text, and everything
that comes from raw files (their names, reasons, notes, an audit) is escaped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nas360.loaders.base import Column, Task
from nas360.loaders.repository.card_audit import audit_tables
from nas360.loaders.repository.markdown import escape, table
from nas360.task import SPLITS, Provenance, TaskSpec

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

PROVENANCE: Mapping[Provenance, str] = {
    "official": "Made from the complete official files, judged by their counts and, where the publisher gives them, "
    "sizes and hashes.",
    "partial": "Made from a part of the official files. Results on it are not results of the benchmark.",
    "generated": "Made from the published recipe by a generator of its own, not from the official files. Results on it "
    "are comparable with each other, and with published ones only as far as the recipe goes.",
    "synthetic": "Made up, to try the software. Results on it mean nothing about the task.",
}
VIEWER_BYTES = 2_000_000
"""Rows above this have no viewer on the Hub."""

_MANY_CLASSES = 40
_NAMES_SHOWN = 5
_OTHER_FORM = "another form of what the other files hold"
_ID = "name of the row: unique, stable between versions, and what predictions refer to"


@dataclass(frozen=True)
class Facts:
    """What a card is made from.

    Attributes:
        spec: the task.
        columns: the dataset's columns; None where this version has no loader.
        manifest: what a dataset repository holds (`Manifest.public()`); None for the card in `dataset_cards/`.
        audit: the content of the repository's `audit.json`, if it has one.
    """

    spec: TaskSpec
    columns: Mapping[str, Column] | None
    manifest: Mapping[str, Any] | None = None
    audit: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, task: Task, manifest: Mapping[str, Any] | None = None, audit: Mapping[str, Any] | None = None) -> Facts:
        """The facts of a task, and of a repository of it."""
        return cls(task.spec, task.loader.columns, manifest, audit)

    @property
    def published(self) -> bool:
        """Whether the card speaks of what the task's repository on the Hub holds."""
        return self.manifest is None or self.manifest["provenance"] == "official"


def _head(facts: Facts) -> str:
    parts = [f"# NAS-Bench-360: {facts.spec.name}"]
    if facts.manifest and not facts.published:
        provenance = facts.manifest["provenance"]
        parts.append(f"> [!WARNING]\n> **This is {provenance} data.** {PROVENANCE[provenance]}")
    return "\n\n".join([*parts, f"{escape(facts.spec.summary)}."])


def _splits(facts: Facts) -> str:
    spec, manifest = facts.spec, facts.manifest
    unit, official = spec.unit_of_split, f"official {spec.unit_of_split}s"
    parts = ["## Splits"]
    if manifest is None:
        rows = ["official rows"] if spec.rows else []
        parts.append(
            table(
                ("split", official, *rows),
                (
                    (
                        name,
                        spec.official_size(name),
                        *([f"{spec.rows[name]:,}" if name in spec.rows else ""] if rows else []),
                    )
                    for name in SPLITS
                ),
            )
        )
    else:
        parts.append(
            table(
                ("split", "rows", f"{unit}s", official, "bytes of Parquet", "content hash"),
                (
                    (
                        name,
                        f"{split['rows']:,}",
                        f"{split['units']:,}",
                        spec.official_size(name),
                        *_size_and_hash(split),
                    )
                    for name in SPLITS
                    if (split := manifest["splits"].get(name)) is not None
                ),
            )
        )
        if configs := manifest.get("configs"):
            parts.append("Further configurations, each with the one split `train`:")
            parts.append(
                table(
                    ("configuration", "rows", "bytes of Parquet", "content hash"),
                    ((escape(name), f"{one['rows']:,}", *_size_and_hash(one)) for name, one in sorted(configs.items())),
                )
            )
    if spec.group is not None:
        parts.append(f"Rows with the same `{spec.group}` belong together and stand in one split.")
    trained = " and ".join(f"`{name}`" for name in spec.final_training)
    parts.append(f"Search and tuning see `train` and `validation`; final training uses {trained}. `test` is read once.")
    return "\n\n".join(parts)


def _size_and_hash(split: Mapping[str, Any]) -> tuple[str, str]:
    return f"{sum(file['bytes'] for file in split['files']):,}", escape(split["content_sha256"][:16]) + "…"


def _columns(facts: Facts) -> str:
    if facts.columns is None:
        return "## Columns\n\nThis version of nas360 cannot prepare the task yet."
    parts = ["## Columns"]
    parts.append(
        table(
            ("column", "type", "shape", "what it is"),
            (
                (f"`{name}`", *_type(column), escape(column.about or (_ID if name == "id" else "")))
                for name, column in facts.columns.items()
            ),
        )
    )
    labels = {name: column.names for name, column in facts.columns.items() if column.names}
    if "y" in facts.columns and facts.spec.class_names and facts.columns["y"].shape == (facts.spec.output.channels,):
        labels.setdefault("y", facts.spec.class_names)  # zeros and ones, one a label
    for name, names in labels.items():
        if len(names) <= _MANY_CLASSES:
            listed = "; ".join(f"{index} {escape(label)}" for index, label in enumerate(names))
        else:
            listed = f"{len(names)}, named in the dataset's features and by `nas360 format {facts.spec.id}`"
        parts.append(f"Classes of `{name}`: {listed}")
    if (size := _row_bytes(facts)) > VIEWER_BYTES:
        parts.append(
            f"A row has about {size / 1e6:.1f} MB. The Hub shows no rows of this size; "
            "`load_dataset`, streaming too, reads them."
        )
    return "\n\n".join(parts)


def _type(column: Column) -> tuple[str, str]:
    shape = " x ".join("any" if size is None else str(size) for size in column.shape) or "scalar"
    if column.names:
        return f"class label{'s' if column.shape else ''} of {len(column.names)}", shape
    return column.dtype, shape


def _row_bytes(facts: Facts) -> float:
    """Bytes of a row: of its sizes, where they are fixed, else of the largest mean over a split's files."""
    columns = list((facts.columns or {}).values())
    fixed = sum(
        math.prod(size or 0 for size in column.shape) * column.numpy_dtype.itemsize
        for column in columns
        if column.dtype != "string"
    )
    if not any(column.ragged for column in columns) or facts.manifest is None:
        return float(fixed)
    splits = facts.manifest["splits"].values()
    return max([float(fixed), *(float(split["num_bytes"] / split["rows"]) for split in splits if split["rows"])])


def _metric(facts: Facts) -> str:
    spec = facts.spec
    low, high = spec.bounds
    error = "the metric itself" if spec.direction == "lower" else "1 - metric"
    return (
        f"## Metric\n\n`{spec.metric}`: {escape(FORMULAS[spec.metric])}.\n\n"
        f"Unit: {spec.unit}, from {low:g} to {'∞' if high is None else f'{high:g}'}; {spec.direction} is better. "
        f"Methods are ranked by the error, {error}, rounded to {spec.decimals} digits as in the paper's table."
    )


def _differences(facts: Facts) -> str:
    rows = ((escape(item.reference), escape(item.ours), escape(item.reason)) for item in facts.spec.differences)
    return (
        "## Differences from the reference\n\n"
        f"Protocol {facts.spec.protocol} of nas360 is what the paper says, done right.\n\n"
        + table(("the reference", "here", "reason"), rows)
    )


def _audit(facts: Facts) -> str:
    summary = (facts.audit or {}).get("summary")
    if isinstance(summary, Mapping) and summary:
        shown = audit_tables(summary)
    else:
        shown = "`nas360 audit FOLDER` measures what the splits share. The figures of a copy that has them stand here."
    return f"## Duplicates and leaks\n\n{shown}"


def _provenance(facts: Facts) -> str:
    spec, manifest = facts.spec, facts.manifest
    parts = ["## Provenance"]
    if manifest is not None:
        parts.append(
            f"{PROVENANCE[manifest['provenance']]} Prepared by nas360 {escape(manifest['nas360_version'])}, protocol "
            f"{manifest['protocol']}. SHA-256 of the decoded content: `{escape(manifest['content_sha256'])}`; the "
            "hashes of all files are in `manifest.json`."
        )
        if departures := manifest.get("departures"):
            parts.append(f"What is not as officially: {escape('; '.join(departures))}.")
    parts.append("Official raw files:")
    parts.append(
        table(
            ("file", "where", "bytes", "hash", "note"),
            (
                (
                    escape(source.filename),
                    f"<{source.url}>",
                    f"{source.size_bytes:,}" if source.size_bytes else "",
                    f"sha256 {source.sha256}" if source.sha256 else f"md5 {source.md5}" if source.md5 else "",
                    escape("; ".join(filter(None, (source.note, source.manual, _OTHER_FORM * source.optional)))),
                )
                for source in spec.sources
            ),
        )
    )
    if manifest is None:
        return "\n\n".join(parts)
    if manifest["sources"]:
        read = sorted(manifest["sources"].items())
        parts.append("Raw files that this copy was made from:")
        parts.append(table(("file", "SHA-256"), ((escape(name), escape(digest)) for name, digest in read)))
    if manifest["skipped"]:
        parts.append("Left out:")
        parts.append(
            table(
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
        parts.append("Notes:")
        parts.append(table(("note", "value"), shown))
    return "\n\n".join(parts)


def _usage(facts: Facts) -> str:
    spec = facts.spec
    if facts.published:
        address, revision, loaded, option = spec.repo, f', revision="{spec.revision}"', f'"{spec.id}"', ""
    else:
        # the repository on the Hub holds the official data, not this
        address, revision, loaded, option = "FOLDER", "", f'"{spec.id}", "FOLDER"', " --data FOLDER"
    further = "".join(
        f'{name} = load_dataset("{address}", "{name}"{revision}, split="train")\n'
        for name in sorted((facts.manifest or {}).get("configs") or {})
    )
    return f"""## Load and evaluate

`FOLDER` stands for a folder that holds this repository.

```python
from datasets import load_dataset

dataset = load_dataset("{address}"{revision})
test = dataset["test"].with_format("numpy")
print(test.features, len(test))
{further}```

With nas360, as arrays, and as what a network sees:

```python
import nas360

data = nas360.load_task({loaded})
rows = data.rows("train")
batch = data.preprocessing("train")(rows.take([0, 1]), rng=None)
print(len(rows), batch.x.shape)
```

Predictions are a file with one entry for each `id` of the test split:

```sh
nas360 format {spec.id}
nas360 dummy {spec.id} --out predictions.npz{option}
nas360 evaluate predictions.npz --task {spec.id}{option}
python FOLDER/metric.py predictions.npz  # the same number, without nas360
```

A run of a method writes a result file, which the leaderboard sets beside the published ones:

```sh
nas360 run wrn --task {spec.id} --out runs/wrn{option}
nas360 leaderboard runs/
```"""


def _licence(facts: Facts) -> str:
    return f"## Licence\n\n{escape(facts.spec.licence)}"


def _citation(facts: Facts) -> str:
    return f"## Citation\n\n```bibtex\n{facts.spec.citation}\n```"


BLOCKS: Mapping[str, Callable[[Facts], str]] = {
    "head": _head,
    "splits": _splits,
    "columns": _columns,
    "metric": _metric,
    "differences": _differences,
    "audit": _audit,
    "provenance": _provenance,
    "usage": _usage,
    "licence": _licence,
    "citation": _citation,
}
"""Name of a block → what makes it, in the order of the card."""
