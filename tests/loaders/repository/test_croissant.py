"""Croissant metadata, eval.yaml and the changelog of a repository, as the programs that read them see them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlcroissant
import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset_builder
from huggingface_hub import DatasetCard

from nas360.files import sha256_file
from nas360.loaders import TASKS
from nas360.loaders.base import Column, Task
from nas360.loaders.repository.card_file import sections
from nas360.loaders.repository.croissant import croissant
from nas360.loaders.repository.manifest import read_manifest
from nas360.loaders.repository.texts import changelog, eval_yaml, texts
from nas360.task import SPLITS

# mlcroissant, and the RDF library that it reads JSON-LD with, use what others have announced to change
pytestmark = [
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The inplace keyword"),
]
Repo = Callable[[str], Path]
COLUMNS = {
    "id": Column("string"),
    "x": Column("float16", (None, 96), about="frames"),
    "mask": Column("uint8", (4, 4)),
    "y": Column("int64", (None,), names=("one", "two, or\n<more>")),
}
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))


def manifest_of(provenance: str = "official", shards: int = 2, **changes: Any) -> dict[str, Any]:
    def entry(folder: str, split: str) -> dict[str, Any]:
        files = [
            {
                "path": f"{folder}/{split}-{i:05d}-of-{shards:05d}.parquet",
                "rows": 4,
                "bytes": 700 + i,
                "sha256": f"{i}" * 64,
            }
            for i in range(shards)
        ]
        return {"rows": 4 * shards, "units": 8, "num_bytes": 1400, "files": files, "content_sha256": "c" * 64}

    return {
        "task": "ecg",
        "protocol": 1,
        "nas360_version": "0.1.0",
        "provenance": provenance,
        "splits": {split: entry("data", split) for split in SPLITS},
        "configs": {"full": entry("full", "train")},
        "content_sha256": "d" * 64,
        "sources": {},
        "skipped": {},
        "departures": [],
        "notes": {},
    } | changes


def read(content: dict[str, Any], folder: Path) -> mlcroissant.Dataset:
    path = folder / "croissant.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return mlcroissant.Dataset(jsonld=path)


@pytest.mark.parametrize("provenance", ["official", "synthetic"])
@every_task
def test_the_reference_reader_has_nothing_to_say(task: Task, provenance: str, tmp_path: Path) -> None:
    spec = task.spec
    content = croissant(spec, COLUMNS, manifest_of(provenance))
    assert content == croissant(spec, COLUMNS, manifest_of(provenance))
    metadata = read(content, tmp_path).metadata
    assert not metadata.ctx.issues.errors
    assert not metadata.ctx.issues.warnings
    assert {one.id for one in metadata.record_sets} == {
        "y_names",
        "full/train",
        *(f"default/{split}" for split in SPLITS),
    }
    # responsible AI: nothing that was said is lost on the way
    said = sections(spec.id)
    assert metadata.data_collection == " ".join(said["How it was made"].split())
    assert metadata.data_biases == [" ".join(said["Limits and bias"].split())]
    assert metadata.data_use_cases == [" ".join(said["Uses"].split())]
    assert metadata.personal_sensitive_information
    assert metadata.data_social_impact
    assert len(metadata.data_preprocessing_protocol) == len(spec.differences)
    assert metadata.cite_as == spec.citation
    assert f"v{metadata.version}" == spec.revision


@every_task
def test_files_stand_with_address_and_hash(task: Task) -> None:
    spec, manifest = task.spec, manifest_of()
    files = {one["@id"]: one for one in croissant(spec, COLUMNS, manifest)["distribution"]}
    known = [file for split in manifest["splits"].values() for file in split["files"]]
    known += manifest["configs"]["full"]["files"]
    for file in known:
        one = files[file["path"]]
        assert one["contentUrl"] == (
            f"https://huggingface.co/datasets/{spec.repo}/resolve/{spec.revision}/{file['path']}"
        )
        assert (one["sha256"], one["contentSize"]) == (file["sha256"], f"{file['bytes']} B")
    assert files["repo"]["contentUrl"].endswith(f"/datasets/{spec.repo}/tree/refs%2Ftags%2F{spec.revision}")
    # nobody but this folder has made-up data, so nothing else is named
    local = croissant(spec, COLUMNS, manifest_of("synthetic"))
    assert not any("https://huggingface.co" in one.get("contentUrl", "") for one in local["distribution"])
    assert "Made up" in local["description"]


def test_fields_tell_type_and_shape() -> None:
    content = croissant(TASKS["ecg"].spec, COLUMNS, manifest_of())
    records = {one["@id"]: one for one in content["recordSet"]}
    fields = {one["@id"]: one for one in records["full/train"]["field"]}
    assert {name: (one["dataType"], one.get("arrayShape")) for name, one in fields.items()} == {
        "full/train/id": ("sc:Text", None),
        "full/train/x": ("cr:Float16", "-1,96"),
        "full/train/mask": ("cr:UInt8", "4,4"),
        "full/train/y": ("cr:Int64", "-1"),
    }
    assert [row["y_names/name"] for row in records["y_names"]["data"]] == list(COLUMNS["y"].names)


def test_only_certain_licences_are_given_by_identifier() -> None:
    found = {name: croissant(TASKS[name].spec, COLUMNS, manifest_of())["license"] for name in TASKS}
    assert found["darcy_flow"] == "https://spdx.org/licenses/MIT.html"
    assert found["ecg"] == "https://spdx.org/licenses/ODC-By-1.0.html"
    assert found["cifar100"].startswith("unknown")
    assert found["ninapro"].startswith("CC-BY-ND (as NAS-Bench-360")


def test_rows_are_read_by_the_reference_reader(synthetic_repo: Repo) -> None:
    folder = synthetic_repo("ecg")
    dataset = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    for split in ("validation", "test"):
        table = pq.read_table(folder / "data" / f"{split}-00000-of-00001.parquet")
        found = list(dataset.records(f"default/{split}"))
        for name in table.column_names:
            values = [row[f"default/{split}/{name}"] for row in found]
            wanted = table[name].to_pylist()
            if table.schema.field(name).type == "string":
                values = [value.decode() for value in values]
            assert np.array_equal(values, wanted), name
    assert [row["y_names/name"] for row in dataset.records("y_names")] == ["N", "A", "O", "~"]


def test_rows_of_the_published_form_are_read_from_a_clone(synthetic_repo: Repo, tmp_path: Path) -> None:
    # what the reader would clone from the Hub, by the address that it takes from the metadata
    clone = synthetic_repo("ecg")
    public = dict(read_manifest(clone).public()) | {"provenance": "official"}
    path = tmp_path / "croissant.json"
    path.write_text(json.dumps(croissant(TASKS["ecg"].spec, TASKS["ecg"].loader.columns, public)), encoding="utf-8")
    dataset = mlcroissant.Dataset(jsonld=path, mapping={"repo": clone})
    ids = [row["default/test/id"].decode() for row in dataset.records("default/test")]
    assert ids == pq.read_table(clone / "data" / "test-00000-of-00001.parquet")["id"].to_pylist()


def test_maps_are_read_by_the_reference_reader_alone(synthetic_repo: Repo) -> None:
    # in a process that has not loaded `datasets`, whose extension types pandas would be given
    code = (
        "import sys, mlcroissant, numpy\n"
        "rows = list(mlcroissant.Dataset(jsonld=sys.argv[1]).records('default/test'))\n"
        "print(numpy.shape([row['default/test/x'] for row in rows]))"
    )
    folder = synthetic_repo("darcy_flow")
    found = subprocess.run(
        [sys.executable, "-c", code, folder / "croissant.json"], capture_output=True, text=True, timeout=100
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == f"({read_manifest(folder).splits['test'].rows}, 85, 85)"


@every_task
def test_every_repository_has_its_texts(task: Task, synthetic_repo: Repo) -> None:
    folder = synthetic_repo(task.spec.id)
    manifest = read_manifest(folder)
    made = texts(task, manifest)
    assert set(made) == {"README.md", "metric.py", "manifest.json", "croissant.json", "eval.yaml", "CHANGELOG.md"}
    assert {name: (folder / name).read_text(encoding="utf-8") for name in made} == made
    files = {one.path: one.sha256 for one in manifest.all_files()}
    assert {path: sha256_file(folder / path) for path in files} == files
    metadata = mlcroissant.Dataset(jsonld=folder / "croissant.json").metadata
    assert not metadata.ctx.issues.errors
    assert not metadata.ctx.issues.warnings
    hashed = {one.id: one.sha256 for one in metadata.distribution if isinstance(one, mlcroissant.FileObject)}
    assert hashed == files
    # and none of them is taken for data
    assert set(load_dataset_builder(str(folder)).config.data_files) == set(SPLITS)


@every_task
def test_eval_yaml(task: Task) -> None:
    content = DatasetCard(f"---\n{eval_yaml(task.spec)}---\n").data.__dict__
    content = {name: value for name, value in content.items() if value is not None}
    assert list(content) == ["name", "description", "evaluation_framework", "tasks"]
    assert content["tasks"] == [{"id": task.spec.id, "config": "default", "split": "test"}]
    assert content["evaluation_framework"] == "nas360"
    value = content["description"].split("better methods: ")[1]
    assert (value[0] in "1-") is (task.spec.direction == "lower")


def test_changelog() -> None:
    spec = TASKS["ecg"].spec
    changes = [("v2.0.0", "2027-02-01", "Another protocol."), ("v1.0.0", "2026-11-22", "First version.")]
    text = changelog(spec, manifest_of("partial", nas360_version="<b>"), changes)
    assert text.index("## v2.0.0, 2027-02-01\n\nAnother protocol.") < text.index("## v1.0.0, 2026-11-22")
    assert "v2.0.0 by protocol 1, partial data, prepared by nas360 &lt;b&gt;: 8 train, 8 validation, 8 test" in text
