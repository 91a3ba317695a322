from __future__ import annotations

import os
import pickle
import subprocess
import time
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from nas360.errors import RawDataError
from nas360.loaders.raw.archive import members
from nas360.loaders.raw.pickles import load_pickle

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.binary(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_containers_come_back(value: object, protocol: int) -> None:
    assert load_pickle(pickle.dumps(value, protocol), "file") == value


@given(
    npst.arrays(
        st.sampled_from(["u1", "<i4", "<f4", "<f8", ">i2", "?"]),
        npst.array_shapes(max_side=4),
        elements={"allow_nan": False},
    ),
    st.integers(2, 4),
)
def test_arrays_come_back(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], protocol: int) -> None:
    back = load_pickle(pickle.dumps(array, protocol), "file")
    assert back.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")  # NumPy itself may turn to the native order
    np.testing.assert_array_equal(back, array)


def test_arrays_as_numpy_1_spelt_them_come_back() -> None:
    old = pickle.dumps(np.arange(6), 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in old
    np.testing.assert_array_equal(load_pickle(old, "file"), np.arange(6))


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_runs_a_command_does_not(tmp_path: Path, protocol: int) -> None:
    with pytest.raises(RawDataError, match=r"it names (posix|nt|os)\.system"):
        load_pickle(pickle.dumps([_Touch(tmp_path / "done")], protocol), "file")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [OrderedDict(a=1), subprocess.Popen, np.load, np.float64(1.0), complex, slice(1)])
def test_any_other_name_is_refused(value: object) -> None:
    with pytest.raises(RawDataError, match="it names"):
        load_pickle(pickle.dumps(value, 2), "file")


def test_an_array_of_plain_objects_comes_back() -> None:
    array = np.empty(3, dtype=object)
    array[:] = [5, b"MKV", np.eye(2)]
    back = load_pickle(pickle.dumps(array, 2), "file")
    assert back[:2].tolist() == [5, b"MKV"]
    np.testing.assert_array_equal(back[2], np.eye(2))


def test_a_dtype_whose_state_would_corrupt_memory_is_refused() -> None:
    honest = pickle.dumps(np.arange(4, dtype=np.uint8), 2)
    with pytest.raises(RawDataError, match="a dtype has parts"):
        load_pickle(honest.replace(b"NNN", b"N)N"), "file")


def test_an_array_of_objects_of_other_classes_is_refused() -> None:
    with pytest.raises(RawDataError, match="it names"):
        load_pickle(pickle.dumps(np.array([OrderedDict()], dtype=object), 2), "file")


def test_the_array_class_cannot_be_called_for_memory() -> None:
    greedy = b"cnumpy\nndarray\n((L1000000000000L\ntR."
    with pytest.raises(RawDataError, match=r"damaged pickle|refused as a pickle"):
        load_pickle(greedy, "file")
    greedy = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L1000000000000L\ntS'b'\ntR."
    with pytest.raises(RawDataError, match="begun in a way NumPy does not"):
        load_pickle(greedy, "file")


def _peak(content: bytes, message: str | None = None) -> tuple[object, int]:
    """What a pickle loads to (None where refused with that message), and the most memory on the way, in bytes."""
    tracemalloc.start()
    try:
        if message is None:
            return load_pickle(content, "file"), tracemalloc.get_traced_memory()[1]
        with pytest.raises(RawDataError, match=message):
            load_pickle(content, "file")
        return None, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("put", [b"r\x00\x00\x00\x04", b"p67108864\n"])
def test_a_number_beyond_the_objects_is_refused(put: bytes) -> None:
    assert _peak(b"\x80\x02]" + put + b".", "under a number beyond")[1] < 1 << 20


def test_shared_parts_stay_shared() -> None:
    nested: list[object] = []
    for _ in range(200):
        nested = [nested, nested]
    back, peak = _peak(pickle.dumps(nested, 2))
    assert isinstance(back, list)
    assert back[0] is back[1]
    assert peak < 1 << 20
    array = np.arange(3)
    first, second = load_pickle(pickle.dumps([array, array], 2), "file")
    assert first is second


def test_a_container_that_holds_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    _peak(pickle.dumps(loop, 2), "a container holds itself")
    table: dict[str, object] = {}
    table["a"] = (table,)
    _peak(pickle.dumps(table, 2), "a container holds itself")
    array = np.empty(1, dtype=object)
    array[0] = array
    _peak(pickle.dumps(array, 2), "a container holds itself")


def test_parts_named_again_and_again_are_refused() -> None:
    # a text of 100 kB made into bytes a thousand times
    text = b"X" + (100_000).to_bytes(4, "little") + b"a" * 100_000
    again = b"h\x00h\x01X\x06\x00\x00\x00latin1\x86R"
    content = b"\x80\x02c_codecs\nencode\nq\x000" + text + b"q\x010](" + again * 1000 + b"e."
    assert _peak(content, "repeats its parts")[1] < 8 << 20
    # a list of 100,000 made into an array of objects a thousand times
    array = pickle.dumps(np.empty(100_000, dtype=object), 2)
    data = array[array.index(b"]") :]
    state = array[: array.index(b"]")].removeprefix(b"\x80\x02")
    assert b"N" * 100 in data
    head = b"\x80\x02](" + b"N" * 100_000 + b"eq\xc80]("
    content = head + (state + b"h\xc8tb") * 1000 + b"e."
    assert _peak(content, "repeats its parts")[1] < 32 << 20


def test_more_instructions_than_any_official_file_are_refused() -> None:
    assert _peak(b"\x80\x02(" + b"\x8f" * 2_000_001 + b"l.", "more than 2,000,000 instructions")[1] < 8 << 20


def test_sets_come_back_and_hold_no_stand_ins() -> None:
    assert load_pickle(pickle.dumps({1, 2}, 4), "file") == {1, 2}
    with pytest.raises(RawDataError, match=r"refused as a pickle|damaged pickle"):
        load_pickle(b"\x80\x04\x8f(cnumpy\ndtype\n\x90.", "file")


def test_the_official_archive_is_scanned_fast() -> None:
    path = Path(__file__).parents[3] / "../shared/data/cifar100/cifar-100-python.tar.gz"
    # a twin of its train file in number of objects, where it is not at hand
    row = {b"data": np.zeros((10_000, 3072), np.uint8), b"fine_labels": [1] * 10_000, b"filenames": [b"name"] * 10_000}
    contents = [pickle.dumps(row, 2)]
    if path.exists():
        contents += [read() for name, read in members(path, max_bytes=1 << 29) if name.endswith("train")]
    for content in contents:
        start = time.process_time()
        found = load_pickle(content, "train")
        assert time.process_time() - start < 5  # about 0.3 s
        assert found[b"data"].dtype == np.uint8


def test_an_odd_escape_gives_no_warning() -> None:
    assert load_pickle(b"S'a\\Ab'\n.", "file") == b"a\\Ab"


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_with_our_error(content: bytes) -> None:
    try:
        load_pickle(content, "file")
    except RawDataError as error:
        assert "file" in str(error)


@given(st.integers(0, 400), st.integers(1, 255))
def test_a_damaged_pickle_is_read_or_refused_with_our_error(place: int, flip: int) -> None:
    content = bytearray(pickle.dumps({b"data": np.arange(40, dtype=np.uint8), b"labels": list(range(40))}, 2))
    content[place % len(content)] ^= flip
    try:
        load_pickle(bytes(content), "file")
    except RawDataError as error:
        assert "file" in str(error)
