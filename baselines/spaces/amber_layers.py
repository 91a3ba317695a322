"""AMBER's space: twelve layers of convolutions, pools and identities on signals, added to one another by skips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from nas360.baselines import ends
from nas360.baselines.spaces import amber_architecture, amber_drawing
from nas360.baselines.spaces.amber_architecture import OPERATIONS, AmberArchitecture
from nas360.baselines.spaces.amber_network import AmberNetwork
from nas360.baselines.spaces.amber_shared import AmberShared
from nas360.baselines.spaces.layered import Child, Layout
from nas360.errors import RunError
from nas360.task import TaskSpec

LAYERS = 12

SHARED_WIDTH = 32
"""Of the first stage of the children; what is trained in the end has twice the width."""

SHARED_HIDDEN = 925
"""Width of the children's fully connected layer at `SHARED_WIDTH`; narrower children have as much less."""

DROPOUT = 0.1


class AmberLayers:
    """The space of AMBER networks, for 1D tasks with one answer a sample.

    A stem of kernel 8, then four stages of three layers. A layer is one of seven operations, kernels 8 and 4, the same
    with dilation 10, max and average pool of 4 (after a 1×1 convolution), identity; after it any of the earlier layers'
    outputs are added. Between stages 1×1 convolutions double the channels and max pools quarter the positions, of all
    outputs that are still needed. The final network has widths 64, 128, 256, 512.

    Differences from the NAS-Bench-360 reference: any number of input channels (there 1 in the search, so that DeepSEA's
    four could not be searched); at fewer than 11 positions the dilation is positions - 1, for else all taps of the even
    kernels fall beside the signal and the operation is a constant (Satellite has 3 positions and 1 in its last stages);
    logits instead of probabilities, hence no sigmoid of a sigmoid on DeepSEA.

    Source: Zhang, Park, Theesfeld and Troyanskaya 2021 (AMBER), as set for NAS-Bench-360; after the macro search space
    of Pham et al. 2018 (ENAS), section 2.3.

    Args:
        layers: of every network, a multiple of four.
    """

    id = "amber_layers"

    def __init__(self, layers: int = LAYERS) -> None:
        self.layout = Layout(layers, len(OPERATIONS))

    def default(self, spec: TaskSpec) -> AmberArchitecture:
        """Kernels of 8, each added to the layer before it: a plain residual network."""
        layers = self.layout.layers
        skips = tuple((layer - 1,) if layer else () for layer in range(layers))
        return AmberArchitecture(("conv_8",) * layers, skips)

    def build(self, architecture: AmberArchitecture, spec: TaskSpec) -> nn.Module:
        """The network; see `Space.build`."""
        if reason := self.refusal(spec):
            raise RunError(f"AMBER {reason}")
        return AmberNetwork(architecture, spec)

    def refusal(self, spec: TaskSpec) -> str | None:
        """1D tasks with one answer a sample only."""
        if spec.spatial_dims != 1:
            return "takes signals, and the task's inputs are images; use wrn"
        return "gives one answer a sample, and the task wants one a position; use wrn" if ends.is_dense(spec) else None

    def narrower(self, architecture: AmberArchitecture) -> tuple[AmberArchitecture, ...]:
        """Widths divided by 2, 4, 8 and 16."""
        return tuple(
            replace(architecture, width=architecture.width // by)
            for by in (2, 4, 8, 16)
            if architecture.width >= 4 * by
        )

    def to_json(self, architecture: AmberArchitecture) -> dict[str, Any]:
        """Plain JSON values; skips are lists of earlier layers."""
        return amber_architecture.to_json(architecture)

    def from_json(self, content: Mapping[str, Any]) -> AmberArchitecture:
        """The architecture that `to_json` wrote; see `Space.from_json`."""
        return amber_architecture.from_json(content)

    def sample(self, spec: TaskSpec, rng: np.random.Generator) -> AmberArchitecture:
        """Uniform over operations and skips."""
        return amber_architecture.sample(self.layout.layers, rng)

    def share(self, spec: TaskSpec, width: int) -> AmberShared:
        """Shared weights; see `Layered.share`."""
        if reason := self.refusal(spec):
            raise RunError(f"AMBER {reason}")
        return AmberShared(spec, self.layout.layers, width, _hidden(width), DROPOUT)

    def alone(self, child: Child, spec: TaskSpec, width: int) -> nn.Module:
        """The child with weights of its own; see `Layered.alone`."""
        return self.build(replace(self.architecture(child), width=width, hidden=_hidden(width), dropout=DROPOUT), spec)

    def architecture(self, child: Child) -> AmberArchitecture:
        """The network of a child's choices at the final width."""
        return AmberArchitecture(tuple(OPERATIONS[token] for token in child.operations), child.skips)

    def draw(self, architecture: AmberArchitecture, name: str = "") -> str:
        """The architecture as an SVG document."""
        return amber_drawing.draw(architecture, name)


def _hidden(width: int) -> int:
    return max(1, round(SHARED_HIDDEN * width / SHARED_WIDTH))


AMBER_LAYERS = AmberLayers()
