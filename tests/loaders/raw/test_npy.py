from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from nas360.errors import RawDataError
from nas360.loaders.raw.npy import npy_array, npy_objects


def _saved(value: Any, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, value, allow_pickle=allow_pickle)
    return stream.getvalue()


def _objects(*values: object) -> np.ndarray[Any, Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@given(
    npst.arrays(st.sampled_from(["u1", "<f2", "<f4", ">f8", "?", "<i8"]), npst.array_shapes(max_side=4)), st.booleans()
)
def test_arrays_come_back(array: np.ndarray[Any, Any], columns_first: bool) -> None:
    content = _saved(np.asfortranarray(array) if columns_first else array)
    back = npy_array(content, "file", shapes=[array.shape])
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_saved(np.zeros((2, 3))), r"file: has shape \(2, 3\), must have \(3, 3\) or \(4, 3\)"),
        (_saved(np.zeros((3, 3), "S4")), "holds |S4, must hold real numbers"),
        (_saved(np.zeros((3, 3), complex)), "holds complex128"),
        (_saved(_objects(1, 2, 3), allow_pickle=True), "holds object"),
        (_saved(np.zeros((3, 3), [("a", "f4")])), "must hold real numbers"),
        (_saved(np.zeros((3, 3)))[:-1], "holds 71 bytes of values"),
        (_saved(np.zeros((3, 3))) + b"\0", "holds 73 bytes of values"),
        (b"", "damaged, or no .npy file"),
        (b"\x93NUMPY\x09\x00v\x00", "damaged, or no .npy file"),
    ],
)
def test_anything_else_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(RawDataError, match=message):
        npy_array(content, "file", shapes=[(3, 3), (4, 3)])


def test_a_header_that_asks_for_any_amount_of_memory_gets_none() -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (10**14,)})
    with pytest.raises(RawDataError, match=r"holds 8 bytes of values, its shape \(100000000000000,\)"):
        npy_array(stream.getvalue() + bytes(8), "file")


def test_a_header_that_python_2_wrote_gives_no_warning() -> None:
    content = _saved(np.zeros((3, 3))).replace(b"(3, 3), }  ", b"(3L, 3L), }")
    np.testing.assert_array_equal(npy_array(content, "file"), np.zeros((3, 3)))


def test_plain_objects_come_back_and_programs_do_not(tmp_path: Path) -> None:
    back = npy_objects(_saved(_objects(3, "MKV", np.eye(3)), allow_pickle=True), "file")
    assert back[:2].tolist() == [3, "MKV"]
    np.testing.assert_array_equal(back[2], np.eye(3))

    class Touch:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'done'}",)

    with pytest.raises(RawDataError, match=r"it names (posix|nt)\.system"):
        npy_objects(_saved(_objects(3, "MKV", Touch()), allow_pickle=True), "file")
    assert not list(tmp_path.iterdir())
    with pytest.raises(RawDataError, match="holds no array of objects"):
        npy_objects(_saved(np.eye(3)), "file")


@settings(max_examples=200)
@given(st.integers(0, 300), st.integers(1, 255), st.booleans())
def test_damaged_files_are_read_or_refused_with_our_error(place: int, flip: int, objects: bool) -> None:
    content = bytearray(_saved(_objects(3, "MKV", np.eye(2)), True) if objects else _saved(np.eye(3)))
    content[place % len(content)] ^= flip
    try:
        (npy_objects if objects else npy_array)(bytes(content), "file")
    except RawDataError as error:
        assert "file" in str(error)
