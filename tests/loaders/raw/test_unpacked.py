"""Archives that are unpacked into the cache: once, whole, and with nothing left of what was killed."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from nas360.errors import RawDataError
from nas360.files import sha256_file
from nas360.loaders.raw import unpacked
from nas360.loaders.raw.unpacked import unpacked_gzip, unpacked_members

CONTENT = bytes(range(256)) * 5000


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAS360_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "unpacked"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "data.tar.gz"
    with tarfile.open(path, "w:gz") as stream:
        for name, content in (("in/wanted", CONTENT), ("in/other", b"other")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            stream.addfile(member, io.BytesIO(content))
    return path


def _members(archive: Path) -> tuple[Path, str]:
    folder, digest = unpacked_members(archive, ["wanted"], max_bytes=1 << 22)
    return folder / "wanted", digest


def _gzip(archive: Path) -> tuple[Path, str]:
    return unpacked_gzip(archive, max_bytes=1 << 22)


both = pytest.mark.parametrize("unpack", [_members, _gzip])


def test_files_are_those_of_the_archive(cache: Path, archive: Path) -> None:
    assert _members(archive)[0].read_bytes() == CONTENT
    assert _gzip(archive)[0].read_bytes() == gzip.decompress(archive.read_bytes())
    assert _gzip(archive)[0].name == "data.tar"


@both
def test_it_is_done_once_in_the_cache_under_the_archives_hash(
    cache: Path, archive: Path, unpack: Callable[[Path], tuple[Path, str]]
) -> None:
    path, digest = unpack(archive)
    assert (path.parent, digest) == (cache / sha256_file(archive), sha256_file(archive))
    before = path.stat()
    again, _ = unpack(archive)
    assert (again.stat().st_ino, again.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    path.unlink()
    assert unpack(archive)[0].is_file()


@both
def test_what_a_killed_one_left_is_removed_and_not_taken_for_the_whole(
    cache: Path, archive: Path, unpack: Callable[[Path], tuple[Path, str]]
) -> None:
    folder = cache / sha256_file(archive)
    folder.mkdir(parents=True)
    for name in (".wanted.abc.tmp", ".data.abc.tmp.tar"):
        (folder / name).write_bytes(b"half")
    path, _ = unpack(archive)
    assert [item.name for item in folder.iterdir()] == [path.name]
    assert path.stat().st_size > 1_000_000


@both
def test_a_truncated_archive_leaves_nothing(
    cache: Path, archive: Path, unpack: Callable[[Path], tuple[Path, str]]
) -> None:
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(RawDataError, match=r"data\.tar\.gz: damaged or incomplete archive"):
        unpack(archive)
    assert not list((cache / sha256_file(archive)).iterdir())


def test_what_holds_more_than_it_may_is_refused(cache: Path, archive: Path) -> None:
    with pytest.raises(RawDataError, match=r"data\.tar\.gz: unpacks to more than the 1 MiB"):
        unpacked_gzip(archive, max_bytes=1 << 20)
    assert not list((cache / sha256_file(archive)).iterdir())


@both
def test_a_cache_that_cannot_be_written_is_told(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, unpack: Callable[[Path], tuple[Path, str]]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NAS360_CACHE", str(tmp_path / "file"))
    with pytest.raises(RawDataError, match=r"data\.tar\.gz: cannot be unpacked to .*set NAS360_CACHE"):
        unpack(archive)


def test_a_full_disk_is_told(cache: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unpacked, "unpack_tar", full)
    with pytest.raises(RawDataError, match=r"No space left on device.*Make room there"):
        _members(archive)
