"""What is wrong with a dataset repository: everything at once, each fault with a code.

What is checked is what others build on: the files are those that the manifest names, the rows are what the task's
columns say, nothing of a test split is in a training split by its keys, the texts are those that this version writes,
and `datasets.load_dataset` reads every split.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nas360.errors import DatasetError, UserError, first_faults
from nas360.files import sha256_file
from nas360.loaders import TASKS
from nas360.loaders.base import Task
from nas360.loaders.repository.manifest import DataFile, Manifest, read_manifest
from nas360.loaders.repository.texts import AUDIT, read_audit, texts

Severity = Literal["error", "warning"]
Report = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

TOLERATED = frozenset({".gitattributes", "LICENSE"})
"""Files that may stand in a repository and are not checked."""

_TOLERATED_FOLDERS = frozenset({".git", ".cache"})  # of git and of the Hub's client
_TAKEN_AS_DATA = frozenset(
    ".json .jsonl .csv .tsv .txt .parquet .arrow .py .zip .tar .gz .h5 .hdf5 .npy .npz .pkl .wav .png .jpg".split()
)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        severity: an error makes the dataset unfit to be published or used; a warning is for a person to judge.
        code: short name of the kind of fault, for programs.
        message: what is there, what should be, and what to do.
    """

    severity: Severity
    code: str
    message: str

    def public(self) -> dict[str, str]:
        """The fault as plain JSON values."""
        return {"severity": self.severity, "code": self.code, "message": self.message}


class Faults:
    """Faults as they are found."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def error(self, code: str, message: str) -> None:
        """Note an error."""
        self.found.append(Fault("error", code, message))

    def warn(self, code: str, message: str) -> None:
        """Note a warning."""
        self.found.append(Fault("warning", code, message))

    def errors(self, code: str, messages: Iterable[str]) -> None:
        """Note errors of one kind: the first of many, and how many more there are."""
        for message in first_faults(list(messages)):
            self.error(code, message)


def verify(folder: Path, quick: bool = False, report: Report = lambda step, done, total: None) -> list[Fault]:
    """Find what is wrong with a dataset repository.

    A file that is not the one that the manifest names is not decoded; its rows are then not judged.

    Args:
        folder: the repository.
        quick: do not decode every row: some rows of each file are looked at, and the content hash is not computed.
        report: told of the progress.

    Returns:
        All faults; none where the dataset is whole.
    """
    faults = Faults()
    try:
        manifest = read_manifest(folder)
        task = TASKS[manifest.task]
        _ = task.loader
    except UserError as cause:  # damaged, no task of ours, or a task that cannot be read yet
        faults.error("manifest", str(cause))
        return faults.found
    if manifest.protocol != task.spec.protocol:
        faults.error(
            "protocol",
            f"made by protocol {manifest.protocol}; this nas360 reads {task.spec.protocol}. Prepare the dataset anew",
        )
        return faults.found
    damaged = _check_files(folder, manifest, faults, report)
    wanted = expected_texts(folder, task, manifest)
    _check_texts(folder, wanted, faults)
    _check_strangers(folder, {file.path for file in manifest.all_files()} | set(wanted), faults)
    from nas360.loaders.repository.verify_rows import check_rows

    check_rows(
        folder, task, {str(name): entry for name, entry in manifest.splits.items()}, damaged, quick, faults, report
    )
    for name, entry in manifest.configs.items():
        check_rows(folder, task, {name: entry}, damaged, quick, faults, report)
    if not damaged:
        _check_load(folder, manifest, faults, report)
    _check_audit(folder, manifest, faults)
    if manifest.provenance != "official":
        why = f": {'; '.join(manifest.departures)}" if manifest.departures else ""
        faults.warn("provenance", f"this is {manifest.provenance} data, not the official distribution{why}")
    return faults.found


def _check_files(folder: Path, manifest: Manifest, faults: Faults, report: Report) -> frozenset[str]:
    """Compare sizes and hashes; the paths of the files that are not as the manifest says."""
    files = manifest.all_files()
    total = sum(file.bytes for file in files)
    damaged: set[str] = set()
    done = 0
    for file in files:
        path = folder / file.path
        what = _damage(path, file)
        if what:
            code, message = what
            faults.error(code, f"{file.path} {message}. Prepare or download the dataset anew")
            damaged.add(file.path)
        done += file.bytes
        report("hash", done, total)
    names = [file.path for file in files]
    faults.errors("manifest", (f"{name} stands twice in the manifest" for name in set(names) if names.count(name) > 1))
    return frozenset(damaged)


def _damage(path: Path, file: DataFile) -> tuple[str, str] | None:
    try:
        if not path.is_file():
            return "missing_file", "is missing, though manifest.json names it"
        if (size := path.stat().st_size) != file.bytes:
            return "file_size", f"has {size:,} bytes, in manifest.json {file.bytes:,}"
        if (digest := sha256_file(path)) != file.sha256:
            return "file_sha256", f"has the SHA-256 {digest[:16]}…, in manifest.json {file.sha256[:16]}…"
    except OSError as cause:
        return "missing_file", f"cannot be read ({cause.strerror})"
    return None


def _check_texts(folder: Path, wanted: Mapping[str, str], faults: Faults) -> None:
    """The files beside the data are what this version writes from the manifest."""
    for name, text in wanted.items():
        try:
            given = (folder / name).read_bytes()
        except OSError:
            faults.error("missing_file", f"{name} is missing. Prepare the dataset anew")
            continue
        if given == text.encode():
            continue
        if name == "metric.py":
            faults.error(
                "metric_script",
                "metric.py is not the one that this nas360 writes, so that its score need not be that of `nas360 "
                "evaluate`. Prepare the dataset anew",
            )
        elif name == "README.md":
            _compare_cards(given, text, faults)
        else:
            faults.warn("drift", f"{name} is not as this nas360 writes it. Prepare the dataset anew")


def expected_texts(folder: Path, task: Task, manifest: Manifest) -> dict[str, str]:
    """File name → text, as this version writes them for the manifest and the audit that stand in the folder."""
    try:
        audit = read_audit(folder)
    except DatasetError:  # told apart from this
        audit = None
    return texts(task, manifest, audit)


def _compare_cards(given: bytes, expected: str, faults: Faults) -> None:
    """Tell a front matter that misleads `load_dataset` from prose that differs."""
    wanted = _front_matter(expected)
    try:
        found = _front_matter(given.decode())
    except ValueError as cause:
        faults.error("front_matter", f"README.md: {cause}. Prepare the dataset anew")
        return
    wrong = [key for key in ("configs", "dataset_info") if found.get(key) != wanted.get(key)]
    if wrong:
        faults.error(
            "front_matter",
            f"README.md: {' and '.join(wrong)} in the front matter (splits, sizes, types) are not those of the data: "
            "load_dataset may refuse or misread it. Prepare the dataset anew",
        )
    else:
        faults.warn("readme", "README.md is not the card that this nas360 writes. Prepare the dataset anew")


def _front_matter(text: str) -> Mapping[str, Any]:
    """The parsed YAML between the first two lines of dashes.

    Raises:
        ValueError: there is none, or it is no YAML.
    """
    import yaml

    parts = text.split("---\n", 2)
    if len(parts) < 3 or parts[0]:
        raise ValueError("no front matter between lines of dashes")
    try:
        content = yaml.safe_load(parts[1])
    except (yaml.YAMLError, ValueError, RecursionError) as cause:
        raise ValueError("the front matter is no YAML") from cause
    if not isinstance(content, dict):
        raise ValueError("the front matter holds no keys")
    return content


def _check_strangers(folder: Path, known: set[str], faults: Faults) -> None:
    """Files that nobody expects: some would be taken as data, others are what a killed program left."""
    strangers: dict[Severity, list[str]] = {"error": [], "warning": []}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _TOLERATED_FOLDERS)
        for name in sorted(names):
            path = (Path(place) / name).relative_to(folder)
            if path.as_posix() in known | TOLERATED | {AUDIT}:
                continue
            hidden = any(part.startswith(".") for part in path.parts)
            serious = hidden or len(path.parts) > 1 or path.suffix.lower() in _TAKEN_AS_DATA
            strangers["error" if serious else "warning"].append(path.as_posix())
    for name in first_faults(strangers["error"]):
        faults.error(
            "unexpected_file",
            f"{name} does not belong to the dataset, and may be taken as data or is left over. Remove it",
        )
    for name in first_faults(strangers["warning"]):
        faults.warn("unexpected_file", f"{name} does not belong to the dataset. Remove it, if it is not wanted")


def _check_load(folder: Path, manifest: Manifest, faults: Faults, report: Report) -> None:
    """What a user does first: read a row of every split with `load_dataset`."""
    import datasets

    if glob.has_magic(str(folder.absolute())):
        faults.warn(
            "load_not_tried",
            f"load_dataset takes {folder} for a pattern of names, for its brackets or stars. Rename or move the folder",
        )
        return
    wanted = [("default", split) for split in manifest.splits] + [(name, "train") for name in manifest.configs]
    for done, (config, split) in enumerate(wanted, start=1):
        try:
            # streaming, since otherwise the whole dataset would be copied into the user's cache
            rows = datasets.load_dataset(str(folder.absolute()), config, split=split, streaming=True)
            row = next(iter(rows))
            if not row.get("id"):
                faults.error("load_dataset", f"{config}/{split}: the first row that load_dataset gives has no id")
        except Exception as cause:  # whatever it raises, the dataset's users would meet it
            reason = " ".join(str(cause).split())[:300]
            faults.error(
                "load_dataset",
                f"{config}/{split}: datasets.load_dataset cannot read it ({type(cause).__name__}: {reason}). "
                "Prepare the dataset anew",
            )
        report("load_dataset", done, len(wanted))


def _check_audit(folder: Path, manifest: Manifest, faults: Faults) -> None:
    try:
        content = read_audit(folder)
    except DatasetError as cause:
        faults.error("audit", str(cause))
        return
    if content is None:
        faults.warn("audit_missing", f"there is no {AUDIT}. Make one with `nas360 audit {folder}`")
    elif content.get("content_sha256") != manifest.content_sha256:
        faults.error("audit", f"{AUDIT} is not of this data. Make it anew with `nas360 audit {folder}`")
    elif not isinstance(content.get("summary"), dict):
        faults.error("audit", f"{AUDIT} has no summary. Make it anew with `nas360 audit {folder}`")
