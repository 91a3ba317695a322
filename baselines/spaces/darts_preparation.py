"""What a cell of the DARTS supernet does to its inputs, and how its weights start."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nas360.baselines import nd
from nas360.baselines.spaces.darts_kernels import dense_gradient, even_odd, image, matrix, sizes


class Preparation(nn.Module):
    """What a cell does to an input after its ReLU: 1×1 convolution and batch norm; at half size if asked for.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        dims: 1 or 2, of the task.
        halve: whether to halve the size.
    """

    def __init__(self, in_channels: int, out_channels: int, dims: int, *, halve: bool) -> None:
        super().__init__()
        self.weight = uniform(in_channels, in_channels, out_channels)
        self.dims, self.halve = dims, halve
        self.norm = nd.batch_norm(2, out_channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in, height, width) → (n, out, height', width'), both channels-last."""
        if self.halve:
            x, odd = even_odd(x, self.dims)
            half = self.weight.shape[1] // 2
            rows = torch.cat([matrix(x) @ self.weight[:, :half], matrix(odd) @ self.weight[:, half:]], dim=1)
        else:
            rows = matrix(x) @ self.weight
        return dense_gradient(self.norm(image(rows, sizes(x))))


def uniform(fan_in: int, *shape: int) -> nn.Parameter:
    """As torch starts a convolution's weight."""
    bound = 1 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))
