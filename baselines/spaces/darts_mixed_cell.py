"""One cell of the DARTS supernet: all candidates on all edges, in as few and as large steps as can be.

Edges are kept in the order of the rounds, `ROUNDS`; `darts_supernet` says why it is built so.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

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
    windows,
)
from nas360.baselines.spaces.darts_norms import Norms, Running
from nas360.baselines.spaces.darts_preparation import Preparation, uniform
from nas360.baselines.spaces.darts_products import mix, norm_relu
from nas360.baselines.spaces.darts_sums import Nodes, pass_by, spread
from nas360.baselines.spaces.darts_terms import Convolved, Pooled, Term

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

SOURCES = sum(map(len, ROUNDS))


def columns(*names: str) -> slice:
    """Where some operations are in the mixture; they follow each other there."""
    places = [OPERATIONS.index(name) for name in names]
    return slice(places[0], places[-1] + 1)


def by_source(operations: list[Tensor], sources: int) -> Tensor:
    """What each operation has for each edge, (edges, …) by source, as (sources · operations · edges, …)."""
    if sources == 1:
        return torch.cat(operations)
    return torch.stack([each.view(sources, -1, *each.shape[1:]) for each in operations], dim=1).flatten(0, 2)


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
            for stage in range(CONVOLUTIONS[names[0]][2] - 1):
                self.norms[f"{pair}_{stage}"] = Norms(len(names), len(EDGES) * c)
        self.norms["last"] = Norms(len(CONVOLUTIONS), len(EDGES) * c)
        self.norms["pools"] = Norms(len(POOLS), SOURCES * c)
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
            }
            for name, value in constants.items():
                self.register_buffer(f"{name}_{len(sources)}_{nodes}", value, persistent=False)

    place_mixed: Tensor
    place_past: Tensor

    def forward(
        self, before_last: Tensor, last: Tensor, mixture: Tensor, edges: Tensor, *, active: bool = False
    ) -> Tensor:
        """The cell's output.

        Args:
            before_last: (n, before_last, *space'), after ReLU, channels-last.
            last: (n, last, *space), the same.
            mixture: (14, 8), the weight of every candidate in its node's sum, rows as `ROWS`.
            edges: (14,), the weight of every edge.
            active: whether the output goes through ReLU, as what other cells take has to.

        Returns:
            (n, 4 · width, *ceil(space / stride)), channels-last.
        """
        source = torch.cat([self.pre_0(before_last), self.pre_1(last)], dim=1)
        start, nodes, waiting = 0, Nodes(self.width), None
        for sources in ROUNDS:
            count = NODES - max(0, sources[0] - 1)
            stop = start + len(sources) * count
            # a reduction cell's inputs are twice as large as its nodes
            stride = 2 if self.reduce and start == 0 else 1
            edges_of = mixture[start:stop], edges[start:stop]
            waiting, shape = self._round(source, waiting, start, count, *edges_of, stride=stride)
            if count > 1:
                node, waiting = nodes.take(waiting)
                source = image(node, shape)
            start = stop
        assert waiting is not None  # there are rounds
        return image(nodes.all(waiting, active=active), shape)

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
            waiting: (positions, nodes · width), what earlier rounds made of them, to be added to; or None.
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
            grid = matrix(source).view(-1, sources, width)
            first = grid[:, :, :c].flatten(1)
            if c < width:
                past = image(grid[:, :, c:].flatten(1), sizes(source))
                past = functional.max_pool2d(past, pool_window(2, self.dims), 2, ceil_mode=True)
                waiting = matrix(past) @ torch.kron(edges.view(sources, nodes), self.place_past)
        through = image(first, sizes(source))
        active = through.relu()
        light, shape = self._light(through, active, start, nodes, stride)
        count, narrow = sources * nodes, self._narrow(nodes)
        to_node = self._constant("to_node", sources, nodes)
        total: Tensor | None = None
        size = count if narrow else max(1, CHUNK // c)
        for begin in range(0, count, size):
            stop = min(begin + size, count)
            part, rows = slice(begin * c, stop * c), slice(start + begin, start + stop)
            if narrow:
                terms = self._convolutions(self._windows(active, rows, sources, stride), rows, sources, shape)
            else:
                copies = self._constant("copies", sources, nodes)[:, part].contiguous()
                terms = self._convolutions(self._fan(active, copies, rows, stride), rows, 1, shape)
            if stop - begin == count:
                # all the edges in one: then the candidates without kernels come along
                terms, light = terms + light, []
            mixed = mix(terms, mixture[begin:stop], to_node[part])
            total = mixed if total is None else total + mixed
        assert total is not None  # there is at least one chunk
        if light:
            total = total + mix(light, mixture, to_node)
        # the shuffle of channels puts the mixed ones at every K-th place
        return (total if waiting is None else spread(waiting, total, width // c)), shape

    def _skipping(self, mixture: Tensor, edges: Tensor, sources: int, nodes: int) -> Tensor:
        """(sources · width, nodes · width): how much of each source's channels goes to the nodes as it is."""
        c = self.through
        skips = mixture[:, OPERATIONS.index("skip_connect")].reshape(sources, nodes)
        halves = [torch.kron(skips, self.place_mixed).view(sources, c, -1)]
        if c < self.width:
            halves.append(torch.kron(edges.view(sources, nodes), self.place_past).view(sources, self.width - c, -1))
        return torch.cat(halves, dim=1).flatten(0, 1)

    def _narrow(self, nodes: int) -> bool:
        """Whether all that the taps of a kernel see is less than a copy of a source for every edge and operation."""
        taps = max(kernel for kernel, _, _ in CONVOLUTIONS.values()) ** self.dims
        return all(taps < len(names) * nodes for names in PAIRS.values())

    def _windows(self, active: Tensor, rows: slice, sources: int, stride: int) -> list[tuple[Tensor, Tensor]]:
        """The first matrix and product of each pair: depthwise and 1×1 convolution in one.

        Args:
            active: (n, sources · c, length, 1), after ReLU.
            rows: all of their edges.
            sources: how many they leave.
            stride: 1 or 2.
        """
        out, c = [], self.through
        for names in PAIRS.values():
            kernel, points = self._taps(names, 0, rows, sources), self._points(names, 0, rows, sources)
            taps = kernel.shape[2]
            # (sources, taps, c, edges, 1) · (sources, 1, c, edges, c): the depthwise convolution is a product too, and
            # never written out
            weight = kernel.view(sources, -1, c, taps).permute(0, 3, 2, 1).unsqueeze(4)
            weight = weight * points.view(sources, -1, c, c).transpose(1, 2).unsqueeze(1)
            x = windows(active, taps, CONVOLUTIONS[names[0]][1], stride, sources)
            out.append((x, weight.reshape(sources, taps * c, -1)))
        return out

    def _fan(self, active: Tensor, copies: Tensor, rows: slice, stride: int) -> list[tuple[Tensor, Tensor]]:
        """The first matrix and product of each pair: the outcome of the depthwise convolution, and the 1×1 one.

        Args:
            active: (n, sources · c, height, width), after ReLU.
            copies: (sources · c, edges · c), which source each edge leaves.
            rows: the edges.
            stride: 1 or 2.
        """
        weights = [self._taps(names, 0, rows, 1) for names in PAIRS.values()]
        dilations = [CONVOLUTIONS[names[0]][1] for names in PAIRS.values()]
        outs = fan(active, copies.repeat(1, 2), weights, dilations, stride)
        return [(matrix(x), self._points(names, 0, rows, 1)) for x, names in zip(outs, PAIRS.values(), strict=True)]

    def _convolutions(
        self, firsts: list[tuple[Tensor, Tensor]], rows: slice, sources: int, shape: tuple[int, int, int]
    ) -> list[Term]:
        """The candidates with kernels, of some edges.

        Args:
            firsts: of each pair, a matrix and what it is to be multiplied by before the first batch norm.
            rows: the edges.
            sources: whose edges follow each other in the matrices.
            shape: (n, height, width) of the matrices' rows.
        """
        lasts = []
        for (x, points), (pair, names) in zip(firsts, PAIRS.items(), strict=True):
            for stage in range(CONVOLUTIONS[names[0]][2] - 1):
                inner = norm_relu(x, points, self._running(f"{pair}_{stage}", rows).by_source(sources))
                x = matrix(depthwise(image(inner, shape), self._taps(names, stage + 1, rows, sources)))
                points = self._points(names, stage + 1, rows, sources)
            lasts.append((x, points))
        running = self._running("last", rows)
        if len({points.shape[1:] for _, points in lasts}) == 1:
            # as always behind `_fan`
            weight = torch.cat([points for _, points in lasts])
            return [Convolved([x for x, _ in lasts], weight, running, columns(*CONVOLUTIONS))]
        terms: list[Term] = []
        for (x, points), names in zip(lasts, PAIRS.values(), strict=True):
            own = running.operations(len(names) * len(terms), len(names)).by_source(sources)
            terms.append(Convolved([x], points, own, columns(*names), sources))
        return terms

    def _taps(self, names: tuple[str, ...], stage: int, rows: slice, sources: int) -> Tensor:
        """Kernels of a pair's candidates, (sources · 2 · edges · c, 1, 5, 5) or (…, 5, 1)."""
        small, large = (self.depthwise[f"{name}_{stage}"][rows] for name in names)
        small = functional.pad(small, (self.dims - 1, self.dims - 1, 1, 1))
        return by_source([small, large], sources).flatten(0, 1).unsqueeze(1)

    def _points(self, names: tuple[str, ...], stage: int, rows: slice, sources: int) -> Tensor:
        """1×1 convolutions of a pair's candidates, (sources · 2 · edges, c, c)."""
        return by_source([self.pointwise[f"{name}_{stage}"][rows] for name in names], sources)

    def _running(self, name: str, rows: slice) -> Running:
        norms = self.norms[name]
        assert isinstance(norms, Norms)  # all of them are
        return norms.part(rows.start * self.through, rows.stop * self.through)

    def _light(
        self, through: Tensor, active: Tensor, start: int, nodes: int, stride: int
    ) -> tuple[list[Term], tuple[int, int, int]]:
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
        pools = [
            functional.max_pool2d(through, window, stride, pad),
            average_pool(through, window)
            if stride == 1
            else functional.avg_pool2d(through, window, stride, pad, count_include_pad=False),
        ]
        first = EDGES[ROWS[start]][0]
        running = self._running("pools", slice(first, first + sources))
        terms: list[Term] = [Pooled([matrix(pool) for pool in pools], running, sources, columns(*POOLS))]
        if stride == 2:
            x = torch.cat([matrix(half) for half in even_odd(active, self.dims)], dim=1)
            weight, name = self._reduction_weight(sources, nodes), "skip_connect"
            edges = slice(start, start + sources * nodes)
            terms.append(Convolved([x], weight, self._running(name, edges), columns(name)))
        return terms, sizes(pools[0])

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
