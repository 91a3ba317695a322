"""AMBER's shared children the plain way, as yardstick: one module of torch for every candidate, one child at a time.

(n, channels, length) throughout; convolutions after explicit padding, torch's norms and pools; all stored outputs are
brought to the next stage, wanted or not, as in the reference; a child is scored in a pass of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas360.baselines.spaces.amber_architecture import OPERATIONS, STAGES
from nas360.baselines.spaces.amber_network import CONVOLUTIONS, POOL, STEM, fitting, lengths
from nas360.baselines.spaces.amber_shared import AmberShared, Normed
from nas360.baselines.spaces.layered import Child
from nas360.task import TaskSpec


class ConvNorm(nn.Module):
    """Padding, convolution, norm by the batch's statistics, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        total = dilation * (kernel - 1)
        self.padding = total // 2, total - total // 2
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm1d(out_channels, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(functional.pad(x, self.padding))).relu()
        return out


class Pool(nn.Module):
    """1×1 convolution, then a pool of 4."""

    def __init__(self, channels: int, kind: str) -> None:
        super().__init__()
        self.before, self.kind = ConvNorm(channels, channels, 1), kind

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        if self.kind == "max_pool_4":
            return functional.max_pool1d(functional.pad(x, (1, 2), value=-torch.inf), POOL, stride=1)
        return functional.avg_pool1d(x, POOL, stride=1, padding=2, count_include_pad=False)[:, :, 1:]


class PlainShared(nn.Module):
    """Shared weights of the same sizes as `AmberShared`."""

    def __init__(self, spec: TaskSpec, layers: int, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers, self.size = layers, layers // STAGES
        widths = [width * 2**stage for stage in range(STAGES)]
        self.stem = ConvNorm(spec.input_shape[0], width, STEM)
        self.operations, self.norms, self.reductions = nn.ModuleList(), nn.ModuleList(), nn.ModuleDict()
        for layer in range(layers):
            channels, length = widths[layer // self.size], lengths(spec)[layer // self.size]
            candidates = nn.ModuleList()
            for name in OPERATIONS[:-1]:
                if name in CONVOLUTIONS:
                    kernel, dilation = CONVOLUTIONS[name]
                    candidates.append(ConvNorm(channels, channels, kernel, fitting(dilation, length)))
                else:
                    candidates.append(Pool(channels, name))
            self.operations.append(candidates)
            self.norms.append(nn.BatchNorm1d(channels, track_running_stats=False) if layer else nn.Identity())
            for stage in range(layer // self.size + 1, STAGES):
                self.reductions[f"{layer}_{stage}"] = ConvNorm(widths[stage - 1], widths[stage], 1)
        self.hidden = nn.Linear(widths[-1] * lengths(spec)[-1], hidden)
        self.answer = nn.Linear(hidden, spec.output.channels)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, child: Child) -> Tensor:
        """Logits of a child."""
        x = self.stem(x)
        outputs: list[Tensor] = []
        for layer in range(self.layers):
            stage = layer // self.size
            if layer and layer % self.size == 0:
                outputs = [
                    functional.max_pool1d(self.reductions[f"{number}_{stage}"](output), POOL, POOL, ceil_mode=True)
                    for number, output in enumerate(outputs)
                ]
                x = outputs[-1]
            if OPERATIONS[child.operations[layer]] != "identity":
                x = self.operations[layer][child.operations[layer]](x)  # type: ignore[index]  # a list
            for source in child.skips[layer]:
                x = x + outputs[source]
            x = self.drop(self.norms[layer](x))
            outputs.append(x)
        answer: Tensor = self.answer(self.hidden(self.drop(x.flatten(1))).relu())
        return answer


@torch.no_grad()
def copy_weights(ours: AmberShared, plain: PlainShared) -> None:
    """Give the yardstick our weights."""

    def copy(source: Normed, target: ConvNorm) -> None:
        target.conv.weight.copy_(source.weight.permute(2, 1, 0))
        target.norm.weight.copy_(source.scale)
        target.norm.bias.copy_(source.shift)

    copy(ours.stem, plain.stem)
    for mine, theirs in zip(ours.operations, plain.operations, strict=True):
        for source, target in zip(mine, theirs, strict=True):  # type: ignore[call-overload]  # lists of modules
            copy(source, target.before if isinstance(target, Pool) else target)
    for mine, theirs in zip(list(ours.norms)[1:], list(plain.norms)[1:], strict=True):
        theirs.load_state_dict({"weight": mine.get_parameter("scale"), "bias": mine.get_parameter("shift")})
    for name, reduction in ours.reductions.items():
        copy(reduction, plain.reductions[name])  # type: ignore[arg-type]  # of these kinds
    plain.hidden.load_state_dict(ours.hidden.state_dict())
    plain.answer.load_state_dict(ours.answer.state_dict())
