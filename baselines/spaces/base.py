"""What every space gives: architectures as frozen values, and networks built from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, get_args, runtime_checkable

from nas360.errors import RunError
from nas360.task import TaskSpec

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

A = TypeVar("A")
Mixing = Literal["softmax", "simplex", "double_softmax"]


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


class Sampled(Space[A], Protocol[A]):
    """A space from which architectures can be drawn."""

    def sample(self, spec: TaskSpec, rng: np.random.Generator) -> A:
        """An architecture, drawn as the space says."""
        ...


@runtime_checkable
class Named(Protocol):
    """A space with architectures that are known by name.

    Attributes:
        known: name → architecture.
    """

    @property
    def known(self) -> Mapping[str, Any]:
        """Name → architecture."""
        ...


@runtime_checkable
class Drawn(Protocol):
    """A space whose architectures can be drawn."""

    def draw(self, architecture: Any, name: str = "") -> str:
        """A picture of an architecture as an SVG document.

        Args:
            architecture: what to draw.
            name: title of the document.
        """
        ...


@runtime_checkable
class DrawnOnTask(Protocol):
    """A space of whose architectures some tasks use a part alone."""

    def draw_on(self, spec: TaskSpec, architecture: Any, name: str = "") -> str:
        """As `Drawn.draw`, of what a network for the task has."""
        ...


def drawing(space: Drawn, architecture: Any, spec: TaskSpec, name: str = "") -> str:
    """The picture of an architecture, of what a network for the task has of it, as an SVG document.

    Args:
        space: of the architecture.
        architecture: to draw.
        spec: the task.
        name: title of the document.
    """
    if isinstance(space, DrawnOnTask):
        return space.draw_on(spec, architecture, name)
    return space.draw(architecture, name)


@dataclass(frozen=True)
class Relaxation:
    """How a space of discrete choices becomes one network in which all of them are mixed.

    Attributes:
        partial_channels: K; one channel in K goes through the operations, the others pass by (PC-DARTS: 4). 1: all
            channels (DARTS).
        edge_normalisation: whether the inputs of a node are mixed by weights of their own (PC-DARTS).
        mixing: what the architecture parameters are. `softmax`: logits, small and random at the start (DARTS).
            `simplex`: the mixture weights themselves, uniform at the start (GAEA as published). `double_softmax`:
            ones at the start, which the search keeps on a simplex, with a softmax upon them all the same (GAEA as
            the NAS-Bench-360 code has it, which holds every weight of eight between 0.103 and 0.280).
        width: C, channels of the first cells.
        cells: number of cells.
    """

    partial_channels: int = 4
    edge_normalisation: bool = True
    mixing: Mixing = "simplex"
    width: int = 16
    cells: int = 8

    def __post_init__(self) -> None:
        if self.mixing not in get_args(Mixing):
            raise RunError(f"mixing {self.mixing!r} is none of {', '.join(get_args(Mixing))}")
        if self.partial_channels < 1 or self.cells < 3:
            raise RunError(
                f"partial channels {self.partial_channels} must be at least 1, and cells {self.cells} at least 3"
            )
        if self.width < 1 or self.width % (2 * self.partial_channels):
            raise RunError(
                f"width {self.width} is no multiple of {2 * self.partial_channels}, twice the {self.partial_channels} "
                f"partial channels"
            )

    def narrower(self) -> tuple[Relaxation, ...]:
        """The same with fewer cells and channels, in falling order of cost, as far as that is less."""
        least = 2 * self.partial_channels
        sizes = ((8, 8), (5, 8), (3, 8), (3, 4), (3, 2))
        return tuple(
            replace(self, cells=cells, width=width)
            for cells, width in ((cells, max(least, width - width % least)) for cells, width in sizes)
            if cells <= self.cells and width <= self.width and (cells, width) != (self.cells, self.width)
        )


class Supernet(Protocol):
    """What `Differentiable.relax` gives, beside being a module: weights and architecture parameters apart."""

    def weight_parameters(self) -> list[nn.Parameter]:
        """All parameters but those of the architecture."""
        ...

    def architecture_parameters(self) -> dict[str, nn.Parameter]:
        """Architecture parameters by name, float32. All of them take part in the output."""
        ...

    def simplices(self) -> dict[str, Tensor]:
        """Which entries belong together, by the names of `architecture_parameters`.

        Returns:
            int64 tensors in the parameters' shapes: entries with the same number form one simplex (or one softmax).
        """
        ...

    def mixture(self) -> dict[str, Tensor]:
        """The weights that the forward pass mixes with, detached, in the shapes of the parameters; each sums to 1."""
        ...


class Differentiable(Space[A], Protocol[A]):
    """A space that can be searched by gradient."""

    def relax(self, spec: TaskSpec, relaxation: Relaxation) -> Any:
        """A fresh supernet, initialised from torch's current generator.

        Returns:
            An `nn.Module` that is a `Supernet`; inputs and outputs as of `Space.build`.

        Raises:
            RunError: when the relaxation cannot serve the task.
        """
        ...

    def decode(self, supernet: Any) -> A:
        """The discrete architecture that the mixture of one of this space's supernets is nearest to."""
        ...


@runtime_checkable
class Labelled(Protocol):
    """A space whose mixtures can be read by people."""

    def labels(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What the weights of a mixture belong to.

        Args:
            name: of an architecture parameter.

        Returns:
            Labels of the rows (all dimensions but the last, in C order) and of the columns (the last). A mixture of
            one dimension has as many rows as entries, and one column.

        Raises:
            RunError: the space has no such parameter.
        """
        ...


@runtime_checkable
class LabelledOnTask(Protocol):
    """A space whose mixtures hang on the task, and on how it was searched."""

    def labels_on(
        self, spec: TaskSpec, algorithm: Mapping[str, Any], name: str
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """As `Labelled.labels`.

        Args:
            spec: the task.
            algorithm: settings of the search, as a run's log has them.
            name: of an architecture parameter.
        """
        ...


def labelling(
    space: Any, spec: TaskSpec | None, algorithm: Mapping[str, Any]
) -> Callable[[str], tuple[tuple[str, ...], tuple[str, ...]]] | None:
    """From the name of a mixture to what its weights belong to; None where the space does not say.

    Args:
        space: of the search.
        spec: the task; None where it is not known.
        algorithm: settings of the search.
    """
    if isinstance(space, Labelled):
        return space.labels
    if isinstance(space, LabelledOnTask) and spec is not None:
        return partial(space.labels_on, spec, algorithm)
    return None


def take_fields(content: Mapping[str, Any], kind: str, **types: type | tuple[type, ...]) -> dict[str, Any]:
    """Check foreign JSON against the fields of an architecture.

    Args:
        content: what was read; any JSON value.
        kind: what it should be, for the message.
        types: field → allowed type or types. A bool does not pass as a number.

    Returns:
        The content as a dict, with exactly these fields.

    Raises:
        RunError: that names the fields which are missing, unknown or of a wrong type; or the content is no object.

    Example:
        >>> take_fields({"depth": 16}, "toy", depth=int)
        {'depth': 16}
        >>> take_fields({"depht": 16}, "toy", depth=int)
        Traceback (most recent call last):
        ...
        nas360.errors.RunError: not a toy architecture: missing depth; unknown depht. Allowed fields: depth
    """
    if not isinstance(content, Mapping):
        raise RunError(f"not a {kind} architecture: {content!r} is no object. Its fields: {', '.join(types)}")
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
