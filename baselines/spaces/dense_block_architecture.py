"""Architectures of the DenseNAS space: a chain of blocks, each with a width, a number of layers and a stride."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nas360.baselines.spaces.base import take_fields
from nas360.errors import RunError


@dataclass(frozen=True)
class ChainBlock:
    """One block of a network.

    Attributes:
        width: channels.
        layers: basic blocks in it, the head among them.
        stride: of the head; 2 halves the size.
    """

    width: int
    layers: int = 1
    stride: int = 1

    def __post_init__(self) -> None:
        if self.width < 1 or self.layers < 1 or self.stride not in (1, 2):
            raise RunError(
                f"a block of width {self.width}, {self.layers} layers and stride {self.stride}: width and layers must "
                f"be at least 1, the stride 1 or 2"
            )


@dataclass(frozen=True)
class DenseBlockArchitecture:
    """A network of the DenseNAS space.

    Attributes:
        stem: channels of the stem.
        blocks: the blocks in order.

    Example:
        >>> str(DenseBlockArchitecture(32, (ChainBlock(64, 1, 2), ChainBlock(112, 4))))
        '32 → 64/2 → 112x4'
    """

    stem: int
    blocks: tuple[ChainBlock, ...]

    def __post_init__(self) -> None:
        if self.stem < 1 or not self.blocks:
            raise RunError(f"a stem of {self.stem} channels and {len(self.blocks)} blocks: both must be at least 1")

    def __str__(self) -> str:
        def shown(block: ChainBlock) -> str:
            layers = f"x{block.layers}" if block.layers > 1 else ""
            return f"{block.width}{layers}{'/2' if block.stride == 2 else ''}"

        return " → ".join([str(self.stem), *map(shown, self.blocks)])


def to_json(architecture: DenseBlockArchitecture) -> dict[str, Any]:
    """Plain JSON values."""
    return {"stem": architecture.stem, "blocks": [asdict(block) for block in architecture.blocks]}


def from_json(content: Mapping[str, Any]) -> DenseBlockArchitecture:
    """The architecture that `to_json` wrote.

    Raises:
        RunError: `content` is not such an architecture.
    """
    fields = take_fields(content, "dense block", stem=int, blocks=list)
    blocks = []
    for number, block in enumerate(fields["blocks"]):
        if not isinstance(block, Mapping):
            raise RunError(f"not a dense block architecture: block {number} is {block!r}, not an object")
        blocks.append(ChainBlock(**take_fields(block, "dense block's block", width=int, layers=int, stride=int)))
    return DenseBlockArchitecture(fields["stem"], tuple(blocks))
