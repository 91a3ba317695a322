"""Predictions files: every format round, every bad file one clear message, and no input that breaks the reader."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import sys
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas360.errors import PredictionsError
from nas360.prediction_formats import JSON_ROOM, json_text
from nas360.prediction_isolation import run_apart
from nas360.prediction_tables import read_h5, read_parquet
from nas360.predictions import FORMATS, Predictions, read_predictions, write_predictions

Array = npt.NDArray[Any]
IDS = ("b-2", "a-1", "ü 3")


def same(found: Predictions, ids: tuple[str, ...] | None, values: Any) -> None:
    assert found.ids == ids
    assert len(found) == len(values)
    if isinstance(values, list):
        assert isinstance(found.values, list)
        for one, other in zip(found.values, values, strict=True):
            np.testing.assert_array_equal(one, other)
    else:
        np.testing.assert_array_equal(found.values, values)


def write(path: Path, ids: tuple[str, ...] | None, values: Any) -> None:
    """Write each format as `nas360 format` says a user would."""
    ragged = isinstance(values, list)
    if path.suffix == ".json":
        plain = [one.tolist() for one in values] if ragged else values.tolist()
        path.write_text(json.dumps(plain if ids is None else {"predictions": dict(zip(ids, plain, strict=True))}))
    elif path.suffix == ".npz" and ragged and ids is not None:
        np.savez(path, **dict(zip(ids, values, strict=True)))
    elif path.suffix == ".npz":
        if ids is None:
            np.savez_compressed(path, predictions=values)
        else:
            np.savez_compressed(path, predictions=values, ids=np.array(ids))
    elif path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".csv":
        import pandas as pd

        columns = {"id": ids} if ids is not None else {}
        table = (
            {"prediction": values}
            if values.ndim == 1
            else {f"prediction_{k}": values[:, k] for k in range(values.shape[1])}
        )
        pd.DataFrame(columns | table).to_csv(path, index=False)
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        plain = [one.tolist() for one in values] if ragged else values.tolist()
        pq.write_table(pa.table(({"id": ids} if ids is not None else {}) | {"prediction": plain}), path)
    else:
        import h5py

        with h5py.File(path, "w") as file:
            if ragged and ids is not None:
                for name, one in zip(ids, values, strict=True):
                    file[f"predictions/{name}"] = one
            else:
                file["predictions"] = [str(one) for one in values] if values.dtype.kind == "U" else values
                if ids is not None:
                    file["ids"] = list(ids)


VALUES: dict[str, Any] = {
    "classes": np.array([3, 0, 1]),
    "names": np.array(["N", "NA", "~"]),
    "scores": np.array([[0.1, -2.0], [1e-9, 3.5], [0.0, 7.25]]),
    "maps": np.arange(18, dtype=np.float64).reshape(3, 2, 3) / 4,
    "ragged": [np.eye(2), np.eye(3), np.ones((1, 1))],
}
# what a format cannot hold: .csv no maps, .npy no ids and nothing ragged
CANNOT = {(".csv", "maps"), (".csv", "ragged"), (".npy", "ragged")}


@pytest.mark.parametrize("with_ids", [True, False])
@pytest.mark.parametrize(
    ("suffix", "kind"), [(suffix, kind) for suffix in FORMATS for kind in VALUES if (suffix, kind) not in CANNOT]
)
def test_each_format_gives_what_was_written(tmp_path: Path, suffix: str, kind: str, with_ids: bool) -> None:
    ids, values = IDS if with_ids and suffix != ".npy" else None, VALUES[kind]
    if kind == "ragged" and ids is None and suffix not in (".json", ".parquet"):
        pytest.skip("needs ids, for they name the arrays")
    write(tmp_path / f"p{suffix}", ids, values)
    found = read_predictions(tmp_path / f"p{suffix}")
    if kind == "ragged" and suffix == ".h5" and found.ids is not None:
        assert sorted(found.ids) == sorted(IDS)  # HDF5 lists the members of a group in its own order
        order = [found.ids.index(name) for name in IDS]
        found = Predictions(IDS, [found.values[row] for row in order])
    same(found, ids, values)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
@pytest.mark.parametrize("kind", VALUES)
def test_own_files_come_back_and_equal_predictions_give_equal_bytes(tmp_path: Path, suffix: str, kind: str) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    write_predictions(paths[0], IDS, VALUES[kind])
    time.sleep(0.01)
    write_predictions(paths[1], list(IDS), VALUES[kind])
    same(read_predictions(paths[0]), IDS, VALUES[kind])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a{suffix}", f"b{suffix}"]


def test_float32_stays_float32(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((3, 4, 4)).astype(np.float32)
    write_predictions(tmp_path / "p.npz", None, values)
    found = read_predictions(tmp_path / "p.npz")
    assert isinstance(found.values, np.ndarray)
    assert found.values.dtype == np.float32
    same(found, None, values)


def test_the_writer_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 ids for 3 predictions"):
        write_predictions(tmp_path / "p.npz", IDS[:2], np.zeros(3))
    with pytest.raises(ValueError, match="different shapes need ids"):
        write_predictions(tmp_path / "p.npz", None, [np.zeros(1), np.zeros(2)])
    with pytest.raises(ValueError, match=r"not '\.csv'"):
        write_predictions(tmp_path / "p.csv", None, np.zeros(3))
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_predictions(tmp_path / "p.json", None, np.array([np.nan]))
    assert not list(tmp_path.iterdir())


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ids=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1, unique=True),
    suffix=st.sampled_from([".npz", ".json"]),
)
def test_any_ids_come_back(tmp_path: Path, ids: list[str], suffix: str) -> None:
    values = np.arange(len(ids))
    write_predictions(tmp_path / f"p{suffix}", ids, values)
    same(read_predictions(tmp_path / f"p{suffix}"), tuple(ids), values)


JSON_FORMS = [
    ("[1, 2]", None, np.array([1, 2])),
    ('{"predictions": [1, 2.5]}', None, np.array([1, 2.5])),
    ('{"ids": ["x", "y"], "predictions": [1, 2]}', ("x", "y"), np.array([1, 2])),
    ('{"predictions": {"x": "N", "y": "A"}}', ("x", "y"), np.array(["N", "A"])),
    ('{"predictions": {"x": [[1]], "y": [[1, 2], [3, 4]]}}', ("x", "y"), [np.array([[1]]), np.array([[1, 2], [3, 4]])]),
    ("[]", None, np.empty(0)),
]


@pytest.mark.parametrize(("text", "ids", "values"), JSON_FORMS)
def test_forms_of_json(tmp_path: Path, text: str, ids: tuple[str, ...] | None, values: Any) -> None:
    (tmp_path / "p.json").write_text(text)
    same(read_predictions(tmp_path / "p.json"), ids, values)


BAD_JSON = [
    ("{", "not JSON"),
    ("3", "holds a int"),
    ('"text"', "holds a str"),
    ("[1, NaN]", "NaN, which JSON does not allow"),
    ("[1, -Infinity]", "-Infinity, which JSON does not allow"),
    ('{"predictions": {"a": 1, "a": 2}}', "key 'a' stands twice"),
    ('{"prediction": [1]}', "holds 'prediction', where 'predictions' was expected"),
    ("{}", "holds nothing, where 'predictions' was expected"),
    ('{"id": ["a"], "predictions": [1]}', "holds 'id' beside 'predictions'"),
    ('{"predictions": 5}', "must be a list, or an object"),
    ('{"ids": ["a"], "predictions": {"a": 1}}', "without 'ids' beside it"),
    ('{"ids": [1], "predictions": [1]}', "ids must be a list of text"),
    ('{"ids": "a", "predictions": [1]}', "ids must be a list of text"),
    ('{"ids": null, "predictions": [1]}', "ids must be a list of text"),
    ("[1, null]", "of type int, null"),
    ("[1, true]", "of type bool, int"),
    ('[1, "N"]', "of type int, str"),
    ('[{"a": 1}]', "of type dict"),
    ("[[1, null]]", "holds object values"),
    ("[[[1], [1, 2]]]", "rows of different lengths"),
    ("[[[1], [1, 2]], [1]]", "rows of different lengths"),
    (f"[{10**30}]", "holds object values"),
    (f"[1.5, {10**400}]", "holds object values"),
    ("[" * 100_000, "nested too deeply"),
    ("  ", "empty, where JSON was expected"),
]


@pytest.mark.parametrize(("text", "message"), BAD_JSON)
def test_bad_json_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(PredictionsError, match=message):
        read_predictions(tmp_path / "p.json")


def test_json_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(b'["\xff"]')
    with pytest.raises(PredictionsError, match="not UTF-8"):
        read_predictions(tmp_path / "p.json")


@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_a_gigabyte_of_text_is_refused_by_size_unread(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"p{suffix}"
    with path.open("wb") as stream:
        stream.truncate(1 << 30)  # a sparse file, which takes no room

    def opened(*_: Any, **__: Any) -> None:
        pytest.fail("the file was opened")

    for way in ("open", "read_text", "read_bytes"):
        monkeypatch.setattr(Path, way, opened)
    with pytest.raises(PredictionsError, match="1,024 MiB, more than the 256 MiB allowed"):
        read_predictions(path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_empty_file_is_told(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"p{suffix}").touch()
    with pytest.raises(PredictionsError, match="is empty"):
        read_predictions(tmp_path / f"p{suffix}")


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_absent_file_and_a_folder_are_told(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(PredictionsError, match="No such file"):
        read_predictions(tmp_path / f"absent{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(PredictionsError, match="is not a file"):
        read_predictions(tmp_path / f"folder{suffix}")


@pytest.mark.parametrize("name", ["p.pkl", "p.pt", "p", "p.mat"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PredictionsError, match=r"allowed: \.json, \.npz"):
        read_predictions(tmp_path / name)


class _Bomb:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("pickle-ran",)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_no_pickle_is_ever_run(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    objects = np.array([_Bomb()], dtype=object)
    path = tmp_path / f"p{suffix}"
    np.save(path, objects, allow_pickle=True) if suffix == ".npy" else np.savez(path, predictions=objects)
    with pytest.raises(PredictionsError, match="pickled objects are never read"):
        read_predictions(path)
    path.write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(PredictionsError, match="not a whole"):
        read_predictions(path)
    assert not (tmp_path / "pickle-ran").exists()


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 22,)})
    with zipfile.ZipFile(tmp_path / "p.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("predictions.npy", "w", force_zip64=True) as member:
            member.write(header.getvalue())
            for _ in range(32):
                member.write(bytes(1 << 20))
    assert (tmp_path / "p.npz").stat().st_size < 1 << 20
    with pytest.raises(PredictionsError, match="would unpack to 32 MiB, more than the 1 MiB"):
        read_predictions(tmp_path / "p.npz", limit=1 << 20)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_header_that_promises_too_much_is_refused(tmp_path: Path, suffix: str) -> None:
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)})
    path = tmp_path / f"p{suffix}"
    path.write_bytes(content.getvalue())
    if suffix == ".npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("predictions.npy", content.getvalue())
    with pytest.raises(PredictionsError, match="would unpack to 8,589,934,592 MiB"):
        read_predictions(path)


def refused_in_little(path: Path, limit: int, message: str, room: int) -> None:
    """The file is refused with that message, and less than `room` bytes were taken on the way."""
    tracemalloc.start()
    try:
        with pytest.raises(PredictionsError, match=message):
            read_predictions(path, limit)
        assert tracemalloc.get_traced_memory()[1] < room
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("descr", "shape"), [("<U0", (60_000_000,)), ("|S0", (60_000_000,)), ("<f8", (1 << 40, 0))])
def test_rows_without_content_are_refused(tmp_path: Path, descr: str, shape: tuple[int, ...]) -> None:
    with (tmp_path / "p.npy").open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    message = "would unpack to" if descr == "<f8" else "where numbers or text were expected"
    refused_in_little(tmp_path / "p.npy", 1 << 20, message, 1 << 20)


@pytest.mark.parametrize("item", ["[]", "{}", "[1]", '[[""]]', '{"a":1}', "1.5", '"ab"'])
def test_the_memory_of_json_is_bounded_by_the_limit(tmp_path: Path, item: str) -> None:
    path, limit = tmp_path / "p.json", 1 << 20
    n = 3_000_000 // len(item)
    path.write_text("[" + f"{item}," * n + f"{item}]")
    refused_in_little(path, limit, "would unpack to", 2 * path.stat().st_size + limit)
    # as many as are let through take no more than is promised
    low, high = 0, n
    while high - low > 1:
        middle = (low + high) // 2
        path.write_text("[" + f"{item}," * middle + f"{item}]")
        try:
            json_text(path, limit)
            low = middle
        except PredictionsError:
            high = middle
    path.write_text("[" + f"{item}," * low + f"{item}]")
    tracemalloc.start()
    try:
        with contextlib.suppress(PredictionsError):
            read_predictions(path, limit)
        assert tracemalloc.get_traced_memory()[1] < JSON_ROOM * limit + 3 * path.stat().st_size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", ["[{}]", "[[{}]]", "[[[{}]]]", '{{"predictions": [[1], [{}]]}}'])
def test_one_long_text_does_not_make_all_long(tmp_path: Path, form: str) -> None:
    texts = ",".join(['"' + "x" * 50_000 + '"', *['"b"'] * 10_000])
    (tmp_path / "p.json").write_text(form.format(texts))
    refused_in_little(tmp_path / "p.json", 64 << 20, "would unpack to 1,9", 8 << 20)


@pytest.mark.parametrize("shape", [(20_000,), (20_000, 1), (4000, 36), (300, 30, 30)])
def test_json_of_as_many_numbers_as_a_split_has_is_read(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=shape)
    ids = [f"the-name-of-row-{row}" for row in range(len(values))]
    write_predictions(tmp_path / "p.json", ids, values)
    n_outputs = 4 if len(shape) == 1 or shape[1] == 1 else 1
    limit = 4 * 8 * max(values.size, len(ids) * n_outputs)  # as size_limit, without the least that it always gives
    same(read_predictions(tmp_path / "p.json", limit), tuple(ids), values)


def npz(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def array_bytes(array: Array) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def test_npz_of_another_form_is_told(tmp_path: Path) -> None:
    good = array_bytes(np.zeros(2))
    with pytest.raises(PredictionsError, match="holds 'id' beside 'predictions'"):
        read_predictions(npz(tmp_path / "a.npz", **{"predictions.npy": good, "id.npy": good}))
    with pytest.raises(PredictionsError, match="holds 'ids', where 'predictions' was expected"):
        read_predictions(npz(tmp_path / "b.npz", **{"ids.npy": good}))
    with pytest.raises(PredictionsError, match="ids must be a list of text"):
        read_predictions(npz(tmp_path / "c.npz", **{"predictions.npy": good, "ids.npy": good}))
    with pytest.raises(PredictionsError, match="two arrays of one name"):
        read_predictions(npz(tmp_path / "d.npz", **{"predictions.npy": good, "predictions": good}))
    with pytest.raises(PredictionsError, match=r"array of shape \(\)"):
        read_predictions(npz(tmp_path / "e.npz", **{"predictions.npy": array_bytes(np.array(1.0))}))
    with pytest.raises(PredictionsError, match="holds nothing"):
        read_predictions(npz(tmp_path / "f.npz"))
    with zipfile.ZipFile(tmp_path / "g.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("predictions.npy", good)
    with pytest.raises(PredictionsError, match="compressed in a way that NumPy does not use"):
        read_predictions(tmp_path / "g.npz")


def test_csv_of_another_form_is_told(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    for text, message in [
        ("id,label\na,1\n", "has the columns 'id', 'label'; allowed are"),
        ("id,prediction_0,prediction_2\na,1,2\n", "without a gap"),
        ("id,prediction,prediction_0\na,1,2\n", "without a gap"),
        ("id,prediction_0,prediction_1\na,1,x\n", "line 2: could not convert string to float: 'x'"),
        ("id,prediction_0,prediction_1\na,1,\n", "line 2: could not convert string to float: ''"),
        ("id,prediction_0,prediction_1,prediction_1\na,1,2,3\n", "without a gap"),
        ("id,id,prediction\na,b,1\n", "'id' stands twice"),
        ('id,prediction\na,"1\n', "not a whole CSV file .line 2: unexpected end of data"),
        ("\n", "has the columns .none."),
        ("id,prediction\na,1,5\nb,1\n", "line 2 has 3 cells, where the header has 2"),
    ]:
        path.write_text(text)
        with pytest.raises(PredictionsError, match=message):
            read_predictions(path)


def test_csv_columns_go_by_their_number_and_ids_stay_text(tmp_path: Path) -> None:
    head = ",".join(f"prediction_{column}" for column in (10, *range(10)))
    (tmp_path / "p.csv").write_text(f"{head},id\n10,0,1,2,3,4,5,6,7,8,9,007\n")
    same(read_predictions(tmp_path / "p.csv"), ("007",), np.arange(11.0)[None])


def test_parquet_of_another_form_is_told(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "p.parquet"
    for columns, message in [
        ({"id": ["a"], "label": [1]}, "has the columns 'id', 'label'"),
        ({"id": ["a", "b"], "prediction": [1, None]}, "1 predictions are null"),
        ({"id": [1], "prediction": [1]}, "holds int64, where text was expected"),
        ({"id": ["a"], "prediction": [{"x": 1}]}, "of type dict"),
        ({"id": ["a" * 2000], "prediction": [1]}, "a text of more than 1024 bytes"),
        ({"id": ["a", None], "prediction": [1, 2]}, "ids must be a list of text"),
    ]:
        pq.write_table(pa.table(columns), path)
        with pytest.raises(PredictionsError, match=message):
            read_predictions(path)
    pq.write_table(pa.table({"prediction": np.zeros(10**6)}), path)
    with pytest.raises(PredictionsError, match="would unpack to 8 MiB, more than the 1 MiB"):
        read_predictions(path, limit=1 << 20)


def test_h5_does_not_lead_out_of_the_file(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.zeros(3)
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file["predictions"] = h5py.ExternalLink("other.h5", "secret")
    with pytest.raises(PredictionsError, match="'predictions' is a link"):
        read_predictions(tmp_path / "p.h5")
    (tmp_path / "raw").write_bytes(bytes(24))
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file.create_dataset("predictions", (3,), "f8", external=[(str(tmp_path / "raw"), 0, 24)])
    with pytest.raises(PredictionsError, match="is not a plain dataset"):
        read_predictions(tmp_path / "p.h5")


def test_h5_of_another_form_is_told(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "p.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("predictions", (1 << 40,), "f8", chunks=(1 << 20,))
    with pytest.raises(PredictionsError, match="would unpack to 8,388,608 MiB"):
        read_predictions(path)
    with h5py.File(path, "w") as file:
        file["predictions"] = 3.0
    with pytest.raises(PredictionsError, match="is a single value"):
        read_predictions(path)
    with h5py.File(path, "w") as file:
        file["labels"] = np.zeros(3)
    with pytest.raises(PredictionsError, match="holds 'labels', where 'predictions' was expected"):
        read_predictions(path)


def outcome(path: Path) -> Predictions | None:
    """Read a file of whatever content: the only ways out are predictions of a sound form, and PredictionsError."""
    apart = {".parquet": read_parquet, ".h5": read_h5}  # here in this process, for a hundred children take a minute
    try:
        found = (
            Predictions(*apart[path.suffix](path, 1 << 20)) if path.suffix in apart else read_predictions(path, 1 << 20)
        )
    except PredictionsError as error:
        assert str(path) in str(error)
        assert len(str(error)) < 1000
        return None
    assert found.ids is None or all(isinstance(name, str) for name in found.ids)
    for one in [found.values] if isinstance(found.values, np.ndarray) else found.values:
        assert one.dtype.kind in "biufU"
    return found


@pytest.mark.parametrize("suffix", FORMATS)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"p{suffix}"
    path.write_bytes(content)
    outcome(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["ids", "predictions", "a", "b"]), inner)
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=json_values | st.fixed_dictionaries({"predictions": json_values}, optional={"ids": json_values}))
def test_any_json_is_read_or_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps(content))
    outcome(path)


@pytest.mark.parametrize("kind", ["classes", "maps", "names"])
@pytest.mark.parametrize("suffix", [suffix for suffix in FORMATS if suffix not in (".h5", ".parquet")])
def test_damaged_files_are_read_or_refused(tmp_path: Path, suffix: str, kind: str) -> None:
    if (suffix, kind) in CANNOT:
        pytest.skip("a format that cannot hold this")
    path, rng = tmp_path / f"p{suffix}", np.random.default_rng(0)
    write(path, None if suffix == ".npy" else IDS, VALUES[kind])
    whole = path.read_bytes()
    for _ in range(60):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged[: rng.integers(1, len(whole) + 1)] if rng.random() < 0.3 else damaged)
        outcome(path)


@pytest.mark.parametrize("suffix", [".h5", ".parquet"])
def test_damaged_files_of_c_libraries_are_read_or_refused_apart(tmp_path: Path, suffix: str) -> None:
    path, rng = tmp_path / f"p{suffix}", np.random.default_rng(1)
    write(path, IDS, VALUES["maps"])
    whole = path.read_bytes()
    for _ in range(4):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), 4):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(PredictionsError):
            assert len(read_predictions(path)) == 3
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PredictionsError, match="not a whole"):
        read_predictions(path)


def test_a_child_that_dies_or_hangs_is_a_fault_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    with pytest.raises(PredictionsError, match=r"p\.h5: not a whole file: its library crashed on it \(no message\)"):
        run_apart([sys.executable, "-c", "import os; os.abort()"], path)
    with pytest.raises(PredictionsError, match=r"p\.h5: not read within 0\.5 s"):
        run_apart([sys.executable, "-c", "import time; time.sleep(60)"], path, timeout=0.5)


def test_a_module_in_the_folder_at_hand_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    import h5py

    (tmp_path / "h5py.py").write_text("raise SystemExit('hijacked')")

    with h5py.File("p.h5", "w") as file:
        file["predictions"] = VALUES["maps"]
    same(read_predictions("p.h5"), None, VALUES["maps"])
    with pytest.raises(PredictionsError, match=r"^absent\.h5: cannot be read"):
        read_predictions("absent.h5")
    Path("bad.h5").write_bytes(b"bad")
    with pytest.raises(PredictionsError, match=r"^bad\.h5: not a whole HDF5 file"):
        read_predictions("bad.h5")
