"""Random search with early validation: short trainings of drawn architectures, the best on validation wins."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from nas360.baselines.algorithms.base import Arena, Found
from nas360.baselines.device import owned_randomness
from nas360.baselines.failure import TrainingError
from nas360.baselines.train import Training
from nas360.baselines.watch import Report, Silent
from nas360.errors import RunError
from nas360.seeding import derive


@dataclass(frozen=True)
class RandomSearch:
    """Draw, train a little, keep the best.

    The search's steps are shared out evenly. A candidate whose loss stops being finite is the worst there is; ties go
    to the one that was drawn first.

    Source: Li and Talwalkar 2019 (Random search and reproducibility for neural architecture search), section 3.1.

    Attributes:
        candidates: how many are drawn; fewer where each would have less than `least_steps`.
        id: short name.
        least_steps: that a candidate is trained at least.
    """

    candidates: int
    id: str = "random_search"
    least_steps: int = 4

    def __post_init__(self) -> None:
        if self.candidates < 1 or self.least_steps < 1:
            raise RunError(f"{self.candidates} candidates of {self.least_steps} steps: both must be at least 1")

    def search(self, space: Any, arena: Arena) -> Found:
        """See `Algorithm.search`; the space must be `Sampled`."""
        n = max(1, min(self.candidates, arena.steps // self.least_steps))
        steps = max(1, arena.steps // n)
        done = {} if arena.keeping is None else {entry["step"]: entry for entry in arena.keeping.log.entries()}
        seconds = 0.0
        tried: list[tuple[float, int, Any]] = []
        for number in range(n):
            architecture = space.sample(arena.spec, derive(arena.seed, "search", "candidate", number))
            known = done.get((number + 1) * steps)
            if known is None:
                error, spent = self._judge(space, architecture, arena, number, steps)
                if arena.keeping is not None:
                    arena.keeping.log.append(
                        {
                            "step": (number + 1) * steps,
                            "candidate": number,
                            "validation_error": error if math.isfinite(error) else None,
                            "architecture": space.to_json(architecture),
                            "seconds": round(spent, 3),
                        }
                    )
            else:
                error, spent = known["validation_error"], float(known["seconds"])
                error = math.inf if error is None else error
            seconds += spent
            tried.append((error, number, architecture))
            step, lr = (number + 1) * steps, arena.recipe.optimiser.lr
            arena.watcher.report(Report(step, n * steps, number + 1.0, math.nan, lr, error, seconds))
        error, number, best = min(tried, key=lambda one: one[:2])
        if not math.isfinite(error):
            raise TrainingError("search", f"none of {n} candidates could be trained. Lower the search's learning rate")
        return Found(best, n * steps, seconds, {"candidates": n, "chosen": number, "validation_error": error})

    def _judge(self, space: Any, architecture: Any, arena: Arena, number: int, steps: int) -> tuple[float, float]:
        """Validation error after a short training, and its seconds."""
        seed = int(derive(arena.seed, "search", "training", number).integers(2**62))
        with owned_randomness(derive(seed, "init"), arena.device):
            model = arena.model(space.build(architecture, arena.spec))
        training = Training(
            model=model,
            spec=arena.spec,
            rows=arena.rows,
            preprocessing=arena.preprocessing,
            recipe=replace(arena.recipe, batch_size=min(arena.recipe.batch_size, len(arena.rows))),
            steps=steps,
            seed=seed,
            device=arena.device,
            report_steps=steps,
            watcher=_Counting(arena, number * steps),
        )
        try:
            trained = training.run()
        except TrainingError:
            return math.inf, training.seconds
        error = arena.error(trained.eval())
        return (error if math.isfinite(error) else math.inf), training.seconds


class _Counting(Silent):
    """Passes a candidate's steps on as the search's."""

    def __init__(self, arena: Arena, offset: int) -> None:
        self._arena, self._offset = arena, offset

    def step(self, done: int, total: int, stage: str) -> None:
        """A step of the candidate."""
        self._arena.watcher.step(self._offset + done, self._arena.steps, "search")
