"""Spaces of layers: a choice a layer and skips from earlier ones, whose networks share weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from nas360.baselines.spaces.base import Space
from nas360.task import TaskSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

A = TypeVar("A")


class Child(NamedTuple):
    """The choices of one network.

    Attributes:
        operations: for every layer the number of its operation.
        skips: for every layer the earlier ones, rising, whose outputs are added.
    """

    operations: tuple[int, ...]
    skips: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Layout:
    """What there is to choose.

    Attributes:
        layers: how many layers; layer i has i possible skips.
        operations: operations to choose from in every layer.
    """

    layers: int
    operations: int


class SharedWeights(Protocol):
    """What `Layered.share` gives, beside being a module."""

    child: Child
    """Whose answer the module's call gives: (n, *spec.input_shape) → (n, outputs)."""

    def outputs(self, x: Tensor, children: Sequence[Child]) -> list[Tensor]:
        """Answers of several children on the same inputs, (n, outputs) each; see `Space.build`."""
        ...


class Layered(Space[A], Protocol[A]):
    """A space whose networks are children of shared weights."""

    @property
    def layout(self) -> Layout:
        """What there is to choose."""
        ...

    def share(self, spec: TaskSpec, width: int) -> Any:
        """Fresh shared weights, initialised from torch's current generator.

        Args:
            spec: the task.
            width: of the narrowest layers.

        Returns:
            An `nn.Module` that is `SharedWeights`.
        """
        ...

    def alone(self, child: Child, spec: TaskSpec, width: int) -> nn.Module:
        """A child with weights of its own: a network that costs what the child does."""
        ...

    def architecture(self, child: Child) -> A:
        """The architecture that is trained in the end."""
        ...
