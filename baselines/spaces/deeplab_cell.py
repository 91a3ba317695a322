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
from nas360.baselines.spaces.darts_products import Candidate, Norms, Running, mix, norm_relu
from nas360.baselines.spaces.darts_supernet import CONVOLUTIONS
from nas360.baselines.spaces.deeplab_architecture import EDGES, NODES
from nas360.baselines.spaces.deeplab_parts import DIMS, Preparation, uniform

SOURCES = NODES + 1
"""Sources of edges: two inputs, and every node but the last."""


def nodes_after(source: int) -> range:
    """The nodes that see a source."""
    return range(max(0, source - 1), NODES)


ROWS = tuple(EDGES.index((source, node)) for source in range(SOURCES) for node in nodes_after(source))
"""The rows of `EDGES` by source, then by node: the order in which a cell keeps its edges."""

CHUNK = 128
"""Channels that are computed together at most."""

SKIP = OPERATIONS.index("skip_connect")


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
        self.first = NODES if before is None else 0
        edges = len(EDGES) - self.first
        self.depthwise, self.pointwise, self.norms = nn.ParameterDict(), nn.ParameterDict(), nn.ModuleDict()
        for name, (kernel, _, stages) in CONVOLUTIONS.items():
            for stage in range(stages):
                self.depthwise[f"{name}_{stage}"] = uniform(kernel**DIMS, edges, width, kernel, kernel)
                self.pointwise[f"{name}_{stage}"] = uniform(width, edges, width, width)
                self.norms[f"{name}_{stage}"] = Norms(edges * width)
        for name in ("max_pool_3x3", "avg_pool_3x3"):
            self.norms[name] = Norms(edges * width)
        self.register_buffer("eye", torch.eye(NODES * width), persistent=False)
        self._recomputing = False

    eye: Tensor

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
        def again() -> Iterator[None]:
            self._recomputing = True
            try:
                yield
            finally:
                self._recomputing = False

        return nullcontext(), again()

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
        start = sum(len(nodes_after(earlier)) for earlier in range(number))
        weights = mixture[start : start + len(nodes_after(number))]
        window, pad = pool_window(3, DIMS), pool_window(3, DIMS, 1, 0)
        active = source.relu()
        pools = {
            "max_pool_3x3": matrix(functional.max_pool2d(source, window, 1, pad)),
            "avg_pool_3x3": matrix(functional.avg_pool2d(source, window, 1, pad, count_include_pad=False)),
        }
        size = max(1, CHUNK // self.width)
        parts = []
        for first in range(0, len(weights), size):
            part = weights[first : first + size]
            channels = len(part) * self.width
            rows = slice(start - self.first + first, start - self.first + first + len(part))
            # each edge leads to a node of its own, and all leave the one source
            to_node = self.eye[:channels, :channels]
            copies = to_node[: self.width, : self.width].repeat(1, len(part))
            candidates = self._convolutions(active, copies, rows)
            candidates += [
                Candidate(pool, copies, self._running(name, rows), OPERATIONS.index(name))
                for name, pool in pools.items()
            ]
            parts.append(mix(candidates, part, to_node))
        skips = torch.kron(weights[:, SKIP].unsqueeze(0), self.eye[: self.width, : self.width])
        return torch.addmm(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1), matrix(source), skips)

    def _convolutions(self, active: Tensor, copies: Tensor, rows: slice) -> list[Candidate]:
        """The candidates with kernels, of some edges of one source."""
        weights = [self._taps(f"{name}_0", rows) for name in CONVOLUTIONS]
        outs = fan(active, copies, weights, [dilation for _, dilation, _ in CONVOLUTIONS.values()], 1)
        candidates = []
        for x, (name, (_, _, stages)) in zip(outs, CONVOLUTIONS.items(), strict=True):
            if stages == 2:
                inner = norm_relu(matrix(x), self.pointwise[f"{name}_0"][rows], self._running(f"{name}_0", rows))
                x = depthwise(image(inner, sizes(x)), self._taps(f"{name}_1", rows))
            last = f"{name}_{stages - 1}"
            running = self._running(last, rows)
            candidates.append(Candidate(matrix(x), self.pointwise[last][rows], running, OPERATIONS.index(name)))
        return candidates

    def _taps(self, name: str, rows: slice) -> Tensor:
        kernels: Tensor = self.depthwise[name]
        return kernels[rows].flatten(0, 1).unsqueeze(1)

    def _running(self, name: str, rows: slice) -> Running:
        norms = self.norms[name]
        if not isinstance(norms, Norms):
            raise TypeError(f"{name} is a {type(norms).__name__}, no Norms")
        part = norms.part(rows.start * self.width, rows.stop * self.width)
        # a second time the same batch is no news
        return Running(part.mean.clone(), part.variance.clone(), part.training) if self._recomputing else part
