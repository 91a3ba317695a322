"""Routes through a DenseNAS table, and how one is chosen or drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nas360.baselines.spaces.dense_block_architecture import ChainBlock, DenseBlockArchitecture
from nas360.baselines.spaces.dense_block_table import Table


def best_route(table: Table, probabilities: Sequence[float]) -> tuple[int, ...]:
    """The most probable route from stem to end, by dynamic programming from the end back.

    Its probability is the product over its edges, which favours short routes and blocks with few ways out. Among
    equals the one whose blocks come first wins.

    Source: Fang et al. 2020 (DenseNAS), section 3.5: the Viterbi algorithm.

    Args:
        table: the blocks.
        probabilities: of every edge of `table.edges`.

    Returns:
        Numbers of the route's edges, in order.
    """
    end = len(table.blocks)
    best: dict[int, tuple[float, tuple[int, ...]]] = {end: (0.0, ())}
    # edges are ordered by source and target: from the back, all that follow a target are settled before it is asked for
    for place in reversed(range(len(table.edges))):
        edge, probability = table.edges[place], probabilities[place]
        after, route = best[edge.target]
        score = after + (math.log(probability) if probability > 0 else -math.inf)
        # ≥, for a later one here has the earlier target
        if edge.source not in best or score >= best[edge.source][0]:
            best[edge.source] = (score, (place, *route))
    return best[-1][1]


def random_route(table: Table, rng: np.random.Generator) -> tuple[int, ...]:
    """A walk from stem to end that takes every way out of a block with the same probability; numbers of edges."""
    block, route = -1, []
    while block < len(table.blocks):
        ways = [place for place, edge in enumerate(table.edges) if edge.source == block]
        route.append(int(rng.choice(ways)))
        block = table.edges[route[-1]].target
    return tuple(route)


def architecture_of(table: Table, route: Sequence[int], layers: Sequence[int]) -> DenseBlockArchitecture:
    """The network of a route.

    Args:
        table: the blocks.
        route: numbers of edges from stem to end.
        layers: for every block of the table, how many layers follow its head.
    """
    inner = [table.edges[place] for place in route[:-1]]
    chain = (ChainBlock(table.blocks[edge.target].width, 1 + layers[edge.target], edge.stride) for edge in inner)
    return DenseBlockArchitecture(table.stem, tuple(chain))
