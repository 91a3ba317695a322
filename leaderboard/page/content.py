"""What the page's script works on: the lines, cells and statistics of a board as JSON values."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

from nas360.leaderboard.board import Board
from nas360.leaderboard.output.tables import area_ends
from nas360.leaderboard.page.escape import script_json
from nas360.leaderboard.stats.statistics import Statistics
from nas360.leaderboard.table import Cell, Line
from nas360.task import TaskSpec

MAX_TEXT = 2000
"""Longer notes are cut: the page is for reading, the result file has the rest."""

METRICS = {
    "zero_one_error": ("0-1 error", "error"),
    "macro_map": ("macro mean average precision", "mAP"),
    "relative_l2": ("relative \u2113\u2082 error", "rel. \u2113\u2082"),
    "mae8": ("mean absolute error below 8 Å", "MAE₈"),
    "cosmic_fnr": ("false-negative rate", "FNR"),
    "macro_f1_by_record": ("macro F1 by record", "F1"),
    "macro_auroc": ("macro area under the ROC curve", "AUROC"),
}
"""Metric id → for people, and for the head of a column. An id that is not here is shown itself."""

UNITS = {"percent": "%", "angstrom": "Å"}
"""Units that a head of a column can bear."""


class Texts:
    """Texts that many cells share, each kept once."""

    def __init__(self) -> None:
        self.all: dict[str, int] = {}

    def index(self, value: str) -> int:
        """The place of a text in `all`."""
        short = value if len(value) <= MAX_TEXT else f"{value[: MAX_TEXT - 1]}…"
        return self.all.setdefault(short, len(self.all))


def page_data(board: Board, statistics: Statistics | None) -> dict[str, Any]:
    """All that the page shows, as JSON values; what is infinite or unknown is null.

    Args:
        board: the leaderboard.
        statistics: of exactly this board, or None.

    Returns:
        `lines`: the ranked ones in order, then the others, each with its `cells` by task. A cell's `error` is null
        where a seed failed, `sources` and `notes` are places in `texts`. `generated` has nas360's version and a
        hash over all the rest, by which two pages can be compared.
    """
    from nas360 import __version__

    texts = Texts()
    lines = [_line(standing.line, standing.cells, texts) for standing in board.standings]
    lines += [_line(entry.line, entry.cells, texts) for entry in board.unranked]
    content = {
        "tasks": [_task(spec) for spec in board.table.specs.values()],
        "lines": lines,
        "texts": list(texts.all),
        "baseline": board.baseline,
        "included": [mark for mark in board.included if any(mark in line["marks"] for line in lines)],
        "ends": [_short(end) for end in area_ends(board)],
        "statistics": None if statistics is None else _statistics(statistics),
    }
    mark = hashlib.sha256(script_json(content).encode()).hexdigest()
    return content | {"generated": {"nas360": __version__, "sha256": mark}}


def metric_names(spec: TaskSpec) -> tuple[str, str]:
    """A task's metric for people, and as short as the head of a column wants it, with the unit."""
    long, short = METRICS.get(spec.metric, (spec.metric, spec.metric))
    return long, f"{short} {UNITS[spec.unit]}" if spec.unit in UNITS else short


def kind_of(line: Line) -> str:
    """What a method is, in a few words: its space, and the algorithm that searched it."""
    method = line.method
    parts = [method.search_space, method.search_algorithm, method.hpo]
    return " · ".join(part for part in parts if part)


def _task(spec: TaskSpec) -> dict[str, Any]:
    metric, short = metric_names(spec)
    return {
        "id": spec.id,
        "name": spec.name,
        "summary": spec.summary,
        "metric": metric,
        "short": short,
        "unit": spec.unit,
        "lower": spec.direction == "lower",
        "decimals": spec.decimals,
        "dims": spec.spatial_dims,
        "kind": spec.output.kind,
        "test": f"{spec.official_size('test')} {spec.unit_of_split}s",
    }


def _line(line: Line, cells: Mapping[str, Cell], texts: Texts) -> dict[str, Any]:
    method = line.method
    return {
        "id": line.id,
        "name": line.name,
        "kind": kind_of(line),
        "paper": line.paper,
        "marks": list(line.marks),
        "method": {
            "version": method.version,
            "space": method.search_space,
            "algorithm": method.search_algorithm,
            "hpo": method.hpo,
            "pretrained": method.pretrained,
            "external": method.external_data,
            "reference": method.reference_url,
            "code": method.code_url,
            "command": method.command,
        },
        "cells": {task: _cell(cell, texts) for task, cell in cells.items()},
    }


def _cell(cell: Cell, texts: Texts) -> dict[str, Any]:
    content = {
        "error": _finite(cell.error),
        "score": cell.score,
        "std": cell.std,
        "n": cell.n_seeds,
        "failed": cell.n_failed,
        "seeds": [_finite(seed) for seed in cell.seeds],
        "sources": [texts.index(source) for source in cell.sources],
        "notes": [texts.index(note) for note in cell.notes],
    }
    costs = {"gpu_hours": cell.gpu_hours, "parameters": cell.parameters}
    return content | {measure: cost for measure, cost in costs.items() if cost is not None}


def _statistics(statistics: Statistics) -> dict[str, Any]:
    return {
        "draws": statistics.draws,
        "seed": statistics.seed,
        "rank_interval": {line: list(ends) for line, ends in statistics.rank_interval.items() if _all_finite(ends)},
        "mean_rank_interval": {
            line: list(ends) for line, ends in statistics.mean_rank_interval.items() if _all_finite(ends)
        },
        "tie_group": dict(statistics.tie_group),
        "without_task": {
            task: {line: value for line, value in ranks.items() if math.isfinite(value)}
            for task, ranks in statistics.without_task.items()
        },
    }


def _all_finite(values: tuple[float, ...]) -> bool:
    return all(math.isfinite(value) for value in values)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _short(value: float) -> float | int:
    return int(value) if value == int(value) else value
