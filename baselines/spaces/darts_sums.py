"""A cell's nodes as columns of one matrix, to which the rounds add in place; and so with their gradients.

Autograd would have every round copy what waits for the next, and put the gradients of nodes and of what waits side by
side in a new matrix for each round. Here the tensors that go from round to round all lie in the memory of the first,
which autograd is not told (`Tensor.data`): what is added later is in columns that nothing saved so far has read.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas360.baselines.spaces.darts_kernels import wanted


class Nodes:
    """The sums at a cell's nodes while the rounds add to them.

    Args:
        width: channels of a node.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.whole: Tensor | None = None
        self.gradient: Tensor | None = None
        self.taken = 0

    def take(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """The first node, which is complete now, and the others, to which the next round adds.

        Args:
            sums: (rows, nodes · width), of all nodes that were not taken yet.

        Returns:
            (rows, width) and (rows, (nodes - 1) · width), in the memory of `sums`.
        """
        if self.whole is None:
            self.whole = sums.data
        out: tuple[Tensor, Tensor] = _Take.apply(sums, self, self.taken)
        self.taken += 1
        return out

    def all(self, last: Tensor, *, active: bool) -> Tensor:
        """All the nodes, (rows, all nodes · width).

        Args:
            last: (rows, width), the one that was not taken.
            active: whether ReLU follows.
        """
        out: Tensor = _All.apply(last, self, active)
        return out


class _Take(torch.autograd.Function):
    """`Nodes.take`."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor, nodes: Nodes, place: int) -> tuple[Tensor, Tensor]:
        ctx.nodes, ctx.place = nodes, place
        ctx.set_materialize_grads(False)
        return sums.data[:, : nodes.width], sums.data[:, nodes.width :]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_node: Tensor | None, to_rest: Tensor) -> tuple[Tensor, None, None]:
        nodes, start = ctx.nodes, ctx.place * ctx.nodes.width
        gradient = nodes.gradient
        if to_node is not None:
            gradient[:, start : start + nodes.width].add_(to_node)
        if start == 0:
            nodes.gradient = None
        return gradient[:, start:], None, None


class _All(torch.autograd.Function):
    """`Nodes.all`."""

    @staticmethod
    def forward(ctx: Any, last: Tensor, nodes: Nodes, active: bool) -> Tensor:
        ctx.nodes, ctx.active = nodes, active
        assert nodes.whole is not None  # some node was taken
        whole = nodes.whole
        # the nodes and the cell's output keep the memory as long as it is needed
        nodes.whole = None
        if not active:
            return whole.data
        out = whole.relu()
        ctx.save_for_backward(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        nodes = ctx.nodes
        # a matrix of our own in either case, for it is added to
        if ctx.active:
            (out,) = ctx.saved_tensors
            nodes.gradient = torch.ops.aten.threshold_backward(gradient.contiguous(), out, 0)
        else:
            nodes.gradient = gradient.clone(memory_format=torch.contiguous_format)
        return nodes.gradient[:, nodes.taken * nodes.width :], None, None


def pass_by(source: Tensor, coefficients: Tensor, sums: Tensor | None, parts: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A product that all the columns take part in, and a copy of some of the columns.

    One step, so that the gradient of the columns is added up where it is rather than in a matrix of zeros of its own.

    Args:
        source: (rows, in).
        coefficients: (in, out).
        sums: (rows, out), what the product is added to, in place; or None.
        parts: how many equal parts `in` falls into, and how many columns of each part are copied, from its first on.

    Returns:
        (rows, out), and (rows, parts · columns).
    """
    out: tuple[Tensor, Tensor] = _PassBy.apply(source, coefficients, sums, parts)
    return out


class _PassBy(torch.autograd.Function):
    """`pass_by`."""

    @staticmethod
    def forward(
        ctx: Any, source: Tensor, coefficients: Tensor, sums: Tensor | None, parts: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(source, coefficients)
        ctx.parts = parts
        first = source.view(source.shape[0], parts[0], -1)[:, :, : parts[1]].flatten(1).contiguous()
        if first.data_ptr() == source.data_ptr():
            # a function must not return its input as two things
            first = first.clone()
        return source @ coefficients if sums is None else sums.data.addmm_(source, coefficients), first

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, to_first: Tensor) -> tuple[Tensor | None, ...]:
        source, coefficients = ctx.saved_tensors
        to_source: Tensor | None = None
        if wanted(ctx, 0):
            to_source = gradient @ coefficients.T
            parts, columns = ctx.parts
            # `+=` would copy the part onto itself
            own = to_source.view(-1, parts, to_source.shape[1] // parts)[:, :, :columns]
            own.add_(to_first.view(-1, parts, columns))
        to_coefficients = source.T @ gradient if wanted(ctx, 1) else None
        return to_source, to_coefficients, gradient if ctx.needs_input_grad[2] else None, None


def spread(sums: Tensor, part: Tensor, step: int) -> Tensor:
    """`sums` with `part` added to every step-th of its columns, from the first on; in place.

    Args:
        sums: (rows, step · columns).
        part: (rows, columns).
        step: distance of the columns.
    """
    out: Tensor = _Spread.apply(sums, part, step)
    return out


class _Spread(torch.autograd.Function):
    """`spread`."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor, part: Tensor, step: int) -> Tensor:
        ctx.step = step
        out = sums.data
        out[:, ::step].add_(part)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        return gradient, gradient[:, :: ctx.step].contiguous(), None
