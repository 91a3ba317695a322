"""The first half of a run whose method searches: from training data to an architecture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nas360.baselines.algorithms.base import Found, Workers
from nas360.baselines.checkpoint import Checkpoints
from nas360.baselines.folder import RunFolder
from nas360.baselines.recipe import Optimiser
from nas360.baselines.request import Request
from nas360.baselines.search_arena import NOBODY, Place, Remake, Sharing, make_arena
from nas360.baselines.search_plan import SearchPlan
from nas360.baselines.spaces.base import Space
from nas360.baselines.train import Keeping
from nas360.baselines.values import plain
from nas360.baselines.watch import Watcher
from nas360.errors import RunError
from nas360.files import MIB, read_json


def find(
    request: Request,
    plan: SearchPlan,
    folder: RunFolder,
    watcher: Watcher,
    checkpoint_seconds: tuple[float, float],
    sharing: Sharing = NOBODY,
) -> Found:
    """Search, from wherever the last checkpoint left it; a search that is finished is not repeated.

    The training split alone is learnt from, whatever the final training uses; validation is looked at, test is not.

    Args:
        request: of the run.
        plan: of the search.
        folder: of the run; its `architecture.json` says that the search is over.
        watcher: is told.
        checkpoint_seconds: see `run.run`.
        sharing: who does the trials, where the search has such.

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
    arena = make_arena(
        request.data,
        request.search_preprocessing,
        plan,
        request.seed,
        request.device,
        Keeping(checkpoints, log, *checkpoint_seconds),
        watcher,
        sharing.seconds,
    )
    if sharing.executor is not None:
        remake = Remake(
            Place.of(request.data),
            plan,
            request.seed,
            request.device.type,
            checkpoints.folder.absolute(),
            identity,
            checkpoint_seconds,
            sharing.seconds,
        )
        workers = Workers(sharing.executor, remake, sharing.threads or torch.get_num_threads())
        arena = replace(arena, workers=workers)
    return plan.algorithm.search(space, arena)


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
