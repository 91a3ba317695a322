"""The bootstrap of ranks: against exact enumeration, laws, and planted tables."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from nas360.leaderboard.ranks import median_rank, task_ranks
from nas360.leaderboard.stats import bootstrap
from nas360.leaderboard.stats.bootstrap import Resampled, Samples, interval, resample
from nas360.seeding import derive

FloatArray = npt.NDArray[np.float64]
NAN, INF = np.nan, np.inf


def _line(seeds: Sequence[Sequence[float]], spread: float = 0.0) -> Samples:
    """One list of errors a task."""
    most = max(1, *map(len, seeds))
    padded = np.array([[*own, *[-999.0] * (most - len(own))] for own in seeds])
    n = np.array([len(own) for own in seeds])
    return Samples(padded, n, np.where(n > 0, spread, 0.0))


def _run(
    lines: Sequence[Samples], draws: int = 500, decimals: int = 6, names: Sequence[int] | None = None
) -> Resampled:
    n = len(lines[0].n_seeds)
    return resample(
        lines,
        np.zeros(n),
        np.full(n, INF),
        np.full(n, decimals),
        draws,
        derive(0, "tasks"),
        [derive(0, "seeds", name) for name in (names or range(len(lines)))],
    )


def _plain(errors: FloatArray) -> list[Samples]:
    return [_line([[] if np.isnan(error) else [error] for error in row]) for row in errors]


def test_without_luck_there_is_no_interval() -> None:
    found = _run(_plain(np.array([[1.0] * 6, [2.0] * 6, [2.0] * 6])))
    assert interval(found.median_rank).tolist() == [[1, 2.5, 2.5], [1, 2.5, 2.5]]
    np.testing.assert_array_equal(found.better, [[0, 1, 1], [0, 0, 0], [0, 0, 0]])


def test_medians_are_distributed_as_over_all_choices_of_tasks() -> None:
    errors = np.array([[1.0, 1.0, 3.0], [2.0, 3.0, 2.0], [3.0, 2.0, NAN]])
    draws = 40_000
    found = _run(_plain(errors), draws)
    ranks = task_ranks(errors)
    exact = np.array([median_rank(ranks[:, list(chosen)]) for chosen in itertools.product(range(3), repeat=3)])
    for line in range(3):
        for value in np.unique(exact[:, line]):  # NaN where a line ran none of the chosen tasks
            share = np.mean(np.isnan(exact[:, line]) if np.isnan(value) else exact[:, line] == value)
            drawn = found.median_rank[:, line]
            assert np.mean(np.isnan(drawn) if np.isnan(value) else drawn == value) == pytest.approx(share, abs=0.012)


def test_seeds_are_drawn_with_replacement() -> None:
    errors = _line([[0.0, 3.0, 9.0], [1.0], []]).draw(np.tile([0, 1, 2], (30_000, 1)), derive(0, "x"))
    exact, counts = np.unique([np.mean(c) for c in itertools.product([0.0, 3.0, 9.0], repeat=3)], return_counts=True)
    values, found = np.unique(errors[:, 0], return_counts=True)
    np.testing.assert_allclose(values, exact)
    np.testing.assert_allclose(found / 30_000, counts / 27, atol=0.01)
    assert (errors[:, 1] == 1).all()
    assert np.isnan(errors[:, 2]).all()


def test_a_failed_seed_is_drawn_as_often_as_any() -> None:
    errors = _line([[1.0, 1.0, INF]]).draw(np.zeros((20_000, 1), dtype=np.int64), derive(0, "x"))
    assert np.mean(np.isinf(errors)) == pytest.approx(1 - (2 / 3) ** 3, abs=0.01)


def test_a_tasks_second_copy_gets_new_seeds() -> None:
    errors = _line([[0.0, 1.0]]).draw(np.zeros((1000, 2), dtype=np.int64), derive(0, "x"))
    assert (errors[:, 0] != errors[:, 1]).mean() > 0.5


def test_published_spread_is_drawn_and_stays_in_range() -> None:
    errors = _line([[5.0]], spread=0.5).draw(np.zeros((20_000, 1), dtype=np.int64), derive(0, "x"))
    assert errors.mean() == pytest.approx(5, abs=0.02)
    assert errors.std() == pytest.approx(0.5, abs=0.02)
    # near the end of the range a wide spread is cut off there, so that it ties with the best possible
    lines = [_line([[0.0]], spread=0.0), _line([[0.01]], spread=1.0)]
    ranks = _run(lines, 4000).median_rank
    assert np.mean(ranks[:, 1] == 1.5) == pytest.approx(0.5, abs=0.03)
    assert (ranks[:, 0] <= 1.5).all()


def test_draws_are_rounded_as_the_table_is() -> None:
    lines = [_line([[1.01, 1.02]] * 6), _line([[0.98, 1.04]] * 6)]
    assert (_run(lines, decimals=1).median_rank == 1.5).all()
    assert len(np.unique(_run(lines, decimals=2).median_rank)) > 1


def test_the_order_of_lines_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    lines = [_line(rng.random((7, 3)).tolist()) for _ in range(5)]
    order = [3, 0, 4, 1, 2]
    one, other = _run(lines), _run([lines[index] for index in order], names=order)
    np.testing.assert_array_equal(other.median_rank, one.median_rank[:, order])
    np.testing.assert_array_equal(other.better, one.better[np.ix_(order, order)])


def test_the_size_of_blocks_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    lines = [_line(rng.random((7, 3)).tolist()), _line(rng.random((7, 1)).tolist(), spread=0.1), _line([[0.5]] * 7)]
    whole = _run(lines)
    monkeypatch.setattr(bootstrap, "_BLOCK", 21 * 7)
    parts = _run(lines)
    np.testing.assert_array_equal(whole.median_rank, parts.median_rank)
    np.testing.assert_array_equal(whole.mean_rank, parts.mean_rank)
    np.testing.assert_allclose(whole.better, parts.better)


def test_lines_that_hardly_met_are_not_compared() -> None:
    errors = np.array([[1.0] * 7, [2.0] * 6 + [NAN], [3.0] * 5 + [NAN] * 2, [NAN] * 7])
    better = _run(_plain(errors)).better
    assert better[0, 1] == 1
    assert np.isnan(better[[0, 1], [2, 2]]).all()
    assert np.isnan(better[3]).all()


def test_pairs_are_compared_on_the_tasks_that_both_ran() -> None:
    # on its own tasks the second has the lower median, on those in common it always loses
    errors = np.array([[1.0] * 7 + [NAN] * 8, [2.0] * 7 + [1.0] * 8, [NAN] * 7 + [2.0] * 8])
    found = _run(_plain(errors))
    assert found.better[0, 1] == 1
    assert found.better[1, 0] == 0
    assert found.better[1, 2] == 1


def test_lines_that_are_equal_in_truth_are_rarely_told_apart() -> None:
    """About 5 % of the pairs, which is what the level promises."""
    told, pairs = 0, 0
    for table in range(60):
        errors = np.random.default_rng(table).random((5, 10))
        better = _run(_plain(errors), draws=200).better >= 0.975
        told, pairs = told + int(better.sum()), pairs + 10
    assert 0.01 < told / pairs < 0.09


def test_interval_by_hand() -> None:
    draws = np.array([np.arange(41.0), [*[5.0] * 20, *[NAN] * 21], [NAN] * 41]).T
    np.testing.assert_array_equal(interval(draws), [[1, 5, NAN], [39, 5, NAN]])
    np.testing.assert_array_equal(interval(draws[:2]), [[0, 5, NAN], [1, 5, NAN]])
