"""Rows made piece by piece, by one process or several, always in the same order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any, TypeVar

from nas360.errors import RawDataError
from nas360.loaders.base import Rows, RowSource
from nas360.loaders.workers import worker_pool

T = TypeVar("T")

AHEAD = 2
"""Pieces that each worker may have finished or begun before they are wanted; bounds the memory."""


@dataclass(frozen=True)
class Piece:
    """Some rows, and what was left out in making them.

    Attributes:
        rows: column batches, in order.
        skipped: reason → names of the units that were found to be unusable.
    """

    rows: Sequence[Rows]
    skipped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Pieces:
    """A row source whose pieces do not depend on each other.

    Attributes:
        make: from an item to its piece; a function of a module or a `functools.partial` of one, since it is sent to
            other processes. All that is random in it must hang on the item alone.
        items: what the pieces are made from, in order; each small, since it is sent too.
    """

    make: Callable[[Any], Piece]
    items: Sequence[Any]

    def __call__(self) -> Iterator[Rows]:
        """The rows, made by this process."""
        for item in self.items:
            yield from self.make(item).rows

    def made_by(self, workers: int) -> Iterator[Piece]:
        """The pieces, in the order of the items.

        Args:
            workers: processes that make them; with 1 it is this one.

        Raises:
            RawDataError: when a worker died, which is mostly for want of memory; and what `make` raises.
        """
        if workers == 1 or len(self.items) < 2:
            yield from map(self.make, self.items)
            return
        pending: deque[Future[Piece]] = deque()
        with worker_pool(min(workers, len(self.items))) as pool:
            try:
                for item in self.items:
                    pending.append(pool.submit(self.make, item))
                    if len(pending) > AHEAD * workers:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            except BrokenProcessPool as cause:
                raise RawDataError(
                    f"one of {workers} workers ended before its work was done, mostly for want of memory. "
                    f"Run again with fewer --workers; what is finished is kept"
                ) from cause


def in_groups(units: Sequence[T], size: int) -> list[Sequence[T]]:
    """Units, `size` to a piece, so that an archive is not opened for each anew; the last group may be smaller.

    Example:
        >>> in_groups("abcde", 2)
        ['ab', 'cd', 'e']
    """
    return [units[at : at + size] for at in range(0, len(units), size)]


def pieces_of(source: RowSource, workers: int) -> Iterator[Piece]:
    """The pieces of any row source; made by several processes where the source allows it."""
    if isinstance(source, Pieces):
        yield from source.made_by(workers)
    else:
        yield from (Piece([rows]) for rows in source())
