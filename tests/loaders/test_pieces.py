from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from nas360.errors import RawDataError
from nas360.loaders.pieces import AHEAD, Piece, Pieces, pieces_of

MODULE = """
import os

import numpy as np

from nas360.errors import RawDataError
from nas360.loaders.pieces import Piece


def make(offset, item):
    rows = [{"id": np.array([f"{item}-{number}"]), "y": np.array([offset + item])} for number in range(2)]
    return Piece(rows, {"odd": (str(item),)} if item % 2 else {})


def fail(item):
    raise RawDataError(f"piece {item} is damaged")


def die(item):
    os._exit(1)
"""


@pytest.fixture(scope="module")
def makers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Functions that other processes can import, as those of a loader are."""
    folder = tmp_path_factory.mktemp("makers")
    (folder / "piece_makers.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("piece_makers")


def seen(pieces: list[Piece]) -> list[Any]:
    return [
        (row["id"].tolist(), row["y"].tolist(), sorted(piece.skipped.items())) for piece in pieces for row in piece.rows
    ]


def test_any_number_of_workers_gives_the_same_rows_in_the_same_order(makers: Any) -> None:
    source = Pieces(partial(makers.make, 100), range(3 * AHEAD * 2))
    alone = seen(list(source.made_by(1)))
    assert len(alone) == 2 * 3 * AHEAD * 2
    assert seen(list(source.made_by(2))) == alone
    assert [row["id"].tolist() for row in source()] == [row[0] for row in alone]


def test_a_plain_source_is_one_piece_a_batch(makers: Any) -> None:
    assert seen(list(pieces_of(lambda: iter(makers.make(0, 4).rows), 3))) == seen([Piece(makers.make(0, 4).rows)])


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_piece_raises_is_raised(workers: int, makers: Any) -> None:
    with pytest.raises(RawDataError, match="piece 0 is damaged"):
        list(Pieces(makers.fail, range(4)).made_by(workers))


def test_a_worker_that_dies_is_told(makers: Any) -> None:
    with pytest.raises(RawDataError, match=r"one of 2 workers ended.*fewer --workers"):
        list(Pieces(makers.die, range(4)).made_by(2))
