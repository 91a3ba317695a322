"""Rounds: some jobs are asked, all of them are done, all are told, and so on.

Within a round it does not matter which job is done where, or when: what comes of a search is the same with one worker
and with many, quick and slow ones, as long as the rounds are as large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from nas360.baselines.asha.brackets import Plan
from nas360.baselines.asha.sampling import SamplingSpace
from nas360.baselines.asha.scheduler import Job, Scheduler
from nas360.seeding import derive

PLAYS = 16
"""Searches that are played to know what one takes on average."""


def rounds(ask: Callable[[], Job | None], state: Scheduler, at_once: int | None = None) -> Iterator[list[Job]]:
    """The jobs of a search, round by round; what came of each is to be told before the next round is taken.

    A search that was taken up from its journal begins with what is left of its last round.

    Args:
        ask: of the search.
        state: of the search.
        at_once: jobs of a round; None: as many as there are. With that, the results of a rung are all told before the
            first promotion out of it, so that exactly the best are promoted.
    """
    if not state.asking and state.in_flight:
        yield list(islice(iter(ask, None), len(state.in_flight)))
    while jobs := list(islice(iter(ask, None), at_once)):
        yield jobs


@dataclass(frozen=True)
class Expected:
    """What a search takes.

    Attributes:
        resource: of all trials together.
        reports: results that are told.
    """

    resource: int
    reports: int


def expected(plan: Plan, at_once: int | None = None) -> Expected:
    """What a search takes: exactly where whole rungs are rounds, else the mean of some whose trials come in any order.

    Args:
        plan: of the search.
        at_once: see `rounds`.

    Example:
        >>> from nas360.baselines.asha.brackets import plan
        >>> expected(plan(28, 200)), expected(plan(28, 200), at_once=1)
        (Expected(resource=752, reports=36), Expected(resource=978, reports=38))
    """
    if at_once is None:
        return Expected(plan.least_resource(), sum(map(sum, plan.least_counts())))
    resource = reports = 0
    for play in range(PLAYS):
        scheduler = Scheduler(plan, SamplingSpace({}), play)
        errors = derive(play, "asha", "played").random(plan.trials).tolist()
        for jobs in rounds(scheduler.ask, scheduler, at_once):
            for job in jobs:
                scheduler.tell(job.trial, job.rung, errors[job.trial])
                resource += job.resource_to - job.resource_from
                reports += 1
    return Expected(round(resource / PLAYS), round(reports / PLAYS))
