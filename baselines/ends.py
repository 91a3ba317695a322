"""The two ends of a network: what a task asks of its head, of its output, and of the sizes it takes.

A space builds a body, features (n, channels, *space). Here the task's output kind turns a body into a network; no
space knows what it will predict.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas360.baselines import nd
from nas360.loaders.base import OutputScale
from nas360.task import Dense, TaskSpec


class Body(Protocol):
    """What a space builds: a module from inputs to features, which says how many channels these have."""

    out_channels: int

    def __call__(self, x: Tensor) -> Tensor:
        """(n, input channels, *space) → (n, out_channels, *space')."""
        ...


def stem(spec: TaskSpec, width: int, kernel: int = 3) -> nn.Module:
    """The first convolution, without norm or activation: (n, *spec.input_shape) → (n, width, *space)."""
    return nd.conv(spec.spatial_dims, spec.input_shape[0], width, kernel)


def head(spec: TaskSpec, channels: int) -> nn.Module:
    """The last layer, with biases of zero.

    Args:
        spec: the task.
        channels: channels of the features.

    Returns:
        For a point or multi-label task global average pooling and a linear layer, (n, channels, *space) → (n,
        outputs); for a dense task one linear layer a position, (n, channels, *space) → (n, outputs, *space).
    """
    if isinstance(spec.output, Dense):
        layer = nd.conv(spec.spatial_dims, channels, spec.output.channels, 1, bias=True)
        nn.init.zeros_(layer.get_parameter("bias"))
        return layer
    linear = nn.Linear(channels, spec.output.channels)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(nd.global_pool(), linear)


def assemble(body: nn.Module, out_channels: int, spec: TaskSpec) -> nn.Module:
    """Body and head as one network: (n, *spec.input_shape) → (n, outputs) or (n, outputs, *space)."""
    network = nn.Sequential()
    network.add_module("body", body)
    network.add_module("head", head(spec, out_channels))
    return network


def is_dense(spec: TaskSpec) -> bool:
    """Whether the task wants one value a position."""
    return isinstance(spec.output, Dense)


class Padded(nn.Module):
    """Gives a network only sizes that it can take: pads with zeros at the end, and crops a dense output.

    Args:
        network: the network.
        multiple_of: every spatial size is padded to the next multiple of this.
        crop: whether the output has the input's spatial sizes and is cut back to them.
    """

    def __init__(self, network: nn.Module, multiple_of: int, *, crop: bool) -> None:
        super().__init__()
        self.network = network
        self.multiple_of = multiple_of
        self.crop = crop

    def forward(self, x: Tensor) -> Tensor:
        """Pad, compute, crop."""
        sizes = x.shape[2:]
        padding = [extra for size in reversed(sizes) for extra in (0, -size % self.multiple_of)]
        y: Tensor = self.network(functional.pad(x, padding) if any(padding) else x)
        if self.crop:
            for dim, size in enumerate(sizes, start=2):
                y = y.narrow(dim, 0, size)
        return y


class TaskModel(nn.Module):
    """A network whose output is in the task's unit and in the shape of the batch's `y`.

    Losses and predictions are both taken from here, so that a loss in the task's unit (Darcy Flow's) is one.

    Args:
        network: (n, *spec.input_shape) → (n, outputs) or (n, outputs, *space).
        spec: the task.
        scale: affine map from the network's output to the task's unit, or None.
    """

    scale: Tensor | None
    shift: Tensor | None

    def __init__(self, network: nn.Module, spec: TaskSpec, scale: OutputScale | None = None) -> None:
        super().__init__()
        self.network = network
        # a single map has no channel axis in y
        self.squeeze = isinstance(spec.output, Dense) and spec.output.channels == 1
        # not persistent: they come from the data and are fitted anew, exactly, when a run is taken up again
        self.register_buffer("scale", None if scale is None else torch.tensor(scale.scale), persistent=False)
        self.register_buffer("shift", None if scale is None else torch.tensor(scale.shift), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, or values in the task's unit.

        Args:
            x: model inputs, (n, *spec.input_shape).

        Returns:
            float32: (n, classes) or (n, labels) logits; (n, *space) for a dense task of one channel, else (n,
                channels, *space).
        """
        return self._finish(self.network(x))

    def auxiliary(self) -> Tensor | None:
        """What an auxiliary head said of the last batch in training, as of `forward`; None without one.

        A network with such a head leaves the head's output in the attribute `auxiliary_output` of one of its modules.
        """
        for module in self.network.modules():
            output = getattr(module, "auxiliary_output", None)
            if isinstance(output, Tensor):
                return self._finish(output)
        return None

    def _finish(self, y: Tensor) -> Tensor:
        y = y.float()
        if self.scale is not None and self.shift is not None:
            y = y * self.scale + self.shift
        return y.squeeze(1) if self.squeeze else y
