"""The DenseNAS supernet written the obvious way: all candidates computed, those not drawn times zero. Yardstick and
second implementation.

It shares with the package the table of blocks and edges; every layer, mixture and sum is written out as in the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas360.baselines import ends, nd
from nas360.baselines.spaces.dense_block_supernet import DenseBlockSupernet
from nas360.baselines.spaces.dense_block_table import Table
from nas360.task import TaskSpec

EPS = 1e-3


class PlainBlock(nn.Module):
    """A ResNet basic block."""

    def __init__(self, dims: int, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv_1 = nd.conv(dims, before, after, 3, stride=stride)
        self.norm_1 = nd.batch_norm(dims, after, affine=False, eps=EPS)
        self.conv_2 = nd.conv(dims, after, after, 3)
        self.norm_2 = nd.batch_norm(dims, after, affine=False, eps=EPS)
        self.project = before != after or stride != 1
        if self.project:
            self.conv_3 = nd.conv(dims, before, after, 1, stride=stride)
            self.norm_3 = nd.batch_norm(dims, after, affine=False, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm_2(self.conv_2(torch.relu(self.norm_1(self.conv_1(x)))))
        out: Tensor = y + (self.norm_3(self.conv_3(x)) if self.project else x)
        return torch.relu(out)


class PlainSupernet(nn.Module):
    """The same numbers as `DenseBlockSupernet`, for the same task, table and temperature."""

    def __init__(self, spec: TaskSpec, table: Table, temperature: float) -> None:
        super().__init__()
        dims = spec.spatial_dims
        self.table, self.temperature = table, temperature
        self.stem = nn.Sequential(
            ends.stem(spec, table.stem), nd.batch_norm(dims, table.stem, affine=False, eps=EPS), nn.ReLU()
        )
        self.stacks = nn.ModuleList(
            nn.ModuleList(PlainBlock(dims, block.width, block.width, 1) for _ in range(block.layers))
            for block in table.blocks
        )
        self.heads = nn.ModuleList(
            ends.head(spec, table.channels(edge.source))
            if edge.target == len(table.blocks)
            else PlainBlock(dims, table.channels(edge.source), table.blocks[edge.target].width, edge.stride)
            for edge in table.edges
        )
        self.alpha = nn.Parameter(torch.zeros(sum(block.layers for block in table.blocks), 2))
        self.beta = nn.Parameter(torch.zeros(len(table.edges)))
        self.choices: list[bool] | None = None

    def forward(self, x: Tensor) -> Tensor:
        layers = (self.alpha / self.temperature).softmax(dim=1)
        if self.choices is not None:
            layers = torch.tensor([[float(there), float(not there)] for there in self.choices])
        edges = torch.zeros_like(self.beta)
        sources = torch.tensor([edge.source for edge in self.table.edges])
        for source in range(-1, len(self.table.blocks)):
            edges = torch.where(
                sources == source,
                torch.where(sources == source, self.beta / self.temperature, -torch.inf).softmax(dim=0),
                edges,
            )
        outputs, number = {-1: self.stem(x)}, 0
        for block in range(len(self.table.blocks) + 1):
            total = sum(
                edges[place] * self.heads[place](outputs[edge.source])
                for place, edge in enumerate(self.table.edges)
                if edge.target == block
            )
            assert isinstance(total, Tensor)
            for layer in self.stacks[block] if block < len(self.stacks) else ():  # type: ignore[union-attr]  # a list
                total = layers[number, 0] * layer(total) + layers[number, 1] * total
                number += 1
            outputs[block] = total
        out: Tensor = outputs[len(self.table.blocks)]
        return out


def copy_weights(ours: DenseBlockSupernet, plain: PlainSupernet) -> None:
    """Give the plain supernet all weights and architecture parameters of ours."""
    pairs = matching(ours, plain)
    assert {id(theirs) for theirs, _ in pairs} == {id(parameter) for parameter in plain.parameters()}
    with torch.no_grad():
        for theirs, mine in pairs:
            theirs.copy_(mine)


def matching(ours: DenseBlockSupernet, plain: PlainSupernet) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """(a parameter of the plain supernet, the same in ours) for all."""
    modules: list[tuple[nn.Module, nn.Module]] = [(plain.stem, ours.stem), (plain.stacks, ours.layers)]
    for place, edge in enumerate(ours.table.edges):
        inner = edge.target < len(ours.table.blocks)
        head = ours.heads[ours.place[place]] if inner else ours.classifiers[str(edge.source)]
        modules.append((plain.heads[place], head))
    pairs = [(plain.alpha, ours.alpha), (plain.beta, ours.beta)]
    for theirs, mine in modules:
        pairs += zip(theirs.parameters(), mine.parameters(), strict=True)
    return pairs
