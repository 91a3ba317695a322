"""The DARTS supernet written the obvious way: one module per operation per edge. Yardstick and second implementation.

It shares with the package the operations of the discrete networks (tested on their own) and the order of edges; every
mixture, shuffle and sum is written out as in the papers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas360.baselines import ends, nd
from nas360.baselines.spaces.base import Relaxation
from nas360.baselines.spaces.darts_genotypes import EDGES, NODES, OPERATIONS
from nas360.baselines.spaces.darts_network import reductions
from nas360.baselines.spaces.darts_operations import FactorizedReduction, operation, relu_conv_norm
from nas360.baselines.spaces.darts_supernet import DartsSupernet
from nas360.task import TaskSpec


class MixedOperation(nn.Module):
    """All candidates on the first channels, weighted; the other channels pass by; then a shuffle of channels."""

    def __init__(self, dims: int, channels: int, stride: int, parts: int) -> None:
        super().__init__()
        self.parts, self.stride, self.dims = parts, stride, dims
        self.operations = nn.ModuleList()
        for name in OPERATIONS:
            layer = operation(name, dims, channels // parts, stride, affine=False)
            if "pool" in name:
                layer = nn.Sequential(layer, nd.batch_norm(dims, channels // parts, affine=False))
            self.operations.append(layer)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        through = x.shape[1] // self.parts
        mixed = sum(weight * layer(x[:, :through]) for weight, layer in zip(weights, self.operations, strict=True))
        assert isinstance(mixed, Tensor)
        if self.parts == 1:
            return mixed
        past = x[:, through:]
        if self.stride == 2:
            pool = functional.max_pool1d if self.dims == 1 else functional.max_pool2d
            past = pool(past, 2, 2, ceil_mode=True)
        joined = torch.cat([mixed, past], dim=1)
        grouped = joined.view(joined.shape[0], self.parts, through, *joined.shape[2:])
        return grouped.transpose(1, 2).reshape(joined.shape)


class MixedCell(nn.Module):
    def __init__(
        self, dims: int, before_last: int, last: int, width: int, parts: int, *, halve: bool, stride: int
    ) -> None:
        super().__init__()
        self.pre_0: nn.Module = (
            FactorizedReduction(dims, before_last, width, affine=False)
            if halve
            else relu_conv_norm(dims, before_last, width, affine=False)
        )
        self.pre_1 = relu_conv_norm(dims, last, width, affine=False)
        self.edges = nn.ModuleList(
            MixedOperation(dims, width, stride if source < 2 else 1, parts) for source, _ in EDGES
        )

    def forward(self, before_last: Tensor, last: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        states = [self.pre_0(before_last), self.pre_1(last)]
        for node in range(NODES):
            total = sum(
                beta[row] * self.edges[row](states[source], alpha[row])
                for row, (source, target) in enumerate(EDGES)
                if target == node
            )
            assert isinstance(total, Tensor)
            states.append(total)
        return torch.cat(states[2:], dim=1)


class PlainSupernet(nn.Module):
    """The same numbers as `DartsSupernet`, for the same task and relaxation."""

    def __init__(self, spec: TaskSpec, relaxation: Relaxation) -> None:
        super().__init__()
        dims, width, parts = spec.spatial_dims, relaxation.width, relaxation.partial_channels
        self.relaxation = relaxation
        self.stem = nn.Sequential(ends.stem(spec, 3 * width), nd.batch_norm(dims, 3 * width))
        self.reducing = reductions(relaxation.cells, dense=ends.is_dense(spec))
        before_last, last, halve = 3 * width, 3 * width, False
        self.cells = nn.ModuleList()
        for index in range(relaxation.cells):
            reduce = index in self.reducing
            width *= 2 if reduce else 1
            self.cells.append(MixedCell(dims, before_last, last, width, parts, halve=halve, stride=1 + reduce))
            before_last, last, halve = last, NODES * width, reduce
        self.head = ends.head(spec, last)
        kinds = ["normal", "reduce"] if self.reducing else ["normal"]
        self.alpha = nn.ParameterDict({kind: torch.zeros(len(EDGES), len(OPERATIONS)) for kind in kinds})
        self.beta = nn.ParameterDict({kind: torch.zeros(len(EDGES)) for kind in kinds})

    def weights(self, kind: str) -> tuple[Tensor, Tensor]:
        alpha, beta = self.alpha[kind], self.beta[kind]
        if self.relaxation.mixing != "simplex":
            alpha = alpha.softmax(dim=1)
            nodes = [[row for row, (_, target) in enumerate(EDGES) if target == node] for node in range(NODES)]
            beta = torch.cat([beta[rows].softmax(dim=0) for rows in nodes])
        return alpha, beta if self.relaxation.edge_normalisation else torch.ones_like(beta)

    def forward(self, x: Tensor) -> Tensor:
        before_last = last = self.stem(x)
        for index, cell in enumerate(self.cells):
            kind = "reduce" if index in self.reducing else "normal"
            before_last, last = last, cell(before_last, last, *self.weights(kind))
        out: Tensor = self.head(last)
        return out


def copy_weights(ours: DartsSupernet, plain: PlainSupernet) -> None:
    """Give the plain supernet all weights and architecture parameters of ours."""
    with torch.no_grad():
        plain.stem.load_state_dict(ours.stem.state_dict())
        plain.head.load_state_dict(ours.head.state_dict())
        for name, parameter in ours.architecture_parameters().items():
            kind, letter = name.split(".")
            getattr(plain, letter)[kind].copy_(parameter)
        for theirs, cell in zip(plain.cells, ours.cells, strict=True):
            pairs = matching(cell, theirs)
            assert {id(target) for target, _ in pairs} == {id(target) for target in theirs.parameters()}
            for target, value in pairs:
                target.copy_(value)


def matching(ours: nn.Module, theirs: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
    """(a parameter of the plain cell, the same numbers in ours) for all of the cell."""
    from nas360.baselines.spaces.darts_mixed_cell import ROWS, SupernetCell

    assert isinstance(ours, SupernetCell)
    assert isinstance(theirs, MixedCell)
    pairs: list[tuple[nn.Parameter, Tensor]] = []
    for pre, name in ((theirs.pre_0, "pre_0"), (theirs.pre_1, "pre_1")):
        value = getattr(ours, name).weight
        if isinstance(pre, FactorizedReduction):
            half = len(pre.even.get_parameter("weight"))
            pairs.append((pre.even.get_parameter("weight"), _kernel(value[:, :half], pre.even)))
            pairs.append((pre.odd.get_parameter("weight"), _kernel(value[:, half:], pre.odd)))
        else:
            pairs.append((pre.get_parameter("1.weight"), _kernel(value, pre.get_submodule("1"))))
    for place, row in enumerate(ROWS):
        edge = theirs.edges[row]
        for name, stages in (("sep_conv_3x3", 2), ("sep_conv_5x5", 2), ("dil_conv_3x3", 1), ("dil_conv_5x5", 1)):
            layers = edge.get_submodule(f"operations.{OPERATIONS.index(name)}")
            for stage in range(stages):
                depthwise, pointwise = (
                    layers.get_submodule(str(4 * stage + 1)),
                    layers.get_submodule(str(4 * stage + 2)),
                )
                taps = ours.depthwise[f"{name}_{stage}"][place].unsqueeze(1)
                kernel = depthwise.get_parameter("weight")
                pairs.append((kernel, taps.reshape(kernel.shape)))
                pairs.append(
                    (pointwise.get_parameter("weight"), _kernel(ours.pointwise[f"{name}_{stage}"][place], pointwise))
                )
        skip = edge.get_submodule("operations.3")
        if isinstance(skip, FactorizedReduction):
            value = ours.pointwise["skip_connect"][place]
            half = len(skip.even.get_parameter("weight"))
            pairs.append((skip.even.get_parameter("weight"), _kernel(value[:, :half], skip.even)))
            pairs.append((skip.odd.get_parameter("weight"), _kernel(value[:, half:], skip.odd)))
    return pairs


def _kernel(matrix: Tensor, layer: nn.Module) -> Tensor:
    """(in, out) → the shape of a 1×1 convolution."""
    return matrix.T.reshape(layer.get_parameter("weight").shape)
