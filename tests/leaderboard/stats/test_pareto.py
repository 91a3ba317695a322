"""Cost points and their front: by hand, and against a look at all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas360.leaderboard.stats.pareto import CostPoint, cost_points, front

NAN, INF = np.nan, np.inf


def test_points_by_hand() -> None:
    errors = np.array([[1.0, 4.0], [2.0, 2.0], [NAN, 4.0], [1.0, INF], [3.0, 3.0]])
    costs = np.array([[1.0, 2.0], [5.0, 5.0], [NAN, 3.0], [1.0, 1.0], [NAN, NAN]])
    assert cost_points(errors, costs) == [
        CostPoint(1.5, 1.5, 2),
        CostPoint(5.0, 1.5, 2),
        CostPoint(3.0, 2.0, 1),
        CostPoint(1.0, INF, 2),
        None,  # no cost is known
    ]


def test_a_cost_without_an_error_is_no_point() -> None:
    assert cost_points(np.array([[NAN], [1.0]]), np.array([[2.0], [NAN]])) == [None, None]


def test_scaling_a_tasks_errors_moves_no_point() -> None:
    rng = np.random.default_rng(0)
    errors, costs = rng.random((4, 3)) + 0.1, rng.random((4, 3))
    for one, other in zip(cost_points(errors, costs), cost_points(errors * [1, 8, 0.25], costs), strict=True):
        assert one == other


def test_what_is_not_whole_or_failed_is_not_on_the_front() -> None:
    points = [CostPoint(1, 1, 2), CostPoint(2, 3, 3), CostPoint(1, INF, 3), None, CostPoint(3, 2, 3)]
    assert front(points, 3) == [1, 4]
    assert front([None], 3) == []
    assert front([], 3) == []


def test_equal_points_all_stand() -> None:
    assert front([CostPoint(1, 2, 1), CostPoint(1, 2, 1), CostPoint(1, 3, 1), CostPoint(2, 2, 1)], 1) == [0, 1]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4)), max_size=8))
def test_nobody_beats_the_front_and_it_beats_the_rest(places: list[tuple[int, int]]) -> None:
    points = [CostPoint(float(cost), float(error), 1) for cost, error in places]

    def beaten(point: CostPoint) -> bool:
        return any(o.cost <= point.cost and o.error <= point.error and o != point for o in points)

    assert sorted(front(points, 1)) == [index for index, point in enumerate(points) if not beaten(point)]
    costs = [points[index].cost for index in front(points, 1)]
    assert costs == sorted(costs)


def test_a_negative_error_is_refused() -> None:
    with pytest.raises(ValueError, match="below 0"):
        cost_points(np.array([[-1.0]]), np.array([[1.0]]))
