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
- All that is linear up to a node's sum (1×1 convolution, batch norm, mixture, edge weight, sum, bypass, skip, channel
  shuffle) is one product for each candidate, with means and variances from the covariance of its input.

What is left, at ninapro's and at ecg's shape, in percent of a step of 1.8 and 3.3 s: mixtures and their backward
passes 28 and 30, first depthwise convolutions 24 and 16, 1×1 convolutions with norms between the two stages 11 and 14,
second depthwise convolutions 8 and 4, bypass and skips 7 and 11, pools 6 and 4; the rest in preparations, copies and
small steps. Products of tall and narrow matrices, which wait for memory, are half of it at ecg's shape.

In single precision the outputs differ from the yardstick's by some 1e-6. Gradients differ by 1e-5 of their norm, and
by up to 5e-3 where a ReLU or a maximum flips: the yardstick's own do so when its weights move by a millionth.

Edges are kept in the order of the rounds, `ROUNDS`; architecture parameters are in the order of `EDGES`.
"""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas360.baselines import ends, nd
from nas360.baselines.spaces.base import Relaxation
from nas360.baselines.spaces.darts_genotypes import EDGES, NODES, OPERATIONS
from nas360.baselines.spaces.darts_kernels import (
    average_pool,
    depthwise,
    even_odd,
    fan,
    image,
    matrix,
    pool_window,
    sizes,
)
from nas360.baselines.spaces.darts_network import STEM, reductions
from nas360.baselines.spaces.darts_preparation import Preparation, uniform
from nas360.baselines.spaces.darts_products import Candidate, Norms, Running, mix, norm_relu, pass_by
from nas360.task import TaskSpec

ROUNDS = ((0, 1), (2,), (3,), (4,))
"""Sources whose edges are computed together; each goes to every node that comes after it."""

ROWS = tuple(
    EDGES.index((source, node)) for sources in ROUNDS for source in sources for node in range(max(0, source - 1), NODES)
)
"""The rows of `EDGES` in the order of the rounds."""

PAIRS = {"separable": ("sep_conv_3x3", "sep_conv_5x5"), "dilated": ("dil_conv_3x3", "dil_conv_5x5")}
"""Candidates that are computed as one: kernels of 3 are kernels of 5 with zeros around them."""

POOLS = ("max_pool_3x3", "avg_pool_3x3")

CONVOLUTIONS = {
    "sep_conv_3x3": (3, 1, 2),
    "sep_conv_5x5": (5, 1, 2),
    "dil_conv_3x3": (3, 2, 1),
    "dil_conv_5x5": (5, 2, 1),
}
"""Kernel, dilation, and number of (ReLU, depthwise, pointwise, batch norm) in turn."""

CHUNK = 128
"""Channels that are computed together at most."""


class SupernetCell(nn.Module):
    """One cell with all its candidates.

    Args:
        dims: 1 or 2, of the task; the features are images in any case (a signal has width 1).
        before_last: channels of the cell before the last.
        last: channels of the last cell.
        width: channels of a node.
        parts: K of the partial channels.
        halve: whether the older input is twice as large as the newer.
        reduce: whether this is a reduction cell.
    """

    def __init__(
        self, dims: int, before_last: int, last: int, width: int, parts: int, *, halve: bool, reduce: bool
    ) -> None:
        super().__init__()
        self.dims, self.width, self.through, self.reduce = dims, width, width // parts, reduce
        self.pre_0 = Preparation(before_last, width, dims, halve=halve)
        self.pre_1 = Preparation(last, width, dims, halve=False)
        c = self.through
        self.depthwise, self.pointwise, self.norms = nn.ParameterDict(), nn.ParameterDict(), nn.ModuleDict()
        for name, (kernel, _, stages) in CONVOLUTIONS.items():
            for stage in range(stages):
                taps = (kernel, kernel if dims == 2 else 1)
                self.depthwise[f"{name}_{stage}"] = uniform(math.prod(taps), len(EDGES), c, *taps)
                self.pointwise[f"{name}_{stage}"] = uniform(c, len(EDGES), c, c)
        for pair, names in PAIRS.items():
            for stage in range(CONVOLUTIONS[names[0]][2]):
                self.norms[f"{pair}_{stage}"] = Norms(2, len(EDGES) * c)
        for name in POOLS:
            self.norms[name] = Norms(len(EDGES) * c)
        if reduce:
            self.pointwise["skip_connect"] = uniform(c, 2 * NODES, c, c)
            self.norms["skip_connect"] = Norms(2 * NODES * c)
        # channel g · c + i of [mixed, passed by] goes to i · K + g
        place = torch.eye(width)[torch.arange(width).view(c, parts).T.reshape(-1)]
        # rows of the mixed channels and of those that pass by, and where the shuffle puts them
        self.register_buffer("place_mixed", place[:c], persistent=False)
        self.register_buffer("place_past", place[c:], persistent=False)
        for sources in ROUNDS:
            nodes = NODES - max(0, sources[0] - 1)
            each, copies = torch.eye(c).repeat(1, nodes), torch.eye(nodes * c).repeat(len(sources), 1)
            constants = {
                "copies": torch.kron(torch.eye(len(sources)), each),
                "to_node": copies,
                "place": torch.kron(torch.eye(nodes), place[:c]),
            }
            for name, value in constants.items():
                self.register_buffer(f"{name}_{len(sources)}_{nodes}", value, persistent=False)

    place_mixed: Tensor
    place_past: Tensor

    def forward(self, before_last: Tensor, last: Tensor, mixture: Tensor, edges: Tensor) -> Tensor:
        """The cell's output.

        Args:
            before_last: (n, before_last, *space'), after ReLU, channels-last.
            last: (n, last, *space), the same.
            mixture: (14, 8), the weight of every candidate in its node's sum, rows as `ROWS`.
            edges: (14,), the weight of every edge.

        Returns:
            (n, 4 · width, *ceil(space / stride)), channels-last.
        """
        source = torch.cat([self.pre_0(before_last), self.pre_1(last)], dim=1)
        start, done = 0, []
        waiting: Tensor | None = None
        for sources in ROUNDS:
            nodes = NODES - max(0, sources[0] - 1)
            count = len(sources) * nodes
            weights = mixture[start : start + count], edges[start : start + count]
            # a reduction cell's inputs are twice as large as its nodes
            stride = 2 if self.reduce and start == 0 else 1
            out, shape = self._round(source, waiting, start, nodes, *weights, stride=stride)
            node, waiting = torch.split(out, [self.width, out.shape[1] - self.width], dim=1)
            done.append(node)
            source = image(node, shape)
            start += count
        return image(torch.cat(done, dim=1), shape)

    def _round(
        self,
        source: Tensor,
        waiting: Tensor | None,
        start: int,
        nodes: int,
        mixture: Tensor,
        edges: Tensor,
        *,
        stride: int,
    ) -> tuple[Tensor, tuple[int, int, int]]:
        """The nodes after one round's sources, as far as these and earlier ones make them.

        Args:
            source: (n, sources · width, height, width), channels-last.
            waiting: (positions, nodes · width), what earlier rounds made of them, or None.
            start: the round's first edge.
            nodes: how many nodes it adds to.
            mixture: (sources · nodes, 8) weights of candidates.
            edges: (sources · nodes,) weights of edges.
            stride: 1 or 2.

        Returns:
            (positions, nodes · width), and the sizes (n, height', width') of these positions.
        """
        c, width, sources = self.through, self.width, source.shape[1] // self.width
        if stride == 1:
            # what goes to the nodes as it is: channels that pass by, and skips
            coefficients = self._skipping(mixture, edges, sources, nodes)
            waiting, first = pass_by(matrix(source), coefficients, waiting, (sources, c))
        else:
            columns = matrix(source).view(-1, sources, width)
            first = columns[:, :, :c].flatten(1)
            if c < width:
                past = image(columns[:, :, c:].flatten(1), sizes(source))
                past = functional.max_pool2d(past, pool_window(2, self.dims), 2, ceil_mode=True)
                waiting = matrix(past) @ torch.kron(edges.view(sources, nodes), self.place_past)
        through = image(first, sizes(source))
        active = through.relu()
        candidates, shape = self._light(through, active, start, nodes, stride)
        total: Tensor | None = None
        count = sources * nodes
        size = max(1, CHUNK // c)
        for begin in range(0, count, size):
            chunk = range(begin, min(begin + size, count))
            part = slice(chunk.start * c, chunk.stop * c)
            copies = self._constant("copies", sources, nodes)[:, part].contiguous()
            heavy = self._convolutions(active, copies, start + chunk.start, len(chunk), stride)
            if len(chunk) == count:
                # all the edges in one: then the candidates without kernels come along
                heavy, candidates = heavy + candidates, []
            to_node = self._constant("to_node", sources, nodes)[part]
            mixed = mix(heavy, mixture[chunk.start : chunk.stop], to_node)
            total = mixed if total is None else total + mixed
        assert total is not None  # there is at least one chunk
        if candidates:
            total = total + mix(candidates, mixture, self._constant("to_node", sources, nodes))
        if c == width:
            return (total if waiting is None else waiting + total), shape
        assert waiting is not None  # some channels pass by
        return torch.addmm(waiting, total, self._constant("place", sources, nodes)), shape

    def _skipping(self, mixture: Tensor, edges: Tensor, sources: int, nodes: int) -> Tensor:
        """(sources · width, nodes · width): how much of each source's channels goes to the nodes as it is."""
        c = self.through
        skips = mixture[:, OPERATIONS.index("skip_connect")].reshape(sources, nodes)
        halves = [torch.kron(skips, self.place_mixed).view(sources, c, -1)]
        if c < self.width:
            halves.append(torch.kron(edges.view(sources, nodes), self.place_past).view(sources, self.width - c, -1))
        return torch.cat(halves, dim=1).flatten(0, 1)

    def _convolutions(self, active: Tensor, copies: Tensor, first: int, count: int, stride: int) -> list[Candidate]:
        """The candidates with kernels, of some edges.

        Args:
            active: (n, sources · c, height, width), after ReLU.
            copies: (sources · c, count · c), which source each edge leaves.
            first: the first of the edges.
            count: number of edges.
            stride: 1 or 2.
        """
        rows = slice(first, first + count)
        weights = [self._taps(names, 0, rows) for names in PAIRS.values()]
        dilations = [CONVOLUTIONS[names[0]][1] for names in PAIRS.values()]
        outs = fan(active, copies.repeat(1, 2), weights, dilations, stride)
        candidates = []
        for x, (pair, names) in zip(outs, PAIRS.items(), strict=True):
            last = CONVOLUTIONS[names[0]][2] - 1
            for stage in range(last):
                inner = norm_relu(matrix(x), self._points(names, stage, rows), self._running(f"{pair}_{stage}", rows))
                x = depthwise(image(inner, sizes(x)), self._taps(names, stage + 1, rows))
            columns = tuple(OPERATIONS.index(name) for name in names)
            running = self._running(f"{pair}_{last}", rows)
            candidates.append(Candidate(matrix(x), self._points(names, last, rows), running, columns))
        return candidates

    def _taps(self, names: tuple[str, ...], stage: int, rows: slice) -> Tensor:
        """Kernels of a pair's candidates, one below the other, (2 · edges · c, 1, 5, 5) or (…, 5, 1)."""
        small, large = (self.depthwise[f"{name}_{stage}"][rows].flatten(0, 1) for name in names)
        small = functional.pad(small, (self.dims - 1, self.dims - 1, 1, 1))
        return torch.cat([small, large]).unsqueeze(1)

    def _points(self, names: tuple[str, ...], stage: int, rows: slice) -> Tensor:
        """1×1 convolutions of a pair's candidates, (2 · edges, c, c)."""
        return torch.cat([self.pointwise[f"{name}_{stage}"][rows] for name in names])

    def _running(self, name: str, rows: slice) -> Running:
        norms = self.norms[name]
        assert isinstance(norms, Norms)  # all of them are
        return norms.part(rows.start * self.through, rows.stop * self.through)

    def _light(
        self, through: Tensor, active: Tensor, start: int, nodes: int, stride: int
    ) -> tuple[list[Candidate], tuple[int, int, int]]:
        """Pools and, at stride 2, factorised reductions, of all the round's edges; and the sizes they give.

        Args:
            through: (n, sources · c, height, width).
            active: the same after ReLU.
            start: the round's first edge.
            nodes: how many nodes it adds to.
            stride: 1 or 2.
        """
        window, pad = pool_window(3, self.dims), pool_window(3, self.dims, 1, 0)
        sources = through.shape[1] // self.through
        rows = slice(start, start + sources * nodes)
        copies = self._constant("copies", sources, nodes)
        pools = {
            "max_pool_3x3": functional.max_pool2d(through, window, stride, pad),
            "avg_pool_3x3": (
                average_pool(through, window)
                if stride == 1
                else functional.avg_pool2d(through, window, stride, pad, count_include_pad=False)
            ),
        }
        candidates = [
            Candidate(matrix(pool), copies, self._running(name, rows), OPERATIONS.index(name))
            for name, pool in pools.items()
        ]
        if stride == 2:
            x = torch.cat([matrix(half) for half in even_odd(active, self.dims)], dim=1)
            weight, name = self._reduction_weight(sources, nodes), "skip_connect"
            candidates.append(Candidate(x, weight, self._running(name, rows), OPERATIONS.index(name)))
        return candidates, sizes(pools["max_pool_3x3"])

    def _reduction_weight(self, sources: int, nodes: int) -> Tensor:
        """(even and odd · sources · c, sources · nodes · c) of the factorised reductions."""
        c = self.through
        weight = self.pointwise["skip_connect"].view(sources, nodes, c, c).permute(0, 2, 1, 3)
        first = torch.arange(c, device=weight.device) < c // 2
        eye = torch.eye(sources, device=weight.device, dtype=weight.dtype)[:, None, :, None]
        halves = [(weight * mask).reshape(sources, c, 1, nodes * c) * eye for mask in (first, ~first)]
        return torch.cat([half.reshape(sources * c, -1) for half in halves])

    def _constant(self, name: str, sources: int, nodes: int) -> Tensor:
        value: Tensor = self.get_buffer(f"{name}_{sources}_{nodes}")
        return value


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
            active = before = last.relu()
            for index, cell in enumerate(self.cells):
                last = cell(before, active, *weights["reduce" if index in self.reducing else "normal"])
                if index + 1 < len(self.cells):
                    before, active = active, last.relu()
            out: Tensor = self.head(last.squeeze(3) if self.dims == 1 else last)
            return out
