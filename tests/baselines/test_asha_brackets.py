"""Brackets of ASHA: the reference's table, the paper's rungs, and what every plan must keep to."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas360.baselines.asha.brackets import Bracket, Mode, Plan, aggressive, conservative, ladder, plan, standard
from nas360.baselines.asha.sampling import SamplingSpace, Uniform
from nas360.baselines.asha.scheduler import Scheduler
from nas360.errors import RunError

SPACE = SamplingSpace({"x": Uniform(0, 1)})
THREE, FOUR = (12, 50, 200), (3, 12, 50, 200)
# the reference's tunings: trials, mode; trials and rungs of the brackets; least trials a rung; least epochs in all
TABLE: dict[str, tuple[int, Mode, list[tuple[int, tuple[int, ...]]], list[list[int]], int]] = {
    "cifar100, ninapro, satellite": (28, aggressive, [(28, THREE)], [[28, 7, 1]], 752),
    "spherical": (16, standard, [(12, THREE), (4, (50, 200))], [[12, 3, 0], [4, 1]], 608),
    "fsd50k": (36, aggressive, [(36, THREE)], [[36, 9, 2]], 1074),
    "darcy_flow": (104, aggressive, [(104, FOUR)], [[104, 26, 6, 1]], 924),
    "psicov, cosmic": (16, aggressive, [(16, THREE)], [[16, 4, 1]], 494),
    "ecg": (56, aggressive, [(56, THREE)], [[56, 14, 3]], 1654),
    "deepsea": (256, aggressive, [(256, FOUR)], [[256, 64, 16, 4]], 2552),
}


@pytest.mark.parametrize("task", TABLE)
def test_a_search_one_by_one_costs_what_the_reference_costs_at_least(task: str) -> None:
    trials, mode, brackets, counts, epochs = TABLE[task]
    planned = plan(trials, 200, mode=mode)
    assert [(bracket.trials, bracket.resources) for bracket in planned.brackets] == brackets
    scheduler = Scheduler(planned, SPACE, 0)
    seen: Counter[tuple[int, int]] = Counter()
    spent = 0
    while (job := scheduler.ask()) is not None:
        seen[job.bracket, job.rung] += 1
        spent += job.resource_to - job.resource_from
        scheduler.tell(job.trial, job.rung, float(job.trial))  # the best come first, so that nobody overtakes
    assert [[seen[number, rung] for rung in range(len(row))] for number, row in enumerate(counts)] == counts
    assert spent == epochs
    assert [list(row) for row in planned.least_counts()] == counts
    assert planned.least_resource() == epochs


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(2, 10))
def test_the_ladder_has_as_many_rungs_as_in_the_paper_and_ends_at_the_top(a: int, b: int, eta: int) -> None:
    least, largest = sorted((a, b))
    rungs = ladder(largest, least, eta)
    k = len(rungs) - 1  # floor(log_eta(largest / least)), in integers
    assert least * eta**k <= largest < least * eta ** (k + 1)
    assert rungs[-1] == largest
    assert rungs[0] >= least
    assert all(low < high and low == high // eta for low, high in pairwise(rungs))


@given(st.integers(1, 100), st.integers(0, 6), st.integers(2, 5))
def test_where_the_range_is_a_power_of_eta_rungs_are_the_papers(least: int, k: int, eta: int) -> None:
    assert ladder(least * eta**k, least, eta) == tuple(least * eta**rung for rung in range(k + 1))


@given(st.integers(1, 5000), st.integers(1, 300), st.integers(2, 6), st.integers(1, 6))
@pytest.mark.parametrize("mode", [aggressive, standard, conservative])
def test_every_trial_has_a_bracket_and_every_bracket_a_trial(
    mode: Mode, trials: int, largest: int, eta: int, max_rungs: int
) -> None:
    planned = plan(trials, largest, eta=eta, max_rungs=max_rungs, mode=mode)  # a bracket without a trial is refused
    assert planned.trials == trials
    depths = [len(bracket.resources) for bracket in planned.brackets]
    assert depths == sorted(set(depths), reverse=True)
    assert depths[0] <= max_rungs
    assert planned.least_counts()[0][-1] >= 1 or len(depths) > 1  # shared out, the first one may miss the top
    assert all(bracket.resources == ladder(largest, 1, eta)[-len(bracket.resources) :] for bracket in planned.brackets)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_trials_go_to_brackets_in_proportion_all_the_time(sizes: list[int]) -> None:
    planned = Plan(4, tuple(Bracket(size, (1,)) for size in sizes))
    turns = list(planned.turns())
    assert Counter(turns) == dict(enumerate(sizes))
    for begun in range(1, len(turns) + 1):
        counts = Counter(turns[:begun])
        for number, size in enumerate(sizes):  # nobody is behind its share by a whole trial
            assert counts[number] >= begun * size // len(turns)


def test_one_trial_is_trained_in_full() -> None:
    assert plan(1, 200, mode=conservative).brackets == (Bracket(1, (200,)),)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: plan(0, 200), "0 trials in at most 5 rungs"),
        (lambda: plan(5, 200, max_rungs=0), "5 trials in at most 0 rungs"),
        (lambda: plan(5, 10, min_resource=11), "from 11 to 10 with eta 4"),
        (lambda: plan(5, 10, min_resource=0), "from 0 to 10"),
        (lambda: plan(5, 10, eta=1), "with eta 1"),
        (lambda: Plan(1, (Bracket(1, (1,)),)), "eta 1 must be at least 2"),
        (lambda: Plan(4, ()), "0 came"),
        (lambda: Bracket(0, (1,)), "a bracket of 0 trials"),
        (lambda: Bracket(1, ()), r"rungs at \[\]"),
        (lambda: Bracket(1, (2, 2)), r"rungs at \[2, 2\]"),
        (lambda: Bracket(1, (0, 2)), r"rungs at \[0, 2\]"),
    ],
)
def test_numbers_out_of_range_are_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(RunError, match=message):
        make()
