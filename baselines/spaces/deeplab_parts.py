"""What the supernet and the discrete networks of Auto-DeepLab have in common: stem, change of resolution, pyramid."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas360.baselines import nd
from nas360.baselines.spaces.darts_kernels import dense_gradient, image, matrix, sizes

DIMS = 2
"""Images alone: strides and dilations of this space are made for them."""


def uniform(fan_in: int, *shape: int) -> nn.Parameter:
    """As torch starts a convolution's weight."""
    bound = 1 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


def conv_norm_relu(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, dilation: int = 1, affine: bool
) -> nn.Module:
    """Convolution, batch norm, ReLU; without the reference's bias, which the norm takes away again."""
    return nn.Sequential(
        nd.conv(DIMS, in_channels, out_channels, kernel, stride=stride, dilation=dilation),
        nd.batch_norm(DIMS, out_channels, affine=affine),
        nn.ReLU(),
    )


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """Bring an image to another size: the mean of the positions that fall together, or bilinear between them.

    Positions are squares, whose corners stay where they are, so that halving is the mean of 2×2. The reference keeps
    the centres of the corner positions in place instead ("align corners"), which moves what lies between by up to
    half a position in every change of level.

    Args:
        x: (n, channels, *space).
        height: of the result.
        width: of the result.
    """
    if (height, width) == tuple(x.shape[2:]):
        return x
    if height <= x.shape[2] and width <= x.shape[3]:
        if (x.shape[2], x.shape[3]) == (2 * height, 2 * width):
            # the same numbers as below, faster
            return functional.avg_pool2d(x, 2)
        return functional.adaptive_avg_pool2d(x, (height, width))
    return functional.interpolate(x, (height, width), mode="bilinear", align_corners=False)


class Preparation(nn.Module):
    """What a cell does to an input after its ReLU: 1×1 convolution, to the cell's size, batch norm.

    Both are linear and do not meet, so their order changes no number; the one with fewer positions is taken.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        affine: whether the batch norm learns a scale and a shift.
    """

    def __init__(self, in_channels: int, out_channels: int, *, affine: bool) -> None:
        super().__init__()
        self.weight = uniform(in_channels, in_channels, out_channels)
        self.norm = nd.batch_norm(DIMS, out_channels, affine=affine)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """(n, in_channels, *space), after ReLU → (n, out_channels, height, width), channels-last."""
        if height < x.shape[2]:
            x = resize(x, height, width)
        out = resize(image(matrix(x) @ self.weight, sizes(x)), height, width)
        return dense_gradient(self.norm(out))


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: one view of an image at several reaches, side by side.

    A 1×1 and dilated 3×3 convolutions, each with batch norm and ReLU, and the mean over all positions through a 1×1
    convolution with bias and ReLU. The mean has no batch norm, unlike in the reference: that of one value a sample
    hangs on who is in the batch.

    Source: Chen et al. 2017 (Rethinking atrous convolution, DeepLabv3), section 3.3.

    Args:
        in_channels: of the input.
        width: channels of each part.
        dilations: one for each 3×3 convolution.
        affine: whether batch norms learn a scale and a shift.
    """

    def __init__(self, in_channels: int, width: int, dilations: tuple[int, ...], *, affine: bool) -> None:
        super().__init__()
        self.parts = nn.ModuleList([conv_norm_relu(in_channels, width, 1, affine=affine)])
        for dilation in dilations:
            self.parts.append(conv_norm_relu(in_channels, width, 3, dilation=dilation, affine=affine))
        self.pooled = nd.conv(DIMS, in_channels, width, 1, bias=True)
        self.out_channels = width * (len(dilations) + 2)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, *space) → (n, out_channels, *space)."""
        mean = self.pooled(x.mean(dim=(2, 3), keepdim=True)).relu()
        return torch.cat([*(part(x) for part in self.parts), mean.expand(-1, -1, *x.shape[2:])], dim=1)
