"""1×1 convolution, batch norm and what follows as one product, with backward passes written out.

A batch norm behind a 1×1 convolution is a change of the convolution's weight (`darts_norms`), a weighted sum of such
is one more (`darts_terms`), and what lies between them is never written to memory. Autograd would find the same
gradients with several times as many steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas360.baselines.spaces.darts_kernels import wanted
from nas360.baselines.spaces.darts_norms import Normal, Running, add_product, blocks, grouped
from nas360.baselines.spaces.darts_terms import Begun, Term


def norm_relu(x: Tensor, weight: Tensor, running: Running) -> Tensor:
    """ReLU of the batch norm of a product.

    Args:
        x: (rows, in).
        weight: (in, out), or (count, in / count, out / count): blocks along a diagonal.
        running: of the out channels.

    Returns:
        (rows, out).
    """
    out: Tensor = _NormRelu.apply(x, weight, running)
    return out


class _NormRelu(torch.autograd.Function):
    """`norm_relu`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, running: Running) -> Tensor:
        ctx.normal = normal = Normal([x], weight, running)
        out, shift = x.new_empty(x.shape[0], normal.shift.numel()), normal.shift.flatten()
        for part, x_part in blocks(out, x):
            add_product(part, x_part, normal.scaled, first=True)
            part.add_(shift).relu_()
        ctx.save_for_backward(x, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, out = ctx.saved_tensors
        normal = ctx.normal
        groups = normal.scaled.shape[0]
        inner, to_scaled = torch.empty_like(out), torch.zeros_like(normal.scaled)
        to_shift = out.new_zeros(1, out.shape[1])
        for part, gradient_part, out_part, x_part in blocks(inner, gradient, out, x):
            torch.ops.aten.threshold_backward.grad_input(gradient_part, out_part, 0, grad_input=part)
            to_shift.addmm_(part.new_ones(1, part.shape[0]), part)
            to_scaled.baddbmm_(grouped(x_part, groups).transpose(1, 2), grouped(part, groups))
        to_weight, square, row = normal.back(to_scaled, to_shift.view(groups, -1), learn=wanted(ctx, 1))
        to_x, back = torch.empty_like(x), normal.scaled.transpose(1, 2)
        for part, inner_part, x_part in blocks(to_x, inner, x):
            add_product(part, inner_part, back, first=True)
            if square is not None and row is not None:
                add_product(part, x_part, square)
                part.add_(row)
        return to_x, to_weight, None


def mix(terms: Sequence[Term], mixture: Tensor, to_node: Tensor) -> Tensor:
    """The weighted sum of candidates at their nodes.

    Args:
        terms: what is added up, of the same edges.
        mixture: (edges, columns), their weights.
        to_node: (edges · channels, out), zeros and ones: which node each edge adds to.

    Returns:
        (rows, out): Σ (norm(x @ weight) · the edges' weights) @ to_node.
    """
    tensors = [tensor for term in terms for tensor in (*term.xs, term.weight) if tensor is not None]
    out: Tensor = _Mix.apply(mixture, to_node, terms, *tensors)
    return out


class _Mix(torch.autograd.Function):
    """`mix`."""

    @staticmethod
    def forward(ctx: Any, mixture: Tensor, to_node: Tensor, terms: Sequence[Term], *tensors: Tensor) -> Tensor:
        begun: list[Begun] = [term.begin(mixture, to_node) for term in terms]
        shift = begun[0].shift
        for other in begun[1:]:
            shift = shift + other.shift
        out: Tensor | None = None
        for term, known in zip(terms, begun, strict=True):
            for x, product in zip(term.xs, known.products, strict=True):
                out = torch.addmm(shift, x, product) if out is None else out.addmm_(x, product)
        assert out is not None  # there is at least one term
        # the terms hold on to what autograd lets go of after the backward pass; their begun forms do not
        ctx.begun, ctx.counts = begun, [(len(term.xs), term.weight is not None) for term in terms]
        ctx.mixture = mixture.shape
        ctx.save_for_backward(*(x for term in terms for x in term.xs))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        xs = list(ctx.saved_tensors)
        to_mixture = gradient.new_zeros(ctx.mixture)
        to_shift = (gradient.new_ones(1, gradient.shape[0]) @ gradient)[0]
        out: list[Tensor | None] = []
        for known, (count, learns) in zip(ctx.begun, ctx.counts, strict=True):
            own, xs = xs[:count], xs[count:]
            to_products = torch.empty_like(known.products)
            for x, to_product in zip(own, to_products, strict=True):
                torch.mm(x.T, gradient, out=to_product)
            place = 2 + len(out)
            learn = learns and wanted(ctx, place + count)
            to_weight = known.back(to_products, to_shift, to_mixture, learn=learn)
            for index, x in enumerate(own):
                to_x: Tensor | None = None
                if wanted(ctx, place + index):
                    to_x = torch.empty_like(x)
                    for part, gradient_part, x_part in blocks(to_x, gradient, x):
                        known.add_back(index, part, gradient_part, x_part)
                out.append(to_x)
            if learns:
                out.append(to_weight)
        return to_mixture, None, None, *out
