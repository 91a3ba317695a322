"""What every space gives: architectures as frozen values, and networks built from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from nas360.errors import RunError
from nas360.task import TaskSpec

if TYPE_CHECKING:
    from torch import nn

A = TypeVar("A")


class Space(Protocol[A]):
    """A family of networks.

    `A` is the space's architecture: a frozen dataclass, the only thing that passes from search to final training. Its
    `str` is a short name for people.

    Attributes:
        id: short name, stored beside every architecture.
    """

    @property
    def id(self) -> str:
        """Short name."""
        ...

    def default(self, spec: TaskSpec) -> A:
        """The architecture that is used without a search."""
        ...

    def build(self, architecture: A, spec: TaskSpec) -> nn.Module:
        """A fresh network, initialised from torch's current generator.

        Returns:
            (n, *spec.input_shape) → (n, outputs), or (n, outputs, *space) for a dense task.

        Raises:
            RunError: when the architecture cannot serve the task.
        """
        ...

    def refusal(self, spec: TaskSpec) -> str | None:
        """Why the space cannot serve the task, as the end of a sentence; None when it can."""
        ...

    def narrower(self, architecture: A) -> tuple[A, ...]:
        """Cheaper architectures of the same form, in falling order of cost; what a small budget may fall back on."""
        ...

    def to_json(self, architecture: A) -> dict[str, Any]:
        """The architecture as plain JSON values."""
        ...

    def from_json(self, content: Mapping[str, Any]) -> A:
        """The architecture that `to_json` wrote.

        Raises:
            RunError: when `content` is not such an architecture.
        """
        ...


def take_fields(content: Mapping[str, Any], kind: str, **types: type | tuple[type, ...]) -> dict[str, Any]:
    """Check foreign JSON against the fields of an architecture.

    Args:
        content: what was read.
        kind: what it should be, for the message.
        types: field → allowed type or types. A bool does not pass as a number.

    Returns:
        The content as a dict, with exactly these fields.

    Raises:
        RunError: that names the fields which are missing, unknown or of a wrong type.

    Example:
        >>> take_fields({"depth": 16}, "toy", depth=int)
        {'depth': 16}
        >>> take_fields({"depht": 16}, "toy", depth=int)
        Traceback (most recent call last):
        ...
        nas360.errors.RunError: not a toy architecture: missing depth; unknown depht. Allowed fields: depth
    """
    faults = []
    if missing := [name for name in types if name not in content]:
        faults.append(f"missing {', '.join(missing)}")
    if unknown := [str(name) for name in content if name not in types]:
        faults.append(f"unknown {', '.join(unknown)}")
    for name, allowed in types.items():
        value = content.get(name)
        allowed = allowed if isinstance(allowed, tuple) else (allowed,)
        if name in content and (not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)):
            faults.append(f"{name} is {value!r}, not {' or '.join(kind.__name__ for kind in allowed)}")
    if faults:
        raise RunError(f"not a {kind} architecture: {'; '.join(faults)}. Allowed fields: {', '.join(types)}")
    return dict(content)
