"""Result files: the form in which a method's scores are stored, exchanged and ranked.

One file holds one method on one or more tasks. Scores stand one a seed and are never averaged beforehand. The only
exception is a number that was published as an average: it stands in a `published` block with its source, in a file
whose submission has the status `"paper"`. Such a file may lack what papers do not print: environment, rules,
parameters, cost.

Files are strict JSON of at most 1 MiB: unknown keys, keys that stand twice, NaN and infinities are refused. A file of
an older `schema_version` loads for ever.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nas360.environment import Device, Environment, Package, collect_environment, collect_package
from nas360.errors import ResultError, first_faults
from nas360.faults import Fault
from nas360.files import MIB, parse_json, read_text, write_json
from nas360.quick_json import digest, quick_parse
from nas360.rules import hide_secrets, may_hold_secret, spec_faults
from nas360.schema import (
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
from nas360.schema_faults import content_faults, too_long
from nas360.task import Provenance, TaskSpec

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


class _Faulty(Exception):
    """It is no result file of a version that is known, or a bomb."""


def load_result(path: Path) -> ResultFile:
    """Read and check a result file.

    Args:
        path: a file of any schema version up to this one.

    Returns:
        The file's content.

    Raises:
        ResultError: it cannot be read, breaks the schema (all faults in one message), was changed after its digest was
            made, or holds a token or password.
    """
    text = read_text(path, MAX_BYTES, ResultError)
    quick = quick_parse(text)
    content = quick[0] if quick else parse_json(text, str(path), ResultError)
    faults: list[Fault] = []
    try:
        if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION or too_long(content):
            raise _Faulty
        result = ResultFile.model_validate(content)
        true = quick[1] if quick else digest(content)
        if (result.digest is not None and result.digest != true) or may_hold_secret(text):
            faults = content_faults(content)
    except (ValidationError, _Faulty):
        faults = content_faults(content)
    if len(faults) == 1 and not faults[0].pointer:
        raise ResultError(f"{path}: {faults[0].text}")
    if faults:
        lines = first_faults([f"{fault.pointer or '/'}: {fault.text}" for fault in faults])
        raise ResultError(f"{path}: not a valid result file:\n" + "\n".join(f"  {line}" for line in lines))
    return result


def save_result(path: Path, result: ResultFile) -> None:
    """Write a result file atomically, with its digest. Equal content gives equal bytes.

    A token or password in a text, which a command line or a message of failure may hold, is replaced by `[removed]`: a
    run must not be lost for it, nor it be published.

    Args:
        path: the name; its folder is made.
        result: what to write; its `digest` is computed anew.

    Raises:
        ResultError: it would be larger than `load_result` accepts.
    """
    content = result.model_dump(mode="json", by_alias=True)
    if content["$schema"] is None:
        del content["$schema"]
    content = hide_secrets(content)
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
    schema = ResultFile.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def check_against_spec(row: SeedRow | PublishedRow, spec: TaskSpec) -> list[str]:
    """What a row says otherwise than the registry's spec of its task.

    Args:
        row: of a result file.
        spec: of the row's task.

    Returns:
        One sentence a fault; empty when all is well.
    """
    return [fault.text for fault in spec_faults(row, spec)]
