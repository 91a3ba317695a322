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
    """(n · height · width, channels) → (n, channels, height, width), channels-last, for `shape` = (n, height, width)."""
    return rows.view(*shape, rows.shape[1]).permute(0, 3, 1, 2)


def padding(kernel: torch.Size, dilation: int) -> tuple[int, int]:
    """What keeps the size at stride 1, for kernels of odd sizes (…, height, width)."""
    return dilation * (kernel[-2] // 2), dilation * (kernel[-1] // 2)


def depthwise(x: Tensor, weight: Tensor, *, stride: int = 1, dilation: int = 1) -> Tensor:
    """A convolution of each channel by itself with "same" padding.

    On a CPU the forward pass is torch's, the backward pass is not: torch's takes up to forty times as long as the
    forward pass for kernels of 5 or dilation 2.

    Args:
        x: (n, channels, height, width), channels-last.
        weight: (channels, 1, kernel height, kernel width), odd sizes.
        stride: 1 or 2; 2 goes with dilation 1.
        dilation: 1 or 2.

    Returns:
        (n, channels, ceil(height / stride), ceil(width / stride)).
    """
    if stride == 1 and x.device.type == "cpu":
        out: Tensor = _Depthwise.apply(x, weight, dilation)
        return out
    return functional.conv2d(x, weight, None, stride, padding(weight.shape, dilation), dilation, x.shape[1])


class _Depthwise(torch.autograd.Function):
    """`depthwise` at stride 1, with backward passes made of the fast kernels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return functional.conv2d(x, weight, None, 1, padding(weight.shape, dilation), dilation, x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # type: ignore[override]  # torch declares any arguments
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            pads = padding(weight.shape, ctx.dilation)
            # the transpose of a "same" convolution is the one with the mirrored kernel
            to_x = functional.conv2d(gradient, weight.flip(2, 3), None, 1, pads, ctx.dilation, x.shape[1])
        if ctx.needs_input_grad[1]:
            to_weight = _weight_gradient(x, gradient, weight.shape, ctx.dilation)
        return to_x, to_weight, None


def _weight_gradient(x: Tensor, gradient: Tensor, shape: torch.Size, dilation: int) -> Tensor:
    """Gradient of a "same" depthwise convolution's weight, (channels, 1, kernel height, kernel width).

    Dilation 2 is taken away by giving every phase of the positions to a sample of its own; zeros that fill odd sizes
    up change nothing, for they meet zeros of the gradient.
    """
    if dilation == 2:
        phases = (2 if shape[2] > 1 else 1, 2 if shape[3] > 1 else 1)
        x, gradient = _apart(x, phases), _apart(gradient, phases)
    if shape[3] <= 3:
        return _taps(x, gradient, shape, (shape[2] // 2, shape[3] // 2))
    # five columns of taps are three and three that share one: kernels three wide are the fast ones
    wide = functional.pad(x, (2, 2))
    width = x.shape[3] + 2
    half = torch.Size((*shape[:3], 3))
    left, right = (
        _taps(_dense(wide[..., start : start + width]), gradient, half, (shape[2] // 2, 0)) for start in (0, 2)
    )
    return torch.cat([left, right[..., 1:]], dim=3)


def _dense(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


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


def _taps(x: Tensor, gradient: Tensor, shape: torch.Size, pads: tuple[int, int]) -> Tensor:
    """Gradient of the weight of an undilated depthwise convolution of stride 1, by torch."""
    taps: Tensor = torch.ops.aten.convolution_backward(
        gradient, x, x.new_empty(shape), None, [1, 1], pads, [1, 1], False, [0, 0], shape[0], [False, True, False]
    )[1]
    return taps


class _Gram(torch.autograd.Function):
    """xᵀx, whose backward pass is one product, x (g + gᵀ)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.T @ x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]  # torch declares any arguments
        (x,) = ctx.saved_tensors
        out: Tensor = x @ (gradient + gradient.T)
        return out


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (channels,) and covariance (channels, channels), over rows and divided by their number, of (rows, channels).

    They give the mean and the variance of every linear image of the rows, so that a 1×1 convolution and a batch norm
    behind it are one product, and what lies between them is never written.
    """
    rows = x.shape[0]
    mean = x.new_full((1, rows), 1 / rows) @ x
    gram: Tensor = _Gram.apply(x)
    return mean[0], gram / rows - mean.T * mean


def replicate(channels: int, copies: int, device: torch.device | None = None) -> Tensor:
    """(channels, copies · channels), the matrix that writes `copies` copies side by side."""
    return torch.eye(channels, device=device).repeat(1, copies)


def shuffled(channels: int, parts: int) -> Tensor:
    """(channels,), where each channel goes when `parts` groups are interleaved (PC-DARTS' channel shuffle)."""
    return torch.arange(channels).view(channels // parts, parts).T.reshape(-1)
