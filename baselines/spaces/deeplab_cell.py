"""A cell of the Auto-DeepLab supernet: all candidates on all edges, for all the levels that it can be reached from.

The reference evaluates a cell once for each predecessor. Here the predecessors are one batch; what leaves the older
input is the same for all of them and computed once. Edges that leave the same source are computed together, by the
kernels of the DARTS supernet (`darts_kernels`, `darts_products`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from nas360.baselines.spaces.darts_genotypes import OPERATIONS
from nas360.baselines.spaces.darts_kernels import depthwise, fan, image, matrix, pool_window, sizes
from nas360.baselines.spaces.darts_mixed_cell import CONVOLUTIONS
from nas360.baselines.spaces.darts_norms import Norms, Running
from nas360.baselines.spaces.darts_products import mix, norm_relu
from nas360.baselines.spaces.darts_terms import Convolved
from nas360.baselines.spaces.deeplab_architecture import EDGES, NODES
from nas360.baselines.spaces.deeplab_parts import DIMS, Preparation, uniform

CHUNK = 128
"""Channels of one operation that are computed together at most."""

TWICE = tuple(name for name, (_, _, stages) in CONVOLUTIONS.items() if stages == 2)
"""Operations of two rounds of convolutions; they come before those of one."""

NORMED = (*CONVOLUTIONS, "max_pool_3x3", "avg_pool_3x3")
"""Operations that end in a batch norm, in the order of their channels."""

COLUMNS = [OPERATIONS.index(name) for name in NORMED]
"""Their columns of the mixture."""

SKIP = OPERATIONS.index("skip_connect")


def nodes_after(source: int) -> range:
    """The nodes that see a source."""
    return range(max(0, source - 1), NODES)


ROWS = tuple(EDGES.index((source, node)) for source in range(NODES + 1) for node in nodes_after(source))
"""The rows of `EDGES` by source, then by node: the order in which a cell keeps its edges."""


class Edges(nn.Module):
    """All candidates on some edges that leave one source.

    Args:
        count: number of edges.
        width: channels of a node.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.count, self.width = count, width
        self.depthwise = nn.ParameterDict()
        for name, (kernel, _, stages) in CONVOLUTIONS.items():
            for stage in range(stages):
                self.depthwise[f"{name}_{stage}"] = uniform(kernel**DIMS, count * width, 1, kernel, kernel)
        self.inner = uniform(width, len(TWICE) * count, width, width)
        self.outer = uniform(width, len(CONVOLUTIONS) * count, width, width)
        self.inner_norms, self.outer_norms = Norms(len(TWICE) * count * width), Norms(len(NORMED) * count * width)
        one, all_edges = torch.eye(width), torch.eye(count * width)
        self.register_buffer("one", one, persistent=False)
        self.register_buffer("copies", one.repeat(1, count), persistent=False)
        self.register_buffer("pooled", one.repeat((len(NORMED) - len(CONVOLUTIONS)) * count, 1, 1), persistent=False)
        # each edge leads to a node of its own
        self.register_buffer("to_node", all_edges.repeat(len(NORMED), 1), persistent=False)

    one: Tensor
    copies: Tensor
    pooled: Tensor
    to_node: Tensor

    def forward(
        self, source: Tensor, active: Tensor, pools: tuple[Tensor, Tensor], weights: Tensor, *, again: bool
    ) -> Tensor:
        """The weighted sums of all candidates.

        Args:
            source: (n, width, height, width'), channels-last.
            active: the same after ReLU.
            pools: its maxima and averages, (positions, width).
            weights: (edges, 8).
            again: whether this batch was here before, so that running statistics have learnt from it.

        Returns:
            (positions, edges · width).
        """
        taps = [self.depthwise[f"{name}_0"] for name in CONVOLUTIONS]
        outs = fan(active, self.copies, taps, [dilation for _, dilation, _ in CONVOLUTIONS.values()], 1)
        inner = torch.cat([matrix(out) for out in outs[: len(TWICE)]], dim=1)
        inner = norm_relu(inner, self.inner, _running(self.inner_norms, again=again))
        for index, (name, part) in enumerate(zip(TWICE, inner.chunk(len(TWICE), dim=1), strict=True)):
            outs[index] = depthwise(image(part.contiguous(), sizes(source)), self.depthwise[f"{name}_1"])
        every = torch.cat([matrix(out) for out in outs] + [pool.repeat(1, self.count) for pool in pools], dim=1)
        running = _running(self.outer_norms, again=again)
        term = Convolved([every], torch.cat([self.outer, self.pooled]), running, slice(1))
        out = mix([term], weights[:, COLUMNS].T.reshape(-1, 1), self.to_node)
        return torch.addmm(out, matrix(source), torch.kron(weights[:, SKIP].unsqueeze(0), self.one))


def _running(norms: Norms, *, again: bool) -> Running:
    part = norms.part(0, len(norms.mean))
    return Running(part.mean.clone(), part.variance.clone(), part.training) if again else part


class TrellisCell(nn.Module):
    """One cell of one layer at one level.

    Batch norms have no scale and shift. Inside the cell they take mean and variance over the predecessors as well,
    which share the weights, just as they share the running statistics; the reference normalises by each predecessor
    and mixes the running statistics all the same.

    Args:
        before: channels of the cell before last at this level; None where there is none, whose edges are left out.
        lasts: channels of the predecessors.
        width: channels of a node.
        checkpointing: whether the backward pass computes the cell's inside anew instead of keeping it.
    """

    def __init__(self, before: int | None, lasts: tuple[int, ...], width: int, *, checkpointing: bool) -> None:
        super().__init__()
        self.width, self.checkpointing = width, checkpointing
        self.pre_before = None if before is None else Preparation(before, width, affine=False)
        self.pre_lasts = nn.ModuleList(Preparation(channels, width, affine=False) for channels in lasts)
        # edges of a missing input are not there
        self.first = 0 if before is not None else 1
        self.edges = nn.ModuleDict()
        size = max(1, CHUNK // width)
        for source in range(self.first, NODES + 1):
            count = len(nodes_after(source))
            parts = (Edges(min(size, count - done), width) for done in range(0, count, size))
            self.edges[str(source)] = nn.ModuleList(parts)
        self._again = False

    def forward(
        self, before: Tensor | None, lasts: list[Tensor], size: tuple[int, int], mixture: Tensor, level: Tensor
    ) -> Tensor:
        """The cell's output.

        Args:
            before: (n, before, *size), after ReLU; None as at the start.
            lasts: for each predecessor (n, its channels, *its size), after ReLU.
            size: height and width of the output.
            mixture: (20, 8), the weight of every candidate in its node's sum, rows as `ROWS`.
            level: (predecessors,), their weights.

        Returns:
            (n, 5 · width, *size), channels-last.
        """
        older = None if self.pre_before is None or before is None else self.pre_before(before, *size)
        newer = torch.cat([prepare(x, *size) for prepare, x in zip(self.pre_lasts, lasts, strict=True)])
        newer = newer.contiguous(memory_format=torch.channels_last)
        if not (self.checkpointing and torch.is_grad_enabled()):
            return self._nodes(older, newer, mixture, level)
        out: Tensor = checkpoint(
            self._nodes, older, newer, mixture, level,
            use_reentrant=False, preserve_rng_state=False, context_fn=self._contexts,
        )  # fmt: skip
        return out

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        @contextmanager
        def once_more() -> Iterator[None]:
            self._again = True
            try:
                yield
            finally:
                self._again = False

        return nullcontext(), once_more()

    def _nodes(self, older: Tensor | None, newer: Tensor, mixture: Tensor, level: Tensor) -> Tensor:
        """The nodes' sums, and over the predecessors their weighted sum."""
        count, width = len(level), self.width
        n, height, breadth = sizes(newer)
        waiting = self._round(newer, 1, mixture)
        if older is not None:
            waiting = (waiting.view(count, -1, NODES * width) + self._round(older, 0, mixture)).flatten(0, 1)
        done = []
        for node in range(NODES):
            value, waiting = torch.split(waiting, [width, waiting.shape[1] - width], dim=1)
            done.append(value)
            if node + 1 < NODES:
                waiting = waiting + self._round(image(value.contiguous(), sizes(newer)), node + 2, mixture)
        every = torch.cat(done, dim=1)
        return image((level @ every.view(count, -1)).view(-1, NODES * width), (n // count, height, breadth))

    def _round(self, source: Tensor, number: int, mixture: Tensor) -> Tensor:
        """What a source adds to the nodes after it.

        Args:
            source: (n, width, height, width'), channels-last.
            number: of the source, as in `EDGES`.
            mixture: as of `forward`.

        Returns:
            (positions, nodes · width).
        """
        window, pad = pool_window(3, DIMS), pool_window(3, DIMS, 1, 0)
        pools = (
            matrix(functional.max_pool2d(source, window, 1, pad)),
            matrix(functional.avg_pool2d(source, window, 1, pad, count_include_pad=False)),
        )
        active, parts = source.relu(), []
        done = sum(len(nodes_after(earlier)) for earlier in range(number))
        for edges in self.edges.get_submodule(str(number)).children():
            if not isinstance(edges, Edges):
                raise TypeError(f"a cell holds Edges, not {type(edges).__name__}")
            parts.append(edges(source, active, pools, mixture[done : done + edges.count], again=self._again))
            done += edges.count
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
