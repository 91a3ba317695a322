"""Numerical parts of the supernet that torch has no fast form of on a CPU.

All images here lie channels-last in memory, so that the same numbers are at once a matrix (positions, channels) for
products and an image (n, channels, height, width) for convolutions and pools. A signal is an image of width 1: with
the length as the height, the kernels (k, 1) are those that the CPU library has fast backward passes for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def matrix(image: Tensor) -> Tensor:
    """(n, channels, height, width) → (n · height · width, channels); no copy of a channels-last image."""
    return image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])


def image(rows: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(n · height · width, channels) → (n, channels, height, width), channels-last; `shape` is (n, height, width)."""
    return rows.view(*shape, rows.shape[1]).permute(0, 3, 1, 2)


def padding(kernel: torch.Size, dilation: int) -> tuple[int, int]:
    """What keeps the size at stride 1, for kernels of odd sizes (…, height, width)."""
    return dilation * (kernel[-2] // 2), dilation * (kernel[-1] // 2)


def dense(x: Tensor) -> Tensor:
    """The image, channels-last in memory."""
    return x.contiguous(memory_format=torch.channels_last)


def wanted(ctx: Any, index: int) -> bool:
    """Whether the backward pass that runs now needs the gradient of one of a function's inputs.

    `ctx.needs_input_grad` tells only what was asked for in the forward pass. A search that takes the gradient of the
    architecture alone would have those of all the weights computed too, and thrown away.

    Args:
        ctx: of a `torch.autograd.Function`, in its backward pass.
        index: of the input among those that are tensors.
    """
    node = ctx.next_functions[index][0]
    if node is None:
        return False
    try:
        return bool(torch._C._will_engine_execute_node(node))
    except (AttributeError, RuntimeError):
        # a torch without it; or a leaf of autograd.grad, of which it does not know
        return True


def dense_gradient(x: Tensor) -> Tensor:
    """The image itself, whose gradient is laid out channels-last before it goes on.

    torch's batch norm takes ten times as long where its gradient is part of a larger matrix.
    """
    out: Tensor = _DenseGradient.apply(x)
    return out


class _DenseGradient(torch.autograd.Function):
    """`dense_gradient`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return dense(gradient)


def depthwise(x: Tensor, weight: Tensor) -> Tensor:
    """A convolution of each channel by itself, stride 1, "same" padding.

    The forward pass is torch's, the backward pass is not: on a CPU torch's takes up to forty times as long as the
    forward pass for kernels of 5 or dilation 2.

    Args:
        x: (n, channels, height, width), channels-last.
        weight: (channels, 1, kernel height, kernel width), odd sizes.
    """
    out: Tensor = _Depthwise.apply(x, weight)
    return out


def _same(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    if x.shape[3] == 1 and weight.shape[3] == 1:
        # this pass is faster along the width; the same memory is an image of height 1
        n, _, length, _ = x.shape
        line = _same_rows(image(matrix(x), (n, 1, length)), weight.transpose(2, 3), dilation)
        return image(matrix(line), (n, length, 1))
    return _same_rows(x, weight, dilation)


def _same_rows(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    return functional.conv2d(x, weight, None, 1, padding(weight.shape, dilation), dilation, x.shape[1])


def _input_gradient(gradient: Tensor, weight: Tensor, dilation: int) -> Tensor:
    # the transpose of a "same" convolution is the one with the mirrored kernel
    return _same(gradient, weight.flip(2, 3), dilation)


class _Depthwise(torch.autograd.Function):
    """`depthwise`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _same(x, weight, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        gradient = dense(gradient)
        return (
            _input_gradient(gradient, weight, 1) if wanted(ctx, 0) else None,
            _weight_gradient(x, gradient, weight.shape, 1, None) if wanted(ctx, 1) else None,
        )


def fan(x: Tensor, copies: Tensor, weights: list[Tensor], dilations: list[int], stride: int) -> list[Tensor]:
    """Several depthwise convolutions of each of several copies of an image's channels.

    Args:
        x: (n, channels, height, width), channels-last.
        copies: (channels, wide), zeros and ones: which channel each of the wide ones is.
        weights: each (wide, 1, kernel height, kernel width).
        dilations: 1 or 2, one for each weight.
        stride: 1 or 2.

    Returns:
        for each weight (n, wide, ceil(height / stride), ceil(width / stride)).
    """
    return list(_Fan.apply(x, copies, tuple(dilations), stride, *weights))


class _Fan(torch.autograd.Function):
    """`fan`. The copies are made anew in the backward pass rather than kept."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, copies: Tensor, dilations: tuple[int, ...], stride: int, *weights: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, copies, *weights)
        ctx.dilations, ctx.stride = dilations, stride
        wide = image(matrix(x) @ copies, sizes(x))
        if stride == 1:
            return tuple(_same(wide, weight, dilation) for weight, dilation in zip(weights, dilations, strict=True))
        # a dilated kernel of stride 2 meets every other position only
        coarse = dense(wide[:, :, ::2, ::2])
        return tuple(
            _same(coarse, weight, 1)
            if dilation == 2
            else functional.conv2d(wide, weight, None, 2, padding(weight.shape, 1), 1, wide.shape[1])
            for weight, dilation in zip(weights, dilations, strict=True)
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, copies, *weights = ctx.saved_tensors
        learn = any(wanted(ctx, 2 + place) for place in range(len(weights)))
        wide = image(matrix(x) @ copies, sizes(x)) if ctx.stride == 2 else x
        coarse = dense(x[:, :, ::2, ::2]) if ctx.stride == 2 else x
        to_x = torch.zeros_like(matrix(x))
        to_coarse = to_x if ctx.stride == 1 else torch.zeros_like(matrix(x[:, :, ::2, ::2]))
        back = copies.T.contiguous()
        to_weights: list[Tensor | None] = []
        for gradient, weight, dilation in zip(gradients, weights, ctx.dilations, strict=True):
            gradient = dense(gradient)
            to_weight: Tensor | None = None
            if ctx.stride == 2 and dilation == 1:
                pads = list(padding(weight.shape, 1))
                mask = [True, learn, False]
                to_wide, to_weight, _ = torch.ops.aten.convolution_backward(
                    gradient, wide, weight, None, [2, 2], pads, [1, 1], False, [0, 0], weight.shape[0], mask
                )
                to_x.addmm_(matrix(to_wide), back)
            else:
                dilation = dilation if ctx.stride == 1 else 1
                to_coarse.addmm_(matrix(_input_gradient(gradient, weight, dilation)), back)
                if learn:
                    to_weight = _weight_gradient(coarse, gradient, weight.shape, dilation, copies)
            to_weights.append(to_weight)
        out = image(to_x, sizes(x))
        if ctx.stride == 2:
            out[:, :, ::2, ::2].add_(image(to_coarse, sizes(coarse)))
        return out, None, None, None, *to_weights


def windows(x: Tensor, taps: int, dilation: int, stride: int, parts: int = 1) -> Tensor:
    """What a kernel sees of a signal from each of the positions where it stops, with "same" padding.

    Args:
        x: (n, channels, length, 1), channels-last.
        taps: of the kernel, odd.
        dilation: distance of its taps.
        stride: 1 or 2.
        parts: that the channels fall into.

    Returns:
        (n · ceil(length / stride), taps · channels): of the first part, the channels under the first tap, then those
        under the second, ...; then those of the second part, ...
    """
    out: Tensor = _Windows.apply(x, taps, dilation, stride, parts)
    return out


class _Windows(torch.autograd.Function):
    """`windows`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: int, dilation: int, stride: int, parts: int) -> Tensor:
        ctx.shape, ctx.taps, ctx.dilation, ctx.stride, ctx.parts = x.shape, taps, dilation, stride, parts
        pad, span = dilation * (taps // 2), dilation * (taps - 1) + 1
        signal = functional.pad(x.permute(0, 2, 3, 1).flatten(1, 2), (0, 0, pad, pad))
        seen = signal.unfold(1, span, stride)[..., ::dilation]
        by_part = seen.view(*seen.shape[:2], parts, -1, taps)
        return by_part.transpose(3, 4).reshape(-1, taps * x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        n, channels, length, _ = ctx.shape
        pad = ctx.dilation * (ctx.taps // 2)
        seen = gradient.view(n, -1, ctx.parts, ctx.taps, channels // ctx.parts)
        stop = (seen.shape[1] - 1) * ctx.stride + 1
        to_signal = gradient.new_zeros(n, length + 2 * pad, ctx.parts, channels // ctx.parts)
        for tap in range(ctx.taps):
            start = tap * ctx.dilation
            to_signal[:, start : start + stop : ctx.stride].add_(seen[:, :, :, tap])
        to_x = to_signal[:, pad : pad + length].flatten(2)
        return to_x.permute(0, 2, 1).unsqueeze(3), None, None, None, None


def _weight_gradient(x: Tensor, gradient: Tensor, shape: torch.Size, dilation: int, copies: Tensor | None) -> Tensor:
    """Gradient of a "same" depthwise convolution's weight, (channels, 1, kernel height, kernel width).

    Dilation 2 is taken away by giving every phase of the positions to a sample of its own; zeros that fill odd sizes
    up change nothing, for they meet zeros of the gradient.

    Args:
        x: (n, narrow, height, width), channels-last.
        gradient: (n, channels, height, width), channels-last, of the output.
        shape: of the weight.
        dilation: 1 or 2.
        copies: (narrow, channels), which of x each channel is; None if it is x itself. What has to be moved about in
            memory is so before it is copied, while there is less of it.
    """
    if x.device.type != "cpu":
        return _taps(_wide(x, copies), gradient, shape, padding(shape, dilation), dilation)
    if dilation == 2:
        phases = (2 if shape[2] > 1 else 1, 2 if shape[3] > 1 else 1)
        x, gradient = _apart(x, phases), _apart(gradient, phases)
    if shape[3] == 1:
        return _taps(_wide(x, copies), gradient, shape, (shape[2] // 2, 0))
    # the library is slow where the kernel overlaps both ends, and there alone it pays to add the zeros beforehand
    rows = shape[2] // 2 if x.shape[2] < 2 * shape[2] else 0
    pads = shape[2] // 2 - rows, 0
    n, channels, height, width = x.shape
    if shape[3] == 3:
        x = functional.pad(x, (0, 0, rows, rows)) if rows else x
        return _taps(_wide(x, copies), gradient, shape, (pads[0], 1))
    # Five columns of taps are three and three that share one: kernels three wide are the fast ones. Two columns of
    # zeros behind every row are at once those before the next, so that both images are parts of the same memory.
    line = x.new_zeros(n * (height + 2 * rows) * (width + 2) + 2, channels)
    grid = line[2:].view(n, height + 2 * rows, width + 2, channels)
    grid[:, rows : rows + height, :width] = x.permute(0, 2, 3, 1)
    if copies is not None:
        line = line @ copies
    half, size = torch.Size((*shape[:3], 3)), (n, height + 2 * rows, width + 2)
    left, right = (_taps(image(part, size), gradient, half, pads) for part in (line[:-2], line[2:]))
    return torch.cat([left, right[..., 1:]], dim=3)


def _wide(x: Tensor, copies: Tensor | None) -> Tensor:
    return x if copies is None else image(matrix(x) @ copies, sizes(x))


def _apart(x: Tensor, phases: tuple[int, int]) -> Tensor:
    """(n, channels, height, width) → (n · phases, channels, height / phases, width / phases), positions in turn."""
    rows, columns = phases
    n, channels, height, width = x.shape
    if height % rows or width % columns:
        x = functional.pad(x, (0, -width % columns, 0, -height % rows))
        height, width = x.shape[2:]
    grid = x.permute(0, 2, 3, 1).reshape(n, height // rows, rows, width // columns, columns, channels)
    parts = grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, height // rows, width // columns, channels)
    return parts.permute(0, 3, 1, 2)


def _taps(x: Tensor, gradient: Tensor, shape: torch.Size, pads: tuple[int, int], dilation: int = 1) -> Tensor:
    """Gradient of the weight of a depthwise convolution of stride 1, by torch."""
    taps: Tensor = torch.ops.aten.convolution_backward(
        gradient, x, x.new_empty(shape), None, [1, 1], pads, [dilation] * 2, False, [0, 0], shape[0],
        [False, True, False],
    )[1]  # fmt: skip
    return taps


def sizes(x: Tensor) -> tuple[int, int, int]:
    """(n, height, width) of (n, channels, height, width)."""
    return x.shape[0], x.shape[2], x.shape[3]


def pool_window(size: int, dims: int, *otherwise: int) -> tuple[int, int]:
    """A pool's window, or with (a, b) its padding: (size, size), in 1D (size, 1)."""
    along, across = otherwise or (size, 1)
    return (along, along) if dims == 2 else (along, across)


def average_pool(x: Tensor, window: tuple[int, int]) -> Tensor:
    """Mean over the part of a window around each position that lies inside, stride 1.

    As a convolution, for torch's own pool takes six times as long on images of few channels.

    Args:
        x: (n, channels, height, width), channels-last.
        window: odd sizes.
    """
    out: Tensor = _AveragePool.apply(x, window)
    return out


class _AveragePool(torch.autograd.Function):
    """`average_pool`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: tuple[int, int]) -> Tensor:
        one = x.new_ones(1, 1, *window)
        share = _same_rows(x.new_ones(1, 1, *x.shape[2:]), one, 1).reciprocal_()
        ctx.save_for_backward(one, share)
        return _same(x, one.expand(x.shape[1], -1, -1, -1), 1).mul_(share)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        one, share = ctx.saved_tensors
        return _same(dense(gradient * share), one.expand(gradient.shape[1], -1, -1, -1), 1), None


def even_odd(x: Tensor, dims: int) -> tuple[Tensor, Tensor]:
    """Every other position, and those one further along every dimension of the task; zeros beyond the end.

    Args:
        x: (n, channels, height, width), channels-last.
        dims: 1 or 2, of the task.

    Returns:
        two of (n, channels, ceil(height / 2), ceil(width / 2)), channels-last.
    """
    out: tuple[Tensor, Tensor] = _EvenOdd.apply(x, dims - 1)
    return out


class _EvenOdd(torch.autograd.Function):
    """`even_odd`; autograd's own way back would leave channels-last memory for the slow one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, across: int) -> tuple[Tensor, Tensor]:
        ctx.shape, ctx.across = x.shape, across
        even = dense(x[:, :, ::2, ::2])
        odd = torch.zeros_like(even)
        part = x[:, :, 1::2, across::2]
        odd[:, :, : part.shape[2], : part.shape[3]] = part
        return even, odd

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_even: Tensor, to_odd: Tensor) -> tuple[Tensor, None]:
        n, channels, height, width = ctx.shape
        to_x = image(to_even.new_zeros(n * height * width, channels), (n, height, width))
        to_x[:, :, ::2, ::2] = to_even
        part = to_x[:, :, 1::2, ctx.across :: 2]
        part.add_(to_odd[:, :, : part.shape[2], : part.shape[3]])
        return to_x, None
