"""What a run is asked to do, checked before anything is read or written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from nas360.baselines import cost, ends
from nas360.baselines.algorithms.base import Found
from nas360.baselines.budget import Plan, check_budget, make_plan
from nas360.baselines.device import choose_device
from nas360.baselines.method import Method
from nas360.baselines.predict import inputs_a_row
from nas360.baselines.search_plan import TRAINING_SHARE, SearchPlan, make_search_plan
from nas360.errors import RunError
from nas360.loaders.base import Preprocessing
from nas360.loaders.data import TaskData
from nas360.task import SplitName, TaskSpec

SEEDS = 2**63
"""Seeds are below this number, the most that a result file stores."""


def check_request(
    method: Method, spec: TaskSpec, seed: int, budget: str, device: str, max_steps: int | None
) -> torch.device:
    """Refuse what can never run; see `run.run` for the arguments. No data is needed.

    Returns:
        The device.

    Raises:
        RunError: the method cannot run on the task, a value is out of range, or the device is absent.
    """
    if not 0 <= seed < SEEDS:
        raise RunError(f"seed {seed} is not in the range 0 to {SEEDS - 1} (2^63 - 1); take another")
    method.check(spec)
    check_budget(budget, max_steps)
    return choose_device(device)


@dataclass(frozen=True)
class Request:
    """A method on a task's data with a seed.

    Attributes:
        method: what.
        data: on which data.
        seed: owns every random draw.
        device: where.
        validate: train on train alone and score validation instead of test.
    """

    method: Method
    data: TaskData
    seed: int
    device: torch.device
    validate: bool

    @property
    def spec(self) -> TaskSpec:
        """The task."""
        return self.data.spec

    @property
    def training_splits(self) -> tuple[SplitName, ...]:
        """What is trained on."""
        return ("train",) if self.validate else self.spec.final_training

    @property
    def scored_split(self) -> SplitName:
        """What is predicted and scored at the end."""
        return "validation" if self.validate else "test"

    @property
    def validation_is_free(self) -> bool:
        """Whether validation is neither trained on nor scored anyway, so that a score on it says something."""
        return not self.validate and "validation" not in self.training_splits

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """From rows to model inputs, fitted on the training rows; once, for the plan and the run."""
        return self.data.preprocessing(*self.training_splits)

    def search_plan(self, budget: str, max_steps: int | None) -> SearchPlan | None:
        """What will be searched, and for how long; None for a method without a search."""
        search, spec = self.method.search, self.spec
        if search is None:
            return None
        validation = self.data.rows("validation")
        a_row = inputs_a_row(validation, self.search_preprocessing, spec)
        return make_search_plan(
            budget,
            search,
            self.method.space,
            spec,
            n_train=len(self.data.rows("train")),
            n_validation=math.ceil(len(validation) * a_row),
            max_steps=max_steps,
        )

    @cached_property
    def search_preprocessing(self) -> Preprocessing:
        """From rows to model inputs for a search, which sees the training split alone."""
        return self.preprocessing if self.training_splits == ("train",) else self.data.preprocessing("train")

    def plan(self, budget: str, max_steps: int | None, found: Found | None = None) -> Plan:
        """What will be trained, and for how long; see `budget.make_plan`.

        Args:
            budget: its name.
            max_steps: the limit that was asked for.
            found: what a search came to; None: the space's default, by the method's recipe.
        """
        method, space, spec = self.method, self.method.space, self.spec
        first = space.default(spec) if found is None else found.architecture
        if found is not None and method.final is not None:
            first = method.final(found.architecture, spec)
        n_predict = len(self.data.rows(self.scored_split))
        if self.validation_is_free:
            n_predict += len(self.data.rows("validation"))
        training = self.data.rows(*self.training_splits)
        # judged by training rows: what is scored is not looked at before the training is over
        a_row = inputs_a_row(training, self.preprocessing, spec)
        return make_plan(
            budget,
            self.method.recipe_for(spec),
            (first, *space.narrower(first)),
            lambda architecture: cost.of(lambda: space.build(architecture, spec), spec),
            n_train=len(training),
            n_predict=math.ceil(n_predict * a_row),
            dense=ends.is_dense(spec),
            max_steps=max_steps,
            share=1.0 if method.search is None else TRAINING_SHARE,
            optimiser=None if found is None else found.optimiser,
        )

    def identity(self, plan: Plan | SearchPlan) -> dict[str, Any]:
        """What tells this run from others, as JSON values: equal identities give equal predictions.

        Args:
            plan: of the training; or of the search, before anything is found, from which all else follows.
        """
        own: dict[str, Any]
        if isinstance(plan, SearchPlan):
            own = {"search": plan.public(), "recipe": self.method.recipe_for(self.spec).public()}
        else:
            architecture = self.method.space.to_json(plan.architecture)
            own = {"architecture": architecture, "recipe": plan.recipe.public(), "steps": plan.steps}
        return {
            "method": self.method.id,
            "method_version": self.method.version,
            "task": self.spec.id,
            "seed": self.seed,
            "budget": plan.budget,
            "data": self.data.content_hash,
            "trained_on": list(self.training_splits),
            "scored_on": self.scored_split,
            **own,
        }

    def header(self, plan: Plan | SearchPlan) -> dict[str, Any]:
        """First line of the log: the identity, and the plan in words."""
        header: dict[str, Any] = {"identity": self.identity(plan), "changes": list(plan.changes)}
        # the training is planned when its architecture is known
        return header if isinstance(plan, SearchPlan) else header | plan.public()
