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

from nas360.baselines.spaces.darts_kernels import wanted

EPS, MOMENTUM = 1e-5, 0.1
"""Of batch norms, as torch's own."""


class Norms(nn.Module):
    """Running means and variances of batch norms without scale and shift.

    Args:
        shape: (channels,), or (candidates, channels) for several candidates whose channels follow each other.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))

    def part(self, start: int, stop: int) -> Running:
        """Those of some of the channels, as views."""
        return Running(self.mean[..., start:stop], self.variance[..., start:stop], self.training)


@dataclass
class Running:
    """Running statistics of some channels.

    Attributes:
        mean: (channels,) or (candidates, channels), changed in training.
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


CACHED = 256 * 1024
"""Numbers of a matrix that are worked on at a time, where several steps follow each other: 1 MiB in single precision,
which a core's own cache holds, so that only the first step waits for memory."""


def _blocks(x: Tensor) -> list[slice]:
    """Rows of x, in parts of equal size but the last."""
    size = max(1, CACHED // x.shape[1]) if x.device.type == "cpu" else x.shape[0]
    return [slice(start, start + size) for start in range(0, x.shape[0], size)]


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
            total = x.new_zeros(1, x.shape[1])
            covariance = x.new_zeros(groups, x.shape[1] // groups, x.shape[1] // groups)
            for block in _blocks(x):
                part = x[block]
                total.addmm_(part.new_ones(1, part.shape[0]), part)
                parts = _grouped(part, groups)
                covariance.baddbmm_(parts.transpose(1, 2), parts, alpha=1 / self.rows)
            self.mean = (total / self.rows).view(groups, 1, -1)
            covariance.sub_(self.mean.transpose(1, 2) * self.mean)
            self.image = covariance @ self.weight
            # rounding can leave a little less than nothing
            variance = (self.image * self.weight).sum(dim=1).clamp_min_(0)
            self.centre = (self.mean @ self.weight)[:, 0]
            running.mean.lerp_(self.centre.view(running.mean.shape), MOMENTUM)
            unbiased = variance * (self.rows / max(self.rows - 1, 1))
            running.variance.lerp_(unbiased.view(running.variance.shape), MOMENTUM)
        else:
            parts_shape = self.weight.shape[0], self.weight.shape[2]
            self.centre, variance = running.mean.clone().view(parts_shape), running.variance.reshape(parts_shape)
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
        out, shift = x.new_empty(x.shape[0], normal.shift.numel()), normal.shift.flatten()
        for block in _blocks(out):
            _grouped(out[block], groups).baddbmm_(_grouped(x[block], groups), normal.scaled, beta=0)
            out[block].add_(shift).relu_()
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
        for block in _blocks(out):
            part = inner[block]
            torch.ops.aten.threshold_backward.grad_input(gradient[block], out[block], 0, grad_input=part)
            to_shift.addmm_(part.new_ones(1, part.shape[0]), part)
            to_scaled.baddbmm_(_grouped(x[block], groups).transpose(1, 2), _grouped(part, groups))
        to_weight, square, row = normal.back(to_scaled, to_shift.view(groups, -1))
        to_x, back = torch.empty_like(x), normal.scaled.transpose(1, 2)
        for block in _blocks(x):
            _add_back(to_x[block], _grouped(inner[block], groups), back, x[block], square, row)
        return to_x, to_weight, None


def _add_back(
    to_x: Tensor, gradient: Tensor, back: Tensor, x: Tensor, square: Tensor | None, row: Tensor | None
) -> None:
    """Fill some rows of a gradient of x with gradient @ back, (groups, …), and what goes by way of the statistics."""
    parts = _grouped(to_x, back.shape[0])
    parts.baddbmm_(gradient, back, beta=0)
    if square is not None and row is not None:
        _grouped(to_x, square.shape[0]).baddbmm_(_grouped(x, square.shape[0]), square)
        to_x.add_(row)


@dataclass
class Candidate:
    """The last step of one candidate operation, or of several, on several edges at once.

    Attributes:
        x: (rows, in).
        weight: as of `norm_relu`; out is edges · channels, once for each operation in turn.
        running: of the out channels.
        column: of the mixture; several if `weight` is that of several operations.
    """

    x: Tensor
    weight: Tensor
    running: Running
    column: int | tuple[int, ...]

    @property
    def columns(self) -> tuple[int, ...]:
        """Of the mixture, one for each operation."""
        return (self.column,) if isinstance(self.column, int) else self.column


def mix(candidates: list[Candidate], mixture: Tensor, to_node: Tensor) -> Tensor:
    """The weighted sum of batch norms of products.

    Args:
        candidates: of the same edges.
        mixture: (edges, columns), their weights.
        to_node: (edges · channels, out), zeros and ones: which node each edge adds to.

    Returns:
        (rows, out): Σ (norm(x @ weight) · the edges' weights) @ to_node.
    """
    plan = [(candidate.running, candidate.columns) for candidate in candidates]
    tensors = [tensor for candidate in candidates for tensor in (candidate.x, candidate.weight)]
    out: Tensor = _Mix.apply(mixture, to_node, plan, *tensors)
    return out


class _Mix(torch.autograd.Function):
    """`mix`."""

    @staticmethod
    def forward(
        ctx: Any, mixture: Tensor, to_node: Tensor, plan: list[tuple[Running, tuple[int, ...]]], *tensors: Tensor
    ) -> Tensor:
        xs, weights = tensors[::2], tensors[1::2]
        ctx.columns = [list(columns) for _, columns in plan]
        ctx.normals = [_Normal(x, weight, running) for x, weight, (running, _) in zip(xs, weights, plan, strict=True)]
        ctx.edges = mixture.shape[0]
        # (columns, edges · channels): the weights of one operation follow each other
        ctx.wide = mixture.T.repeat_interleave(to_node.shape[0] // ctx.edges, dim=1)
        ctx.products = []
        shift = mixture.new_zeros(to_node.shape[0])
        for normal, columns in zip(ctx.normals, ctx.columns, strict=True):
            groups = normal.scaled.shape[0]
            weight = ctx.wide[columns]
            ctx.products.append(
                ((normal.scaled * weight.view(groups, 1, -1)) @ _rows(to_node, len(columns), groups)).flatten(0, 1)
            )
            shift += (normal.shift.view(weight.shape) * weight).sum(dim=0)
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
        steps = zip(xs, ctx.normals, ctx.columns, ctx.products, strict=True)
        for place, (x, normal, columns, product) in enumerate(steps):
            groups = normal.scaled.shape[0]
            weight = ctx.wide[columns].view(groups, 1, -1)
            of_sum = to_sum.repeat(len(columns)).view(groups, -1)
            back = _rows(to_node, len(columns), groups).transpose(1, 2)
            to_product = (x.T @ gradient).view(groups, -1, gradient.shape[1]) @ back
            to_wide[columns] = ((to_product * normal.scaled).sum(dim=1) + of_sum * normal.shift).view(len(columns), -1)
            to_weight, square, row = normal.back(to_product * weight, of_sum * weight[:, 0])
            to_x: Tensor | None = None
            if wanted(ctx, 2 + 2 * place):
                to_x, whole = torch.empty_like(x), product.T.unsqueeze(0)
                for block in _blocks(x):
                    _add_back(to_x[block], gradient[block].unsqueeze(0), whole, x[block], square, row)
            out += [to_x, to_weight]
        return to_wide.view(to_wide.shape[0], ctx.edges, -1).sum(dim=2).T, None, None, *out


def _rows(to_node: Tensor, operations: int, groups: int) -> Tensor:
    """(edges · channels, out) → (groups, operations · edges · channels / groups, out), the same for each operation."""
    return to_node.repeat(operations, 1).view(groups, -1, to_node.shape[1])


def pass_by(source: Tensor, coefficients: Tensor, waiting: Tensor | None, parts: tuple[int, int]) -> tuple[Tensor, ...]:
    """A product that all the columns take part in, and a copy of some of the columns.

    One step, so that the gradient of the columns is added up where it is rather than in a matrix of zeros of its own.

    Args:
        source: (rows, in).
        coefficients: (in, out).
        waiting: (rows, out), what the product is added to, or None.
        parts: how many equal parts `in` falls into, and how many columns of each part are copied, from its first on.

    Returns:
        (rows, out), and (rows, parts · columns).
    """
    out: tuple[Tensor, ...] = _PassBy.apply(source, coefficients, waiting, parts)
    return out


class _PassBy(torch.autograd.Function):
    """`pass_by`."""

    @staticmethod
    def forward(
        ctx: Any, source: Tensor, coefficients: Tensor, waiting: Tensor | None, parts: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(source, coefficients)
        ctx.parts = parts
        first = source.view(source.shape[0], parts[0], -1)[:, :, : parts[1]].flatten(1).contiguous()
        if first.data_ptr() == source.data_ptr():
            # a function must not return its input as two things
            first = first.clone()
        return source @ coefficients if waiting is None else torch.addmm(waiting, source, coefficients), first

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, to_first: Tensor) -> tuple[Tensor | None, ...]:
        source, coefficients = ctx.saved_tensors
        to_source: Tensor | None = None
        if wanted(ctx, 0):
            to_source = gradient @ coefficients.T
            parts, columns = ctx.parts
            to_source.view(-1, parts, to_source.shape[1] // parts)[:, :, :columns] += to_first.view(-1, parts, columns)
        to_coefficients = source.T @ gradient if wanted(ctx, 1) else None
        return to_source, to_coefficients, gradient if ctx.needs_input_grad[2] else None, None


def spread(total: Tensor, part: Tensor, step: int) -> Tensor:
    """`total` with `part` added to every step-th of its columns, from the first on; in place.

    Args:
        total: (rows, step · columns), which no other step of autograd keeps for its backward pass.
        part: (rows, columns).
        step: distance of the columns.
    """
    out: Tensor = _Spread.apply(total, part, step)
    return out


class _Spread(torch.autograd.Function):
    """`spread`."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, part: Tensor, step: int) -> Tensor:
        ctx.step = step
        ctx.mark_dirty(total)
        total[:, ::step] += part
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        return gradient, gradient[:, :: ctx.step].contiguous(), None
