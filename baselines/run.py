"""One run: a method on a task with a seed, from data to a result file."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from torch import nn

from nas360.baselines import ends
from nas360.baselines.algorithms.base import Found
from nas360.baselines.budget import Plan
from nas360.baselines.checkpoint import Checkpoints
from nas360.baselines.device import autocast_dtype, owned_randomness
from nas360.baselines.failure import TrainingError
from nas360.baselines.find import find, write_found
from nas360.baselines.folder import RunFolder, default_folder
from nas360.baselines.method import Method, get_method
from nas360.baselines.predict import predict
from nas360.baselines.record import Outcome, Searched, make_result
from nas360.baselines.request import Request, check_request
from nas360.baselines.search_arena import Sharing
from nas360.baselines.search_plan import SearchPlan
from nas360.baselines.spaces.base import Drawn, drawing
from nas360.baselines.train import Keeping, Training
from nas360.baselines.watch import Silent, Watcher
from nas360.errors import RunError
from nas360.evaluate import evaluate
from nas360.files import write_json, write_text
from nas360.loaders.base import Array
from nas360.loaders.data import TaskData
from nas360.loaders.scoring import load_references, score_file
from nas360.predictions import Predictions, write_predictions
from nas360.results import Failure, ResultFile, SeedRow, save_result
from nas360.seeding import derive
from nas360.task import SplitName


def run(
    method: str | Method,
    data: TaskData,
    seed: int = 0,
    out: str | Path | None = None,
    budget: str = "full",
    device: str = "auto",
    *,
    resume: bool = False,
    overwrite: bool = False,
    validate: bool = False,
    max_steps: int | None = None,
    watcher: Watcher | None = None,
    checkpoint_seconds: tuple[float, float] = (10.0, 120.0),
    executor: Executor | None = None,
    trial_threads: int | None = None,
    trial_seconds: float | None = None,
) -> ResultFile:
    """Run a method on a task: search if it does, train, predict the test split, score it, and write it all down.

    A search learns from the training split; what it finds is then trained from scratch. Training uses the splits of
    `spec.final_training`; test is read once, after the last step. The folder gets `predictions.npz`,
    `architecture.json`, `log.jsonl`, `checkpoint.pt` and, last, `result.json`, each of them whole or absent; a search
    adds `search.jsonl` and its checkpoints, a space that can draw `architecture.svg`. A run that was stopped, at
    whatever moment, goes on with `resume`; on the CPU its predictions are then equal to the bit to those of an unbroken
    run with the same number of threads.

    Args:
        method: a method or its name.
        data: the task's data.
        seed: owns every random draw, 0 ≤ seed < 2^63.
        out: the run's folder; `runs/<method>/<task>/seed<k>` by default.
        budget: `full`, `small` or `smoke`, see `budget.make_plan`.
        device: `auto`, `cpu` or `cuda`.
        resume: go on with an unfinished run; where there is none, begin.
        overwrite: replace whatever run the folder holds.
        validate: train on train alone and score validation instead of test, for development.
        max_steps: shorten the budgets `small` and `smoke` to at most so many steps.
        watcher: is told how it goes.
        checkpoint_seconds: age of the last checkpoint from which on a new one is written after an epoch, and after
            any step.
        executor: does the trials of a search that has independent ones, side by side, and nothing else; the result
            is that of a run without. Its workers must see the data and the run's folder under the same names.
        trial_threads: of torch in the executor's workers; by default as many as here. Equal numbers give results that
            are equal to the bit.
        trial_seconds: a trial that has not reached its rung after so long has failed; None: it may take any time.

    Returns:
        The result. A run that is finished already is not repeated.

    Raises:
        RunError: the method cannot run on the task, a value is out of range, the device is absent, or the folder
            holds another run, or this one with other predictions.
        TrainingError: the loss or the outputs stopped being finite; the result file says so too, and counts as
            finished.
        ResultError: the folder's result is damaged.
        UnknownNameError: there is no such method.
    """
    sharing, watcher = Sharing(executor, trial_threads, trial_seconds), watcher or Silent()
    request, folder = _begin(method, data, seed, out, budget, device, validate, max_steps)
    # a training that a search precedes is planned when its architecture is known
    plan = request.search_plan(budget, max_steps) or request.plan(budget, max_steps)
    with folder.locked():
        finished = folder.begin(request.header(plan), resume=resume, overwrite=overwrite)
        if finished is None:
            return _Run(request, plan, folder, watcher, checkpoint_seconds, sharing).perform()
        for row in finished.results:
            if isinstance(row, SeedRow) and row.failure is not None:
                raise RunError(
                    f"{folder.path} holds this run, which failed (stage {row.failure.stage}): {row.failure.message}. "
                    f"It would fail again; --overwrite repeats it all the same"
                )
        watcher.note(f"{folder.path} holds this run, finished; --overwrite repeats it")
        return finished


def search(
    method: str | Method,
    data: TaskData,
    seed: int = 0,
    out: str | Path | None = None,
    budget: str = "full",
    device: str = "auto",
    *,
    validate: bool = False,
    max_steps: int | None = None,
    watcher: Watcher | None = None,
    checkpoint_seconds: tuple[float, float] = (10.0, 120.0),
    executor: Executor | None = None,
    trial_threads: int | None = None,
    trial_seconds: float | None = None,
) -> Found | None:
    """The first half of a run alone, its search, begun or gone on with; `run` with `resume` does the other half.

    For the arguments and what is raised see `run`.

    Returns:
        What was found; None where there is nothing to search, or the run is finished.
    """
    sharing, watcher = Sharing(executor, trial_threads, trial_seconds), watcher or Silent()
    request, folder = _begin(method, data, seed, out, budget, device, validate, max_steps)
    plan = request.search_plan(budget, max_steps)
    if plan is None:
        return None
    with folder.locked():
        if folder.begin(request.header(plan), resume=True, overwrite=False) is not None:
            return None
        return _Run(request, plan, folder, watcher, checkpoint_seconds, sharing).search(plan).found


def _begin(
    method: str | Method,
    data: TaskData,
    seed: int,
    out: str | Path | None,
    budget: str,
    device: str,
    validate: bool,
    max_steps: int | None,
) -> tuple[Request, RunFolder]:
    """What is asked for, checked, and where it goes."""
    chosen = get_method(method) if isinstance(method, str) else method
    where = check_request(chosen, data.spec, seed, budget, device, max_steps)
    folder = RunFolder(Path(out) if out is not None else default_folder(chosen.id, data.spec.id, seed))
    return Request(chosen, data, seed, where, validate), folder


@dataclass(frozen=True)
class _Run:
    request: Request
    plan: Plan | SearchPlan
    folder: RunFolder
    watcher: Watcher
    checkpoint_seconds: tuple[float, float]
    sharing: Sharing

    def perform(self) -> ResultFile:
        """From the first step, or the last checkpoint, to the result file."""
        searched, plan = None, self.plan
        if isinstance(plan, SearchPlan):
            searched = self.search(plan)
            plan = self.request.plan(plan.budget, plan.max_steps, searched.found)
        self._tell(plan)
        training = self._training(plan)
        self._write_architecture(plan, searched)
        changes = [*(() if searched is None else searched.plan.changes), *plan.changes]
        self.folder.log.amend(changes=changes, **plan.public())
        try:
            outcome = self._outcome(plan, training)
        except TrainingError as error:
            self._fail(error, plan, Outcome(training.done, training.seconds), searched)
        result = make_result(self.request, plan, outcome, searched)
        save_result(self.folder.result, result)
        return result

    def search(self, plan: SearchPlan) -> Searched:
        """From the search's first step, or its last checkpoint, to what it finds."""
        self._tell(plan)
        try:
            found = find(self.request, plan, self.folder, self.watcher, self.checkpoint_seconds, self.sharing)
        except TrainingError as error:
            self._fail(error, plan, Outcome(), None)
        return Searched(plan, found)

    def _fail(
        self, error: TrainingError, plan: Plan | SearchPlan, outcome: Outcome, searched: Searched | None
    ) -> NoReturn:
        """Write down where and why the run ended."""
        failed = replace(outcome, failure=Failure(stage=error.stage, message=str(error)))
        save_result(self.folder.result, make_result(self.request, plan, failed, searched))
        raise error

    def _tell(self, plan: Plan | SearchPlan) -> None:
        if plan.changes:
            self.watcher.note(f"budget {plan.budget}: {'; '.join(plan.changes)}")

    def _training(self, plan: Plan) -> Training:
        request, folder = self.request, self.folder
        preprocessing = request.preprocessing
        with owned_randomness(derive(request.seed, "init"), request.device):
            network = request.method.space.build(plan.architecture, request.spec)
        checkpoints = Checkpoints(folder.path, request.identity(plan))
        return Training(
            model=ends.TaskModel(network, request.spec, preprocessing.output_scale).to(request.device),
            spec=request.spec,
            rows=request.data.rows(*request.training_splits),
            preprocessing=preprocessing,
            recipe=plan.recipe,
            steps=plan.steps,
            seed=request.seed,
            device=request.device,
            report_steps=plan.report_steps,
            keeping=Keeping(checkpoints, folder.log, *self.checkpoint_seconds),
            watcher=self.watcher,
            validate=self._validation(plan) if request.validate else None,
        )

    def _outcome(self, plan: Plan, training: Training) -> Outcome:
        data, split, path = self.request.data, self.request.scored_split, self.folder.predictions
        model = training.run()
        validation = self._validation(plan)(model) if self.request.validation_is_free else None
        began = time.monotonic()
        values = self._predict(plan, model, split)
        seconds = time.monotonic() - began
        write_predictions(path, data.rows(split).ids.tolist(), values)
        evaluation = score_file(path, data, split)
        return Outcome(training.done, training.seconds, seconds, path, evaluation, validation)

    def _validation(self, plan: Plan) -> Callable[[nn.Module], float]:
        references = load_references(self.request.data, "validation")

        def score(model: nn.Module) -> float:
            values = self._predict(plan, model, "validation")
            return evaluate(Predictions(tuple(references.ids), values), references, self.request.spec).score

        return score

    def _predict(self, plan: Plan, model: nn.Module, split: SplitName) -> Array | list[Array]:
        request, recipe = self.request, plan.recipe
        dtype = autocast_dtype(recipe.precision, request.device)
        rows, size = request.data.rows(split), recipe.batch_size
        return predict(model, rows, request.preprocessing, request.spec, request.device, size, self.watcher, dtype)

    def _write_architecture(self, plan: Plan, searched: Searched | None) -> None:
        """What is trained, and what was found; a picture of it where the space can draw."""
        space = self.request.method.space
        if isinstance(space, Drawn):
            write_text(
                self.folder.picture, drawing(space, plan.architecture, self.request.spec, str(plan.architecture))
            )
        content: dict[str, Any] = {
            "space": space.id,
            "architecture": space.to_json(plan.architecture),
            "parameters": plan.cost.parameters,
            "macs": plan.cost.macs,
            "search": None,
        }
        if searched is not None:
            content["search"] = write_found(searched.found, space, searched.plan.algorithm.id)
        write_json(self.folder.architecture, content)
