"""Croissant metadata of a dataset repository: what its files are and how rows are read from them, for machines.

The Croissant format 1.1 (MLCommons) with its vocabulary for responsible AI. Every Parquet file stands with its SHA-256;
a record set reads one split of one configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nas360.loaders.base import Column
from nas360.loaders.repository.card_blocks import PROVENANCE
from nas360.loaders.repository.card_file import sections
from nas360.loaders.repository.front_matter import configurations, folder, read_head
from nas360.task import TaskSpec

PAPER = "https://arxiv.org/abs/2110.05668"

_PREFIXES = {
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
}
_TERMS = """
    arrayShape citeAs column containedIn equivalentProperty extract field fileObject fileProperty fileSet format
    includes isArray isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace
    samplingRate separator source subField transform
""".split()
_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **_PREFIXES,
    **{term: f"cr:{term}" for term in _TERMS},
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
}
"""The context that the format prescribes."""

_TYPES = {
    "string": "sc:Text",
    "bool": "sc:Boolean",
    "uint8": "cr:UInt8",
    "int8": "cr:Int8",
    "uint16": "cr:UInt16",
    "int16": "cr:Int16",
    "int32": "cr:Int32",
    "int64": "cr:Int64",
    "float16": "cr:Float16",
    "float32": "cr:Float32",
    "float64": "cr:Float64",
}
_SPDX = re.compile(r"^(MIT|CC-BY-4\.0|ODC-By-1\.0)(?: \(.*\))?$")
"""Licences whose identifier is certain. `CC-BY-ND` without a version is none."""


def croissant(spec: TaskSpec, columns: Mapping[str, Column], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a repository's `croissant.json`.

    Args:
        spec: the task.
        columns: the dataset's columns.
        manifest: what the repository holds, as `Manifest.public()` gives it.

    Returns:
        JSON-LD. Official data is addressed on the Hub at the version's tag; any other by the paths of its files beside
        `croissant.json`, for no other place is known to hold it.

    Raises:
        UserError: the task has no card, or its head lacks something.
    """
    _, head = read_head(spec.id)
    newest, official = head.changes[0], manifest["provenance"] == "official"
    page = f"https://huggingface.co/datasets/{spec.repo}"
    files, records = [], []
    if official:
        files.append(_repository(page, newest.version))
    for config, splits in configurations(manifest).items():
        for split, entry in splits.items():
            files += _files(config, split, entry, f"{page}/resolve/{newest.version}/" if official else "")
            records.append(_records(config, split, columns))
    licence = _SPDX.match(spec.licence)
    return {
        "@context": dict(_CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": f"nas-bench-360-{spec.id}",
        "alternateName": [f"NAS-Bench-360 {spec.name}", spec.repo],
        "description": f"{spec.summary}. {PROVENANCE[manifest['provenance']]}",
        "url": page,
        "sameAs": PAPER,
        "isBasedOn": [source.url for source in spec.sources],
        "version": newest.version.removeprefix("v"),
        "datePublished": f"{newest.date}",
        "license": f"https://spdx.org/licenses/{licence[1]}.html" if licence else spec.licence,
        "citeAs": spec.citation,
        "creator": {"@type": "sc:Organization", "name": "nas360", "url": "https://huggingface.co/nas360"},
        "publisher": {"@type": "sc:Organization", "name": "nas360", "url": "https://huggingface.co/nas360"},
        "inLanguage": "en",
        "keywords": ["NAS-Bench-360", "neural architecture search", "benchmark", spec.name, spec.metric],
        **_responsible(spec, manifest),
        "distribution": files,
        "recordSet": [*_label_names(columns), *records],
    }


def _repository(page: str, version: str) -> dict[str, Any]:
    """The repository on the Hub, at a tag."""
    return {
        "@type": "cr:FileObject",
        "@id": "repo",
        "name": "repo",
        "description": "The dataset's repository on the Hub.",
        "contentUrl": f"{page}/tree/refs%2Ftags%2F{version}",
        "encodingFormat": "git+https",
        # a repository has none, and the format wants one: the Hub's own files hold the same sentence
        "sha256": "https://github.com/mlcommons/croissant/issues/80",
    }


def _files(config: str, split: str, entry: Mapping[str, Any], root: str) -> list[dict[str, Any]]:
    """The files of one split with their hashes, and the set of them that its record set reads.

    A set is a pattern in the repository, or, where `root` is empty, in the folder of `croissant.json`.
    """
    name = f"{config}/{split}"
    objects = [
        {
            "@type": "cr:FileObject",
            "@id": file["path"],
            "name": file["path"],
            "contentUrl": root + file["path"],
            "contentSize": f"{file['bytes']} B",
            "encodingFormat": "application/x-parquet",
            "sha256": file["sha256"],
        }
        for file in entry["files"]
    ]
    together = {
        "@type": "cr:FileSet",
        "@id": f"files/{name}",
        "name": f"files/{name}",
        "description": f"Parquet files of {name}: {entry['rows']:,} rows.",
        **({"containedIn": {"@id": "repo"}} if root else {}),
        "encodingFormat": "application/x-parquet",
        "includes": f"{folder(config)}/{split}-*.parquet",
    }
    return [*objects, together]


def _records(config: str, split: str, columns: Mapping[str, Column]) -> dict[str, Any]:
    name = f"{config}/{split}"
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"Rows of the split {split} of the configuration {config}, in the order of the files.",
        "key": {"@id": f"{name}/id"},
        "field": [_field(name, column, kind) for column, kind in columns.items()],
    }


def _field(records: str, name: str, column: Column) -> dict[str, Any]:
    named = f"index into the record set {name}_names" if column.names else ""
    about = ". ".join(filter(None, (column.about, named))) or name
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{records}/{name}",
        "name": f"{records}/{name}",
        "description": about,
        "dataType": "cr:Int64" if column.names else _TYPES[column.dtype],
    }
    if column.shape:
        field["isArray"] = True
        field["arrayShape"] = ",".join("-1" if size is None else str(size) for size in column.shape)
    return field | {"source": {"fileSet": {"@id": f"files/{records}"}, "extract": {"column": name}}}


def _label_names(columns: Mapping[str, Column]) -> list[dict[str, Any]]:
    """A record set for each column of labels, which gives their names."""
    return [
        {
            "@type": "cr:RecordSet",
            "@id": f"{name}_names",
            "name": f"{name}_names",
            "description": f"Names of the classes of {name}.",
            "dataType": "sc:Enumeration",
            "key": {"@id": f"{name}_names/index"},
            "field": [
                {
                    "@type": "cr:Field",
                    "@id": f"{name}_names/{part}",
                    "name": f"{name}_names/{part}",
                    "description": f"{part} of the class",
                    "dataType": kind,
                }
                for part, kind in (("index", "sc:Integer"), ("name", "sc:Text"))
            ],
            "data": [
                {f"{name}_names/index": index, f"{name}_names/name": label} for index, label in enumerate(column.names)
            ],
        }
        for name, column in columns.items()
        if column.names
    ]


def _responsible(spec: TaskSpec, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The fields for responsible AI, from the card's sections and the head of the card."""
    _, head = read_head(spec.id)
    said = {heading: " ".join(text.split()) for heading, text in sections(spec.id).items()}
    skipped = sum(len(names) for names in manifest["skipped"].values())
    return {
        "rai:dataCollection": said["How it was made"],
        "rai:dataCollectionType": list(head.rai.collection_type),
        "rai:dataCollectionMissingData": f"{skipped} items were left out; manifest.json names them, with the reason."
        if skipped
        else "Nothing was left out.",
        "rai:dataCollectionRawData": "; ".join(
            f"{source.filename}: {source.url}" for source in spec.sources if not source.optional
        ),
        "rai:dataPreprocessingProtocol": [
            f"{difference.ours}, where the reference had: {difference.reference}" for difference in spec.differences
        ],
        "rai:dataUseCases": said["Uses"],
        "rai:dataLimitations": [said["Limits and bias"], said["Known issues against the paper"]],
        "rai:dataBiases": said["Limits and bias"],
        "rai:dataSocialImpact": head.rai.social_impact,
        "rai:personalSensitiveInformation": head.rai.personal_information,
        "rai:dataReleaseMaintenancePlan": "Versions are tags of the repository and stay readable; CHANGELOG.md tells "
        "what changed. Faults are reported in the repository's discussions.",
    }
