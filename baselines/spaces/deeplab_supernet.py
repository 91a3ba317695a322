"""The Auto-DeepLab supernet: every level in every layer, every operation in every cell, all at once.

A batch of 8 at 128 by 128 keeps 2.9 GiB for the backward pass, in float32; with checkpointing 0.2 GiB, for a third
more time. `tests/benchmarks/bench_deeplab.py` counts both, and holds time and numbers against a plain implementation,
which takes 1.4 to 1.5 times as long.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from nas360.baselines import ends, nd
from nas360.baselines.spaces.darts_genotypes import OPERATIONS
from nas360.baselines.spaces.deeplab_architecture import EDGES, LEVELS, NODES
from nas360.baselines.spaces.deeplab_cell import ROWS, TrellisCell
from nas360.baselines.spaces.deeplab_parts import DIMS, Pyramid, conv_norm_relu, resize
from nas360.baselines.spaces.deeplab_paths import FINEST, Trellis
from nas360.errors import RunError
from nas360.task import TaskSpec

Mixing = Literal["softmax", "simplex"]
Choice = Literal["predecessors", "successors"]

REACH = 96
"""Positions of the input that the pyramid's dilated kernels step over, at every level: 24 at stride 4 … 3 at 32."""


@dataclass(frozen=True)
class TrellisRelaxation:
    """How the trellis becomes one network in which all paths and operations are mixed.

    Attributes:
        layers: number of layers, at least 1.
        levels: number of levels of resolution, 1 to 4, from stride 4.
        width: channels of a node at stride 4; they double with the stride.
        choice: which transitions share a weight of 1. `predecessors`: those into a level, so that a level's features
            are a mean; that is all the network can learn of them, as the next batch norm takes any common factor
            away. `successors`: those out of a level, as the paper and the reference have it.
        mixing: what the architecture parameters are. `softmax`: logits, small and random at the start (the paper).
            `simplex`: the weights themselves, uniform at the start (as GAEA wants them).
        checkpointing: whether backward passes compute the cells' insides anew instead of keeping them.
    """

    layers: int = 12
    levels: int = LEVELS
    width: int = 8
    choice: Choice = "predecessors"
    mixing: Mixing = "softmax"
    checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.choice not in get_args(Choice):
            raise RunError(f"choice {self.choice!r} is none of {', '.join(get_args(Choice))}")
        if self.mixing not in get_args(Mixing):
            raise RunError(f"mixing {self.mixing!r} is none of {', '.join(get_args(Mixing))}")
        if not 1 <= self.levels <= LEVELS:
            raise RunError(f"{self.levels} levels of resolution are not 1 to {LEVELS}")
        if self.layers < 1 or self.width < 2 or self.width % 2:
            raise RunError(f"layers {self.layers} must be at least 1, and width {self.width} an even number ≥ 2")

    @property
    def trellis(self) -> Trellis:
        """Layers and levels."""
        return Trellis(self.layers, self.levels)

    def narrower(self) -> tuple[TrellisRelaxation, ...]:
        """The same with fewer layers, levels and channels, in falling order of cost, as far as that is less."""
        own = self.layers, self.levels, self.width
        sizes = ((8, 4, 4), (4, 3, 2), (3, 2, 2))
        return tuple(
            replace(self, layers=layers, levels=levels, width=width)
            for layers, levels, width in sizes
            if layers <= self.layers
            and levels <= self.levels
            and width <= self.width
            and own != (layers, levels, width)
        )


@dataclass(frozen=True)
class Choices:
    """The transitions of a trellis by what shares a weight of 1.

    A row is a level of a layer; its three columns are the transitions into it from the finer level, from itself and
    from the coarser one, or those out of it to them. Some are not there, at the border and in the first layers.

    Attributes:
        trellis: layers and levels.
        choice: `TrellisRelaxation.choice`.
    """

    trellis: Trellis
    choice: Choice

    @property
    def name(self) -> str:
        """Of the parameters; says all that `named` must know."""
        kind = "into" if self.choice == "predecessors" else "out_of"
        return f"{kind}_{self.trellis.layers}x{self.trellis.levels}.beta"

    @staticmethod
    def named(name: str) -> Choices | None:
        """The choices whose parameters have a name; None if there are none."""
        found = re.fullmatch(r"(into|out_of)_([1-9]\d{0,2})x([1-4])\.beta", name)
        if found is None:
            return None
        choice: Choice = "predecessors" if found[1] == "into" else "successors"
        return Choices(Trellis(int(found[2]), int(found[3])), choice)

    @property
    def rows(self) -> tuple[tuple[int, int], ...]:
        """(layer, level), for `successors` of the layer before."""
        earlier = 0 if self.choice == "predecessors" else 1
        layers = range(self.trellis.layers)
        return tuple((layer, level) for layer in layers for level in self.trellis.reached(layer - earlier))

    def places(self) -> Tensor:
        """(transitions,) int64: where each transition of the trellis is among the rows · 3 weights."""
        rows = {row: number for number, row in enumerate(self.rows)}
        found = []
        for step in self.trellis.transitions:
            here, there = (step.target, step.source) if self.choice == "predecessors" else (step.source, step.target)
            found.append(3 * rows[step.layer, here] + there - here + 1)
        return torch.tensor(found)

    def there(self) -> Tensor:
        """(rows, 3) bool: which weights belong to a transition."""
        mask = torch.zeros(3 * len(self.rows), dtype=torch.bool)
        mask[self.places()] = True
        return mask.view(-1, 3)


class _Mixed(nn.Module):
    """The supernet for sizes that all its levels divide."""

    def __init__(self, spec: TaskSpec, relaxation: TrellisRelaxation) -> None:
        super().__init__()
        trellis, width = relaxation.trellis, relaxation.width
        outputs, channels = spec.output.channels, NODES * width
        self.trellis, self.relaxation = trellis, relaxation
        self.stem = nn.Sequential(
            conv_norm_relu(spec.input_shape[0], channels // 2, 3, stride=2, affine=False),
            conv_norm_relu(channels // 2, channels // 2, 3, affine=False),
            conv_norm_relu(channels // 2, channels, 3, stride=2, affine=False),
        )
        self.cells = nn.ModuleDict()
        for layer in range(trellis.layers):
            for level in trellis.reached(layer):
                older = layer > 0 and level in trellis.reached(layer - 2)
                self.cells[f"{layer}_{level}"] = TrellisCell(
                    channels << level if older else None,
                    tuple(channels << source for source in trellis.sources(layer, level)),
                    width << level,
                    checkpointing=relaxation.checkpointing,
                )
        self.pyramids, self.heads = nn.ModuleList(), nn.ModuleList()
        for level in trellis.reached(trellis.layers - 1):
            pyramid = Pyramid(channels << level, channels, (REACH // (FINEST << level),), affine=False)
            self.pyramids.append(pyramid)
            head = nd.conv(DIMS, pyramid.out_channels, outputs, 1, bias=level == 0)
            if level == 0:
                nn.init.zeros_(head.get_parameter("bias"))
            self.heads.append(head)
        choices = Choices(trellis, relaxation.choice)
        there = choices.there()
        alpha = torch.full((len(EDGES), len(OPERATIONS)), 1 / len(OPERATIONS))
        beta = (1 / there.sum(dim=1, keepdim=True)).repeat(1, 3)
        if relaxation.mixing == "softmax":
            alpha, beta = (1e-3 * torch.randn_like(start) for start in (alpha, beta))
        self.alpha, self.beta = nn.Parameter(alpha), nn.Parameter(beta)
        self.choices = choices
        self.register_buffer("rows", torch.tensor(ROWS), persistent=False)
        self.register_buffer("there", there, persistent=False)
        self.register_buffer("places", choices.places(), persistent=False)

    rows: Tensor
    there: Tensor
    places: Tensor

    def weights(self) -> tuple[Tensor, Tensor]:
        """(20, 8) weights of operations on their edge, and (rows, 3) of transitions; of those that are not there, 0."""
        if self.relaxation.mixing == "simplex":
            return self.alpha, self.beta * self.there
        return self.alpha.softmax(dim=1), self.beta.masked_fill(~self.there, -torch.inf).softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        size, alpha, beta = tuple(x.shape[2:]), *self.weights()
        mixture, beta = alpha[self.rows], beta.flatten()[self.places]
        before: dict[int, Tensor] = {}
        last: dict[int, Tensor] = {0: self.stem(x)}
        features = last
        start = 0
        for layer in range(self.trellis.layers):
            features = {}
            for level in self.trellis.reached(layer):
                sources = self.trellis.sources(layer, level)
                stride = FINEST << level
                features[level] = self.cells[f"{layer}_{level}"](
                    before.get(level),
                    [last[source] for source in sources],
                    (size[0] // stride, size[1] // stride),
                    mixture,
                    beta[start : start + len(sources)],
                )
                start += len(sources)
            before, last = last, {level: value.relu() for level, value in features.items()}
        total: Tensor | None = None
        for level, (pyramid, head) in enumerate(zip(self.pyramids, self.heads, strict=True)):
            out = resize(head(pyramid(features[level])), *size)
            total = out if total is None else total + out
        if total is None:
            raise RuntimeError("a trellis has at least one level")
        return total


class TrellisSupernet(ends.Padded):
    """A `Supernet` of the Auto-DeepLab space, for images of any size.

    Architecture parameters: `cell.alpha` (20, 8), rows as `deeplab_architecture.EDGES`, columns as `OPERATIONS`, the
    same in all cells; and (rows, 3) of the transitions, rows as `Choices.rows`, under a name that says the trellis.

    The input is padded with zeros to a multiple of the coarsest stride, the output cropped. A cell at a level takes
    its older input from the layer before last at that level; where there is none, the edges from it are left out. Every
    level of the last layer has a pyramid and a linear head, whose outputs are brought to the input's size and added up.
    Everything is computed in the parameters' precision, also under autocast: variances from covariances need it.

    Differences from the NAS-Bench-360 reference: a pyramid has as many channels as the finest level's features, not as
    many as outputs; the transition 8 → 8 of the second layer has its own weight, not that of 8 → 16; its batch norms
    have eps 1e-5, not 3e-4 (meant as the momentum); the weights of the finest and the coarsest level are not multiplied
    by 2/3 (`DeeplabTrellis.decode` says what takes its place).

    Args:
        spec: the task.
        relaxation: how the choices are mixed.
    """

    def __init__(self, spec: TaskSpec, relaxation: TrellisRelaxation) -> None:
        coarsest = relaxation.trellis.reached(relaxation.layers - 1)[-1]
        super().__init__(_Mixed(spec, relaxation), FINEST << coarsest, crop=True)
        self.relaxation = relaxation

    @property
    def mixed(self) -> _Mixed:
        """The supernet for sizes that need no padding."""
        if not isinstance(self.network, _Mixed):
            raise TypeError(f"the supernet holds a {type(self.network).__name__}")
        return self.network

    def forward(self, x: Tensor) -> Tensor:
        """(n, *spec.input_shape) → (n, outputs, *space)."""
        # the meta device, on which costs are counted, knows no autocast
        with torch.autocast(x.device.type, enabled=False) if x.device.type != "meta" else nullcontext():
            return super().forward(x.to(self.mixed.alpha.device, self.mixed.alpha.dtype))

    def weight_parameters(self) -> list[nn.Parameter]:
        """All parameters but those of the architecture."""
        apart = {id(self.mixed.alpha), id(self.mixed.beta)}
        return [parameter for parameter in self.parameters() if id(parameter) not in apart]

    def architecture_parameters(self) -> dict[str, nn.Parameter]:
        """`cell.alpha`, and the transitions' under `Choices.name`."""
        return {"cell.alpha": self.mixed.alpha, self.mixed.choices.name: self.mixed.beta}

    def simplices(self) -> dict[str, Tensor]:
        """Alphas: one simplex an edge. Betas: one a row; a weight of no transition is by itself and does nothing."""
        rows, columns = self.mixed.alpha.shape
        edge = torch.arange(rows, device=self.mixed.rows.device).unsqueeze(1).repeat(1, columns)
        there = self.mixed.there
        row = torch.arange(len(there), device=there.device).unsqueeze(1).repeat(1, 3)
        row[~there] = len(there) + torch.arange(int((~there).sum()), device=there.device)
        return {"cell.alpha": edge, self.mixed.choices.name: row}

    def mixture(self) -> dict[str, Tensor]:
        """The weights that the forward pass mixes with; see `Supernet.mixture`. Those of no transition are 0."""
        weights = zip(self.architecture_parameters(), self.mixed.weights(), strict=True)
        return {name: weight.detach().clone() for name, weight in weights}

    def lifts(self) -> Tensor:
        """(transitions,): each weight as a multiple of what equal weights would give it, detached."""
        _, beta = self.mixed.weights()
        # in the weights' precision, in which a third is a third of 1
        return (beta * self.mixed.there.sum(dim=1, keepdim=True)).detach().flatten()[self.mixed.places]
