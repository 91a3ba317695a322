"""What every loader owes, tested over every task that has one; a new loader is tested by being registered."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas360.errors import DatasetError, RawDataError
from nas360.files import MIB
from nas360.loaders import TASKS
from nas360.loaders.base import SYNTHETIC_MARK, Array
from nas360.loaders.content import ContentHash
from nas360.loaders.data import Batches, TaskData, load_task
from nas360.loaders.pieces import Pieces, pieces_of
from nas360.loaders.prepare import prepare
from nas360.loaders.repository.manifest import read_manifest
from nas360.loaders.repository.parquet import fits, read_columns
from nas360.loaders.repository.verify import verify
from nas360.seeding import derive
from nas360.task import SPLITS, Dense, MultiLabel, Point

Repo = Callable[[str], Path]

pytestmark = pytest.mark.parametrize("task", TASKS)


def same_shape(found: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    """Whether a shape is as declared, where None is any size."""
    return len(found) == len(declared) and all(
        size is None or size == got for got, size in zip(found, declared, strict=True)
    )


def files_of(folder: Path) -> dict[str, bytes]:
    """Path inside a folder → content, of all files but the mark of made-up data."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != SYNTHETIC_MARK
    }


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
            assert same_shape(np.shape(row[name]), column.shape)


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


@pytest.mark.parametrize("augmented", [False, True])
def test_batches_have_the_shapes_of_the_spec(augmented: bool, data: TaskData) -> None:
    spec, preprocessing = data.spec, data.preprocessing("train")
    for split in SPLITS:
        n = min(4, len(data.rows(split)))
        batch = next(iter(Batches(data.rows(split), preprocessing, n, rng=derive(0, "test") if augmented else None)))
        n_inputs = n if batch.row is None else len(batch.row)
        space = spec.input_shape[1:] if batch.sizes is None else batch.x.shape[2:]
        assert batch.x.shape == (n_inputs, spec.input_shape[0], *space)
        assert batch.x.dtype == np.float32
        assert batch.x.flags.c_contiguous
        assert np.isfinite(batch.x).all()
        if augmented:
            assert batch.row is None
            assert batch.sizes is None
        if batch.row is not None:
            assert np.unique(batch.row).tolist() == list(range(n))
            assert (np.diff(batch.row) >= 0).all()
        if batch.sizes is not None:
            assert (batch.sizes <= space).all()
        if batch.weight is not None:
            assert batch.weight.shape == batch.y.shape
            assert batch.weight.dtype == np.float32
        match spec.output:
            case Point(n_classes=count):
                assert batch.y.shape == (n,)
                assert batch.y.dtype == np.int64
                assert 0 <= batch.y.min() <= batch.y.max() < count
            case MultiLabel(n_labels=count):
                assert batch.y.shape == (n, count)
                assert batch.y.dtype == np.float32
                assert set(np.unique(batch.y)) == {0.0, 1.0}
            case Dense():
                assert batch.y.shape == (n, *space)
                assert batch.y.dtype == np.float32
                assert np.isfinite(batch.y).all()


def test_plain_inputs_are_deterministic_and_augmentation_belongs_to_its_generator(data: TaskData) -> None:
    rows, preprocessing = data.rows("train"), data.preprocessing("train")

    def inputs(rng: np.random.Generator | None, ahead: int = 2) -> Array:
        order = np.arange(min(len(rows), 21))
        return np.concatenate([batch.x.ravel() for batch in Batches(rows, preprocessing, 7, order, rng, ahead)])

    plain = inputs(None)
    np.testing.assert_array_equal(plain, inputs(None))
    augmented = inputs(derive(0, "augment"))
    np.testing.assert_array_equal(augmented, inputs(derive(0, "augment")))
    np.testing.assert_array_equal(augmented, inputs(derive(0, "augment"), ahead=0))
    if augmented.shape != plain.shape or not np.array_equal(augmented, plain):  # the task has an augmentation
        assert not np.array_equal(augmented, inputs(derive(1, "augment")))


def test_preparation_reads_only_training_rows_to_fit(data: TaskData) -> None:
    """Inputs of test rows do not depend on the other test rows."""
    preprocessing, rows = data.preprocessing("train"), data.rows("test")
    alone = preprocessing(rows.take(np.array([0])), None)
    together = preprocessing(rows.take(np.arange(min(5, len(rows)))), None)
    for number in range(1 if alone.row is None else len(alone.row)):
        size = alone.x.shape[2:] if alone.sizes is None else tuple(alone.sizes[0])
        inside = tuple(slice(int(length)) for length in size)
        np.testing.assert_array_equal(alone.x[number][:, *inside], together.x[number][:, *inside])


def test_the_synthetic_twin_is_seeded_and_small(task: str, synthetic_raw: Repo, tmp_path: Path) -> None:
    TASKS[task].write_synthetic(tmp_path, 0)
    files = files_of(tmp_path)
    assert files == files_of(synthetic_raw(task))
    assert sum(map(len, files.values())) < 40 * MIB


def test_another_seed_is_another_twin(task: str, synthetic_raw: Repo, tmp_path: Path) -> None:
    TASKS[task].write_synthetic(tmp_path, 1)
    assert files_of(tmp_path) != files_of(synthetic_raw(task))


def test_missing_raw_files_are_named_at_once(task: str, tmp_path: Path) -> None:
    with pytest.raises(RawDataError) as caught:
        TASKS[task].loader.open_raw(tmp_path)
    wanted = {source.filename.split(".")[0] for source in TASKS[task].spec.sources if not source.optional}
    assert {name for name in wanted if name not in str(caught.value)} == set()


def read_all(task: str, folder: Path) -> list[str]:
    """Read every row of a raw distribution; the names of what was skipped."""
    opened = TASKS[task].loader.open_raw(folder)
    skipped = [opened.skipped]
    for source in (*opened.splits.values(), *opened.configs.values()):
        skipped += [piece.skipped for piece in pieces_of(source, 1)]
    return [name for part in skipped for names in part.values() for name in names]


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage"])
def test_damaged_raw_files_are_errors_or_skips_that_name_the_file(
    task: str, damage: str, synthetic_raw: Repo, tmp_path: Path
) -> None:
    raw = synthetic_raw(task)
    before = read_all(task, raw)
    # one file of every kind and folder
    chosen = {(Path(name).parent, Path(name).suffix): name for name in files_of(raw)}
    for number, name in enumerate(chosen.values()):
        folder = tmp_path / str(number)
        shutil.copytree(raw, folder, symlinks=True)
        content = (folder / name).read_bytes()
        broken = {"truncated": content[: len(content) // 2], "empty": b"", "garbage": b"\x00\xff garbage " * 1000}
        (folder / name).write_bytes(broken[damage])
        try:
            skipped = read_all(task, folder)
        except RawDataError as error:
            assert Path(name).name.split(".")[0] in str(error)
        else:
            assert any(Path(name).stem in one for one in set(skipped) - set(before)), f"{name}, {damage}: not told"
        shutil.rmtree(folder)


def test_any_number_of_workers_makes_the_same_dataset(
    task: str, synthetic_raw: Repo, synthetic_repo: Repo, tmp_path: Path
) -> None:
    if not any(
        isinstance(source, Pieces) for source in TASKS[task].loader.open_raw(synthetic_raw(task)).splits.values()
    ):
        return  # made by one process, however many are allowed
    prepare(TASKS[task], synthetic_raw(task), tmp_path / "repo", workers=2)
    assert files_of(tmp_path / "repo") == files_of(synthetic_repo(task))


def test_a_changed_parquet_file_is_refused(
    task: str, synthetic_repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_the_raw_files_at_hand_make_a_dataset(task: str, real_data: Path) -> None:
    names = {"darcy_flow": "darcy", "spherical": "cifar100"}
    opened = TASKS[task].loader.open_raw(real_data / names.get(task, task))
    assert all(opened.n_units[split] > 0 for split in SPLITS)
    for name, column in TASKS[task].loader.columns.items():
        values = next(iter(opened.splits["test"]()))[name]
        if column.ragged:
            assert all(fits(value, column) for value in values)
        else:
            assert values.shape[1:] == column.shape


def test_verify_finds_no_fault(task: str, synthetic_repo: Repo) -> None:
    assert [fault for fault in verify(synthetic_repo(task)) if fault.severity == "error"] == []
