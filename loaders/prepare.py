"""Raw files to a dataset repository: Parquet, card, metric.py, manifest.

All is written into a staging folder beside the target, split by split, and the whole takes the target's name at the
end. A killed preparation leaves the target as it was; started again, it keeps the splits that were finished from the
same input.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nas360.errors import DatasetError, RawDataError
from nas360.files import read_json, sha256_file, write_json, write_text
from nas360.loaders.base import SYNTHETIC_MARK, Loader, RawData, Rows, RowSource, Task
from nas360.loaders.code import code_hash
from nas360.loaders.content import ContentHash, combine
from nas360.loaders.pieces import pieces_of
from nas360.loaders.repository.manifest import MANIFEST, DataFile, Manifest, SplitManifest, read_manifest
from nas360.loaders.repository.texts import read_audit, texts
from nas360.task import SPLITS, Provenance, SplitName, TaskSpec
from nas360.version import __version__

Report = Callable[[str, int], None]


def prepare(
    task: Task,
    raw: Path,
    out: Path,
    *,
    require_complete: bool = False,
    overwrite: bool = False,
    workers: int = 1,
    report: Report = lambda split, rows: None,
) -> Manifest:
    """Write a task's dataset repository.

    Args:
        task: the task.
        raw: folder with the raw files in their official layout.
        out: the repository's folder; must not exist, be empty, or hold the same dataset (which is then kept).
        require_complete: refuse raw data that is not known to be the official distribution; of generated and synthetic
            data only the number of units is asked, where the official one is known.
        overwrite: replace another dataset at `out`.
        workers: processes that make rows, where the task allows it; the result does not depend on it.
        report: called after every batch of rows with the split (or configuration) and its rows so far.

    Returns:
        The manifest.

    Raises:
        RawDataError: when raw files are missing, damaged, or (with `require_complete`) fewer than official.
        DatasetError: when `out` holds something else, or cannot be written.
    """
    loader = task.loader
    opened = loader.open_raw(raw)
    made = _made(raw, opened)
    missing = missing_units(task.spec, opened.n_units)
    departures = (
        *([missing] if missing else []),
        *opened.departures,
        *(() if made else _other_files(task.spec, opened, raw)),
    )
    if require_complete and (missing if made and task.spec.splits_exact else departures):
        raise RawDataError(
            f"the raw data is not the official distribution: {'; '.join(departures)}. Get the official files"
        )
    key = _key(task.spec, loader, opened, made)
    # of a link what it leads to: there is the room, and a link would be renamed in its place
    out = out.resolve()
    with _writing(out), _locked(out):
        _put_back(out)
        if _present(out, task, key, overwrite):
            return read_manifest(out)
        staging = out.with_name(f".{out.name}.staging")
        _begin(staging, key)
        splits = {
            split: _write_split(staging, loader, split, opened.splits[split], opened.n_units[split], workers, report)
            for split in SPLITS
        }
        configs = {
            name: _write_split(staging, loader, "train", source, None, workers, report, config=name)
            for name, source in sorted(opened.configs.items())
        }
        departures += tuple(
            f"{split} lacks {sum(map(len, splits[split].skipped.values())):,} {task.spec.unit_of_split}s that could "
            f"not be used"
            for split in SPLITS
            if splits[split].skipped
        )
        departures += tuple(
            f"{split} has {splits[split].rows:,} rows, officially {rows:,}"
            for split, rows in task.spec.rows.items()
            if splits[split].rows != rows
        )
        if require_complete and departures and not made:
            raise RawDataError(f"the raw data is not the official distribution: {'; '.join(departures)}")
        manifest = Manifest(
            task=task.spec.id,
            protocol=task.spec.protocol,
            nas360_version=__version__,
            provenance=made or ("partial" if departures else "official"),
            splits=splits,
            content_sha256=combine({split: splits[split].content_sha256 for split in SPLITS}),
            configs=configs,
            sources=dict(opened.sources),
            skipped=_join([opened.skipped, *(split.skipped for split in splits.values())]),
            departures=() if made else departures,
            notes={**opened.notes, "key": key},
        )
        beside = texts(task, manifest)
        for name, text in beside.items():
            write_text(staging / name, text)
        _take_place(staging, out, beside)
    return manifest


def missing_units(spec: TaskSpec, n_units: Mapping[SplitName, int]) -> str:
    """The splits whose size is not the official one, in words; empty when all are, or when it is not known."""
    if not spec.splits_exact:
        return ""
    wrong = [
        f"{split} has {n_units[split]:,} of {spec.splits[split]:,}"
        for split in SPLITS
        if n_units[split] != spec.splits[split]
    ]
    return f"{', '.join(wrong)} {spec.unit_of_split}s" if wrong else ""


def _other_files(spec: TaskSpec, opened: RawData, raw: Path) -> Iterator[str]:
    """Raw files that are not the official ones by their hash or size, where that is known."""
    for source in spec.sources:
        name, path = source.filename, raw / source.filename
        if source.sha256 is not None:
            if opened.sources.get(name) != source.sha256:
                yield f"{name} is not the official file by its SHA-256 (unpacked, it cannot be compared)"
        elif name in opened.sources and path.is_file():
            size = path.stat().st_size
            if source.size_bytes not in (None, size):
                yield f"{name} has {size:,} bytes, officially {source.size_bytes:,}"
            elif source.md5 not in (None, _md5(path)):
                yield f"{name} is not the official file by its MD5"


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _made(raw: Path, opened: RawData) -> Provenance | None:
    """How the raw data was made, if it was not measured."""
    if (raw / SYNTHETIC_MARK).exists():
        return "synthetic"
    return "generated" if "generator" in opened.notes else None


def _key(spec: TaskSpec, loader: Loader, opened: RawData, made: Provenance | None) -> str:
    """What a finished split depends on: the protocol, this version's code, the columns, and the raw files."""
    content = [
        spec.id,
        spec.protocol,
        __version__,
        made,
        sorted(opened.sources.items()),
        sorted(opened.n_units.items()),
        [(name, column.dtype, column.shape, column.names) for name, column in loader.columns.items()],
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Turn what the file system refuses into an error that says so."""
    try:
        yield
    except OSError as cause:
        raise DatasetError(
            f"{out} cannot be made ({cause}). Mend that, or give another --out; what is finished is kept"
        ) from cause


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out.with_name(f".{out.name}.lock"))  # stays: to remove it would let two processes lock two files
    try:
        lock.acquire(timeout=0)
    except Timeout as cause:
        raise DatasetError(f"another process is preparing {out}. Wait for it, or choose another --out") from cause
    try:
        yield
    finally:
        lock.release()


def _put_back(out: Path) -> None:
    """Give a dataset its place again that a preparation was about to replace when it was killed."""
    old = _old(out)
    if not out.exists() and (old / MANIFEST).is_file():
        old.rename(out)


def _old(out: Path) -> Path:
    return out.with_name(f".{out.name}.old")


def _present(out: Path, task: Task, key: str, overwrite: bool) -> bool:
    """Whether `out` already is this dataset, its data whole; an error when it is something that must not be lost."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if not (out / MANIFEST).is_file():
        raise DatasetError(f"{out} is not empty and holds no dataset. Give --out a new folder")
    if overwrite:
        return False
    manifest = read_manifest(out)
    if manifest.notes.get("key") != key:
        raise DatasetError(
            f"{out} holds a dataset that was made from other raw files or by another version. "
            f"Give --overwrite to replace it, or another --out"
        )
    files = {file.path: file.sha256 for file in manifest.all_files()}
    # one that lost data is made anew
    if not all((out / path).is_file() and sha256_file(out / path) == known for path, known in files.items()):
        return False
    # a text that is lost, or that this version writes otherwise, costs no preparation; the card shows an audit
    for name, text in texts(task, manifest, read_audit(out)).items():
        if not (out / name).is_file() or sha256_file(out / name) != hashlib.sha256(text.encode()).hexdigest():
            write_text(out / name, text)
    return True


def _begin(staging: Path, key: str) -> None:
    """Keep what a killed preparation of the same input by the same code left; clear anything else."""
    mark = staging / "staging.json"
    made_from = {"key": key, "code": code_hash()}
    try:
        same = read_json(mark, 1 << 16, DatasetError) == made_from
    except DatasetError:
        same = False
    if not same:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        write_json(mark, made_from)


def _write_split(
    staging: Path,
    loader: Loader,
    split: SplitName,
    source: RowSource,
    units: int | None,
    workers: int,
    report: Report,
    config: str = "",
) -> SplitManifest:
    """Write one split, of the standard configuration or a further one; what was finished before is kept.

    Args:
        staging: where to.
        loader: for the columns.
        split: its name.
        source: its rows.
        units: how many units the raw data has; None where a row is a unit.
        workers: processes that make rows.
        report: see `prepare`.
        config: name of the further configuration.
    """
    name = config or split
    done = staging / f"{name}.json"
    if done.exists():
        finished = SplitManifest.model_validate(read_json(done, 1 << 26, DatasetError))
        report(name, finished.rows)
        return finished
    from nas360.loaders.repository.parquet import write_split

    content = ContentHash(loader.columns)
    skipped: list[Mapping[str, tuple[str, ...]]] = []

    def batches() -> Iterator[Rows]:
        for piece in pieces_of(source, workers):
            skipped.append(piece.skipped)
            for rows in piece.rows:
                content.update(rows)
                yield rows
                report(name, content.rows)

    folder = config or "data"
    shards = write_split(staging / folder, split, loader.columns, batches())
    left_out = _join(skipped)
    if content.rows == 0:
        why = "".join(f"; {len(names):,} left out for: {reason}" for reason, names in left_out.items())
        raise RawDataError(f"no rows for the split {name!r}: the raw files are too few to make every split{why}")
    finished = SplitManifest(
        rows=content.rows,
        units=content.rows if units is None else units - sum(map(len, left_out.values())),
        num_bytes=sum(shard.n_bytes for shard in shards),
        files=tuple(
            DataFile(path=f"{folder}/{shard.path.name}", rows=shard.rows, bytes=shard.n_bytes, sha256=shard.sha256)
            for shard in shards
        ),
        content_sha256=content.hexdigest(),
        skipped=left_out,
    )
    write_json(done, finished.model_dump(mode="json"))
    return finished


def _join(skipped: Iterable[Mapping[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    """Names by reason, from several such tables."""
    joined: dict[str, tuple[str, ...]] = {}
    for part in skipped:
        for reason, names in part.items():
            joined[reason] = (*joined.get(reason, ()), *names)
    return joined


def _take_place(staging: Path, out: Path, keep: Collection[str]) -> None:
    """Give the staging folder the target's name; a dataset that stood there goes only after that.

    Args:
        staging: the finished folder.
        out: the target.
        keep: names of the repository's text files; any other JSON is the preparation's own.
    """
    for left in (*staging.glob("*.json"), *staging.rglob(".*.tmp*")):
        if left.name not in keep:
            left.unlink()
    old = _old(out)
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    staging.rename(out)
    shutil.rmtree(old, ignore_errors=True)
