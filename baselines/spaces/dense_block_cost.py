"""Multiply-adds of everything that a DenseNAS network can be made of, from shapes alone, 1D and 2D alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas360.baselines.cost import TRAFFIC
from nas360.baselines.ends import is_dense
from nas360.baselines.spaces.dense_block_architecture import DenseBlockArchitecture
from nas360.baselines.spaces.dense_block_table import Table
from nas360.task import TaskSpec

if TYPE_CHECKING:
    from torch import Tensor


def basic_block(positions: int, dims: int, in_width: int, width: int, stride: int) -> int:
    """Multiply-adds of a `BasicBlock`.

    Args:
        positions: of its output.
        dims: spatial dimensions.
        in_width: channels of the input.
        width: channels of the output.
        stride: of the block.
    """
    shortcut = in_width if in_width != width or stride != 1 else 0
    taps: int = 3**dims
    return positions * width * (taps * (in_width + width) + shortcut)


def sizes(spec: TaskSpec, halvings: int) -> tuple[int, ...]:
    """Spatial sizes after so many halvings, each rounded up."""
    return tuple(-(-size // 2**halvings) for size in spec.input_shape[1:])


def _stem(spec: TaskSpec, width: int) -> int:
    taps: int = 3**spec.spatial_dims
    return math.prod(spec.input_shape) * taps * width


def _classifier(spec: TaskSpec, width: int) -> int:
    return width * spec.output.channels * (math.prod(spec.input_shape[1:]) if is_dense(spec) else 1)


def network_macs(architecture: DenseBlockArchitecture, spec: TaskSpec) -> int:
    """Multiply-adds of a network on one sample."""
    total, width, halvings = _stem(spec, architecture.stem), architecture.stem, 0
    for block in architecture.blocks:
        halvings += block.stride == 2
        positions = math.prod(sizes(spec, halvings))
        total += basic_block(positions, spec.spatial_dims, width, block.width, block.stride)
        total += (block.layers - 1) * basic_block(positions, spec.spatial_dims, block.width, block.width, 1)
        width = block.width
    return total + _classifier(spec, width)


@dataclass(frozen=True)
class TableCost:
    """Multiply-adds of a table's parts, on one sample.

    Attributes:
        stem: of the stem.
        heads: of the head of every edge, the classifiers of those to the end included.
        layers: of one layer of every block.
    """

    stem: int
    heads: tuple[int, ...]
    layers: tuple[int, ...]


def table_cost(table: Table, spec: TaskSpec) -> TableCost:
    """Count a table's parts."""
    dims = spec.spatial_dims
    positions = [math.prod(sizes(spec, block.halvings)) for block in table.blocks]
    heads = []
    for edge in table.edges:
        width = table.channels(edge.source)
        if edge.target == len(table.blocks):
            heads.append(_classifier(spec, width))
        else:
            target = table.blocks[edge.target].width
            heads.append(basic_block(positions[edge.target], dims, width, target, edge.stride))
    layers = [
        basic_block(there, dims, block.width, block.width, 1)
        for there, block in zip(positions, table.blocks, strict=True)
    ]
    return TableCost(_stem(spec, table.stem), tuple(heads), tuple(layers))


def _block_outputs(positions: int, in_width: int, width: int, stride: int) -> int:
    """Numbers that a `BasicBlock` writes: two convolutions, two norms, a sum, two ReLUs; its projection and norm."""
    return positions * width * (9 if in_width != width or stride != 1 else 7)


def supernet_work(table: Table, spec: TaskSpec) -> tuple[int, int]:
    """Work of one sample in a supernet (`cost.Cost.work`): what is always computed, and all layers that can be skipped.

    The same could be counted on the supernet itself; it takes seconds there, and a plan asks for many tables.
    """
    parts, blocks = table_cost(table, spec), table.blocks
    positions = [math.prod(sizes(spec, block.halvings)) for block in blocks]
    outputs = math.prod(spec.input_shape[1:]) * 3 * table.stem
    for edge in table.edges:
        width = table.channels(edge.source)
        if edge.target < len(blocks):
            target, there = blocks[edge.target].width, positions[edge.target]
            # the head, its product with the edge's weight, and the sum over edges
            outputs += _block_outputs(there, width, target, edge.stride) + 2 * there * target
        else:
            there = math.prod(spec.input_shape[1:]) if is_dense(spec) else 1
            outputs += 3 * spec.output.channels * there + (0 if is_dense(spec) else width)
    layers = sum(
        # a layer, and its mixture with a skip
        block.layers * (macs + TRAFFIC * (_block_outputs(there, block.width, block.width, 1) + 3 * there * block.width))
        for block, macs, there in zip(blocks, parts.layers, positions, strict=True)
    )
    return parts.stem + sum(parts.heads) + TRAFFIC * outputs, layers


def expected_macs(table: Table, cost: TableCost, edges: Sequence[Tensor], layers: Sequence[Tensor]) -> Tensor:
    """Expected multiply-adds of a random path, differentiable: from the end back, cost(b) = Σ p · (head + rest).

    Source: Fang et al. 2020 (DenseNAS), section 3.4: the cost of a block is chained over the blocks it may lead to.

    Args:
        table: the blocks.
        cost: of their parts.
        edges: probability of every edge among those that leave its source, scalars.
        layers: expected number of layers after the head of every block, scalars.

    Returns:
        A scalar.
    """
    rest: dict[int, Tensor | float] = {len(table.blocks): 0.0}
    for number in reversed(range(-1, len(table.blocks))):
        leaving = [place for place, edge in enumerate(table.edges) if edge.source == number]
        onward = sum(edges[place] * (cost.heads[place] + rest[table.edges[place].target]) for place in leaving)
        rest[number] = onward + (layers[number] * cost.layers[number] if number >= 0 else float(cost.stem))
    total = rest[-1]
    assert not isinstance(total, float)  # at least one edge leaves the stem
    return total
