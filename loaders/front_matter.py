"""The YAML at the head of a dataset repository's README, which the Hub and `load_dataset` read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import datasets
from datasets.info import DatasetInfo, DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import CardData

from nas360.task import SPLITS, TaskSpec

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


def hub_licence(licence: str) -> tuple[str, str | None]:
    """A spec's licence as the Hub's identifier, and the name that goes with the identifier `other`.

    Example:
        >>> hub_licence("ODC-By-1.0"), hub_licence("CC-BY-ND (no version)")
        (('odc-by', None), ('other', 'cc-by-nd'))
    """
    first = licence.split()[0]
    known = _HUB_LICENCES.get(first)
    return (known, None) if known else ("other", first.lower())


def front_matter(spec: TaskSpec, features: datasets.Features, manifest: Mapping[str, Any], data: CardData) -> str:
    """The front matter of a card, without the lines of dashes.

    Args:
        spec: the task.
        features: the types of the dataset's columns.
        manifest: see `nas360.loaders.card.card`.
        data: what is said by hand (categories, annotations, tags); completed in place.

    Returns:
        YAML with one configuration `default`, a glob for each split, and a `dataset_info` whose sizes are exact, since
        `load_dataset` refuses files that differ from it.
    """
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
