"""Zip and tar archives, and folders, read member by member: nothing is unpacked to disk.

Archives come from outside. One that holds a link, a path that leads out, or more bytes than its task can need is
refused as a whole, for no official archive has any of these.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from nas360.errors import RawDataError
from nas360.files import MIB, atomic_path, sha256_file

Read = Callable[[], bytes]

ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
GZIP_MAGIC = b"\x1f\x8b"
# the records of one tar member before its content: a name of 4 KiB, and what tools note beside it
MAX_TAR_HEADER = MIB


@dataclass(frozen=True)
class Place:
    """Where a file lies in a folder or an archive: small, and good in any process, so that files are read in any order.

    Attributes:
        container: the folder or archive.
        name: the file's path in it, with "/".
        size: its bytes, unpacked.
        offset: where it begins in a plain .tar; None in all else, and for what cannot be read from there.
    """

    container: Path
    name: str
    size: int
    offset: int | None = None


def _check_name(name: str, source: str) -> None:
    if not name:
        raise RawDataError(f"{source}: damaged archive: a member without a name. Get the file anew")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name:
        raise RawDataError(
            f"{source}: member {name[:80]!r} leads out of the archive; no official archive holds such a path"
        )


@contextmanager
def damage_told(source: str) -> Iterator[None]:
    """Turn what the archive modules raise on damage into one error (ValueError: also names that are not UTF-8)."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        struct.error,
        EOFError,
        LookupError,
        OSError,
        OverflowError,
        RuntimeError,
        ValueError,
    ) as cause:
        raise RawDataError(
            f"{source}: damaged or incomplete archive ({type(cause).__name__}: {cause}). "
            f"Get the file anew and compare its size"
        ) from cause


def members(path: Path, *, max_bytes: int, max_members: int = 100_000) -> Iterator[tuple[str, Read]]:
    """The files of an archive or a folder, in the archive's order (sorted, for a folder).

    Args:
        path: a .zip (stored or deflated), a .tar or .tar.gz, or a folder.
        max_bytes: how much all members together may hold when unpacked.
        max_members: how many members there may be, folders among them.

    Yields:
        The member's path, with "/", and a function that reads its content. That function is only good until the next
        step.

    Raises:
        RawDataError: when the archive is damaged, unsafe, or larger than allowed.
    """
    for place, read in _entries(path, Budget(path.name, max_bytes, max_members)):
        yield place.name, read


def places(path: Path, *, max_bytes: int, max_members: int = 100_000) -> Iterator[Place]:
    """The places of the files of an archive or a folder; see `members`. `read_places` reads them.

    Raises:
        RawDataError: as `members`; and for a .tar.gz, which can only be read from its start to its end.
    """
    for place, _ in _entries(path, Budget(path.name, max_bytes, max_members)):
        if path.suffix != ".zip" and path.is_file() and place.offset is None:
            raise RawDataError(f"{path.name}: its members cannot be read one by one. Unpack it beside itself")
        yield place


def read_places(wanted: Sequence[Place], *, max_bytes: int) -> list[bytes]:
    """The content of files; every archive is opened once.

    Args:
        wanted: the places.
        max_bytes: how large one file may be.

    Raises:
        RawDataError: when a file is larger than allowed, not as large as its place tells, or damaged.
    """
    with ExitStack() as opened:
        sources: dict[Path, zipfile.ZipFile | IO[bytes] | None] = {}
        for path in dict.fromkeys(place.container for place in wanted):
            with damage_told(path.name):
                if path.is_dir():
                    sources[path] = None
                elif path.suffix == ".zip":
                    sources[path] = opened.enter_context(zipfile.ZipFile(path))
                else:
                    sources[path] = opened.enter_context(path.open("rb"))
        return [_content(place, sources[place.container], max_bytes) for place in wanted]


def _content(place: Place, source: zipfile.ZipFile | IO[bytes] | None, max_bytes: int) -> bytes:
    label = place.container.name
    if place.size > max_bytes:
        raise RawDataError(
            f"{label}: {place.name[:80]!r} has {place.size:,} bytes; no official file of its kind has more than "
            f"{max_bytes:,}. Get it anew"
        )
    with damage_told(label):
        if source is None:
            with (place.container / place.name).open("rb") as stream:
                return _read(stream, place.size, label, place.name)
        if isinstance(source, zipfile.ZipFile):
            with source.open(place.name) as stream:
                return _read(stream, place.size, label, place.name)
        source.seek(place.offset or 0)
        content = source.read(place.size)
        if len(content) != place.size:
            raise EOFError(f"{place.name[:80]!r} ends early")
        return content


def _entries(path: Path, budget: Budget) -> Iterator[tuple[Place, Read]]:
    if path.is_dir():
        for file in sorted(item for item in path.rglob("*") if item.is_file()):
            size = file.stat().st_size
            budget.take(size)
            yield Place(path, file.relative_to(path).as_posix(), size), file.read_bytes
    elif path.suffix == ".zip":
        yield from _zip_members(path, budget)
    else:
        yield from _tar_members(path, budget)


class Budget:
    """Counts what an archive declares, before any of it is read."""

    def __init__(self, source: str, max_bytes: int, max_members: int) -> None:
        self.source, self.max_bytes, self.max_members = source, max_bytes, max_members
        self.n_bytes = self.n_members = 0

    def take(self, size: int) -> None:
        """Count a member.

        Raises:
            RawDataError: when that is more than allowed.
        """
        self.n_bytes += size
        self.n_members += 1
        if size < 0 or self.n_bytes > self.max_bytes or self.n_members > self.max_members:
            raise RawDataError(
                f"{self.source}: holds more than the {self.max_bytes // MIB} MiB in {self.max_members} members that "
                f"the official archive could need; refused"
            )


def _read(stream: IO[bytes], size: int, source: str, name: str) -> bytes:
    """Read a member, at most one byte more than it declares: a header that lies does not fill the memory."""
    with damage_told(source):
        content = stream.read(size + 1)
    if len(content) != size:
        raise RawDataError(
            f"{source}: member {name[:80]!r} should hold {size} bytes and does not; get the archive anew"
        )
    return content


def check_entry(info: zipfile.ZipInfo, source: str) -> None:
    """Refuse an entry of a zip archive's directory that no official archive has.

    Args:
        info: the entry.
        source: the archive's name.

    Raises:
        RawDataError: when it is a link, leads out of the archive, or cannot be read.
    """
    _check_name(info.filename, source)
    if (info.external_attr >> 16) & 0o170000 == 0o120000:
        raise RawDataError(f"{source}: member {info.filename[:80]!r} is a link; refused")
    if info.compress_type not in ZIP_METHODS:
        raise RawDataError(
            f"{source}: member {info.filename[:80]!r} is compressed by method {info.compress_type}; stored "
            f"and deflated members are read. Get the archive anew from its publisher"
        )


def _zip_members(path: Path, budget: Budget) -> Iterator[tuple[Place, Read]]:
    with damage_told(path.name):
        archive = zipfile.ZipFile(path)
    with archive:
        for info in archive.infolist():
            check_entry(info, path.name)
            budget.take(info.file_size)
            if info.is_dir():
                continue

            def read(info: zipfile.ZipInfo = info) -> bytes:
                with damage_told(path.name), archive.open(info) as stream:
                    return _read(stream, info.file_size, path.name, info.filename)

            yield Place(path, info.filename, info.file_size), read


class _Metered:
    """A stream that gives at most `allowance` more bytes by reading; what is passed over by seeking is free.

    tarfile takes the records before a member (long names, pax and sparse headers) whole into memory, at whatever size
    they claim.
    """

    def __init__(self, stream: IO[bytes], source: str) -> None:
        self.stream, self.source, self.allowance = stream, source, MAX_TAR_HEADER
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self.allowance:
            raise RawDataError(
                f"{self.source}: damaged archive: a member has headers of more than {MAX_TAR_HEADER // MIB} MiB. "
                f"Get the file anew from its publisher"
            )
        self.allowance -= size
        return self.stream.read(size)


def _tar_streams(path: Path, budget: Budget) -> Iterator[tuple[Place, Callable[[], IO[bytes]]]]:
    with ExitStack() as opened:
        with damage_told(path.name):
            file: IO[bytes] = opened.enter_context(path.open("rb"))
            is_gzip = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            file.seek(0)
            unpacked = opened.enter_context(gzip.GzipFile(fileobj=file)) if is_gzip else file
            stream = _Metered(cast("IO[bytes]", unpacked), path.name)
            archive = opened.enter_context(tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:"))
        while True:
            stream.allowance = MAX_TAR_HEADER
            with damage_told(path.name):
                info = archive.next()
            if info is None:
                return
            # its list of all that went by is not needed, and grows with their headers; typeshed leaves it out
            archive.members = []  # type: ignore[attr-defined]
            _check_name(info.name, path.name)
            budget.take(info.size)
            if info.isdir():
                continue
            if not info.isreg():
                raise RawDataError(f"{path.name}: member {info.name[:80]!r} is a link or a device; refused")

            def content(info: tarfile.TarInfo = info) -> IO[bytes]:
                stream.allowance = info.size
                with damage_told(path.name):
                    opened = archive.extractfile(info)
                if opened is None:
                    raise RawDataError(f"{path.name}: member {info.name[:80]!r} cannot be read")
                return opened

            offset = None if is_gzip or info.issparse() else info.offset_data
            yield Place(path, info.name, info.size, offset), content


def _tar_members(path: Path, budget: Budget) -> Iterator[tuple[Place, Read]]:
    for place, content in _tar_streams(path, budget):

        def read(place: Place = place, content: Callable[[], IO[bytes]] = content) -> bytes:
            return _read(content(), place.size, path.name, place.name)

        yield place, read


def unpack_tar(path: Path, names: Sequence[str], into: Path, *, max_bytes: int) -> None:
    """Write some members of a .tar or .tar.gz to disk, for files that are read at any place and do not fit in memory.

    Args:
        path: the archive.
        names: names of the wanted members, without their folders.
        into: the folder to write to, under these names; each appears when it is whole.
        max_bytes: how much all members of the archive together may hold.

    Raises:
        RawDataError: as `members`; and when a wanted member is missing or there twice.
    """
    found: set[str] = set()
    for place, content in _tar_streams(path, Budget(path.name, max_bytes, 1000)):
        name = PurePosixPath(place.name).name
        if name not in names:
            continue
        if name in found:
            raise RawDataError(f"{path.name}: holds {name} twice; get the archive anew from its publisher")
        found.add(name)
        with atomic_path(into / name) as temporary, temporary.open("wb") as target:
            source, left = content(), place.size
            while left:
                with damage_told(path.name):
                    piece = source.read(min(left, MIB))
                if not piece:
                    raise RawDataError(f"{path.name}: member {place.name[:80]!r} ends early; get the archive anew")
                target.write(piece)
                left -= len(piece)
    missing = [name for name in names if name not in found]
    if missing:
        raise RawDataError(f"{path.name}: lacks {', '.join(missing)}; get the archive anew from its publisher")


def find_raw(folder: Path, *names: str) -> dict[str, Path]:
    """The raw files of a task in a folder, all missing ones named at once.

    Args:
        folder: where the user keeps the raw files.
        names: file names; a name that ends in .zip or .tar.gz may also be there unpacked, as a folder of that stem.

    Returns:
        Name → path.

    Raises:
        RawDataError: when the folder or some of the files are not there.
    """
    if not folder.is_dir():
        raise RawDataError(f"{folder} is not a folder. Give --raw the folder that holds: {', '.join(names)}")
    found = {}
    for name in names:
        stem = name.removesuffix(".zip").removesuffix(".tar.gz")
        candidates = [folder / name] if stem == name else [folder / name, folder / stem]
        found[name] = next((item for item in candidates if item.exists()), None)
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise RawDataError(f"{folder} lacks {', '.join(missing)}. `nas360 info` shows where to get them")
    return {name: path for name, path in found.items() if path is not None}


def fingerprint(path: Path) -> str:
    """SHA-256 of a raw file; of a folder, over the names and hashes of its files."""
    if not path.is_dir():
        return sha256_file(path)
    listing = [
        f"{file.relative_to(path).as_posix()} {sha256_file(file)}" for file in sorted(path.rglob("*")) if file.is_file()
    ]
    # a name that is no UTF-8 comes with surrogates
    return hashlib.sha256("\n".join(listing).encode(errors="surrogateescape")).hexdigest()
