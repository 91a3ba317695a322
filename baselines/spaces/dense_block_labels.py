"""What the probabilities of a DenseNAS supernet belong to: blocks by their widths, connections by their ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas360.baselines.spaces.dense_block_table import Table, Trim
from nas360.errors import RunError

CANDIDATES = ("basic block", "skip")
"""Of every layer, in the order of alpha's columns."""


def labels(table: Table, trim: Trim, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels of rows and columns of a mixture; see `Labelled.labels`.

    Widths are those of the whole table, for which a trimmed supernet's blocks stand.

    Args:
        table: the whole one.
        trim: how the supernet is cheaper than it.
        name: `alpha`, of which a layer is a row, or `beta`, of which a connection is one.

    Raises:
        RunError: there is no such parameter.
    """
    kept, small = table.kept(trim), table.trimmed(trim)
    if name == "alpha":
        rows = (
            f"width {table.channels(number)}, layer {layer}"
            for number, block in zip(kept, small.blocks, strict=True)
            for layer in range(1, block.layers + 1)
        )
        return tuple(rows), CANDIDATES
    if name == "beta":
        ends = {-1: "stem", len(small.blocks): "output"}
        ends |= {place: str(table.channels(number)) for place, number in enumerate(kept)}
        return tuple(f"{ends[edge.source]} → {ends[edge.target]}" for edge in small.edges), (
            "share of a block's ways out",
        )
    raise RunError(f"DenseNAS has no architecture parameter {name!r}; alpha or beta")


def trim_of(algorithm: Mapping[str, Any]) -> Trim:
    """The trim in a search's settings, as a log has them; none where they name none.

    Raises:
        RunError: it is damaged.
    """
    content = algorithm.get("trim")
    if content is None:
        return Trim()
    names = ("width", "layers", "blocks")
    if not isinstance(content, Mapping) or any(type(content.get(name)) is not int for name in names):
        raise RunError(f"the trim of a search is {str(content)[:80]!r}, not an object with {', '.join(names)}")
    return Trim(*(content[name] for name in names))
