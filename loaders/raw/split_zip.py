"""Zip archives that were cut into parts (name.z01, name.z02, …, name.zip), read in place, member by member.

Python's zipfile reads none of these: in them, a place is a part and an offset in it. Only the end record and the
offsets need our own code (PKWARE's APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16); the directory itself is
parsed by zipfile. An archive in one piece is an archive of one part.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple

from nas360.errors import RawDataError
from nas360.files import MIB
from nas360.loaders.raw.archive import Budget, check_entry, damage_told

END = struct.Struct("<4s4H2LH")
END_MAGIC = b"PK\x05\x06"
LOCATOR_64 = struct.Struct("<4sLQL")
LOCATOR_64_MAGIC = b"PK\x06\x07"
END_64 = struct.Struct("<4sQ2H2L4Q")
END_64_MAGIC = b"PK\x06\x06"
LOCAL = struct.Struct("<4s5H3L2H")
LOCAL_MAGIC = b"PK\x03\x04"

MAX_DIRECTORY_BYTES = 64 * MIB
MAX_PARTS = 1000


@dataclass(frozen=True)
class Member:
    """One file of an archive, and where it stands.

    Attributes:
        name: its path in the archive, with "/".
        offset: where its local header begins, counted over all parts.
        n_packed: bytes in the archive.
        n_bytes: bytes when unpacked.
        crc: CRC-32 of its content.
        deflated: whether it is compressed.
    """

    name: str
    offset: int
    n_packed: int
    n_bytes: int
    crc: int
    deflated: bool


class _End(NamedTuple):
    """The end record: which part is the last, and where the directory is."""

    last_part: int
    directory_part: int
    directory_bytes: int
    directory_offset: int


def part_paths(path: Path) -> list[Path]:
    """The parts of an archive in order, the last of them `path` itself; whether they are there is not looked at.

    Args:
        path: the .zip, which ends the archive and tells how many parts there are.

    Raises:
        RawDataError: when it is not the end of a zip archive.
    """
    with damage_told(path.name), path.open("rb") as stream:
        n_before = _last_part(stream)
    return [*(path.with_suffix(f".z{number:02d}") for number in range(1, n_before + 1)), path]


class SplitZip:
    """An archive of one part or several, opened for reading; close it, or use it in a `with`.

    Args:
        path: its last part, the .zip; the others are looked for beside it.

    Raises:
        RawDataError: when a part is missing, or the archive is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        parts = part_paths(path)
        missing = [part.name for part in parts if not part.is_file()]
        if missing:
            raise RawDataError(
                f"{path.parent} lacks {', '.join(missing)}; {path.name} is the last of {len(parts)} parts, "
                f"and all are needed side by side"
            )
        sizes = [part.stat().st_size for part in parts]
        self._paths = parts
        self._starts = [sum(sizes[:number]) for number in range(len(parts) + 1)]
        self._streams: dict[int, IO[bytes]] = {}

    def __enter__(self) -> SplitZip:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the parts."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()

    def _read_at(self, offset: int, size: int) -> bytes:
        """Bytes at a place counted over all parts; they may lie in several. Fewer where the archive ends."""
        found = []
        for number, path in enumerate(self._paths):
            start, stop = max(offset, self._starts[number]), min(offset + size, self._starts[number + 1])
            if start < stop:
                if number not in self._streams:
                    self._streams[number] = path.open("rb")
                self._streams[number].seek(start - self._starts[number])
                found.append(self._streams[number].read(stop - start))
        return b"".join(found)

    def _place(self, part: int, offset: int) -> int:
        """A place in a part, counted over all parts."""
        if part >= len(self._paths) or self._starts[part] + offset >= self._starts[part + 1]:
            raise RawDataError(
                f"{self.name}: damaged archive: names byte {offset} of part {part + 1}, and has {len(self._paths)} "
                f"parts of {', '.join(f'{b - a}' for a, b in zip(self._starts, self._starts[1:], strict=False))} "
                f"bytes. Compare the sizes of the parts with their publisher's"
            )
        return self._starts[part] + offset

    def members(self, *, max_bytes: int, max_members: int = 100_000) -> list[Member]:
        """The files in the archive, in the directory's order.

        Args:
            max_bytes: how much all members together may hold when unpacked.
            max_members: how many members there may be, folders among them.

        Raises:
            RawDataError: when the archive is damaged, unsafe, or larger than allowed.
        """
        budget = Budget(self.name, max_bytes, max_members)
        with damage_told(self.name):
            entries = self._entries()
        members = []
        for info in entries:
            self._check(info)
            budget.take(info.file_size)
            if not info.is_dir():
                offset = self._place(info.volume, info.header_offset)
                deflated = info.compress_type == zipfile.ZIP_DEFLATED
                members.append(Member(info.filename, offset, info.compress_size, info.file_size, info.CRC, deflated))
        return members

    def _check(self, info: zipfile.ZipInfo) -> None:
        check_entry(info, self.name)
        if info.compress_size > info.file_size + info.file_size // 100 + 1024:  # deflating never adds that much
            raise RawDataError(f"{self.name}: damaged archive: member {info.filename[:80]!r} is larger packed than not")

    def _entries(self) -> list[zipfile.ZipInfo]:
        """The directory's entries as they stand there: with a part, and an offset in it."""
        end = self._end()
        if end.directory_bytes > MAX_DIRECTORY_BYTES:
            raise RawDataError(f"{self.name}: a directory of {end.directory_bytes} bytes; refused")
        if end.directory_bytes == 0:
            return []
        directory = self._read_at(self._place(end.directory_part, end.directory_offset), end.directory_bytes)
        # alone with an end record of its own, the directory is an archive to zipfile, which moves no offset in it
        alone = directory + END.pack(END_MAGIC, 0, 0, 0, 0, len(directory), 0, 0)
        with zipfile.ZipFile(io.BytesIO(alone)) as archive:
            return archive.infolist()

    def _end(self) -> _End:
        with self._paths[-1].open("rb") as stream:
            tail, at = _tail(stream)
        record = END.unpack_from(tail, at)
        end = _End(record[1], record[2], record[5], record[6])
        locator = _locator_64(tail, at)
        if locator is None:
            return end
        part, offset = locator[1], locator[2]
        content = self._read_at(self._place(part, offset), END_64.size)
        if content[:4] != END_64_MAGIC or len(content) < END_64.size:
            raise RawDataError(f"{self.name}: damaged archive: no end record where its locator points")
        record = END_64.unpack(content)
        return _End(record[4], record[5], record[8], record[9])

    def read(self, member: Member) -> bytes:
        """The content of a member.

        Raises:
            RawDataError: when it is not what the directory says, by size or CRC-32.
        """
        with damage_told(self.name):
            header = self._read_at(member.offset, LOCAL.size)
            if header[:4] != LOCAL_MAGIC:
                raise zipfile.BadZipFile(f"no local header of {member.name[:80]!r} at byte {member.offset}")
            record = LOCAL.unpack(header)
            packed = self._read_at(member.offset + LOCAL.size + record[9] + record[10], member.n_packed)
            # one byte more than it may hold tells that it holds more, without filling the memory
            content = zlib.decompressobj(-15).decompress(packed, member.n_bytes + 1) if member.deflated else packed
            if len(content) != member.n_bytes or zlib.crc32(content) != member.crc:
                raise zipfile.BadZipFile(f"member {member.name[:80]!r} is not what the directory says")
        return content


def _tail(stream: IO[bytes]) -> tuple[bytes, int]:
    """The last bytes of an archive, and where in them the end record begins."""
    size = stream.seek(0, io.SEEK_END)
    # the record, a comment of up to 65,535 bytes behind it, and the locator before it
    stream.seek(max(0, size - END.size - 0xFFFF - LOCATOR_64.size))
    tail = stream.read()
    at = tail.rfind(END_MAGIC)
    if at < 0 or len(tail) - at < END.size:
        raise zipfile.BadZipFile("no end record: not a zip archive, or its end is missing")
    return tail, at


def _locator_64(tail: bytes, at: int) -> tuple[bytes, int, int, int] | None:
    """Where a zip64 archive has its wider end record: magic, part, offset in it, number of parts."""
    start = at - LOCATOR_64.size
    if start < 0 or tail[start : start + 4] != LOCATOR_64_MAGIC:
        return None
    magic, part, offset, n_parts = LOCATOR_64.unpack_from(tail, start)
    return magic, part, offset, n_parts


def _last_part(stream: IO[bytes]) -> int:
    """How many parts come before the last one."""
    tail, at = _tail(stream)
    locator = _locator_64(tail, at)
    number: int = END.unpack_from(tail, at)[1] if locator is None else locator[3] - 1
    if not 0 <= number < MAX_PARTS:
        raise zipfile.BadZipFile(f"is part {number + 1}; at most {MAX_PARTS} are read")
    return number
