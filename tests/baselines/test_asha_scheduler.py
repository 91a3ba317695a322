"""ASHA: equal to a slow second implementation on 1,000 schedules, and what the order of answers may change."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas360.baselines.asha.brackets import Bracket, Mode, Plan, aggressive, conservative, plan, standard
from nas360.baselines.asha.sampling import SamplingSpace, Uniform
from nas360.baselines.asha.scheduler import Failure, Job, Scheduler, judged
from nas360.errors import RunError

SPACE = SamplingSpace({"x": Uniform(0, 1)})
# few, so that there are ties; the last three are failures
ERRORS: tuple[float | Failure, ...] = (0.5, 0.25, -1.0, 0.75, 0.5, math.nan, math.inf, Failure("out of memory"))
Told = tuple[int, int, float | Failure]


@dataclass
class Slow:
    """Algorithm 2 written down anew: no state but what was asked and told, every list sorted for every question."""

    plan: Plan
    asked: list[tuple[int, int, int]] = field(default_factory=list)  # trial, bracket, rung
    told: dict[tuple[int, int], float] = field(default_factory=dict)  # trial, rung → error

    def ask(self) -> tuple[int, int, int] | None:
        due = next(self._promotions(), None)
        if due is None:
            trial = len({trial for trial, _, _ in self.asked})
            if trial == sum(bracket.trials for bracket in self.plan.brackets):
                return None
            due = trial, self._bracket(), 0
        self.asked.append(due)
        return due

    def _promotions(self) -> Iterator[tuple[int, int, int]]:
        resources = sorted({level for bracket in self.plan.brackets for level in bracket.resources}, reverse=True)
        for resource in resources:
            for number, bracket in enumerate(self.plan.brackets):
                if resource not in bracket.resources[1:]:
                    continue
                rung = bracket.resources.index(resource) - 1
                there = [
                    (self.told[trial, rung], trial)
                    for trial, of, at in self.asked
                    if of == number and at == rung and (trial, rung) in self.told
                ]
                for error, trial in sorted(there)[: len(there) // self.plan.eta]:
                    if error < math.inf and (trial, number, rung + 1) not in self.asked:
                        yield trial, number, rung + 1

    def _bracket(self) -> int:
        begun = [sum(of == number and rung == 0 for _, of, rung in self.asked) for number in range(self.size)]
        trials = [bracket.trials for bracket in self.plan.brackets]
        return min(range(self.size), key=lambda number: ((begun[number] + 1) / trials[number], number))

    @property
    def size(self) -> int:
        return len(self.plan.brackets)


@settings(max_examples=1000)
@given(
    st.sampled_from([(aggressive, 2, 9, 8), (aggressive, 3, 14, 9), (standard, 2, 14, 16), (conservative, 2, 12, 5)]),
    st.binary(min_size=10, max_size=100),
)
def test_equal_to_the_slow_one_on_every_schedule(kind: tuple[Mode, int, int, int], schedule: bytes) -> None:
    mode, eta, trials, largest = kind
    planned = plan(trials, largest, eta=eta, mode=mode)
    fast, slow = Scheduler(planned, SPACE, 0), Slow(planned)
    flying: list[Job] = []
    for move in schedule:
        if move < 100 or not flying:
            job, due = fast.ask(), slow.ask()
            assert (None if job is None else (job.trial, job.bracket, job.rung)) == due
            flying += [] if job is None else [job]
        else:
            # one byte says which job is told and what
            job = flying.pop((move - 100) // len(ERRORS) % len(flying))
            outcome = ERRORS[(move - 100) % len(ERRORS)]
            fast.tell(job.trial, job.rung, outcome)
            error = math.inf if isinstance(outcome, Failure) else outcome
            slow.told[job.trial, job.rung] = error if math.isfinite(error) else math.inf
        assert sorted(job.trial for job in fast.in_flight) == sorted(job.trial for job in flying)
    assert {(one.trial, one.rung): one.error for one in fast.outcomes()} == slow.told
    assert fast.started == len({trial for trial, _, _ in slow.asked})
    drained = not flying and next(Slow(planned, [*slow.asked], slow.told)._promotions(), None) is None
    assert fast.finished == (drained and fast.started == trials)


def run(
    scheduler: Scheduler,
    error: Callable[[Job], float | Failure],
    workers: int,
    seed: int = 0,
    at_ask: Callable[[Scheduler, Job], None] = lambda scheduler, job: None,
) -> list[Job]:
    """Simulated workers of random speed; the jobs in the order of asking."""
    rng = np.random.default_rng(seed)
    ends: list[tuple[float, int, Job]] = []
    jobs: list[Job] = []
    now = 0.0
    while True:
        while len(ends) < workers and (job := scheduler.ask()) is not None:
            at_ask(scheduler, job)
            jobs.append(job)
            seconds = (job.resource_to - job.resource_from) * float(rng.exponential())
            heapq.heappush(ends, (now + seconds, len(jobs), job))
        if not ends:
            assert scheduler.finished
            return jobs
        now, _, done = heapq.heappop(ends)
        scheduler.tell(done.trial, done.rung, error(done))


def noise(job: Job) -> float:
    """An error that depends on the trial and its rung, not on time."""
    return float(np.random.default_rng([job.trial, job.rung]).normal())


@pytest.mark.parametrize("workers", [1, 3, 16, 200])
@pytest.mark.parametrize("mode", [aggressive, standard, conservative])
def test_order_changes_only_who_is_promoted_beyond_the_best(mode: Mode, workers: int) -> None:
    planned = plan(100, 64, eta=4, mode=mode)

    def in_time(scheduler: Scheduler, job: Job) -> None:
        if job.rung:  # it was told in the rung below, and was among the best |rung| / eta there when it was promoted
            there = scheduler.rung(job.bracket, job.rung - 1).errors
            rank = sorted((error, trial) for trial, error in there.items()).index((there[job.trial], job.trial))
            assert rank < len(there) // planned.eta

    finished, first_jobs = [], []
    for seed in range(5):
        scheduler = Scheduler(planned, SPACE, 0)
        jobs = run(scheduler, noise, workers, seed, in_time)
        # no job twice; a trial climbs rung by rung, and goes on from where it was
        assert len({(job.trial, job.rung) for job in jobs}) == len(jobs)
        spent = {trial: 0 for trial in range(100)}
        for job in jobs:
            assert job.resource_from == spent[job.trial]
            spent[job.trial] = job.resource_to
        for number, bracket in enumerate(planned.brackets):
            sizes = [len(scheduler.rung(number, place).errors) for place in range(len(bracket.resources))]
            least = planned.least_counts()[number]
            assert sizes[0] == bracket.trials
            assert all(size >= fewest for size, fewest in zip(sizes, least, strict=True))
            for place, size in enumerate(sizes[:-1]):
                rung = scheduler.rung(number, place)
                best = sorted((error, trial) for trial, error in rung.errors.items())[: size // planned.eta]
                # whoever is among the best in the end is promoted, in whatever order they came
                assert {trial for _, trial in best} <= rung.promoted == set(scheduler.rung(number, place + 1).errors)
        first_jobs.append([job for job in jobs if job.rung == 0])
        finished.append(scheduler)
    # trials, their configurations and brackets, and the order in which they begin, are always the same
    assert all(jobs == first_jobs[0] for jobs in first_jobs)
    lowest = [{(n, t) for n in range(len(planned.brackets)) for t in one.rung(n, 0).errors} for one in finished]
    assert all(one == lowest[0] for one in lowest)


@pytest.mark.parametrize("mode", [aggressive, standard, conservative])
def test_with_a_worker_for_everybody_and_equal_speeds_it_is_successive_halving(mode: Mode) -> None:
    planned = plan(150, 64, eta=3, mode=mode)
    scheduler = Scheduler(planned, SPACE, 0)
    errors = {
        (trial, rung): float(np.random.default_rng([trial, rung]).normal()) for trial in range(150) for rung in range(6)
    }
    while True:
        jobs = list(iter(scheduler.ask, None))
        if not jobs:
            break
        for job in jobs:
            scheduler.tell(job.trial, job.rung, errors[job.trial, job.rung])
    assert scheduler.finished
    for number, bracket in enumerate(planned.brackets):
        alive = list(scheduler.rung(number, 0).errors)
        for place in range(len(bracket.resources)):
            assert set(scheduler.rung(number, place).errors) == set(alive)
            assert len(alive) == planned.least_counts()[number][place]  # floor(n / eta), exactly
            alive = sorted(alive, key=lambda trial, at=place: errors[trial, at])[: len(alive) // planned.eta]  # type: ignore[misc]  # mypy cannot infer the default's type


def test_one_worker_promotes_whom_a_rule_at_arrival_promotes() -> None:
    # Determined's: who arrives among the best n / eta is promoted; else, if n / eta has grown, who stands last there
    for seed in range(50):
        rng = np.random.default_rng(seed)
        errors = rng.permutation(60).tolist()
        scheduler = Scheduler(Plan(4, (Bracket(60, (1, 4)),)), SPACE, 0)
        run(scheduler, lambda job, errors=errors: float(errors[job.trial]), workers=1)  # type: ignore[misc]  # as above
        standing: list[int] = []
        promoted: set[int] = set()
        for error in errors:
            standing = sorted([*standing, error])
            before, after = (len(standing) - 1) // 4, len(standing) // 4
            if standing.index(error) < after:
                promoted.add(error)
            elif after > before:
                promoted.add(standing[before])
        assert {errors[trial] for trial in scheduler.rung(0, 0).promoted} == promoted


def test_better_ones_that_come_later_are_promoted_beyond_the_share() -> None:
    # by hand, eta 4: trial 3 is the best of four; each later one is better than all before
    scheduler = Scheduler(Plan(4, (Bracket(8, (1, 4)),)), SPACE, 0)
    jobs = run(scheduler, lambda job: -float(job.trial), workers=1)
    assert [(job.trial, job.rung) for job in jobs if job.rung] == [(trial, 1) for trial in (3, 4, 5, 6, 7)]
    # all eight told first: two
    scheduler = Scheduler(Plan(4, (Bracket(8, (1, 4)),)), SPACE, 0)
    for job in [scheduler.ask() for _ in range(8)]:
        assert job is not None
        scheduler.tell(job.trial, 0, -float(job.trial))
    assert [job.trial for job in iter(scheduler.ask, None)] == [7, 6]


def told(outcomes: list[float | Failure], eta: int = 2) -> Scheduler:
    """A rung in which trial k has the k-th outcome, told in the opposite order."""
    scheduler = Scheduler(Plan(eta, (Bracket(len(outcomes), (1, 2)),)), SPACE, 0)
    for _ in outcomes:
        scheduler.ask()
    for trial, outcome in reversed(list(enumerate(outcomes))):
        scheduler.tell(trial, 0, outcome)
    return scheduler


def test_of_equal_errors_the_first_drawn_is_better_whoever_came_first() -> None:
    assert [job.trial for job in iter(told([0.5, 0.5, 0.5, 0.5]).ask, None)] == [0, 1]
    assert [job.trial for job in iter(told([0.5, 0.5, 0.25, -0.0, 0.0, 0.5]).ask, None)] == [3, 4, 2]


@pytest.mark.parametrize("worst", ERRORS[5:])
def test_failures_are_worst_and_never_promoted(worst: float | Failure) -> None:
    # five of six failed: three would be promoted, one can be
    scheduler = told([worst, worst, worst, 1e300, worst, worst])
    assert [job.trial for job in iter(scheduler.ask, None)] == [3]
    # they count in the size: of four, two are promoted
    assert [job.trial for job in iter(told([worst, 2.0, worst, 1.0]).ask, None)] == [3, 1]
    lost = told([worst] * 4)
    assert lost.ask() is None
    assert lost.finished
    assert lost.best() is None
    reasons = {one.failure for one in lost.outcomes()}
    assert len(reasons) == 1
    assert None not in reasons
    assert {one.error for one in lost.outcomes()} == {math.inf}


def test_a_trial_that_fails_above_keeps_its_error_below() -> None:
    scheduler = told([0.5, 0.75])
    job = scheduler.ask()
    assert job is not None
    scheduler.tell(job.trial, job.rung, Failure("killed"))
    assert scheduler.finished
    best = scheduler.best()
    assert best is not None
    assert (best.trial, best.rung, best.resource, best.error, best.failure) == (0, 0, 1, 0.5, None)
    assert [one.failure for one in scheduler.outcomes()] == [None, None, "killed"]


def test_the_best_is_of_the_least_error_then_of_more_resource_then_the_first() -> None:
    scheduler = told([0.5, 0.5, 0.75, 0.75])
    first = scheduler.best()
    assert first is not None
    assert (first.trial, first.rung) == (0, 0)
    one, other = scheduler.ask(), scheduler.ask()
    assert one is not None and other is not None
    scheduler.tell(other.trial, other.rung, 0.5)
    later = scheduler.best()
    assert later is not None
    assert (later.trial, later.rung, later.resource) == (1, 1, 2)
    scheduler.tell(one.trial, one.rung, 0.6)  # worse than it was
    assert scheduler.best() == later


def test_a_job_is_told_once_and_only_when_asked() -> None:
    scheduler = Scheduler(plan(28, 200), SPACE, 0)
    with pytest.raises(RunError, match="trial 0, rung 0 was told, but the trial has no job in flight"):
        scheduler.tell(0, 0, 0.5)
    job = scheduler.ask()
    assert job == Job(0, SPACE.draws(0).configuration(0), 0, 0, 0, 12)
    with pytest.raises(RunError, match="trial 0, rung 1 was told, but the trial is in flight for rung 0"):
        scheduler.tell(0, 1, 0.5)
    scheduler.tell(0, 0, 0.5)
    with pytest.raises(RunError, match="has no job in flight"):
        scheduler.tell(0, 0, 0.25)
    assert [one.error for one in scheduler.outcomes()] == [0.5]


def test_numbers_of_other_libraries_are_numbers_and_words_are_not() -> None:
    assert judged(np.float32(0.5)) == 0.5  # type: ignore[arg-type]  # what is tested
    assert judged(1) == 1.0
    with pytest.raises(ValueError, match="could not convert"):
        judged("good")  # type: ignore[arg-type]  # what is tested


def test_reasons_are_cut_and_can_be_written() -> None:
    assert Failure("x" * 2000).reason == "x" * 1000
    assert Failure("file \udc80").reason.encode() == b"file ?"
