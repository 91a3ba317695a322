"""Networks of AMBER's layers as values: an operation for every layer, and which earlier layers it is added to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nas360.baselines.spaces.base import take_fields
from nas360.errors import RunError

OPERATIONS = (
    "conv_8",
    "conv_4",
    "dilated_conv_8",
    "dilated_conv_4",
    "max_pool_4",
    "avg_pool_4",
    "identity",
)
"""The candidates of every layer, in the order of the controller's tokens. The number is the kernel's."""

STAGES = 4
"""Parts of equally many layers; from one to the next a quarter of the positions and twice the channels are left."""

LETTERS = dict(zip(OPERATIONS, "CcDdmai", strict=True))


@dataclass(frozen=True)
class AmberArchitecture:
    """A network of layers.

    Attributes:
        operations: one of `OPERATIONS` for every layer; a multiple of four.
        skips: for every layer the earlier ones, counted from 0 and rising, whose outputs are added to its own.
        width: channels of the first quarter of the layers; each quarter has twice those of the one before.
        hidden: width of the fully connected layer before the answer.
        dropout: probability with which a number is left out, after every layer and before the fully connected one.
    """

    operations: tuple[str, ...]
    skips: tuple[tuple[int, ...], ...]
    width: int = 64
    hidden: int = 100
    dropout: float = 0.1

    def __post_init__(self) -> None:
        layers = len(self.operations)
        if not layers or layers % STAGES:
            raise RunError(f"{layers} layers of an AMBER network are no multiple of {STAGES}")
        if wrong := [name for name in self.operations if name not in OPERATIONS]:
            raise RunError(f"operation {wrong[0]!r} is none of {', '.join(OPERATIONS)}")
        if len(self.skips) != layers:
            raise RunError(f"{len(self.skips)} lists of skips for {layers} layers")
        for layer, sources in enumerate(self.skips):
            if list(sources) != sorted({source for source in sources if 0 <= source < layer}):
                raise RunError(f"skips {sources} of layer {layer} are not rising numbers of earlier layers")
        if self.width < 1 or self.hidden < 1:
            raise RunError(f"width {self.width} and hidden width {self.hidden} must both be at least 1")
        if not 0 <= self.dropout < 1:
            raise RunError(f"dropout {self.dropout} is not a probability in [0, 1)")

    def __str__(self) -> str:
        letters = "".join(LETTERS[name] for name in self.operations)
        return f"AMBER {letters} with {sum(map(len, self.skips))} skips, width {self.width}"


def sample(layers: int, rng: np.random.Generator) -> AmberArchitecture:
    """Uniform: every operation equally likely, every skip with probability one half."""
    operations = tuple(OPERATIONS[int(token)] for token in rng.integers(len(OPERATIONS), size=layers))
    drawn = rng.random((layers, layers)) < 0.5
    skips = tuple(tuple(source for source in range(layer) if drawn[layer, source]) for layer in range(layers))
    return AmberArchitecture(operations, skips)


def to_json(architecture: AmberArchitecture) -> dict[str, Any]:
    """Plain JSON values."""
    skips = [list(sources) for sources in architecture.skips]
    return {**asdict(architecture), "operations": list(architecture.operations), "skips": skips}


def from_json(content: Mapping[str, Any]) -> AmberArchitecture:
    """The architecture that `to_json` wrote.

    Raises:
        RunError: when `content` is not such an architecture.
    """
    fields = take_fields(content, "AMBER", operations=list, skips=list, width=int, hidden=int, dropout=(float, int))
    if not all(isinstance(name, str) for name in fields["operations"]):
        raise RunError(f"not an AMBER architecture: operations {fields['operations']!r} are not all names")
    for sources in fields["skips"]:
        if not isinstance(sources, list) or not all(type(source) is int for source in sources):
            raise RunError(f"not an AMBER architecture: skips {sources!r} are not a list of whole numbers")
    fields["operations"] = tuple(fields["operations"])
    fields["skips"] = tuple(tuple(sources) for sources in fields["skips"])
    return AmberArchitecture(**fields)
