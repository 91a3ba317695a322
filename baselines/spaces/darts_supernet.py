"""The DARTS supernet: all candidates on all edges at once, as few and as large steps as can be.

It computes what one module per candidate and edge computes (`tests/benchmarks/plain_supernet.py`, the yardstick of
`bench_supernet.py`). Where the time of that one goes, on one core of a Xeon of 2023 at ninapro's shape and batch 32,
a bilevel step of 5.5 s: backward passes of convolutions 33 % (most of it depthwise, and there kernels of 5 and dilation
2, whose backward passes take 10 to 40 times their forward), convolutions forward 19 % (with the layout changed to and
fro in each), max pool 9 %, average pool 5 %, batch norm 6 %, sums and products of mixtures and copies 14 %, the rest
in tens of thousands of small steps. At ecg's shape, 9 s: 20, 22, 6, 4, 7 and 20 %. `bench_supernet.py --profile`
prints it.

What is done here instead:

- The edges that leave a cell's inputs are computed together, then those that leave node 0, and so on: four rounds of
  8, 3, 2, 1 edges. ReLU, max pool and average pool of a source are the same for all its edges, and computed once; the
  two separable candidates are one with kernels of 5, and the two dilated ones are.
- Everything lies channels-last, which the CPU's convolutions and pools want. Depthwise convolutions have backward
  passes of their own (`darts_kernels`), and leave the gradients of kernels out of an architecture step.
- Where the taps of a kernel are fewer than the edges and operations that look through them (a signal's five, with four
  or three nodes to go), first depthwise and 1×1 convolutions are one product of what the taps see.
- All that is linear up to a node's sum (1×1 convolution, batch norm, mixture, edge weight, sum) is one product for
  each candidate, with means and variances from the covariance of its input (`darts_norms`, `darts_terms`). Batch norms
  that are due at the same moment share the many small steps that this takes; those of pools have a closed form.
- A cell's nodes are columns of one matrix, to which the rounds add in place, and so are their gradients (`darts_sums`).

What is left is spread thin. In percent of a bilevel step of 1.6 (ninapro) and 2.6 s (ecg) on one core: mixtures and
their backward passes 24 and 29, first depthwise convolutions (at ecg's shape, what the taps see) 31 and 13, 1×1
convolutions with norms between the two stages 13 and 16, second depthwise convolutions 7 and 6, bypass, skips and the
sum at every K-th place 9 and 12, pools 6 and 8, what cells do to their inputs 6 and 8. Some 0.4 s of either are steps
so small that their starting is all there is.

In single precision the outputs differ from the yardstick's by some 1e-6. Gradients differ by 1e-5 of their norm, and
by up to 5e-3 where a ReLU or a maximum flips: the yardstick's own do so when its weights move by a millionth.

Architecture parameters are in the order of `EDGES`, cells (`darts_mixed_cell`) keep edges in that of their rounds.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from nas360.baselines import ends, nd
from nas360.baselines.spaces.base import Relaxation
from nas360.baselines.spaces.darts_genotypes import EDGES, NODES, OPERATIONS
from nas360.baselines.spaces.darts_mixed_cell import ROWS, SupernetCell
from nas360.baselines.spaces.darts_network import STEM, reductions
from nas360.task import TaskSpec


class DartsSupernet(nn.Module):
    """A `Supernet` of the DARTS cell space.

    Architecture parameters, with rows as `EDGES` and columns as `OPERATIONS`: `normal.alpha` (14, 8) and, with edge
    normalisation, `normal.beta` (14,); the same for `reduce`, but in dense tasks, which have no reduction cells.

    Weights start as torch starts convolutions. Everything is computed in the parameters' precision, also under
    autocast: variances from covariances need it.

    Args:
        spec: the task.
        relaxation: how the choices are mixed.
    """

    def __init__(self, spec: TaskSpec, relaxation: Relaxation) -> None:
        super().__init__()
        self.relaxation, self.dims = relaxation, spec.spatial_dims
        width, parts = relaxation.width, relaxation.partial_channels
        self.stem = nn.Sequential(ends.stem(spec, STEM * width), nd.batch_norm(self.dims, STEM * width))
        self.reducing = reductions(relaxation.cells, dense=ends.is_dense(spec))
        before_last, last, halve = STEM * width, STEM * width, False
        self.cells = nn.ModuleList()
        for index in range(relaxation.cells):
            reduce = index in self.reducing
            width *= 2 if reduce else 1
            self.cells.append(SupernetCell(self.dims, before_last, last, width, parts, halve=halve, reduce=reduce))
            before_last, last, halve = last, NODES * width, reduce
        self.head = ends.head(spec, last)
        self.kinds = ("normal", "reduce") if self.reducing else ("normal",)
        self.architecture = nn.ParameterDict()
        for kind in self.kinds:
            self.architecture[f"{kind}_alpha"] = nn.Parameter(self._start(torch.full((len(EDGES), 8), 1 / 8)))
            if relaxation.edge_normalisation:
                inputs = torch.tensor([node + 2.0 for _, node in EDGES])
                self.architecture[f"{kind}_beta"] = nn.Parameter(self._start(1 / inputs))
        self.register_buffer("rows", torch.tensor(ROWS), persistent=False)

    rows: Tensor

    def _start(self, uniform: Tensor) -> Tensor:
        if self.relaxation.mixing == "simplex":
            return uniform
        if self.relaxation.mixing == "double_softmax":
            return torch.ones_like(uniform)
        return 1e-3 * torch.randn_like(uniform)

    def weight_parameters(self) -> list[nn.Parameter]:
        """All parameters but those of the architecture."""
        apart = {id(parameter) for parameter in self.architecture.values()}
        return [parameter for parameter in self.parameters() if id(parameter) not in apart]

    def architecture_parameters(self) -> dict[str, nn.Parameter]:
        """`normal.alpha`, `normal.beta`, `reduce.alpha`, `reduce.beta`, as far as they exist."""
        return {name.replace("_", "."): parameter for name, parameter in self.architecture.items()}

    def simplices(self) -> dict[str, Tensor]:
        """Alphas: one simplex an edge. Betas: one a node; with `double_softmax` one in all, as in the reference."""
        device = self.rows.device
        edge = torch.arange(len(EDGES), device=device)
        node = torch.tensor([node for _, node in EDGES], device=device)
        if self.relaxation.mixing == "double_softmax":
            node = torch.zeros_like(node)
        return {
            name: edge.unsqueeze(1).repeat(1, len(OPERATIONS)) if name.endswith("alpha") else node
            for name in self.architecture_parameters()
        }

    def _weights(self, kind: str) -> tuple[Tensor, Tensor]:
        """(14, 8) weights of the candidates on their edge and (14,) of the edges at their node, as `EDGES`."""
        alpha = self.architecture[f"{kind}_alpha"]
        if not self.relaxation.edge_normalisation:
            beta = alpha.new_ones(len(EDGES))
        else:
            beta = self.architecture[f"{kind}_beta"]
        if self.relaxation.mixing == "simplex":
            return alpha, beta
        if self.relaxation.edge_normalisation:
            beta = torch.cat([part.softmax(dim=0) for part in beta.split([node + 2 for node in range(NODES)])])
        return alpha.softmax(dim=1), beta

    def mixture(self) -> dict[str, Tensor]:
        """The weights that the forward pass mixes with; see `Supernet.mixture`."""
        names = self.architecture_parameters()
        return {
            f"{kind}.{letter}": weight.detach().clone()
            for kind in self.kinds
            for letter, weight in zip(("alpha", "beta"), self._weights(kind), strict=True)
            if f"{kind}.{letter}" in names
        }

    def edge_mixture(self) -> dict[str, Tensor]:
        """Kind of cell → (14, 8) weights of candidates in their node's sum, detached; what `decode_cell` reads."""
        out = {}
        for kind in self.kinds:
            alpha, beta = self._weights(kind)
            out[kind] = (alpha * beta.unsqueeze(1)).detach()
        return out

    def forward(self, x: Tensor) -> Tensor:
        """(n, *spec.input_shape) → (n, outputs), or (n, outputs, *space) for a dense task."""
        # the meta device, on which costs are counted, knows no autocast
        with torch.autocast(x.device.type, enabled=False) if x.device.type != "meta" else nullcontext():
            features = self.stem(x.to(self.rows.device, self.architecture["normal_alpha"].dtype))
            if self.dims == 1:
                features = features.unsqueeze(3)
            last = features.contiguous(memory_format=torch.channels_last)
            weights = {}
            for kind in self.kinds:
                alpha, beta = self._weights(kind)
                weights[kind] = (alpha * beta.unsqueeze(1))[self.rows], beta[self.rows]
            before = last = last.relu()
            for index, cell in enumerate(self.cells):
                mixture = weights["reduce" if index in self.reducing else "normal"]
                before, last = last, cell(before, last, *mixture, active=index + 1 < len(self.cells))
            out: Tensor = self.head(last.squeeze(3) if self.dims == 1 else last)
            return out
