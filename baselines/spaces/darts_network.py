"""Networks of DARTS cells: what is trained after a search."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas360.baselines import ends, nd
from nas360.baselines.drop_path import DropPath
from nas360.baselines.spaces.darts_genotypes import NODES, DartsArchitecture, Gene
from nas360.baselines.spaces.darts_operations import FactorizedReduction, operation, relu_conv_norm
from nas360.task import TaskSpec

STEM = 3
"""The stem has this many times the width of the first cells."""


def reductions(cells: int, *, dense: bool) -> frozenset[int]:
    """Which of the cells halve the size: none of a dense task's, else those after a third and two thirds."""
    return frozenset() if dense else frozenset((cells // 3, 2 * cells // 3))


class DiscreteCell(nn.Module):
    """One cell with its chosen operations.

    Args:
        spatial_dims: 1 or 2.
        genes: eight, two a node.
        before_last: channels of the cell before the last.
        last: channels of the last cell.
        width: channels of a node.
        halve: whether the older input is twice as large as the newer.
        stride: of operations on the cell's inputs; 2 in a reduction cell.
        affine: whether batch norms learn a scale and a shift.
    """

    def __init__(
        self,
        spatial_dims: int,
        genes: tuple[Gene, ...],
        before_last: int,
        last: int,
        width: int,
        *,
        halve: bool,
        stride: int,
        affine: bool = True,
    ) -> None:
        super().__init__()
        self.pre_0: nn.Module = (
            FactorizedReduction(spatial_dims, before_last, width, affine=affine)
            if halve
            else relu_conv_norm(spatial_dims, before_last, width, affine=affine)
        )
        self.pre_1 = relu_conv_norm(spatial_dims, last, width, affine=affine)
        self.inputs = [gene.input for gene in genes]
        self.operations = nn.ModuleList()
        for gene in genes:
            layer = operation(gene.operation, spatial_dims, width, stride if gene.input < 2 else 1, affine=affine)
            self.operations.append(layer if isinstance(layer, nn.Identity) else nn.Sequential(layer, DropPath()))

    def forward(self, before_last: Tensor, last: Tensor) -> Tensor:
        """(n, before_last, *space'), (n, last, *space) → (n, 4 · width, *ceil(space / stride))."""
        states = [self.pre_0(before_last), self.pre_1(last)]
        for node in range(NODES):
            first, second = 2 * node, 2 * node + 1
            states.append(
                self.operations[first](states[self.inputs[first]])
                + self.operations[second](states[self.inputs[second]])
            )
        return torch.cat(states[2:], dim=1)


class DartsBody(nn.Module):
    """Stem and cells: (n, *spec.input_shape) → (n, out_channels, *space)."""

    def __init__(self, architecture: DartsArchitecture, spec: TaskSpec) -> None:
        super().__init__()
        dims, dense = spec.spatial_dims, ends.is_dense(spec)
        width = architecture.width
        self.stem = nn.Sequential(ends.stem(spec, STEM * width), nd.batch_norm(dims, STEM * width))
        reducing = reductions(architecture.cells, dense=dense)
        before_last, last, halve = STEM * width, STEM * width, False
        self.cells = nn.ModuleList()
        self.auxiliary: nn.Module | None = None
        self.auxiliary_after = 2 * architecture.cells // 3
        self.auxiliary_output: Tensor | None = None
        for index in range(architecture.cells):
            reduce = index in reducing
            width *= 2 if reduce else 1
            genes = architecture.reduce if reduce else architecture.normal
            cell = DiscreteCell(dims, genes, before_last, last, width, halve=halve, stride=2 if reduce else 1)
            self.cells.append(cell)
            before_last, last, halve = last, NODES * width, reduce
            if architecture.auxiliary and index == self.auxiliary_after:
                self.auxiliary = auxiliary_head(last, spec)
        self.out_channels = last

    def forward(self, x: Tensor) -> Tensor:
        """Features of `x`; the auxiliary head's output, in training, is left in `auxiliary_output`."""
        self.auxiliary_output = None
        last: Tensor = self.stem(x)
        before_last = last
        for index, cell in enumerate(self.cells):
            before_last, last = last, cell(before_last, last)
            if self.auxiliary is not None and self.training and index == self.auxiliary_after:
                self.auxiliary_output = self.auxiliary(last)
        return last


def auxiliary_head(channels: int, spec: TaskSpec) -> nn.Module:
    """A second classifier: ReLU, 5-average pooling of stride 3, 1×1 to 128, kernel 2 to 768, global pooling, linear.

    As DARTS' for CIFAR, but with "same" padding and pooling over what is left, so that every size goes through.
    """
    dims = spec.spatial_dims
    return nn.Sequential(
        nn.ReLU(),
        nd.avg_pool(dims, 5, stride=3),
        nd.conv(dims, channels, 128, 1),
        nd.batch_norm(dims, 128),
        nn.ReLU(),
        nd.conv(dims, 128, 768, 2),
        nd.batch_norm(dims, 768),
        nn.ReLU(),
        ends.head(spec, 768),
    )
