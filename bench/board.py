"""The leaderboard of a benchmark's results, as far as they are there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas360.bench.grid import Grid
from nas360.bench.place import Place
from nas360.bench.states import RESULT, CellState
from nas360.errors import ResultError
from nas360.files import write_json, write_text
from nas360.loaders import TASKS
from nas360.results import load_result

if TYPE_CHECKING:
    from nas360.leaderboard.board import Board
    from nas360.leaderboard.stats.statistics import Statistics
    from nas360.results import ResultFile

JSON, PAGE = "leaderboard.json", "leaderboard.html"

DRAWS = 1000
"""Of the bootstrap, as `nas360 leaderboard` does by default."""


@dataclass(frozen=True)
class Ranked:
    """A leaderboard with what belongs to it.

    Attributes:
        board: the leaderboard.
        statistics: of it.
        content: both, as plain JSON values.
    """

    board: Board
    statistics: Statistics
    content: Mapping[str, Any]


def make_board(place: Place, grid: Grid, states: list[CellState]) -> Ranked | None:
    """Rank the methods of a grid by what they came to, and write it down as JSON and as a page.

    Results of a smaller budget, or on other than the official data, rank here: all runs of a grid have that in common.

    Args:
        place: of the benchmark.
        grid: its methods, tasks and seeds.
        states: of its runs.

    Returns:
        What was ranked; None where no run has ended yet.
    """
    from nas360.leaderboard.board import rank
    from nas360.leaderboard.output.render import to_json
    from nas360.leaderboard.page import page
    from nas360.leaderboard.stats.statistics import analyse
    from nas360.leaderboard.table import MARKS, build_table

    files: dict[str, ResultFile] = {}
    for state in states:
        if state.has_result:
            path = place.folder(state.cell) / RESULT
            with suppress(ResultError):  # it has just been replaced
                files[str(path)] = load_result(path)
    if not files:
        return None
    specs = {name: TASKS[name].spec for name in TASKS if name in grid.tasks}
    board = rank(build_table(files, specs), include=MARKS)
    statistics = analyse(board, DRAWS, 0)
    content = to_json(board, files, statistics)
    write_json(place.path / JSON, content)
    write_text(place.path / PAGE, page(board, statistics))
    return Ranked(board, statistics, content)
