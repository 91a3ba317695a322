"""Everything that is wrong with result files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from nas360.errors import ResultError
from nas360.faults import Fault
from nas360.results import load_result
from nas360.task import TaskSpec

__all__ = ["Fault", "check_file", "check_files"]


def check_file(path: Path, specs: Mapping[str, TaskSpec]) -> list[Fault]:
    """Everything that is wrong with one result file. Never raises.

    Args:
        path: the file.
        specs: every known task.
    """
    try:
        load_result(path)
    except ResultError as error:
        return [Fault("error", "NAS360-E001", str(path), "", "", str(error), "")]
    return []


def check_files(paths: Iterable[Path], specs: Mapping[str, TaskSpec]) -> list[Fault]:
    """Everything that is wrong with result files, each by itself and all together. Never raises.

    Args:
        paths: the files.
        specs: every known task.
    """
    return [fault for path in paths for fault in check_file(path, specs)]
