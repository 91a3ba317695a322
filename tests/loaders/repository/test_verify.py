from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas360.files import sha256_file
from nas360.loaders import TASKS
from nas360.loaders.base import Array
from nas360.loaders.content import ContentHash, combine
from nas360.loaders.repository.manifest import Manifest, read_manifest
from nas360.loaders.repository.parquet import read_columns, write_split
from nas360.loaders.repository.texts import texts
from nas360.loaders.repository.verify import Fault, verify

TASK = "ecg"
HARMLESS = {("warning", "audit_missing"), ("warning", "provenance")}
Columns = dict[str, Array]


def codes(faults: list[Fault]) -> set[tuple[str, str]]:
    return {(fault.severity, fault.code) for fault in faults}


@pytest.fixture
def repo(synthetic_repo: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a whole repository, to be spoilt."""
    return Path(shutil.copytree(synthetic_repo(TASK), tmp_path / "repo"))


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def rewrite(folder: Path, split: str, change: Callable[[Columns], Columns]) -> None:
    """Change a split's rows, and write manifest and texts as if they had been so from the beginning."""
    manifest = read_manifest(folder).model_dump(mode="json")
    task = TASKS[manifest["task"]]
    columns = task.loader.columns
    entry = manifest["splits"][split]
    paths = [folder / file["path"] for file in entry["files"]]
    batches = list(read_columns(paths, columns))
    rows = change({name: np.concatenate([batch[name] for batch in batches]) for name in columns})
    for path in paths:
        path.unlink()
    content = ContentHash(columns)
    content.update(rows)
    shards = write_split(folder / "data", split, columns, [rows])
    entry["files"] = [
        {"path": f"data/{one.path.name}", "rows": one.rows, "bytes": one.n_bytes, "sha256": one.sha256}
        for one in shards
    ]
    units = entry["units"] if task.spec.group is None else len(np.unique(rows[task.spec.group]))
    entry.update(
        rows=content.rows,
        num_bytes=sum(one.n_bytes for one in shards),
        content_sha256=content.hexdigest(),
        units=min(units, content.rows),
    )
    settle(folder, manifest)


def settle(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the texts of a manifest, with its own hash made right."""
    parts = {name: split["content_sha256"] for name, split in manifest["splits"].items()}
    whole = Manifest.model_validate({**manifest, "content_sha256": combine(parts)})
    for name, text in texts(TASKS[whole.task], whole).items():
        (folder / name).write_text(text)


def replace_file(folder: Path, change: Callable[[Path], object]) -> None:
    """Change the test split's only file, and let the manifest tell of the changed one."""
    manifest = read_manifest(folder).model_dump(mode="json")
    file = manifest["splits"]["test"]["files"][0]
    path = folder / file["path"]
    change(path)
    file.update(bytes=path.stat().st_size, sha256=sha256_file(path))
    settle(folder, manifest)


def shard(folder: Path) -> Path:
    return folder / "data" / "test-00000-of-00001.parquet"


def flip_byte(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def set_at(name: str, row: int, value: object) -> Callable[[Columns], Columns]:
    def change(rows: Columns) -> Columns:
        column = rows[name].astype(object) if rows[name].dtype.kind == "U" else rows[name].copy()
        column[row] = value
        return {**rows, name: column.astype(str) if column.dtype == object else column}

    return change


def with_nan(rows: Columns) -> Columns:
    x = rows["x"].copy()
    x[0, 17] = np.nan
    return {**rows, "x": x}


def drop_metadata(path: Path) -> None:
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)


def add_column(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.append_column("secret", table.column("y")), path)


def drop_an_id(path: Path) -> None:
    table = pq.read_table(path)
    ids = pa.array([None, *table.column("id").to_pylist()[1:]], pa.string())
    pq.write_table(table.set_column(0, table.schema.field("id"), ids), path)


def lie_about_rows(folder: Path) -> None:
    manifest = read_manifest(folder).model_dump(mode="json")
    test = manifest["splits"]["test"]
    test["rows"] = test["files"][0]["rows"] = test["rows"] + 1
    settle(folder, manifest)


def lie_about(name: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        manifest = read_manifest(folder).model_dump(mode="json")
        manifest["splits"]["test"][name] = value
        settle(folder, manifest)

    return change


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def put_folder(folder: Path) -> None:
    shard(folder).unlink()
    shard(folder).mkdir()


def train_group(folder: Path) -> str:
    return str(pq.read_table(folder / "data" / "train-00000-of-00001.parquet").column("record_id")[0])


def train_id(folder: Path) -> str:
    return str(pq.read_table(folder / "data" / "train-00000-of-00001.parquet").column("id")[0])


ERRORS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "no manifest": ("manifest", lambda repo: (repo / "manifest.json").unlink()),
    "a manifest that is no JSON": ("manifest", lambda repo: (repo / "manifest.json").write_text("{")),
    "an unknown task": (
        "manifest",
        lambda repo: edit_json(repo / "manifest.json", lambda content: content.update(task="imagenet")),
    ),
    "another protocol": (
        "protocol",
        lambda repo: edit_json(repo / "manifest.json", lambda content: content.update(protocol=99)),
    ),
    "a lost file": ("missing_file", lambda repo: shard(repo).unlink()),
    "a folder in place of a file": ("missing_file", put_folder),
    "a truncated file": ("file_size", lambda repo: shard(repo).write_bytes(shard(repo).read_bytes()[:-1])),
    "a flipped byte": ("file_sha256", lambda repo: flip_byte(shard(repo), 5000)),
    "no Parquet": ("parquet", lambda repo: replace_file(repo, lambda path: path.write_bytes(b"PAR1 no PAR1"))),
    "another column": ("schema", lambda repo: replace_file(repo, add_column)),
    "no feature types": ("schema", lambda repo: replace_file(repo, drop_metadata)),
    "no id": ("null", lambda repo: replace_file(repo, drop_an_id)),
    "another number of rows": ("row_count", lie_about_rows),
    "other content": ("content_sha256", lie_about("content_sha256", "0" * 64)),
    "too many units": ("units", lie_about("units", 10**6)),
    "too few units": ("units", lie_about("units", 1)),
    "NaN": ("not_finite", lambda repo: rewrite(repo, "test", with_nan)),
    "an unknown class": ("label_range", lambda repo: rewrite(repo, "test", set_at("y", 0, 4))),
    "a negative class": ("label_range", lambda repo: rewrite(repo, "test", set_at("y", -1, -1))),
    "an id twice in a split": (
        "duplicate_id",
        lambda repo: rewrite(repo, "test", lambda rows: set_at("id", 0, rows["id"][1])(rows)),
    ),
    "an id in two splits": (
        "duplicate_id",
        lambda repo: rewrite(repo, "test", set_at("id", 0, train_id(repo))),
    ),
    "an empty id": ("empty_id", lambda repo: rewrite(repo, "test", set_at("id", 3, ""))),
    "a record in two splits": (
        "group_leak",
        lambda repo: rewrite(repo, "test", set_at("record_id", 0, train_group(repo))),
    ),
    "an empty split": (
        "empty_split",
        lambda repo: rewrite(repo, "test", lambda rows: {name: column[:0] for name, column in rows.items()}),
    ),
    "wrong sizes on the card": (
        "front_matter",
        edit("README.md", "  - name: test\n    num_bytes: ", "  - name: test\n    num_bytes: 1"),
    ),
    "a card without front matter": ("front_matter", edit("README.md", "---\n", "")),
    "front matter that is no YAML": ("front_matter", edit("README.md", "---\n", "---\n[: {\n")),
    "a card that is no text": ("front_matter", lambda repo: (repo / "README.md").write_bytes(b"\xff\xfe")),
    "a card that points elsewhere": ("load_dataset", edit("README.md", "data/test-*.parquet", "data/tset-*.parquet")),
    "another metric": ("metric_script", lambda repo: (repo / "metric.py").write_text("print(0.0)\n")),
    "no metric": ("missing_file", lambda repo: (repo / "metric.py").unlink()),
    "a stray table": ("unexpected_file", lambda repo: (repo / "labels.csv").write_text("a,b\n")),
    "a loading script": ("unexpected_file", lambda repo: (repo / "ecg.py").write_text("")),
    "a stray shard": ("unexpected_file", lambda repo: shutil.copy(shard(repo), repo / "data" / "test-1.parquet")),
    "what a killed program left": ("unexpected_file", lambda repo: (repo / ".README.md.x.tmp").write_text("")),
    "an audit of other data": (
        "audit",
        lambda repo: (repo / "audit.json").write_text(json.dumps({"content_sha256": "0" * 64})),
    ),
    "an audit that is no JSON": ("audit", lambda repo: (repo / "audit.json").write_text("[NaN]")),
}

WARNINGS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "other words on the card": ("readme", edit("README.md", "# NAS-Bench-360", "# My data")),
    "a text of another version": ("drift", lambda repo: (repo / "eval.yaml").write_text("name: x\n")),
    "a picture's source": ("unexpected_file", lambda repo: (repo / "notes.md").write_text("to do\n")),
    "a class that is not trained on": (
        "class_absent",
        lambda repo: rewrite(
            repo, "train", lambda rows: {name: column[rows["y"] != 2] for name, column in rows.items()}
        ),
    ),
}


IN_ROWS = {"not_finite", "label_range", "duplicate_id", "empty_id", "group_leak", "content_sha256"}


@pytest.mark.parametrize(
    ("what", "quick"),
    [(what, quick) for what, (code, _) in ERRORS.items() for quick in ([False, True] if code in IN_ROWS else [True])],
)
def test_every_fault_is_found(repo: Path, what: str, quick: bool) -> None:
    code, spoil = ERRORS[what]
    spoil(repo)
    found = codes(verify(repo, quick))
    if quick and code == "content_sha256":
        assert found == HARMLESS
    else:
        assert ("error", code) in found


@pytest.mark.parametrize("what", WARNINGS)
def test_what_is_for_a_person_to_judge_is_a_warning(repo: Path, what: str) -> None:
    code, spoil = WARNINGS[what]
    spoil(repo)
    assert codes(verify(repo)) == HARMLESS | {("warning", code)}


def test_all_faults_come_at_once(repo: Path) -> None:
    for what in ("NaN", "another metric", "a stray table", "wrong sizes on the card", "an audit that is no JSON"):
        ERRORS[what][1](repo)
    found = {code for _, code in codes(verify(repo))}
    assert found >= {"not_finite", "metric_script", "unexpected_file", "front_matter", "audit"}


def test_messages_name_rows(repo: Path) -> None:
    rewrite(repo, "test", set_at("y", 0, 4))
    (fault,) = [fault for fault in verify(repo) if fault.severity == "error" and fault.code == "label_range"]
    first = pq.read_table(shard(repo)).column("id")[0]
    assert f"test: 1 rows hold class indices outside 0 to 3: '{first}'" in fault.message


def test_a_key_that_is_no_group_is_told_when_it_is_shared(
    synthetic_repo: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(synthetic_repo("psicov"), tmp_path / "psicov"))
    (part,) = read_manifest(folder).splits["train"].files
    sequence = str(pq.read_table(folder / part.path).column("seq")[0])
    rewrite(folder, "test", set_at("seq", 0, sequence))
    (fault,) = [fault for fault in verify(folder) if fault.code == "shared_key"]
    assert fault.severity == "warning" and f"are in train and in test: '{sequence[:20]}" in fault.message


def test_a_visit_in_two_splits_is_an_error(synthetic_repo: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(synthetic_repo("cosmic"), tmp_path / "cosmic"))
    (part,) = read_manifest(folder).splits["train"].files
    visit = str(pq.read_table(folder / part.path).column("visit")[0])
    rewrite(folder, "test", set_at("visit", 0, visit))
    (fault,) = [fault for fault in verify(folder) if fault.code == "group_leak"]
    assert fault.severity == "error" and f"are in train and in test: '{visit}'" in fault.message


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_map_may_have_unknown_parts_but_no_infinities(
    synthetic_repo: Callable[[str], Path], tmp_path: Path, value: float
) -> None:
    folder = Path(shutil.copytree(synthetic_repo("psicov"), tmp_path / "psicov"))

    def change(rows: Columns) -> Columns:
        y = rows["y"].copy()
        y[0] = y[0].copy()
        y[0][:3] = value
        return {**rows, "y": y}

    rewrite(folder, "test", change)
    assert codes(verify(folder)) - HARMLESS == (set() if np.isnan(value) else {("error", "not_finite")})


def test_the_hubs_own_files_are_no_strangers(repo: Path) -> None:
    (repo / ".gitattributes").write_text("*.parquet filter=lfs\n")
    (repo / ".cache" / "huggingface").mkdir(parents=True)
    (repo / ".cache" / "huggingface" / "x.metadata").write_text("")
    assert codes(verify(repo)) == HARMLESS


def test_a_folder_that_load_dataset_takes_for_a_pattern(repo: Path, tmp_path: Path) -> None:
    assert codes(verify(repo.rename(tmp_path / "ecg[1]"))) == HARMLESS | {("warning", "load_not_tried")}


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        (None, ("error", "audit")),
        ([1], ("error", "audit")),
        ({"rows_also_in": {"test in train": {"found": "many"}}}, ("warning", "readme")),
        ({"near_duplicates": {"a": {"compared": 10**30}}, "a|b\n<script>": [{}]}, ("warning", "readme")),
    ],
)
def test_an_audit_of_any_form_is_borne(repo: Path, summary: object, expected: tuple[str, str]) -> None:
    sha256 = read_manifest(repo).content_sha256
    (repo / "audit.json").write_text(json.dumps({"content_sha256": sha256, "summary": summary}))
    assert codes(verify(repo, quick=True)) == {("warning", "provenance"), expected}


def test_progress_is_told(repo: Path) -> None:
    told: list[tuple[str, int, int]] = []
    verify(repo, report=lambda step, done, total: told.append((step, done, total)))
    last = {step: (done, total) for step, done, total in told}
    assert {"hash", "read", "load_dataset"} <= set(last)
    assert all(done == total for done, total in last.values())


MADE = list(TASKS)


@pytest.mark.parametrize("task", MADE)
def test_a_synthetic_twin_has_no_fault(synthetic_repo: Callable[[str], Path], task: str) -> None:
    assert codes(verify(synthetic_repo(task))) - {("warning", "class_absent")} == HARMLESS


@given(data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_byte_of_any_file_is_noticed(
    synthetic_repo: Callable[[str], Path], tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "repo"
    if not folder.exists():
        shutil.copytree(synthetic_repo("darcy_flow"), folder)
    path = data.draw(st.sampled_from(sorted(path for path in folder.rglob("*") if path.is_file())))
    content = path.read_bytes()
    # what the manifest says of nothing but itself cannot be compared with anything
    end = content.index(b'"skipped"') if path.name == "manifest.json" else len(content)
    at = data.draw(st.integers(0, end - 1))
    bit = data.draw(st.integers(0, 7))
    try:
        path.write_bytes(content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :])
        assert codes(verify(folder, quick=True)) - HARMLESS
    finally:
        path.write_bytes(content)
