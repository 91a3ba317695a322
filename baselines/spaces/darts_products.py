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


def blocks(weight: Tensor) -> Tensor:
    """(count, in, out) → (count · in, count · out), the parts along the diagonal; a matrix stays what it is."""
    if weight.ndim == 2:
        return weight
    count, inputs, outputs = weight.shape
    out = weight.new_zeros(count, inputs, count, outputs)
    out.diagonal(dim1=0, dim2=2).copy_(weight.permute(1, 2, 0))
    return out.view(count * inputs, count * outputs)


def _unblocks(gradient: Tensor, shape: torch.Size) -> Tensor:
    """The diagonal's parts of a gradient of `blocks`."""
    if len(shape) == 2:
        return gradient
    count, inputs, outputs = shape
    return gradient.view(count, inputs, count, outputs).diagonal(dim1=0, dim2=2).permute(2, 0, 1)


class _Normal:
    """Weight and shift of a batch norm behind a product, and the way back.

    Attributes:
        weight: (in, out), dense.
        scaled: (in, out), with the norm's scale.
        shift: (out,).
    """

    def __init__(self, x: Tensor, weight: Tensor, running: Running) -> None:
        self.weight = blocks(weight)
        self.rows = x.shape[0]
        self.training = running.training
        if running.training:
            self.mean = (x.new_full((1, self.rows), 1 / self.rows) @ x)[0]
            covariance = torch.addmm(self.mean.unsqueeze(1) * self.mean, x.T, x, beta=-1, alpha=1 / self.rows)
            self.image = covariance @ self.weight
            # rounding can leave a little less than nothing
            variance = (self.image * self.weight).sum(dim=0).clamp_min_(0)
            self.centre = self.mean @ self.weight
            running.mean.lerp_(self.centre, MOMENTUM)
            running.variance.lerp_(variance * (self.rows / max(self.rows - 1, 1)), MOMENTUM)
        else:
            self.centre, variance = running.mean.clone(), running.variance
        self.scale = (variance + EPS).rsqrt_()
        self.scaled = self.weight * self.scale
        self.shift = -self.centre * self.scale

    def back(self, to_scaled: Tensor, to_shift: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Gradients from those of `scaled` and `shift`.

        Returns:
            the weight's (in, out); then, for rows x, theirs is x @ the second, (in, in), plus the third, (in,): None
            where the statistics are not the batch's.
        """
        if not self.training:
            return to_scaled * self.scale, None, None
        to_scale = (to_scaled * self.weight).sum(dim=0) - to_shift * self.centre
        to_centre = -to_shift * self.scale
        to_variance = to_scale * self.scale.pow(3) * -0.5
        to_covariance = (self.weight * to_variance) @ self.weight.T
        to_weight = to_scaled * self.scale + 2 * to_variance * self.image + torch.outer(self.mean, to_centre)
        to_mean = self.weight @ to_centre - 2 * (to_covariance @ self.mean)
        return to_weight, to_covariance * (2 / self.rows), to_mean / self.rows


def _row_gradient(gradient: Tensor, weight: Tensor, x: Tensor, square: Tensor | None, row: Tensor | None) -> Tensor:
    """gradient @ weightᵀ, and the statistics' share."""
    if square is None or row is None:
        return gradient @ weight.T
    return torch.addmm(row, gradient, weight.T).addmm_(x, square)


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
        ctx.shape = weight.shape
        out = torch.addmm(normal.shift, x, normal.scaled).relu_()
        ctx.save_for_backward(x, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]  # torch declares any arguments
        x, out = ctx.saved_tensors
        gradient = torch.ops.aten.threshold_backward(gradient, out, 0)
        to_shift = (gradient.new_ones(1, gradient.shape[0]) @ gradient)[0]
        to_weight, square, row = ctx.normal.back(x.T @ gradient, to_shift)
        return _row_gradient(gradient, ctx.normal.scaled, x, square, row), _unblocks(to_weight, ctx.shape), None


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
        ctx.shapes = [weight.shape for weight in weights]
        ctx.edges = mixture.shape[0]
        ctx.wide = mixture.repeat_interleave(to_node.shape[0] // ctx.edges, dim=0)
        ctx.products = []
        shift = mixture.new_zeros(to_node.shape[0])
        for normal, column in zip(ctx.normals, ctx.columns, strict=True):
            ctx.products.append((normal.scaled * ctx.wide[:, column]) @ to_node)
            shift += normal.shift * ctx.wide[:, column]
        out = torch.addmm(shift @ to_node, xs[0], ctx.products[0])
        for x, product in zip(xs[1:], ctx.products[1:], strict=True):
            out.addmm_(x, product)
        ctx.save_for_backward(to_node, *xs)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]  # torch declares any arguments
        to_node, *xs = ctx.saved_tensors
        from_node = to_node.T
        to_sum = (gradient.new_ones(1, gradient.shape[0]) @ gradient)[0] @ from_node
        to_wide = torch.zeros_like(ctx.wide)
        out: list[Tensor | None] = []
        for x, normal, column, product, shape in zip(
            xs, ctx.normals, ctx.columns, ctx.products, ctx.shapes, strict=True
        ):
            to_product = (x.T @ gradient) @ from_node
            to_wide[:, column] = (to_product * normal.scaled).sum(dim=0) + to_sum * normal.shift
            weight = ctx.wide[:, column]
            to_weight, square, row = normal.back(to_product * weight, to_sum * weight)
            out += [_row_gradient(gradient, product, x, square, row), _unblocks(to_weight, shape)]
        return to_wide.view(ctx.edges, -1, to_wide.shape[1]).sum(dim=1), None, None, *out
