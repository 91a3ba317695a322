"""Hyper-parameters tuned by ASHA: many configurations are trained a little, the best of them further."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from nas360.baselines import cost
from nas360.baselines.algorithms.base import Arena, Found, Price, Size
from nas360.baselines.algorithms.configuration import OPTIMISER, architecture_of, default_of, optimiser_of, told
from nas360.baselines.algorithms.trial_workers import SharedTrials
from nas360.baselines.algorithms.trials import TrialLog, Trials
from nas360.baselines.asha import brackets
from nas360.baselines.asha.brackets import Bracket, Mode, Plan
from nas360.baselines.asha.journal import journalled
from nas360.baselines.asha.rounds import expected, rounds
from nas360.baselines.asha.sampling import SamplingSpace
from nas360.baselines.asha.scheduler import Job, Outcome, Scheduler
from nas360.baselines.failure import TrainingError
from nas360.baselines.recipe import Recipe
from nas360.baselines.watch import Report
from nas360.errors import RunError
from nas360.task import TaskSpec

ModeName = Literal["aggressive", "standard", "conservative"]
MODES: Mapping[ModeName, Mode] = {
    "aggressive": brackets.aggressive,
    "standard": brackets.standard,
    "conservative": brackets.conservative,
}

JOURNAL = "journal.jsonl"

SHRINKS = 4
"""How many sizes of smaller networks a small budget may fall back on."""

SHORT_RUNGS = 2
"""Rungs of a search whose steps are too few for the method's own."""


@dataclass(frozen=True)
class AshaTuning:
    """ASHA over the hyper-parameters of a training; the network is the space's default one, but for its dropout.

    A trial is the whole training of its configuration, with the learning-rate schedule of the whole, of which the steps
    up to a rung are done; a promoted one goes on from there. With a schedule that begins with a constant rate for most
    of the way to the highest rung, as that of the Wide ResNet, decisions are taken at the initial learning rate, like
    those of the reference. The best configuration is that of the least validation error at any rung; of equal ones, at
    the higher.

    All jobs that are due are asked before the first is told (`at_once`), that is, ASHA as with a worker for every
    trial. So the steps are known beforehand, no trial is promoted that is not among the best, and the result does not
    hang on the number of workers or on their speed. With fewer at once ASHA promotes early, some of it in vain:
    with one, 28 trials take a third more epochs. The reference had four at once.

    A search of fewer steps than its own has two rungs, at a quarter of a training and at its end, which lie behind the
    rise of a schedule that warms up, and as many of the trials as can have `least_steps` each; whatever `at_once` says,
    its rungs are whole rounds, so that it holds to its steps.

    Source: Li et al. 2018 (A System for Massively Parallel Hyperparameter Tuning), Algorithm 2, for ASHA; Determined's
    `adaptive_asha`, with which NAS-Bench-360 tuned, for rungs and brackets (`asha.brackets.plan`).

    Attributes:
        space: what configurations are drawn from; `configuration.OPTIMISER` and fields of the architecture.
        trials: configurations.
        mode: which brackets there are.
        eta: one trial in so many is promoted.
        max_rungs: of a bracket, at most.
        at_once: jobs that are asked before the first of them is told; None: all that are due.
        shrink: trials are of a smaller network, so many steps down `Space.narrower`.
        least_steps: of every trial, where a search of fewer steps has fewer trials.
        default_first: trial 0 is the recipe as it is, so that what is found is on validation no worse than that.
        id: short name.
    """

    space: SamplingSpace
    trials: int = 16
    mode: ModeName = "aggressive"
    eta: int = 4
    max_rungs: int = 5
    at_once: int | None = None
    shrink: int = 0
    least_steps: int = 25
    default_first: bool = False
    id: str = "asha"

    def __post_init__(self) -> None:
        if self.mode not in get_args(ModeName):
            raise RunError(f"mode {self.mode!r} of ASHA is none of {', '.join(get_args(ModeName))}")
        counts = {name: getattr(self, name) for name in ("trials", "max_rungs", "least_steps", "at_once")}
        wrong = [f"{name} {value}" for name, value in counts.items() if value is not None and value < 1]
        wrong += [f"eta {self.eta}"] if self.eta < 2 else []
        wrong += [f"shrink {self.shrink}"] if self.shrink < 0 else []
        if wrong:
            raise RunError(f"{', '.join(wrong)}: eta must be at least 2, shrink 0, and the others 1")

    def _plan(self, trials: int, resource: int, max_rungs: int) -> Plan:
        return brackets.plan(trials, resource, eta=self.eta, max_rungs=max_rungs, mode=MODES[self.mode])

    def whole(self, recipe: Recipe, n_train: int) -> Plan:
        """The method's own brackets, with resources in steps; rungs are whole epochs."""
        epochs = self._plan(self.trials, recipe.epochs, self.max_rungs)
        steps = n_train // min(recipe.batch_size, n_train)
        return replace(
            epochs,
            brackets=tuple(Bracket(one.trials, tuple(steps * r for r in one.resources)) for one in epochs.brackets),
        )

    def fitted(self, recipe: Recipe, n_train: int, steps: int, looks: int) -> Plan:
        """The brackets of a search, with resources in steps.

        Args:
            recipe: of the trials.
            n_train: training rows.
            steps: of all trials together.
            looks: how often validation may be asked.
        """
        whole = self.whole(recipe, n_train)
        needed = expected(whole, self.at_once)
        if needed.resource <= steps and needed.reports <= looks:
            return whole
        longest = whole.brackets[0].resources[-1]
        for trials in range(min(self.trials, looks), 1, -1):
            shortest = self.least_steps * (self.eta if trials >= self.eta else 1)
            plans = range(shortest, min(steps, longest) + 1)
            resources = partial(self._short, trials)
            found = bisect_right(plans, steps, key=lambda resource: resources(resource).least_resource())
            if found and expected(resources(plans[found - 1])).reports <= looks:
                return resources(plans[found - 1])
        trials = min(2, self.trials, looks, steps)
        return self._plan(trials, min(longest, steps // trials), 1)

    def _short(self, trials: int, resource: int) -> Plan:
        return self._plan(trials, resource, min(self.max_rungs, SHORT_RUNGS))

    def steps(self, recipe: Recipe, n_train: int) -> int:
        """See `Algorithm.steps`; a trial that reaches the highest rung is trained for the recipe's epochs."""
        return expected(self.whole(recipe, n_train), self.at_once).resource

    def price(self, space: Any, spec: TaskSpec) -> Price:
        """See `Algorithm.price`; all configurations cost the same."""
        each = cost.of(partial(space.build, self.judged(space, space.default(spec)), spec), spec)
        # how many rungs there are hangs on the epochs, which are not told here
        plans = [self._plan(self.trials, self.eta**rungs, self.max_rungs) for rungs in range(self.max_rungs)]
        looks = max(expected(plan, self.at_once).reports for plan in plans)
        step = cost.TRAINING * cost.START * each.operations
        return Price(row=cost.TRAINING * each.work, look=each.work, looks=looks, step=step)

    def size(self, space: Any, spec: TaskSpec) -> Size:
        """See `Algorithm.size`; nothing is shared."""
        return Size()

    def narrower(self) -> tuple[AshaTuning, ...]:
        """Trials of smaller networks; that there are fewer of them follows from the steps."""
        return tuple(replace(self, shrink=self.shrink + more) for more in range(1, 1 + SHRINKS))

    def judged(self, space: Any, architecture: Any) -> Any:
        """The network of a trial."""
        smaller = (architecture, *space.narrower(architecture))
        return smaller[min(self.shrink, len(smaller) - 1)]

    def search(self, space: Any, arena: Arena) -> Found:
        """See `Algorithm.search`; what is found is the architecture and the optimiser."""
        plan = self.fitted(arena.recipe, len(arena.rows), arena.steps, arena.looks)
        configurations = self._configurations(space, arena)
        with ExitStack() as stack:
            if arena.keeping is None:
                # what is promoted goes on from a file all the same
                folder, about = Path(stack.enter_context(TemporaryDirectory())), {}
            else:
                folder, about = arena.keeping.checkpoints.folder, dict(arena.keeping.checkpoints.identity)
            scheduler = stack.enter_context(journalled(folder / JOURNAL, plan, configurations, arena.seed, about))
            state = scheduler.scheduler
            trials = Trials(arena, partial(self._network, space, arena.spec), plan, folder, about)
            log = TrialLog(arena, partial(self._architecture, space, arena.spec), trials.steps_per_epoch)
            log.take_up(state, configurations, arena.seed)
            shared = None if arena.workers is None else SharedTrials(trials, arena.workers)
            for jobs in rounds(scheduler.ask, state, self._at_once(plan, arena)):
                trials.forget(state.closed())
                done = trials.done(jobs, log) if shared is None else shared.done(jobs, log)
                for job, came in done:
                    log.add(job, came.outcome, max(0.0, came.seconds - log.seconds_of(job.trial)))
                    scheduler.tell(job.trial, job.rung, came.outcome)
                    self._report(arena, state, job, log)
                    trials.forget(state.closed())
            trials.forget(state.closed())
            return self._found(space, arena, state, log)

    def _at_once(self, plan: Plan, arena: Arena) -> int | None:
        return self.at_once if plan == self.whole(arena.recipe, len(arena.rows)) else None

    def _configurations(self, space: Any, arena: Arena) -> SamplingSpace:
        if not self.default_first:
            return self.space
        first = default_of(self.space.dimensions, arena.recipe.optimiser, space.default(arena.spec))
        return replace(self.space, first=first)

    def _architecture(self, space: Any, spec: TaskSpec, configuration: Mapping[str, Any]) -> dict[str, Any]:
        content: dict[str, Any] = space.to_json(architecture_of(space.default(spec), configuration))
        return content

    def _network(self, space: Any, spec: TaskSpec, configuration: Mapping[str, Any]) -> Any:
        """A network as a trial has it, initialised from torch's current generator."""
        return space.build(self.judged(space, architecture_of(space.default(spec), configuration)), spec)

    def _report(self, arena: Arena, state: Scheduler, job: Job, log: TrialLog) -> None:
        best = state.best()
        shown = {"trial": f"{job.trial}: {told(job.configuration)}"}
        if best is not None:
            epochs = best.resource / log.steps_per_epoch
            configuration = told(state.configuration(best.trial))
            shown["best"] = (
                f"trial {best.trial}, validation error {best.error:.4f} after {epochs:g} epochs: {configuration}"
            )
        error = state.rung(job.bracket, job.rung).errors[job.trial]
        lr = job.configuration.get("lr", arena.recipe.optimiser.lr)
        epoch = log.steps / log.steps_per_epoch
        finite = error if math.isfinite(error) else None
        total = max(arena.steps, log.steps)
        arena.watcher.report(Report(log.steps, total, epoch, math.nan, lr, finite, log.seconds, "search", shown))

    def _default(self, state: Scheduler) -> dict[str, Any]:
        """What the recipe as it is came to, at the highest rung that it reached, and the least error there."""
        last = [outcome for outcome in state.outcomes() if outcome.trial == 0][-1]
        peers = state.rung(last.bracket, last.rung).errors
        return {
            "trial": 0,
            "configuration": state.configuration(0),
            "step": last.resource,
            "validation_error": last.error if last.failure is None else None,
            "best_there": min(peers.values()) if last.failure is None else None,
        }

    def _found(self, space: Any, arena: Arena, state: Scheduler, log: TrialLog) -> Found:
        best: Outcome | None = state.best()
        if best is None:
            first = next(outcome.failure for outcome in state.outcomes())
            raise TrainingError(
                "search",
                f"none of {state.started} trials could be trained, the first one for this: {first}. Lower the learning "
                f"rates that are tried, if that is why",
            )
        configuration = state.configuration(best.trial)
        rungs = [
            {"steps": steps, "trials": len(state.rung(number, place).errors)}
            for number, bracket in enumerate(state.plan.brackets)
            for place, steps in enumerate(bracket.resources)
        ]
        facts = {
            "candidates": state.started,
            "chosen": best.trial,
            "chosen_at_step": best.resource,
            "validation_error": best.error,
            "failed": sum(outcome.failure is not None for outcome in state.outcomes()),
            "configuration": configuration,
            "rungs": rungs,
        }
        if self.default_first:
            facts["default"] = self._default(state)
        architecture = architecture_of(space.default(arena.spec), configuration)
        tuned = any(name in OPTIMISER for name in configuration)
        optimiser = optimiser_of(arena.recipe.optimiser, configuration) if tuned else None
        return Found(architecture, log.steps, log.seconds, facts, optimiser)
