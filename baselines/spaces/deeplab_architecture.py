"""Networks of Auto-DeepLab as values: a path through levels of resolution, and the cell that stands in every layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas360.baselines.spaces.base import take_fields
from nas360.baselines.spaces.darts_genotypes import Cell, cell_of, check_cell, edges, gene_from_json, short
from nas360.baselines.spaces.deeplab_paths import FINEST, Trellis
from nas360.errors import RunError

NODES = 5
"""Intermediate nodes of a cell. Node j sees 0 (the cell before last), 1 (the last) and 2 … j + 1 (nodes 0 … j - 1)."""

EDGES = edges(NODES)
"""The 20 edges (input, node), in the order of the mixture's rows: by node, then by input."""

LEVELS = 4
"""Levels of resolution: strides 4, 8, 16 and 32."""


@dataclass(frozen=True)
class DeeplabArchitecture:
    """A network of Auto-DeepLab.

    Attributes:
        path: stride of every layer's features, each 4, 8, 16 or 32; from one to the next it halves, stays or doubles,
            beginning at the stem's 4.
        cell: ten genes (`darts_genotypes.Gene`), two a node, of any operation but `none`; the same in every layer.
        width: channels of a node at stride 4, which double with the stride; an even number. A cell has five times as
            many, the stem 2, 2 and 4 times, the head 8 times.
    """

    path: tuple[int, ...]
    cell: Cell
    width: int = 32

    def __post_init__(self) -> None:
        known = tuple(FINEST << level for level in range(LEVELS))
        if not self.path:
            raise RunError("the path has no layers; it needs at least 1")
        for layer, stride in enumerate(self.path):
            if stride not in known:
                raise RunError(f"layer {layer} of the path has stride {stride!r}, none of {', '.join(map(str, known))}")
        Trellis(len(self.path), LEVELS).check(self.levels)
        check_cell(self.cell, "layers'", NODES)
        if self.width < 2 or self.width % 2:
            raise RunError(f"width {self.width} is not an even number ≥ 2")

    @property
    def levels(self) -> tuple[int, ...]:
        """The path as levels: 0 for stride 4 … 3 for stride 32."""
        return tuple((stride // FINEST).bit_length() - 1 for stride in self.path)

    def __str__(self) -> str:
        return f"Auto-DeepLab {'-'.join(map(str, self.path))} {short(self.cell)} of {self.width}"


PAPERS_PATH = (4, 4, 4, 8, 16, 8, 16, 16, 32, 32, 16, 8)
"""The path that was found on Cityscapes (Liu et al. 2019, figure 3)."""

PLAIN_CELL = cell_of("sep_conv_3x3 0, sep_conv_3x3 1, " * NODES)
"""Not found by any search: at every node a separable convolution of both inputs."""


def to_json(architecture: DeeplabArchitecture) -> dict[str, Any]:
    """Plain JSON values: a gene is [operation, input]."""
    return {
        "path": list(architecture.path),
        "cell": [[gene.operation, gene.input] for gene in architecture.cell],
        "width": architecture.width,
    }


def from_json(content: Mapping[str, Any]) -> DeeplabArchitecture:
    """The architecture that `to_json` wrote.

    Raises:
        RunError: when `content` is not such an architecture.
    """
    fields = take_fields(content, "DeepLab", path=list, cell=list, width=int)
    for stride in fields["path"]:
        # True is 1 and 4.0 is 4 in Python, in JSON they are not
        if type(stride) is not int:
            raise RunError(f"not a DeepLab architecture: {stride!r} in path is no stride")
    fields["path"] = tuple(fields["path"])
    fields["cell"] = tuple(gene_from_json(gene, "DeepLab", "cell") for gene in fields["cell"])
    return DeeplabArchitecture(**fields)
