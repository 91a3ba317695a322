"""Cells of the DARTS space as values: which operation on which input, how a search's weights name one, known ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas360.baselines.spaces.base import take_fields
from nas360.errors import RunError, UnknownNameError
from nas360.registry import did_you_mean

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""The candidates, in the order of the mixture's columns; a tie goes to the lower."""

NODES = 4
"""Intermediate nodes of a cell. Node j sees 0 (cell before last), 1 (last cell) and 2 … j + 1 (nodes 0 … j - 1)."""


def edges(nodes: int) -> tuple[tuple[int, int], ...]:
    """The edges (input, node) of a cell, in the order of a mixture's rows: by node, then by input."""
    return tuple((source, node) for node in range(nodes) for source in range(node + 2))


EDGES = edges(NODES)
"""The 14 edges of the cells of this space."""


@dataclass(frozen=True)
class Gene:
    """One chosen edge.

    Attributes:
        operation: one of `OPERATIONS`, not `none`.
        input: 0 and 1 are the cell's inputs, 2 … 4 its nodes 0 … 2.
    """

    operation: str
    input: int


Cell = tuple[Gene, ...]
"""Genes, two for each node, in order; of the two the stronger edge comes first."""


def check_cell(cell: Cell, kind: str, nodes: int = NODES) -> None:
    """Refuse what is no cell.

    Args:
        cell: to look at.
        kind: which cell it is, for the message.
        nodes: that it must have.

    Raises:
        RunError: with the gene that is wrong.
    """
    if len(cell) != 2 * nodes:
        raise RunError(f"the {kind} cell has {len(cell)} genes, not {2 * nodes}, two a node")
    for position, gene in enumerate(cell):
        node = position // 2
        if gene.operation not in OPERATIONS[1:]:
            raise RunError(
                f"operation {gene.operation!r} of gene {position} of the {kind} cell is none of "
                f"{', '.join(OPERATIONS[1:])}"
            )
        if not 0 <= gene.input < node + 2:
            raise RunError(
                f"input {gene.input} of gene {position} of the {kind} cell is not in 0 … {node + 1}, what node {node} "
                f"can see"
            )
        if position % 2 and cell[position - 1].input == gene.input:
            raise RunError(f"node {node} of the {kind} cell takes input {gene.input} twice")


@dataclass(frozen=True)
class DartsArchitecture:
    """A network of DARTS cells.

    The probability of drop path is no part of it: it belongs to training, which raises it step by step
    (`Recipe.drop_path`).

    Attributes:
        normal: the cell that keeps the size.
        reduce: the cell that halves the size and doubles the width; unused in dense tasks, which have none.
        cells: number of cells; those at cells // 3 and 2 · cells // 3 reduce.
        width: C, channels of a node in the first cells; even.
        auxiliary: whether a second head after two thirds of the cells helps training; not in dense tasks.
    """

    normal: Cell
    reduce: Cell
    cells: int = 20
    width: int = 36
    auxiliary: bool = False

    def __post_init__(self) -> None:
        check_cell(self.normal, "normal")
        check_cell(self.reduce, "reduce")
        if self.cells < 1:
            raise RunError(f"{self.cells} cells are fewer than 1")
        if self.width < 2 or self.width % 2:
            raise RunError(f"width {self.width} is not an even number ≥ 2")

    def __str__(self) -> str:
        known = [name for name, cells in KNOWN.items() if cells == (self.normal, self.reduce)]
        name = known[0] if known else f"DARTS {short(self.normal)}|{short(self.reduce)}"
        return f"{name} {self.cells} of {self.width}{' with auxiliary head' if self.auxiliary else ''}"


_LETTERS = {"max_pool_3x3": "m", "avg_pool_3x3": "a", "skip_connect": "i", "sep_conv_3x3": "s", "sep_conv_5x5": "S"}
_LETTERS |= {"dil_conv_3x3": "d", "dil_conv_5x5": "D"}


def short(cell: Cell) -> str:
    """A cell in 16 signs, a letter and a digit for each gene: m, a pools; i skip; s, S separable 3, 5; d, D dilated.

    Example:
        >>> short(cell_of("skip_connect 0, sep_conv_5x5 1, " * 4))
        'i0S1i0S1i0S1i0S1'
    """
    return "".join(f"{_LETTERS[gene.operation]}{gene.input}" for gene in cell)


def cell_of(text: str) -> Cell:
    """A cell from "operation input, operation input, …"."""
    words = [gene.split() for gene in text.strip().rstrip(",").split(",")]
    return tuple(Gene(operation, int(source)) for operation, source in words)


DARTS_V2 = (
    cell_of(
        "sep_conv_3x3 0, sep_conv_3x3 1, sep_conv_3x3 0, sep_conv_3x3 1, "
        "sep_conv_3x3 1, skip_connect 0, skip_connect 0, dil_conv_3x3 2"
    ),
    cell_of(
        "max_pool_3x3 0, max_pool_3x3 1, skip_connect 2, max_pool_3x3 1, "
        "max_pool_3x3 0, skip_connect 2, skip_connect 2, max_pool_3x3 1"
    ),
)
"""Normal and reduction cell that second-order DARTS found on CIFAR-10 (Liu et al. 2019, figures 4 and 5)."""

PC_DARTS_CIFAR10 = (
    cell_of(
        "sep_conv_3x3 1, skip_connect 0, sep_conv_3x3 0, dil_conv_3x3 1, "
        "sep_conv_5x5 0, sep_conv_3x3 1, avg_pool_3x3 0, dil_conv_3x3 1"
    ),
    cell_of(
        "sep_conv_5x5 1, max_pool_3x3 0, sep_conv_5x5 1, sep_conv_5x5 2, "
        "sep_conv_3x3 0, sep_conv_3x3 3, sep_conv_3x3 1, sep_conv_3x3 2"
    ),
)
"""Normal and reduction cell that PC-DARTS found on CIFAR-10 (Xu et al. 2020, figure 3)."""

KNOWN: Mapping[str, tuple[Cell, Cell]] = {"DARTS_V2": DARTS_V2, "PC_DARTS_CIFAR10": PC_DARTS_CIFAR10}
"""Well-known pairs of cells by name."""


def known(name: str, **changes: Any) -> DartsArchitecture:
    """The architecture with the cells of a name.

    Args:
        name: of `KNOWN`.
        changes: other fields of `DartsArchitecture`.

    Raises:
        UnknownNameError: there is none; with the nearest name.
    """
    if name not in KNOWN:
        raise UnknownNameError(f"unknown genotype {name!r}.{did_you_mean(name, KNOWN)} Known: {', '.join(KNOWN)}")
    normal, reduce = KNOWN[name]
    return DartsArchitecture(normal, reduce, **changes)


def decode_cell(mixture: NDArray[np.floating[Any]], nodes: int = NODES) -> Cell:
    """The cell that a mixture is nearest to.

    For each node the two inputs with the largest weight of an operation other than `none`, the stronger first; on
    each, that operation. Ties keep the lower input, and the lower operation.

    Args:
        mixture: (edges, 8), the weight of every operation in its node's sum: rows as `edges(nodes)`, columns as
            `OPERATIONS`.
        nodes: of the cell.

    Raises:
        RunError: the shape is another, or a weight is not finite.

    Source: Liu et al. 2019 (DARTS), section 2.4, with the weights of PC-DARTS (Xu et al. 2020, section 3.3).
    """
    weights = np.asarray(mixture, dtype=np.float64)
    rows_of = len(edges(nodes))
    if weights.shape != (rows_of, len(OPERATIONS)) or not np.isfinite(weights).all():
        raise RunError(
            f"a mixture of shape {weights.shape} is not {rows_of} edges by {len(OPERATIONS)} operations of finite "
            f"weights"
        )
    genes: list[Gene] = []
    start = 0
    for node in range(nodes):
        rows = weights[start : start + node + 2, 1:]
        # stable: of equal edges the first comes first
        for source in np.argsort(-rows.max(axis=1), kind="stable")[:2]:
            genes.append(Gene(OPERATIONS[1 + int(rows[source].argmax())], int(source)))
        start += node + 2
    return tuple(genes)


def sample_cell(rng: np.random.Generator, nodes: int = NODES) -> Cell:
    """A cell, uniform over those with two distinct inputs a node and any operation but `none` on each."""
    genes: list[Gene] = []
    for node in range(nodes):
        for source in sorted(int(chosen) for chosen in rng.choice(node + 2, size=2, replace=False)):
            genes.append(Gene(OPERATIONS[1 + int(rng.integers(len(OPERATIONS) - 1))], source))
    return tuple(genes)


def to_json(architecture: DartsArchitecture) -> dict[str, Any]:
    """Plain JSON values: a gene is [operation, input]."""
    return {
        **asdict(architecture),
        "normal": [[gene.operation, gene.input] for gene in architecture.normal],
        "reduce": [[gene.operation, gene.input] for gene in architecture.reduce],
    }


def from_json(content: Mapping[str, Any]) -> DartsArchitecture:
    """The architecture that `to_json` wrote.

    Raises:
        RunError: when `content` is not such an architecture.
    """
    fields = take_fields(content, "DARTS", normal=list, reduce=list, cells=int, width=int, auxiliary=bool)
    for kind in ("normal", "reduce"):
        fields[kind] = tuple(gene_from_json(gene, "DARTS", kind) for gene in fields[kind])
    return DartsArchitecture(**fields)


def gene_from_json(content: Any, space: str, field: str) -> Gene:
    """A gene from [operation, input]; whether the cell may have it is not looked at.

    Raises:
        RunError: it is none, naming the space and the field of its architecture.
    """
    match content:
        case [str(operation), int(source)] if not isinstance(source, bool):
            return Gene(operation, source)
    raise RunError(f"not a {space} architecture: {content!r} in {field} is not [operation, input]")
