"""Pictures of DARTS cells as SVG: inputs, nodes, chosen operations, output.

Nodes go down a staircase; an operation stands as a labelled box before its node. A line goes straight down from its
source and then right to its box, so that none runs through a box.
"""

from __future__ import annotations

from collections.abc import Callable

from nas360.baselines.spaces.darts_genotypes import NODES, Cell, DartsArchitecture, check_cell
from nas360.baselines.spaces.svg import arrow, box, document, safe, text

LABELS = {"max_pool_3x3": "max pool 3", "avg_pool_3x3": "avg pool 3", "skip_connect": "skip"}
LABELS |= {"sep_conv_3x3": "sep conv 3", "sep_conv_5x5": "sep conv 5"}
LABELS |= {"dil_conv_3x3": "dil conv 3", "dil_conv_5x5": "dil conv 5"}
FILLS = {"max": "#e8e8e8", "avg": "#e8e8e8", "skip": "#ffffff", "sep": "#cfe3f7", "dil": "#f9dfc3"}

TITLE = 44
"""Height of a line above all cells."""

LABEL = (96, 26)
STEP_X, STEP_Y, TOP = 190, 80, 70


def size(nodes: int) -> tuple[int, int]:
    """Width and height of the picture of a cell."""
    return 280 + nodes * STEP_X, 80 + nodes * STEP_Y


WIDTH, HEIGHT = size(NODES)


def draw(architecture: DartsArchitecture, name: str = "", *, reduction: bool = True) -> str:
    """The cells of an architecture as one SVG document, the normal one above.

    Args:
        architecture: with cells.
        name: what the picture is of; any text.
        reduction: draw the reduction cell as well.
    """
    cells = {"normal cell": architecture.normal} | ({"reduction cell": architecture.reduce} if reduction else {})
    top = TITLE if name else 0
    head = text(WIDTH // 2, TITLE // 2, safe(name), weight="bold") if name else ""
    parts = [
        f'<g transform="translate(0 {top + HEIGHT * row})">{cell_group(cell, title)}</g>'
        for row, (title, cell) in enumerate(cells.items())
    ]
    return document(head + "".join(parts), (WIDTH, top + HEIGHT * len(cells)), name or str(architecture))


def draw_cell(cell: Cell, title: str = "") -> str:
    """One cell as an SVG document.

    Args:
        cell: eight genes.
        title: a line above; plain text.

    Raises:
        RunError: it is no cell.
    """
    check_cell(cell, "drawn")
    return document(cell_group(cell, title), (WIDTH, HEIGHT), title or "a cell")


def cell_group(cell: Cell, title: str) -> str:
    """Elements that show a cell of any number of nodes, within its `size`."""
    nodes = len(cell) // 2
    width, _ = size(nodes)
    lines, boxes = [], [text(width // 2, 16, safe(title))] if title else []
    # where each state's line starts: below the two inputs, and below every node
    starts = [(46, 57), (118, 57)]
    for (x, _), name in zip(starts, ("c_{k-2}", "c_{k-1}"), strict=True):
        boxes.append(_box(x - 32, 31, 64, 26, _state, name, "#dff0d8"))
    end = width - 90
    used: dict[int, list[int]] = {}
    for node in range(nodes):
        left, middle = 175 + node * STEP_X, TOP + 28 + node * STEP_Y
        centre = left + LABEL[0] + 50
        for gene, y in zip(cell[2 * node : 2 * node + 2], (middle - 17, middle + 17), strict=True):
            x, below = starts[gene.input]
            lines.append(arrow(f"M{x} {below}V{y}H{left}"))
            used.setdefault(x, []).append(y)
            lines.append(arrow(f"M{left + LABEL[0]} {y}L{centre - 17} {middle + (y - middle) // 3}"))
            fill = FILLS[gene.operation.split("_")[0]]
            boxes.append(_box(left, y - LABEL[1] // 2, *LABEL, text, LABELS[gene.operation], fill))
        lines.append(arrow(f"M{centre + 18} {middle}H{end}"))
        boxes.append(f'<circle cx="{centre}" cy="{middle}" r="18" fill="#cfe3f7" stroke="#444"/>')
        boxes.append(text(centre, middle, str(node)))
        starts.append((centre, middle + 18))
    boxes.append(_box(end, TOP, 64, nodes * STEP_Y, _state, "c_{k}", "#fcf3cf"))
    # a dot where a line parts; lines that cross without one have nothing to do with each other
    dots = [
        f'<circle class="dot" cx="{x}" cy="{y}" r="3" fill="#444"/>' for x, ys in used.items() for y in sorted(ys)[:-1]
    ]
    return "".join((*lines, *dots, *boxes))


def _box(x: int, y: int, width: int, height: int, write: Callable[[int, int, str], str], label: str, fill: str) -> str:
    return box(x, y, (width, height), fill) + write(x + width // 2, y + height // 2, label)


def _state(x: int, y: int, label: str) -> str:
    """The label of a cell's input or output, `c_{k}`, with its index set low."""
    name, _, index = label.partition("_{")
    return text(x, y, f'{name}<tspan font-size="10" dy="4">{index[:-1]}</tspan>')
