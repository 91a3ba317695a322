"""One run: a method on a task with a seed, from data to a result file."""

from __future__ import annotations

import sys
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from nas360.baselines import cost, ends
from nas360.baselines.budget import Plan, make_plan
from nas360.baselines.device import autocast_dtype, choose_device, owned_randomness
from nas360.baselines.folder import RunFolder, default_folder
from nas360.baselines.method import Method, get_method
from nas360.baselines.predict import predict
from nas360.baselines.train import Keeping, Training
from nas360.baselines.watch import Silent, Watcher
from nas360.errors import RunError
from nas360.evaluate import Evaluation, evaluate
from nas360.files import sha256_file, write_json
from nas360.loaders.base import Preprocessing
from nas360.loaders.data import TaskData
from nas360.loaders.scoring import load_references, score_file
from nas360.predictions import Predictions, write_predictions
from nas360.results import (
    Architecture,
    Cost,
    Dataset,
    Metric,
    ResultFile,
    Rules,
    SeedRow,
    Submission,
    collect_environment,
    collect_package,
    save_result,
)
from nas360.results import Method as MethodRecord
from nas360.results import Predictions as PredictionsRecord
from nas360.seeding import derive
from nas360.task import SplitName, TaskSpec


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
        seed: owns every random draw, ≥ 0.
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
        RunError: the method cannot run on the task, the device is absent, the folder holds another run, or training
            failed.
        UnknownNameError: there is no such method.
    """
    chosen = get_method(method) if isinstance(method, str) else method
    if seed < 0:
        raise RunError(f"seed {seed} is negative; take 0 or more")
    chosen.check(data.spec)
    this = _Run(chosen, data, seed, choose_device(device), validate, watcher or Silent())
    folder = RunFolder(Path(out) if out is not None else default_folder(chosen.id, data.spec.id, seed))
    plan = this.plan(budget, max_steps)
    with folder.locked():
        finished = folder.begin(this.header(plan), resume=resume, overwrite=overwrite)
        if finished is not None:
            this.watcher.note(f"{folder.path} holds this run, finished; --overwrite repeats it")
            return finished
        return this.perform(plan, folder, checkpoint_seconds)


@dataclass(frozen=True)
class _Run:
    method: Method
    data: TaskData
    seed: int
    device: torch.device
    validate: bool
    watcher: Watcher

    @property
    def spec(self) -> TaskSpec:
        return self.data.spec

    @property
    def training_splits(self) -> tuple[SplitName, ...]:
        return ("train",) if self.validate else self.spec.final_training

    @property
    def scored_split(self) -> SplitName:
        return "validation" if self.validate else "test"

    @property
    def validation_is_free(self) -> bool:
        """Whether validation is neither trained on nor scored anyway, so that a score on it says something."""
        return not self.validate and "validation" not in self.training_splits

    def plan(self, budget: str, max_steps: int | None) -> Plan:
        space, spec = self.method.space, self.spec
        first = space.default(spec)
        n_predict = len(self.data.rows(self.scored_split))
        if self.validation_is_free:
            n_predict += len(self.data.rows("validation"))
        return make_plan(
            budget,
            self.method.recipe_for(spec),
            (first, *space.narrower(first)),
            lambda architecture: measure(self.method, architecture, spec),
            n_train=len(self.data.rows(*self.training_splits)),
            n_predict=n_predict,
            dense=ends.is_dense(spec),
            max_steps=max_steps,
        )

    def header(self, plan: Plan) -> dict[str, Any]:
        """First line of the log: what tells this run from others, and the plan in words."""
        return {
            "identity": {
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
            },
            "steps_per_epoch": plan.steps_per_epoch,
            "parameters": plan.cost.parameters,
            "macs": plan.cost.macs,
            "changes": list(plan.changes),
        }

    def perform(self, plan: Plan, folder: RunFolder, checkpoint_seconds: tuple[float, float]) -> ResultFile:
        preprocessing = self.data.preprocessing(*self.training_splits)
        with owned_randomness(derive(self.seed, "init"), self.device):
            network = self.method.space.build(plan.architecture, self.spec)
        training = Training(
            model=ends.TaskModel(network, self.spec, preprocessing.output_scale).to(self.device),
            spec=self.spec,
            rows=self.data.rows(*self.training_splits),
            preprocessing=preprocessing,
            recipe=plan.recipe,
            steps=plan.steps,
            seed=self.seed,
            device=self.device,
            report_steps=plan.report_steps,
            keeping=Keeping(folder.checkpoints, folder.log, *checkpoint_seconds),
            watcher=self.watcher,
            validate=self._validation(plan, preprocessing) if self.validate else None,
        )
        write_json(folder.architecture, self._architecture(plan))
        model = training.run()
        validation = self._validation(plan, preprocessing)(model) if self.validation_is_free else None
        began = time.monotonic()
        values = self._predict(model, self.scored_split, plan, preprocessing)
        seconds = time.monotonic() - began
        write_predictions(folder.predictions, self.data.rows(self.scored_split).ids.tolist(), values)
        evaluation = score_file(folder.predictions, self.data, self.scored_split)
        result = self._result(plan, folder, evaluation, validation, training.seconds, seconds)
        save_result(folder.result, result)
        return result

    def _validation(self, plan: Plan, preprocessing: Preprocessing) -> Any:
        references = load_references(self.data, "validation")

        def score(model: nn.Module) -> float:
            values = self._predict(model, "validation", plan, preprocessing)
            return evaluate(Predictions(tuple(references.ids), values), references, self.spec).score

        return score

    def _predict(
        self, model: nn.Module, split: SplitName, plan: Plan, preprocessing: Preprocessing
    ) -> npt.NDArray[Any]:
        dtype = autocast_dtype(plan.recipe.precision, self.device)
        rows, size = self.data.rows(split), plan.recipe.batch_size
        return predict(model, rows, preprocessing, self.spec, self.device, size, self.watcher, dtype)

    def _architecture(self, plan: Plan) -> dict[str, Any]:
        space = self.method.space
        return {
            "space": space.id,
            "architecture": space.to_json(plan.architecture),
            "parameters": plan.cost.parameters,
            "macs": plan.cost.macs,
        }

    def _result(
        self,
        plan: Plan,
        folder: RunFolder,
        evaluation: Evaluation,
        validation: float | None,
        train_seconds: float,
        infer_seconds: float,
    ) -> ResultFile:
        spec, data, method = self.spec, self.data, self.method
        dtype = autocast_dtype(plan.recipe.precision, self.device)
        row = SeedRow(
            task=spec.id,
            split=self.scored_split,
            metric=Metric(
                id=spec.metric,
                lower_is_better=spec.direction == "lower",
                unit=spec.unit,
                min=spec.bounds[0],
                max=spec.bounds[1],
            ),
            budget=plan.budget,
            dataset=Dataset(
                repo=data.source if data.revision is not None else Path(data.source).resolve().name,
                revision=data.revision,
                version=spec.protocol,
                content_sha256=data.content_hash,
                n=evaluation.n,
                provenance=data.provenance,
            ),
            seed=self.seed,
            score=evaluation.score,
            extra_metrics=dict(evaluation.extra),
            validation_score=evaluation.score if self.validate else validation,
            n_evaluated=evaluation.n,
            n_missing=0,
            predictions=PredictionsRecord(
                path=folder.predictions.name,
                format=folder.predictions.suffix.removeprefix("."),
                sha256=sha256_file(folder.predictions),
                n=len(data.rows(self.scored_split)),
            ),
            architecture=Architecture(
                space=method.space.id,
                genotype=method.space.to_json(plan.architecture),
                params=plan.cost.parameters,
                macs=plan.cost.macs,
            ),
            cost=Cost(
                search_seconds=0.0,
                train_seconds=round(train_seconds, 3),
                infer_seconds=round(infer_seconds, 3),
                peak_mem_mb=peak_memory_mb(self.device),
                epochs=round(plan.epochs, 4),
                steps=plan.steps,
            ),
            notes=". ".join(plan.changes),
        )
        return ResultFile(
            schema_version="1.0",
            run_id=str(uuid.uuid4()),
            created=datetime.now(UTC),
            submission=Submission(
                submitter="nas360", relationship="third_party", track="standard", status="self_reported"
            ),
            method=MethodRecord(
                name=method.id,
                display_name=method.name,
                version=method.version,
                search_space=method.space.id,
                search_algorithm=method.algorithm,
                pretrained=False,
                external_data=False,
                command=self._command(plan),
            ),
            nas360=collect_package(),
            results=(row,),
            environment=collect_environment(
                device="cuda" if self.device.type == "cuda" else "cpu",
                precision="float32" if dtype is None else str(dtype).removeprefix("torch."),
            ),
            rules=Rules(
                test_used_for_selection=False,
                val_merged_into_train="validation" in self.training_splits,
                seeds_tuned=False,
            ),
        )

    def _command(self, plan: Plan) -> str:
        command = f"nas360 run {self.method.id} --task {self.spec.id} --seed {self.seed} --budget {plan.budget}"
        if plan.max_steps is not None:
            command += f" --max-steps {plan.max_steps}"
        return command + (" --validate" if self.validate else "")


def measure(method: Method, architecture: Any, spec: TaskSpec) -> cost.Cost:
    """Cost of an architecture on a task, a sample; no random number is drawn from anybody."""
    with owned_randomness(derive(0, "measure"), torch.device("cpu")):
        network = method.space.build(architecture, spec)
    return cost.measure(ends.TaskModel(network, spec), spec)


def peak_memory_mb(device: torch.device) -> float | None:
    """Most memory that this process has held, in MiB: of the GPU on CUDA, else of the machine; None where unknown."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    if sys.platform == "win32":
        return None
    import resource  # Unix only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # kilobytes on Linux, bytes on macOS
    return round(peak / 2**20 if sys.platform == "darwin" else peak / 2**10, 1)
