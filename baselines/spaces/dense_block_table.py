"""Which blocks a DenseNAS supernet has, and which may feed which: a table of numbers, the same for 1D and 2D."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from nas360.baselines.ends import is_dense
from nas360.errors import RunError
from nas360.task import TaskSpec

SMALL = 32
"""Images whose shorter side is at most this keep their size in the first stage."""


@dataclass(frozen=True)
class Stage:
    """Blocks of one level of the network, of which a path may take any, from left to right.

    Attributes:
        widths: channels of each block, in order.
        layers: basic blocks that may follow a block's head; each of them can be skipped.
        stride: of the heads that lead into this stage from the one before.
    """

    widths: tuple[int, ...]
    layers: int
    stride: int = 1

    def __post_init__(self) -> None:
        if not self.widths or min(self.widths) < 1:
            raise RunError(f"widths {self.widths} of a stage must be one number ≥ 1 or more")
        if self.layers < 0 or self.stride not in (1, 2):
            raise RunError(f"a stage has {self.layers} layers and stride {self.stride}: layers ≥ 0, stride 1 or 2")


@dataclass(frozen=True)
class Block:
    """A routing block of the supernet.

    Attributes:
        width: its channels.
        stage: number of its stage, from 0.
        layers: basic blocks that may follow its head.
        halvings: how often the size has been halved where it lies.
    """

    width: int
    stage: int
    layers: int
    halvings: int


@dataclass(frozen=True)
class Edge:
    """A connection, with a head of its own.

    Attributes:
        source: number of the block it leaves; -1 is the stem.
        target: number of the block it leads to; the number of blocks is the end, whose head is a classifier.
        stride: 2 where it halves the size.
    """

    source: int
    target: int
    stride: int


@dataclass(frozen=True)
class Trim:
    """How a supernet is made cheaper than its table; what it finds stands for the whole table's blocks.

    Attributes:
        width: every width is divided by this, and rounded up.
        layers: a block has at most so many layers after its head.
        blocks: a stage has at most so many blocks, at even distances, the first and the last among them.
    """

    width: int = 1
    layers: int = 1000
    blocks: int = 1000

    def __post_init__(self) -> None:
        if min(self.width, self.layers, self.blocks) < 1:
            raise RunError(f"{self}: every value must be at least 1")


@dataclass(frozen=True)
class Table:
    """A supernet's blocks and connections.

    A block feeds the blocks of its own stage that come after it, and those of the next stage; the blocks of the last
    stage also the end. So no path misses a stage.

    Attributes:
        stem: channels of the stem.
        stages: the stages in order.
        reach: connections that leave a block at most, to the nearest blocks.
    """

    stem: int
    stages: tuple[Stage, ...]
    reach: int = 10

    def __post_init__(self) -> None:
        if self.stem < 1 or self.reach < 1 or not self.stages:
            raise RunError(f"a table needs a stem (here {self.stem}), a reach (here {self.reach}) and stages, all ≥ 1")

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks, from left to right."""
        out, halvings = [], 0
        for number, stage in enumerate(self.stages):
            halvings += stage.stride == 2
            out += [Block(width, number, stage.layers, halvings) for width in stage.widths]
        return tuple(out)

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """All connections, by source and then by target."""
        blocks, out = self.blocks, []
        for source in range(-1, len(blocks)):
            stage = blocks[source].stage if source >= 0 else -1
            for target in range(source + 1, min(source + self.reach, len(blocks)) + 1):
                next_stage = blocks[target].stage if target < len(blocks) else len(self.stages)
                if next_stage - stage <= 1:
                    enters = target < len(blocks) and next_stage > stage
                    out.append(Edge(source, target, self.stages[next_stage].stride if enters else 1))
        return tuple(out)

    def channels(self, block: int) -> int:
        """Channels of a block; of the stem for -1."""
        return self.stem if block < 0 else self.blocks[block].width

    def trimmed(self, trim: Trim) -> Table:
        """The cheaper table; its blocks are those that `kept` names."""
        stages = tuple(
            replace(
                stage,
                widths=tuple(-(-stage.widths[i] // trim.width) for i in _spread(len(stage.widths), trim.blocks)),
                layers=min(stage.layers, trim.layers),
            )
            for stage in self.stages
        )
        return replace(self, stem=-(-self.stem // trim.width), stages=stages)

    def kept(self, trim: Trim) -> tuple[int, ...]:
        """For every block of the cheaper table its number in this one."""
        first, out = 0, []
        for stage in self.stages:
            out += [first + i for i in _spread(len(stage.widths), trim.blocks)]
            first += len(stage.widths)
        return tuple(out)


def _spread(n: int, most: int) -> list[int]:
    """At most `most` of the numbers below n, the last one and, if there are two, the first among them.

    Example:
        >>> _spread(4, 3), _spread(3, 2), _spread(3, 1), _spread(2, 5)
        ([0, 2, 3], [0, 2], [2], [0, 1])
    """
    count = min(n, most)
    return [n - 1] if count == 1 else [round(i * (n - 1) / (count - 1)) for i in range(count)]


def _strided(table: Table, *strides: int) -> Table:
    return replace(table, stages=tuple(replace(s, stride=by) for s, by in zip(table.stages, strides, strict=True)))


SHORT = Table(32, (Stage((48, 56, 64), 1), Stage((72, 96, 112), 5)))
"""Two stages, nothing halved: dense tasks."""

SIGNAL = _strided(SHORT, 2, 2)
"""Two stages that halve: signals."""

LONG = Table(
    32,
    (Stage((48, 56, 64), 0), Stage((72, 96, 112), 5), Stage((128, 144, 160, 176), 15), Stage((192, 208, 224), 5)),
)
"""Four stages, nothing halved yet: images with one answer."""

IMAGE_TWICE = _strided(LONG, 2, 2, 1, 1)
"""As LONG; the first two stages halve."""

IMAGE_LATE = _strided(LONG, 1, 2, 2, 1)
"""As LONG; the middle stages halve, which suits small images."""

IMAGE_THRICE = _strided(LONG, 2, 2, 2, 1)
"""As LONG; all but the last stage halve, which suits large images."""

SIGNAL_LONG = IMAGE_THRICE
"""The same stages for a signal; a table knows no dimensions."""


def usual_table(spec: TaskSpec) -> Table:
    """The table for a task of which the spec alone is known.

    A dense task keeps its size everywhere, so that it has two stages only; so has a signal, whose stages halve it. An
    image with one answer is halved twice where its shorter side is at most 32, else three times.

    Source: the settings published with NAS-Bench-360, which follow from this but for three tasks.
    """
    if is_dense(spec):
        return SHORT
    if spec.spatial_dims == 1:
        return SIGNAL
    return IMAGE_LATE if min(spec.input_shape[1:]) <= SMALL else IMAGE_THRICE
