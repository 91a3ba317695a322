"""Errors cross from one process to another as they are."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from nas360.baselines.failure import TrainingError
from nas360.errors import MissingExtraError, Nas360Error

EXAMPLES: dict[type[Nas360Error], tuple[str, ...]] = {
    MissingExtraError: ("matplotlib", "plots"),
    TrainingError: ("search", "it is not finite"),
}


def family(root: type[Nas360Error]) -> Iterator[type[Nas360Error]]:
    yield root
    for child in root.__subclasses__():
        yield from family(child)


@pytest.mark.parametrize("kind", sorted(set(family(Nas360Error)), key=str))
def test_an_error_is_the_same_in_another_process(kind: type[Nas360Error]) -> None:
    error = kind(*EXAMPLES.get(kind, ("what came, what was allowed",)))
    there = pickle.loads(pickle.dumps(error))
    assert (type(there), str(there), vars(there)) == (kind, str(error), vars(error))
