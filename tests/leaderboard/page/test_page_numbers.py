"""What the page computes in the browser is what Python computes, and its downloads are what it shows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nas360.leaderboard.board import Board, rank
from nas360.leaderboard.stats.pairwise import win_rate
from nas360.leaderboard.stats.pareto import cost_points, front
from nas360.leaderboard.table import MARKS, Table, build_table
from nas360.results import ResultFile
from nas360.task import TaskSpec

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

# numbers that JSON lacks cross as text
COMPUTE = """
const exact = (value) => typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
return arguments[0].map((state) => {
  const board = App.compute({ ...App.view.state, ...state });
  const plain = {
    baseline: board.baseline,
    unranked: board.unranked.map((line) => line.id),
    standings: board.standings.map((one) => ({
      id: one.line.id, median: one.medianRank, mean: one.meanRank, gain: one.improvement, areas: one.areas,
      ranks: one.ranks, ratios: one.ratios, steps: Ranks.steps(one.ratios), n: one.nTasks,
      rho: [0.5, 1, 1.05, 1.5, 2, 100].map((tau) => Ranks.rho(one.ratios, tau)),
    })),
    wins: board.standings.map((a) => board.standings.map((b) => Ranks.winRate(a.errors, b.errors))),
    costs: Object.fromEntries(["gpu_hours", "parameters"].map((measure) => {
      const found = Costs.points(board.standings, board.tasks, measure);
      return [measure, { points: Object.fromEntries(found), front: Costs.front(found, board.tasks.length) }];
    })),
  };
  return JSON.parse(JSON.stringify(plain, (_, value) => exact(value)));
});
"""


def _number(value: float | str | None) -> float:
    return {"Infinity": np.inf, "-Infinity": -np.inf, "NaN": np.nan, None: np.nan}.get(value, value)  # type: ignore[arg-type, return-value]  # a number is its own value


def _close(got: list[Any], wanted: list[Any]) -> None:
    np.testing.assert_allclose([_number(v) for v in got], [_number(v) for v in wanted], rtol=1e-12, atol=1e-12)


def test_the_browser_computes_what_python_computes(
    show: Callable[..., Chrome], crowd_board: Board, specs: Mapping[str, TaskSpec]
) -> None:
    """Over random choices of tasks, methods, conditions and baseline."""
    driver = show(crowd_board)
    rng = np.random.default_rng(3)
    lines = [line.id for line in crowd_board.table.lines]
    states: list[dict[str, Any]] = []
    for _ in range(60):
        tasks = [task for task in specs if rng.random() < 0.6] or ["ecg"]
        methods = [line for line in lines if rng.random() < 0.7] or lines
        include = [mark for mark in MARKS if rng.random() < 0.4]
        states.append(
            {"tasks": tasks, "methods": methods, "include": include, "baseline": methods[rng.integers(len(methods))]}
        )
    for state, got in zip(states, driver.execute_script(COMPUTE, states), strict=True):
        table = _chosen(crowd_board.table, state["tasks"], state["methods"])
        free = rank(table, include=state["include"])
        ranked = {standing.line.id for standing in free.standings}
        wanted = rank(table, state["baseline"], state["include"]) if state["baseline"] in ranked else free
        _same(got, wanted, has_baseline=state["baseline"] in ranked)


def _chosen(table: Table, tasks: list[str], lines: list[str]) -> Table:
    return replace(
        table,
        specs={task: table.specs[task] for task in tasks},
        lines=tuple(line for line in table.lines if line.id in lines),
        cells={(line, task): cell for (line, task), cell in table.cells.items() if line in lines and task in tasks},
    )


def _same(got: dict[str, Any], wanted: Board, has_baseline: bool) -> None:
    tasks = list(wanted.table.specs)
    assert [one["id"] for one in got["standings"]] == [standing.line.id for standing in wanted.standings]
    assert sorted(got["unranked"]) == sorted(entry.line.id for entry in wanted.unranked)
    assert got["baseline"] == (wanted.baseline if has_baseline else None)
    for one, standing in zip(got["standings"], wanted.standings, strict=True):
        _close([one["median"], one["mean"], one["n"]], [standing.median_rank, standing.mean_rank, len(standing.cells)])
        _close(one["areas"], [standing.profile.area(2.0), standing.profile.area(4.0)])
        _close([one["gain"]], [standing.improvement if has_baseline else None])
        _close(one["ranks"], [standing.ranks.get(task) for task in tasks])
        _close(one["ratios"], list(standing.profile.ratios))
        _close([tau for tau, _ in one["steps"]], list(standing.profile.tau))
        _close([rho for _, rho in one["steps"]], list(standing.profile.rho))
        _close(one["rho"], [standing.profile(tau) for tau in (0.5, 1, 1.05, 1.5, 2, 100)])
    ranked = [standing.line for standing in wanted.standings]
    errors = wanted.table.errors(ranked)
    for row, expected in zip(got["wins"], win_rate(errors), strict=True):
        _close([value for value in row], expected.tolist())
    for measure, found in got["costs"].items():
        costs = [[getattr(standing.cells.get(task), measure, None) for task in tasks] for standing in wanted.standings]
        points = cost_points(errors, np.asarray(costs, dtype=float).reshape(errors.shape))
        assert set(found["points"]) == {line.id for line, point in zip(ranked, points, strict=True) if point}
        for point, line in zip(points, ranked, strict=True):
            if point:
                shown = found["points"][line.id]
                _close([shown["cost"], shown["error"], shown["nTasks"]], [point.cost, point.error, point.n_tasks])
        assert found["front"] == [ranked[index].id for index in front(points, len(tasks))]


def test_every_column_sorts(show: Callable[..., Chrome], crowd_board: Board) -> None:
    driver = show(crowd_board)
    wrong = driver.execute_script(
        """return Table.columns(App.view).filter((column) => [false, true].some((down) => {
          const values = Table.sorted(App.view.board.standings, column, down).map(column.value);
          const known = values.filter((value) => value !== "" && !Number.isNaN(value));
          const ordered = known.every((value, at) => !at || (down ? known[at - 1] >= value : known[at - 1] <= value));
          return !ordered || values.slice(0, known.length).some((value, at) => !Object.is(value, known[at]));
        })).map((column) => column.id)"""
    )
    assert wrong == []


def test_downloads_are_what_is_shown(
    show: Callable[..., Chrome], paper: dict[str, ResultFile], specs: Mapping[str, TaskSpec]
) -> None:
    board = rank(build_table(paper, specs))
    first = board.standings[0]
    hostile = replace(first, line=replace(first.line, name='=cmd|"x", \n'))
    driver = show(replace(board, standings=(hostile, *board.standings[1:])), "#tasks=ecg,satellite,deepsea")
    got = list(csv.DictReader(io.StringIO(driver.execute_script("return Downloads.csvText(App.view)"))))
    wanted = rank(build_table(paper, specs, ["ecg", "satellite", "deepsea"]))
    assert [line["method"] for line in got] == [standing.line.id for standing in wanted.standings]
    _close([float(line["mean_rank"]) for line in got], [standing.mean_rank for standing in wanted.standings])
    assert [line["name"][0] for line in got if line["method"] == first.line.id] == ["'"]
    content = json.loads(driver.execute_script("return Downloads.jsonText(App.view)"))
    assert [entry["method"] for entry in content["methods"]] == [standing.line.id for standing in wanted.standings]
    assert all(cell["sources"] for entry in content["methods"] for cell in entry["tasks"].values())
