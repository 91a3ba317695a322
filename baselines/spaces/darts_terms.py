"""What is added up at a cell's nodes: batch norms of products, and of pools, times weights that are searched.

All of it is linear up to the sum, so that each matrix has one product for all the nodes that it goes to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from nas360.baselines.spaces.darts_norms import EPS, Normal, Running, add_product


class Begun(Protocol):
    """A term whose batch norms are known; small tensors only, the matrices are kept elsewhere.

    Attributes:
        products: (matrices, in, out), what each matrix is multiplied by.
        shift: (out,), what is added to that.
    """

    products: Tensor
    shift: Tensor

    def back(self, to_products: Tensor, to_shift: Tensor, to_mixture: Tensor, *, learn: bool) -> Tensor | None:
        """Gradients from those of `products` and `shift`.

        Args:
            to_products: (matrices, in, out).
            to_shift: (out,).
            to_mixture: (edges, 8); the mixture's is added to it.
            learn: whether the weight's gradient is wanted.

        Returns:
            the weight's, if it is.
        """
        ...

    def add_back(self, place: int, to_x: Tensor, gradient: Tensor, x: Tensor) -> None:
        """Fill some rows of a matrix's gradient, after `back`.

        Args:
            place: of the matrix among the term's.
            to_x: (rows, in), to be filled.
            gradient: (rows, out), of the sum.
            x: (rows, in).
        """
        ...


class Term(Protocol):
    """Something that is added up at nodes.

    Attributes:
        xs: matrices of equal shape, (rows, in).
        weight: what they are multiplied by, None if nothing learns there.
    """

    @property
    def xs(self) -> Sequence[Tensor]:
        """Matrices."""
        ...

    @property
    def weight(self) -> Tensor | None:
        """What learns."""
        ...

    def begin(self, mixture: Tensor, to_node: Tensor) -> Begun:
        """Take the batch's statistics; see `darts_products.mix` for the arguments."""
        ...


@dataclass(frozen=True)
class Convolved:
    """The last step of candidate operations with a 1×1 convolution, on several edges at once.

    Attributes:
        xs: (rows, in) each.
        weight: as of `darts_norms.Normal`; out is edges · channels, once for each operation in turn.
        running: of the out channels.
        columns: of the mixture, one for each operation.
        sources: what the edges leave; the columns of a matrix are by source, then by operation, then by edge.
    """

    xs: Sequence[Tensor]
    weight: Tensor
    running: Running
    columns: slice
    sources: int = 1

    def begin(self, mixture: Tensor, to_node: Tensor) -> Begun:
        """See `Term.begin`."""
        return _BegunConvolved(self, mixture, to_node)


class _BegunConvolved:
    def __init__(self, term: Convolved, mixture: Tensor, to_node: Tensor) -> None:
        self.normal = normal = Normal(term.xs, term.weight, term.running)
        groups, _, outputs = normal.weight.shape
        self.columns, self.to_node = term.columns, to_node
        # (sources, operations, edges of each source)
        chosen = mixture.view(term.sources, -1, mixture.shape[1])[:, :, term.columns].transpose(1, 2)
        self.shape = chosen.shape
        channels = to_node.shape[0] // mixture.shape[0]
        self.mixed = chosen.unsqueeze(3).expand(-1, -1, -1, channels).reshape(groups, outputs)
        # which node the edge adds to, for each column of each group
        places = to_node.view(term.sources, 1, -1, to_node.shape[1]).expand(-1, self.shape[1], -1, -1)
        self.places = places.reshape(groups, outputs, -1)
        products = torch.bmm(normal.scaled * self.mixed.unsqueeze(1), self.places)
        self.products = products.view(len(term.xs), -1, products.shape[2])
        self.shift = (normal.shift * self.mixed).view(*self.shape[:2], -1).sum(dim=1).flatten() @ to_node
        self._ways: tuple[Tensor, Tensor | None, Tensor | None] | None = None

    def back(self, to_products: Tensor, to_shift: Tensor, to_mixture: Tensor, *, learn: bool) -> Tensor | None:
        normal = self.normal
        groups, inputs, outputs = normal.weight.shape
        sources, operations, edges = self.shape
        to_sum = (self.to_node @ to_shift).view(sources, 1, -1).expand(-1, operations, -1).reshape(groups, outputs)
        to_scaled = torch.bmm(to_products.view(groups, inputs, -1), self.places.transpose(1, 2))
        to_mixed = torch.addcmul((to_scaled * normal.scaled).sum(dim=1), to_sum, normal.shift)
        of_edges = to_mixed.view(sources, operations, edges, -1).sum(dim=3).transpose(1, 2)
        to_mixture.view(sources, edges, -1)[:, :, self.columns].add_(of_edges)
        to_weight, square, row = normal.back(to_scaled.mul_(self.mixed.unsqueeze(1)), to_sum * self.mixed, learn=learn)
        self._ways = self.products.transpose(1, 2), square, row
        return to_weight

    def add_back(self, place: int, to_x: Tensor, gradient: Tensor, x: Tensor) -> None:
        assert self._ways is not None  # `back` comes first
        back, square, row = self._ways
        if square is None or row is None:
            torch.mm(gradient, back[place], out=to_x)
            return
        torch.addmm(row[place], gradient, back[place], out=to_x)
        each = square.shape[0] // row.shape[0]
        add_product(to_x, x, square[place * each : (place + 1) * each])


@dataclass(frozen=True)
class Pooled:
    """Pools of a round's sources, with batch norms and nothing that learns.

    An operation's batch norm is the same on all edges that leave a source, for nothing comes before it.

    Attributes:
        xs: (rows, sources · channels), one for each operation.
        running: (operations, sources · channels).
        sources: how many there are; each has an edge to each node.
        columns: of the mixture, one for each operation.
    """

    xs: Sequence[Tensor]
    running: Running
    sources: int
    columns: slice
    weight: None = None

    def begin(self, mixture: Tensor, to_node: Tensor) -> Begun:
        """See `Term.begin`."""
        return _BegunPooled(self, mixture, to_node)


class _BegunPooled:
    def __init__(self, term: Pooled, mixture: Tensor, to_node: Tensor) -> None:
        self.columns, self.rows, self.training = term.columns, term.xs[0].shape[0], term.running.training
        chosen = mixture[:, term.columns].T
        operations, edges = chosen.shape
        nodes, channels = edges // term.sources, to_node.shape[0] // edges
        # (operations, sources, nodes, channels), as all that follows
        self.mixed = chosen.view(operations, term.sources, nodes, 1)
        self.shape = operations, term.sources, 1, channels
        if self.training:
            sums = torch.stack([x.sum(dim=0) for x in term.xs])
            squares = torch.stack([torch.linalg.vecdot(x, x, dim=0) for x in term.xs])
            mean = sums.div_(self.rows)
            # rounding can leave a little less than nothing
            variance = squares.div_(self.rows).addcmul_(mean, mean, value=-1).clamp_min_(0)
            term.running.learn(mean, variance, self.rows)
        else:
            mean, variance = term.running.mean.clone(), term.running.variance
        self.mean, self.scale = mean.reshape(self.shape), (variance + EPS).rsqrt_().reshape(self.shape)
        weight = self.scale * self.mixed
        self.shift = (self.mean * weight).sum(dim=(0, 1)).neg_().flatten()
        diagonal = weight.new_zeros(operations, term.sources, channels, nodes, channels)
        diagonal.diagonal(dim1=2, dim2=4).copy_(weight)
        self.products = diagonal.view(operations, term.sources * channels, -1)
        self._ways: tuple[Tensor, Tensor, Tensor] | None = None

    def back(self, to_products: Tensor, to_shift: Tensor, to_mixture: Tensor, *, learn: bool) -> None:
        operations, sources, _, channels = self.shape
        of_nodes = to_shift.view(-1, channels)
        grid = to_products.view(operations, sources, channels, -1, channels)
        to_weight = torch.addcmul(grid.diagonal(dim1=2, dim2=4), self.mean, of_nodes, value=-1).mul_(self.scale)
        to_mixture[:, self.columns].add_(to_weight.sum(dim=3).view(operations, -1).T)
        if not self.training:
            return
        slope = (to_weight * self.mixed).sum(dim=2, keepdim=True).mul_(self.scale).mul_(self.scale).div_(-self.rows)
        row = (self.mixed * of_nodes).sum(dim=2, keepdim=True).mul_(self.scale).div_(-self.rows)
        row.addcmul_(self.mean, slope, value=-1)
        self._ways = self.products.transpose(1, 2), slope.view(operations, -1), row.view(operations, -1)

    def add_back(self, place: int, to_x: Tensor, gradient: Tensor, x: Tensor) -> None:
        if self._ways is None:
            torch.mm(gradient, self.products[place].T, out=to_x)
            return
        back, slope, row = self._ways
        torch.addmm(row[place], gradient, back[place], out=to_x)
        to_x.addcmul_(x, slope[place])
