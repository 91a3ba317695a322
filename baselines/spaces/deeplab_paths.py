"""Paths through a trellis of layers and levels of resolution: what a network of Auto-DeepLab has as its skeleton.

A layer has features at several levels; level k lies at 4 · 2ᵏ times fewer positions along each side than the input.
From one layer to the next a path goes one level finer, stays, or goes one level coarser. Before the first layer there
is level 0 alone, so that layer l has the levels 0 … min(l + 1, levels - 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas360.errors import RunError

FINEST = 4
"""Stride of level 0, after the stem."""


@dataclass(frozen=True)
class Transition:
    """A step of a path, into `layer`, from the level `source` to the level `target`."""

    layer: int
    source: int
    target: int


@dataclass(frozen=True)
class Trellis:
    """How far paths go.

    Attributes:
        layers: number of steps, at least 1.
        levels: number of levels of resolution, at least 1.
    """

    layers: int
    levels: int

    def __post_init__(self) -> None:
        if self.layers < 1 or self.levels < 1:
            raise RunError(f"a trellis of {self.layers} layers and {self.levels} levels needs at least 1 of each")

    def reached(self, layer: int) -> range:
        """The levels that a layer has; layer -1 is the stem."""
        return range(min(layer + 2, self.levels))

    def sources(self, layer: int, target: int) -> tuple[int, ...]:
        """The levels of the layer before from which a path can come, finest first."""
        return tuple(source for source in self.reached(layer - 1) if abs(source - target) <= 1)

    @cached_property
    def transitions(self) -> tuple[Transition, ...]:
        """All steps, by layer, then by target, then by source: the order of the mixture's weights."""
        return tuple(
            Transition(layer, source, target)
            for layer in range(self.layers)
            for target in self.reached(layer)
            for source in self.sources(layer, target)
        )

    def check(self, path: tuple[int, ...]) -> None:
        """Refuse what is no path of this trellis.

        Raises:
            RunError: with the step that is wrong.
        """
        if len(path) != self.layers:
            raise RunError(f"a path of {len(path)} levels is not one of {self.layers} layers")
        for layer, (source, target) in enumerate(zip((0, *path), path, strict=False)):
            if not 0 <= target < self.levels or abs(target - source) > 1:
                finer, coarser = max(0, source - 1), min(self.levels - 1, source + 1)
                allowed = ", ".join(str(FINEST << level) for level in range(finer, coarser + 1))
                raise RunError(
                    f"layer {layer} of the path has stride {FINEST * 2.0**target:g}, and after stride "
                    f"{FINEST << source} there can be {allowed}"
                )

    def strongest(self, weights: NDArray[np.floating[Any]]) -> tuple[int, ...]:
        """The path with the greatest product of weights, by dynamic programming.

        Ties stay at their level, else come from the finer one; of equal ends the finest is taken.

        Args:
            weights: (transitions,), ≥ 0.

        Returns:
            the level of every layer.

        Raises:
            RunError: the weights have another shape, or are not finite and ≥ 0.

        Source: Viterbi 1967; Liu et al. 2019 (Auto-DeepLab), section 4.3.
        """
        values = np.asarray(weights, dtype=np.float64)
        if values.shape != (len(self.transitions),) or not np.isfinite(values).all() or (values < 0).any():
            raise RunError(
                f"weights of shape {values.shape} are not {len(self.transitions)} finite numbers ≥ 0, one a transition"
            )
        with np.errstate(divide="ignore"):
            logs = np.log(values)
        best: list[dict[int, float]] = [{0: 0.0}] + [{} for _ in range(self.layers)]
        came: list[dict[int, int]] = [{} for _ in range(self.layers)]
        # of a target's steps the preferred one comes first, and a later one must be better
        order = sorted(range(len(logs)), key=lambda index: self._preference(self.transitions[index]))
        for index in order:
            step = self.transitions[index]
            value = best[step.layer][step.source] + float(logs[index])
            if step.target not in came[step.layer] or value > best[step.layer + 1][step.target]:
                best[step.layer + 1][step.target] = value
                came[step.layer][step.target] = step.source
        level = max(best[-1], key=lambda end: (best[-1][end], -end))
        path = [level]
        for layer in range(self.layers - 1, 0, -1):
            level = came[layer][level]
            path.append(level)
        return tuple(reversed(path))

    @staticmethod
    def _preference(step: Transition) -> tuple[int, int, bool, int]:
        return step.layer, step.target, step.source != step.target, step.source

    def sample(self, rng: np.random.Generator) -> tuple[int, ...]:
        """A path, uniform over all of them."""
        # how many ways lead from a level to the end, up to a common factor
        ways = [np.ones(self.levels)]
        for _ in range(self.layers - 1):
            later = np.pad(ways[0], 1)
            count = later[:-2] + later[1:-1] + later[2:]
            ways.insert(0, count / count.max())
        path, level = [], 0
        for count in ways:
            targets = range(max(0, level - 1), min(self.levels, level + 2))
            share = count[list(targets)] / count[list(targets)].sum()
            level = int(rng.choice(list(targets), p=share))
            path.append(level)
        return tuple(path)
