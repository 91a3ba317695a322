"""What all pictures of architectures are made of: an SVG document, text that may be foreign, labels, arrows, boxes."""

from __future__ import annotations

LINE = "#444"
"""Colour of lines and of the tips of all arrows."""


def document(body: str, size: tuple[int, int], title: str) -> str:
    """A whole SVG document.

    Args:
        body: elements.
        size: width and height.
        title: any text.
    """
    width, height = size
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img"><title>{safe(title)}</title>'
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="{LINE}"/></marker></defs>'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{body}</svg>\n'
    )


def safe(words: str) -> str:
    """Any text as the content of an XML element, on one line; what XML cannot hold is a question mark."""
    shown = "".join(sign if sign.isprintable() else "?" for sign in words)
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def text(x: float, y: float, content: str, size: int = 14, weight: str = "normal") -> str:
    """A label around a point, whose content is XML already."""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" font-family="sans-serif" '
        f'text-anchor="middle" dominant-baseline="central">{content}</text>'
    )


def arrow(path: str, colour: str = LINE) -> str:
    """A line along a path, with a tip at its end."""
    return f'<path d="{path}" fill="none" stroke="{colour}" marker-end="url(#tip)"/>'


def box(x: int, y: int, size: tuple[int, int], fill: str, kind: str = "box") -> str:
    """A box with round corners.

    Args:
        x: of the left side.
        y: of the upper side.
        size: width and height.
        fill: colour.
        kind: class of the element.
    """
    width, height = size
    return (
        f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="5" fill="{fill}" stroke="{LINE}"/>'
    )
