"""Which ranks change when scores are computed anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nas360.leaderboard.board import rank
from nas360.leaderboard.submission.entries import sealed
from nas360.leaderboard.submission.rescore import Rescored, to_write, updated
from nas360.leaderboard.table import MARKS, build_table
from nas360.results import ResultFile
from nas360.task import TaskSpec


@dataclass(frozen=True)
class RankMove:
    """A line of the leaderboard that moves.

    Attributes:
        line: its id.
        old_place: counted from 1; `new_place` likewise.
        old_median: median rank; `new_median` likewise.
    """

    line: str
    old_place: int
    new_place: int
    old_median: float
    new_median: float

    def public(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def rank_moves(
    files: Mapping[str, ResultFile],
    found: Sequence[Rescored],
    specs: Mapping[str, TaskSpec],
    beside: Mapping[str, ResultFile] | None = None,
) -> list[RankMove]:
    """The lines whose place or median rank changes.

    Args:
        files: the results as they were.
        found: what became of their rows.
        specs: every known task.
        beside: published results that are ranked with them.

    Returns:
        By new place. Results of every budget and any data rank here, each under its own conditions.

    Raises:
        ResultError: the files cannot be ranked together.
    """
    after = dict(files)
    for path, rows in to_write(found).items():
        content = files[path].model_dump(mode="json", by_alias=True)
        after[path] = ResultFile.model_validate(sealed(updated(content, rows)))
    old, new = _places({**(beside or {}), **files}, specs), _places({**(beside or {}), **after}, specs)
    return [
        RankMove(line, old[line][0], place, old[line][1], median)
        for line, (place, median) in new.items()
        if old[line] != (place, median)
    ]


def _places(files: Mapping[str, ResultFile], specs: Mapping[str, TaskSpec]) -> dict[str, tuple[int, float]]:
    board = rank(build_table(files, specs), include=MARKS)
    return {standing.line.id: (place, standing.median_rank) for place, standing in enumerate(board.standings, start=1)}
