"""The Auto-DeepLab space: a cell of convolutions and pools, and at which resolution each of twelve layers computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from nas360.baselines import ends
from nas360.baselines.spaces import deeplab_architecture, deeplab_drawing, deeplab_network
from nas360.baselines.spaces.darts_genotypes import OPERATIONS, decode_cell, sample_cell
from nas360.baselines.spaces.deeplab_architecture import (
    EDGES,
    LEVELS,
    NODES,
    PAPERS_PATH,
    PLAIN_CELL,
    DeeplabArchitecture,
)
from nas360.baselines.spaces.deeplab_paths import FINEST, Trellis
from nas360.baselines.spaces.deeplab_supernet import Choices, TrellisRelaxation, TrellisSupernet
from nas360.errors import RunError
from nas360.task import TaskSpec


class DeeplabTrellis:
    """The space of Auto-DeepLab networks, for images with one value a position, of any size.

    A stem of three convolutions to stride 4; 12 layers of one cell (5 nodes, the eight operations of DARTS on 20
    edges), each at stride 4, 8, 16 or 32 with 32 channels a node times stride / 4; pyramid; decoder with the features
    of the third layer; bilinear interpolation to the input's size.

    Differences from the NAS-Bench-360 reference, beside those in `TrellisSupernet`, `PathCell`, `resize` and
    `Pyramid`: the final network's batch norms learn scale and shift also in the cells and follow dropout's switch
    between training and evaluation (there the Darcy Flow network is trained in evaluation mode from its second epoch,
    and the others are tested in training mode); ReLU comes before a change of resolution, not after; inputs are padded
    to the next multiple of the coarsest stride, at the end, not from 85 to 128 on all sides; where the third layer is
    coarser than the last, its features are brought to the last one's size, not the other way round.

    Source: Liu et al. 2019 (Auto-DeepLab); Chen et al. 2018 (DeepLabv3+) for pyramid and decoder.
    """

    id = "deeplab_trellis"

    def default(self, spec: TaskSpec) -> DeeplabArchitecture:
        """The path that the paper found on Cityscapes, with a plain cell of separable convolutions."""
        return DeeplabArchitecture(PAPERS_PATH, PLAIN_CELL)

    def build(self, architecture: DeeplabArchitecture, spec: TaskSpec) -> nn.Module:
        """The network; see `Space.build`."""
        self._check(spec)
        return deeplab_network.build(architecture, spec)

    def refusal(self, spec: TaskSpec) -> str | None:
        """Images with one value a position only."""
        if spec.spatial_dims == 2 and ends.is_dense(spec):
            return None
        what = "signals" if spec.spatial_dims == 1 else "images"
        answer = "value a position" if ends.is_dense(spec) else "answer a sample"
        return f"is for images (2D) with one value a position, and {spec.id} has {what} with one {answer}; use wrn"

    def _check(self, spec: TaskSpec) -> None:
        if reason := self.refusal(spec):
            raise RunError(f"the space {self.id} {reason}")

    def narrower(self, architecture: DeeplabArchitecture) -> tuple[DeeplabArchitecture, ...]:
        """The same path and cell with 16, 8, 4 and 2 channels a node, as far as that is less."""
        return tuple(replace(architecture, width=width) for width in (16, 8, 4, 2) if width < architecture.width)

    def to_json(self, architecture: DeeplabArchitecture) -> dict[str, Any]:
        """Plain JSON values; a gene is [operation, input]."""
        return deeplab_architecture.to_json(architecture)

    def from_json(self, content: Mapping[str, Any]) -> DeeplabArchitecture:
        """The architecture that `to_json` wrote; see `Space.from_json`."""
        return deeplab_architecture.from_json(content)

    def sample(self, spec: TaskSpec, rng: np.random.Generator) -> DeeplabArchitecture:
        """Uniform over paths of twelve layers, and over cells as `darts_genotypes.sample_cell`."""
        levels = Trellis(len(PAPERS_PATH), LEVELS).sample(rng)
        return DeeplabArchitecture(tuple(FINEST << level for level in levels), sample_cell(rng, NODES))

    def relax(self, spec: TaskSpec, relaxation: TrellisRelaxation) -> TrellisSupernet:
        """The supernet; see `Differentiable.relax`."""
        self._check(spec)
        return TrellisSupernet(spec, relaxation)

    def decode(self, supernet: TrellisSupernet) -> DeeplabArchitecture:
        """The strongest path and the strongest cell.

        A transition's weight counts against what equal weights would give it: of three alternatives 1/3 is as much as
        1/2 of two, else paths along the finest and the coarsest level, where there are two, would win for that alone.
        The reference's factor 2/3 on these levels does the same. Each node takes the two inputs with the largest weight
        of an operation, and that operation, never `none`, which the reference allows.
        """
        levels = supernet.relaxation.trellis.strongest(supernet.lifts().cpu().numpy())
        cell = decode_cell(supernet.mixture()["cell.alpha"].cpu().numpy(), NODES)
        return DeeplabArchitecture(tuple(FINEST << level for level in levels), cell)

    def labels(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Edges and operations, or levels of layers and where a transition leads; see `Labelled.labels`."""
        if name == "cell.alpha":
            sources = ("c(k-2)", "c(k-1)", *map(str, range(NODES)))
            return tuple(f"{sources[source]} → {node}" for source, node in EDGES), OPERATIONS
        choices = Choices.named(name)
        if choices is None:
            raise RunError(
                f"Auto-DeepLab has no architecture parameter {name!r}; cell.alpha, or into_LxK.beta and "
                f"out_of_LxK.beta for L layers and K levels"
            )
        into = choices.choice == "predecessors"
        rows = tuple(f"layer {layer + 1 - (not into)}, stride {FINEST << level}" for layer, level in choices.rows)
        return rows, tuple(f"{'from' if into else 'to'} {where}" for where in ("finer", "the same", "coarser"))

    def draw(self, architecture: DeeplabArchitecture, name: str = "") -> str:
        """The path through the trellis, and below it the cell, as an SVG document; see `Drawn.draw`."""
        return deeplab_drawing.draw(architecture, name)


DEEPLAB_TRELLIS = DeeplabTrellis()
