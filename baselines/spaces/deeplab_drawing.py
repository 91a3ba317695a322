"""Pictures of Auto-DeepLab networks as SVG: the path through the trellis, as the paper shows it, above the cell."""

from __future__ import annotations

from nas360.baselines.spaces.darts_drawing import cell_group, size
from nas360.baselines.spaces.deeplab_architecture import LEVELS, NODES, DeeplabArchitecture
from nas360.baselines.spaces.deeplab_paths import FINEST, Trellis
from nas360.baselines.spaces.svg import document, safe, text

TITLE, AXIS = 44, 40
"""Heights of the lines above all, and of the numbers of layers."""

ROW, LEFT, RIGHT, RADIUS = 58, 110, 60, 9
PATH, REST = "#1f5fa8", "#d0d0d0"


def draw(architecture: DeeplabArchitecture, name: str = "") -> str:
    """The whole picture.

    Args:
        architecture: to show.
        name: what the picture is of; any text.
    """
    layers = len(architecture.path)
    cell_width, cell_height = size(NODES)
    # as wide as the cell, wider where there are many layers
    step = max(36, (cell_width - LEFT - RIGHT) // (layers + 1))
    width = max(cell_width, LEFT + RIGHT + (layers + 1) * step)
    top = TITLE if name else 0
    head = text(width // 2, TITLE // 2, safe(name), weight="bold") if name else ""
    below = top + AXIS + LEVELS * ROW + 10
    trellis = f'<g transform="translate(0 {top})">{_trellis(architecture, step)}</g>'
    cell = f'<g transform="translate({(width - cell_width) // 2} {below})">{cell_group(architecture.cell, "cell")}</g>'
    return document(head + trellis + cell, (width, below + cell_height), name or str(architecture))


def _trellis(architecture: DeeplabArchitecture, step: int) -> str:
    """Every level of every layer as a dot, the path's dots and lines strong; to the right of them the head."""
    trellis = Trellis(len(architecture.path), LEVELS)

    def place(layer: int, level: int) -> tuple[int, int]:
        return LEFT + (layer + 1) * step, AXIS + ROW // 2 + level * ROW

    path = dict(enumerate(architecture.levels)) | {-1: 0}
    weak: list[str] = []
    strong: list[str] = []
    dots: list[str] = []
    for move in trellis.transitions:
        on = path[move.layer - 1] == move.source and path[move.layer] == move.target
        start, end = place(move.layer - 1, move.source), place(move.layer, move.target)
        (strong if on else weak).append(_line(start, end, on=on))
    for layer in range(-1, trellis.layers):
        x, _ = place(layer, 0)
        dots.append(text(x, AXIS // 2, str(layer + 1) if layer >= 0 else "stem"))
        for level in trellis.reached(layer):
            dots.append(_dot(place(layer, level), on=path[layer] == level))
    for level in range(LEVELS):
        _, y = place(0, level)
        dots.append(text(LEFT // 2, y, f"stride {FINEST << level}"))
    x, y = place(trellis.layers - 1, architecture.levels[-1])
    strong.append(f'<path class="head" d="M{x + RADIUS} {y}H{x + 34}" stroke="#444" marker-end="url(#tip)"/>')
    return "".join((*weak, *strong, *dots))


def _line(start: tuple[int, int], end: tuple[int, int], *, on: bool) -> str:
    stroke, width, kind = (PATH, 3, "path") if on else (REST, 1, "rest")
    return (
        f'<path class="{kind}" d="M{start[0]} {start[1]}L{end[0]} {end[1]}" stroke="{stroke}" stroke-width="{width}"/>'
    )


def _dot(place: tuple[int, int], *, on: bool) -> str:
    fill, stroke = (PATH, PATH) if on else ("#fff", "#a0a0a0")
    return f'<circle cx="{place[0]}" cy="{place[1]}" r="{RADIUS}" fill="{fill}" stroke="{stroke}"/>'
