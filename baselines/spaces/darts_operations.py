"""The operations of DARTS cells as modules, for signals and images.

Every one maps (n, channels, *space) to (n, channels, *ceil(space / stride)), odd sizes too.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas360.baselines import nd


class Zero(nn.Module):
    """Zeros in the shape that the others give."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, *space) → zeros (n, channels, *ceil(space / stride))."""
        return torch.zeros_like(x[(slice(None), slice(None), *([slice(None, None, self.stride)] * (x.ndim - 2)))])


class FactorizedReduction(nn.Module):
    """Halves the size without losing positions: ReLU; 1×1 convolutions of stride 2 on the input and on the input moved
    by one position along every dimension, half of the channels each; batch norm.

    What lies beyond the end counts as zero, so that odd sizes give ceil(size / 2) in both halves. The NAS-Bench-360
    code does not move the second half in 1D and so drops every other position.
    """  # noqa: D205  # the first sentence needs two lines

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, *, affine: bool) -> None:
        super().__init__()
        self.even = nd.conv(spatial_dims, in_channels, out_channels // 2, 1, stride=2)
        self.odd = nd.conv(spatial_dims, in_channels, out_channels - out_channels // 2, 1, stride=2)
        self.norm = nd.batch_norm(spatial_dims, out_channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, *space) → (n, out_channels, *ceil(space / 2))."""
        x = x.relu()
        moved = functional.pad(x, [0, 1] * (x.ndim - 2))[(slice(None), slice(None), *([slice(1, None)] * (x.ndim - 2)))]
        out: Tensor = self.norm(torch.cat([self.even(x), self.odd(moved)], dim=1))
        return out


def relu_conv_norm(spatial_dims: int, in_channels: int, out_channels: int, *, affine: bool) -> nn.Module:
    """ReLU, 1×1 convolution, batch norm: what a cell does to its inputs."""
    return nn.Sequential(
        nn.ReLU(),
        nd.conv(spatial_dims, in_channels, out_channels, 1),
        nd.batch_norm(spatial_dims, out_channels, affine=affine),
    )


def _depthwise_separable(
    spatial_dims: int, channels: int, kernel: int, stride: int, dilation: int, affine: bool
) -> list[nn.Module]:
    return [
        nn.ReLU(),
        nd.conv(spatial_dims, channels, channels, kernel, stride=stride, dilation=dilation, groups=channels),
        nd.conv(spatial_dims, channels, channels, 1),
        nd.batch_norm(spatial_dims, channels, affine=affine),
    ]


def separable(spatial_dims: int, channels: int, kernel: int, stride: int, affine: bool) -> nn.Module:
    """Twice: ReLU, depthwise convolution, 1×1 convolution, batch norm; the stride is the first one's."""
    return nn.Sequential(
        *_depthwise_separable(spatial_dims, channels, kernel, stride, 1, affine),
        *_depthwise_separable(spatial_dims, channels, kernel, 1, 1, affine),
    )


def dilated(spatial_dims: int, channels: int, kernel: int, stride: int, affine: bool) -> nn.Module:
    """ReLU, depthwise convolution of dilation 2, 1×1 convolution, batch norm."""
    return nn.Sequential(*_depthwise_separable(spatial_dims, channels, kernel, stride, 2, affine))


def skip(spatial_dims: int, channels: int, stride: int, affine: bool) -> nn.Module:
    """The input itself, or its factorised reduction."""
    return nn.Identity() if stride == 1 else FactorizedReduction(spatial_dims, channels, channels, affine=affine)


_MAKERS: dict[str, Callable[[int, int, int, bool], nn.Module]] = {
    "none": lambda dims, channels, stride, affine: Zero(stride),
    "max_pool_3x3": lambda dims, channels, stride, affine: nd.max_pool(dims, 3, stride=stride),
    "avg_pool_3x3": lambda dims, channels, stride, affine: nd.avg_pool(dims, 3, stride=stride),
    "skip_connect": skip,
    "sep_conv_3x3": lambda dims, channels, stride, affine: separable(dims, channels, 3, stride, affine),
    "sep_conv_5x5": lambda dims, channels, stride, affine: separable(dims, channels, 5, stride, affine),
    "dil_conv_3x3": lambda dims, channels, stride, affine: dilated(dims, channels, 3, stride, affine),
    "dil_conv_5x5": lambda dims, channels, stride, affine: dilated(dims, channels, 5, stride, affine),
}


def operation(name: str, spatial_dims: int, channels: int, stride: int, *, affine: bool) -> nn.Module:
    """The module of a name in `darts_genotypes.OPERATIONS`; kernels "3x3" have length 3 in 1D.

    Args:
        name: of the operation.
        spatial_dims: 1 or 2.
        channels: of input and output.
        stride: 1 or 2.
        affine: whether batch norms learn a scale and a shift.
    """
    return _MAKERS[name](spatial_dims, channels, stride, affine)
