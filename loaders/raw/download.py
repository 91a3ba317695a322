"""The raw files of a task from where their publishers keep them.

pooch checks the hashes; the transfers are ours (`loaders.raw.transfer`), because those of pooch begin anew when they
break.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nas360.errors import RawDataError
from nas360.loaders.base import SYNTHETIC_MARK
from nas360.loaders.raw.transfer import Note, Patience, Report, Transfer, TransferError, UnreachableError
from nas360.task import Source, TaskSpec

MAX_UNKNOWN_BYTES = 64 << 30
"""The most that is taken of a file whose size the spec does not know; the largest raw file has about 7 GB."""

_ARCHIVE = re.compile(r"\.(zip|z\d\d|tar|tar\.gz|tgz)$")


def download(
    spec: TaskSpec,
    folder: Path,
    report: Report = lambda name, done, total: None,
    note: Note = lambda text: None,
    patience: Patience | None = None,
) -> list[Path]:
    """Fetch the raw files of a task that are not in a folder yet.

    A file takes its name only when it is whole and its size and hash are right. What a broken or killed transfer left
    is kept beside it as `<name>.part`, and gone on from.

    Args:
        spec: the task; its sources that are `optional` are not fetched.
        folder: the folder of raw files; made if it is not there.
        report: told of every chunk: name, bytes here, all bytes or None.
        note: told in words of failed attempts.
        patience: how long and how often to try.

    Returns:
        Where the files are, in the order of the sources; of an archive that was unpacked, its folder.

    Raises:
        RawDataError: when files can only be got by hand (after the others were fetched; it says which, from where and
            how to go on), cannot be fetched, are not the official ones, or have no room; all files named at once.
    """
    folder = folder.absolute()
    if (folder / SYNTHETIC_MARK).exists():
        raise RawDataError(f"{folder} holds a synthetic twin, made up by nas360. Give --raw another folder")
    folder.mkdir(parents=True, exist_ok=True)
    sources = [source for source in spec.sources if not source.optional]
    with _locked(folder):
        faults = [fault for source in sources for fault in _unofficial(source, folder)]
        missing = [source for source in sources if _found(folder, source) is None]
        by_hand = [source for source in missing if source.manual]
        if _other_form(spec, folder):
            by_hand = []  # the same data is there in its other form
        faults += _fetch_all([source for source in missing if not source.manual], folder, report, note, patience)
    if faults or by_hand:
        raise RawDataError("\n".join([*faults, *([_instructions(spec, by_hand, folder)] if by_hand else [])]))
    return [path for path in (_found(folder, source) for source in sources) if path is not None]


def _found(folder: Path, source: Source) -> Path | None:
    """The file, or the first of what it unpacks to where all of that is there."""
    forms = ((source.filename,), (_ARCHIVE.sub("", source.filename),), source.unpacked)
    return next(
        (folder / names[0] for names in forms if names and all((folder / name).exists() for name in names)), None
    )


def _other_form(spec: TaskSpec, folder: Path) -> bool:
    optional = [source for source in spec.sources if source.optional]
    return bool(optional) and all(_found(folder, source) is not None for source in optional)


def _unofficial(source: Source, folder: Path) -> Iterator[str]:
    """What is wrong with a file that is there already; it may be the user's own, so that it is not replaced."""
    path = folder / source.filename
    if not path.is_file():
        return
    size = path.stat().st_size
    if source.size_bytes is not None and size != source.size_bytes:
        came = f"{size:,} bytes, not {source.size_bytes:,}"
    elif (known := _known_hash(source)) is not None:
        import pooch

        algorithm, _, expected = known.partition(":")
        found = pooch.file_hash(str(path), alg=algorithm)
        if found == expected:
            return
        came = f"{algorithm} {found}, not {expected}"
    else:
        return
    yield (
        f"{source.filename}: a file of this name is in {folder}, but it is not the official one ({came}). Move it away "
        f"to have it fetched, or leave --download out to prepare from it"
    )


def _known_hash(source: Source) -> str | None:
    if source.sha256 is not None:
        return f"sha256:{source.sha256}"
    return None if source.md5 is None else f"md5:{source.md5}"


def _fetch_all(
    sources: Sequence[Source], folder: Path, report: Report, note: Note, patience: Patience | None
) -> list[str]:
    """Fetch every file that can be had; what is wrong with the others."""
    _check_room(sources, folder)
    faults = []
    for number, source in enumerate(sources):
        try:
            _fetch(source, folder, report, note, patience or Patience())
        except UnreachableError as cause:
            left = [other.filename for other in sources[number + 1 :]]
            faults.append(f"{cause}. Not tried: {', '.join(left)}" if left else str(cause))
            break
        except TransferError as cause:
            faults.append(str(cause))
    return faults


def _check_room(sources: Sequence[Source], folder: Path) -> None:
    parts = (folder / f"{source.filename}.part" for source in sources)
    here = sum(path.stat().st_size for path in parts if path.is_file())
    to_come = sum(source.size_bytes or 0 for source in sources) - here
    free = shutil.disk_usage(folder).free
    if to_come > free:
        raise RawDataError(
            f"{to_come:,} bytes are to be fetched, but only {free:,} are free in {folder}. Make room, or give --raw a "
            "folder on another disk"
        )


def _fetch(source: Source, folder: Path, report: Report, note: Note, patience: Patience) -> None:
    """Fetch one file; it has its name only when it is whole."""
    import pooch

    pooch.get_logger().setLevel("WARNING")  # it would tell the hash of every file
    target = folder / source.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    unchecked = target.with_name(f".{target.name}.unchecked")
    known = _known_hash(source)
    transfer = Transfer(
        target.with_name(f"{target.name}.part"),
        name=source.filename,
        size=source.size_bytes,
        max_bytes=MAX_UNKNOWN_BYTES,
        hashed=known is not None,
        patience=patience,
        report=report,
        note=note,
    )
    shutil.rmtree(unchecked, ignore_errors=True)  # what a killed download left
    try:
        for again in (True, False):
            try:
                pooch.retrieve(source.url, known, fname=target.name, path=unchecked, downloader=transfer)
                break
            except ValueError as cause:  # the hash, by pooch's contract; what the transfer raises is of our family
                transfer.drop()
                told = str(cause).partition(". ")[0]
                if not (again and transfer.resumed):
                    raise TransferError(
                        f"{told}. The file at {source.url} is not the official one, or was damaged on the way; "
                        "nothing was kept"
                    ) from cause
                note(f"{told}. It was put together from parts; it is fetched once more from its start")
        (unchecked / target.name).replace(target)
        transfer.drop()
    finally:
        shutil.rmtree(unchecked, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / ".download.lock")  # stays: to remove it would let two processes lock two files
    try:
        lock.acquire(timeout=0)
    except Timeout as cause:
        raise RawDataError(
            f"another process is downloading into {folder}. Wait for it, or give another --raw"
        ) from cause
    try:
        yield
    finally:
        lock.release()


def _instructions(spec: TaskSpec, sources: Sequence[Source], folder: Path) -> str:
    """What a person does to get these files."""
    lines = [f"{len(sources)} raw file{'s' * (len(sources) > 1)} of {spec.id!r} must be fetched by hand:"]
    lines += _listed(sources)
    others = [source for source in spec.sources if source.optional]
    if others:
        lines += ["Or the same data in another form:", *_listed(others)]
    them, names = ("them", "names") if len(sources) > 1 else ("it", "name")
    lines.append(
        f"Put {them} into {folder} under the {names} above, then: nas360 prepare {spec.id} --raw {folder}",
    )
    return "\n".join(lines)


def _listed(sources: Sequence[Source]) -> Iterator[str]:
    for reason in dict.fromkeys(source.manual for source in sources):
        for source in sources:
            if source.manual == reason:
                size = f"{source.size_bytes:,} bytes" if source.size_bytes else ""
                facts = "; ".join(filter(None, (source.note, size, _known_hash(source))))
                yield f"  {source.filename} ({facts})" if facts else f"  {source.filename}"
                yield f"    {source.url}"
        if reason:
            yield f"  Why: {reason}"
