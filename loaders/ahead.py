"""Work done in advance: the next batch is made while the last one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def ahead(make: Callable[[S], T], items: Iterable[S], count: int = 2) -> Iterator[T]:
    """`make(item)` for every item, in order.

    Args:
        make: is called by one thread alone and in the order of the items, so that it may draw from a generator.
        items: what to make from; taken as they are needed.
        count: how many are made in advance while the last one is used; 0 makes each when it is asked for.

    Yields:
        What was made. An error of `make` comes in its place, and is the last thing that comes.

    Example:
        >>> list(ahead(str, range(3)))
        ['0', '1', '2']
    """
    if count < 1:
        yield from map(make, items)
        return
    waiting = iter(items)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="nas360-ahead") as pool:
        pending = deque(pool.submit(make, item) for item in islice(waiting, count))
        try:
            while pending:
                made = pending.popleft().result()
                pending.extend(pool.submit(make, item) for item in islice(waiting, 1))
                yield made
        finally:
            for future in pending:
                future.cancel()
