"""The gradient at the unrolled step: against torch's own double backward, and as part of a search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from nas360.baselines.algorithms.base import Arena
from nas360.baselines.algorithms.bilevel import Bilevel
from nas360.baselines.algorithms.second_order import PASSES, unrolled_gradient
from nas360.baselines.algorithms.updates import AdamUpdate, ExponentiatedUpdate
from nas360.baselines.checkpoint import Checkpoints
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.runlog import RunLog
from nas360.baselines.spaces.base import Relaxation
from nas360.baselines.spaces.darts_cell import DARTS_CELL
from nas360.errors import RunError
from nas360.loaders.data import TaskData

Toy = Callable[..., TaskData]
MakeArena = Callable[..., Arena]
Pair = tuple[Tensor, Tensor]
TINY = Relaxation(mixing="simplex", partial_channels=2, width=4, cells=3)


class Mixed(nn.Module):
    """Three candidates and a norm, of plain operations which torch can differentiate twice; smooth, in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(4, 5)
        self.norm = nn.BatchNorm1d(5)
        self.last = nn.Linear(5, 3)
        self.alpha = nn.Parameter(torch.tensor([0.2, -0.1, 0.3]))
        self.dropout = nn.Dropout(0.0)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        candidates = (torch.tanh(self.first(x)), torch.sin(self.second(x)), functional.pad(x, (0, 1)))
        mixed = sum(weight * one for weight, one in zip(self.alpha.softmax(0), candidates, strict=True))
        out: Tensor = self.last(self.dropout(torch.tanh(self.norm(mixed))))
        return out


class Problem:
    """A supernet, SGD on it that has gathered momentum, and two batches."""

    def __init__(self, lr: float = 0.1, momentum: float = 0.9, nesterov: bool = False, before: int = 3) -> None:
        self.rng = torch.Generator().manual_seed(0)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = Mixed()
        self.weights = [parameter for name, parameter in self.model.named_parameters() if name != "alpha"]
        self.sgd = torch.optim.SGD(self.weights, lr, momentum, weight_decay=0.01, nesterov=nesterov)
        for _ in range(before):
            for weight, gradient in zip(
                self.weights, torch.autograd.grad(self.loss(self.batch()), self.weights), strict=True
            ):
                weight.grad = gradient
            self.sgd.step()
        self.train, self.validation = self.batch(), self.batch()

    def batch(self) -> Pair:
        x = torch.randn(8, 4, generator=self.rng, dtype=torch.float64)
        return x, torch.randint(3, (8,), generator=self.rng)

    def loss(self, batch: Pair) -> Tensor:
        return functional.cross_entropy(self.model(batch[0]), batch[1])

    def found(self, **options: Any) -> Tensor:
        (gradient,) = unrolled_gradient(
            self.loss, self.model, self.sgd, [self.model.alpha], self.train, self.validation, **options
        )
        return gradient

    def exact(self) -> Tensor:
        """By double backward, with the step written out as torch's documentation of SGD has it."""
        (group,) = self.sgd.param_groups
        named = dict(self.model.named_parameters())
        gradients = torch.autograd.grad(self.loss(self.train), self.weights, create_graph=True)
        after: dict[str, Tensor] = {"alpha": self.model.alpha}
        for name, weight in named.items():
            for other, gradient in zip(self.weights, gradients, strict=True):
                if other is not weight:
                    continue
                step = gradient + group["weight_decay"] * weight
                gathered = step
                if "momentum_buffer" in self.sgd.state[weight]:
                    gathered = group["momentum"] * self.sgd.state[weight]["momentum_buffer"] + step
                if group["nesterov"]:
                    gathered = step + group["momentum"] * gathered
                after[name] = weight - group["lr"] * gathered
        x, y = self.validation
        loss = functional.cross_entropy(functional_call(self.model, after, (x,)), y)
        (exact,) = torch.autograd.grad(loss, [self.model.alpha])
        return exact

    def first_order(self) -> Tensor:
        (gradient,) = torch.autograd.grad(self.loss(self.validation), [self.model.alpha])
        return gradient


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize(
    "options",
    [{}, {"nesterov": True}, {"momentum": 0.0}, {"before": 0}, {"before": 0, "nesterov": True}, {"lr": 1.0}],
)
def test_the_gradient_is_that_of_double_backward(options: dict[str, Any]) -> None:
    problem = Problem(**options)
    exact = problem.exact()
    assert relative(problem.found(), exact) < 5e-4
    # what is left of first order is far more: without the second term, or the step, the test would fail
    assert relative(problem.first_order(), exact) > 1e-2


def test_the_error_falls_with_the_square_of_the_radius() -> None:
    problem = Problem(lr=1.0)
    exact = problem.exact()
    errors = [relative(problem.found(radius=radius), exact) for radius in (0.1, 0.01)]
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.1)


def test_without_a_learning_rate_it_is_the_gradient_of_first_order() -> None:
    problem = Problem(lr=0.0, before=0)
    assert torch.equal(problem.found(), problem.first_order())


def test_where_the_weights_do_not_matter_it_is_the_gradient_of_first_order() -> None:
    problem = Problem()
    alpha = problem.model.alpha

    def loss(batch: Pair) -> Tensor:
        return (alpha.exp() * torch.arange(3.0)).sum() + 0 * problem.loss(batch)

    (found,) = unrolled_gradient(loss, problem.model, problem.sgd, [alpha], problem.train, problem.validation)
    assert torch.equal(found, alpha.detach().exp() * torch.arange(3.0))


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_afterwards_as_it_was(fails: bool) -> None:
    problem = Problem()
    problem.model.train()
    calls = 0

    def loss(batch: Pair) -> Tensor:
        nonlocal calls
        calls += 1
        if fails and calls == PASSES:
            raise FloatingPointError("half way")
        return problem.loss(batch)

    def state() -> dict[str, Any]:
        tensors = {name: tensor.clone() for name, tensor in problem.model.state_dict().items()}
        buffers = problem.sgd.state_dict()["state"].items()
        return tensors | {f"momentum {number}": entry["momentum_buffer"].clone() for number, entry in buffers}

    before = state()
    arguments = problem.model, problem.sgd, [problem.model.alpha], problem.train, problem.validation
    if fails:
        with pytest.raises(FloatingPointError, match="half way"):
            unrolled_gradient(loss, *arguments)
    else:
        unrolled_gradient(loss, *arguments)
    assert calls == PASSES
    after = state()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert len(before) > len(problem.weights) + 1  # the norm's statistics are among them, and the momenta
    assert all(parameter.grad is None for parameter in [problem.model.alpha])


def test_noise_is_the_same_on_both_sides_of_the_difference() -> None:
    problem = Problem()
    problem.model.dropout.p = 0.5
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one, other = problem.found(radius=1e-3), problem.found(radius=1e-3)
        torch.manual_seed(1)
        near = problem.found(radius=1e-4)
    # with noise of their own the sides would differ by far more than the move makes them
    assert relative(near, one) < 1e-3
    assert relative(other, one) > 1e-3


def test_adam_is_refused(toy: Toy, arena: MakeArena) -> None:
    adam = Recipe(Optimiser("adamw", lr=0.01), epochs=1, batch_size=8)
    with pytest.raises(RunError, match=r"trained by sgd, not by adamw.*order=1"):
        search(2).search(DARTS_CELL, arena(toy(1, "point"), 2, recipe=adam))


def test_another_order_is_refused() -> None:
    with pytest.raises(RunError, match=r"order 3 .* neither 1 nor 2"):
        search(3)


def search(order: int, update: Any = None, warmup: float = 0.0) -> Bilevel:
    return Bilevel("darts", TINY, update or ExponentiatedUpdate(), warmup=warmup, order=order)


@dataclass(frozen=True)
class Still:
    """A schedule of zeros."""

    def factor(self, step: int, steps_per_epoch: int, steps: int) -> float:
        return 0.0


def mixtures(folder: Path) -> list[Any]:
    return [{**entry, "seconds": 0} for entry in RunLog(folder / "search.jsonl").entries()]


def test_the_orders_search_differently(toy: Toy, arena: MakeArena, tmp_path: Path) -> None:
    data = toy(1, "point")
    for order in (1, 2):
        search(order).search(DARTS_CELL, arena(data, 2, folder=tmp_path / str(order)))
    one, two = mixtures(tmp_path / "1"), mixtures(tmp_path / "2")
    assert one[-1]["mixture"] != two[-1]["mixture"]


def test_the_orders_agree_to_the_bit_where_no_weight_moves(toy: Toy, arena: MakeArena, tmp_path: Path) -> None:
    data, recipe = toy(1, "point"), Recipe(Optimiser("sgd", lr=0.1), epochs=1, batch_size=8, schedule=Still())
    for order in (1, 2):
        search(order).search(DARTS_CELL, arena(data, 2, folder=tmp_path / str(order), recipe=recipe))
    one, two = mixtures(tmp_path / "1"), mixtures(tmp_path / "2")
    assert one[0]["mixture"] != one[-1]["mixture"]
    assert [entry["mixture"] for entry in one] == [entry["mixture"] for entry in two]


def test_a_killed_search_of_second_order_ends_as_an_unbroken_one(toy: Toy, arena: MakeArena, tmp_path: Path) -> None:
    data, algorithm, steps = toy(1, "point"), search(2, AdamUpdate(), warmup=0.3), 3
    whole = algorithm.search(DARTS_CELL, arena(data, steps, folder=tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        algorithm.search(DARTS_CELL, arena(data, steps, folder=tmp_path / "cut", at=3))
    resumed = algorithm.search(DARTS_CELL, arena(data, steps, folder=tmp_path / "cut"))
    assert (resumed.architecture, resumed.facts) == (whole.architecture, whole.facts)
    assert mixtures(tmp_path / "cut") == mixtures(tmp_path / "whole")
    states = [Checkpoints(tmp_path / part).load(torch.device("cpu"))[0] for part in ("whole", "cut")]
    assert states[0] is not None and states[1] is not None
    assert all(torch.equal(value, states[1]["model"][name]) for name, value in states[0]["model"].items())


def test_second_order_costs_four_passes_more_a_step(toy: Toy) -> None:
    spec = toy(1, "point").spec
    first, second, warm = (
        algorithm.price(DARTS_CELL, spec).row for algorithm in (search(1), search(2), search(2, warmup=1.0))
    )
    assert second / first == pytest.approx((1 + PASSES) / 2)
    assert first / warm == pytest.approx(2)
