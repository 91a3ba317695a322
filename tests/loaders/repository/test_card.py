"""Cards: what the Hub's libraries read from a repository's README, what a reader sees, and the cards in the source."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets.exceptions import NonMatchingSplitsSizesError
from huggingface_hub import CardData, DatasetCard
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from nas360.errors import DatasetError, UserError
from nas360.files import write_json, write_text
from nas360.loaders import TASKS
from nas360.loaders.base import Column, Task
from nas360.loaders.content import ContentHash
from nas360.loaders.prepare import prepare
from nas360.loaders.repository.card import card
from nas360.loaders.repository.card_blocks import BLOCKS, FORMULAS, PROVENANCE, Facts
from nas360.loaders.repository.card_file import (
    Part,
    drift,
    fill,
    join,
    parse,
    read_card,
    renewed,
    sections,
    split_front_matter,
)
from nas360.loaders.repository.front_matter import hub_licence, read_head
from nas360.loaders.repository.markdown import escape
from nas360.loaders.repository.parquet import features
from nas360.loaders.repository.texts import read_audit, texts
from nas360.task import SPLITS

COLUMNS = {
    "id": Column("string"),
    "x": Column("float32", (2, 3), about="a map"),
    "v": Column("float32", (4,)),
    "frames": Column("float32", (None, 3)),
    "y": Column("int64", names=("N", "A|b", "yes", "~")),
    "tags": Column("int64", (None,), names=("one", "two")),
}
FEATURES = features(COLUMNS)
HOSTILE = "a|b`c`<script>alert(1)</script>\n# [x](javascript:y) *z* \udcff &amp; $1$ \x00\x1b[31m"
ECG = TASKS["ecg"].spec
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
        "configs": {},
        "skipped": {},
        "departures": [],
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
    text = card(task.spec, COLUMNS, manifest_of(provenance))
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
        "Duplicates and leaks",
        "Provenance",
        "Load and evaluate",
        "Licence",
        "Citation",
    ):
        assert body.count(f"\n## {heading}\n") == 1
    assert f"```bibtex\n{spec.citation}\n```" in body
    assert ("[!WARNING]" in body) is (provenance != "official")
    assert f"This is {provenance} data." in body or provenance == "official"
    assert "<!--" not in body
    assert text == card(task.spec, COLUMNS, manifest_of(provenance))
    assert (f'load_dataset("{spec.repo}", revision="{spec.revision}")' in body) is (provenance == "official")
    for table in tables(text):
        assert len({len(row) for row in table}) == 1
    assert [row[0] for row in tables(text)[0]] == ["split", *SPLITS]


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_front_matter_is_what_the_hub_knows(task: Task) -> None:
    data = data_of(card(task.spec, COLUMNS, manifest_of()))
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
    assert data_of(card(ECG, COLUMNS, manifest_of(rows=rows)))["size_categories"] == [category]


def write_repository(folder: Path, manifest: Mapping[str, Any]) -> dict[str, datasets.Dataset]:
    """A dataset repository with a card, made by other means than the project's writer."""
    rng = np.random.default_rng(0)
    (folder / "data").mkdir(parents=True)
    written: dict[str, datasets.Dataset] = {}
    entries = manifest["splits"] | manifest["configs"]
    for split, entry in entries.items():
        n = entry["rows"]
        columns = {
            "id": [f"{split}{i}" for i in range(n)],
            "x": rng.normal(size=(n, 2, 3)).astype(np.float32),
            "v": rng.normal(size=(n, 4)).astype(np.float32),
            "frames": [rng.normal(size=(1 + i % 3, 3)).astype(np.float32) for i in range(n)],
            "y": rng.integers(0, 4, n),
            "tags": [[0, 1][: i % 3] for i in range(n)],
        }
        written[split] = datasets.Dataset.from_dict(columns, features=FEATURES)
        path = folder / entry["files"][0]["path"]
        path.parent.mkdir(exist_ok=True)
        written[split].to_parquet(path)
    # what else stands in a repository must not be taken for data
    (folder / "metric.py").write_text("raise SystemExit('not to be run')\n")
    for name in ("manifest.json", "croissant.json", "eval.yaml", "CHANGELOG.md", "audit.json"):
        (folder / name).write_text("{}")
    return written


def test_repository_loads_with_all_checks(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    manifest = manifest_of(skipped={HOSTILE: [HOSTILE]})
    written = write_repository(folder, manifest)
    (folder / "README.md").write_text(card(ECG, COLUMNS, manifest), encoding="utf-8")
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"), verification_mode="all_checks")
    assert list(loaded) == list(SPLITS)
    for split in SPLITS:
        assert loaded[split].features == FEATURES
        assert loaded[split].to_dict() == written[split].to_dict()
    streamed = datasets.load_dataset(str(folder), split="test", streaming=True)
    assert streamed.features == FEATURES
    assert [row["id"] for row in streamed] == written["test"]["id"][:]


def test_further_configurations_load_beside_the_default_one(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    entry = {"path": "full/train-00000-of-00001.parquet", "rows": 11, "bytes": 900, "sha256": "0" * 64}
    full = {"rows": 11, "units": 11, "num_bytes": 1234, "files": [entry], "content_sha256": "0" * 64}
    manifest = manifest_of(configs={"full": full})
    written = write_repository(folder, manifest)
    text = card(ECG, COLUMNS, manifest)
    (folder / "README.md").write_text(text, encoding="utf-8")
    cache = str(tmp_path / "cache")
    assert datasets.get_dataset_config_names(str(folder)) == ["default", "full"]
    assert [one["default"] for one in data_of(text)["configs"] if "default" in one] == [True]
    plain = datasets.load_dataset(str(folder), cache_dir=cache, verification_mode="all_checks")
    assert {split: len(rows) for split, rows in plain.items()} == {"train": 5, "validation": 6, "test": 7}
    more = datasets.load_dataset(str(folder), "full", cache_dir=cache, verification_mode="all_checks")
    assert list(more) == ["train"]
    assert more["train"].to_dict() == written["full"].to_dict()
    assert more["train"].features == FEATURES
    sizes = {one["config_name"]: one for one in data_of(text)["dataset_info"]}
    assert sizes["full"]["splits"] == [{"name": "train", "num_bytes": 1234, "num_examples": 11}]
    assert (sizes["full"]["download_size"], sizes["full"]["dataset_size"]) == (900, 1234)
    assert ["full", "11", "900", "0" * 16 + "…"] in [row for one in tables(text) for row in one]
    assert 'full = load_dataset("nas360/ecg", "full", revision="v1.0.0", split="train")' in text


def test_sizes_in_the_card_are_checked_by_the_reader(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    manifest = manifest_of()
    write_repository(folder, manifest)
    manifest["splits"]["train"]["rows"] += 1
    (folder / "README.md").write_text(card(ECG, COLUMNS, manifest), encoding="utf-8")
    with pytest.raises(NonMatchingSplitsSizesError, match="train"):
        datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))


def test_foreign_text_changes_nothing_but_its_cell() -> None:
    plain = card(ECG, COLUMNS, manifest_of(skipped={"reason": ["name"]}, notes={"seed": 1}))
    hostile = card(
        ECG,
        COLUMNS,
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
    text = card(ECG, COLUMNS, manifest_of(notes={"key": "0123abcd", "generator": {"seed": 7}}))
    assert "0123abcd" not in text
    assert ["generator", '{"seed": 7}'] in tables(text)[-1]


@given(st.text(max_size=40))
@example("a\u202ebc")
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
    turns = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    wanted = "".join(" " if unicodedata.category(one) in blank or one in turns else one for one in text)
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


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_the_cards_in_the_source_are_up_to_date(task: Task) -> None:
    name = task.spec.id
    found = drift(Facts.of(task), read_card(name), f"{name}.md")
    assert not found, f"run `nas360 cards {name} --write`: {found}"


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_the_readme_says_what_the_card_in_the_source_says(task: Task) -> None:
    body = DatasetCard(card(task.spec, COLUMNS, manifest_of())).text
    for part in parse(split_front_matter(read_card(task.spec.id))[1], task.spec.id):
        # the others tell what a copy holds, or its columns, which are not the task's here
        if part.name not in ("splits", "columns", "provenance"):
            assert part.text in body, part.name


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_head_of_the_card(task: Task) -> None:
    _, head = read_head(task.spec.id)
    # the newest version that the card knows is the one that this package reads
    assert head.changes[0].version == task.spec.revision
    versions = [tuple(map(int, change.version[1:].split("."))) for change in head.changes]
    assert versions == sorted(set(versions), reverse=True)
    assert [change.date for change in head.changes] == sorted((one.date for one in head.changes), reverse=True)
    assert {"Uses", "How it was made", "Limits and bias", "Known issues against the paper"} <= set(
        sections(task.spec.id)
    )


PROSE = st.lists(st.text(alphabet="ab #`\n", max_size=12), max_size=3)


@given(PROSE, st.sets(st.sampled_from(list(BLOCKS))))
def test_every_block_gets_its_place_and_the_prose_stays(prose: list[str], there: set[str]) -> None:
    order = [name for name in BLOCKS if name in there]
    parts = [Part(name, f"old {name}") for name in order]
    for place, text in enumerate(prose):
        parts.insert(min(place * 2, len(parts)), Part("", text.strip("\n")))
    filled = fill(parts, lambda name: f"new {name}")
    assert [part.name for part in filled if part.name] == list(BLOCKS)
    assert all(part.text == f"new {part.name}" for part in filled if part.name)
    assert [part.text for part in filled if not part.name] == [part.text for part in parts if not part.name]
    assert fill(filled, lambda name: f"new {name}") == filled
    read = parse(join(filled), "card")
    assert [part for part in read if part.name] == [part for part in filled if part.name]
    told = "".join("".join(part.text.split()) for part in read if not part.name)
    assert told == "".join("".join(text.split()) for text in prose)


def test_writing_a_card_twice_changes_nothing() -> None:
    facts = Facts.of(TASKS["ecg"])
    bare = "---\ntags:\n- a\n---\n\n\n## Uses\n\nNone.\n"
    once = renewed(facts, bare, "ecg.md")
    assert once.startswith("---\ntags:\n- a\n---\n\n<!-- generated:head -->\n# NAS-Bench-360: ECG\n")
    assert once.endswith("<!-- end -->\n")
    assert renewed(facts, once, "ecg.md") == once
    assert set(drift(facts, bare, "ecg.md").values()) == {"the block is missing"}
    assert drift(facts, once, "ecg.md") == {}
    assert drift(facts, once.replace("## Uses", "\n\n## Uses"), "ecg.md").keys() == {"layout"}
    changed = once.replace("higher is better", "lower is better")
    assert list(drift(facts, changed, "ecg.md")) == ["metric"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("<!-- generated:metric -->\ntext", "'metric' is not closed"),
        ("<!-- generated:colour -->\n<!-- end -->", "line 1 of the text: block 'colour' is not known"),
        ("<!-- generated:metric -->\n<!-- generated:usage -->\n<!-- end -->", "'usage' begins inside block 'metric'"),
        ("<!-- generated:usage -->\n<!-- end -->\n" * 2, "line 3 of the text: block 'usage' stands twice"),
        ("text\n<!-- end -->", "closes no block"),
    ],
)
def test_faulty_cards_are_refused(body: str, message: str) -> None:
    with pytest.raises(UserError, match=f"a.md: .*{message}"):
        parse(body, "a.md")


def test_a_card_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ecg\.md: there is no such card"):
        read_card("ecg", tmp_path)
    (tmp_path / "ecg.md").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"ecg\.md: not UTF-8 \(byte 0\)"):
        read_card("ecg", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: v1.0.0", "version: v1", r"changes\.0\.version: String should match"),
        ("  personal_information", "  personal", r"rai\.personal_information: Field required"),
        ("changes:", "other:", "changes: Input should be a valid tuple"),
    ],
)
def test_a_head_that_lacks_something_is_told(
    old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = read_card("ecg")
    (tmp_path / "ecg.md").write_text(text.replace(old, new, 1), encoding="utf-8")
    monkeypatch.setattr("nas360.loaders.repository.card_file.card_folder", lambda: tmp_path)
    with pytest.raises(UserError, match=rf"ecg\.md: the front matter is not whole \(.*{message}"):
        read_head("ecg")


def test_columns_are_explained() -> None:
    shown = next(one for one in tables(card(ECG, COLUMNS, manifest_of())) if one[0][0] == "column")
    assert [row[:3] for row in shown[1:]] == [
        ["id", "string", "scalar"],
        ["x", "float32", "2 x 3"],
        ["v", "float32", "4"],
        ["frames", "float32", "any x 3"],
        ["y", "class label of 4", "scalar"],
        ["tags", "class labels of 2", "any"],
    ]
    assert shown[2][3] == "a map"
    assert "predictions refer to" in shown[1][3]


def test_an_explanation_is_no_content() -> None:
    plain, told = ContentHash({"y": Column("int64")}), ContentHash({"y": Column("int64", about="a number")})
    for one in (plain, told):
        one.update({"y": np.arange(3)})
    assert plain.hexdigest() == told.hexdigest()


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_every_column_of_a_task_is_explained(task: Task) -> None:
    assert all(column.about or name == "id" for name, column in task.loader.columns.items())


@pytest.mark.parametrize(
    ("column", "num_bytes", "told"),
    [
        (Column("float32", (700, 700)), 0, ""),
        (Column("float32", (800, 800)), 0, "A row has about 2.6 MB"),
        (Column("float32", (None, 800)), 5 * 1_900_000, ""),
        (Column("float32", (None, 800)), 5 * 2_100_000, "A row has about 2.1 MB"),
    ],
)
def test_rows_too_large_for_the_viewer_are_told(column: Column, num_bytes: int, told: str) -> None:
    manifest = manifest_of()
    manifest["splits"]["train"]["num_bytes"] = num_bytes
    text = card(ECG, {"id": Column("string"), "x": column, "y": Column("int64")}, manifest)
    assert ("shows no rows of this size" in text) is bool(told)
    assert told in text


AUDIT = {
    "summary": {
        "exact_duplicates": {"train/test": 3, "train/validation": 0},
        "near_duplicates": {"train/test": {"rows": 12_345, "share": 0.123456}},
        "label_shift": {HOSTILE: {HOSTILE: HOSTILE}, "deep": {"a": {"b": {"c": {"d": [1, 2]}}}}},
        "group_overlap": None,
    },
    "rows": [],
}


def test_the_audit_is_shown_whatever_it_holds() -> None:
    text = card(ECG, COLUMNS, manifest_of(), AUDIT)
    section = text[text.index("## Duplicates") : text.index("## Provenance")]
    shown = tables(f"---\na: 1\n---\n{section}")
    assert shown[0] == [["train/test", "train/validation"], ["3", "0"]]
    assert shown[1] == [["", "rows", "share"], ["train/test", "12,345", "0.1235"]]
    assert [row[-1] for row in shown[2]] == ["c", "", '{"d": [1, 2]}']
    assert "alert" in shown[2][1][0]
    assert shown[3] == [["figure"], ["not defined"]]
    assert "Near duplicates: rows of the first split that have" in text
    assert "<script>" not in MARKDOWN.render(DatasetCard(text).text)
    for many in ({str(i): i for i in range(500)}, {str(i): {"n": i} for i in range(500)}):
        longer = card(ECG, COLUMNS, manifest_of(), {"summary": {"repeated_rows": many}})
        assert longer.count("The table is cut.") == 1
        assert len(longer) < len(text) + 3000
    empty: list[dict[str, Any]] = [{}, {"summary": {}}, {"summary": [1]}]
    for nothing in empty:
        assert card(ECG, COLUMNS, manifest_of(), nothing) == card(ECG, COLUMNS, manifest_of())


def test_a_repository_with_an_audit_stays_as_it_is(synthetic_raw: Callable[[str], Path], tmp_path: Path) -> None:
    task, out = TASKS["ecg"], tmp_path / "ecg"
    manifest = prepare(task, synthetic_raw("ecg"), out)
    assert read_audit(out) is None
    write_json(out / "audit.json", {"summary": {"exact_duplicates": {"train/test": 3}}})
    for name, text in texts(task, manifest, read_audit(out)).items():
        write_text(out / name, text)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    prepare(task, synthetic_raw("ecg"), out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert "Exact duplicates.\n\n| train/test |" in (out / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("content", "message"), [("[1]", "not an audit of nas360"), ('{"a": NaN}', "holds NaN")])
def test_a_faulty_audit_is_told(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_text(content)
    with pytest.raises(DatasetError, match=message):
        read_audit(tmp_path)
