"""The README of a dataset repository: what the Hub's libraries read from it, and what a reader sees."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets.exceptions import NonMatchingSplitsSizesError
from huggingface_hub import CardData, DatasetCard
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from nas360.loaders import TASKS
from nas360.loaders.base import Task
from nas360.loaders.card import FORMULAS, PROVENANCE, card
from nas360.loaders.front_matter import hub_licence
from nas360.loaders.markdown import escape
from nas360.task import SPLITS

FEATURES = datasets.Features(
    {
        "id": datasets.Value("string"),
        "x": datasets.Array2D((2, 3), "float32"),
        "v": datasets.List(datasets.Value("float32"), length=4),
        "y": datasets.ClassLabel(names=["N", "A|b", "yes", "~"]),
    }
)
HOSTILE = "a|b`c`<script>alert(1)</script>\n# [x](javascript:y) *z* \udcff &amp; $1$ \x00\x1b[31m"
MARKDOWN = MarkdownIt("commonmark").enable("table")


def manifest_of(provenance: str = "official", rows: int = 5, **changes: Any) -> dict[str, Any]:
    digest = hashlib.sha256(b"content").hexdigest()
    splits = {
        split: {
            "rows": rows + i,
            "units": rows + i,
            "num_bytes": 1000 + i,
            "files": [
                {"path": f"data/{split}-00000-of-00001.parquet", "rows": rows + i, "bytes": 700 + i, "sha256": digest}
            ],
            "content_sha256": digest,
        }
        for i, split in enumerate(SPLITS)
    }
    whole = {
        "task": "ecg",
        "protocol": 1,
        "nas360_version": "0.1.0",
        "provenance": provenance,
        "splits": splits,
        "content_sha256": digest,
        "sources": {"raw.zip": digest},
        "skipped": {},
        "notes": {},
    }
    return whole | changes


def data_of(text: str) -> CardData:
    return DatasetCard(text).data


def tables(text: str) -> list[list[list[str]]]:
    """Tables as a Markdown reader sees them: table, row, cell."""
    found: list[list[list[str]]] = []
    for token in MARKDOWN.parse(DatasetCard(text).text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and token.level >= 4:
            found[-1][-1].append("".join(child.content for child in token.children or []))
    return found


@pytest.mark.parametrize("provenance", list(PROVENANCE))
@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_every_task_has_a_whole_card(task: Task, provenance: str) -> None:
    spec = task.spec
    text = card(task, FEATURES, manifest_of(provenance))
    body = DatasetCard(text).text
    for heading in (
        "What it is",
        "How it was made",
        "What one row holds",
        "Uses",
        "Limits and bias",
        "Known issues against the paper",
        "Splits",
        "Columns",
        "Metric",
        "Differences from the reference",
        "Provenance",
        "Load and evaluate",
        "Licence",
        "Citation",
    ):
        assert body.count(f"\n## {heading}\n") == 1
    assert f"```bibtex\n{spec.citation}\n```" in body
    assert ("[!WARNING]" in body) is (provenance != "official")
    assert f"This is {provenance} data." in body or provenance == "official"
    assert text == card(task, FEATURES, manifest_of(provenance))
    assert (f'load_dataset("{spec.repo}", revision="{spec.revision}")' in body) is (provenance == "official")
    for table in tables(text):
        assert len({len(row) for row in table}) == 1
    assert [row[0] for row in tables(text)[0]] == ["split", *SPLITS]


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_front_matter_is_what_the_hub_knows(task: Task) -> None:
    data = data_of(card(task, FEATURES, manifest_of()))
    known = {
        "annotations_creators",
        "configs",
        "dataset_info",
        "license",
        "license_name",
        "pretty_name",
        "size_categories",
        "source_datasets",
        "tags",
        "task_categories",
    }
    given_keys = set(data.to_dict())  # type: ignore[no-untyped-call]  # huggingface_hub leaves it without types
    assert given_keys - {"license_name"} == known - {"license_name"}
    assert ("license_name" in given_keys) is (data["license"] == "other")
    assert data["license"] in {"unknown", "other", "mit", "odc-by", "cc-by-4.0"}
    assert set(data["task_categories"]) <= {
        "image-classification",
        "image-segmentation",
        "audio-classification",
        "other",
    }
    assert set(data["annotations_creators"]) <= {"crowdsourced", "expert-generated", "found", "machine-generated"}
    assert len(set(data["tags"])) == len(data["tags"])


def test_every_metric_has_a_formula_and_none_is_left_over() -> None:
    assert set(FORMULAS) == {task.spec.metric for task in TASKS.values()}


@pytest.mark.parametrize(
    ("rows", "category"),
    [(0, "n<1K"), (332, "n<1K"), (333, "1K<n<10K"), (400_000, "1M<n<10M"), (40_000_000, "10M<n<100M")],
)
def test_size_category_counts_all_rows(rows: int, category: str) -> None:
    # three splits of rows, rows + 1 and rows + 2
    assert data_of(card(TASKS["ecg"], FEATURES, manifest_of(rows=rows)))["size_categories"] == [category]


def write_repository(folder: Path, manifest: Mapping[str, Any]) -> dict[str, datasets.Dataset]:
    """A dataset repository with a card, made by other means than the project's writer."""
    rng = np.random.default_rng(0)
    (folder / "data").mkdir(parents=True)
    written: dict[str, datasets.Dataset] = {}
    for split in SPLITS:
        n = manifest["splits"][split]["rows"]
        columns = {
            "id": [f"{split}{i}" for i in range(n)],
            "x": rng.normal(size=(n, 2, 3)).astype(np.float32),
            "v": rng.normal(size=(n, 4)).astype(np.float32),
            "y": rng.integers(0, 4, n),
        }
        written[split] = datasets.Dataset.from_dict(columns, features=FEATURES)
        written[split].to_parquet(folder / manifest["splits"][split]["files"][0]["path"])
    # what else stands in a repository must not be taken for data
    (folder / "metric.py").write_text("raise SystemExit('not to be run')\n")
    (folder / "manifest.json").write_text("{}")
    return written


def test_repository_loads_with_all_checks(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    manifest = manifest_of(skipped={HOSTILE: [HOSTILE]})
    written = write_repository(folder, manifest)
    (folder / "README.md").write_text(card(TASKS["ecg"], FEATURES, manifest), encoding="utf-8")
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"), verification_mode="all_checks")
    assert list(loaded) == list(SPLITS)
    for split in SPLITS:
        assert loaded[split].features == FEATURES
        assert loaded[split].to_dict() == written[split].to_dict()
    streamed = datasets.load_dataset(str(folder), split="test", streaming=True)
    assert streamed.features == FEATURES
    assert [row["id"] for row in streamed] == written["test"]["id"][:]


def test_sizes_in_the_card_are_checked_by_the_reader(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    manifest = manifest_of()
    write_repository(folder, manifest)
    manifest["splits"]["train"]["rows"] += 1
    (folder / "README.md").write_text(card(TASKS["ecg"], FEATURES, manifest), encoding="utf-8")
    with pytest.raises(NonMatchingSplitsSizesError, match="train"):
        datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))


def test_foreign_text_changes_nothing_but_its_cell() -> None:
    plain = card(TASKS["ecg"], FEATURES, manifest_of(skipped={"reason": ["name"]}, notes={"seed": 1}))
    hostile = card(
        TASKS["ecg"],
        FEATURES,
        manifest_of(
            sources={HOSTILE: HOSTILE},
            skipped={HOSTILE: [HOSTILE] * 9},
            notes={HOSTILE: HOSTILE},
            nas360_version=HOSTILE,
        ),
    )
    assert hostile.encode("utf-8").decode("utf-8") == hostile
    assert [len(table) for table in tables(hostile)] == [len(table) for table in tables(plain)]
    rendered = MARKDOWN.render(DatasetCard(hostile).text)
    assert "<script>" not in rendered
    assert 'href="javascript' not in rendered
    assert rendered.count("<h1>") == 1
    assert "\x1b" not in hostile
    assert data_of(hostile).to_dict() == data_of(plain).to_dict()  # type: ignore[no-untyped-call]  # as above
    # the list is cut, its length is not
    skipped = next(table for table in tables(hostile) if table[0][0] == "reason")
    assert skipped[1][1] == "9"
    assert skipped[1][2].count("alert(1)") == 5


def test_the_preparations_own_note_is_not_shown() -> None:
    text = card(TASKS["ecg"], FEATURES, manifest_of(notes={"key": "0123abcd", "generator": {"seed": 7}}))
    assert "0123abcd" not in text
    assert ["generator", '{"seed": 7}'] in tables(text)[-1]


@given(st.text(max_size=40))
def test_escaped_text_is_read_back_as_it_was(text: str) -> None:
    escaped = escape(text)
    assert "\n" not in escaped
    parsed = MARKDOWN.parse(f"| h | k |\n| --- | --- |\n| {escaped} | k |")
    cells = [token for token in parsed if token.type == "inline"]
    assert [cell.content for cell in cells[-1:]] == ["k"]
    shown = cells[-2]
    assert {child.type for child in shown.children or []} <= {"text", "text_special"}
    plain = "".join(child.content for child in shown.children or [])
    blank = {"Cc", "Zl", "Zp"}
    wanted = "".join(" " if unicodedata.category(character) in blank else character for character in text)
    assert plain.split() == wanted.split()


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", ("mit", None)),
        ("CC-BY-4.0 (each clip has its own)", ("cc-by-4.0", None)),
        ("unknown (nobody said)", ("unknown", None)),
        ("My-Licence-2 of long ago", ("other", "my-licence-2")),
    ],
)
def test_hub_licence(licence: str, expected: tuple[str, str | None]) -> None:
    assert hub_licence(licence) == expected
