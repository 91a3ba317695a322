"""The DARTS cell space: two small cells of convolutions and pools, searched once and stacked many times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from nas360.baselines import ends
from nas360.baselines.spaces import darts_drawing, darts_genotypes
from nas360.baselines.spaces.base import Relaxation
from nas360.baselines.spaces.darts_genotypes import (
    EDGES,
    KNOWN,
    NODES,
    OPERATIONS,
    PC_DARTS_CIFAR10,
    DartsArchitecture,
    decode_cell,
    sample_cell,
)
from nas360.baselines.spaces.darts_network import DartsBody
from nas360.baselines.spaces.darts_supernet import DartsSupernet
from nas360.errors import RunError
from nas360.task import TaskSpec


class DartsCell:
    """The space of DARTS networks, 1D and 2D, for one answer a sample and for one a position.

    Eight candidate operations on 14 edges between 4 nodes; a normal and a reduction cell. The networks have 20 cells
    of width 36; a dense task's keep full resolution and width, all cells are normal, and the head is applied at every
    position. Layers start as torch starts them.

    Differences from the NAS-Bench-360 reference: batch norms take torch's momentum 0.1 and eps 1e-5 (there 0.999, a
    TensorFlow decay misread, and 1e-3: running statistics of one batch); the factorised reduction moves its second
    half in 1D too; every odd size s gives ceil(s / 2) on every path.

    Source: Liu, Simonyan and Yang 2019 (DARTS); Xu et al. 2020 (PC-DARTS).
    """

    id = "darts_cell"
    known: Mapping[str, DartsArchitecture] = {name: DartsArchitecture(*cells) for name, cells in KNOWN.items()}

    def default(self, spec: TaskSpec) -> DartsArchitecture:
        """The cells that PC-DARTS found on CIFAR-10."""
        return DartsArchitecture(*PC_DARTS_CIFAR10)

    def build(self, architecture: DartsArchitecture, spec: TaskSpec) -> nn.Module:
        """The network; see `Space.build`."""
        if architecture.auxiliary and ends.is_dense(spec):
            raise RunError(f"{spec.id} wants one value a position, which the auxiliary head cannot; auxiliary=False")
        body = DartsBody(architecture, spec)
        return ends.assemble(body, body.out_channels, spec)

    def refusal(self, spec: TaskSpec) -> str | None:
        """Nothing is refused."""
        return None

    def narrower(self, architecture: DartsArchitecture) -> tuple[DartsArchitecture, ...]:
        """The same cells, fewer and narrower: 8 of 16, 5 of 8, 3 of 8, 3 of 4, as far as that is less."""
        return tuple(
            replace(architecture, cells=cells, width=width)
            for cells, width in ((8, 16), (5, 8), (3, 8), (3, 4))
            if cells <= architecture.cells
            and width <= architecture.width
            and (cells, width) != (architecture.cells, architecture.width)
        )

    def to_json(self, architecture: DartsArchitecture) -> dict[str, Any]:
        """Plain JSON values; a gene is [operation, input]."""
        return darts_genotypes.to_json(architecture)

    def from_json(self, content: Mapping[str, Any]) -> DartsArchitecture:
        """The architecture that `to_json` wrote; see `Space.from_json`."""
        return darts_genotypes.from_json(content)

    def sample(self, spec: TaskSpec, rng: np.random.Generator) -> DartsArchitecture:
        """Uniform over cells: two distinct inputs a node, any operation but `none` on each."""
        return DartsArchitecture(sample_cell(rng), sample_cell(rng))

    def relax(self, spec: TaskSpec, relaxation: Relaxation) -> DartsSupernet:
        """The supernet; see `Differentiable.relax`."""
        return DartsSupernet(spec, relaxation)

    def decode(self, supernet: DartsSupernet) -> DartsArchitecture:
        """By `darts_genotypes.decode_cell` on operation weight times edge weight.

        A dense task's supernet has no reduction cells, so nothing is known of them: its `reduce` is what equal weights
        give, max pooling of both inputs everywhere.
        """
        weights = supernet.edge_mixture()
        normal = decode_cell(weights["normal"].cpu().numpy())
        reduce = decode_cell(weights["reduce"].cpu().numpy() if "reduce" in weights else np.ones((14, 8)))
        return DartsArchitecture(normal, reduce)

    def labels(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Edges, and candidate operations or the edge's weight; see `Labelled.labels`."""
        kind, _, letter = name.partition(".")
        if kind not in ("normal", "reduce") or letter not in ("alpha", "beta"):
            raise RunError(f"the cells have no architecture parameter {name!r}; normal or reduce, .alpha or .beta")
        sources = ("c(k-2)", "c(k-1)", *map(str, range(NODES)))
        edges = tuple(f"{sources[source]} → {node}" for source, node in EDGES)
        return edges, OPERATIONS if letter == "alpha" else ("weight of the edge",)

    def draw(self, architecture: DartsArchitecture, name: str = "") -> str:
        """Both cells as an SVG document, the normal one above; see `Drawn.draw`."""
        return darts_drawing.draw(architecture, name)

    def draw_on(self, spec: TaskSpec, architecture: DartsArchitecture, name: str = "") -> str:
        """As `draw`, without the reduction cell where the task is dense, for its networks have none."""
        return darts_drawing.draw(architecture, name, reduction=not ends.is_dense(spec))


DARTS_CELL = DartsCell()
