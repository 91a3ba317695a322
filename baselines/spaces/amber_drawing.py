"""Pictures of AMBER networks as SVG: a row of layers from left to right, skips as arches above."""

from __future__ import annotations

from nas360.baselines.spaces.amber_architecture import STAGES, AmberArchitecture
from nas360.baselines.spaces.svg import arrow, box, document, safe, text

LABELS = {
    "conv_8": ("conv", "8"),
    "conv_4": ("conv", "4"),
    "dilated_conv_8": ("dil conv", "8"),
    "dilated_conv_4": ("dil conv", "4"),
    "max_pool_4": ("max pool", "4"),
    "avg_pool_4": ("avg pool", "4"),
    "identity": ("identity", ""),
}
FILLS = {"conv": "#cfe3f7", "dil conv": "#f9dfc3", "max pool": "#e8e8e8", "avg pool": "#e8e8e8", "identity": "#fff"}

BOX, GAP, MARGIN = 72, 30, 24
TALL = 44


def draw(architecture: AmberArchitecture, name: str = "") -> str:
    """The network as a whole SVG document.

    Args:
        architecture: what.
        name: a line above; plain text, any signs.
    """
    layers = len(architecture.operations)
    levels = _levels(architecture.skips)
    top = (50 if name else 20) + _height(max(levels.values(), default=0))
    width = 2 * MARGIN + (layers + 2) * BOX + (layers + 1) * GAP
    middle, height = top + TALL // 2, top + TALL + 62
    arches, boxes = [], [_box(0, middle, "stem", f"conv 8 · {architecture.width}", "#dff0d8")]
    for layer, operation in enumerate(architecture.operations):
        label, kernel = LABELS[operation]
        boxes.append(_box(layer + 1, middle, label, kernel, FILLS[label]))
        boxes.append(arrow(f"M{_left(layer) + BOX} {middle}H{_left(layer + 1)}"))
        boxes.append(text(_left(layer + 1) + BOX // 2, middle + TALL // 2 + 12, str(layer), 11))
        for order, source in enumerate(architecture.skips[layer]):
            # arches end side by side on the top of their box, the longest farthest to the left
            end = _left(layer + 1) + round((order + 1) * BOX / (len(architecture.skips[layer]) + 2))
            begin = _left(source + 1) + BOX - 8
            arches.append(_arch(begin, end, top, _height(levels[source, layer])))
    boxes.append(arrow(f"M{_left(layers) + BOX} {middle}H{_left(layers + 1)}"))
    boxes.append(_box(layers + 1, middle, "full", str(architecture.hidden), "#fcf3cf"))
    boxes += _stages(architecture, top)
    if name:
        boxes.append(text(width // 2, 22, safe(name), 16))
    return document("".join((*arches, *boxes)), (width, height), name or str(architecture))


def _stages(architecture: AmberArchitecture, top: int) -> list[str]:
    """Brackets below the layers of each stage, and a dashed line where it is reduced."""
    size, y = len(architecture.operations) // STAGES, top + TALL + 26
    found = []
    for stage in range(STAGES):
        left, right = _left(stage * size + 1), _left((stage + 1) * size) + BOX
        found.append(f'<path d="M{left} {y}V{y + 5}H{right}V{y}" fill="none" stroke="#888"/>')
        share = f"1/{4**stage} of the positions, " if stage else "all positions, "
        found.append(text((left + right) // 2, y + 18, f"{share}{architecture.width * 2**stage} channels", 12))
        if stage:
            x = left - GAP // 2
            found.append(f'<path d="M{x} {top - 12}V{y + 5}" stroke="#888" stroke-dasharray="4 4"/>')
    return found


def _left(column: int) -> int:
    return MARGIN + column * (BOX + GAP)


def _levels(skips: tuple[tuple[int, ...], ...]) -> dict[tuple[int, int], int]:
    """How high each skip (source, layer) runs: as low as it can without lying on another one, short ones first."""
    found: dict[tuple[int, int], int] = {}
    arches = ((source, layer) for layer, sources in enumerate(skips) for source in sources)
    for source, layer in sorted(arches, key=lambda arch: (arch[1] - arch[0], arch)):
        # those that have a layer in common, be it the end of one and the beginning of the other
        taken = {level for (start, end), level in found.items() if start <= layer and source <= end}
        found[source, layer] = min(set(range(len(taken) + 1)) - taken)
    return found


def _height(level: int) -> int:
    """Of an arch at a level, counted from 0."""
    return 22 + 9 * level


def _arch(begin: int, end: int, base: int, height: int) -> str:
    bend = min(14, height // 2)
    path = f"M{begin} {base}V{base - height + bend}q0 {-bend} {bend} {-bend}H{end - bend}q{bend} 0 {bend} {bend}V{base}"
    return arrow(path, "#5b7fa6")


def _box(column: int, middle: int, label: str, below: str, fill: str) -> str:
    x, y = _left(column), middle - TALL // 2
    empty = box(x, y, (BOX, TALL), fill)
    if not below:
        return empty + text(x + BOX // 2, middle, label)
    return empty + text(x + BOX // 2, middle - 9, label) + text(x + BOX // 2, middle + 10, below, 12)
