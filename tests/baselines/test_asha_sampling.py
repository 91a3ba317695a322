"""Configurations: distributed as said, a function of seed and trial alone, and the same in another process."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nas360.baselines.asha.sampling import Choice, Dimension, LogUniform, SamplingSpace, Uniform
from nas360.errors import RunError

SPACE = SamplingSpace(
    {
        "lr": LogUniform(1e-4, 1e-1),
        "decay": LogUniform(1e-5, 1e-2),
        "momentum": Choice((0.0, 0.3, 0.6, 0.9)),
        "size": Uniform(-2, 3),
    }
)
BELOW_ONE = float(np.nextafter(1, 0))


def test_draws_are_distributed_as_said_and_independent() -> None:
    draws = SPACE.draws(1)
    rows = [draws.configuration(trial) for trial in range(4000)]
    column = {name: np.array([row[name] for row in rows]) for name in SPACE.dimensions}
    uniform = {"lr": np.log10(column["lr"]), "decay": np.log10(column["decay"]), "size": column["size"]}
    for name, low, high in (("lr", -4, -1), ("decay", -5, -2), ("size", -2, 3)):
        assert stats.kstest(uniform[name], stats.uniform(low, high - low).cdf).pvalue > 0.01
    assert stats.chisquare(list(Counter(column["momentum"]).values())).pvalue > 0.01
    correlations = np.corrcoef([*uniform.values(), column["momentum"]]) - np.eye(4)
    assert np.abs(correlations).max() < 4 / math.sqrt(len(rows))


def test_neither_order_nor_another_dimension_changes_a_draw() -> None:
    order = np.random.default_rng(0).permutation(3000)[:200].tolist()
    forth, back, fewer = SPACE.draws(7), SPACE.draws(7), SamplingSpace({"lr": SPACE.dimensions["lr"]}).draws(7)
    drawn = {trial: forth.configuration(trial) for trial in order}
    assert {trial: back.configuration(trial) for trial in reversed(order)} == drawn
    assert all(fewer.configuration(trial)["lr"] == row["lr"] for trial, row in drawn.items())


def test_seeds_and_trials_differ() -> None:
    rates = {SPACE.draws(seed).configuration(trial)["lr"] for seed in range(5) for trial in (0, 1, 1023, 1024, 2048)}
    assert len(rates) == 25


def test_another_process_draws_the_same() -> None:
    code = (
        "import json; from nas360.baselines.asha.sampling import *; "
        "draws = SamplingSpace({'lr': LogUniform(1e-4, 1e-1), 'decay': LogUniform(1e-5, 1e-2)}).draws(3); "
        "print(json.dumps([draws.configuration(trial) for trial in (0, 5, 5000)]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    draws = SamplingSpace({name: SPACE.dimensions[name] for name in ("lr", "decay")}).draws(3)
    assert json.loads(found) == [draws.configuration(trial) for trial in (0, 5, 5000)]


@given(st.floats(-1e308, 1e308), st.floats(-1e308, 1e308), st.floats(0, BELOW_ONE), st.floats(0, BELOW_ONE))
def test_uniform_stays_inside_and_rises(a: float, b: float, one: float, other: float) -> None:
    low, high = sorted((a, b))
    if low < high:
        assert low <= Uniform(low, high).at(min(one, other)) <= high
        assert Uniform(low, high).at(0) == low


@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300), st.floats(0, BELOW_ONE))
def test_log_uniform_stays_inside(a: float, b: float, share: float) -> None:
    low, high = sorted((a, b))
    if low < high:
        assert low <= LogUniform(low, high).at(share) <= high


def test_shares_that_can_be_computed_by_hand() -> None:
    assert Uniform(-2, 2).at(0.75) == 1
    assert LogUniform(1e-4, 1).at(0.5) == pytest.approx(1e-2, rel=1e-12)
    assert [Choice(("a", "b", "c")).at(share) for share in (0, 0.33, 0.34, 0.66, 0.67, BELOW_ONE)] == list("aabbcc")


@given(st.integers(1, 300))
def test_the_last_share_is_the_last_choice(n: int) -> None:
    assert Choice(tuple(range(n))).at(BELOW_ONE) == n - 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(1, 1), "uniform between 1 and 1"),
        (lambda: Uniform(0, math.inf), "uniform between 0 and inf"),
        (lambda: Uniform(math.nan, 1), "uniform between nan and 1"),
        (lambda: LogUniform(0, 1), "log-uniform between 0 and 1"),
        (lambda: LogUniform(2, 1), "log-uniform between 2 and 1"),
        (lambda: LogUniform(1, math.nan), "log-uniform between 1 and nan"),
        (lambda: Choice(()), "at least one value"),
        (lambda: Choice((1, 2, 1)), "none twice"),
        (lambda: Choice((math.nan,)), "plain JSON values"),
        (lambda: Choice((object(),)), "plain JSON values"),
        (lambda: SPACE.draws(-1), "seed -1 is below 0"),
        (lambda: SPACE.draws(0).configuration(-1), "trial -1"),
    ],
)
def test_what_makes_no_sense_is_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(RunError, match=message):
        make()


def test_a_first_configuration_takes_the_place_of_trial_0_alone() -> None:
    first = {"size": 1.5, "momentum": 0.0, "lr": 0.1, "decay": 5e-4}
    space = SamplingSpace(SPACE.dimensions, first)
    assert space.draws(3).configuration(0) == first
    assert list(space.draws(3).configuration(0)) == list(SPACE.dimensions)
    assert all(space.draws(3).configuration(n) == SPACE.draws(3).configuration(n) for n in (1, 2, 1024, 5000))
    assert space.to_json() == {"drawn": SPACE.to_json(), "first": first}
    with pytest.raises(RunError, match="first configuration has lr where the space has lr, decay, momentum, size"):
        SamplingSpace(SPACE.dimensions, {"lr": 0.1})


def test_true_and_one_are_two_values() -> None:
    assert Choice((True, 1, 1.0)).values == (True, 1, 1.0)


@pytest.mark.parametrize("dimension", SPACE.dimensions.values(), ids=list(SPACE.dimensions))
def test_dimensions_become_json(dimension: Dimension) -> None:
    assert json.loads(json.dumps(dimension.to_json()))["kind"] in ("uniform", "log_uniform", "choice")
