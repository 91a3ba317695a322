"""The statistics of whole boards: the published panels, boards by hand, and boards of extremes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nas360.errors import UserError
from nas360.leaderboard.board import Board, rank
from nas360.leaderboard.sources import load_panel
from nas360.leaderboard.stats.statistics import Statistics, analyse
from nas360.leaderboard.table import build_table
from nas360.results import ResultFile
from nas360.task import TaskSpec

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def boards(specs: Mapping[str, TaskSpec]) -> dict[str, Board]:
    return {panel: rank(build_table(load_panel(panel), specs)) for panel in ("paper", "published")}


@pytest.fixture(scope="module")
def found(boards: Mapping[str, Board]) -> dict[str, Statistics]:
    return {panel: analyse(board) for panel, board in boards.items()}


@pytest.mark.parametrize("panel", ["paper", "published"])
def test_intervals_hold_the_ranks(panel: str, boards: Mapping[str, Board], found: Mapping[str, Statistics]) -> None:
    whole = [standing for standing in boards[panel].standings if not standing.partial]
    # the others ran at most five tasks
    assert set(found[panel].rank_interval) == {standing.line.id for standing in whole}
    for standing in whole:
        low, high = found[panel].rank_interval[standing.line.id]
        assert 1 <= low <= standing.median_rank <= high <= len(boards[panel].standings)
        low, high = found[panel].mean_rank_interval[standing.line.id]
        assert low <= standing.mean_rank <= high


def test_seven_methods_on_ten_tasks_cannot_be_told_apart(found: Mapping[str, Statistics]) -> None:
    paper = found["paper"]
    assert set(paper.tie_group.values()) == {"a"}
    assert paper.friedman is not None
    assert paper.friedman.lines == ("gaea", "wrn_asha", "densenas_random", "wrn", "densenas")
    assert paper.friedman.p > 0.1
    means = paper.friedman.mean_rank.values()
    assert paper.nemenyi_distance is not None
    assert max(means) - min(means) < paper.nemenyi_distance
    assert min(pair.p_holm for pair in paper.pairs) == 1


def test_the_later_panel_separates_some(found: Mapping[str, Statistics]) -> None:
    published = found["published"]
    assert not set(published.tie_group["expert"]) & set(published.tie_group["densenas"])
    # too few tasks to say anything
    assert set(published.tie_group["xgboost"]) == set("".join(published.tie_group.values()))
    assert published.friedman is not None
    assert published.friedman.p < 0.05


def test_gpu_hours_of_the_later_panel(found: Mapping[str, Statistics]) -> None:
    published = found["published"]
    assert published.pareto == {"gpu_hours": ("wrn", "gaea"), "parameters": ()}
    assert set(published.costs["gpu_hours"]) == {"wrn", "densenas", "gaea", "autodl", "amber"}
    assert published.costs["gpu_hours"]["wrn"].cost == pytest.approx(4.22)  # 42.2 hours over ten tasks
    assert published.costs["gpu_hours"]["amber"].n_tasks == 3


def test_equal_calls_give_equal_statistics(boards: Mapping[str, Board], found: Mapping[str, Statistics]) -> None:
    assert analyse(boards["paper"]) == found["paper"]
    other = analyse(boards["paper"], draws=200, seed=1)
    assert (other.draws, other.seed) == (200, 1)
    assert other.rank_interval.keys() == found["paper"].rank_interval.keys()


def test_the_order_of_files_does_not_matter(found: Mapping[str, Statistics], specs: Mapping[str, TaskSpec]) -> None:
    files = dict(reversed(load_panel("paper").items()))
    assert analyse(rank(build_table(files, specs))) == found["paper"]


def _file(make_file: Make, make_row: Make, name: str, scores: Mapping[str, Sequence[float | None]], **cost: Any) -> Any:
    rows = []
    for task, values in scores.items():
        for seed, value in enumerate(values):
            row = make_row(task, value, seed=seed)
            row["cost"] = row["cost"] | cost
            rows.append(row)
    return make_file(name, rows)


@pytest.fixture(scope="module")
def three(make_file: Make, make_row: Make, specs: Mapping[str, TaskSpec]) -> Board:
    """Three methods on three tasks, small enough to compute by hand."""
    scores: dict[str, dict[str, list[float | None]]] = {
        "one": {"cifar100": [10.0], "darcy_flow": [0.1], "ecg": [0.5]},  # errors 10 0.1 0.5, ranks 1 1 3
        "two": {"cifar100": [20.0], "darcy_flow": [0.2], "ecg": [0.9]},  # errors 20 0.2 0.1, ranks 2.5 2 1
        "three": {"cifar100": [20.0], "darcy_flow": [0.3], "ecg": [0.8]},  # errors 20 0.3 0.2, ranks 2.5 3 2
    }
    hours = {"one": 1.0, "two": 2.0, "three": 3.0}
    files: dict[str, ResultFile] = {
        name: _file(make_file, make_row, name, values, gpu_hours=hours[name]) for name, values in scores.items()
    }
    return rank(build_table(files, specs, tasks=["cifar100", "darcy_flow", "ecg"]), baseline="one")


def test_three_by_three_by_hand(three: Board) -> None:
    found = analyse(three, draws=100)
    assert [standing.line.id for standing in three.standings] == ["one", "two", "three"]
    assert found.win_rate["one"] == {"one": 0.5, "two": pytest.approx(2 / 3), "three": pytest.approx(2 / 3)}
    assert found.win_rate["two"]["three"] == pytest.approx(2.5 / 3)
    pair = found.pairs[0]
    assert (pair.a, pair.b, pair.n_tasks, pair.wins_a, pair.ties, pair.wins_b) == ("one", "two", 3, 2, 0, 1)
    # log ratios −log 2, −log 2, log 5: ranks 1.5 1.5 against 3, an even match
    assert pair.p == 1
    # log ratios 0, log(2/3), log(1/2): both for "two", of which 2 of 4 sign choices are as extreme
    assert found.pairs[2].p == 0.5
    # rank sums 5, 5.5, 7.5 around 6: 1 + .25 + 2.25 = 3.5; rank spread 1+1+1 + .25+0+1 + .25+1+0 = 5.5
    assert found.friedman is not None
    assert found.friedman.statistic == pytest.approx(2 * 3.5 / 5.5)
    assert found.without_task["ecg"] == {"one": 1, "two": 2.25, "three": 2.75}
    assert found.without_method["one"] == {"two": 1, "three": 2}
    assert found.with_clone["one"] == {"one": 1.5, "two": 3, "three": 3.5}
    # mean of ratios to the best: 1, 1, 5; 2, 2, 1; 2, 3, 2
    points = {name: (point.cost, point.error, point.n_tasks) for name, point in found.costs["gpu_hours"].items()}
    assert points == {"one": (1, 7 / 3, 3), "two": (2, 5 / 3, 3), "three": (3, pytest.approx(7 / 3), 3)}
    assert found.pareto == {"gpu_hours": ("one", "two"), "parameters": ("two",)}
    # three tasks cannot tell anything apart, whatever happens on them
    assert found.rank_interval == {}
    assert set(found.tie_group.values()) == {"a"}


def test_seeds_widen_the_intervals(make_file: Make, make_row: Make, specs: Mapping[str, TaskSpec]) -> None:
    tasks = ["cifar100", "spherical", "ninapro", "darcy_flow", "cosmic", "satellite"]

    def board(spread: float) -> Board:
        files = {}
        for index in range(4):
            scores = {task: [10.0 * index + spread * shift for shift in (0, 1, 2)] for task in tasks}
            files[str(index)] = _file(make_file, make_row, f"m{index}", scores)
        return rank(build_table(files, specs, tasks=tasks))

    assert analyse(board(0.01), draws=300).rank_interval["m1"] == (2, 2)
    low, high = analyse(board(15.0), draws=300).rank_interval["m1"]
    assert low < 2
    assert high > 2


def test_a_planted_order_is_told_apart(make_file: Make, make_row: Make, specs: Mapping[str, TaskSpec]) -> None:
    tasks = [name for name, spec in specs.items() if spec.direction == "lower"]
    assert len(tasks) == 7
    files = {}
    for index, name in enumerate(("best", "middle", "worst")):
        scores = {task: [1.0 + index + 0.01 * seed for seed in range(3)] for task in tasks}
        files[name] = _file(make_file, make_row, name, scores)
    found = analyse(rank(build_table(files, specs, tasks=tasks)), draws=200)
    assert found.tie_group == {"best": "a", "middle": "b", "worst": "c"}
    assert found.friedman is not None
    assert found.friedman.p < 0.001


def test_failures_zeros_and_gaps(make_file: Make, make_row: Make, specs: Mapping[str, TaskSpec]) -> None:
    files = {
        "a": _file(make_file, make_row, "perfect", {"cifar100": [0.0, 0.0], "ecg": [1.0]}),
        "b": _file(make_file, make_row, "fails", {"cifar100": [None, 50.0], "ecg": [None]}),
        "c": _file(make_file, make_row, "alone", {"psicov": [1.0]}),
    }
    found = analyse(rank(build_table(files, specs)), draws=50)
    assert found.win_rate["perfect"] == {"perfect": 0.5, "fails": 1.0, "alone": None}
    assert found.friedman is None
    assert found.nemenyi_distance is None
    assert found.without_task["psicov"] == {"perfect": 1.0, "fails": 2.0}  # the third ran nothing else
    assert found.costs["parameters"]["fails"].error == np.inf
    assert found.rank_interval == {}


def test_no_lines_and_one_line(specs: Mapping[str, TaskSpec], boards: Mapping[str, Board]) -> None:
    nothing = analyse(rank(build_table({}, specs)))
    assert (nothing.rank_interval, nothing.pairs, nothing.friedman) == ({}, (), None)
    one = analyse(rank(build_table(load_panel("paper"), specs, methods=["gaea"])))
    assert one.rank_interval == {"gaea": (1.0, 1.0)}
    assert one.tie_group == {"gaea": "a"}
    assert one.pairs == ()
    assert analyse(replace(boards["paper"], standings=())).win_rate == {}


@pytest.mark.parametrize("draws", [0, -1, 100_001])
def test_impossible_draws_are_refused(draws: int, boards: Mapping[str, Board]) -> None:
    with pytest.raises(UserError, match="between 1 and 100,000 are possible"):
        analyse(boards["paper"], draws=draws)


def test_a_negative_seed_is_refused(boards: Mapping[str, Board]) -> None:
    with pytest.raises(UserError, match="seed of the bootstrap is -1"):
        analyse(boards["paper"], seed=-1)


def test_the_policy_is_one_sentence(found: Mapping[str, Statistics]) -> None:
    policy = found["paper"].policy
    assert policy.endswith(".")
    assert ". " not in policy
    assert "nothing is filled in" in policy
