"""A leaderboard for programs: JSON values and CSV."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from nas360.leaderboard.board import Board, Standing
from nas360.leaderboard.output.tables import area_ends, in_order
from nas360.leaderboard.stats.statistics import Statistics
from nas360.leaderboard.table import Cell
from nas360.results import ResultFile

FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n", "|", "%")  # noqa: RUF001
"""What a spreadsheet takes for the beginning of a formula, or of a command, in the forms of East Asia too."""


def to_json(board: Board, files: Mapping[str, ResultFile], statistics: Statistics | None = None) -> dict[str, Any]:
    """A board as JSON values; what is infinite or unknown is null.

    Args:
        board: the leaderboard.
        files: what it was made from, for `generated`.
        statistics: of the board.

    Returns:
        `methods` (ranked, in order: `method` id, `display_name`, `published`, `conditions`, `median_rank`,
        `mean_rank`, `improvement` over the baseline as a fraction, `n_tasks`, `partial`, and under `tasks` for each
        task `score` in the metric's own direction, `error`, `std` over seeds, `n_seeds`, `n_failed`, `notes`,
        `rank`); `not_ranked` (likewise, with `place` and `of`); `profile` (id → the steps `tau` and `rho`, the `area`
        up to `tau_max`, the `areas` by end); `statistics`, with the fields of `Statistics` under their names, or null;
        `baseline`, `tasks`, `tau_max`, `included`, `warnings`, `generated` (from what).
    """
    return {
        "methods": [_standing_json(standing) for standing in board.standings],
        "not_ranked": [
            {
                "method": entry.line.id,
                "display_name": entry.line.name,
                "conditions": list(entry.line.marks),
                "n_tasks": len(entry.cells),
                "tasks": {
                    task: {**_cell_json(cell), "place": entry.places[task][0], "of": entry.places[task][1]}
                    for task, cell in in_order(board, entry.cells)
                },
            }
            for entry in board.unranked
        ],
        "profile": {
            standing.line.id: {
                "tau": list(standing.profile.tau),
                "rho": list(standing.profile.rho),
                "area": standing.profile.area(board.tau_max),
                "areas": {f"{end:g}": standing.profile.area(end) for end in area_ends(board)},
            }
            for standing in board.standings
        },
        "statistics": plain(statistics),
        "baseline": board.baseline,
        "tasks": list(board.table.specs),
        "tau_max": board.tau_max,
        "included": list(board.included),
        "warnings": list(board.table.warnings),
        "generated": generated_from(files.values()),
    }


def plain(value: Any) -> Any:
    """Dataclasses, mappings, sequences and numbers as strict JSON values; what is not finite is null."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(member) for key, member in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if math.isfinite(value) else None
    if isinstance(value, Iterable):
        return [plain(member) for member in value]
    return value.item()  # a scalar of NumPy's


def generated_from(files: Iterable[ResultFile]) -> dict[str, Any]:
    """What a board was made from: nas360's version, the number of files, and a hash over their contents."""
    from nas360 import __version__

    marks = sorted(content.digest or content.model_dump_json() for content in files)
    return {
        "nas360": __version__,
        "files": len(marks),
        "sha256": hashlib.sha256("\n".join(marks).encode()).hexdigest(),
    }


def _standing_json(standing: Standing) -> dict[str, Any]:
    line = standing.line
    return {
        "method": line.id,
        "display_name": line.name,
        "published": line.paper,
        "conditions": list(line.marks),
        "median_rank": standing.median_rank,
        "mean_rank": standing.mean_rank,
        "improvement": _finite(standing.improvement),
        "n_tasks": len(standing.cells),
        "partial": standing.partial,
        "tasks": {task: {**_cell_json(cell), "rank": standing.ranks[task]} for task, cell in standing.cells.items()},
    }


def _cell_json(cell: Cell) -> dict[str, Any]:
    return {
        "score": cell.score,
        "error": _finite(cell.error),
        "std": cell.std,
        "n_seeds": cell.n_seeds,
        "n_failed": cell.n_failed,
        "notes": list(cell.notes),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def to_csv(board: Board, statistics: Statistics | None = None) -> str:
    """A board as CSV: one line a method, ranked or not, with the score and the spread over seeds on every task.

    Texts stand in quotes and none is a formula (see `harmless`). A cell is empty where there is no value.

    Args:
        board: the leaderboard.
        statistics: of the board; without them, the columns of intervals and tie groups are left out.
    """
    ends = area_ends(board)
    out = io.StringIO()
    # quotes around every text: a spreadsheet that parts cells at semicolons would else find more cells in a name
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    uncertain = [
        "median_rank_low",
        "median_rank_high",
        "mean_rank_low",
        "mean_rank_high",
        "tie_group",
    ]
    writer.writerow(
        ["method", "ranked", "median_rank", "mean_rank", "improvement", *(f"area_{end:g}" for end in ends), "n_tasks"]
        + [f"score_{task}" for task in board.table.specs]
        + [f"std_{task}" for task in board.table.specs]
        + ["name", *(uncertain if statistics is not None else [])]
    )
    for standing in board.standings:
        line = standing.line
        numbers = [standing.median_rank, standing.mean_rank, _finite(standing.improvement)]
        areas = [standing.profile.area(end) for end in ends]
        writer.writerow(
            [
                *(harmless(line.id), 1, *numbers, *areas, len(standing.cells), *_scores(board, standing.cells)),
                *(harmless(line.name), *_uncertain(line.id, statistics)),
            ]
        )
    for entry in board.unranked:
        blanks = [None] * (3 + len(ends))
        writer.writerow(
            [
                *(harmless(entry.line.id), 0, *blanks, len(entry.cells), *_scores(board, entry.cells)),
                *(harmless(entry.line.name), *([None] * len(uncertain) if statistics is not None else [])),
            ]
        )
    return out.getvalue()


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula: what begins like one gets an apostrophe in front.

    Example:
        >>> harmless("=1+1"), harmless("wrn")
        ("'=1+1", 'wrn')
    """
    one_line = " ".join(text.split())
    return f"'{one_line}" if one_line.startswith(FORMULA) else one_line


def _uncertain(line: str, statistics: Statistics | None) -> list[float | str | None]:
    if statistics is None:
        return []
    median = statistics.rank_interval.get(line, (None, None))
    mean = statistics.mean_rank_interval.get(line, (None, None))
    return [*median, *mean, statistics.tie_group.get(line)]


def _scores(board: Board, cells: Mapping[str, Cell]) -> list[float | str | None]:
    scores: list[float | str | None] = []
    for task in board.table.specs:
        score = cells[task].score if task in cells else None
        scores.append(score if score is not None else "failed" if task in cells else None)
    return scores + [cells[task].std if task in cells else None for task in board.table.specs]
