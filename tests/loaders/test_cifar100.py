from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas360.errors import RawDataError
from nas360.loaders import TASKS
from nas360.loaders.cifar100 import ARCHIVE, CUTOUT, PADDING, Preprocessing, crop_and_flip, cut_out, open_raw
from nas360.loaders.labels import CIFAR100_CLASSES
from nas360.seeding import derive


def _write(folder: Path, **parts: dict[bytes, Any]) -> Path:
    with tarfile.open(folder / ARCHIVE, "w:gz") as archive:
        for name, part in parts.items():
            content = pickle.dumps(part, protocol=2)
            info = tarfile.TarInfo(f"cifar-100-python/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return folder


def _parts(n: int = 10) -> dict[str, dict[bytes, Any]]:
    pixels = np.arange(n * 3072, dtype=np.uint32).astype(np.uint8).reshape(n, 3072)
    part = {b"data": pixels, b"fine_labels": [number % 100 for number in range(n)]}
    meta = {b"fine_label_names": [name.encode() for name in CIFAR100_CLASSES]}
    return {"meta": meta, "train": part, "test": dict(part)}


def test_order_planes_and_split_are_the_official_ones(tmp_path: Path) -> None:
    opened = open_raw(_write(tmp_path, **_parts()))
    assert opened.n_units == {"train": 8, "validation": 2, "test": 10}
    (train,), (validation,) = list(opened.splits["train"]()), list(opened.splits["validation"]())
    pixels = _parts()["train"][b"data"]
    # the first 1,024 bytes are the red plane, row by row
    np.testing.assert_array_equal(train["x"][0, 0].ravel(), pixels[0, :1024])
    np.testing.assert_array_equal(train["x"][3, 2, 5], pixels[3, 2048 + 5 * 32 : 2048 + 6 * 32])
    np.testing.assert_array_equal(np.concatenate([train["y"], validation["y"]]), np.arange(10))
    assert train["id"].tolist() == [f"train-{number:05d}" for number in range(8)]
    assert validation["id"].tolist() == ["train-00008", "train-00009"]


def test_the_official_sizes_give_the_official_split() -> None:
    spec = TASKS["cifar100"].spec
    assert 50_000 - round(50_000 * 0.2) == spec.splits["train"]


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("train", b"data", np.zeros((10, 3071), np.uint8), r"data is uint8\(10, 3071\), must be uint8 \(n, 3072\)"),
        ("train", b"data", np.zeros((10, 3072), np.float32), "data is float32"),
        ("train", b"data", None, "lacks the key 'data'"),
        ("test", b"fine_labels", [1, 2], "2 labels for 10 images"),
        ("test", b"fine_labels", [100] * 10, "10 labels are not whole numbers from 0 to 99, first 100"),
        ("test", b"fine_labels", ["cat"] * 10, "first 'cat'"),
        ("meta", b"fine_label_names", [b"cat"] * 100, "meta names other classes"),
    ],
)
def test_another_layout_is_refused(tmp_path: Path, part: str, key: bytes, value: object, message: str) -> None:
    parts = _parts()
    parts[part][key] = value
    with pytest.raises(RawDataError, match=message):
        open_raw(_write(tmp_path, **parts))


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    parts = _parts()
    del parts["meta"]
    with pytest.raises(RawDataError, match="lacks meta"):
        open_raw(_write(tmp_path, **parts))


def test_every_crop_is_a_window_of_the_padded_image_or_its_mirror() -> None:
    rng = derive(0, "images")
    images = rng.integers(1, 255, (40, 3, 32, 32)).astype(np.uint8)
    seen = set()
    for image, crop in zip(images, crop_and_flip(images, PADDING, derive(0, "crop")), strict=True):
        padded = np.pad(image, ((0, 0), (PADDING, PADDING), (PADDING, PADDING)))
        places = [
            (top, left, flip)
            for top in range(2 * PADDING + 1)
            for left in range(2 * PADDING + 1)
            for flip in (False, True)
            if np.array_equal(padded[:, top : top + 32, left : left + 32][..., :: -1 if flip else 1], crop)
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len({flip for *_, flip in seen}) == 2
    assert len(seen) > 30


def test_crops_and_flips_are_uniform() -> None:
    ramp = np.zeros((20_000, 1, 32, 32), np.uint8)
    ramp[:, 0] = np.arange(1, 33)[:, None]  # a row's number, whatever the flip
    rows = crop_and_flip(ramp, PADDING, derive(1, "crop"))[:, 0, 16, 16].astype(int) - 17
    counts = np.bincount(rows + PADDING, minlength=9)
    assert counts.shape == (9,)
    assert np.abs(counts / 20_000 - 1 / 9).max() < 0.01


def test_cutout_removes_one_clipped_square() -> None:
    x = np.ones((200, 2, 32, 32), np.float32)
    cut_out(x, CUTOUT, derive(0, "cut"))
    for image in x:
        np.testing.assert_array_equal(image[0], image[1])
        rows, columns = np.nonzero(image[0] == 0)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert len(rows) == height * width  # a full rectangle
        assert CUTOUT // 2 <= height <= CUTOUT
        touches = rows.min() == 0 or rows.max() == 31
        assert height == CUTOUT or touches
        assert width <= CUTOUT


def test_normalised_training_images_have_mean_0_and_deviation_1(real_data: Path) -> None:
    opened = open_raw(real_data / "cifar100")
    batch = [Preprocessing()(rows, None).x for rows in opened.splits["train"]()]
    x = np.concatenate(batch).astype(np.float64)
    np.testing.assert_allclose(x.mean(axis=(0, 2, 3)), 0, atol=0.02)
    np.testing.assert_allclose(x.std(axis=(0, 2, 3)), 1, atol=0.02)


def test_a_pickle_that_imports_something_is_refused_in_its_archive(tmp_path: Path) -> None:
    parts = _parts()
    parts["train"][b"data"] = print
    with pytest.raises(RawDataError, match=r"cifar-100-python/train: refused as a pickle: it names __builtin__\.print"):
        open_raw(_write(tmp_path, **parts))


def test_the_twin_can_be_learnt_by_the_nearest_class_mean(synthetic_repo: Callable[[str], Path]) -> None:
    from nas360.loaders.data import load_task

    data = load_task("cifar100", synthetic_repo("cifar100"))
    train, test = data.rows("train"), data.rows("test")
    x = train.column("x").reshape(len(train), -1).astype(np.float64)
    means = np.stack([x[train.column("y") == label].mean(axis=0) for label in range(100)])
    distance = ((test.column("x").reshape(len(test), 1, -1) - means) ** 2).mean(axis=2)
    assert (distance.argmin(axis=1) == test.column("y")).mean() > 0.9
