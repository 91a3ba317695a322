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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, cast

from nas360.errors import RawDataError
from nas360.files import MIB, sha256_file

Read = Callable[[], bytes]

ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
GZIP_MAGIC = b"\x1f\x8b"
# the records of one tar member before its content: a name of 4 KiB, and what tools note beside it
MAX_TAR_HEADER = MIB


def _check_name(name: str, source: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name:
        raise RawDataError(
            f"{source}: member {name[:80]!r} leads out of the archive; no official archive holds such a path"
        )


@contextmanager
def _readable(source: str) -> Iterator[None]:
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
    source = path.name
    budget = _Budget(source, max_bytes, max_members)
    if path.is_dir():
        for file in sorted(item for item in path.rglob("*") if item.is_file()):
            size = file.stat().st_size
            budget.take(size)
            yield file.relative_to(path).as_posix(), file.read_bytes
    elif path.suffix == ".zip":
        yield from _zip_members(path, budget)
    else:
        yield from _tar_members(path, budget)


class _Budget:
    """Counts what an archive declares, before any of it is read."""

    def __init__(self, source: str, max_bytes: int, max_members: int) -> None:
        self.source, self.max_bytes, self.max_members = source, max_bytes, max_members
        self.n_bytes = self.n_members = 0

    def take(self, size: int) -> None:
        self.n_bytes += size
        self.n_members += 1
        if size < 0 or self.n_bytes > self.max_bytes or self.n_members > self.max_members:
            raise RawDataError(
                f"{self.source}: holds more than the {self.max_bytes // MIB} MiB in {self.max_members} members that "
                f"the official archive could need; refused"
            )


def _read(stream: IO[bytes], size: int, source: str, name: str) -> bytes:
    """Read a member, at most one byte more than it declares: a header that lies does not fill the memory."""
    with _readable(source):
        content = stream.read(size + 1)
    if len(content) != size:
        raise RawDataError(
            f"{source}: member {name[:80]!r} should hold {size} bytes and does not; get the archive anew"
        )
    return content


def _zip_members(path: Path, budget: _Budget) -> Iterator[tuple[str, Read]]:
    with _readable(path.name):
        archive = zipfile.ZipFile(path)
    with archive:
        for info in archive.infolist():
            _check_name(info.filename, path.name)
            is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
            if is_link:
                raise RawDataError(f"{path.name}: member {info.filename[:80]!r} is a link; refused")
            if info.compress_type not in ZIP_METHODS:
                raise RawDataError(
                    f"{path.name}: member {info.filename[:80]!r} is compressed by method {info.compress_type}; stored "
                    f"and deflated members are read. Get the archive anew from its publisher"
                )
            budget.take(info.file_size)
            if info.is_dir():
                continue

            def read(info: zipfile.ZipInfo = info) -> bytes:
                with _readable(path.name), archive.open(info) as stream:
                    return _read(stream, info.file_size, path.name, info.filename)

            yield info.filename, read


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


def _tar_members(path: Path, budget: _Budget) -> Iterator[tuple[str, Read]]:
    with ExitStack() as opened:
        with _readable(path.name):
            file: IO[bytes] = opened.enter_context(path.open("rb"))
            is_gzip = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            file.seek(0)
            unpacked = opened.enter_context(gzip.GzipFile(fileobj=file)) if is_gzip else file
            stream = _Metered(cast("IO[bytes]", unpacked), path.name)
            archive = opened.enter_context(tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:"))
        while True:
            stream.allowance = MAX_TAR_HEADER
            with _readable(path.name):
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

            def read(info: tarfile.TarInfo = info) -> bytes:
                stream.allowance = info.size
                with _readable(path.name):
                    content = archive.extractfile(info)
                if content is None:
                    raise RawDataError(f"{path.name}: member {info.name[:80]!r} cannot be read")
                return _read(content, info.size, path.name, info.name)

            yield info.name, read


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
    return hashlib.sha256("\n".join(listing).encode()).hexdigest()
