"""Networks of AMBER's layers: what is trained after a search."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas360.baselines import nd
from nas360.baselines.spaces.amber_architecture import STAGES, AmberArchitecture
from nas360.task import TaskSpec

CONVOLUTIONS = {"conv_8": (8, 1), "conv_4": (4, 1), "dilated_conv_8": (8, 10), "dilated_conv_4": (4, 10)}
"""Kernel and dilation."""

STEM, POOL = 8, 4
"""Kernels of the first convolution and of all pools."""

MAX_NORM = 0.9
"""Greatest l2 norm over the taps of a kernel, for every pair of channels."""


def fitting(dilation: int, length: int) -> int:
    """The dilation at a length: at most length - 1, lest all taps of an even kernel miss the signal.

    Example:
        >>> [fitting(10, length) for length in (1000, 12, 3, 1)]
        [10, 10, 2, 1]
    """
    return max(1, min(dilation, length - 1))


def lengths(spec: TaskSpec) -> tuple[int, ...]:
    """Positions at every stage: a quarter of the stage before, rounded up."""
    found = [spec.input_shape[1]]
    while len(found) < STAGES:
        found.append(-(-found[-1] // POOL))
    return tuple(found)


def block(dims: int, in_channels: int, out_channels: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU."""
    return nn.Sequential(
        nd.conv(dims, in_channels, out_channels, kernel, dilation=dilation),
        nd.batch_norm(dims, out_channels),
        nn.ReLU(),
    )


def operation(name: str, dims: int, width: int, length: int) -> nn.Module:
    """The layer of a name, (n, width, length) → (n, width, length)."""
    if name in CONVOLUTIONS:
        kernel, dilation = CONVOLUTIONS[name]
        return block(dims, width, width, kernel, fitting(dilation, length))
    if name == "identity":
        return nn.Identity()
    pool = nd.max_pool(dims, POOL) if name == "max_pool_4" else nd.avg_pool(dims, POOL)
    return nn.Sequential(block(dims, width, width, 1), pool)


def reduction(dims: int, width: int) -> nn.Module:
    """From one stage to the next: (n, width, length) → (n, 2 · width, ceil(length / 4))."""
    return nn.Sequential(block(dims, width, 2 * width, 1), nd.max_of_tiles(dims, POOL))


def reductions(skips: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, int], ...]:
    """Which layers' outputs are wanted at which later stage, as (layer, stage) with stage ≥ 1, in order.

    The last layer of a stage is the next one's input; any other is brought there only if some skip asks for it.
    """
    size = len(skips) // STAGES
    last = {layer: layer // size for layer in range(len(skips))}
    for layer, sources in enumerate(skips):
        for source in (*sources, layer - 1) if layer else ():
            last[source] = max(last[source], layer // size)
    return tuple((layer, stage) for layer, end in last.items() for stage in range(layer // size + 1, end + 1))


class AmberNetwork(nn.Module):
    """Stem, layers, fully connected layer, answer: (n, *spec.input_shape) → (n, outputs).

    Layer i applies its operation to the output of layer i - 1; from the second layer on the chosen earlier outputs are
    added and batch norm follows. At the end of a stage the outputs that are still needed are brought to a quarter of
    the positions and twice the channels.

    Convolutions start normal with variance 2 / fan-in. Before every pass they are brought back to the norm `MAX_NORM`,
    which is the same as to do so after every step.

    Args:
        architecture: what.
        spec: of a 1D task with one answer a sample.
    """

    def __init__(self, architecture: AmberArchitecture, spec: TaskSpec) -> None:
        super().__init__()
        dims, width, layers = spec.spatial_dims, architecture.width, len(architecture.operations)
        self.skips, self.size = architecture.skips, layers // STAGES
        widths = [width * 2**stage for stage in range(STAGES)]
        self.stem = block(dims, spec.input_shape[0], width, STEM)
        self.operations, self.norms = nn.ModuleList(), nn.ModuleList()
        for layer, name in enumerate(architecture.operations):
            stage = layer // self.size
            self.operations.append(operation(name, dims, widths[stage], lengths(spec)[stage]))
            self.norms.append(nd.batch_norm(dims, widths[stage]) if layer else nn.Identity())
        self.reductions = nn.ModuleDict()
        for layer, stage in reductions(self.skips):
            self.reductions[f"{layer}_{stage}"] = reduction(dims, widths[stage - 1])
        self.dropout = nn.Dropout(architecture.dropout)
        flat = widths[-1] * lengths(spec)[-1]
        self.hidden = nn.Linear(flat, architecture.hidden)
        self.answer = nn.Linear(architecture.hidden, spec.output.channels)
        for module in self.modules():
            if nd.is_conv(module):
                nn.init.kaiming_normal_(module.get_parameter("weight"), nonlinearity="relu")
        for layer_ in (self.hidden, self.answer):
            nn.init.xavier_uniform_(layer_.weight)
            nn.init.zeros_(layer_.bias)

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring every kernel back to `MAX_NORM`."""
        for module in self.modules():
            if nd.is_conv(module):
                # past autograd, which need not know: nothing changes when a pass follows a pass
                weight = module.get_parameter("weight").data
                norm = weight.norm(dim=2, keepdim=True)
                weight.mul_(torch.where(norm > MAX_NORM, MAX_NORM / norm, torch.ones_like(norm)))

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        self.constrain()
        x = self.stem(x)
        outputs: list[Tensor] = []
        for layer, (operation_, norm) in enumerate(zip(self.operations, self.norms, strict=True)):
            stage = layer // self.size
            if layer and layer % self.size == 0:
                outputs = [self._reduced(output, source, stage) for source, output in enumerate(outputs)]
                x = outputs[-1]
            x = operation_(x)
            for source in self.skips[layer]:
                x = x + outputs[source]
            x = self.dropout(norm(x))
            outputs.append(x)
        hidden = self.hidden(self.dropout(x.flatten(1))).relu()
        answer: Tensor = self.answer(hidden)
        return answer

    def _reduced(self, output: Tensor, layer: int, stage: int) -> Tensor:
        """The output of a layer at the next stage; as it is where nothing there or later asks for it."""
        name = f"{layer}_{stage}"
        return self.reductions[name](output) if name in self.reductions else output
