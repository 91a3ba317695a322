"""The children of AMBER's layers on shared weights: one set of weights in which every network of the space is found.

Children that begin alike are computed together, as far as they are alike: they form a tree, whose branches at a layer
are its operation, then its skips, and the tree is walked depth first, so that one path of outputs is in memory. An
output is brought to a later stage only when a skip asks for it, once for all children that have it in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nas360.baselines.spaces import amber_kernels as kernels
from nas360.baselines.spaces.amber_architecture import OPERATIONS, STAGES
from nas360.baselines.spaces.amber_network import CONVOLUTIONS, POOL, STEM, fitting, lengths
from nas360.baselines.spaces.layered import Child
from nas360.task import TaskSpec


class Normed(nn.Module):
    """A kernel with the norm after it: weight (kernel, in, out), scale and shift (out,)."""

    def __init__(self, kernel: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        deviation = (2 / (kernel * in_channels)) ** 0.5
        self.weight = nn.Parameter(torch.randn(kernel, in_channels, out_channels) * deviation)
        self.scale, self.shift = nn.Parameter(torch.ones(out_channels)), nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, dilation: int = 1) -> Tensor:
        """Convolution, norm, ReLU: (length, n, in) → (length, n, out)."""
        x = x @ self.weight[0] if len(self.weight) == 1 else kernels.convolve(x, self.weight, dilation)
        return kernels.norm(x, self.scale, self.shift, relu=True)


class Norm(nn.Module):
    """A norm's scale and shift, (channels,)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(length, n, channels), the same shape."""
        return kernels.norm(x, self.scale, self.shift)


@dataclass
class _Output:
    """A layer's output, and what it was brought to at later stages."""

    layer: int
    stages: dict[int, Tensor] = field(default_factory=dict)


class AmberShared(nn.Module):
    """The shared weights.

    Every child is the network that `AmberNetwork` builds for the same choices, but narrower, with a hidden layer of
    925, and without its bound on kernels. Norms take the statistics of the batch itself, in evaluation too: running
    averages over children fit none of them.

    Args:
        spec: the task.
        layers: of every child, a multiple of four.
        width: channels of the first stage.
        hidden: width of the fully connected layer.
        dropout: probability with which a number is left out, after every layer and before the fully connected one.
    """

    def __init__(self, spec: TaskSpec, layers: int, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers, self.size, self.dropout = layers, layers // STAGES, dropout
        self.lengths = lengths(spec)
        widths = [width * 2**stage for stage in range(STAGES)]
        self.stem = Normed(STEM, spec.input_shape[0], width)
        self.operations, self.norms, self.reductions = nn.ModuleList(), nn.ModuleList(), nn.ModuleDict()
        for layer in range(layers):
            channels = widths[layer // self.size]
            taps = [CONVOLUTIONS[name][0] if name in CONVOLUTIONS else 1 for name in OPERATIONS if name != "identity"]
            self.operations.append(nn.ModuleList(Normed(kernel, channels, channels) for kernel in taps))
            self.norms.append(Norm(channels) if layer else nn.Identity())
            for stage in range(layer // self.size + 1, STAGES):
                self.reductions[f"{layer}_{stage}"] = Normed(1, widths[stage - 1], widths[stage])
        self.hidden = nn.Linear(widths[-1] * self.lengths[-1], hidden)
        self.answer = nn.Linear(hidden, spec.output.channels)
        for layer_ in (self.hidden, self.answer):
            nn.init.xavier_uniform_(layer_.weight)
            nn.init.zeros_(layer_.bias)
        self.child = Child((0,) * layers, ((),) * layers)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of `child`: (n, *spec.input_shape) → (n, outputs)."""
        return self.outputs(x, [self.child])[0]

    def outputs(self, x: Tensor, children: Sequence[Child]) -> list[Tensor]:
        """Logits of several children on the same inputs; each equals, to the bit, what it gives alone.

        Args:
            x: (n, *spec.input_shape).
            children: any, also equal ones.

        Returns:
            (n, outputs) for each child.
        """
        # on the CPU products of views are the fast way, in float32; a GPU does as autocast says
        with torch.autocast("cpu", enabled=False) if x.device.type == "cpu" else nullcontext():
            found: list[Tensor | None] = [None] * len(children)
            start = self.stem(x.permute(2, 0, 1).contiguous())
            self._grow(start, [], children, list(range(len(children))), found)
        return [one for one in found if one is not None]

    def _grow(
        self, x: Tensor, path: list[_Output], children: Sequence[Child], these: list[int], found: list[Tensor | None]
    ) -> None:
        """Walk on from a path that `these` children have in common, and put their answers into `found`."""
        layer = len(path)
        if layer == self.layers:
            answer = self._answer(x)
            for number in these:
                found[number] = answer
            return
        stage = layer // self.size
        if layer:
            x = self._at(path[-1], stage)
        for token, some in _groups(these, [children[number].operations[layer] for number in these]).items():
            y = self._operation(layer, token, x)
            for sources, same in _groups(some, [children[number].skips[layer] for number in some]).items():
                z = y
                for source in sources:
                    z = z + self._at(path[source], stage)
                z = self._drop(self.norms[layer](z))
                self._grow(z, [*path, _Output(layer, {stage: z})], children, same, found)

    def _operation(self, layer: int, token: int, x: Tensor) -> Tensor:
        name = OPERATIONS[token]
        if name == "identity":
            return x
        module = self.operations[layer][token]  # type: ignore[index]  # a list of modules
        if name in CONVOLUTIONS:
            out: Tensor = module(x, fitting(CONVOLUTIONS[name][1], len(x)))
            return out
        return (kernels.max_pool if name == "max_pool_4" else kernels.avg_pool)(module(x))

    def _at(self, output: _Output, stage: int) -> Tensor:
        """The output at a stage, brought there if it is not yet."""
        if stage not in output.stages:
            before = self._at(output, stage - 1)
            reduced = self.reductions[f"{output.layer}_{stage}"](before)
            output.stages[stage] = kernels.max_of_tiles(reduced, POOL)
        return output.stages[stage]

    def _drop(self, x: Tensor) -> Tensor:
        return kernels.dropout(x, self.dropout) if self.dropout and self.training else x

    def _answer(self, x: Tensor) -> Tensor:
        flat = self._drop(x.permute(1, 2, 0).flatten(1))
        answer: Tensor = self.answer(self.hidden(flat).relu())
        return answer


def _groups(members: Sequence[int], keys: Sequence[Any]) -> dict[Any, list[int]]:
    """Members by key, in the order in which the keys come first."""
    found: dict[Any, list[int]] = {}
    for member, key in zip(members, keys, strict=True):
        found.setdefault(key, []).append(member)
    return found
