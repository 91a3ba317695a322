"""ASHA, the promoting kind: asked for the next job, told what came of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nas360.baselines.asha.brackets import Plan
from nas360.baselines.asha.rung import Rung
from nas360.baselines.asha.sampling import SamplingSpace
from nas360.errors import RunError

_MAX_REASON = 1000


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be trained next.

    Attributes:
        trial: its number, from 0 in the order of drawing.
        configuration: hyper-parameter → value; the same in every job of the trial.
        bracket: number of the bracket.
        rung: number of the rung in the bracket, from 0.
        resource_from: what the trial has spent already; above 0 its checkpoint is to be taken up.
        resource_to: what it is to have spent in all when it is judged.
    """

    trial: int
    configuration: dict[str, Any]
    bracket: int
    rung: int
    resource_from: int
    resource_to: int


@dataclass(frozen=True, slots=True)
class Failure:
    """What is told instead of an error when a job came to nothing.

    Attributes:
        reason: for people; cut to 1,000 characters.
    """

    reason: str

    def __post_init__(self) -> None:
        # half a surrogate pair, as in the name of a foreign file, could not be written anywhere
        reason = self.reason[:_MAX_REASON].encode("utf-8", "replace").decode()
        object.__setattr__(self, "reason", reason)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job came to.

    Attributes:
        trial: see `Job`.
        bracket: see `Job`.
        rung: see `Job`.
        resource: that the trial has spent in all.
        error: lower is better; infinite for a failure.
        failure: why it failed; None if it did not.
    """

    trial: int
    bracket: int
    rung: int
    resource: int
    error: float
    failure: str | None


class Scheduler:
    """Asynchronous successive halving.

    `ask` follows `get_job` of Algorithm 2. From the highest rung down, take the best |rung| / eta (rounded down) of
    those that reported there; if some of them have not been promoted, promote the best of these. Else draw a new trial,
    until the plan's number of trials has begun. How many jobs are in flight at a time is the caller's business.

    What the paper leaves open is decided so:

    - Several brackets: promotions of all of them go by the resource that they lead to, the largest first, then by the
      bracket's number; the bracket of a new trial follows from its number (`Plan.turns`).
    - Of equal errors, the trial that was drawn first is better.
    - A failure, and an error that is no finite number, is worse than any error. It counts in the size of its rung and
      is never promoted, so that where fewer than |rung| / eta did not fail, fewer are promoted.

    What has been promoted stays so. When better ones come later, more than |rung| / eta are promoted in the end: each
    was among the best |rung| / eta when its turn came. Determined, with which the reference tuned, promotes when a
    result arrives instead of when somebody asks. One worker sees no difference; of several, some have then promoted
    what has been overtaken by the time that they begin.

    Source: Li et al. 2018 (A System for Massively Parallel Hyperparameter Tuning), Algorithm 2.

    Not for several threads at once.

    Args:
        plan: brackets and their rungs.
        space: what configurations are drawn from.
        seed: of the configurations, ≥ 0; nothing else is random.
    """

    def __init__(self, plan: Plan, space: SamplingSpace, seed: int) -> None:
        self.plan, self.space, self.seed = plan, space, seed
        self._draws = space.draws(seed)
        self._rungs = [[Rung(plan.eta) for _ in bracket.resources] for bracket in plan.brackets]
        places = [(n, rung) for n, bracket in enumerate(plan.brackets) for rung in range(len(bracket.resources) - 1)]
        self._places = sorted(places, key=lambda at: (-plan.brackets[at[0]].resources[at[1] + 1], at[0]))
        self._turns = plan.turns()
        self._brackets: list[int] = []  # of every trial that has begun
        self._in_flight: dict[int, int] = {}  # trial → rung
        self._failures: dict[tuple[int, int], str] = {}  # trial, rung → reason
        self._best: tuple[float, int, int, int] | None = None  # error, minus resource, trial, rung
        self._asking = True

    def ask(self) -> Job | None:
        """The next job, which is in flight from now on; None when there is nothing to do until something is told."""
        for bracket, place in self._places:
            rung = self._rungs[bracket][place]
            trial = rung.promotable()
            if trial is not None:
                rung.promote(trial)
                return self._start(trial, place + 1)
        turn = next(self._turns, None)
        if turn is None:
            return None
        self._brackets.append(turn)
        return self._start(len(self._brackets) - 1, 0)

    def _start(self, trial: int, rung: int) -> Job:
        self._asking = True
        self._in_flight[trial] = rung
        return self._job(trial, rung)

    def _job(self, trial: int, rung: int) -> Job:
        bracket = self._brackets[trial]
        resources = self.plan.brackets[bracket].resources
        spent = resources[rung - 1] if rung else 0
        return Job(trial, self._draws.configuration(trial), bracket, rung, spent, resources[rung])

    def configuration(self, trial: int) -> dict[str, Any]:
        """Of a trial, hyper-parameter → value."""
        return self._draws.configuration(trial)

    def tell(self, trial: int, rung: int, outcome: float | Failure) -> None:
        """Say what came of a job.

        Args:
            trial: of the job.
            rung: of the job.
            outcome: validation error, lower is better; what is no finite number is a failure.

        Raises:
            RunError: no such job is in flight; nothing has changed then.
        """
        self.check(trial, rung)
        outcome = judged(outcome)
        error = math.inf if isinstance(outcome, Failure) else outcome
        del self._in_flight[trial]
        self._asking = False
        bracket = self._brackets[trial]
        self._rungs[bracket][rung].report(trial, error)
        if isinstance(outcome, Failure):
            self._failures[trial, rung] = outcome.reason
            return
        standing = (error, -self.plan.brackets[bracket].resources[rung], trial, rung)
        self._best = standing if self._best is None else min(self._best, standing)

    def check(self, trial: int, rung: int) -> None:
        """Whether a job is in flight.

        Raises:
            RunError: it is not.
        """
        flying = self._in_flight.get(trial)
        if flying is None or flying != rung:
            where = "has no job in flight" if flying is None else f"is in flight for rung {flying}"
            raise RunError(
                f"trial {trial}, rung {rung} was told, but the trial {where}. Tell what came of a job once, with the "
                f"trial and the rung that were asked"
            )

    @property
    def in_flight(self) -> tuple[Job, ...]:
        """Jobs that were asked and not told, in the order of asking."""
        return tuple(self._job(trial, rung) for trial, rung in self._in_flight.items())

    @property
    def asking(self) -> bool:
        """Whether nothing has been told since the last job was asked."""
        return self._asking

    @property
    def started(self) -> int:
        """Trials that have begun."""
        return len(self._brackets)

    @property
    def finished(self) -> bool:
        """Nothing is in flight, and nothing will ever be asked again."""
        waiting = any(self._rungs[bracket][place].promotable() is not None for bracket, place in self._places)
        return not self._in_flight and self.started == self.plan.trials and not waiting

    def rung(self, bracket: int, place: int) -> Rung:
        """A rung, to be looked at only."""
        return self._rungs[bracket][place]

    def closed(self) -> Iterator[int]:
        """Trials that will never be asked again, whatever is told."""
        for bracket, rungs in zip(self.plan.brackets, self._rungs, strict=True):
            coming = bracket.trials
            for place, rung in enumerate(rungs):
                top = place == len(rungs) - 1
                if not top and (len(rung.errors) < coming or rung.promotable() is not None):
                    # whoever failed here is not promoted, however many are still to come
                    yield from (trial for trial, error in rung.errors.items() if error == math.inf)
                    break
                yield from rung.errors.keys() - rung.promoted
                coming = len(rung.promoted)

    def outcomes(self) -> Iterator[Outcome]:
        """All that was told, bracket for bracket, rung for rung, in order of arrival."""
        for bracket, rungs in enumerate(self._rungs):
            for place, rung in enumerate(rungs):
                for trial in rung.errors:
                    yield self._outcome(trial, bracket, place)

    def _outcome(self, trial: int, bracket: int, rung: int) -> Outcome:
        resource, error = self.plan.brackets[bracket].resources[rung], self._rungs[bracket][rung].errors[trial]
        return Outcome(trial, bracket, rung, resource, error, self._failures.get((trial, rung)))

    def best(self) -> Outcome | None:
        """The least error so far; of equal ones that with more resource, then the first drawn. None before any.

        Rungs below the top count as well: nothing says that the top is reached by anybody (`Plan.least_counts`).
        """
        return (
            None if self._best is None else self._outcome(self._best[2], self._brackets[self._best[2]], self._best[3])
        )


def judged(outcome: float | Failure) -> float | Failure:
    """An outcome in one form: a finite number, or a failure.

    Example:
        >>> judged(float("nan"))
        Failure(reason='the error is nan, no finite number')
    """
    if isinstance(outcome, Failure):
        return outcome
    error = float(outcome)
    return error if math.isfinite(error) else Failure(f"the error is {error}, no finite number")
