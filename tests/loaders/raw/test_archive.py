from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas360.errors import RawDataError
from nas360.loaders.raw.archive import find_raw, fingerprint, members

LIMIT = 1 << 20
FILES = {"top/a.txt": b"first", "top/b.bin": bytes(range(256)) * 40}


def _zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def _folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


@pytest.fixture(params=["zip", "tar.gz", "folder"])
def container(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    make = {"zip": _zip, "tar.gz": _tar, "folder": _folder}[request.param]
    return make(tmp_path / f"archive.{request.param}", FILES)


def _content(path: Path, max_bytes: int = LIMIT) -> dict[str, bytes]:
    return {name: read() for name, read in members(path, max_bytes=max_bytes, max_members=100)}


def test_members_are_what_was_stored(container: Path) -> None:
    assert _content(container) == FILES


def test_more_than_the_task_can_need_is_refused(container: Path) -> None:
    with pytest.raises(RawDataError, match="more than the 0 MiB"):
        _content(container, max_bytes=1000)


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out", "top/../../out", "c:\\out", "top\\..\\out"])
@pytest.mark.parametrize("make", [_zip, _tar])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, make: object, name: str) -> None:
    assert callable(make)
    path = make(tmp_path / ("archive.zip" if make is _zip else "archive.tar.gz"), {name: b"x"})
    with pytest.raises(RawDataError, match="leads out of the archive"):
        _content(path)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "archive.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("member")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(RawDataError, match="a link or a device"):
        _content(path)


def test_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "archive.zip", {"x": b"content"})
    content = bytearray(path.read_bytes())
    struct.pack_into("<3H", content, content.rindex(b"PK\1\2") + 28, 0, 0, 1)  # its one letter is called a comment
    path.write_bytes(content)
    with pytest.raises(RawDataError, match=r"archive\.zip: damaged archive: a member without a name"):
        _content(path)


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("member")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(RawDataError, match="is a link"):
        _content(tmp_path / "archive.zip")


def test_a_zip_bomb_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    path = _zip(tmp_path / "archive.zip", {"bomb": bytes(50 << 20)})
    assert path.stat().st_size < 100_000
    with pytest.raises(RawDataError, match="refused"):
        _content(path)


def test_a_member_that_declares_too_little_is_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "archive.zip", {"bomb": bytes(5 << 20)})
    content = path.read_bytes()
    honest, lie = (5 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little")
    path.write_bytes(content.replace(honest, lie))
    with pytest.raises(RawDataError, match=r"should hold 10 bytes|damaged"):
        _content(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 0.999), flip=st.integers(0, 255), kind=st.sampled_from(["zip", "tar.gz"]))
def test_a_damaged_archive_is_an_error_of_ours_or_still_right(tmp_path: Path, cut: float, flip: int, kind: str) -> None:
    make = {"zip": _zip, "tar.gz": _tar}[kind]
    path = make(tmp_path / f"archive.{kind}", FILES)
    content = bytearray(path.read_bytes())
    place = int(cut * len(content))
    if flip:
        content[place] ^= flip
    else:
        del content[place:]
    path.write_bytes(content)
    try:
        for name, data in _content(path).items():
            # zip guards contents by a checksum; of tar only the compression is guarded, names and sizes may differ
            assert kind == "tar.gz" or FILES.get(name, data) == data
    except RawDataError as error:
        assert "archive" in str(error)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=3))
def test_a_zip_of_another_method_is_refused_whole_or_damaged(
    tmp_path: Path, method: int, places: list[tuple[float, int]]
) -> None:
    path = _zip(tmp_path / "archive.zip", FILES, method)
    content = bytearray(path.read_bytes())
    for place, value in places:
        content[int(place * len(content))] = value
    path.write_bytes(content)
    try:
        found = _content(path)
    except RawDataError as error:
        assert places or "compressed by method" in str(error)
    else:
        assert found.items() < FILES.items()  # the list of members was damaged to one that names fewer


def test_names_and_extra_fields_that_break_the_parser_are_damage(tmp_path: Path) -> None:
    path = _zip(tmp_path / "archive.zip", {"t\u00f6p": b"x"})
    path.write_bytes(path.read_bytes().replace("\u00f6".encode(), b"\xff\xff"))
    with pytest.raises(RawDataError, match=r"damaged or incomplete archive .Unicode"):
        _content(path)
    info = zipfile.ZipInfo("top")
    info.extra = b"\x01\x00\x02\x00ab"  # a zip64 field too short for its numbers
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, b"x")
    content = path.read_bytes()
    central = content.index(b"PK\x01\x02")
    path.write_bytes(content[: central + 24] + b"\xff" * 4 + content[central + 28 :])
    with pytest.raises(RawDataError, match="damaged or incomplete archive"):
        _content(path)


def _header(kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_SPARSE])
def test_headers_of_any_size_do_not_fill_the_memory(tmp_path: Path, kind: bytes, suffix: str) -> None:
    path = tmp_path / f"archive.{suffix}"
    size = 32 << 20
    body = bytes(size)
    header = _header(kind, size)
    if kind == tarfile.GNUTYPE_SPARSE:  # one extension after the other, each saying that one more follows
        body = (bytes(504) + b"\x01" + bytes(7)) * (size // 512)
        marked = bytearray(header)
        marked[482] = 1
        marked[148:156] = f"{sum(marked[:148]) + sum(marked[156:]) + 256:06o}\0 ".encode()
        header = bytes(marked)
    content = header + body
    path.write_bytes(gzip.compress(content, 1) if suffix == "tar.gz" else content)
    del content, body
    tracemalloc.start()
    try:
        with pytest.raises(RawDataError, match="headers of more than 1 MiB"):
            _content(path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_long_names_and_pax_headers_are_read(tmp_path: Path) -> None:
    files = {"/".join(["deep"] * 400): b"one", "\u00fc" * 90: b"two"}
    for number, form in enumerate((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        path = tmp_path / f"{number}.tar"
        with tarfile.open(path, "w", format=form) as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        assert _content(path) == files


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_folders_count_as_members(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"archive.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(101):
                archive.writestr(f"{number}/", b"")
    else:
        with tarfile.open(path, "w:gz") as tar:
            for number in range(101):
                info = tarfile.TarInfo(f"{number}")
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
    with pytest.raises(RawDataError, match="in 100 members"):
        _content(path)


def test_all_missing_files_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "there.csv").touch()
    with pytest.raises(RawDataError, match=r"lacks a\.zip, b\.mat"):
        find_raw(tmp_path, "there.csv", "a.zip", "b.mat")
    with pytest.raises(RawDataError, match="is not a folder"):
        find_raw(tmp_path / "absent", "a.zip")


def test_an_unpacked_archive_serves_as_well(tmp_path: Path) -> None:
    _folder(tmp_path / "archive", FILES)
    assert _content(find_raw(tmp_path, "archive.zip")["archive.zip"]) == FILES
    assert _content(find_raw(tmp_path, "archive.tar.gz")["archive.tar.gz"]) == FILES


def test_the_fingerprint_of_a_folder_knows_names_and_contents(tmp_path: Path) -> None:
    first = fingerprint(_folder(tmp_path / "one", FILES))
    assert first == fingerprint(_folder(tmp_path / "two", FILES))
    assert first != fingerprint(_folder(tmp_path / "three", {**FILES, "top/a.txt": b"other"}))
    assert first != fingerprint(_folder(tmp_path / "four", {"top/c.txt": b"first", "top/b.bin": FILES["top/b.bin"]}))


def test_names_that_are_no_utf_8_have_a_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    before = fingerprint(tmp_path)
    (tmp_path / os.fsdecode(b"\xff.bin")).touch()
    assert fingerprint(tmp_path) != before
