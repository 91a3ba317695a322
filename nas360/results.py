"""Result files: the form in which a method's scores are stored, exchanged and ranked.

One file holds one method on one or more tasks. Scores stand one a seed and are never averaged beforehand. The only
exception is a number that was published as an average: it stands in a `published` block with its source, in a file
whose submission has the status `"paper"`. Such a file may lack what papers do not print: environment, rules,
parameters, cost.

Files are strict JSON of at most 1 MiB: unknown keys, keys that stand twice, NaN and infinities are refused. A file of
an older `schema_version` loads for ever.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from nas360.environment import Device, Environment, Package, collect_environment, collect_package
from nas360.errors import ResultError, first_faults
from nas360.files import MIB, read_json, write_json
from nas360.registry import nearest
from nas360.schema import (
    FIELDS,
    SCHEMA_VERSION,
    Architecture,
    Budget,
    Cost,
    Dataset,
    Failure,
    Method,
    Metric,
    Predictions,
    Published,
    PublishedRow,
    ResultFile,
    Rules,
    ScoreStderr,
    SeedRow,
    Status,
    Submission,
)
from nas360.task import Provenance, TaskSpec
from nas360.values import PATTERNS, show_range, unit_hint

__all__ = [
    "Architecture",
    "Budget",
    "Cost",
    "Dataset",
    "Device",
    "Environment",
    "Failure",
    "Method",
    "Metric",
    "Package",
    "Predictions",
    "Provenance",
    "Published",
    "PublishedRow",
    "ResultFile",
    "Rules",
    "ScoreStderr",
    "SeedRow",
    "Status",
    "Submission",
    "check_against_spec",
    "collect_environment",
    "collect_package",
    "digest",
    "json_schema",
    "load_result",
    "save_result",
]

MAX_BYTES = MIB

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(content: dict[str, Any]) -> str:
    r"""SHA-256 of the canonical JSON of a result file's content, without the key `digest`.

    Canonical: keys sorted, no blanks, signs beyond ASCII as `\u` escapes, numbers as Python writes them.

    Args:
        content: the parsed file.

    Example:
        >>> digest({"b": 0.5, "a": "é"}) == digest({"a": "é", "b": 0.5, "digest": "whatever"})
        True
    """
    bare = {key: value for key, value in content.items() if key != "digest"}
    return hashlib.sha256(_CANONICAL.encode(bare).encode()).hexdigest()


def load_result(path: Path) -> ResultFile:
    """Read and check a result file.

    Args:
        path: a file of any schema version up to this one.

    Returns:
        The file's content.

    Raises:
        ResultError: it cannot be read, breaks the schema (all faults in one message), or was changed after its digest
            was made.
    """
    content = read_json(path, MAX_BYTES, ResultError)
    if not isinstance(content, dict):
        raise ResultError(f"{path}: a result file is a JSON object, this is a {type(content).__name__}")
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ResultError(
            f"{path}: schema_version is {_show(version)}; this nas360 reads {SCHEMA_VERSION!r}. "
            "Newer files need a newer nas360; a file without it is not a result file"
        )
    try:
        result = ResultFile.model_validate(content)
    except ValidationError as cause:
        raise ResultError(_faults_text(path, cause)) from cause
    if result.digest is not None and result.digest != digest(content):
        raise ResultError(
            f"{path}: changed after it was written: its digest is {result.digest[:12]}…, its content gives "
            f"{digest(content)[:12]}…. Restore the file, or make it again with nas360"
        )
    return result


def save_result(path: Path, result: ResultFile) -> None:
    """Write a result file atomically, with its digest. Equal content gives equal bytes.

    Args:
        path: the name; its folder is made.
        result: what to write; its `digest` is computed anew.

    Raises:
        ResultError: it would be larger than `load_result` accepts.
    """
    content = result.model_dump(mode="json", by_alias=True)
    if content["$schema"] is None:
        del content["$schema"]
    content["digest"] = digest(content)
    size = len(json.dumps(content, indent=2, ensure_ascii=False).encode())
    if size > MAX_BYTES:
        raise ResultError(
            f"{path}: the result would be {size / MIB:.1f} MiB, more than the {MAX_BYTES / MIB:.0f} MiB allowed. "
            "Write one file a task, or shorten notes, genotypes and extra metrics"
        )
    write_json(path, content)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a result file, for validators in other languages and for editors."""
    return ResultFile.model_json_schema(by_alias=True, mode="validation")


def check_against_spec(row: SeedRow | PublishedRow, spec: TaskSpec) -> list[str]:
    """What a row says otherwise than the registry's spec of its task.

    Args:
        row: of a result file.
        spec: of the row's task.

    Returns:
        One sentence a fault; empty when all is well.
    """
    stated = row.metric
    low, high = spec.bounds
    expected = (spec.metric, spec.unit, spec.direction == "lower", low, high)
    found = (stated.id, stated.unit, stated.lower_is_better, stated.min, stated.max)
    faults = []
    if found != expected:
        faults += [
            f"metric/{name} is {_show(value)}, the task's is {wanted!r}"
            for name, value, wanted in zip(
                ("id", "unit", "lower_is_better", "min", "max"), found, expected, strict=True
            )
            if value != wanted
        ]
    score = row.published.mean if isinstance(row, PublishedRow) else row.score
    if score is not None and (score < low or (high is not None and score > high)):
        faults.append(
            f"score {score:g} is outside of the task's {show_range(low, high)}" + unit_hint(score, spec.unit, high)
        )
    if isinstance(row, SeedRow):
        faults += _dataset_faults(row, spec)
    return faults


def _dataset_faults(row: SeedRow, spec: TaskSpec) -> Iterator[str]:
    data = row.dataset
    if data.version != spec.protocol:
        yield f"dataset/version is {data.version}, this nas360 has protocol {spec.protocol}; they are not comparable"
    official = spec.splits[row.split]
    if spec.splits_exact and data.provenance == "official" and row.config == "default" and data.n != official:
        yield (
            f"dataset/n is {data.n:,}, the official {row.split} split has {official:,} {spec.unit_of_split}s; "
            "data that is not whole has the provenance 'partial'"
        )
    if row.status == "ok" and row.n_evaluated + row.n_missing != data.n:
        yield f"n_evaluated {row.n_evaluated:,} + n_missing {row.n_missing:,} is not dataset/n {data.n:,}"


def _show(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _faults_text(path: Path, error: ValidationError) -> str:
    found = error.errors(include_url=False)
    # pydantic counts only good rows, and so adds "at least 1 item" when every row has a fault of its own
    rows = any(fault["loc"][:1] == ("results",) and len(fault["loc"]) > 1 for fault in found)
    faults = [_fault_text(fault) for fault in found if not (rows and fault["loc"] == ("results",))]
    return f"{path}: not a valid result file:\n" + "\n".join(f"  {fault}" for fault in first_faults(faults))


_TAGS = ("seed", "published")
_KINDS = {
    "tuple_type": "must be a list",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "too_short": "must not be empty",
    "recursion_loop": "is nested too deeply",
}


def _fault_text(fault: Any) -> str:
    place = list(fault["loc"])
    if place[:1] == ["results"] and len(place) > 2 and place[2] in _TAGS:
        del place[2]  # the name of the union's branch, which the file does not have
    pointer = "/" + "/".join(str(part).encode("ascii", "backslashreplace").decode() for part in place)
    pointer = pointer if len(pointer) <= 120 else f"{pointer[:117]}…"
    kind, message, value = str(fault["type"]), str(fault["msg"]).removeprefix("Value error, "), fault["input"]
    if kind == "missing":
        return f"{pointer}: missing, but required"
    if kind == "extra_forbidden":
        return f"{pointer}: {_unknown_key(str(place[-1]))}"
    if kind in _KINDS:
        message = _KINDS[kind]
    elif kind == "string_pattern_mismatch":
        message = PATTERNS.get(str(fault["ctx"]["pattern"]), message)
    if not isinstance(value, dict | list | BaseModel) and kind != "value_error":
        message += f"; it is {_show(value)}"
    return f"{pointer}: {message}"


def _unknown_key(key: str) -> str:
    if key in FIELDS:
        return "does not belong here; a row either has `published` or is one run with a seed"
    near = nearest(key, FIELDS)
    return f"unknown key; did you mean {near!r}?" if near else "unknown key; remove it (free text goes into `notes`)"
