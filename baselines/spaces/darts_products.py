"""1×1 convolution, batch norm and what follows as one product, with backward passes written out.

The mean and the covariance of a matrix's rows give mean and variance of every linear image of them. So batch norm
behind a 1×1 convolution is a change of the convolution's weight, a weighted sum of such is one more, and what lies
between them is never written to memory. Autograd would find the same gradients with several times as many steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

EPS, MOMENTUM = 1e-5, 0.1
"""Of batch norms, as torch's own."""


class Norms(nn.Module):
    """Running means and variances of batch norms without scale and shift.

    Args:
        channels: number of all of them.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def part(self, start: int, stop: int) -> Running:
        """Those of some of the channels, as views."""
        return Running(self.mean[start:stop], self.variance[start:stop], self.training)


@dataclass
class Running:
    """Running statistics of some channels.

    Attributes:
        mean: (channels,), changed in training.
        variance: the same.
        training: whether to normalise by the batch, and to learn from it.
    """

    mean: Tensor
    variance: Tensor
    training: bool


BLOCK = 32
"""Columns of one product: blocks of several edges are multiplied as one dense matrix with zeros, as long as that costs
no more than the memory it reads."""


def _pack(weight: Tensor) -> Tensor:
    """(count, in, out) → (groups, several · in, several · out), parts along diagonals; (in, out) → (1, in, out)."""
    if weight.ndim == 2:
        return weight.unsqueeze(0)
    count, inputs, outputs = weight.shape
    several = max(part for part in range(1, count + 1) if count % part == 0 and (part == 1 or part * outputs <= BLOCK))
    groups = count // several
    out = weight.new_zeros(groups, several, inputs, several, outputs)
    out.diagonal(dim1=1, dim2=3).copy_(weight.view(groups, several, inputs, outputs).permute(0, 2, 3, 1))
    return out.view(groups, several * inputs, several * outputs)


def _unpack(gradient: Tensor, shape: torch.Size) -> Tensor:
    """The parts of a gradient of `_pack`."""
    if len(shape) == 2:
        return gradient[0]
    count, inputs, outputs = shape
    groups = gradient.shape[0]
    grid = gradient.view(groups, count // groups, inputs, count // groups, outputs)
    return grid.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2).reshape(shape)


def _grouped(x: Tensor, groups: int) -> Tensor:
    """(rows, groups · k) → (groups, rows, k), a view."""
    return x.view(x.shape[0], groups, -1).transpose(0, 1)


class _Normal:
    """Weight and shift of a batch norm behind a product, and the way back.

    Attributes:
        weight: (groups, in, out), packed.
        scaled: (groups, in, out), with the norm's scale.
        shift: (groups, out).
    """

    def __init__(self, x: Tensor, weight: Tensor, running: Running) -> None:
        self.shape = weight.shape
        self.weight = _pack(weight)
        self.rows, self.training = x.shape[0], running.training
        if running.training:
            groups = self.weight.shape[0]
            self.mean = (x.new_full((1, self.rows), 1 / self.rows) @ x).view(groups, 1, -1)
            parts = _grouped(x, groups)
            square = self.mean.transpose(1, 2) * self.mean
            covariance = torch.baddbmm(square, parts.transpose(1, 2), parts, beta=-1, alpha=1 / self.rows)
            self.image = covariance @ self.weight
            # rounding can leave a little less than nothing
            variance = (self.image * self.weight).sum(dim=1).clamp_min_(0)
            self.centre = (self.mean @ self.weight)[:, 0]
            running.mean.lerp_(self.centre.flatten(), MOMENTUM)
            running.variance.lerp_(variance.flatten() * (self.rows / max(self.rows - 1, 1)), MOMENTUM)
        else:
            parts_shape = self.weight.shape[0], self.weight.shape[2]
            self.centre, variance = running.mean.clone().view(parts_shape), running.variance.view(parts_shape)
        self.scale = (variance + EPS).rsqrt_()
        self.scaled = self.weight * self.scale.unsqueeze(1)
        self.shift = -self.centre * self.scale

    def back(self, to_scaled: Tensor, to_shift: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Gradients from those of `scaled` and `shift`.

        Returns:
            the weight's, in its own shape; then, for rows x, theirs is x @ the second, (groups, in, in), plus the
            third, (groups · in,): None where the statistics are not the batch's.
        """
        scale = self.scale.unsqueeze(1)
        if not self.training:
            return _unpack(to_scaled * scale, self.shape), None, None
        to_scale = (to_scaled * self.weight).sum(dim=1) - to_shift * self.centre
        to_centre = (to_shift * self.scale).neg_().unsqueeze(1)
        to_variance = (to_scale * self.scale.pow(3) * -0.5).unsqueeze(1)
        to_covariance = (self.weight * to_variance) @ self.weight.transpose(1, 2)
        to_weight = to_scaled * scale + 2 * to_variance * self.image + self.mean.transpose(1, 2) * to_centre
        to_mean = to_centre @ self.weight.transpose(1, 2) - 2 * (self.mean @ to_covariance)
        return _unpack(to_weight, self.shape), to_covariance * (2 / self.rows), to_mean.flatten() / self.rows


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
        ctx.normal = normal = _Normal(x, weight, running)
        groups = normal.scaled.shape[0]
        out = normal.shift.flatten().expand(x.shape[0], -1).contiguous()
        _grouped(out, groups).baddbmm_(_grouped(x, groups), normal.scaled)
        ctx.save_for_backward(x, out.relu_())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, out = ctx.saved_tensors
        gradient = torch.ops.aten.threshold_backward(gradient, out, 0)
        normal = ctx.normal
        groups = normal.scaled.shape[0]
        parts, of_parts = _grouped(x, groups), _grouped(gradient, groups)
        to_shift = (gradient.new_ones(1, gradient.shape[0]) @ gradient).view(groups, -1)
        to_weight, square, row = normal.back(parts.transpose(1, 2) @ of_parts, to_shift)
        to_x = torch.zeros_like(x) if row is None else row.expand_as(x).contiguous()
        to_parts = _grouped(to_x, groups)
        to_parts.baddbmm_(of_parts, normal.scaled.transpose(1, 2))
        if square is not None:
            to_parts.baddbmm_(parts, square)
        return to_x, to_weight, None


@dataclass
class Candidate:
    """One candidate operation's last step, on several edges at once.

    Attributes:
        x: (rows, in).
        weight: as of `norm_relu`; out is edges · channels.
        running: of the out channels.
        column: of the mixture.
    """

    x: Tensor
    weight: Tensor
    running: Running
    column: int


def mix(candidates: list[Candidate], mixture: Tensor, to_node: Tensor) -> Tensor:
    """The weighted sum of batch norms of products.

    Args:
        candidates: of the same edges.
        mixture: (edges, columns), their weights.
        to_node: (edges · channels, out), zeros and ones: which node each edge adds to.

    Returns:
        (rows, out): Σ (norm(x @ weight) · the edges' weights) @ to_node.
    """
    plan = [(candidate.running, candidate.column) for candidate in candidates]
    tensors = [tensor for candidate in candidates for tensor in (candidate.x, candidate.weight)]
    out: Tensor = _Mix.apply(mixture, to_node, plan, *tensors)
    return out


class _Mix(torch.autograd.Function):
    """`mix`."""

    @staticmethod
    def forward(
        ctx: Any, mixture: Tensor, to_node: Tensor, plan: list[tuple[Running, int]], *tensors: Tensor
    ) -> Tensor:
        xs, weights = tensors[::2], tensors[1::2]
        ctx.columns = [column for _, column in plan]
        ctx.normals = [_Normal(x, weight, running) for x, weight, (running, _) in zip(xs, weights, plan, strict=True)]
        ctx.edges = mixture.shape[0]
        ctx.wide = mixture.repeat_interleave(to_node.shape[0] // ctx.edges, dim=0)
        ctx.products = []
        shift = mixture.new_zeros(to_node.shape[0])
        for normal, column in zip(ctx.normals, ctx.columns, strict=True):
            groups = normal.scaled.shape[0]
            weight = ctx.wide[:, column].view(groups, 1, -1)
            ctx.products.append(((normal.scaled * weight) @ _rows(to_node, groups)).flatten(0, 1))
            shift += normal.shift.flatten() * ctx.wide[:, column]
        out = torch.addmm(shift @ to_node, xs[0], ctx.products[0])
        for x, product in zip(xs[1:], ctx.products[1:], strict=True):
            out.addmm_(x, product)
        ctx.save_for_backward(to_node, *xs)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        to_node, *xs = ctx.saved_tensors
        to_sum = (gradient.new_ones(1, gradient.shape[0]) @ gradient)[0] @ to_node.T
        to_wide = torch.zeros_like(ctx.wide)
        out: list[Tensor | None] = []
        for x, normal, column, product in zip(xs, ctx.normals, ctx.columns, ctx.products, strict=True):
            groups = normal.scaled.shape[0]
            weight = ctx.wide[:, column].view(groups, 1, -1)
            of_sum = to_sum.view(groups, -1)
            to_product = (x.T @ gradient).view(groups, -1, gradient.shape[1]) @ _rows(to_node, groups).transpose(1, 2)
            to_wide[:, column] = ((to_product * normal.scaled).sum(dim=1) + of_sum * normal.shift).flatten()
            to_weight, square, row = normal.back(to_product * weight, of_sum * weight[:, 0])
            if square is None or row is None:
                to_x = gradient @ product.T
            else:
                to_x = torch.addmm(row, gradient, product.T)
                _grouped(to_x, groups).baddbmm_(_grouped(x, groups), square)
            out += [to_x, to_weight]
        return to_wide.view(ctx.edges, -1, to_wide.shape[1]).sum(dim=1), None, None, *out


def _rows(to_node: Tensor, groups: int) -> Tensor:
    """(edges · channels, out) → (groups, edges · channels / groups, out)."""
    return to_node.view(groups, -1, to_node.shape[1])
