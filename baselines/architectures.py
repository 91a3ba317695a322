"""Architectures as users give them: by name, or in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas360.baselines.method import Method
from nas360.baselines.spaces.base import Named
from nas360.errors import RunError
from nas360.files import MIB, read_json
from nas360.registry import did_you_mean
from nas360.task import TaskSpec


def read_architecture(given: str, method: Method, spec: TaskSpec) -> Any:
    """The architecture of a name or a file.

    Args:
        given: a name that the method's space knows, such as `DARTS_V2`, which gets the task's size; or the path of a
            run's `architecture.json` or of a file with what `Space.to_json` writes, which is taken as it is.
        method: whose space it is of.
        spec: the task.

    Raises:
        RunError: it is neither, or of another space.
    """
    space = method.space
    known: Mapping[str, Any] = space.known if isinstance(space, Named) else {}
    if given in known:
        return known[given] if method.final is None else method.final(known[given], spec)
    path = Path(given)
    if not path.exists():
        names = f", and none of the names {', '.join(known)}.{did_you_mean(given, list(known))}" if known else "."
        raise RunError(
            f"{given!r} is no file{names} Give a run's architecture.json, or one with the architecture alone"
        )
    content = read_json(path, MIB, RunError)
    if not isinstance(content, Mapping):
        raise RunError(f"{path} holds no JSON object, where an architecture was expected")
    if "space" in content and "architecture" in content:
        if content["space"] != space.id:
            raise RunError(f"{path} is of the space {content['space']!r}, where {method.id} has {space.id!r}")
        content = content["architecture"]
    try:
        return space.from_json(content)
    except RunError as cause:
        raise RunError(f"{path}: {cause}") from cause
