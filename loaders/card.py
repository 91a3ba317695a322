"""The README of a dataset repository: front matter for the Hub, prose by hand, and tables from spec and manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

import datasets
from datasets.info import DatasetInfo, DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import CardData, DatasetCard

from nas360.loaders.base import Task
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
_HUB_LICENCES = {
    "Apache-2.0": "apache-2.0",
    "CC-BY-4.0": "cc-by-4.0",
    "CC0-1.0": "cc0-1.0",
    "GPL-3.0": "gpl-3.0",
    "MIT": "mit",
    "ODC-By-1.0": "odc-by",
    "unknown": "unknown",
}
_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
)
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
        f"{_escape(spec.summary)}.",
        prose.text.strip(),
        "## Splits\n\n" + _splits(spec, manifest),
        "## Columns\n\n" + _columns(features),
        "## Metric\n\n" + _metric(spec),
        "## Differences from the reference\n\n" + _differences(spec),
        "## Provenance\n\n" + _provenance(spec, manifest),
        "## Load and evaluate\n\n" + _usage(spec),
        f"## Licence\n\n{_escape(spec.licence)}",
        f"## Citation\n\n```bibtex\n{spec.citation}\n```",
    ]
    return (
        f"---\n{_front_matter(spec, features, manifest, prose.data)}\n---\n\n" + "\n\n".join(filter(None, parts)) + "\n"
    )


def hub_licence(licence: str) -> tuple[str, str | None]:
    """A spec's licence as the Hub's identifier, and the name that goes with the identifier `other`.

    Example:
        >>> hub_licence("ODC-By-1.0"), hub_licence("CC-BY-ND (no version)")
        (('odc-by', None), ('other', 'cc-by-nd'))
    """
    first = licence.split()[0]
    known = _HUB_LICENCES.get(first)
    return (known, None) if known else ("other", first.lower())


def _front_matter(spec: TaskSpec, features: datasets.Features, manifest: Mapping[str, Any], data: CardData) -> str:
    splits = manifest["splits"]
    data["pretty_name"] = f"NAS-Bench-360 {spec.name}"
    data["license"], licence_name = hub_licence(spec.licence)
    if licence_name:
        data["license_name"] = licence_name
    rows = sum(split["rows"] for split in splits.values())
    data["size_categories"] = [next((name for limit, name in _SIZES if rows < limit), "10M<n<100M")]
    provenance = manifest["provenance"]
    data["tags"] = [
        "nas-bench-360",
        "neural-architecture-search",
        "benchmark",
        "arxiv:2110.05668",
        *data.get("tags", []),
        *([] if provenance == "official" else [f"{provenance}-data"]),
    ]
    sizes = datasets.SplitDict()
    for split in SPLITS:
        if split in splits:
            sizes.add(
                datasets.SplitInfo(split, num_bytes=splits[split]["num_bytes"], num_examples=splits[split]["rows"])
            )
    info = DatasetInfo(
        features=features,
        splits=sizes,
        download_size=sum(file["bytes"] for split in splits.values() for file in split["files"]),
        dataset_size=sum(split["num_bytes"] for split in splits.values()),
        config_name="default",
    )
    DatasetInfosDict({"default": info}).to_dataset_card_data(data)
    globs = [{"split": split, "path": f"data/{split}-*.parquet"} for split in SPLITS if split in splits]
    MetadataConfigs({"default": {"data_files": globs}}).to_dataset_card_data(data)
    return str(data.to_yaml())


def _provenance_box(provenance: str) -> str:
    if provenance == "official":
        return ""
    return f"> [!WARNING]\n> **This is {provenance} data.** {PROVENANCE[provenance]}"


def _splits(spec: TaskSpec, manifest: Mapping[str, Any]) -> str:
    unit = spec.unit_of_split
    return _table(
        ("split", "rows", f"{unit}s", f"official {unit}s", "bytes of Parquet", "content hash"),
        (
            (
                name,
                f"{split['rows']:,}",
                f"{split['units']:,}",
                f"{spec.splits[name]:,}",
                f"{sum(file['bytes'] for file in split['files']):,}",
                _escape(split["content_sha256"][:16]) + "…",
            )
            for name in SPLITS
            if (split := manifest["splits"].get(name)) is not None
        ),
    )


def _columns(features: datasets.Features) -> str:
    table = _table(("column", "type", "shape"), ((_escape(name), *_type(kind)) for name, kind in features.items()))
    lists = [
        f"Classes of `{name}`: " + ", ".join(f"{index} {_escape(label)}" for index, label in enumerate(kind.names))
        for name, kind in features.items()
        if isinstance(kind, datasets.ClassLabel) and len(kind.names) <= _MANY_CLASSES
    ]
    return "\n\n".join([table, *lists])


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
    error = "The metric itself is the error" if spec.direction == "lower" else "The error is 1 - metric"
    return (
        f"`{spec.metric}`: {_escape(FORMULAS[spec.metric])}.\n\n"
        f"Unit: {spec.unit}, from {low:g} to {'∞' if high is None else f'{high:g}'}; {spec.direction} is better. "
        f"{error} that methods are ranked by, rounded to {spec.decimals} digits as in the paper's table."
    )


def _differences(spec: TaskSpec) -> str:
    rows = ((_escape(item.reference), _escape(item.ours), _escape(item.reason)) for item in spec.differences)
    return f"Protocol {spec.protocol} of nas360 is what the paper says, done right.\n\n" + _table(
        ("the reference", "here", "reason"), rows
    )


def _provenance(spec: TaskSpec, manifest: Mapping[str, Any]) -> str:
    parts = [
        f"{PROVENANCE[manifest['provenance']]} Prepared by nas360 {_escape(manifest['nas360_version'])}, protocol "
        f"{manifest['protocol']}. SHA-256 of the decoded content: `{_escape(manifest['content_sha256'])}`; the hashes "
        "of all files are in `manifest.json`.",
        "Official raw files:\n\n"
        + _table(
            ("file", "where", "bytes", "hash", "note"),
            (
                (
                    _escape(source.filename),
                    f"<{source.url}>",
                    f"{source.size_bytes:,}" if source.size_bytes else "",
                    f"sha256 {source.sha256}" if source.sha256 else f"md5 {source.md5}" if source.md5 else "",
                    _escape(source.note),
                )
                for source in spec.sources
            ),
        ),
    ]
    if manifest["sources"]:
        read = sorted(manifest["sources"].items())
        parts.append(
            "Raw files that this copy was made from:\n\n"
            + _table(("file", "SHA-256"), ((_escape(name), _escape(digest)) for name, digest in read))
        )
    if manifest["skipped"]:
        parts.append(
            "Left out:\n\n"
            + _table(
                ("reason", "number", "first of them"),
                (
                    (_escape(reason), f"{len(names):,}", ", ".join(_escape(name) for name in names[:_NAMES_SHOWN]))
                    for reason, names in sorted(manifest["skipped"].items())
                ),
            )
        )
    # `key` tells the preparation what it has already done and a reader nothing
    notes = {name: note for name, note in sorted(manifest["notes"].items()) if name != "key"}
    if notes:
        shown = ((_escape(name), _escape(json.dumps(note, ensure_ascii=False))) for name, note in notes.items())
        parts.append("Notes:\n\n" + _table(("note", "value"), shown))
    return "\n\n".join(parts)


def _usage(spec: TaskSpec) -> str:
    return f"""```python
from datasets import load_dataset

dataset = load_dataset("{spec.repo}", revision="{spec.revision}")  # or the folder that holds this file
test = dataset["test"].with_format("numpy")
print(test.features, len(test))
```

Predictions are a file with one entry for each `id` of the test split; `nas360 format {spec.id}` shows its form.

```sh
nas360 evaluate predictions.npz --task {spec.id}
python metric.py predictions.npz --references data/test-*.parquet  # the same number, without nas360
```"""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _escape(text: str) -> str:
    """Text that Markdown and HTML show as it is, on one line, inside a table or not."""
    # a file name that is no UTF-8 comes with surrogates, which could not be written
    encodable = text.encode("utf-8", "replace").decode("utf-8")
    line = re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", encodable).strip()
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~$!])", r"\\\1", line)
