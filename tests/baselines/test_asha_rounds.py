"""Rounds of ASHA: whole rungs promote exactly the best, and where a search was stopped changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nas360.baselines.asha.brackets import Plan, aggressive, conservative, plan, standard
from nas360.baselines.asha.journal import journalled
from nas360.baselines.asha.rounds import expected, rounds
from nas360.baselines.asha.sampling import SamplingSpace
from nas360.baselines.asha.scheduler import Scheduler
from nas360.seeding import derive

PLANS = [plan(n, 64, mode=mode) for n in (1, 5, 16, 70) for mode in (aggressive, standard, conservative)]


def error_of(trial: int, rung: int) -> float:
    """A failure of one in five, noise for the others."""
    rng = derive(7, "error", trial, rung)
    return float("inf") if rng.random() < 0.2 else float(rng.random())


def halving(chosen: Plan, turns: list[int], keep: Callable[[int, int], float]) -> set[tuple[int, int]]:
    """Successive halving, all of it: (trial, rung) that are done."""
    done: set[tuple[int, int]] = set()
    for number, bracket in enumerate(chosen.brackets):
        here = [trial for trial, turn in enumerate(turns) if turn == number]
        for rung in range(len(bracket.resources)):
            done |= {(trial, rung) for trial in here}
            best = sorted(here, key=lambda trial: (keep(trial, rung), trial))[: len(here) // chosen.eta]
            here = [trial for trial in best if keep(trial, rung) < float("inf")]
    return done


@pytest.mark.parametrize("chosen", PLANS, ids=lambda one: f"{one.trials} in {len(one.brackets)}")
def test_whole_rungs_are_successive_halving(chosen: Plan) -> None:
    scheduler = Scheduler(chosen, SamplingSpace({}), 0)
    done = set()
    for jobs in rounds(scheduler.ask, scheduler):
        for job in reversed(jobs):  # the order does not matter
            scheduler.tell(job.trial, job.rung, error_of(job.trial, job.rung))
            assert (job.trial, job.rung) not in done
            done.add((job.trial, job.rung))
    assert scheduler.finished
    assert done == halving(chosen, list(chosen.turns()), error_of)
    assert len(done) <= expected(chosen).reports


@pytest.mark.parametrize("at_once", [None, 1, 3, 4])
def test_a_search_that_was_stopped_anywhere_has_the_same_rounds(at_once: int | None, tmp_path: Path) -> None:
    chosen = plan(9, 16, eta=2)

    def perform(path: Path, stop: int) -> list[tuple[str, int, int]]:
        """All events; stopped before the event of this number."""
        events: list[tuple[str, int, int]] = []
        with journalled(path, chosen, SamplingSpace({}), 0) as search:

            def ask() -> object:
                if len(events) == stop:
                    raise KeyboardInterrupt
                job = search.ask()
                if job is not None:
                    events.append(("ask", job.trial, job.rung))
                return job

            for jobs in rounds(ask, search.scheduler, at_once):  # type: ignore[arg-type]  # typed as an object above
                for job in jobs:
                    if len(events) == stop:
                        raise KeyboardInterrupt
                    search.tell(job.trial, job.rung, error_of(job.trial, job.rung))
                    events.append(("tell", job.trial, job.rung))
        return events

    whole = perform(tmp_path / "whole.jsonl", -1)
    for stop in range(len(whole)):
        path = tmp_path / f"{stop}.jsonl"
        with pytest.raises(KeyboardInterrupt):
            perform(path, stop)
        perform(path, -1)
        assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes(), f"stopped before event {stop}"


@pytest.mark.parametrize("at_once", [None, 1, 4])
def test_closed_trials_are_those_that_are_never_asked_again(at_once: int | None) -> None:
    for chosen in PLANS:
        scheduler = Scheduler(chosen, SamplingSpace({}), 0)
        closed: set[int] = set()
        for jobs in rounds(scheduler.ask, scheduler, at_once):
            assert not closed & {job.trial for job in jobs}
            for job in jobs:
                scheduler.tell(job.trial, job.rung, error_of(job.trial, job.rung))
                assert closed <= set(scheduler.closed())
                closed = set(scheduler.closed())
                assert not closed & {flying.trial for flying in scheduler.in_flight}
        assert closed == set(range(chosen.trials))


def test_fewer_at_once_promote_in_vain() -> None:
    chosen = plan(64, 64)
    least = expected(chosen)
    assert (least.resource, least.reports) == (64 + 16 * 3 + 4 * 12 + 48, 64 + 16 + 4 + 1)
    assert expected(chosen, 1).resource > expected(chosen, 16).resource > least.resource
    assert expected(chosen, 64) == least
