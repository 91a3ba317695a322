"""The DenseNAS supernet: equal to the one written the obvious way, and to brute force over all of its networks."""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas360.baselines import cost, nd
from nas360.baselines.methods.densenas import SPACE
from nas360.baselines.spaces.dense_block import DenseBlock
from nas360.baselines.spaces.dense_block_cost import network_macs, supernet_work
from nas360.baselines.spaces.dense_block_routes import architecture_of
from nas360.baselines.spaces.dense_block_supernet import DenseBlockSupernet
from nas360.baselines.spaces.dense_block_table import Stage, Table, Trim
from nas360.errors import RunError
from nas360.loaders import TASKS
from nas360.task import TaskSpec

SpecOf = Callable[[int, str], TaskSpec]
KINDS = [(1, "point"), (2, "multilabel"), (2, "real"), (1, "mask")]
TEMPERATURE = 0.9


def table(kind: str) -> Table:
    return Table(3, (Stage((4, 5), 1), Stage((6, 8), 2, 1 if kind in ("real", "mask") else 2)))


def make(spec: TaskSpec, trim: Trim | None = None, seed: int = 0) -> DenseBlockSupernet:
    torch.manual_seed(seed)
    own = DenseBlock(tables={spec.id: table(spec.id.split("_")[1])})
    supernet = own.supernet(spec, trim or Trim(), TEMPERATURE)
    with torch.no_grad():
        supernet.alpha.mul_(1000)
        supernet.beta.mul_(1000)
    return supernet


@pytest.fixture(scope="module")
def plain_module() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "plain_dense_block.py"
    spec = importlib.util.spec_from_file_location("plain_dense_block", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def gradients(network: nn.Module, parameters: Sequence[Tensor], x: Tensor, direction: Tensor) -> list[Tensor]:
    """Gradients of a random linear function of the output; zero where there is none."""
    out = (network(x) * direction).sum()
    found = torch.autograd.grad(out, parameters, allow_unused=True)
    return [
        torch.zeros_like(value) if gradient is None else gradient
        for value, gradient in zip(parameters, found, strict=True)
    ]


@pytest.mark.parametrize("drawn", [True, False])
@pytest.mark.parametrize(("dims", "kind"), KINDS)
def test_the_plain_supernet_says_the_same(
    dims: int, kind: str, drawn: bool, spec_of: SpecOf, plain_module: ModuleType
) -> None:
    spec = spec_of(dims, kind)
    ours = make(spec)
    plain = plain_module.PlainSupernet(spec, table(kind), TEMPERATURE)
    plain_module.copy_weights(ours, plain)
    x = torch.randn(4, *spec.input_shape)
    if drawn:
        ours.draw(uniform=True)
        plain.choices = ours.choices
        assert ours.choices is not None
        assert any(ours.choices) and not all(ours.choices)
    direction = torch.randn_like(ours(x))
    torch.testing.assert_close(ours(x), plain(x), rtol=1e-4, atol=1e-4)
    pairs = [(mine, theirs) for theirs, mine in plain_module.matching(ours, plain)]
    # a draw takes alpha out of the output
    pairs = pairs[1:] if drawn else pairs
    found, expected = (
        gradients(network, [pair[side] for pair in pairs], x, direction) for side, network in enumerate((ours, plain))
    )
    scale = max(float(one.abs().max()) for one in expected)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize(("dims", "kind"), KINDS)
def test_expected_cost_is_the_mean_over_all_networks(dims: int, kind: str, spec_of: SpecOf) -> None:
    spec = spec_of(dims, kind)
    supernet = make(spec)
    beta, alpha = (supernet.mixture()[name].double().numpy() for name in ("beta", "alpha"))
    own, blocks = supernet.table, supernet.table.blocks
    mean = total = 0.0
    for there in itertools.product((0, 1), repeat=len(alpha)):
        chance = math.prod(alpha[n, skip] for n, skip in enumerate(there))
        kept = iter(there)
        layers = [sum(1 - next(kept) for _ in range(block.layers)) for block in blocks]
        open_routes: list[tuple[tuple[int, ...], int, float]] = [((), -1, 1.0)]
        while open_routes:
            route, block, probability = open_routes.pop()
            if block == len(blocks):
                mean += chance * probability * network_macs(architecture_of(own, route, layers), spec)
                total += chance * probability
                continue
            open_routes += [
                ((*route, place), edge.target, probability * float(beta[place]))
                for place, edge in enumerate(own.edges)
                if edge.source == block
            ]
    assert total == pytest.approx(1)
    assert float(supernet.expected_macs(0.0).detach()) == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize(("dims", "kind"), KINDS)
def test_the_cost_has_a_gradient_in_every_dimension(dims: int, kind: str, spec_of: SpecOf) -> None:
    supernet = make(spec_of(dims, kind))
    alpha, beta = torch.autograd.grad(supernet.expected_macs(0.1), [supernet.alpha, supernet.beta])
    # a layer that is there costs more than a skip, whatever else
    assert bool((alpha[:, 0] > 0).all()) and bool((alpha[:, 1] < 0).all())
    several = [n for n, edge in enumerate(supernet.table.edges) if len(supernet.leaving[edge.source + 1]) > 1]
    assert bool((beta[several] != 0).all())
    # along a softmax nothing is gained by adding a constant
    for places in supernet.leaving:
        assert float(beta[places].sum()) == pytest.approx(0, abs=1e-2 * float(beta.abs().max()))


@pytest.mark.parametrize(("dims", "kind"), KINDS)
def test_work_is_about_what_is_measured(dims: int, kind: str, spec_of: SpecOf) -> None:
    spec = spec_of(dims, kind)
    supernet = make(spec)
    always, layers = supernet_work(table(kind), spec)
    # all but copies and small tensors
    assert always + layers == pytest.approx(cost.measure(supernet, spec).work, rel=0.05)
    supernet.choices = [False] * len(supernet.alpha)
    assert always == pytest.approx(cost.measure(supernet, spec).work, rel=0.05)


def test_a_charged_skip_costs_its_share(spec_of: SpecOf) -> None:
    supernet = make(spec_of(1, "point"))
    with torch.no_grad():
        costs = [float(supernet.expected_macs(charge)) for charge in (0.0, 0.5, 1.0)]
        supernet.alpha[:, 0] = 1000
        full = float(supernet.expected_macs(0.3))
    assert costs[1] == pytest.approx((costs[0] + costs[2]) / 2, rel=1e-5)
    # at the full charge it is as if every layer were there
    assert costs[2] == pytest.approx(full, rel=1e-5)


def test_a_trimmed_supernet_counts_as_the_whole(spec_of: SpecOf) -> None:
    spec = spec_of(2, "point")
    trim = Trim(width=2, layers=1)
    small, whole = make(spec, trim), make(spec)
    with torch.no_grad():
        for supernet in (small, whole):
            supernet.alpha.zero_()
            supernet.beta.zero_()
        assert float(small.expected_macs(0.0)) == pytest.approx(float(whole.expected_macs(0.0)), rel=1e-6)
        small.alpha[:, 0] = 1
        small.beta[[n for n, edge in enumerate(small.table.edges) if edge.target % 2]] = 1
    own = DenseBlock(tables={spec.id: table("point")})
    # widths and layers of the whole table: 5 with 1 layer, 8 with 2
    assert str(own.decode(small)) == "3 → 5x2 → 8x3/2"


def test_decode_takes_the_likelier_of_each_layer(spec_of: SpecOf) -> None:
    spec = spec_of(1, "point")
    supernet = make(spec)
    with torch.no_grad():
        supernet.beta.zero_()
        supernet.alpha.copy_(torch.tensor([[0.0, 1], [1, 0], [0, 0], [0, 1], [0, 1], [2, 1]]))
    own = DenseBlock(tables={spec.id: table("point")})
    # the shortest routes: among the blocks of the last stage 8, which leads to the end alone
    architecture = own.decode(supernet)
    assert [block.width for block in architecture.blocks] == [5, 8]
    assert [block.layers for block in architecture.blocks] == [1 + 1, 1 + 1]


def test_draws_follow_the_probabilities_and_skipped_layers_are_not_computed(spec_of: SpecOf) -> None:
    spec = spec_of(1, "point")
    supernet = make(spec)
    with torch.no_grad():
        supernet.alpha.copy_(torch.tensor([[2.0, 0]] * 3 + [[0.0, 2]] * 3))
    likely = float(torch.sigmoid(torch.tensor(2 / TEMPERATURE)))
    for uniform, expected in ((False, likely), (True, 0.5)):
        drawn: list[Any] = []
        for _ in range(500):
            supernet.draw(uniform=uniform)
            drawn.append(supernet.choices)
        shares = np.mean(drawn, axis=0)
        # five standard errors
        np.testing.assert_allclose(shares[:3], expected, atol=5 * math.sqrt(0.25 / 500))
        np.testing.assert_allclose(shares[3:], 1 - expected, atol=5 * math.sqrt(0.25 / 500))
    supernet.choices = [True, False] * 3
    seen = []
    flat = [layer for block in range(4) for layer in supernet._layers(block)]
    for number, layer in enumerate(flat):
        layer.register_forward_hook(lambda *_, number=number: seen.append(number))
    supernet(torch.randn(2, *spec.input_shape))
    assert seen == [0, 2, 4]


def test_start(spec_of: SpecOf) -> None:
    supernet = DenseBlock().supernet(spec_of(2, "point"), Trim(8, 1, 2), TEMPERATURE)
    logits = torch.cat([supernet.alpha.detach().flatten(), supernet.beta.detach()])
    assert float(logits.abs().max()) < 6e-3
    assert float(logits.std()) == pytest.approx(1e-3, rel=0.5)
    for module in supernet.modules():
        if nd.is_conv(module) and module.kernel_size == (3, 3):
            weight = module.get_parameter("weight").detach()
            fan_out = weight.shape[0] * 9
            assert float(weight.std()) == pytest.approx(math.sqrt(2 / fan_out), rel=10 / math.sqrt(weight.numel()))
        assert not nd.is_batch_norm(module) or not list(module.parameters())
    assert sum(weight.numel() for weight in supernet.weight_parameters()) == sum(
        weight.numel() for name, weight in supernet.named_parameters() if name not in ("alpha", "beta")
    )
    with pytest.raises(RunError, match="temperature 0 of the softmax"):
        DenseBlock().supernet(spec_of(2, "point"), Trim(8, 1, 2), 0)


def test_probabilities_are_softmaxes_at_the_temperature(spec_of: SpecOf) -> None:
    supernet = make(spec_of(1, "point"))
    groups, mixture = supernet.simplices(), supernet.mixture()
    for name, values in supernet.architecture_parameters().items():
        flat, which = mixture[name].flatten(), groups[name].flatten()
        for group in set(which.tolist()):
            logits = values.detach().flatten()[which == group].double() / TEMPERATURE
            np.testing.assert_allclose(flat[which == group], logits.softmax(0), rtol=1e-5)


# millions of multiply-adds of the reference's supernet at equal probabilities, its 1×1 tail included
@pytest.mark.parametrize(("task", "reference"), [("psicov", 17290), ("cosmic", 17030 / 4)])
def test_expected_cost_is_near_the_references(task: str, reference: float) -> None:
    with torch.device("meta"):
        hollow = SPACE.supernet(TASKS[task].spec, Trim(), TEMPERATURE)
    supernet = hollow.to_empty(device="cpu")
    with torch.no_grad():
        supernet.alpha.zero_()
        supernet.beta.zero_()
        assert float(supernet.expected_macs(0.1)) / 1e6 == pytest.approx(reference, rel=0.015)
