"""The result file of a run."""

from __future__ import annotations

import shlex
import sys
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from nas360.baselines.algorithms.base import Found
from nas360.baselines.budget import Plan
from nas360.baselines.device import autocast_dtype
from nas360.baselines.request import Request
from nas360.baselines.search_plan import SearchPlan
from nas360.evaluate import Evaluation
from nas360.files import sha256_file
from nas360.loaders.data import TaskData, datasets_root
from nas360.results import (
    Architecture,
    Cost,
    Dataset,
    Failure,
    Metric,
    Predictions,
    ResultFile,
    Rules,
    SeedRow,
    Submission,
    collect_environment,
    collect_package,
)
from nas360.results import Method as MethodRecord


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        steps: of the training that were done.
        train_seconds: of the training.
        infer_seconds: of the predictions; None when there are none.
        predictions: their file; None when there are none.
        evaluation: their score; None exactly when the run failed.
        validation: score on validation, where the model did not learn from it.
        failure: stage and message of a run that failed.
    """

    steps: int = 0
    train_seconds: float = 0.0
    infer_seconds: float | None = None
    predictions: Path | None = None
    evaluation: Evaluation | None = None
    validation: float | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class Searched:
    """A search that was done.

    Attributes:
        plan: of the search.
        found: what it came to.
    """

    plan: SearchPlan
    found: Found


def make_result(
    request: Request, plan: Plan | SearchPlan, outcome: Outcome, searched: Searched | None = None
) -> ResultFile:
    """The result file of a run, whether it failed or not.

    Args:
        request: of the run.
        plan: of the training; of the search, where that failed.
        outcome: of the training.
        searched: the search that led to the training.
    """
    method, device = request.method, request.device
    dtype = autocast_dtype(plan.recipe.precision, device)
    search = method.search
    return ResultFile(
        schema_version="1.0",
        run_id=str(uuid.uuid4()),
        created=datetime.now(UTC),
        submission=Submission(submitter="nas360", relationship="third_party", track="standard", status="self_reported"),
        method=MethodRecord(
            name=method.id,
            display_name=method.name,
            version=method.version,
            search_space=method.space.id,
            search_algorithm=None if search is None else search.algorithm.id,
            hpo=method.hpo,
            pretrained=False,
            external_data=False,
            command=command(request, plan),
        ),
        nas360=collect_package(),
        results=(_row(request, plan, outcome, searched),),
        environment=collect_environment(
            device="cuda" if device.type == "cuda" else "cpu",
            # training repeats itself on the CPU, see `train.Training`; on a GPU only if torch was told to
            deterministic=True if device.type == "cpu" else None,
            precision="float32" if dtype is None else str(dtype).removeprefix("torch."),
        ),
        rules=Rules(
            test_used_for_selection=False,
            val_merged_into_train="validation" in request.training_splits,
            seeds_tuned=False,
        ),
    )


def _row(request: Request, plan: Plan | SearchPlan, outcome: Outcome, searched: Searched | None) -> SeedRow:
    spec, data, space = request.spec, request.data, request.method.space
    evaluation = outcome.evaluation
    score = None if evaluation is None else evaluation.score
    units = data.manifest.splits[request.scored_split].units if evaluation is None else evaluation.n
    return SeedRow(
        task=spec.id,
        split=request.scored_split,
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
            n=units,
            provenance=data.provenance,
        ),
        seed=request.seed,
        status="ok" if outcome.failure is None else "failed",
        failure=outcome.failure,
        score=score,
        extra_metrics={} if evaluation is None else dict(evaluation.extra),
        validation_score=score if request.validate else outcome.validation,
        n_evaluated=0 if evaluation is None else units,
        n_missing=units if evaluation is None else 0,
        predictions=None
        if outcome.predictions is None
        else Predictions(
            path=outcome.predictions.name,
            format=outcome.predictions.suffix.removeprefix("."),
            sha256=sha256_file(outcome.predictions),
            n=len(data.rows(request.scored_split)),
        ),
        architecture=None
        if isinstance(plan, SearchPlan)
        else Architecture(
            space=space.id,
            id=str(plan.architecture),
            genotype=space.to_json(plan.architecture),
            params=plan.cost.parameters,
            macs=plan.cost.macs,
        ),
        cost=_cost(request, plan, outcome, searched),
        notes=". ".join((*(() if searched is None else searched.plan.changes), *plan.changes)),
    )


def _cost(request: Request, plan: Plan | SearchPlan, outcome: Outcome, searched: Searched | None) -> Cost:
    search_seconds = 0.0 if searched is None else searched.found.seconds
    # one GPU is used, or none
    gpu_seconds = search_seconds + outcome.train_seconds if request.device.type == "cuda" else 0.0
    return Cost(
        search_seconds=round(search_seconds, 3),
        train_seconds=round(outcome.train_seconds, 3),
        infer_seconds=None if outcome.infer_seconds is None else round(outcome.infer_seconds, 3),
        gpu_hours=round(gpu_seconds / 3600, 6),
        peak_mem_mb=peak_memory_mb(request.device),
        trials=None if searched is None else searched.found.facts.get("candidates"),
        epochs=round(outcome.steps / plan.steps_per_epoch, 4) if isinstance(plan, Plan) else 0.0,
        steps=outcome.steps,
    )


def command(request: Request, plan: Plan | SearchPlan) -> str:
    """What to type to make the result again."""
    words = ["nas360", "run", request.method.id, "--task", request.spec.id, *_data_option(request.data)]
    words += ["--seed", str(request.seed), "--budget", plan.budget, "--device", request.device.type]
    if plan.max_steps is not None:
        words += ["--max-steps", str(plan.max_steps)]
    if request.validate:
        words.append("--validate")
    return shlex.join(words)


def _data_option(data: TaskData) -> list[str]:
    if data.revision is not None:
        return ["--data", f"{data.source}@{data.revision}"]
    if Path(data.source) == datasets_root() / data.spec.id:
        return []  # where `run` looks by itself
    # a path from the root would tell of a user's machine; its last part tells which folder to put there
    path = Path(data.source)
    private = path.is_absolute() or data.source.startswith("~")
    return ["--data", path.name if private else data.source]


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
