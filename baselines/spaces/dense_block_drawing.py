"""Pictures of DenseNAS networks as SVG: a bar for every layer, as high as it has channels, from left to right."""

from __future__ import annotations

from nas360.baselines.spaces.dense_block_architecture import DenseBlockArchitecture
from nas360.baselines.spaces.svg import arrow, box, document, safe, text

HEIGHT, AXIS, GREATEST = 300, 160, 170
"""Of the picture, of the middle of all bars, and of the highest bar."""

BAR, STEP, GAP, MARGIN = 9, 12, 46, 24
"""Width of a bar, from bar to bar in a block, from block to block, and at the sides."""

MOST = 40
"""Bars of a block at most, far above what the published tables have; the number above says how many layers it has."""

HEAD, LAYER, END = "#e39b53", "#8fb8de", "#dff0d8"


def draw(architecture: DenseBlockArchitecture, name: str = "") -> str:
    """One network as an SVG document.

    A block's bars are its head, in another colour, and its layers. Below stands its width, above the number of its
    layers; an arrow with "/2" halves the size.

    Args:
        architecture: the network.
        name: a line above; any text.
    """
    widest = max(architecture.stem, *(block.width for block in architecture.blocks))
    chain = [(architecture.stem, 1, 1), *((b.width, b.layers, b.stride) for b in architecture.blocks)]
    x, parts = MARGIN, []
    for number, (width, layers, stride) in enumerate(chain):
        if number:
            parts.append(_arrow(x - GAP + 3, x - 4, "/2" if stride == 2 else ""))
        height = max(4, round(GREATEST * width / widest))
        bars = min(layers, MOST)
        parts += [_bar(x + i * STEP, height, LAYER if i or not number else HEAD) for i in range(bars)]
        right = x + (bars - 1) * STEP + BAR
        middle = (x + right) / 2
        parts.append(text(middle, AXIS + height / 2 + 14, str(width), 13))
        if number:
            parts.append(text(middle, AXIS - height / 2 - 12, f"&#215;{layers}", 12))
        else:
            parts.append(text(middle, AXIS - height / 2 - 12, "stem", 12))
        x = right + GAP
    parts.append(_arrow(x - GAP + 3, x - 4, ""))
    parts.append(box(x, AXIS - 15, (52, 30), END, "end"))
    parts.append(text(x + 26, AXIS, "output", 13))
    total = x + 52 + MARGIN
    legend = "a bar is a layer, as high as it has channels; "
    legend += '<tspan fill="#a8641f">the first of a block changes width and size</tspan>'
    parts.append(f'<text x="{MARGIN}" y="{HEIGHT - 14}" font-family="sans-serif" font-size="11">{legend}</text>')
    if name:
        parts.append(f'<text x="{MARGIN}" y="20" font-family="sans-serif" font-size="15">{safe(name)}</text>')
    total = max(total, 440, 2 * MARGIN + 9 * len(name))
    return document("".join(parts), (total, HEIGHT), name or str(architecture))


def _bar(x: int, height: int, fill: str) -> str:
    return (
        f'<rect class="bar" x="{x}" y="{AXIS - height / 2:g}" width="{BAR}" height="{height}" rx="2" fill="{fill}" '
        f'stroke="#444" stroke-width="0.7"/>'
    )


def _arrow(start: int, end: int, label: str) -> str:
    return arrow(f"M{start} {AXIS}H{end}") + (text((start + end) / 2, AXIS - 12, label, 12) if label else "")
