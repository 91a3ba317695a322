"""The YAML at the head of a dataset repository's README, which the Hub and `load_dataset` read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import datasets
from datasets.info import DatasetInfo, DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import CardData, DatasetCard
from pydantic import Field, ValidationError

from nas360.errors import UserError
from nas360.loaders.base import Column
from nas360.loaders.repository.card_file import read_card
from nas360.loaders.repository.parquet import features
from nas360.task import SPLITS, Frozen, TaskSpec

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


class Change(Frozen):
    """A version of a dataset: its tag, its day, and what is new in it."""

    version: str = Field(pattern=r"^v\d+\.\d+\.\d+$")
    date: date
    text: str = Field(min_length=1)


class Responsible(Frozen):
    """What Croissant's RAI vocabulary asks for and the card's sections do not say.

    Attributes:
        collection_type: how the data was collected, in that vocabulary's words.
        personal_information: what the data tells of people.
        social_impact: what its use may do.
    """

    collection_type: tuple[str, ...] = Field(min_length=1)
    personal_information: str = Field(min_length=1)
    social_impact: str = Field(min_length=1)


class Head(Frozen):
    """What stands by hand at the head of a card in `dataset_cards/`, beside what goes to the Hub.

    Attributes:
        changes: the versions, the newest first.
        rai: see `Responsible`.
    """

    changes: tuple[Change, ...] = Field(min_length=1)
    rai: Responsible


def read_head(task: str) -> tuple[CardData, Head]:
    """The head of a task's card: what goes to the Hub, and the rest.

    Raises:
        UserError: there is no such card, or its head lacks something.
    """
    data = DatasetCard(read_card(task)).data
    try:
        head = Head.model_validate({name: data.pop(name, None) for name in Head.model_fields})
    except ValidationError as cause:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in cause.errors()[:5])
        raise UserError(f"dataset_cards/{task}.md: the front matter is not whole ({faults})") from cause
    return data, head


def front_matter(spec: TaskSpec, columns: Mapping[str, Column], manifest: Mapping[str, Any], data: CardData) -> str:
    """The front matter of a card, without the lines of dashes.

    Args:
        spec: the task.
        columns: the dataset's columns.
        manifest: what the repository holds, as `Manifest.public()` gives it.
        data: what is said by hand (categories, annotations, tags); completed in place.

    Returns:
        YAML with the configuration `default` and the further ones, a glob for each split, and for each a `dataset_info`
        whose sizes are exact, since `load_dataset` refuses files that differ from it.
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
    kinds = features(columns)
    configs = configurations(manifest)
    DatasetInfosDict({name: _info(name, kinds, config) for name, config in configs.items()}).to_dataset_card_data(data)
    globs = {
        name: {
            "data_files": [{"split": split, "path": f"{folder(name)}/{split}-*.parquet"} for split in config],
            # where no configuration is named
            **({"default": True} if name == "default" else {}),
        }
        for name, config in configs.items()
    }
    MetadataConfigs(globs).to_dataset_card_data(data)
    return str(data.to_yaml())


def configurations(manifest: Mapping[str, Any]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Name of a configuration → split → its entry in the manifest; `default` first."""
    splits = manifest["splits"]
    default = {split: splits[split] for split in SPLITS if split in splits}
    return {"default": default} | {name: {"train": one} for name, one in sorted(manifest.get("configs", {}).items())}


def folder(configuration: str) -> str:
    """Where a configuration's files stand in a repository."""
    return "data" if configuration == "default" else configuration


def _info(name: str, kinds: datasets.Features, splits: Mapping[str, Mapping[str, Any]]) -> DatasetInfo:
    sizes = datasets.SplitDict()
    for split, entry in splits.items():
        sizes.add(datasets.SplitInfo(split, num_bytes=entry["num_bytes"], num_examples=entry["rows"]))
    return DatasetInfo(
        features=kinds,
        splits=sizes,
        download_size=sum(file["bytes"] for entry in splits.values() for file in entry["files"]),
        dataset_size=sum(entry["num_bytes"] for entry in splits.values()),
        config_name=name,
    )
