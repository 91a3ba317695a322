"""The DenseNAS space: widths, number of blocks and depths of a ResNet, searched at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import nn

from nas360.baselines import ends
from nas360.baselines.spaces import dense_block_architecture as architectures
from nas360.baselines.spaces.dense_block_architecture import DenseBlockArchitecture
from nas360.baselines.spaces.dense_block_cost import supernet_work
from nas360.baselines.spaces.dense_block_drawing import draw
from nas360.baselines.spaces.dense_block_labels import labels, trim_of
from nas360.baselines.spaces.dense_block_network import DenseBlockBody
from nas360.baselines.spaces.dense_block_routes import architecture_of, best_route
from nas360.baselines.spaces.dense_block_sampling import Sampling
from nas360.baselines.spaces.dense_block_supernet import DenseBlockSupernet
from nas360.baselines.spaces.dense_block_table import Table, Trim, usual_table
from nas360.errors import RunError
from nas360.task import TaskSpec

DRAWS = 10_000
"""Architectures that are drawn before one within the size is given up on."""


@dataclass(frozen=True)
class DenseBlock:
    """The space DenseNAS-R1 of chains of ResNet basic blocks, 1D and 2D, one answer a sample or one a position.

    A path leads from the stem through routing blocks of growing width to a classifier; each block has a head, which
    changes width and size, and up to so many further layers as its table says.

    Differences from the NAS-Bench-360 reference: see `DenseBlockSupernet`, and: the stem ends in ReLU in search and
    training alike (there ReLU and ReLU6); multiply-adds are counted in 1D too (there 0, so that the cost does not act
    on the search) and on the task's own sizes (there 256² for Cosmic's 128²).

    Source: Fang et al. 2020 (Densely Connected Search Space for More Flexible Neural Architecture Search).

    Attributes:
        tables: task id → table, for tasks whose table `usual_table` does not give.
        sampling: how `sample` draws.
        size: parameters that a sampled network may have beside `slack`, for a random search that is held against a
            search that came to so many; None takes those of the default architecture, where no search was run.
        slack: parameters that it may have more than that.
    """

    id = "dense_block"
    tables: Mapping[str, Table] = field(default_factory=dict)
    sampling: Sampling = field(default_factory=Sampling)
    size: int | None = None
    slack: int = 1_000_000

    def table(self, spec: TaskSpec) -> Table:
        """Blocks and connections for a task.

        Raises:
            RunError: the table halves the size, and the task is dense.
        """
        table = self.tables.get(spec.id) or usual_table(spec)
        if ends.is_dense(spec) and any(stage.stride > 1 for stage in table.stages):
            raise RunError(f"{spec.id} wants one value a position: no stage of its table may halve the size")
        return table

    def default(self, spec: TaskSpec) -> DenseBlockArchitecture:
        """The last and widest block of every stage with half of its layers, rounded up.

        It is about the middle of what random search draws: the shortest way there is, at the greatest widths.
        """
        table = self.table(spec)
        layers = [(block.layers + 1) // 2 for block in table.blocks]
        route: list[int] = []
        block = -1
        while block < len(table.blocks):
            # the farthest block that can be reached is the last of the next stage
            route.append(max(place for place, edge in enumerate(table.edges) if edge.source == block))
            block = table.edges[route[-1]].target
        return architecture_of(table, route, layers)

    def build(self, architecture: DenseBlockArchitecture, spec: TaskSpec) -> nn.Module:
        """The network; see `Space.build`."""
        if ends.is_dense(spec) and any(block.stride > 1 for block in architecture.blocks):
            raise RunError(
                f"{spec.id} wants one value a position, and {architecture} halves the size; strides must be 1"
            )
        body = DenseBlockBody(architecture, spec)
        return ends.assemble(body, body.out_channels, spec)

    def refusal(self, spec: TaskSpec) -> str | None:
        """Nothing is refused."""
        return None

    def narrower(self, architecture: DenseBlockArchitecture) -> tuple[DenseBlockArchitecture, ...]:
        """The same blocks: widths divided by 2, by 4 with at most 6 layers, by 8 with at most 3, by 16 with one."""
        out = [architecture]
        for by, most in ((2, 1000), (4, 6), (8, 3), (16, 1)):
            blocks = tuple(
                replace(block, width=-(-block.width // by), layers=min(block.layers, most))
                for block in architecture.blocks
            )
            smaller = DenseBlockArchitecture(-(-architecture.stem // by), blocks)
            if smaller != out[-1]:
                out.append(smaller)
        return tuple(out[1:])

    def to_json(self, architecture: DenseBlockArchitecture) -> dict[str, Any]:
        """Plain JSON values."""
        return architectures.to_json(architecture)

    def from_json(self, content: Mapping[str, Any]) -> DenseBlockArchitecture:
        """The architecture that `to_json` wrote; see `Space.from_json`."""
        return architectures.from_json(content)

    def draw(self, architecture: DenseBlockArchitecture, name: str = "") -> str:
        """A picture as an SVG document; see `dense_block_drawing`."""
        return draw(architecture, name)

    def labels_on(
        self, spec: TaskSpec, algorithm: Mapping[str, Any], name: str
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Layers and connections by the widths of their blocks; see `LabelledOnTask`."""
        return labels(self.table(spec), trim_of(algorithm), name)

    def sample(self, spec: TaskSpec, rng: np.random.Generator) -> DenseBlockArchitecture:
        """An architecture as `sampling` says, drawn anew until its parameters are within `size` + `slack`.

        Raises:
            RunError: none of very many is.
        """
        table = self.table(spec)
        allowed = self.slack + (self.parameters(self.default(spec), spec) if self.size is None else self.size)
        for _ in range(DRAWS):
            architecture = self.sampling.draw(table, rng)
            if self.parameters(architecture, spec) <= allowed:
                return architecture
        raise RunError(
            f"none of {DRAWS} random networks has at most {allowed} parameters. Hold them against a larger one"
        )

    def parameters(self, architecture: DenseBlockArchitecture, spec: TaskSpec) -> int:
        """Numbers that a network learns."""
        taps: int = 3**spec.spatial_dims
        total = architecture.stem * (taps * spec.input_shape[0] + 2)
        width = architecture.stem
        for block in architecture.blocks:
            changes = block.width != width or block.stride != 1
            total += block.width * (taps * (width + block.width) + 4 + (width + 2 if changes else 0))
            total += (block.layers - 1) * block.width * (2 * taps * block.width + 4)
            width = block.width
        return total + (width + 1) * spec.output.channels

    def supernet(self, spec: TaskSpec, trim: Trim, temperature: float) -> DenseBlockSupernet:
        """A fresh supernet, initialised from torch's current generator."""
        return DenseBlockSupernet(spec, self.table(spec), trim, temperature)

    def supernet_work(self, spec: TaskSpec, trim: Trim) -> tuple[int, int]:
        """Work of a supernet, a sample: what is always computed, and all layers that can be skipped."""
        return supernet_work(self.table(spec).trimmed(trim), spec)

    def decode(self, supernet: DenseBlockSupernet) -> DenseBlockArchitecture:
        """The most probable route of a supernet of this space, with the layers that are likelier there than not.

        Widths and layers are those of the whole table, also where the supernet was trimmed.
        """
        route = best_route(supernet.table, supernet.mixture()["beta"].double().cpu().tolist())
        whole, kept = supernet.whole, supernet.whole.kept(supernet.trim)
        layers = dict(zip(kept, supernet.layer_counts(), strict=True))
        targets = [kept[supernet.table.edges[place].target] for place in route[:-1]]
        strides = [supernet.table.edges[place].stride for place in route[:-1]]
        blocks = (
            architectures.ChainBlock(whole.channels(target), 1 + layers[target], stride)
            for target, stride in zip(targets, strides, strict=True)
        )
        return DenseBlockArchitecture(whole.stem, tuple(blocks))


DENSE_BLOCK = DenseBlock()
