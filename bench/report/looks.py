"""How each method is drawn, the same in every picture of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas360.leaderboard.board import Standing
from nas360.pictures import COLOURS, STYLES

Looks = Mapping[str, Mapping[str, Any]]
"""Method → colour and dashes, as matplotlib takes them."""


def looks(methods: Sequence[str]) -> Looks:
    """A look for each method.

    Args:
        methods: in an order that hangs on nothing but which methods there are.
    """
    n = len(COLOURS)
    return {
        # dashes change where colours begin again, so that no pair of the two comes twice soon
        name: {"color": COLOURS[index % n], "linestyle": STYLES[(index // n) % len(STYLES)]}
        for index, name in enumerate(methods)
    }


def of_standing(known: Looks, standing: Standing) -> Mapping[str, Any]:
    """Of a line on a leaderboard: its method's colour; what is from a paper is thin and dashed."""
    look = dict(known.get(standing.line.method.name, {"color": "0.55", "linestyle": STYLES[0]}))
    if standing.line.paper:
        return {**look, "linestyle": STYLES[2], "linewidth": 1.1}
    return {**look, "linewidth": 2.0}
