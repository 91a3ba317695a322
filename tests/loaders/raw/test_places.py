from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from nas360.errors import RawDataError
from nas360.loaders.raw.archive import Place, members, places, read_places

FILES = {"a/one": b"1" * 5, "a/two": b"", "b/three": bytes(range(256)) * 300}


def _tar(path: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # the mode is one of those it takes
        for name, content in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def _zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    return path


def _folder(path: Path) -> Path:
    for name, content in FILES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ["tar", "zip", "folder"])
def test_files_are_read_in_any_order(tmp_path: Path, kind: str) -> None:
    path = {"tar": _tar, "zip": _zip, "folder": _folder}[kind](tmp_path / ("x.zip" if kind == "zip" else "x.tar"))
    found = list(places(path, max_bytes=1 << 20))
    assert {place.name: read for place, read in zip(found, read_places(found, max_bytes=1 << 20), strict=True)} == FILES
    assert read_places(found[::-1], max_bytes=1 << 20) == read_places(found, max_bytes=1 << 20)[::-1]
    assert [place.name for place in found] == [name for name, _ in members(path, max_bytes=1 << 20)]


def test_a_compressed_tar_cannot_be_read_so(tmp_path: Path) -> None:
    with pytest.raises(RawDataError, match=r"cannot be read one by one\. Unpack it"):
        list(places(_tar(tmp_path / "x.tar", "w:gz"), max_bytes=1 << 20))


@pytest.mark.parametrize("kind", ["tar", "zip", "folder"])
def test_files_of_another_size_than_told_are_refused(tmp_path: Path, kind: str) -> None:
    path = {"tar": _tar, "zip": _zip, "folder": _folder}[kind](tmp_path / ("x.zip" if kind == "zip" else "x.tar"))
    last = list(places(path, max_bytes=1 << 20))[-1]
    with pytest.raises(RawDataError, match="has 76,800 bytes; no official file of its kind has more than 76,799"):
        read_places([last], max_bytes=76_799)
    wrong = Place(path, last.name, 1 << 19, last.offset)
    with pytest.raises(RawDataError, match=r"should hold 524288 bytes and does not|'b/three' ends early"):
        read_places([wrong], max_bytes=1 << 20)
    with pytest.raises(RawDataError, match="damaged or incomplete archive"):
        read_places([Place(tmp_path / "gone.zip", "a", 1), last], max_bytes=1 << 20)


def test_a_truncated_archive_is_told(tmp_path: Path) -> None:
    path = _tar(tmp_path / "x.tar")
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.raises(RawDataError, match=r"x\.tar: damaged or incomplete archive"):
        found = list(places(path, max_bytes=1 << 20))
        read_places(found, max_bytes=1 << 20)
