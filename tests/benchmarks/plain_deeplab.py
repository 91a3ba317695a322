"""The Auto-DeepLab supernet written the obvious way: one module an operation and edge, every cell evaluated for all its
predecessors in full. Yardstick of `bench_deeplab.py` and second implementation.

It shares with the package the operations of the discrete networks (tested on their own), stem, pyramids and heads, and
the order of edges and transitions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas360.baselines import nd
from nas360.baselines.spaces.darts_genotypes import OPERATIONS
from nas360.baselines.spaces.darts_operations import operation
from nas360.baselines.spaces.deeplab_architecture import EDGES, NODES
from nas360.baselines.spaces.deeplab_cell import ROWS, Edges, TrellisCell
from nas360.baselines.spaces.deeplab_parts import Preparation
from nas360.baselines.spaces.deeplab_supernet import TrellisSupernet


class PlainPreparation(nn.Module):
    """Change of size, 1×1 convolution, batch norm."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nd.conv(2, in_channels, out_channels, 1)
        self.norm = nd.batch_norm(2, out_channels, affine=False)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        if x.shape[2:] != size:
            x = functional.interpolate(x, size, mode="bilinear", align_corners=False)
        out: Tensor = self.norm(self.conv(x))
        return out


class PlainCell(nn.Module):
    def __init__(self, ours: TrellisCell) -> None:
        super().__init__()
        width = ours.width
        self.pre_before = None if ours.pre_before is None else PlainPreparation(ours.pre_before.weight.shape[0], width)
        self.pre_lasts = nn.ModuleList(
            PlainPreparation(other.get_parameter("weight").shape[0], width) for other in ours.pre_lasts
        )
        self.edges = nn.ModuleDict()
        for source, node in EDGES:
            if source == 0 and ours.pre_before is None:
                continue
            layers = nn.ModuleList(operation(name, 2, width, 1, affine=False) for name in OPERATIONS)
            for index, name in enumerate(OPERATIONS):
                if "pool" in name:
                    layers[index] = nn.Sequential(layers[index], nd.batch_norm(2, width, affine=False))
            self.edges[f"{source}_{node}"] = layers

    def forward(
        self, before: Tensor | None, lasts: list[Tensor], size: tuple[int, int], alpha: Tensor, level: Tensor
    ) -> Tensor:
        newer = torch.cat([prepare(x, size) for prepare, x in zip(self.pre_lasts, lasts, strict=True)])
        states: list[Tensor | None] = [None, newer]
        if self.pre_before is not None:
            states[0] = self.pre_before(before, size).repeat(len(lasts), 1, 1, 1)
        for node in range(NODES):
            total: Tensor | None = None
            for source in range(node + 2):
                x = states[source]
                if x is None:
                    continue
                row = EDGES.index((source, node))
                for column, layer in enumerate(self.edges[f"{source}_{node}"].children()):
                    term = alpha[row, column] * layer(x)
                    total = term if total is None else total + term
            states.append(total)
        out = torch.cat([state for state in states[2:] if state is not None], dim=1)
        parts = out.view(len(lasts), -1, *out.shape[1:])
        return (level.view(-1, 1, 1, 1, 1) * parts).sum(dim=0)


class PlainTrellis(nn.Module):
    """The same numbers as `TrellisSupernet`, whose sizes it has."""

    def __init__(self, ours: TrellisSupernet) -> None:
        super().__init__()
        mixed = ours.mixed
        self.trellis, self.multiple, self.choice = mixed.trellis, ours.multiple_of, ours.relaxation.choice
        self.stem, self.pyramids, self.heads = (_twin(part) for part in (mixed.stem, mixed.pyramids, mixed.heads))
        self.cells = nn.ModuleDict({name: PlainCell(cell) for name, cell in mixed.cells.items()})  # type: ignore[arg-type]  # all of them are
        self.alpha = nn.Parameter(torch.zeros_like(mixed.alpha))
        self.beta = nn.Parameter(torch.zeros_like(mixed.beta))

    def level_weights(self) -> dict[tuple[int, int, int], Tensor]:
        """Softmax over the transitions into a level, or out of it."""
        place = 2 if self.choice == "predecessors" else 1
        steps = [(step.layer, step.source, step.target) for step in self.trellis.transitions]
        # a row for each layer and level, a column for finer, the same, coarser
        rows = sorted({(step[0], step[place]) for step in steps})
        logits = {
            step: self.beta[rows.index((step[0], step[place])), step[3 - place] - step[place] + 1] for step in steps
        }
        return {
            key: value.exp() / sum(
                other.exp() for rival, other in logits.items() if (rival[0], rival[place]) == (key[0], key[place])
            )
            for key, value in logits.items()
        }  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        x = functional.pad(x, (0, -width % self.multiple, 0, -height % self.multiple))
        alpha, betas = self.alpha.softmax(dim=1), self.level_weights()
        before: dict[int, Tensor] = {}
        last = {0: self.stem(x)}
        features = last
        for layer in range(self.trellis.layers):
            features = {}
            for target in self.trellis.reached(layer):
                sources = self.trellis.sources(layer, target)
                size = x.shape[2] // (4 << target), x.shape[3] // (4 << target)
                weights = torch.stack([betas[layer, source, target] for source in sources])
                features[target] = self.cells[f"{layer}_{target}"](
                    before.get(target), [last[source] for source in sources], size, alpha, weights
                )
            before, last = last, {target: value.relu() for target, value in features.items()}
        outs = [
            functional.interpolate(
                head(pyramid(features[level])), tuple(x.shape[2:]), mode="bilinear", align_corners=False
            )
            for level, (pyramid, head) in enumerate(zip(self.pyramids.children(), self.heads.children(), strict=True))
        ]
        return torch.stack(outs).sum(dim=0)[..., :height, :width]


def _twin(module: nn.Module) -> nn.Module:
    import copy

    return copy.deepcopy(module)


def copy_weights(ours: TrellisSupernet, plain: PlainTrellis) -> None:
    """Give the plain supernet all weights and architecture parameters of ours."""
    with torch.no_grad():
        for name in ("stem", "pyramids", "heads"):
            getattr(plain, name).load_state_dict(getattr(ours.mixed, name).state_dict())
        plain.alpha.copy_(ours.mixed.alpha)
        plain.beta.copy_(ours.mixed.beta)
        for name, cell in plain.cells.items():
            pairs = matching(ours.mixed.cells[name], cell)
            assert {id(target) for target, _ in pairs} == {id(target) for target in cell.parameters()}
            for target, value in pairs:
                target.copy_(value)


def matching(ours: nn.Module, theirs: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
    """(a parameter of the plain cell, the same numbers in ours) for all of the cell."""
    assert isinstance(ours, TrellisCell)
    assert isinstance(theirs, PlainCell)
    mine = [*([] if ours.pre_before is None else [ours.pre_before]), *ours.pre_lasts]
    others = [*([] if theirs.pre_before is None else [theirs.pre_before]), *theirs.pre_lasts]
    pairs: list[tuple[nn.Parameter, Tensor]] = []
    for own, other in zip(mine, others, strict=True):
        assert isinstance(own, Preparation)
        pairs.append((other.get_parameter("conv.weight"), own.weight.T[:, :, None, None]))
    rows = iter(ROWS[NODES * ours.first :])
    for source in ours.edges.children():
        for edges in source.children():
            assert isinstance(edges, Edges)
            for place in range(edges.count):
                layers = theirs.edges.get_submodule("{}_{}".format(*EDGES[next(rows)]))
                pairs += _edge(edges, place, layers)
    return pairs


def _edge(edges: Edges, place: int, layers: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
    names = {"sep_conv_3x3": 2, "sep_conv_5x5": 2, "dil_conv_3x3": 1, "dil_conv_5x5": 1}
    pairs: list[tuple[nn.Parameter, Tensor]] = []
    for number, (name, stages) in enumerate(names.items()):
        target = layers.get_submodule(str(OPERATIONS.index(name)))
        for stage in range(stages):
            taps = edges.depthwise[f"{name}_{stage}"].view(edges.count, edges.width, 1, *[int(name[-1])] * 2)
            pairs.append((target.get_parameter(f"{4 * stage + 1}.weight"), taps[place]))
            points = edges.outer if stage + 1 == stages else edges.inner
            matrix = points[number * edges.count + place]
            pairs.append((target.get_parameter(f"{4 * stage + 2}.weight"), matrix.T[:, :, None, None]))
    return pairs
