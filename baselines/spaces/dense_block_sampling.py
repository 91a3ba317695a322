"""How random architectures of the DenseNAS space are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from nas360.baselines.spaces.dense_block_architecture import DenseBlockArchitecture
from nas360.baselines.spaces.dense_block_routes import architecture_of, best_route, random_route
from nas360.baselines.spaces.dense_block_table import Table
from nas360.errors import RunError

Routes = Literal["walk", "reference"]


@dataclass(frozen=True)
class Sampling:
    """A distribution of architectures.

    Attributes:
        routes: `walk`: from block to block, every way out with the same probability, so that widths and the number of
            blocks vary; the number of layers of a block is uniform. `reference`: as the NAS-Bench-360 code does it,
            the best route through logits of standard deviation 0.001, which is the same one in all draws, and each
            layer there or not with probability 1/2, so that only depths vary, and they little.
    """

    routes: Routes = "walk"

    def __post_init__(self) -> None:
        if self.routes not in get_args(Routes):
            raise RunError(f"routes {self.routes!r} are none of {', '.join(get_args(Routes))}")

    def draw(self, table: Table, rng: np.random.Generator) -> DenseBlockArchitecture:
        """One architecture of the table."""
        if self.routes == "walk":
            layers = [int(rng.integers(block.layers + 1)) for block in table.blocks]
            return architecture_of(table, random_route(table, rng), layers)
        weights = np.exp(1e-3 * rng.normal(size=len(table.edges)))
        sources = np.array([edge.source + 1 for edge in table.edges])
        probabilities = weights / np.bincount(sources, weights)[sources]
        layers = [int(rng.binomial(block.layers, 0.5)) for block in table.blocks]
        return architecture_of(table, best_route(table, probabilities.tolist()), layers)
