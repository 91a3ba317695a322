"""What every loader owes, tested over every task that has one; a new loader is tested by being registered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas360.errors import DatasetError, RawDataError
from nas360.loaders import TASKS
from nas360.loaders.content import ContentHash
from nas360.loaders.data import Batches, TaskData, load_task
from nas360.loaders.manifest import read_manifest
from nas360.loaders.parquet import read_columns
from nas360.seeding import derive
from nas360.task import SPLITS, Dense, MultiLabel, Point

LOADED = [name for name in TASKS if TASKS[name].make_loader is not None]
Repo = Callable[[str], Path]

pytestmark = pytest.mark.parametrize("task", LOADED)


@pytest.fixture
def data(task: str, synthetic_repo: Repo) -> TaskData:
    return load_task(task, synthetic_repo(task))


def test_load_dataset_reads_it(task: str, synthetic_repo: Repo) -> None:
    import datasets

    repo = synthetic_repo(task)
    loaded = datasets.load_dataset(str(repo))
    manifest = read_manifest(repo)
    columns = TASKS[task].loader.columns
    for split in SPLITS:
        assert loaded[split].num_rows == manifest.splits[split].rows
        assert list(loaded[split].features) == list(columns)
        row = loaded[split].with_format("numpy")[0]
        for name, column in columns.items():
            assert np.shape(row[name]) == column.shape


def test_streaming_gives_the_same_rows(task: str, synthetic_repo: Repo, data: TaskData) -> None:
    import datasets

    streamed = datasets.load_dataset(str(synthetic_repo(task)), split="test", streaming=True).with_format("numpy")
    rows = data.rows("test")
    for number, row in zip(range(3), streamed, strict=False):
        for name in TASKS[task].loader.columns:
            np.testing.assert_array_equal(row[name], rows.column(name)[number])
    del streamed, row


def test_ids_are_unique_over_all_splits(data: TaskData) -> None:
    ids = data.rows(*SPLITS).ids
    assert len(np.unique(ids)) == len(ids)


def test_units_of_a_group_stay_in_one_split(data: TaskData) -> None:
    column = data.spec.group
    if column is None:
        assert all(data.manifest.splits[split].units == data.manifest.splits[split].rows for split in SPLITS)
        return
    groups = {split: set(data.rows(split).column(column).tolist()) for split in SPLITS}
    assert {split: len(groups[split]) for split in SPLITS} == {
        split: data.manifest.splits[split].units for split in SPLITS
    }
    assert not groups["train"] & groups["validation"]
    assert not (groups["train"] | groups["validation"]) & groups["test"]


def test_the_content_hash_is_that_of_the_files(task: str, synthetic_repo: Repo) -> None:
    manifest = read_manifest(synthetic_repo(task))
    columns = TASKS[task].loader.columns
    for split in SPLITS:
        content = ContentHash(columns)
        for rows in read_columns(
            [synthetic_repo(task) / file.path for file in manifest.splits[split].files], columns, 37
        ):
            content.update(rows)
        assert content.hexdigest() == manifest.splits[split].content_sha256


def test_batches_have_the_shapes_of_the_spec(data: TaskData) -> None:
    preprocessing = data.preprocessing("train")
    for split in SPLITS:
        batch = next(iter(Batches(data.rows(split), preprocessing, 4)))
        n = len(batch.y)
        assert batch.x.shape == (n, *data.spec.input_shape)
        assert batch.x.dtype == np.float32
        assert batch.x.flags.c_contiguous
        assert np.isfinite(batch.x).all()
        match data.spec.output:
            case Point(n_classes=count):
                assert batch.y.shape == (n,)
                assert batch.y.dtype == np.int64
                assert 0 <= batch.y.min() <= batch.y.max() < count
            case MultiLabel(n_labels=count):
                assert batch.y.shape == (n, count)
            case Dense():
                assert batch.y.shape == (n, *data.spec.input_shape[1:])
                assert batch.y.dtype == np.float32


def test_plain_inputs_are_deterministic_and_augmentation_belongs_to_its_generator(data: TaskData) -> None:
    rows, preprocessing = data.rows("train"), data.preprocessing("train")

    def inputs(rng: np.random.Generator | None, ahead: int = 2) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        order = np.arange(min(len(rows), 40))
        return np.concatenate([batch.x for batch in Batches(rows, preprocessing, 7, order, rng, ahead)])

    plain = inputs(None)
    np.testing.assert_array_equal(plain, inputs(None))
    augmented = inputs(derive(0, "augment"))
    np.testing.assert_array_equal(augmented, inputs(derive(0, "augment")))
    np.testing.assert_array_equal(augmented, inputs(derive(0, "augment"), ahead=0))
    if not np.array_equal(augmented, plain):  # the task has an augmentation
        assert not np.array_equal(augmented, inputs(derive(1, "augment")))


def test_preparation_reads_only_training_rows_to_fit(data: TaskData) -> None:
    """Inputs of test rows do not depend on the other test rows."""
    preprocessing, rows = data.preprocessing("train"), data.rows("test")
    alone = preprocessing(rows.take(np.array([0])), None).x[0]
    together = preprocessing(rows.take(np.arange(min(5, len(rows)))), None).x[0]
    np.testing.assert_array_equal(alone, together)


def test_the_synthetic_twin_is_seeded_and_small(task: str, synthetic_raw: Repo, tmp_path: Path) -> None:
    TASKS[task].write_synthetic(tmp_path, 0)
    names = {path.name for path in synthetic_raw(task).iterdir()} - {"SYNTHETIC"}
    assert {source.filename for source in TASKS[task].spec.sources} <= names
    for name in names:
        assert (tmp_path / name).read_bytes() == (synthetic_raw(task) / name).read_bytes()
        assert (tmp_path / name).stat().st_size < 40 << 20


def test_missing_raw_files_are_named_at_once(task: str, tmp_path: Path) -> None:
    names = [source.filename for source in TASKS[task].spec.sources]
    with pytest.raises(RawDataError) as caught:
        TASKS[task].loader.open_raw(tmp_path)
    assert all(name in str(caught.value) for name in names)


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage"])
def test_damaged_raw_files_are_errors_that_name_the_file(
    task: str, damage: str, synthetic_raw: Repo, tmp_path: Path
) -> None:
    for number, source in enumerate(TASKS[task].spec.sources):
        folder = tmp_path / str(number)
        folder.mkdir()
        for path in synthetic_raw(task).iterdir():
            if path.name != source.filename:
                (folder / path.name).symlink_to(path)
        content = (synthetic_raw(task) / source.filename).read_bytes()
        broken = {"truncated": content[: len(content) // 2], "empty": b"", "garbage": b"\x00\xff garbage " * 1000}[
            damage
        ]
        (folder / source.filename).write_bytes(broken)
        with pytest.raises(RawDataError) as caught:
            opened = TASKS[task].loader.open_raw(folder)
            for split in SPLITS:
                for _ in opened.splits[split]():
                    pass
        assert source.filename.split(".")[0] in str(caught.value)


def test_a_changed_parquet_file_is_refused(
    task: str, synthetic_repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setenv("NAS360_CACHE", str(tmp_path / "cache"))
    shutil.copytree(synthetic_repo(task), tmp_path / "repo")
    path = next((tmp_path / "repo" / "data").glob("test-*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="is not the file that"):
        load_task(task, tmp_path / "repo").rows("test")
    path.unlink()
    with pytest.raises(DatasetError, match="is missing"):
        load_task(task, tmp_path / "repo").rows("test")


def test_the_official_files_are_read_where_they_are(task: str, real_data: Path) -> None:
    names = {"darcy_flow": "darcy"}
    opened = TASKS[task].loader.open_raw(real_data / names.get(task, task))
    assert all(opened.n_units[split] > 0 for split in SPLITS)
    columns = TASKS[task].loader.columns
    rows = next(iter(opened.splits["test"]()))
    for name, column in columns.items():
        assert rows[name].shape[1:] == column.shape
