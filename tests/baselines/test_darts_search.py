"""Searches over the DARTS cells: every kind of task goes through, the seed owns them, and a kill changes nothing."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas360.baselines.algorithms.base import Algorithm, Arena, Found
from nas360.baselines.algorithms.bilevel import Bilevel
from nas360.baselines.algorithms.random_search import RandomSearch
from nas360.baselines.algorithms.updates import AdamUpdate, ExponentiatedUpdate
from nas360.baselines.checkpoint import Checkpoints
from nas360.baselines.runlog import RunLog
from nas360.baselines.spaces.base import Relaxation
from nas360.baselines.spaces.darts_cell import DARTS_CELL
from nas360.baselines.spaces.darts_genotypes import EDGES, NODES, DartsArchitecture, Gene
from nas360.loaders.data import TaskData
from nas360.task import TaskSpec

Toy = Callable[..., TaskData]
MakeArena = Callable[..., Arena]
TINY: dict[str, Any] = {"partial_channels": 2, "width": 4, "cells": 3}
REFERENCE = Relaxation(mixing="double_softmax", **TINY)
BY_GRADIENT: dict[str, Algorithm] = {
    "gaea": Bilevel("gaea", Relaxation(mixing="simplex", **TINY), ExponentiatedUpdate(), warmup=0.2),
    "reference": Bilevel("gaea", REFERENCE, ExponentiatedUpdate()),
    "darts": Bilevel(
        "darts",
        Relaxation(mixing="softmax", edge_normalisation=False, partial_channels=1, width=4, cells=3),
        AdamUpdate(),
    ),
}
SEARCHES = {**BY_GRADIENT, "random": RandomSearch(candidates=2, shrink=9, least_steps=2)}
THREE = ("gaea", "darts", "random")
TIE = tuple(Gene("max_pool_3x3", source) for source in (0, 1)) * NODES


@pytest.mark.parametrize("name", BY_GRADIENT)
@pytest.mark.parametrize(("dims", "kind"), [(1, "point"), (2, "multilabel"), (2, "real"), (1, "mask")])
def test_a_search_by_gradient_ends_in_a_network(name: str, dims: int, kind: str, toy: Toy, arena: MakeArena) -> None:
    data = toy(dims, kind)
    found = BY_GRADIENT[name].search(DARTS_CELL, arena(data, 2, looks=1))
    assert isinstance(found.architecture, DartsArchitecture)
    assert found.steps == 2
    assert all(0 < share <= 1 + 1e-9 for share in found.facts["entropy"].values())
    small = DARTS_CELL.narrower(found.architecture)[-1]
    x = torch.zeros(2, *data.spec.input_shape)
    assert DARTS_CELL.build(small, data.spec)(x).shape[0] == 2


def test_the_exponentiated_gradient_moves_every_mixture_and_keeps_it(toy: Toy, arena: MakeArena) -> None:
    still, moved = (BY_GRADIENT["gaea"].search(DARTS_CELL, arena(toy(2, "point"), steps)) for steps in (1, 4))
    assert all(moved.facts["entropy"][name] < 1 for name in moved.facts["entropy"])
    assert still.facts != moved.facts


def test_random_search_over_cells(toy: Toy, arena: MakeArena) -> None:
    found = SEARCHES["random"].search(DARTS_CELL, arena(toy(1, "point"), 4))
    assert math.isfinite(found.facts["validation_error"])
    assert found.architecture.cells == 20  # it was judged by a smaller one


OTHER_PROCESS = """
import importlib.util, json, pathlib, sys

def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

toys, tests = load("toys", sys.argv[1]), load("tests_here", sys.argv[2])
names, numbers, rest = sys.argv[3].split(), map(int, sys.argv[4:6]), sys.argv[6:]
print(json.dumps(tests.searched(toys.ToyData, toys.search_arena, names, *numbers, *rest)))
"""


def searched(
    make: Callable[..., TaskData],
    arena: MakeArena,
    names: Sequence[str],
    seed: int,
    steps: int,
    folder: str | None = None,
    at: int = -1,
) -> dict[str, Any]:
    """Name → what the search of this seed comes to on the toy, as plain values; also called in another process."""
    data = make(1, "point", {"train": 48, "validation": 16, "test": 40})
    found: dict[str, Any] = {}
    for name in names:
        place = arena(data, steps, seed, folder=None if folder is None else Path(folder), at=at)
        one: Found = SEARCHES[name].search(DARTS_CELL, place)
        found[name] = {"architecture": DARTS_CELL.to_json(one.architecture), "facts": dict(one.facts)}
    return found


def start(toy_source: Path, names: Sequence[str], *arguments: object) -> subprocess.Popen[str]:
    """`searched` in another process, which hashes differently and stands elsewhere."""
    command = [sys.executable, "-c", OTHER_PROCESS, str(toy_source), __file__, " ".join(names), *map(str, arguments)]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=toy_source.parent)


@pytest.fixture
def toy_data(toy: Toy) -> Callable[..., TaskData]:
    """`toy`, called as its class is."""
    return lambda dims, kind, sizes: toy(dims, kind, train=sizes["train"])


def test_the_same_seed_finds_the_same_in_another_process(toy_data: Toy, arena: MakeArena, toy_source: Path) -> None:
    with start(toy_source, THREE, 3, 4) as process:
        here = searched(toy_data, arena, THREE, 3, 4)
        there = json.loads(process.communicate(timeout=100)[0])
    assert there == json.loads(json.dumps(here))
    other = searched(toy_data, arena, THREE, 4, 4)
    assert all(here[name]["facts"] != other[name]["facts"] for name in THREE)


def state_of(folder: Path) -> tuple[Any, Any]:
    """What a search leaves: its log without seconds, and its last state's tensors as bytes."""
    log = [{**entry, "seconds": 0} for entry in RunLog(folder / "search.jsonl").entries()]
    state, _ = Checkpoints(folder).load(torch.device("cpu"))
    model = {} if state is None else {name: value.numpy().tobytes() for name, value in state["model"].items()}
    return log, model


def killed(name: str, moments: Sequence[int], steps: int, make: Toy, arena: MakeArena, folder: Path) -> None:
    """An unbroken search and one that is interrupted and taken up at every moment must leave the same."""
    whole = searched(make, arena, [name], 0, steps, str(folder / "whole"))
    for moment in moments:
        with pytest.raises(KeyboardInterrupt):
            searched(make, arena, [name], 0, steps, str(folder / "cut"), at=moment)
    assert searched(make, arena, [name], 0, steps, str(folder / "cut")) == whole
    log, model = state_of(folder / "cut")
    assert (log, model) == state_of(folder / "whole")
    assert log


@pytest.mark.parametrize("name", THREE)
def test_a_killed_search_ends_as_an_unbroken_one(name: str, toy_data: Toy, arena: MakeArena, tmp_path: Path) -> None:
    killed(name, [random.Random(name).randint(2, 4)], 4, toy_data, arena, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", THREE)
def test_killed_at_many_moments_a_search_ends_as_an_unbroken_one(
    name: str, toy_data: Toy, arena: MakeArena, tmp_path: Path
) -> None:
    # some moments come twice: killed before it is kept, a step is done again
    moments = sorted(random.Random(name).choices(range(1, 13), k=6))
    killed(name, moments, 12, toy_data, arena, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", THREE)
def test_a_process_killed_at_random_moments_ends_as_an_unbroken_one(
    name: str, toy_data: Toy, toy_source: Path, arena: MakeArena, tmp_path: Path
) -> None:
    steps = 24
    whole = searched(toy_data, arena, [name], 0, steps, str(tmp_path / "whole"))
    moments = random.Random(name)
    log, kills = tmp_path / "cut" / "search.jsonl", 0
    # lines of the log: a header, then one a step, or one a candidate
    for wanted in (2, 9, 16) if name != "random" else (1, 2):
        with start(toy_source, [name], 0, steps, tmp_path / "cut") as child:
            limit = time.monotonic() + 120
            # killed while it searches, not while Python starts
            while child.poll() is None and time.monotonic() < limit:
                if log.exists() and len(log.read_text().splitlines()) >= wanted:
                    break
                time.sleep(0.005)
            time.sleep(moments.random() * 0.3)
            child.send_signal(signal.SIGKILL)
            kills += child.wait() == -signal.SIGKILL
    assert kills >= 1, "the search was over before it could be killed"
    assert searched(toy_data, arena, [name], 0, steps, str(tmp_path / "cut")) == whole
    assert state_of(tmp_path / "cut") == state_of(tmp_path / "whole")


def assert_confined(mixture: dict[str, Any]) -> None:
    """Every weight of n in [1 / (e + n - 1), e / (e + n - 1)], where a softmax has its logits in [0, 1]."""
    for name, values in mixture.items():
        weights = torch.as_tensor(values, dtype=torch.float64)
        inputs = torch.tensor([node + 2 for _, node in EDGES])
        n = torch.full_like(weights, 8.0) if name.endswith("alpha") else inputs.double()
        assert (weights >= 1 / (math.e + n - 1) - 1e-6).all(), name
        assert (weights <= math.e / (math.e + n - 1) + 1e-6).all(), name


def test_the_references_option_holds_every_weight_near_the_middle(toy: Toy, arena: MakeArena, tmp_path: Path) -> None:
    # steps so large that without the second softmax a weight would be all or nothing
    wild = Bilevel("gaea", REFERENCE, ExponentiatedUpdate(1e4))
    wild.search(DARTS_CELL, arena(toy(1, "point"), 4, folder=tmp_path))
    entries = RunLog(tmp_path / "search.jsonl").entries()
    assert len(entries) == 4
    for entry in entries:
        assert entry["mixture"].keys() == {"normal.alpha", "normal.beta", "reduce.alpha", "reduce.beta"}
        assert_confined(entry["mixture"])
    last = np.array(entries[-1]["mixture"]["normal.alpha"])
    assert last.min() == pytest.approx(1 / (math.e + 7), abs=1e-4)
    assert last.max() == pytest.approx(math.e / (math.e + 7), abs=1e-4)


def test_the_references_option_has_one_simplex_for_all_edges(spec_of: Callable[..., TaskSpec]) -> None:
    supernet = DARTS_CELL.relax(spec_of(1, "point"), REFERENCE)
    parameters = supernet.architecture_parameters()
    update = ExponentiatedUpdate(0.1).make(parameters, supernet.simplices())
    draw = torch.Generator().manual_seed(0)
    for scale in (1.0, 100.0, 1e6):
        for _ in range(20):
            for parameter in parameters.values():
                parameter.grad = scale * torch.randn(parameter.shape, generator=draw)
            update.step()
            for kind in ("normal", "reduce"):
                assert float(parameters[f"{kind}.beta"].detach().sum()) == pytest.approx(1, abs=1e-5)
                assert torch.allclose(parameters[f"{kind}.alpha"].sum(dim=1), torch.ones(len(EDGES)))
            assert_confined(supernet.mixture())


def test_an_edge_of_one_node_takes_from_those_of_others_with_the_references_option_alone(
    spec_of: Callable[..., TaskSpec],
) -> None:
    taken = {}
    for relaxation in (REFERENCE, Relaxation(mixing="simplex", **TINY)):
        supernet = DARTS_CELL.relax(spec_of(1, "point"), relaxation)
        beta = supernet.architecture_parameters()["normal.beta"]
        update = ExponentiatedUpdate(0.1).make({"normal.beta": beta}, supernet.simplices())
        beta.grad = torch.zeros(len(EDGES))
        update.step()
        before = beta.detach().clone()
        beta.grad = torch.eye(len(EDGES))[0] * -10
        update.step()
        taken[relaxation.mixing] = bool((beta[2:] < before[2:]).all())
        assert beta[0] > before[0]
    assert taken == {"double_softmax": True, "simplex": False}


def test_equal_parameters_of_the_references_option_give_the_documented_tie(spec_of: Callable[..., TaskSpec]) -> None:
    supernet = DARTS_CELL.relax(spec_of(1, "point"), REFERENCE)
    assert all(bool((value == 1).all()) for value in supernet.architecture_parameters().values())
    decoded = DARTS_CELL.decode(supernet)
    assert (decoded.normal, decoded.reduce) == (TIE, TIE)
    # another equal value too: after steps without a gradient, say
    update = ExponentiatedUpdate().make(supernet.architecture_parameters(), supernet.simplices())
    for parameter in supernet.architecture_parameters().values():
        parameter.grad = torch.zeros_like(parameter)
    update.step()
    assert DARTS_CELL.decode(supernet) == decoded
    assert supernet.architecture_parameters()["normal.beta"].tolist() == pytest.approx([1 / 14] * 14)
