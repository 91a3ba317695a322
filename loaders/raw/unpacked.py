"""Archives of which files are read at any place: unpacked once into the user's cache, under the archive's hash.

A later run finds there what an earlier one unpacked, and what a killed one left unfinished is removed.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from nas360.errors import RawDataError
from nas360.files import MIB, atomic_path, sha256_file
from nas360.loaders.cache import cache_root
from nas360.loaders.raw.archive import damage_told, unpack_tar


def unpacked_members(archive: Path, names: Sequence[str], *, max_bytes: int) -> tuple[Path, str]:
    """Some members of a .tar or .tar.gz as files.

    Args:
        archive: the archive.
        names: names of the wanted members, without their folders.
        max_bytes: how much all members of the archive together may hold.

    Returns:
        The folder that holds them under these names, and the archive's SHA-256.

    Raises:
        RawDataError: as `archive.unpack_tar`, and when the cache cannot be written.
    """
    return _unpacked(archive, names, lambda folder: unpack_tar(archive, names, folder, max_bytes=max_bytes))


def unpacked_gzip(archive: Path, *, max_bytes: int) -> tuple[Path, str]:
    """What a .gz holds, as a file.

    Args:
        archive: the compressed file.
        max_bytes: how much it may hold.

    Returns:
        The file, of the archive's name without `.gz`, and the archive's SHA-256.

    Raises:
        RawDataError: when it is damaged or holds more than allowed, and when the cache cannot be written.
    """
    folder, digest = _unpacked(archive, [archive.stem], lambda folder: _gunzip(archive, folder, max_bytes))
    return folder / archive.stem, digest


def _unpacked(archive: Path, names: Sequence[str], unpack: Callable[[Path], None]) -> tuple[Path, str]:
    """The folder with these files, and the archive's hash; of processes that ask at once, one unpacks."""
    digest = sha256_file(archive)
    folder = cache_root() / "unpacked" / digest
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # the lock stays: to remove it would let two processes lock two files
        with FileLock(folder.with_name(f".{digest}.lock")):
            if not all((folder / name).is_file() for name in names):
                for left in folder.glob(".*.tmp*"):
                    left.unlink()
                unpack(folder)
    except OSError as cause:
        raise RawDataError(
            f"{archive.name}: cannot be unpacked to {folder} ({cause}). Make room there, set NAS360_CACHE to another "
            f"folder, or unpack the archive beside itself"
        ) from cause
    return folder, digest


def _gunzip(archive: Path, folder: Path, max_bytes: int) -> None:
    n_bytes = 0
    with (
        gzip.open(archive) as source,
        atomic_path(folder / archive.stem) as temporary,
        temporary.open("wb") as target,
    ):
        while True:
            with damage_told(archive.name):
                piece = source.read(MIB)
            if not piece:
                return
            n_bytes += len(piece)
            if n_bytes > max_bytes:
                raise RawDataError(
                    f"{archive.name}: unpacks to more than the {max_bytes // MIB:,} MiB that the official file could "
                    f"need; refused"
                )
            target.write(piece)
