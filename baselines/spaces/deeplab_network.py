"""Discrete networks of Auto-DeepLab: what is trained after a search."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas360.baselines import ends
from nas360.baselines.spaces.darts_genotypes import Cell
from nas360.baselines.spaces.darts_operations import operation
from nas360.baselines.spaces.deeplab_architecture import NODES, DeeplabArchitecture
from nas360.baselines.spaces.deeplab_parts import DIMS, Preparation, Pyramid, conv_norm_relu, resize
from nas360.baselines.spaces.deeplab_paths import FINEST
from nas360.task import TaskSpec

DILATIONS = (6, 12, 18)
"""Of the pyramid (Chen et al. 2017)."""

LOW_LEVEL = 2
"""The layer whose features join again before the output."""

DROPOUTS = (0.5, 0.1)
"""Shares that are dropped after each of the decoder's convolutions."""


class PathCell(nn.Module):
    """One cell with its chosen operations, at the resolution of its layer.

    Every operation stands with the input of its own gene. The reference keeps operations in the order of genes, but
    takes inputs in rising order, so that where a node's stronger input is the higher one the two operations are
    swapped.

    Args:
        cell: ten genes, two a node.
        before_last: channels of the cell before the last.
        last: channels of the last cell.
        width: channels of a node.
    """

    def __init__(self, cell: Cell, before_last: int, last: int, width: int) -> None:
        super().__init__()
        self.pre_0 = Preparation(before_last, width, affine=True)
        self.pre_1 = Preparation(last, width, affine=True)
        self.inputs = [gene.input for gene in cell]
        self.operations = nn.ModuleList(operation(gene.operation, DIMS, width, 1, affine=True) for gene in cell)

    def forward(self, before_last: Tensor, last: Tensor, size: tuple[int, int]) -> Tensor:
        """Inputs of any sizes, after ReLU → (n, 5 · width, *size)."""
        states = [self.pre_0(before_last, *size), self.pre_1(last, *size)]
        for node in range(NODES):
            first, second = (
                self.operations[position](states[self.inputs[position]]) for position in (2 * node, 2 * node + 1)
            )
            states.append(first + second)
        return torch.cat(states[2:], dim=1)


class PathNetwork(nn.Module):
    """Stem, cells along the path, pyramid, decoder: for sizes that every stride of the path divides.

    The first cell's older input is the stem's second convolution.
    """

    def __init__(self, architecture: DeeplabArchitecture, spec: TaskSpec) -> None:
        super().__init__()
        width, head = architecture.width, 8 * architecture.width
        self.path = architecture.path
        self.early = nn.Sequential(
            conv_norm_relu(spec.input_shape[0], 2 * width, 3, stride=2, affine=True),
            conv_norm_relu(2 * width, 2 * width, 3, affine=True),
        )
        self.late = conv_norm_relu(2 * width, 4 * width, 3, stride=2, affine=True)
        before_last, last = 2 * width, 4 * width
        self.cells, self.low_level, low = nn.ModuleList(), min(LOW_LEVEL, len(self.path) - 1), 0
        for layer, level in enumerate(architecture.levels):
            self.cells.append(PathCell(architecture.cell, before_last, last, width << level))
            before_last, last = last, NODES * (width << level)
            low = last if layer == self.low_level else low
        pyramid = Pyramid(last, head, DILATIONS, affine=True)
        self.pyramid = nn.Sequential(pyramid, conv_norm_relu(pyramid.out_channels, head, 1, affine=True))
        self.narrow = conv_norm_relu(low, 3 * width // 2, 1, affine=True)
        layers, channels = [], head + 3 * width // 2
        for share in DROPOUTS:
            layers += [conv_norm_relu(channels, head, 3, affine=True), nn.Dropout(share)]
            channels = head
        self.decoder = nn.Sequential(*layers, ends.head(spec, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(n, *spec.input_shape) → (n, outputs, *space)."""
        height, breadth = x.shape[2:]
        before = self.early(x)
        last = low = self.late(before)
        features = last
        for layer, (cell, stride) in enumerate(zip(self.cells, self.path, strict=True)):
            features = cell(before, last, (height // stride, breadth // stride))
            before, last = last, features.relu()
            low = features if layer == self.low_level else low
        out, low = self.pyramid(features), self.narrow(low)
        finer = max(out.shape[2], low.shape[2]), max(out.shape[3], low.shape[3])
        joined = torch.cat([resize(out, *finer), resize(low, *finer)], dim=1)
        return resize(self.decoder(joined), height, breadth)


def build(architecture: DeeplabArchitecture, spec: TaskSpec) -> nn.Module:
    """The network for any size: zeros fill up to a multiple of the path's coarsest stride; the output is cropped."""
    return ends.Padded(PathNetwork(architecture, spec), max(FINEST, *architecture.path), crop=True)
