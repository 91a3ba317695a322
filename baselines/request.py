"""What a run is asked to do, checked before anything is read or written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from nas360.baselines import cost, ends
from nas360.baselines.budget import Plan, check_budget, make_plan
from nas360.baselines.device import choose_device, owned_randomness
from nas360.baselines.method import Method
from nas360.baselines.predict import inputs_a_row
from nas360.errors import RunError
from nas360.loaders.base import Preprocessing
from nas360.loaders.data import TaskData
from nas360.seeding import derive
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

    def plan(self, budget: str, max_steps: int | None) -> Plan:
        """What will be trained, and for how long; see `budget.make_plan`."""
        space, spec = self.method.space, self.spec
        first = space.default(spec)
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
            lambda architecture: measure(self.method, architecture, spec),
            n_train=len(training),
            n_predict=math.ceil(n_predict * a_row),
            dense=ends.is_dense(spec),
            max_steps=max_steps,
        )

    def identity(self, plan: Plan) -> dict[str, Any]:
        """What tells this run from others, as JSON values: equal identities give equal predictions."""
        return {
            "method": self.method.id,
            "method_version": self.method.version,
            "task": self.spec.id,
            "seed": self.seed,
            "budget": plan.budget,
            "data": self.data.content_hash,
            "trained_on": list(self.training_splits),
            "scored_on": self.scored_split,
            "architecture": self.method.space.to_json(plan.architecture),
            "recipe": plan.recipe.public(),
            "steps": plan.steps,
        }

    def header(self, plan: Plan) -> dict[str, Any]:
        """First line of the log: the identity, and the plan in words."""
        return {
            "identity": self.identity(plan),
            "steps_per_epoch": plan.steps_per_epoch,
            "parameters": plan.cost.parameters,
            "macs": plan.cost.macs,
            "changes": list(plan.changes),
        }


def measure(method: Method, architecture: Any, spec: TaskSpec) -> cost.Cost:
    """Cost of an architecture on a task, a sample; no random number is drawn from anybody."""
    with owned_randomness(derive(0, "measure"), torch.device("cpu")):
        network = method.space.build(architecture, spec)
    return cost.measure(ends.TaskModel(network, spec), spec)
