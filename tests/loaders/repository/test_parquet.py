from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nas360.errors import DatasetError
from nas360.files import MIB
from nas360.loaders.base import Array, Column, Rows
from nas360.loaders.content import ContentHash
from nas360.loaders.repository import parquet

COLUMNS = {
    "id": Column("string"),
    "bytes": Column("uint8", (3, 4, 5)),
    "field": Column("float32", (6, 7)),
    "series": Column("float32", (8,)),
    "count": Column("int64"),
    "y": Column("int64", names=("no", "yes")),
    "labels": Column("int64", (None,), names=("a", "b", "c")),
    "frames": Column("float16", (None, 5)),
    "map": Column("float32", (None, None)),
    "maps": Column("uint8", (None, None, 2)),
}


def _objects(values: list[Array]) -> Array:
    out = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        out[row] = value
    return out


def _rows(start: int, stop: int) -> Rows:
    rng = np.random.default_rng(7)
    n = stop
    rows = {
        "id": np.array([f"row-{number:04d}" for number in range(n)]),
        "bytes": rng.integers(0, 256, (n, 3, 4, 5)).astype(np.uint8),
        "field": rng.normal(size=(500, 6, 7)).astype(np.float32)[:n],
        "series": rng.normal(size=(500, 8)).astype(np.float32)[:n],
        "count": np.arange(n),
        "y": np.arange(n) % 2,
        "labels": _objects([np.flatnonzero([row % 2, row % 3 == 0, row % 5 == 0]) for row in range(n)]),
        "frames": _objects([np.full((row % 7, 5), row, np.float16) for row in range(n)]),
        "map": _objects([np.arange((1 + row % 4) ** 2, dtype=np.float32).reshape(1 + row % 4, -1) for row in range(n)]),
        "maps": _objects([np.full((1 + row % 2, 1 + row % 3, 2), row % 256, np.uint8) for row in range(n)]),
    }
    return {name: values[start:stop] for name, values in rows.items()}


def _batches(total: int, size: int) -> Iterator[Rows]:
    whole = _rows(0, total)
    for start in range(0, total, size):
        yield {name: values[start : start + size] for name, values in whole.items()}


def _read(paths: list[Path], batch_rows: int = 4096) -> dict[str, object]:
    parts = list(parquet.read_columns(paths, COLUMNS, batch_rows))
    return {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP", replace(parquet.GROUP, n_bytes=10_000))
    monkeypatch.setattr(parquet, "SHARD_BYTES", 40_000)


@pytest.mark.usefixtures("small_groups")
def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    shards = parquet.write_split(tmp_path, "train", COLUMNS, _batches(300, 17))
    assert len(shards) > 2
    assert [shard.path.name for shard in shards] == [
        f"train-{number:05d}-of-{len(shards):05d}.parquet" for number in range(len(shards))
    ]
    assert sum(shard.rows for shard in shards) == 300
    back = _read([shard.path for shard in shards], batch_rows=11)
    for name, values in _rows(0, 300).items():
        assert np.asarray(back[name]).dtype.kind == values.dtype.kind
        if values.dtype != object:
            np.testing.assert_array_equal(back[name], values)
            continue
        for one, other in zip(np.asarray(back[name]), values, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.usefixtures("small_groups")
def test_the_bytes_do_not_depend_on_the_batches(tmp_path: Path) -> None:
    written = [
        parquet.write_split(tmp_path / str(size), "train", COLUMNS, _batches(200, size)) for size in (1, 7, 64, 200)
    ]
    assert len({tuple(shard.sha256 for shard in shards) for shards in written}) == 1


def test_an_empty_split_is_one_file_with_the_schema(tmp_path: Path) -> None:
    shards = parquet.write_split(tmp_path, "test", COLUMNS, iter(()))
    assert [shard.path.name for shard in shards] == ["test-00000-of-00001.parquet"]
    assert pq.read_schema(shards[0].path).names == list(COLUMNS)


def test_the_file_is_as_the_hub_likes_it(tmp_path: Path) -> None:
    shard = parquet.write_split(tmp_path, "train", COLUMNS, _batches(100, 50))[0]
    file = pq.ParquetFile(shard.path)
    group = file.metadata.row_group(0)
    found = {
        group.column(number).path_in_schema.split(".")[0]: group.column(number) for number in range(group.num_columns)
    }
    assert {column.compression for column in found.values()} == {"ZSTD"}
    assert "BYTE_STREAM_SPLIT" in found["field"].encodings
    assert "BYTE_STREAM_SPLIT" in found["series"].encodings
    assert "RLE_DICTIONARY" in found["bytes"].encodings
    assert "RLE_DICTIONARY" not in found["id"].encodings
    assert all(column.has_offset_index for column in found.values())
    assert b"huggingface" in (file.schema_arrow.metadata or {})


def test_a_failing_source_leaves_no_finished_file(tmp_path: Path) -> None:
    def failing() -> Iterator[Rows]:
        yield _rows(0, 10)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        parquet.write_split(tmp_path, "train", COLUMNS, failing())
    assert not list(tmp_path.glob("train-*.parquet"))


def test_wrong_values_are_refused(tmp_path: Path) -> None:
    rows = dict(_rows(0, 5)) | {"field": np.zeros((5, 6, 8), np.float32)}
    with pytest.raises(ValueError, match=r"got float32\(6, 8\), the column is float32\(6, 7\)"):
        parquet.write_split(tmp_path, "train", COLUMNS, [rows])


def test_row_groups_are_bounded_in_bytes_where_sizes_vary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP", replace(parquet.GROUP, n_bytes=4_000))
    columns = {"id": Column("string"), "x": Column("float32", (None,))}
    sizes = [10, 900, 10, 10, 2000, 10, 500]  # 40, 3600, 40, 40, 8000, 40, 2000 bytes and 16 a row for the id
    rows = {
        "id": np.array([str(number) for number in range(7)]),
        "x": _objects([np.zeros(n, np.float32) for n in sizes]),
    }
    shard = parquet.write_split(tmp_path, "train", columns, [rows])[0]
    metadata = pq.ParquetFile(shard.path).metadata
    # a value above the limit has a group of its own
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [4, 1, 2]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("frames", np.zeros((3, 4), np.float16), r"got float16\(3, 4\), the column is float16\(None, 5\)"),
        ("frames", np.zeros((3, 5), np.float32), r"got float32\(3, 5\), the column is float16"),
        ("frames", [1.0], "got list"),
        ("labels", np.zeros((), np.int64), r"got int64\(\)"),
        ("map", np.zeros((0, 3), np.float32), r"got float32\(0, 3\)"),
    ],
)
def test_wrong_values_of_varying_size_are_refused(name: str, value: object, message: str, tmp_path: Path) -> None:
    rows = dict(_rows(0, 3))
    rows[name] = rows[name].copy()
    rows[name][1] = value
    with pytest.raises(ValueError, match=message):
        parquet.write_split(tmp_path, "train", COLUMNS, [rows])


@pytest.mark.parametrize(
    ("written", "declared"),
    [
        (Column("float32", (None, 5)), Column("float32", (None, 4))),
        (Column("float32", (None, 5)), Column("float32", (None,))),
        (Column("float32", (None,)), Column("float32", (None, 5))),
        (Column("float32", (None,)), Column("float32", (None, None))),
    ],
)
def test_other_nesting_than_declared_is_told(written: Column, declared: Column, tmp_path: Path) -> None:
    shape = tuple(size or 3 for size in written.shape)
    rows = {"id": np.array(["a", "b"]), "x": _objects([np.zeros(shape, np.float32)] * 2)}
    path = parquet.write_split(tmp_path, "train", {"id": Column("string"), "x": written}, [rows])[0].path
    with pytest.raises(DatasetError, match="not of shape"):
        list(parquet.read_columns([path], {"x": declared}))


def test_lists_of_one_row_that_differ_in_length_are_told(tmp_path: Path) -> None:
    path = tmp_path / "ragged.parquet"
    pq.write_table(pa.table({"x": pa.array([[[1.0], [1.0, 2.0]]], pa.list_(pa.list_(pa.float32())))}), path)
    with pytest.raises(DatasetError, match="not of shape"):
        list(parquet.read_columns([path], {"x": Column("float32", (None, None))}))


def test_the_datasets_library_reads_values_of_varying_size(tmp_path: Path) -> None:
    shard = parquet.write_split(tmp_path / "data", "train", COLUMNS, _batches(20, 20))[0]
    dataset = datasets.load_dataset(
        "parquet", data_files=str(shard.path), split="train", cache_dir=str(tmp_path / "cache")
    )
    rows = _rows(0, 20)
    assert dataset.features["labels"] == datasets.List(datasets.ClassLabel(names=["a", "b", "c"]))
    for number in (0, 5, 6):
        assert dataset[number]["labels"] == rows["labels"][number].tolist()
        assert dataset[number]["frames"] == rows["frames"][number].tolist()
        assert dataset.with_format("numpy")[number]["map"].tolist() == rows["map"][number].tolist()


def test_damaged_files_are_errors_of_ours(tmp_path: Path) -> None:
    path = parquet.write_split(tmp_path, "train", COLUMNS, _batches(100, 50))[0].path
    with pytest.raises(DatasetError, match="lacks the columns absent"):
        list(parquet.read_columns([path], {"absent": Column("int64")}))
    with pytest.raises(DatasetError, match="must hold"):
        list(parquet.read_columns([path], {"series": Column("float32", (9,))}))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetError, match="not a readable Parquet file"):
        list(parquet.read_columns([path], COLUMNS))


def test_a_small_file_cannot_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 16 * MIB)
    path = tmp_path / "packed.parquet"
    one = pa.array(np.zeros(5 * MIB, np.float32))
    pq.write_table(pa.table({"x": pa.ListArray.from_arrays(pa.array([0, len(one)], pa.int32()), one)}), path)
    assert path.stat().st_size < MIB
    for column in (Column("float32", (None,)), Column("float32", (46,))):
        with pytest.raises(DatasetError, match=r"x\.list\.element has 20 MiB in one row group"):
            list(parquet.read_columns([path], {"x": column}))


@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("text", ["a" * 1000, None])
def test_texts_that_are_long_or_empty_are_told(text: str | None, dictionary: bool, tmp_path: Path) -> None:
    path = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"id": pa.array(["b", text, "c"])}), path, use_dictionary=dictionary)
    with pytest.raises(DatasetError, match="holds empty values, or one of more than 512 bytes"):
        list(parquet.read_columns([path], {"id": Column("string")}))


def test_the_content_hash_knows_values_and_order_and_nothing_of_batches() -> None:
    def digest(total: int, size: int, change: str | None = None) -> str:
        content = ContentHash(COLUMNS)
        for number, rows in enumerate(_batches(total, size)):
            rows = dict(rows)
            if change and number == 0:
                rows[change] = rows[change][::-1] if change == "id" else rows[change] + 1
            content.update(rows)
        return content.hexdigest()

    reference = digest(60, 60)
    assert {digest(60, size) for size in (1, 13, 59)} == {reference}
    assert digest(59, 59) != reference
    for name in COLUMNS:
        assert digest(60, 60, change=name) != reference


def test_strings_that_run_together_differ() -> None:
    columns = {"id": Column("string")}
    digests = set()
    for texts in (["ab", "c"], ["a", "bc"], ["abc", ""]):
        content = ContentHash(columns)
        content.update({"id": np.array(texts)})
        digests.add(content.hexdigest())
    assert len(digests) == 3
