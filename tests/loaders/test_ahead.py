"""Work in advance: the same as work in turn, by one thread that is gone afterwards."""

from __future__ import annotations

import threading
import time
from itertools import count, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas360.loaders.ahead import ahead


@given(st.lists(st.integers(), max_size=20), st.integers(0, 5))
def test_it_is_a_map(items: list[int], number: int) -> None:
    order: list[int] = []

    def make(item: int) -> int:
        order.append(item)
        return -item

    assert list(ahead(make, items, number)) == [-item for item in items]
    assert order == items


def test_so_many_are_made_while_one_is_used_and_no_more() -> None:
    made: list[int] = []
    items = ahead(lambda item: made.append(item), count(), 3)
    next(items)
    limit = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < limit:
        time.sleep(0.001)
    time.sleep(0.02)
    assert made == [0, 1, 2, 3]
    before = threading.active_count()
    items.close()  # type: ignore[attr-defined]  # a generator is an iterator that can be closed
    assert threading.active_count() == before - 1


@pytest.mark.parametrize("number", [0, 2])
def test_an_error_comes_in_its_place(number: int) -> None:
    items = ahead(lambda item: 1 // (2 - item), range(5), number)
    assert list(islice(items, 2)) == [0, 1]
    with pytest.raises(ZeroDivisionError, match="by zero"):
        next(items)
