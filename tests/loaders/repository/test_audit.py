from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

from nas360.errors import UserError
from nas360.files import json_text
from nas360.loaders import TASKS
from nas360.loaders.base import Array, Column, Loader, RawData, Rows, Task
from nas360.loaders.data import TaskData, load_task
from nas360.loaders.prepare import prepare
from nas360.loaders.repository.audit import PAIRS, audit, conflicts, group_columns, input_columns, write_audit
from nas360.loaders.repository.label_shift import compare, summarise
from nas360.loaders.repository.manifest import read_manifest
from nas360.loaders.repository.near_duplicates import Settings
from nas360.loaders.repository.verify import verify
from nas360.task import SPLITS, SplitName

CLASSES = TASKS["ecg"].spec.class_names
COLUMNS = {
    "id": Column("string"),
    "record_id": Column("string"),
    "device": Column("int64"),
    "x": Column("float32", (46,)),
    "y": Column("int64", names=CLASSES),
}
SIZES: dict[SplitName, int] = {"train": 200, "validation": 50, "test": 60}


def plain_rows(seed: int = 0) -> dict[SplitName, dict[str, Array]]:
    """Rows that share nothing but the devices 0 to 2; every record has two rows of one class."""
    rng = np.random.default_rng(seed)
    return {
        split: {
            "id": np.array([f"{split}-{row:03d}" for row in range(n)]),
            "record_id": np.array([f"{split}-record-{row // 2}" for row in range(n)]),
            "device": np.arange(n) % 3,
            "x": rng.normal(size=(n, 46)).astype(np.float32),
            "y": (np.arange(n) // 2) % 4,
        }
        for split, n in SIZES.items()
    }


def dataset(rows: Mapping[SplitName, Rows], folder: Path) -> TaskData:
    """A dataset repository of these rows, opened as a task of ECG's kind."""

    def open_raw(raw: Path) -> RawData:
        return RawData(
            splits={split: lambda split=split: iter([rows[split]]) for split in SPLITS},  # type: ignore[misc]  # a default argument binds the loop's value
            sources={"file": "0" * 64},
            n_units={split: len(np.unique(rows[split]["record_id"])) for split in SPLITS},
        )

    def never(*arguments: object) -> Any:
        raise NotImplementedError

    loader = Loader(columns=COLUMNS, open_raw=open_raw, fit=never, synthesise=never)
    task = Task(TASKS["ecg"].spec, lambda: loader)
    prepare(task, folder.parent, folder)
    return TaskData(task, folder, str(folder))


def test_rows_that_share_nothing(tmp_path: Path) -> None:
    found = audit(dataset(plain_rows(), tmp_path / "repo"))
    assert found["exact_duplicates"]["inputs"] == ["x"]
    for one, other in PAIRS:
        pair = f"{one} in {other}"
        assert found["exact_duplicates"]["across"][pair]["found"] == 0
        assert found["near_duplicates"][pair]["found"] == 0
        assert found["near_duplicates"][pair]["compared"] == SIZES[one]
        assert found["near_duplicates"][pair]["interval_95"] is None
        assert found["group_overlap"]["record_id"][pair]["common"] == 0
        assert found["group_overlap"]["device"][pair] == {
            "values": 3, "common": 3, "rows": SIZES[one], "share": 1.0, "examples": ["0", "1", "2"],
        }  # fmt: skip
    assert {name: part["repeats"] for name, part in found["exact_duplicates"]["within"].items()} == {
        "train": 0, "validation": 0, "test": 0,
    }  # fmt: skip
    assert conflicts(found) == []


def planted() -> dict[SplitName, dict[str, Array]]:
    rows = plain_rows()
    train, test = rows["train"], rows["test"]
    test["x"][:5] = train["x"][10:15]
    test["y"][:5] = train["y"][10:15]
    test["y"][0] = (train["y"][10] + 1) % 4
    noise = np.random.default_rng(1).normal(scale=0.02, size=(7, 46))
    test["x"][20:27] = train["x"][50:57] + noise
    train["x"][100:103] = train["x"][99]
    train["y"][99:103] = 1
    test["record_id"][-2:] = train["record_id"][0]
    return rows


def test_what_was_planted_is_counted(tmp_path: Path) -> None:
    found = audit(dataset(planted(), tmp_path / "repo"))
    across = found["exact_duplicates"]["across"]["test in train"]
    assert (across["found"], across["conflicting"], across["share"]) == (5, 1, round(5 / 60, 6))
    assert across["examples"][0] == ["test-000", "train-010"]
    assert found["exact_duplicates"]["across"]["validation in train"]["found"] == 0
    within = found["exact_duplicates"]["within"]["train"]
    assert (within["repeats"], within["conflicting"]) == (3, 0)
    near = found["near_duplicates"]["test in train"]
    assert (near["found"], near["views"]) == (7, {"as it is": 7})
    assert sorted(example["ids"] for example in near["examples"])[0][0].startswith("test-02")
    leak = found["group_overlap"]["record_id"]["test in train"]
    assert found["group_overlap"]["record_id"]["must_be_apart"]
    assert not found["group_overlap"]["device"]["must_be_apart"]
    assert (leak["common"], leak["rows"], leak["examples"]) == (1, 2, ["train-record-0"])
    assert conflicts(found) == [
        "1 values of record_id are on both sides (test in train), which must not be",
        "5 of 60 rows have the same input on the other side (test in train); 1 of them with another label",
    ]
    assert found["summary"]["rows_also_in"]["test in train"] == {
        "found": 5, "share": round(5 / 60, 6), "same_input_other_label": 1,
    }  # fmt: skip


def test_the_order_of_rows_and_the_size_of_blocks_do_not_matter(tmp_path: Path) -> None:
    rows = planted()
    rng = np.random.default_rng(5)
    shuffled = {split: {k: v[order] for k, v in part.items()} for split, part in rows.items()
                for order in [rng.permutation(SIZES[split])]}  # fmt: skip
    settings = Settings(sample=40)
    first = audit(dataset(rows, tmp_path / "one"), settings=settings)
    other = audit(dataset(shuffled, tmp_path / "two"), settings=Settings(sample=40, block_bytes=4096))
    assert first.pop("content_sha256") != other.pop("content_sha256")
    assert json_text(first) == json_text(other)
    near = first["near_duplicates"]["test in train"]
    assert near["compared"] == 40 < near["rows"]
    low, high = near["interval_95"]
    assert low == pytest.approx(beta.ppf(0.025, near["found"], 41 - near["found"]), abs=1e-6)
    assert high == pytest.approx(beta.ppf(0.975, near["found"] + 1, 40 - near["found"]), abs=1e-6)


def test_columns_can_be_chosen(tmp_path: Path) -> None:
    data = dataset(plain_rows(), tmp_path / "repo")
    assert list(audit(data, ["y"])["group_overlap"]) == ["y"]
    with pytest.raises(UserError, match=r"no column 'recordid' with one value a row\. Did you mean 'record_id'\?"):
        audit(data, ["recordid"])
    with pytest.raises(UserError, match="no column 'x' with one value a row"):
        audit(data, ["x"])


MADE = list(TASKS)


@pytest.mark.parametrize("task", MADE)
def test_every_twin_is_audited_and_its_repository_stays_sound(
    synthetic_repo: Callable[[str], Path], tmp_path: Path, task: str
) -> None:
    folder = Path(shutil.copytree(synthetic_repo(task), tmp_path / task))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = audit(load_task(task, folder))
    assert write_audit(folder, found) == ["audit.json", "README.md"]
    text = (folder / "audit.json").read_text()
    assert json.loads(text) == found
    assert found["content_sha256"] == read_manifest(folder).content_sha256
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert changed == {"README.md"}
    faults = {(fault.severity, fault.code) for fault in verify(folder, quick=True)}
    assert faults - {("warning", "class_absent")} == {("warning", "provenance")}
    group = TASKS[task].spec.group
    if group is not None:
        assert all(found["group_overlap"][group][f"{one} in {other}"]["common"] == 0 for one, other in PAIRS)


def test_inputs_and_keys_are_told_by_their_columns() -> None:
    columns = {
        "id": Column("string"),
        "seq": Column("string"),
        "level": Column("float32"),
        "visit": Column("int32"),
        "profile": Column("float32", (None, 22)),
        "kinds": Column("int64", (None,), names=("a", "b")),
        "ignore": Column("uint8", (8, 8)),
        "y": Column("float16", (None, None)),
    }
    assert list(input_columns(columns)) == ["profile"]
    assert list(input_columns({**columns, "x": Column("uint8", (8, 8))})) == ["x"]
    assert group_columns(columns) == ["seq", "visit"]


def shift(task: str, one: Array, other: Array) -> dict[str, Any]:
    spec = TASKS[task].spec
    return compare(summarise(one, spec, None), summarise(other, spec, None), spec, np.random.default_rng(0))


def test_shift_of_classes() -> None:
    rng = np.random.default_rng(0)
    alike = shift("ecg", rng.integers(0, 4, 400), rng.integers(0, 4, 3000))
    assert alike["total_variation"] <= alike["by_chance_95_percent"] and alike["p_value"] > 0.05
    apart = shift("ecg", np.zeros(50, np.int64), np.full(70, 3))
    assert (apart["total_variation"], apart["p_value"]) == (1, round(1 / 1001, 9))
    assert shift("ecg", np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))["total_variation"] == 0.25


def test_the_level_of_chance_is_that_of_random_partitions() -> None:
    rng = np.random.default_rng(1)
    pool = rng.choice(4, 500, p=[0.7, 0.2, 0.05, 0.05])
    below = 0
    for _ in range(100):
        drawn = rng.permutation(pool)
        below += shift("ecg", drawn[:100], drawn[100:])["p_value"] <= 0.1
    assert 2 <= below <= 22  # of 100 at 10 %; outside by chance in 1 of 1,000


def test_classes_are_counted_by_group() -> None:
    found = summarise(np.array([1, 1, 1, 2]), TASKS["ecg"].spec, np.array(["a", "a", "a", "b"]))
    assert (found["units"], found["counts"].tolist()) == (2, [0, 1, 1, 0])


def test_shift_of_labels() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.random((n, 36)) < 0.2 for n in (500, 4000))
    assert shift("deepsea", one.astype(np.uint8), other.astype(np.uint8))["labels_that_differ"] <= 1
    moved = one.copy()
    moved[:, 7] = True
    found = shift("deepsea", moved.astype(np.uint8), other.astype(np.uint8))
    assert found["label_of_largest_difference"] == 7
    assert found["largest_difference"] == pytest.approx(1 - other[:, 7].mean(), abs=1e-5)
    lists = np.empty(3, dtype=object)
    lists[:] = [np.array([0, 199]), np.array([], np.int64), np.array([199])]
    counts = summarise(lists, TASKS["fsd50k"].spec, None)["counts"]
    assert (counts[0], counts[199], counts.sum()) == (1, 2, 3)


def test_shift_of_maps() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(300, 5, 5)) + rng.normal(size=(300, 1, 1))
    assert shift("darcy_flow", maps[:100], maps[100:])["p_value"] > 0.01
    moved = shift("darcy_flow", maps[:100] + 1, maps[100:])
    assert moved["p_value"] < 1e-6 and moved["difference_of_means"] == pytest.approx(1, abs=0.3)
    flat = shift("darcy_flow", np.ones((3, 2, 2)), np.ones((4, 2, 2)))
    assert (flat["standardised_difference"], flat["p_value"]) == (None, None)
