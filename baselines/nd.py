"""Layers whose number of spatial dimensions is a parameter.

The only file of the baselines that names a layer of a fixed dimension. Everything else says `conv(spatial_dims,
...)`, so that a network is written once for signals (n, channels, length) and images (n, channels, height, width).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

_CONV: dict[int, type[nn.Conv1d] | type[nn.Conv2d]] = {1: nn.Conv1d, 2: nn.Conv2d}


class _Sparse(nn.Module):
    """A 1×1 convolution of the positions that a stride leaves.

    The same as a stride in the convolution, whose backward pass in torch 2.15 on the CPU writes past its memory where
    images lie channels-last and have 8 channels or fewer.
    """

    every: int = 1

    def forward(self, x: Tensor) -> Tensor:
        left: Tensor = super().forward(x[(slice(None), slice(None), *[slice(None, None, self.every)] * (x.ndim - 2))])
        return left


class _SparseConv1d(_Sparse, nn.Conv1d): ...


class _SparseConv2d(_Sparse, nn.Conv2d): ...


_SPARSE: dict[int, type[_SparseConv1d] | type[_SparseConv2d]] = {1: _SparseConv1d, 2: _SparseConv2d}
_BATCH_NORM: dict[int, type[nn.BatchNorm1d] | type[nn.BatchNorm2d]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}
_MAX_POOL: dict[int, type[nn.MaxPool1d] | type[nn.MaxPool2d]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d}
_AVG_POOL: dict[int, type[nn.AvgPool1d] | type[nn.AvgPool2d]] = {1: nn.AvgPool1d, 2: nn.AvgPool2d}


def conv(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
) -> nn.Module:
    """A convolution with "same" padding, so that an input of size s gives ceil(s / stride).

    The padding totals `dilation * (kernel - 1)`; where that is odd (an even kernel) the odd one goes to the end, as
    in TensorFlow.

    Args:
        spatial_dims: 1 or 2.
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: size along every spatial dimension.
        stride: step along every spatial dimension.
        dilation: distance of the kernel's taps.
        groups: number of groups of channels that do not see each other.
        bias: whether to add a constant a channel.

    Returns:
        (n, in_channels, *space) → (n, out_channels, *ceil(space / stride)).
    """
    if kernel == 1 and stride > 1:
        sparse = _SPARSE[spatial_dims](in_channels, out_channels, 1, groups=groups, bias=bias)
        sparse.every = stride
        return sparse
    total = dilation * (kernel - 1)
    before, after = total // 2, total - total // 2
    layer: nn.Module = _CONV[spatial_dims](
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=before if before == after else 0,
        dilation=dilation,
        groups=groups,
        bias=bias,
    )
    if before == after:
        return layer
    return nn.Sequential(nn.ConstantPad1d((before, after), 0.0) if spatial_dims == 1 else _pad_2d(before, after), layer)


def _pad_2d(before: int, after: int) -> nn.Module:
    return nn.ConstantPad2d((before, after, before, after), 0.0)


def batch_norm(
    spatial_dims: int, channels: int, *, affine: bool = True, eps: float = 1e-5, momentum: float = 0.1
) -> nn.Module:
    """Batch normalisation over the batch and the spatial dimensions.

    Args:
        spatial_dims: 1 or 2.
        channels: channels of the input.
        affine: whether to learn a scale and a shift (1 and 0 at first).
        eps: added to the variance.
        momentum: weight of the newest batch in the running statistics.
    """
    return _BATCH_NORM[spatial_dims](channels, eps=eps, momentum=momentum, affine=affine)


def max_pool(spatial_dims: int, kernel: int, *, stride: int = 1) -> nn.Module:
    """Max pooling with "same" padding: size s gives ceil(s / stride); an even kernel takes stride 1 alone."""
    pool = _MAX_POOL[spatial_dims](kernel, stride=stride, padding=kernel // 2)
    return pool if kernel % 2 else _EvenPool(pool, stride)


def avg_pool(spatial_dims: int, kernel: int, *, stride: int = 1) -> nn.Module:
    """Average pooling with "same" padding that does not count: size s gives ceil(s / stride); as for `max_pool`."""
    pool = _AVG_POOL[spatial_dims](kernel, stride=stride, padding=kernel // 2, count_include_pad=False)
    return pool if kernel % 2 else _EvenPool(pool, stride)


def max_of_tiles(spatial_dims: int, size: int) -> nn.Module:
    """The greatest of every tile of `size` positions, the last of which may be cut: size s gives ceil(s / size)."""
    return _MAX_POOL[spatial_dims](size, stride=size, ceil_mode=True)


class _EvenPool(nn.Module):
    """Pooling with an even kernel, its odd padding at the end.

    Torch pads both ends alike, which is a window too many; the first one is left out.
    """

    def __init__(self, pool: nn.Module, stride: int) -> None:
        super().__init__()
        if stride != 1:
            raise ValueError(f"stride {stride} of a pooling with an even kernel must be 1")
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Pool `x`; its sizes are kept."""
        y: Tensor = self.pool(x)
        for dim in range(2, x.ndim):
            y = y.narrow(dim, 1, x.shape[dim])
        return y


class GlobalPool(nn.Module):
    """Reduce every spatial dimension: (n, channels, *space) → (n, channels), whatever the number of dimensions."""

    def __init__(self, kind: Literal["mean", "max"] = "mean") -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """Pool `x`."""
        flat = x.flatten(start_dim=2)
        return flat.mean(dim=2) if self.kind == "mean" else flat.amax(dim=2)


def global_pool(kind: Literal["mean", "max"] = "mean") -> nn.Module:
    """Pooling over all positions: (n, channels, *space) → (n, channels)."""
    return GlobalPool(kind)


def is_conv(module: nn.Module) -> bool:
    """Whether `module` is a convolution of any number of spatial dimensions."""
    return isinstance(module, tuple(_CONV.values()))


def is_batch_norm(module: nn.Module) -> bool:
    """Whether `module` is a batch normalisation of any number of spatial dimensions."""
    return isinstance(module, tuple(_BATCH_NORM.values()))


def kaiming_fan_out(network: nn.Module) -> None:
    """Start a ReLU network: convolutions normal with variance 2 / fan-out, batch norms 1 and 0, biases 0.

    Draws from torch's current generator. Source: He et al. 2015 (Delving Deep into Rectifiers), section 2.2.
    """
    for module in network.modules():
        if is_conv(module):
            nn.init.kaiming_normal_(_tensor(module.weight), mode="fan_out", nonlinearity="relu")
        if is_batch_norm(module) and module.weight is not None:
            nn.init.ones_(_tensor(module.weight))
        if (is_conv(module) or is_batch_norm(module) or isinstance(module, nn.Linear)) and module.bias is not None:
            nn.init.zeros_(_tensor(module.bias))


def _tensor(value: Tensor | nn.Module) -> Tensor:
    """Narrow the type of a module's attribute, which torch declares as either."""
    if not isinstance(value, Tensor):
        raise TypeError(f"expected a parameter, got {type(value).__name__}")
    return value
