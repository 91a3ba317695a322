"""Searches: they find what is planted, are owned by their seed, and survive a kill; on a toy space of two inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas360.baselines.algorithms.base import Algorithm, Arena, Found
from nas360.baselines.algorithms.bilevel import Bilevel
from nas360.baselines.algorithms.random_search import RandomSearch
from nas360.baselines.algorithms.updates import AdamUpdate, ExponentiatedUpdate
from nas360.baselines.failure import TrainingError
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.runlog import RunLog
from nas360.baselines.spaces.base import Relaxation
from nas360.baselines.watch import Report, Silent
from nas360.errors import RunError
from nas360.loaders.data import TaskData
from nas360.task import TaskSpec

Toy = Callable[..., TaskData]
Search = Callable[..., Found]
RECIPE = Recipe(Optimiser("sgd", lr=0.1), epochs=1, batch_size=16, clip_norm=5.0)


class Channels(nn.Module):
    """A linear answer to one channel of the input, or to a mixture of all; the toy's signal is in channel 0."""

    def __init__(self, spec: TaskSpec, simplex: bool, chosen: int | None = None) -> None:
        super().__init__()
        n = spec.input_shape[0]
        self.linear = nn.Linear(int(np.prod(spec.input_shape[1:])), spec.output.channels)
        start = torch.full((1, n), 1 / n if simplex else 0.0)
        self.alpha = nn.Parameter(start) if chosen is None else None
        self.simplex, self.chosen = simplex, chosen

    def weights(self) -> Tensor:
        assert self.alpha is not None
        return self.alpha if self.simplex else self.alpha.softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        mixed = x[:, self.chosen] if self.chosen is not None else (x * self.weights()[:, :, None]).sum(dim=1)
        out: Tensor = self.linear(mixed)
        return out

    def weight_parameters(self) -> list[nn.Parameter]:
        return list(self.linear.parameters())

    def architecture_parameters(self) -> dict[str, nn.Parameter]:
        assert self.alpha is not None
        return {"alpha": self.alpha}

    def simplices(self) -> dict[str, Tensor]:
        return {"alpha": torch.zeros(self.weights().shape, dtype=torch.int64)}

    def mixture(self) -> dict[str, Tensor]:
        return {"alpha": self.weights().detach().clone()}


class ChannelSpace:
    """Architectures are channel numbers."""

    id = "channel"

    def narrower(self, architecture: int) -> tuple[int, ...]:
        return ()

    def sample(self, spec: TaskSpec, rng: np.random.Generator) -> int:
        return int(rng.integers(spec.input_shape[0]))

    def build(self, architecture: int, spec: TaskSpec) -> nn.Module:
        return Channels(spec, simplex=True, chosen=architecture)

    def relax(self, spec: TaskSpec, relaxation: Relaxation) -> Channels:
        return Channels(spec, relaxation.mixing == "simplex")

    def decode(self, supernet: Channels) -> int:
        return int(supernet.weights().argmax())

    def to_json(self, architecture: int) -> dict[str, Any]:
        return {"channel": architecture}


ALGORITHMS: Mapping[str, Algorithm] = {
    "gaea": Bilevel("gaea", Relaxation(mixing="simplex"), ExponentiatedUpdate(0.1), warmup=0.2),
    "darts": Bilevel("darts", Relaxation(mixing="softmax"), AdamUpdate(lr=0.03), warmup=0.2),
    "random": RandomSearch(candidates=6),
}


def classes_wrong(data: TaskData) -> Callable[[nn.Module], float]:
    """From a model to its share of wrong classes on validation."""
    rows = data.rows("validation")
    batch = data.preprocessing("train")(rows.take(np.arange(len(rows))), None)

    def error(model: nn.Module) -> float:
        with torch.no_grad():
            return float((model(torch.from_numpy(batch.x)).argmax(dim=1).numpy() != batch.y).mean())

    return error


@pytest.fixture
def search(arena: Callable[..., Arena]) -> Callable[..., Found]:
    """`search(algorithm, data, steps, ...)` → what it finds on the toy's rows; see `arena` for the rest."""

    def find(algorithm: Algorithm, data: TaskData, steps: int = 60, **options: Any) -> Found:
        place = arena(data, steps, error=classes_wrong(data), **{"recipe": RECIPE, **options})
        return algorithm.search(ChannelSpace(), place)

    return find


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_is_planted_is_found(name: str, toy: Toy, search: Search) -> None:
    found = [search(ALGORITHMS[name], toy(1, "point", train=160), seed=seed) for seed in range(3)]
    assert [one.architecture for one in found] == [0, 0, 0]
    assert all(one.steps == 60 for one in found)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_search_belongs_to_its_seed(name: str, toy: Toy, search: Search) -> None:
    before = torch.random.get_rng_state()
    first, again, other = (search(ALGORITHMS[name], toy(1, "point"), 24, seed=seed) for seed in (3, 3, 4))
    assert first.facts == again.facts
    assert first.facts != other.facts
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("at", [1, 7, 23])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_killed_search_ends_as_an_unbroken_one(name: str, at: int, toy: Toy, search: Search, tmp_path: Path) -> None:
    data = toy(1, "point")
    whole = search(ALGORITHMS[name], data, 24, folder=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        search(ALGORITHMS[name], data, 24, folder=tmp_path / "cut", at=at)
    resumed = search(ALGORITHMS[name], data, 24, folder=tmp_path / "cut")
    assert resumed.architecture == whole.architecture
    assert resumed.facts == whole.facts
    logs = [
        [{**entry, "seconds": 0} for entry in RunLog(tmp_path / part / "search.jsonl").entries()]
        for part in ("whole", "cut")
    ]
    assert logs[0] == logs[1]


def test_halves_are_disjoint_shuffled_and_cover_the_rows(toy: Toy, arena: Callable[..., Arena]) -> None:
    place = arena(toy(1, "point", train=49), 60)
    weights, architecture = place.split()
    assert weights.index is not None and architecture.index is not None
    assert sorted([*weights.index, *architecture.index]) == list(range(49))
    assert abs(len(weights.index) - len(architecture.index)) == 1
    assert not set(weights.index) & set(architecture.index)
    assert max(weights.index) > 24  # not the first half
    again = place.split()
    np.testing.assert_array_equal(weights.index, again[0].index)


def test_a_share_of_rows_and_of_each_step_is_for_the_weights(toy: Toy, arena: Callable[..., Arena]) -> None:
    weights, architecture = arena(toy(1, "point", train=50), 60, recipe=RECIPE).split(0.8)
    assert (len(weights), len(architecture)) == (40, 10)
    assert (weights.batch_size, architecture.batch_size) == (RECIPE.batch_size, RECIPE.batch_size // 4)


def test_warm_up_leaves_the_architecture_alone(toy: Toy, search: Search) -> None:
    start = Bilevel("gaea", Relaxation(mixing="simplex"), ExponentiatedUpdate(), warmup=1.0)
    found = search(start, toy(1, "point"), 8)
    assert found.facts["entropy"] == {"alpha": pytest.approx(1.0)}


def test_a_short_search_at_the_pace_of_a_whole_one_moves_the_architecture(toy: Toy, search: Search) -> None:
    still = Bilevel("darts", Relaxation(mixing="softmax"), AdamUpdate(lr=3e-4), warmup=0.2)
    paced = still.paced(steps=60, whole=6000)
    assert paced.update == AdamUpdate(lr=0.03)
    data = toy(1, "point", train=160)
    # weights so slow that there is a loss left for the architecture to lower
    recipe = Recipe(Optimiser("sgd", lr=0.003), epochs=1, batch_size=16)
    found = [search(one, data, recipe=recipe) for one in (still, paced)]
    entropies = [one.facts["entropy"]["alpha"] for one in found]
    assert entropies[0] > 0.999
    assert entropies[1] < 0.9
    assert found[1].architecture == 0


@pytest.mark.parametrize("name", ["gaea", "random"])
def test_a_search_that_diverges_says_so(name: str, toy: Toy, search: Search) -> None:
    wild = Recipe(Optimiser("sgd", lr=1e38), epochs=1, batch_size=16)
    with pytest.raises(TrainingError, match="Lower the"):
        search(ALGORITHMS[name], toy(1, "point"), 24, recipe=wild)


def test_no_candidates_are_refused() -> None:
    with pytest.raises(RunError, match="0 candidates of 4 steps"):
        RandomSearch(0)


@dataclass
class Listener(Silent):
    """Keeps reports."""

    reports: list[Report] = field(default_factory=list)

    def report(self, report: Report) -> None:
        self.reports.append(report)


def test_random_search_counts_epochs_as_passes_and_candidates_apart(toy: Toy, arena: Callable[..., Arena]) -> None:
    data, listener = toy(1, "point", train=48), Listener()
    place = replace(arena(data, 24, error=classes_wrong(data), recipe=RECIPE), watcher=listener)
    ALGORITHMS["random"].search(ChannelSpace(), place)
    # 48 rows are three batches of 16, and each of the 6 candidates has 4 steps
    assert [report.epoch for report in listener.reports] == pytest.approx([4 * n / 3 for n in range(1, 7)])
    assert [report.shown["candidates"] for report in listener.reports] == [f"{n} of 6" for n in range(1, 7)]


def test_a_search_is_priced_by_building_each_supernet_once(spec_of: Callable[..., TaskSpec]) -> None:
    built = []

    class Counting(ChannelSpace):
        def relax(self, spec: TaskSpec, relaxation: Relaxation) -> Channels:
            built.append(relaxation)
            return super().relax(spec, relaxation)

    algorithm, space = ALGORITHMS["darts"], Counting()
    options = (algorithm, *algorithm.narrower())
    first = [one.price(space, spec_of(1, "point")) for one in options]
    assert len(built) == len(set(built)) == len(set(options))
    # a spec of its own, but equal: another run of the same task in the same process
    assert [one.price(space, spec_of(1, "point")) for one in options] == first
    assert len(built) == len(set(options))
    algorithm.price(space, spec_of(1, "multilabel"))
    assert len(built) == len(set(options)) + 1
