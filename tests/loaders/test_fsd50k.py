from __future__ import annotations

import csv
import io
import shutil
import subprocess
import wave
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas360.errors import RawDataError
from nas360.loaders import TASKS
from nas360.loaders.data import Batches, TaskData
from nas360.loaders.fsd50k import CLIPS_A_PIECE, clip_frames, open_raw
from nas360.loaders.fsd50k_tables import check_vocabulary, clips_of, read_tables
from nas360.loaders.labels import FSD50K_LABELS
from nas360.loaders.log_mel import n_frames
from nas360.loaders.prepare import prepare
from nas360.loaders.synthetic.fsd50k import csv_text
from nas360.metrics import METRICS
from nas360.task import SPLITS, SplitName

DEV_HEADER = ["fname", "labels", "mids", "split"]
EVAL_HEADER = DEV_HEADER[:3]
TASK = TASKS["fsd50k"]


def _wav(n: int = 3000, rate: int = 22050, seed: int = 0) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.random.default_rng(seed).integers(-9999, 9999, n).astype("<i2").tobytes())
    return stream.getvalue()


def _vocabulary() -> list[list[str]]:
    return [[str(index), label, f"/m/{index}"] for index, label in enumerate(FSD50K_LABELS)]


def _raw(
    folder: Path,
    dev: list[list[str]] | None = None,
    evaluation: list[list[str]] | None = None,
    sounds: Mapping[str, bytes] | None = None,
) -> Path:
    """A raw folder: clips 1 to 4 for training, 5 and 6 for validation, 7 and 8 for test."""
    both = [FSD50K_LABELS[3], ",".join(FSD50K_LABELS[k] for k in (7, 2))]
    dev = dev or [DEV_HEADER, *([str(k), both[k % 2], "/m/1", "train" if k < 5 else "val"] for k in range(1, 7))]
    evaluation = evaluation or [EVAL_HEADER, *([str(k), both[k % 2], "/m/1"] for k in (7, 8))]
    truth = folder / "FSD50K.ground_truth"
    truth.mkdir(parents=True, exist_ok=True)
    for name, rows in (("dev", dev), ("eval", evaluation), ("vocabulary", _vocabulary())):
        (truth / f"{name}.csv").write_text(csv_text(rows))
    sounds = {str(k): _wav(seed=k) for k in range(1, 9)} | dict(sounds or {})
    for name, content in sounds.items():
        part = folder / f"FSD50K.{'dev' if int(name) < 7 else 'eval'}_audio"
        part.mkdir(exist_ok=True)
        (part / f"{name}.wav").write_bytes(content)
    return folder


def _ids(folder: Path) -> dict[str, list[str]]:
    opened = open_raw(folder)
    return {split: [str(name) for rows in opened.splits[split]() for name in rows["id"]] for split in SPLITS}


def test_rows_are_the_clips_of_the_tables_in_their_order(tmp_path: Path) -> None:
    _raw(tmp_path)
    assert _ids(tmp_path) == {"train": ["1", "2", "3", "4"], "validation": ["5", "6"], "test": ["7", "8"]}
    (rows,) = open_raw(tmp_path).splits["train"]()
    assert [labels.tolist() for labels in rows["y"]] == [[2, 7], [3], [2, 7], [3]]
    assert all(labels.dtype == np.int64 for labels in rows["y"])
    np.testing.assert_array_equal(rows["x"][2], clip_frames(_wav(seed=3)))
    assert rows["x"][2].dtype == np.float16


def test_the_same_bytes_from_any_number_of_workers(tmp_path: Path) -> None:
    """Three pieces, with a clip that is left out in each but the first."""
    clips = [["5", "Bark", "", "val"], *([str(100 + k), FSD50K_LABELS[k], "", "train"] for k in range(130))]
    sounds = {str(100 + k): _wav(700 + 5 * k, seed=k) for k in range(130)} | {"170": b"", "220": b""}
    raw = _raw(tmp_path / "raw", [DEV_HEADER, *clips])
    for name, content in sounds.items():
        (raw / "FSD50K.dev_audio" / f"{name}.wav").write_bytes(content)
    opened = open_raw(raw)
    sizes = [len(rows["id"]) for rows in opened.splits["train"]()]
    assert sizes == [CLIPS_A_PIECE, CLIPS_A_PIECE - 1, 29]
    one, two = (prepare(TASK, raw, tmp_path / str(workers), workers=workers) for workers in (1, 2))
    assert one.skipped["empty file"] == two.skipped["empty file"] == ("170", "220")
    for file in sorted((tmp_path / "1" / "data").iterdir()):
        assert (tmp_path / "2" / "data" / file.name).read_bytes() == file.read_bytes()


def test_the_real_clips_are_read_whole(real_data: Path) -> None:
    """Lengths and labels against the csv and wav modules alone."""
    folder = real_data / "fsd50k"
    opened = open_raw(folder)
    assert opened.n_units == {"train": 64, "validation": 11, "test": 36}
    assert not opened.skipped
    expected = {}
    for table, part in (("dev", "dev"), ("eval", "eval")):
        with (folder / f"FSD50K.ground_truth/{table}.csv").open(newline="") as stream:
            for row in csv.DictReader(stream):
                with wave.open(str(folder / f"FSD50K.{part}_audio" / f"{row['fname']}.wav")) as sound:
                    samples = -(-sound.getnframes() // 2)
                expected[row["fname"]] = (samples, set(row["labels"].split(",")), row.get("split", "test"))
    (rows,) = open_raw(folder).splits["validation"]()
    assert list(rows["id"]) == [name for name, (_, _, split) in expected.items() if split == "val"]
    for name, x, y in zip(rows["id"], rows["x"], rows["y"], strict=True):
        samples, labels, _ = expected[str(name)]
        assert x.shape == (n_frames(samples), 96)
        assert {FSD50K_LABELS[index] for index in y} == labels
        assert (np.diff(y) > 0).all()
        assert np.isfinite(x).all()


def test_the_real_clips_become_a_dataset(real_data: Path, tmp_path: Path) -> None:
    manifest = prepare(TASK, real_data / "fsd50k", tmp_path / "repo")
    assert manifest.provenance == "partial"
    data = TaskData(TASK, tmp_path / "repo", "here")
    shapes = [batch.x.shape for batch in Batches(data.rows("test"), data.preprocessing("train"), 8)]
    assert {shape[1:] for shape in shapes} == {(1, 96, 101)}


def _pack(folder: Path, target: Path) -> Path:
    """The same raw data as it is downloaded: tables in an archive, sounds in archives that were cut into parts."""
    target.mkdir()
    for name in ("FSD50K.dev_audio", "FSD50K.eval_audio"):
        archive = str(target / f"{name}.zip")
        subprocess.run(["zip", "-q", "-r", "-0", "-s", "64k", archive, name], cwd=folder, check=True)
    with zipfile.ZipFile(target / "FSD50K.ground_truth.zip", "w") as archive_of_tables:
        for file in sorted((folder / "FSD50K.ground_truth").iterdir()):
            archive_of_tables.write(file, f"FSD50K.ground_truth/{file.name}")
    return target


@pytest.mark.skipif(shutil.which("zip") is None, reason="needs Info-ZIP's zip, by which such archives are made")
def test_archives_in_parts_give_the_same_as_folders(tmp_path: Path) -> None:
    raw = _raw(tmp_path / "raw", sounds={str(k): _wav(40_000, seed=k) for k in (1, 2, 8)})
    packed = _pack(raw, tmp_path / "packed")
    assert (packed / "FSD50K.dev_audio.z01").exists()
    unpacked = prepare(TASK, raw, tmp_path / "a")
    from_parts = prepare(TASK, packed, tmp_path / "b", workers=2)
    assert from_parts.content_sha256 == unpacked.content_sha256
    assert {"FSD50K.dev_audio.z01", "FSD50K.dev_audio.zip", "FSD50K.ground_truth.zip"} < set(from_parts.sources)
    assert set(unpacked.sources) == {"FSD50K.dev_audio", "FSD50K.eval_audio", "FSD50K.ground_truth"}
    (packed / "FSD50K.dev_audio.z01").unlink()
    (packed / "FSD50K.ground_truth.zip").unlink()
    with pytest.raises(RawDataError, match=r"lacks FSD50K\.ground_truth\.zip, FSD50K\.dev_audio\.z01\."):
        open_raw(packed)


def test_an_archive_in_one_piece_is_read_too(tmp_path: Path) -> None:
    raw = _raw(tmp_path)
    folder = raw / "FSD50K.eval_audio"
    with zipfile.ZipFile(raw / "FSD50K.eval_audio.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"FSD50K.eval_audio/{file.name}")
            archive.writestr(f"__MACOSX/FSD50K.eval_audio/._{file.name}", b"what a Mac adds")
    shutil.rmtree(folder)
    assert _ids(raw)["test"] == ["7", "8"]
    assert not open_raw(raw).skipped


def test_all_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RawDataError, match="lacks ") as caught:
        open_raw(tmp_path)
    for source in TASK.spec.sources:
        assert source.filename in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"no sound at all", "not a readable PCM wav file"),
        (_wav()[:-10], "truncated wav file"),
        (_wav(0), "no samples"),
        (_wav(660), "shorter than one frame (30 ms)"),
        (_wav(1320, 44100), "shorter than one frame (30 ms)"),
        (_wav(4000, 4000), "sample rate outside 8,000 to 192,000 Hz"),
        (_wav(8000 * 61, 8000), "longer than 60 s"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_clips_that_cannot_be_used_are_named_and_left_out(tmp_path: Path, content: bytes, reason: str) -> None:
    raw = _raw(tmp_path / "raw", sounds={"2": content, "8": content})
    manifest = prepare(TASK, raw, tmp_path / "out")
    assert manifest.skipped == {reason: ("2", "8")}
    assert {split: manifest.splits[split].rows for split in SPLITS} == {"train": 3, "validation": 2, "test": 1}


def test_a_clip_of_one_frame_is_used(tmp_path: Path) -> None:
    (rows,) = open_raw(_raw(tmp_path, sounds={"7": _wav(661)})).splits["test"]()
    assert rows["x"][0].shape == (4, 96)


def test_the_hidden_files_of_a_mac_are_passed_over(tmp_path: Path) -> None:
    raw = _raw(tmp_path)
    (raw / "FSD50K.eval_audio" / "._7.wav").write_bytes(b"what a Mac adds")
    assert not open_raw(raw).skipped


def test_a_damaged_archive_is_refused_with_the_clip(tmp_path: Path) -> None:
    """Other than a clip that was damaged before it was packed, this is mended by getting the archive anew."""
    raw = _raw(tmp_path)
    with zipfile.ZipFile(raw / "FSD50K.eval_audio.zip", "w") as archive:
        for name in "78":
            archive.writestr(f"FSD50K.eval_audio/{name}.wav", _wav())
    content = bytearray((raw / "FSD50K.eval_audio.zip").read_bytes())
    content[1000] ^= 1
    (raw / "FSD50K.eval_audio.zip").write_bytes(content)
    with pytest.raises(RawDataError, match=r"FSD50K\.eval_audio\.zip: damaged .*'FSD50K\.eval_audio/7\.wav'"):
        prepare(TASK, raw, tmp_path / "out")


def test_clips_without_a_sound_and_sounds_without_labels_are_named(tmp_path: Path) -> None:
    raw = _raw(tmp_path)
    (raw / "FSD50K.dev_audio" / "2.wav").rename(raw / "FSD50K.dev_audio" / "99.wav")
    (raw / "FSD50K.eval_audio" / "8.wav").unlink()
    opened = open_raw(raw)
    assert opened.skipped == {"no audio file": ("2", "8"), "audio file without labels": ("99",)}
    assert opened.n_units == {"train": 3, "validation": 2, "test": 1}


def test_a_split_without_any_sound_is_refused(tmp_path: Path) -> None:
    raw = _raw(tmp_path)
    for file in (raw / "FSD50K.eval_audio").iterdir():
        file.unlink()
    with pytest.raises(RawDataError, match="no clip of test has an audio file"):
        open_raw(raw)


OFFICIAL: dict[str, SplitName] = {"train": "train", "val": "validation"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "must begin with the line fname,labels,mids,split"),
        ([EVAL_HEADER], "must begin with the line fname,labels,mids,split"),
        ([DEV_HEADER, ["1", "Bark", "/m/1"]], "row 1 has 3 fields, must have 4"),
        ([DEV_HEADER, ["1", "Bark", "", "train"], ["2", "Woof", "", "val"]], "row 2, clip 2: label 'Woof'"),
        ([DEV_HEADER, ["1", "", "", "train"]], "clip 1: label ''"),
        ([DEV_HEADER, ["1", "Bark,", "", "train"]], "clip 1: label ''"),
        ([DEV_HEADER, ["1", "Bark", "", "test"]], "split 'test', must be one of train, val"),
        ([DEV_HEADER, ["1", "Bark", "", ""]], "split '', must be one of train, val"),
        ([DEV_HEADER, ["1", "Bark", "", "val"], ["1", "Bell", "", "train"]], "row 2: the clip 1 stands there twice"),
        ([DEV_HEADER, ["../1", "Bark", "", "val"]], r"names the clip '\.\./1'"),
        ([DEV_HEADER, ["", "Bark", "", "val"]], "names the clip ''"),
        ([DEV_HEADER, ["1" * 13, "Bark", "", "val"]], "names the clip '1111"),
        ([DEV_HEADER, ["\u0661", "Bark", "", "val"]], "names the clip"),
    ],
)
def test_faulty_tables_are_refused(rows: list[list[str]], message: str) -> None:
    with pytest.raises(RawDataError, match=message):
        clips_of(rows, "dev.csv", OFFICIAL)


def test_a_clip_on_both_sides_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RawDataError, match=r"dev\.csv and eval\.csv both name 6 \(1 clips\)"):
        open_raw(_raw(tmp_path, evaluation=[EVAL_HEADER, ["6", "Bark", ""], ["7", "Bark", ""]]))


@pytest.mark.parametrize("fault", ["swapped", "short", "other"])
def test_another_vocabulary_is_refused(fault: str) -> None:
    rows = _vocabulary()
    check_vocabulary(rows)
    if fault == "swapped":
        rows[3], rows[4] = rows[4], rows[3]
    elif fault == "short":
        rows.pop()
    else:
        rows[199][1] = "Zither"
    with pytest.raises(RawDataError, match="not the official one of 200 lines"):
        check_vocabulary(rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", "not a readable table"), (b'1,"open', "not a readable table"), (b"a,b\x00\r\n" * 3, "must begin")],
)
def test_a_table_that_is_none_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    raw = _raw(tmp_path)
    (raw / "FSD50K.ground_truth" / "dev.csv").write_bytes(content)
    with pytest.raises(RawDataError, match=message):
        open_raw(raw)


def test_missing_and_double_tables_are_told(tmp_path: Path) -> None:
    raw = _raw(tmp_path)
    truth = raw / "FSD50K.ground_truth"
    (truth / "again").mkdir()
    shutil.copy(truth / "dev.csv", truth / "again" / "dev.csv")
    with pytest.raises(RawDataError, match=r"holds dev\.csv twice"):
        read_tables(truth)
    shutil.rmtree(truth / "again")
    (truth / "dev.csv").unlink()
    (truth / "vocabulary.csv").unlink()
    with pytest.raises(RawDataError, match=r"lacks dev\.csv, vocabulary\.csv"):
        read_tables(truth)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[1-9][0-9]{0,6}", fullmatch=True),
        st.tuples(st.sets(st.integers(0, 199), min_size=1, max_size=5), st.sampled_from(["train", "val"])),
        max_size=20,
    )
)
def test_tables_are_read_back_as_written(clips: dict[str, tuple[set[int], str]]) -> None:
    rows = [DEV_HEADER]
    for name, (labels, split) in clips.items():
        rows.append([name, ",".join(FSD50K_LABELS[k] for k in sorted(labels, reverse=True)), "", split])
    parsed = list(csv.reader(io.StringIO(csv_text(rows))))
    found = clips_of(parsed, "dev.csv", OFFICIAL)
    for name, (labels, split) in clips.items():
        assert found["train" if split == "train" else "validation"][name] == tuple(sorted(labels))
    assert sum(map(len, found.values())) == len(clips)


def test_the_twin_is_in_the_official_layout(synthetic_raw: Callable[[str], Path]) -> None:
    raw = synthetic_raw("fsd50k")
    tables = read_tables(raw / "FSD50K.ground_truth")
    assert tables["dev.csv"][0] == DEV_HEADER
    assert tables["eval.csv"][0] == EVAL_HEADER
    assert sum(file.stat().st_size for file in raw.rglob("*") if file.is_file()) < 5e6
    opened = open_raw(raw)
    assert opened.n_units == {"train": 30, "validation": 12, "test": 18}
    assert not opened.skipped
    for split in SPLITS:
        seen = {label for rows in opened.splits[split]() for labels in rows["y"] for label in labels}
        assert len(seen) == 10


def test_the_twin_is_the_same_from_the_same_seed(synthetic_raw: Callable[[str], Path], tmp_path: Path) -> None:
    for name, seed in (("same", 0), ("other", 1)):
        TASK.write_synthetic(tmp_path / name, seed)
    for file in (item for item in synthetic_raw("fsd50k").rglob("*") if item.is_file()):
        path = file.relative_to(synthetic_raw("fsd50k"))
        assert (tmp_path / "same" / path).read_bytes() == file.read_bytes()
        if path.suffix == ".wav":
            assert (tmp_path / "other" / path).read_bytes() != file.read_bytes()


def test_the_twin_can_be_learnt(synthetic_repo: Callable[[str], Path]) -> None:
    """A logistic regression on a clip's mean spectrum finds most labels; chance is about one in eight."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    data = TaskData(TASK, synthetic_repo("fsd50k"), "here")
    features, labels = {}, {}
    for split in ("train", "test"):
        (batch,) = Batches(data.rows(split), data.preprocessing("train"), 100)
        assert batch.row is not None
        means = batch.x[:, 0].mean(axis=2)
        features[split] = np.stack([means[batch.row == row].mean(axis=0) for row in range(len(batch.y))])
        labels[split] = batch.y
    learnt = labels["train"].any(axis=0)
    model = OneVsRestClassifier(LogisticRegression(C=0.01, max_iter=500)).fit(
        features["train"], labels["train"][:, learnt]
    )
    scores = np.zeros(labels["test"].shape)
    scores[:, learnt] = model.predict_proba(features["test"])
    metric = METRICS["macro_map"]
    result = metric.reduce(metric.observe(scores, labels["test"].astype(bool)), 200)
    assert result["labels_scored"] == 10
    assert float(result["score"]) > 0.7
