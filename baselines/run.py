"""One run: a method on a task with a seed, from data to a result file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from nas360.baselines import ends
from nas360.baselines.budget import Plan
from nas360.baselines.checkpoint import Checkpoints
from nas360.baselines.device import autocast_dtype, owned_randomness
from nas360.baselines.failure import TrainingError
from nas360.baselines.folder import RunFolder, default_folder
from nas360.baselines.method import Method, get_method
from nas360.baselines.predict import predict
from nas360.baselines.record import Outcome, make_result
from nas360.baselines.request import Request, check_request
from nas360.baselines.train import Keeping, Training
from nas360.baselines.watch import Silent, Watcher
from nas360.errors import RunError
from nas360.evaluate import evaluate
from nas360.files import write_json
from nas360.loaders.base import Array, Preprocessing
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
) -> ResultFile:
    """Train a method on a task, predict the test split, score it, and write it all down.

    Training uses the splits of `spec.final_training`; test is read once, after the last step. The folder gets
    `predictions.npz`, `architecture.json`, `log.jsonl`, `checkpoint.pt` and, last, `result.json`, each of them whole
    or absent. A run that was stopped, at whatever moment, goes on with `resume`; on the CPU its predictions are then
    equal to the bit to those of an unbroken run with the same number of threads.

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
    chosen = get_method(method) if isinstance(method, str) else method
    where = check_request(chosen, data.spec, seed, budget, device, max_steps)
    request, watcher = Request(chosen, data, seed, where, validate), watcher or Silent()
    folder = RunFolder(Path(out) if out is not None else default_folder(chosen.id, data.spec.id, seed))
    plan = request.plan(budget, max_steps)
    with folder.locked():
        finished = folder.begin(request.header(plan), resume=resume, overwrite=overwrite)
        if finished is None:
            if plan.changes:
                watcher.note(f"budget {plan.budget}: {'; '.join(plan.changes)}")
            return _Run(request, plan, folder, watcher).perform(checkpoint_seconds)
        for row in finished.results:
            if isinstance(row, SeedRow) and row.failure is not None:
                raise RunError(
                    f"{folder.path} holds this run, which failed (stage {row.failure.stage}): {row.failure.message}. "
                    f"It would fail again; --overwrite repeats it all the same"
                )
        watcher.note(f"{folder.path} holds this run, finished; --overwrite repeats it")
        return finished


@dataclass(frozen=True)
class _Run:
    request: Request
    plan: Plan
    folder: RunFolder
    watcher: Watcher

    def perform(self, checkpoint_seconds: tuple[float, float]) -> ResultFile:
        """From the first step, or the last checkpoint, to the result file."""
        request, plan, folder = self.request, self.plan, self.folder
        preprocessing = request.preprocessing
        with owned_randomness(derive(request.seed, "init"), request.device):
            network = request.method.space.build(plan.architecture, request.spec)
        training = Training(
            model=ends.TaskModel(network, request.spec, preprocessing.output_scale).to(request.device),
            spec=request.spec,
            rows=request.data.rows(*request.training_splits),
            preprocessing=preprocessing,
            recipe=plan.recipe,
            steps=plan.steps,
            seed=request.seed,
            device=request.device,
            report_steps=plan.report_steps,
            keeping=Keeping(Checkpoints(folder.path, request.identity(plan)), folder.log, *checkpoint_seconds),
            watcher=self.watcher,
            validate=self._validation(preprocessing) if request.validate else None,
        )
        write_json(folder.architecture, self._architecture())
        try:
            outcome = self._outcome(training, preprocessing)
        except TrainingError as error:
            failure = Failure(stage=error.stage, message=str(error))
            outcome = Outcome(training.done, training.seconds, failure=failure)
            save_result(folder.result, make_result(request, plan, outcome))
            raise
        result = make_result(request, plan, outcome)
        save_result(folder.result, result)
        return result

    def _outcome(self, training: Training, preprocessing: Preprocessing) -> Outcome:
        data, split, path = self.request.data, self.request.scored_split, self.folder.predictions
        model = training.run()
        validation = self._validation(preprocessing)(model) if self.request.validation_is_free else None
        began = time.monotonic()
        values = self._predict(model, split, preprocessing)
        seconds = time.monotonic() - began
        write_predictions(path, data.rows(split).ids.tolist(), values)
        evaluation = score_file(path, data, split)
        return Outcome(training.done, training.seconds, seconds, path, evaluation, validation)

    def _validation(self, preprocessing: Preprocessing) -> Callable[[nn.Module], float]:
        references = load_references(self.request.data, "validation")

        def score(model: nn.Module) -> float:
            values = self._predict(model, "validation", preprocessing)
            return evaluate(Predictions(tuple(references.ids), values), references, self.request.spec).score

        return score

    def _predict(self, model: nn.Module, split: SplitName, preprocessing: Preprocessing) -> Array | list[Array]:
        request, recipe = self.request, self.plan.recipe
        dtype = autocast_dtype(recipe.precision, request.device)
        rows = request.data.rows(split)
        return predict(model, rows, preprocessing, request.spec, request.device, recipe.batch_size, self.watcher, dtype)

    def _architecture(self) -> dict[str, Any]:
        space, plan = self.request.method.space, self.plan
        return {
            "space": space.id,
            "architecture": space.to_json(plan.architecture),
            "parameters": plan.cost.parameters,
            "macs": plan.cost.macs,
        }
