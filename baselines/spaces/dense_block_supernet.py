"""The DenseNAS supernet: every block of a table, a head for every connection, layers that can be skipped.

Four fifths of its time are convolutions. A search saves those of the layers that were not drawn, in weight steps, and
the gradients of weights, a third of the work, in architecture steps (`tests/benchmarks/bench_dense_block.py`). To
compute the first convolutions of all heads that leave a block as one was tried on the CPU: 0.9 to 1.07 times as fast,
for the parts have to be copied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas360.baselines import ends, nd
from nas360.baselines.spaces.dense_block_cost import expected_macs, table_cost
from nas360.baselines.spaces.dense_block_network import BasicBlock, stem
from nas360.baselines.spaces.dense_block_table import Table, Trim
from nas360.errors import RunError
from nas360.task import TaskSpec

BASIC, SKIP = 0, 1
"""Columns of alpha."""


class DenseBlockSupernet(nn.Module):
    """All networks of a table in one.

    Block j's input is the sum over the edges (i, j) of p(i → j) · head_ij(output of i), where p is the softmax over the
    edges that leave i. Its layers are basic blocks or skips: mixed by softmax (`mix`), or one of the two, drawn
    (`draw`). The head of an edge to the end is a classifier, and what it says is summed in the same way.

    Architecture parameters, float32 logits of standard deviation 0.001 at the start: `alpha` (layers, 2), basic block
    and skip for every layer, block by block; `beta` (edges,), as `table.edges`.

    A network is scored as it will be built: stem of stride 1, the same heads, strides and classifier; only its batch
    norms learn a scale and a shift besides. The NAS-Bench-360 reference scores other networks than it trains: their
    stem halves the size where the task has one answer a sample, and a 1×1 convolution with ReLU6, which is dropped
    later, goes before the classifier, its inputs mixed by a softmax upon the softmax.

    Source: Fang et al. 2020 (DenseNAS), sections 3.1 to 3.3.

    Args:
        spec: the task.
        table: blocks and connections.
        trim: how the table is made cheaper; expected costs stay those of the whole table's blocks.
        temperature: logits are divided by this before each softmax; the reference divides beta alone, for lack of an
            argument.
    """

    def __init__(self, spec: TaskSpec, table: Table, trim: Trim, temperature: float) -> None:
        super().__init__()
        if not 0 < temperature < math.inf:
            raise RunError(f"temperature {temperature} of the softmax is not a finite number above 0")
        self.trim, self.temperature = trim, temperature
        self.whole, self.table = table, table.trimmed(trim)
        blocks, edges, dims = self.table.blocks, self.table.edges, spec.spatial_dims
        end = len(blocks)
        self.leaving = [[n for n, edge in enumerate(edges) if edge.source == i] for i in range(-1, end)]
        self.stem = stem(spec, self.table.stem, affine=False)
        self.layers = nn.ModuleList(
            nn.ModuleList(BasicBlock(dims, block.width, block.width, affine=False) for _ in range(block.layers))
            for block in blocks
        )
        self.heads = nn.ModuleList(
            BasicBlock(dims, self.table.channels(edge.source), blocks[edge.target].width, edge.stride, affine=False)
            for edge in edges
            if edge.target < end
        )
        nd.kaiming_fan_out(self)
        # where each edge's head is: a classifier is found by the block that it belongs to
        count = iter(range(len(edges)))
        self.place = [next(count) if edge.target < end else -1 for edge in edges]
        self.classifiers = nn.ModuleDict(
            {
                str(edge.source): ends.head(spec, self.table.channels(edge.source))
                for edge in edges
                if edge.target == end
            }
        )
        self.alpha = nn.Parameter(1e-3 * torch.randn(sum(block.layers for block in blocks), 2))
        self.beta = nn.Parameter(1e-3 * torch.randn(len(edges)))
        self.choices: list[bool] | None = None
        widths = table.trimmed(Trim(blocks=trim.blocks))
        self._cost = widths, table_cost(widths, spec)

    def weight_parameters(self) -> list[nn.Parameter]:
        """All parameters but those of the architecture."""
        return [parameter for name, parameter in self.named_parameters() if name not in ("alpha", "beta")]

    def architecture_parameters(self) -> dict[str, nn.Parameter]:
        """`alpha` and `beta`."""
        return {"alpha": self.alpha, "beta": self.beta}

    def simplices(self) -> dict[str, Tensor]:
        """Alpha: one softmax a layer. Beta: one for every block with the edges that leave it."""
        device = self.beta.device
        layers = torch.arange(len(self.alpha), device=device).unsqueeze(1).repeat(1, 2)
        sources = torch.tensor([edge.source + 1 for edge in self.table.edges], device=device)
        return {"alpha": layers, "beta": sources}

    def mixture(self) -> dict[str, Tensor]:
        """The probabilities, detached, in the shapes of the parameters."""
        return {"alpha": self._layer_weights().detach(), "beta": self._edge_weights().detach()}

    def _layer_weights(self) -> Tensor:
        return (self.alpha / self.temperature).softmax(dim=1)

    def _edge_weights(self) -> Tensor:
        scaled = self.beta / self.temperature
        # edges are ordered by source, so that those of one lie together
        return torch.cat(
            [part.softmax(dim=0) for part in torch.split(scaled, [len(places) for places in self.leaving])]
        )

    def draw(self, *, uniform: bool) -> None:
        """Draw for every layer whether it is there, from torch's current generator, until `mix` or the next draw.

        Args:
            uniform: with probability 1/2; else with that of alpha.
        """
        there = torch.full((len(self.alpha),), 0.5) if uniform else self._layer_weights()[:, BASIC].detach().cpu()
        self.choices = (torch.rand(len(there)) < there).tolist()

    def mix(self) -> None:
        """Mix basic block and skip in every layer by their probabilities."""
        self.choices = None

    def forward(self, x: Tensor) -> Tensor:
        """(n, *spec.input_shape) → (n, outputs), or (n, outputs, *space) for a dense task.

        Layers that were drawn to be skipped are not computed.
        """
        edges = self._edge_weights().unbind()
        mixed = None if self.choices is not None else self._layer_weights().unbind()
        end, number = len(self.layers), 0
        sums: dict[int, Tensor] = {}
        x = self.stem(x)
        for block in range(-1, end):
            if block >= 0:
                x = sums.pop(block)
                for layer in self._layers(block):
                    if self.choices is not None:
                        x = layer(x) if self.choices[number] else x
                    elif mixed is not None:
                        x = mixed[number][BASIC] * layer(x) + mixed[number][SKIP] * x
                    number += 1
            for place in self.leaving[block + 1]:
                target = self.table.edges[place].target
                head = self.heads[self.place[place]] if target < end else self.classifiers[str(block)]
                out = edges[place] * head(x)
                sums[target] = sums[target] + out if target in sums else out
        return sums[end]

    def _layers(self, block: int) -> Sequence[nn.Module]:
        layers = self.layers[block]
        assert isinstance(layers, nn.ModuleList)  # all of them are
        return list(layers)

    def expected_macs(self, skip_charge: float) -> Tensor:
        """Multiply-adds that a network drawn by the probabilities is expected to have, differentiable.

        A trimmed supernet's blocks count as the whole table's that they stand for.

        Args:
            skip_charge: a skip counts as this share of a basic block.
        """
        table, cost = self._cost
        weights = self._layer_weights()
        charged = weights[:, BASIC] + skip_charge * weights[:, SKIP]
        sums = [part.sum() for part in torch.split(charged, [block.layers for block in self.table.blocks])]
        scale = [
            whole.layers / max(1, block.layers) for whole, block in zip(table.blocks, self.table.blocks, strict=True)
        ]
        layers = [factor * part for factor, part in zip(scale, sums, strict=True)]
        return expected_macs(table, cost, self._edge_weights().unbind(), layers)

    def layer_counts(self) -> list[int]:
        """For every block of the whole table that is kept, how many layers the larger of each alpha leave it."""
        kept = (self.alpha[:, BASIC] >= self.alpha[:, SKIP]).detach().cpu()
        counts = [int(part.sum()) for part in torch.split(kept, [block.layers for block in self.table.blocks])]
        whole = [self.whole.blocks[number].layers for number in self.whole.kept(self.trim)]
        return [
            round(n * all_layers / block.layers) if block.layers else 0
            for n, all_layers, block in zip(counts, whole, self.table.blocks, strict=True)
        ]
