from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import scipy.io
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from nas360.errors import RawDataError
from nas360.files import MIB
from nas360.loaders.raw import mat5, mat73
from nas360.loaders.raw.matfile import open_mat, read_mat

Array = npt.NDArray[Any]

NUMBERS = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]
STORED = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 9, "i8": 12, "u8": 13}
CLASSES = {"f8": 6, "f4": 7, "i1": 8, "u1": 9, "i2": 10, "u2": 11, "i4": 12, "u4": 13, "i8": 14, "u8": 15}


def element(order: str, kind: int, content: bytes) -> bytes:
    return struct.pack(order + "2I", kind, len(content)) + content + bytes(-len(content) % 8)


def savemat(content: dict[str, Any], version: Literal["5", "4"] = "5", compress: bool = False) -> bytes:
    stream = io.BytesIO()
    scipy.io.savemat(stream, content, format=version, do_compression=compress)  # type: ignore[arg-type]  # the stubs know no streams
    return stream.getvalue()


def v5_file(array: Array, stored: str | None = None, order: str = "<", compress: bool = False, **faults: Any) -> bytes:
    """A version 5 file with the variable `val`, written by hand after the published format."""
    kind = array.dtype.str[1:]
    stored = stored or kind
    values = array.astype(order + stored).tobytes(order="F")
    body = element(order, 6, struct.pack(order + "2I", faults.get("flags", CLASSES[kind]), 0))
    if faults.get("flags") != 17:  # "opaque" variables have no dimensions
        body += element(order, 5, struct.pack(f"{order}{array.ndim}i", *faults.get("dims", array.shape)))
    body += element(order, 1, faults.get("name", b"val"))
    if len(values) <= 4:
        # MATLAB puts such few bytes inside the tag: the upper half of the type is their number
        body += struct.pack(order + "I", len(values) << 16 | STORED[stored]) + values.ljust(4, b"\0")
    else:
        body += element(order, STORED[stored], values)
    whole = element(order, 14, body)
    if compress:
        packed = faults.get("packed", zlib.compress)(whole)
        whole = struct.pack(order + "2I", 15, len(packed)) + packed
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(order + "H", 0x100)
    return header + {"<": b"IM", ">": b"MI"}[order] + whole


def v4_file(array: Array, order: str = "<", form: int = 0) -> bytes:
    number = ["f8", "f4", "i4", "i2", "u2", "u1"].index(array.dtype.str[1:])
    kind = {"<": 0, ">": 1000}[order] + 10 * number + form
    return (
        struct.pack(order + "5i", kind, *array.shape, 0, 4)
        + b"val\0"
        + array.astype(array.dtype.newbyteorder("<" if order == "<" else ">")).tobytes(order="F")
    )


def v73_file(array: Array, **options: Any) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("val", data=array.T, **options)
    return stream.getvalue()


def read(content: bytes, key: str = "val", **options: Any) -> Array:
    return read_mat(io.BytesIO(content), key, name="a.mat", **options)


def arrays(kinds: list[str], dims: tuple[int, int]) -> st.SearchStrategy[Array]:
    return npst.arrays(
        st.sampled_from(kinds),
        npst.array_shapes(min_dims=dims[0], max_dims=dims[1], max_side=5),
        elements={"allow_nan": True},
    )


def same(found: Array, array: Array) -> None:
    assert found.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, array)


@given(arrays(NUMBERS, (2, 4)), st.booleans())
def test_what_scipy_writes_as_version_5_comes_back(array: Array, compress: bool) -> None:
    same(read(savemat({"before": np.eye(3), "val": array, "after": "text"}, compress=compress)), array)


@given(arrays(["f8", "f4", "i4", "i2", "u2", "u1"], (2, 2)))
def test_what_scipy_writes_as_version_4_comes_back(array: Array) -> None:
    same(read(savemat({"before": np.eye(3), "val": array, "after": "text"}, "4")), array)


@given(arrays(NUMBERS, (2, 4)), st.sampled_from(["<", ">"]), st.booleans())
def test_both_byte_orders_of_version_5(array: Array, order: str, compress: bool) -> None:
    content = v5_file(array, order=order, compress=compress)
    same(read(content), array)
    other = scipy.io.loadmat(io.BytesIO(content))["val"]  # type: ignore[arg-type]  # the stubs know no streams
    np.testing.assert_array_equal(read(content), other)


@given(arrays(["f8", "i2"], (2, 2)), st.sampled_from(["<", ">"]))
def test_both_byte_orders_of_version_4(array: Array, order: str) -> None:
    same(read(v4_file(array, order)), array)


@given(arrays(NUMBERS, (2, 4)), st.sampled_from(["<", ">"]))
def test_version_7_3_stores_the_axes_in_reverse(array: Array, order: str) -> None:
    same(read(v73_file(array.astype(array.dtype.newbyteorder("<" if order == "<" else ">")))), array)


@pytest.mark.parametrize("stored", ["u1", "i2", "i4"])
def test_doubles_that_matlab_stored_as_integers(stored: str) -> None:
    array = np.array([[3.0, 12.0, 12.0], [12.0, 3.0, 3.0]])
    same(read(v5_file(array, stored)), array)


@pytest.mark.parametrize("write", [v5_file, lambda a: v5_file(a, compress=True), v73_file])
def test_an_array_of_no_elements(write: Callable[[Array], bytes]) -> None:
    assert read(write(np.zeros((0, 3)))).shape == (0, 3)


@pytest.mark.parametrize(
    "write",
    [
        v5_file,
        lambda a: v5_file(a, compress=True),
        v73_file,
        lambda a: v73_file(a, chunks=(3, 2, 4), compression="gzip", shuffle=True),
        lambda a: v73_file(a, chunks=(1, 5, 7)),
    ],
    ids=["v5", "v5 compressed", "contiguous", "chunks", "one sample a chunk"],
)
@pytest.mark.parametrize("block_bytes", [1, 100, 300, 10_000])
def test_blocks_tile_the_array(
    write: Callable[[Array], bytes], block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mat5, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(mat73, "TILE_BYTES", block_bytes)
    array = np.random.default_rng(0).random((7, 5, 4), dtype=np.float32)
    rebuilt = np.full(array.shape, np.nan, np.float32)
    covered = np.zeros(array.shape, int)
    with open_mat(io.BytesIO(write(array)), "val") as found:
        assert found.shape == array.shape and found.nbytes == array.nbytes
        for _ in range(2):  # a second reading starts from the beginning
            for where, values in found.blocks():
                rebuilt[where] = values
                covered[where] += 1
    np.testing.assert_array_equal(rebuilt, array)
    assert (covered == 2).all()


@pytest.mark.parametrize("version", ["v5 compressed", "v7.3"])
def test_memory_is_bounded_whatever_the_size(version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mat5, "BLOCK_BYTES", MIB)
    array = np.zeros((4, 1000, 2000), np.float32)  # 32 MB that compress to nothing
    path = tmp_path / "a.mat"
    if version == "v7.3":
        path.write_bytes(v73_file(array, chunks=(20, 100, 4), compression="gzip"))
    else:
        path.write_bytes(v5_file(array, compress=True))
    del array
    tracemalloc.start()
    with open_mat(path, "val") as found:
        total = sum(values.size for _, values in found.blocks())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 8_000_000
    assert peak < 8 * MIB


def _scipy(value: Any, version: Literal["5", "4"] = "5") -> bytes:
    return savemat({"val": value}, version)


def _hdf5(write: Callable[[h5py.File], object]) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        write(file)
    return stream.getvalue()


def _with_class(name: str) -> bytes:
    def write(file: h5py.File) -> None:
        file.create_dataset("val", data=np.ones((2, 2), np.uint16)).attrs["MATLAB_class"] = np.bytes_(name)

    return _hdf5(write)


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2, 2), "f4")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (2, 2))
    file.create_virtual_dataset("val", layout)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty, where a MATLAB file"),
        (b"<!DOCTYPE html><html>quota exceeded</html>" * 20, "not a MATLAB file .it begins with b'<!DOCTYPE"),
        (b"MATLAB 5.0 MAT-file", "not a MATLAB file"),
        (bytes(200), "not a MATLAB file, or damaged at byte 0"),
        (bytes(10), "not a MATLAB file"),
        (_scipy(np.array([{"a": 1}, 2], object)), "'val' is a cell array, where a real numeric"),
        (_scipy({"field": 1}), "'val' is a struct"),
        (_scipy("text"), "'val' is text"),
        (_scipy(np.ones((2, 2)) * 1j), "'val' is a complex array"),
        (_scipy(scipy.sparse.eye_array(3).tocsc()), "'val' is a sparse array"),
        (_scipy("text", "4"), "'val' is text"),
        (_scipy(np.ones((2, 2)) * 1j, "4"), "'val' is a complex array"),
        (v5_file(np.ones((2, 2)), flags=3), "'val' is an object"),
        (v5_file(np.ones((2, 2)), flags=16), "'val' is a function handle"),
        (v5_file(np.ones((2, 2)), flags=17), "'val' is an object"),
        (_hdf5(lambda f: f.create_group("val")), "'val' is a struct"),
        (_hdf5(lambda f: f.create_dataset("val", data="text")), "'val' is of type object"),
        (_hdf5(lambda f: f.create_dataset("val", data=1.0)), r"shape \(\), where a real numeric"),
        (_hdf5(lambda f: f.create_dataset("val", data=np.ones(2) * 1j)), "'val' is of type complex"),
        (_with_class("char"), "'val' is text"),
        (_with_class("cell"), "'val' is a cell array"),
        (_hdf5(lambda f: f.__setitem__("val", h5py.SoftLink("/elsewhere"))), "'val' is a link to somewhere else"),
        (_hdf5(lambda f: f.__setitem__("val", h5py.ExternalLink("/etc/passwd", "x"))), "'val' is a link to"),
        (_hdf5(_virtual), "'val' keeps its values in other files"),
        (
            _hdf5(lambda f: f.create_dataset("val", (4, 4), "u1", external=[("/etc/passwd", 0, 16)])),
            "'val' keeps its values in other files",
        ),
        (
            _hdf5(lambda f: f.create_dataset("val", (2**14, 2**14), "f8", chunks=(2**13, 2**13))),
            "chunks of 512 MiB; at most 256",
        ),
        (_hdf5(lambda f: f.create_dataset("other", data=1)), "no variable 'val'. It holds: 'other'"),
        (_scipy(np.ones((2, 2))).replace(b"val", b"wal"), "no variable 'val'. It holds: 'wal'"),
        (v4_file(np.ones((2, 2))).replace(b"val", b"wal"), "no variable 'val'. It holds: 'wal'"),
    ],
)
def test_what_is_no_plain_numeric_array_is_refused_by_name(content: bytes, message: str) -> None:
    with pytest.raises(RawDataError, match=f"a.mat: .*{message}"):
        read(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (v5_file(np.ones((2, 2)), dims=(2, 3)), "bad values .32 bytes of float64 for shape"),
        (v5_file(np.ones((2, 2)), dims=(-2, -2)), "bad dimensions"),
        (v5_file(np.ones((2, 2)), flags=6 | 0x0800), "is a complex array"),
        (v5_file(np.ones((2, 2), np.uint8), stored="i2"), "bad values"),
        (v5_file(np.ones((2, 2)), name=b"n" * 5000), "bad header .5000 bytes"),
        (v5_file(np.ones((2, 2)), compress=True, packed=lambda raw: raw), "damaged .Error -3"),
        (
            v5_file(np.ones((2, 2)), compress=True, packed=lambda raw: zlib.compress(raw)[:-4] + b"\0\0\0\0"),
            "incorrect data check",
        ),
        (v5_file(np.ones((2, 2)), compress=True, packed=lambda raw: zlib.compress(raw[:-9])), "ends too early"),
        (
            v5_file(np.ones((2, 2)), compress=True, packed=lambda raw: zlib.compress(raw + bytes(10**6))),
            "holds more than",
        ),
        (
            v5_file(np.ones((2, 2)), compress=True, packed=lambda raw: zlib.compress(b"\x0f" + raw[1:])),
            "bad compressed",
        ),
    ],
)
def test_damage_is_told(content: bytes, message: str) -> None:
    with pytest.raises(RawDataError, match=message):
        read(content)


def test_a_declared_size_is_refused_before_memory_is_taken() -> None:
    huge = (2**30, 2**30, 2**30)
    with pytest.raises(RawDataError, match=r"declares shape \(1073741824, .* at most 256 MiB"):
        read(v5_file(np.ones((2, 2, 2)), dims=huge))
    with pytest.raises(RawDataError, match=r"at most 256 MiB"):
        read(_hdf5(lambda f: f.create_dataset("val", huge[:2], "f8", chunks=(10, 10))))
    with pytest.raises(RawDataError, match="at most 0 MiB"):
        read(v5_file(np.ones((2, 2))), max_bytes=8)


def test_the_number_of_axes_can_be_asked_for() -> None:
    assert read(v5_file(np.ones((1, 5))), ndim=2).shape == (1, 5)
    with pytest.raises(RawDataError, match=r"'val' has shape \(1, 5\), where 3 axes were expected"):
        read(v5_file(np.ones((1, 5))), ndim=3)


SMALL = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
WHOLE = {
    "v5": v5_file(SMALL),
    "v5 compressed": v5_file(SMALL, compress=True),
    "v4": v4_file(SMALL[0]),
    "v7.3": v73_file(SMALL, chunks=(2, 3, 2), compression="gzip"),
}


@pytest.mark.parametrize("version", WHOLE)
def test_no_truncated_file_is_taken_for_whole(version: str) -> None:
    whole = WHOLE[version]
    for length in range(0, len(whole), 1 if len(whole) < 500 else 61):
        with pytest.raises(RawDataError, match=r"a\.mat"):
            read(whole[:length])


@given(st.sampled_from(["v5", "v5 compressed", "v4"]), st.data())
def test_altered_bytes_give_an_array_or_a_message(version: str, data: st.DataObject) -> None:
    content = bytearray(WHOLE[version])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(read(bytes(content)), np.ndarray)
    except RawDataError as error:
        assert "a.mat" in str(error)


@given(st.binary(max_size=300))
def test_any_bytes_get_a_message(content: bytes) -> None:
    with pytest.raises(RawDataError, match=r"a\.mat"):
        read(content)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RawDataError, match="cannot be read"):
        read_mat(tmp_path / "none.mat", "val")
    with pytest.raises(RawDataError, match="cannot be read"):
        read_mat(tmp_path, "val")


def test_real_files_read_as_scipy_reads_them(real_data: Path) -> None:
    path = real_data / "darcy" / "piececonst_r421_N1024_smooth2.mat"
    np.testing.assert_array_equal(read_mat(path, "coeff", ndim=3), scipy.io.loadmat(path)["coeff"])
