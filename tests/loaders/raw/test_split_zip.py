from __future__ import annotations

import io
import shutil
import struct
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas360.errors import RawDataError
from nas360.files import MIB
from nas360.loaders.raw.split_zip import END, END_64, LOCATOR_64, SplitZip, part_paths

CENTRAL = struct.Struct("<4s6H3L5H2L")
PART = 100


def _zip(contents: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content, method)
    return stream.getvalue()


def _directory(archive: bytes) -> tuple[int, int]:
    """Where the directory of an archive in one piece begins and ends."""
    record = END.unpack_from(archive, len(archive) - END.size)
    return record[6], record[6] + record[5]


def _cut(archive: bytes, size: int, wide: bool = False, comment: bytes = b"") -> list[bytes]:
    """An archive in parts of `size` bytes: places become a part and an offset in it; `wide` writes them as zip64."""
    begin, stop = _directory(archive)
    directory, at, n = b"", begin, 0
    while at < stop:
        fields = list(CENTRAL.unpack_from(archive, at))
        end_of_name = at + CENTRAL.size + fields[10]
        end = end_of_name + fields[11] + fields[12]
        name, extra = archive[at + CENTRAL.size : end_of_name], archive[end_of_name : end_of_name + fields[11]]
        part, offset = divmod(fields[16], size)
        fields[13], fields[16] = part, offset
        if wide:
            extra += struct.pack("<2HQ", 1, 8, offset)
            fields[11], fields[12], fields[16] = len(extra), 0, 0xFFFFFFFF
        directory += CENTRAL.pack(*fields) + name + extra
        at, n = end, n + 1
    body = archive[:begin] + directory
    part, offset = divmod(begin, size)
    if wide:
        last = (len(body) + END_64.size + LOCATOR_64.size) // size
        end_part, end_offset = divmod(len(body), size)
        body += END_64.pack(b"PK\6\6", END_64.size - 12, 45, 45, last, part, n, n, len(directory), offset)
        body += LOCATOR_64.pack(b"PK\6\7", end_part, end_offset, last + 1)
        end = END.pack(b"PK\5\6", 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, len(comment))
    else:
        last = len(body) // size
        end = END.pack(b"PK\5\6", last, part, n, n, len(directory), offset, len(comment))
    # the end record and what stands before it in zip64 must lie in the last part whole
    cuts = [body[start : start + size] for start in range(0, last * size, size)]
    return [*cuts, body[last * size :] + end + comment]


def _write(folder: Path, parts: list[bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(parts[:-1], start=1):
        (folder / f"sounds.z{number:02d}").write_bytes(content)
    path = folder / "sounds.zip"
    path.write_bytes(parts[-1])
    return path


def _contents(path: Path) -> dict[str, bytes]:
    with SplitZip(path) as archive:
        return {member.name: archive.read(member) for member in archive.members(max_bytes=MIB)}


SOUNDS = {"a/1.wav": bytes(range(256)) * 2, "a/2.wav": b"", "a/3.wav": b"x" * 3000, "a/ü.wav": b"tail"}


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,8}\.wav", fullmatch=True), st.binary(max_size=300), max_size=6),
    st.integers(40, 2000),
    st.booleans(),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
)
def test_whatever_is_cut_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes], size: int, wide: bool, method: int
) -> None:
    parts = _cut(_zip(contents, method), size, wide)
    if wide and len(parts[-1]) < END.size + LOCATOR_64.size:  # no writer cuts the locator from the end record
        return
    assert _contents(_write(tmp_path_factory.mktemp("cut"), parts)) == contents


def test_an_archive_in_one_piece_is_one_part(tmp_path: Path) -> None:
    path = _write(tmp_path, [_zip(SOUNDS)])
    assert part_paths(path) == [path]
    assert _contents(path) == SOUNDS


def test_a_comment_behind_the_end_is_passed_over(tmp_path: Path) -> None:
    assert _contents(_write(tmp_path, _cut(_zip(SOUNDS), PART, comment=b"made by hand" * 100))) == SOUNDS


@pytest.mark.skipif(shutil.which("zip") is None, reason="needs Info-ZIP's zip, by which such archives are made")
def test_what_info_zip_cuts_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    folder.mkdir()
    noise = b"".join(number.to_bytes(8, "little") for number in range(1, 40_000 * 2**40, 2**40 + 12345))
    contents = {f"sounds/{number}.wav": noise[number * 7 :][: 40_000 + number] for number in range(9)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    subprocess.run(["zip", "-q", "-r", "-0", "-s", "64k", "sounds.zip", "sounds"], cwd=tmp_path, check=True)
    assert len(part_paths(tmp_path / "sounds.zip")) == 6
    assert _contents(tmp_path / "sounds.zip") == contents


def test_all_missing_parts_are_named(tmp_path: Path) -> None:
    path = _write(tmp_path, _cut(_zip(SOUNDS), PART))
    for number in (2, 4):
        (tmp_path / f"sounds.z{number:02d}").unlink()
    with pytest.raises(RawDataError, match=r"lacks sounds\.z02, sounds\.z04; sounds\.zip is the last of \d+ parts"):
        SplitZip(path)


def test_a_part_that_is_cut_off_is_told(tmp_path: Path) -> None:
    path = _write(tmp_path, _cut(_zip(SOUNDS, zipfile.ZIP_STORED), 400))
    first = tmp_path / "sounds.z01"
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(RawDataError, match=r"sounds\.zip: damaged"):
        _contents(path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_never_gives_other_content(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    parts = _cut(_zip(SOUNDS), PART, wide=data.draw(st.booleans()))
    number = data.draw(st.integers(0, len(parts) - 1))
    part = bytearray(parts[number])
    for _ in range(data.draw(st.integers(1, 3))):
        part[data.draw(st.integers(0, len(part) - 1))] = data.draw(st.integers(0, 255))
    parts[number] = bytes(part)
    path = _write(tmp_path_factory.mktemp("damaged"), parts)
    try:
        found = _contents(path)
    except RawDataError:
        return
    # a name or the number of members is under no check sum
    assert set(found.values()) <= set(SOUNDS.values())


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive at all" * 10, b"PK\5\6" + bytes(10)])
def test_what_is_no_archive_is_told(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RawDataError, match=r"sounds\.zip: damaged or incomplete archive .*no end record"):
        SplitZip(_write(tmp_path, [content]))


@pytest.mark.parametrize("name", ["../1.wav", "/1.wav", "a\\1.wav", "C:1.wav"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RawDataError, match="leads out of the archive"):
        _contents(_write(tmp_path, _cut(_zip({name: b"x"}), PART)))


def test_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    content = bytearray(_zip({"x": b"content"}))
    struct.pack_into("<3H", content, content.rindex(b"PK\1\2") + 28, 0, 0, 1)  # its one letter is called a comment
    with pytest.raises(RawDataError, match="a member without a name"):
        _contents(_write(tmp_path, [bytes(content)]))


def test_links_and_other_methods_are_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    link = zipfile.ZipInfo("1.wav")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(RawDataError, match="is a link"):
        _contents(_write(tmp_path, [stream.getvalue()]))
    with pytest.raises(RawDataError, match="compressed by method 14"):
        _contents(_write(tmp_path, [_zip({"1.wav": b"x"}, zipfile.ZIP_LZMA)]))


def test_an_archive_of_too_much_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = _write(tmp_path, _cut(_zip({f"{k}.wav": bytes(MIB) for k in range(3)}), PART))
    with SplitZip(path) as archive, pytest.raises(RawDataError, match="more than the 2 MiB"):
        archive.members(max_bytes=2 * MIB)
    with SplitZip(path) as archive, pytest.raises(RawDataError, match="2 members"):
        archive.members(max_bytes=8 * MIB, max_members=2)


@pytest.mark.parametrize(("at", "value"), [(20, 1 << 31), (24, 10)])
def test_a_size_that_lies_is_told(tmp_path: Path, at: int, value: int) -> None:
    """A member that would fill the memory, packed or unpacked, is refused for what it declares."""
    content = bytearray(_zip({"1.wav": bytes(MIB)}))
    struct.pack_into("<L", content, _directory(bytes(content))[0] + at, value)
    with pytest.raises(RawDataError, match=r"larger packed than not|not what the directory says"):
        _contents(_write(tmp_path, [bytes(content)]))


def test_more_parts_than_are_read_are_refused(tmp_path: Path) -> None:
    end = END.pack(b"PK\5\6", 5000, 0, 0, 0, 0, 0, 0)
    with pytest.raises(RawDataError, match="part 5001; at most 1000"):
        part_paths(_write(tmp_path, [end]))
