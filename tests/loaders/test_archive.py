from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas360.errors import RawDataError
from nas360.loaders.archive import find_raw, fingerprint, members

LIMIT = 1 << 20
FILES = {"top/a.txt": b"first", "top/b.bin": bytes(range(256)) * 40}


def _zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
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
