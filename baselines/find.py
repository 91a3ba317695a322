"""The first half of a run whose method searches: from training data to an architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from nas360.baselines.algorithms.base import Arena, Found
from nas360.baselines.checkpoint import Checkpoints
from nas360.baselines.device import autocast_dtype
from nas360.baselines.failure import TrainingError
from nas360.baselines.folder import RunFolder
from nas360.baselines.predict import predict
from nas360.baselines.recipe import Optimiser
from nas360.baselines.request import Request
from nas360.baselines.search_plan import SearchPlan
from nas360.baselines.spaces.base import Space
from nas360.baselines.train import Keeping
from nas360.baselines.values import plain
from nas360.baselines.watch import Silent, Watcher
from nas360.errors import RunError
from nas360.evaluate import evaluate
from nas360.files import MIB, read_json
from nas360.loaders.scoring import load_references
from nas360.predictions import Predictions


def find(
    request: Request, plan: SearchPlan, folder: RunFolder, watcher: Watcher, checkpoint_seconds: tuple[float, float]
) -> Found:
    """Search, from wherever the last checkpoint left it; a search that is finished is not repeated.

    The training split alone is learnt from, whatever the final training uses; validation is looked at, test is not.

    Args:
        request: of the run.
        plan: of the search.
        folder: of the run; its `architecture.json` says that the search is over.
        watcher: is told.
        checkpoint_seconds: see `run.run`.

    Raises:
        TrainingError: the search lost its way.
        RunError: `architecture.json` is damaged.
    """
    space = request.method.space
    if folder.architecture.exists():
        return read_found(folder.architecture, space)
    log, identity = folder.search_log, request.identity(plan)
    header = log.header()
    if header is not None and header["identity"] != identity:
        watcher.note(f"{log.path} is of another search and is begun anew")
        header = None
    if header is None:
        log.start({"identity": identity})
    checkpoints = Checkpoints(folder.search_checkpoints.folder, identity)
    arena = Arena(
        spec=request.spec,
        rows=request.data.rows("train"),
        preprocessing=request.search_preprocessing,
        recipe=plan.recipe,
        steps=plan.steps,
        seed=request.seed,
        device=request.device,
        validation=request.data.rows("validation"),
        error=_error(request, plan),
        looks=plan.looks,
        keeping=Keeping(checkpoints, log, *checkpoint_seconds),
        watcher=watcher,
    )
    return plan.algorithm.search(space, arena)


def _error(request: Request, plan: SearchPlan) -> Callable[[nn.Module], float]:
    """From a model to its error on validation; raises TrainingError where its outputs are not finite."""
    references, rows = load_references(request.data, "validation"), request.data.rows("validation")
    spec, device, recipe = request.spec, request.device, plan.recipe
    dtype = autocast_dtype(recipe.precision, device)

    def error(model: nn.Module) -> float:
        size = recipe.batch_size
        try:
            values = predict(model, rows, request.search_preprocessing, spec, device, size, Silent(), dtype)
        except TrainingError as cause:
            raise TrainingError(
                "search",
                "a network under search gives outputs that are not finite. Lower the learning rate of the search's "
                "recipe, or set clip_norm",
            ) from cause
        return spec.error(evaluate(Predictions(tuple(references.ids), values), references, spec).score)

    return error


def write_found(found: Found, space: Space[Any], algorithm: str) -> dict[str, Any]:
    """What a search came to, as JSON values."""
    return {
        "algorithm": algorithm,
        "architecture": space.to_json(found.architecture),
        "steps": found.steps,
        "seconds": round(found.seconds, 3),
        "facts": dict(found.facts),
        "optimiser": None if found.optimiser is None else plain(vars(found.optimiser)),
    }


def read_found(path: Path, space: Space[Any]) -> Found:
    """The search in an `architecture.json`.

    Raises:
        RunError: there is none.
    """
    try:
        search: Any = read_json(path, MIB, RunError)["search"]
        architecture, facts = space.from_json(search["architecture"]), {**search["facts"]}
        steps, seconds = _number(search["steps"], int), _number(search["seconds"], int | float)
        if "candidates" in facts:
            _number(facts["candidates"], int)
        tuned = search.get("optimiser")
        optimiser = None if tuned is None else Optimiser(**{**tuned, "betas": tuple(tuned["betas"])})
    except (AttributeError, TypeError, KeyError, ValueError, RunError) as cause:
        raise RunError(
            f"{path} does not hold what a search of {space.id} found ({cause}). Delete it and go on with --resume, "
            f"which ends the search again from its last checkpoint; or begin anew with --overwrite"
        ) from cause
    return Found(architecture, steps, float(seconds), facts, optimiser)


def _number(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ValueError(f"{str(value)[:40]} is no number that a search can come to")
    return value
