"""The supernet: the same numbers as the plain one, laws of mixtures and gradients, every task."""

from __future__ import annotations

import copy
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from nas360.baselines import cost, ends
from nas360.baselines.spaces import darts_kernels
from nas360.baselines.spaces.base import Relaxation
from nas360.baselines.spaces.darts_cell import DARTS_CELL
from nas360.baselines.spaces.darts_genotypes import DARTS_V2, EDGES, OPERATIONS, Gene
from nas360.baselines.spaces.darts_kernels import average_pool, depthwise, fan, windows
from nas360.baselines.spaces.darts_network import DiscreteCell
from nas360.errors import RunError
from nas360.loaders import TASKS
from nas360.task import TaskSpec

SpecOf = Callable[[int, str], TaskSpec]
SMALL = Relaxation(width=8, cells=3)


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    """tests/benchmarks/plain_supernet.py."""
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "plain_supernet.py"
    spec = importlib.util.spec_from_file_location("plain_supernet", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["plain_supernet"] = module
    spec.loader.exec_module(module)
    return module


def pair(plain: ModuleType, spec: TaskSpec, relaxation: Relaxation, seed: int = 0) -> tuple[Any, Any]:
    """Both supernets in float64 with equal weights, and architecture parameters that differ from each other."""
    torch.manual_seed(seed)
    ours, theirs = DARTS_CELL.relax(spec, relaxation).double(), plain.PlainSupernet(spec, relaxation).double()
    with torch.no_grad():
        for parameter in ours.architecture_parameters().values():
            parameter.mul_(1 + torch.rand_like(parameter))
    plain.copy_weights(ours, theirs)
    return ours, theirs


@pytest.mark.parametrize(
    "relaxation",
    [
        SMALL,
        Relaxation(1, True, "simplex", 4, 3),
        Relaxation(1, False, "softmax", 4, 4),
        Relaxation(2, False, "simplex", 40, 3),
        Relaxation(4, True, "double_softmax", 8, 6),
    ],
    ids=str,
)
@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("kind", ["point", "real"])
def test_the_same_numbers_as_one_module_an_operation_and_edge(
    plain: ModuleType, spec_of: SpecOf, dims: int, kind: str, relaxation: Relaxation
) -> None:
    spec = spec_of(dims, kind)
    ours, theirs = pair(plain, spec, relaxation)
    x = torch.randn(2, *spec.input_shape, dtype=torch.float64)
    out, expected = ours(x), theirs(x)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-10)
    gradient = torch.randn_like(out)
    out.backward(gradient)
    expected.backward(gradient)
    for name, parameter in ours.architecture_parameters().items():
        kind_of, letter = name.split(".")
        torch.testing.assert_close(parameter.grad, getattr(theirs, letter)[kind_of].grad, rtol=1e-7, atol=1e-9)
    for mine, other in zip(ours.cells, theirs.cells, strict=True):
        with torch.no_grad():
            for parameter in mine.parameters():
                parameter.data = parameter.grad
        for target, value in plain.matching(mine, other):
            torch.testing.assert_close(target.grad, value.detach(), rtol=1e-6, atol=1e-8)


def test_evaluation_by_running_statistics(plain: ModuleType, spec_of: SpecOf) -> None:
    spec = spec_of(2, "point")
    ours, theirs = pair(plain, spec, SMALL)
    for _ in range(3):
        x = torch.randn(3, *spec.input_shape, dtype=torch.float64)
        ours(x), theirs(x)
    ours.eval(), theirs.eval()
    out, expected = ours(x), theirs(x)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(ours(x[:1]), out[:1], rtol=0, atol=1e-10)
    out.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(
        ours.architecture_parameters()["normal.alpha"].grad, theirs.alpha["normal"].grad, rtol=1e-7, atol=1e-9
    )


def test_single_precision_is_near_enough(plain: ModuleType) -> None:
    spec = TASKS["ninapro"].spec
    ours, theirs = pair(plain, spec, Relaxation(cells=4))
    ours, theirs = ours.float(), theirs.float()
    x, y = torch.randn(4, *spec.input_shape), torch.randint(18, (4,))
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-4)
    mine = torch.autograd.grad(functional.cross_entropy(ours(x), y), ours.architecture_parameters()["normal.alpha"])
    other = torch.autograd.grad(functional.cross_entropy(theirs(x), y), theirs.alpha["normal"])
    torch.testing.assert_close(mine, other, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_gradients_in_single_precision_err_less_than_the_yardsticks_move_with_its_weights(plain: ModuleType) -> None:
    """A ReLU or a maximum that flips changes a gradient by a jump, so rounding alone does not bound the difference.

    Weights that move by 1e-5 move the outputs by less than the 1e-4 that the two supernets may differ by.
    """
    spec = TASKS["ninapro"].spec

    def gradient(network: Any, precision: torch.dtype, moved: float = 0.0) -> Tensor:
        same = copy.deepcopy(network).to(precision)
        with torch.no_grad():
            for parameter in same.cells.parameters():
                parameter.mul_(1 + moved * torch.randn_like(parameter))
        loss = functional.cross_entropy(same(x.to(precision)), y)
        found = torch.autograd.grad(loss, list(same.parameters()), allow_unused=True)
        return torch.cat([value.double().flatten() for value in found if value is not None])

    errors, moves = [], []
    for seed in range(3):
        ours, theirs = pair(plain, spec, Relaxation(width=8, cells=4), seed)
        x, y = torch.randn(8, *spec.input_shape, dtype=torch.float64), torch.randint(18, (8,))
        exact, expected = gradient(ours, torch.float64), gradient(theirs, torch.float64)
        errors.append(float((gradient(ours, torch.float32) - exact).norm() / exact.norm()))
        moves.append(float((gradient(theirs, torch.float64, 1e-5) - expected).norm() / expected.norm()))
    assert max(errors) < max(moves) < 0.1
    # where nothing flips
    assert min(errors) < 5e-5


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.sampled_from(((3, 3), (5, 5), (3, 1), (5, 1))),
    dilation=st.sampled_from((1, 2)),
    stride=st.sampled_from((1, 2)),
)
def test_convolutions_and_their_gradients(
    sizes: tuple[int, int], kernel: tuple[int, int], dilation: int, stride: int
) -> None:
    height, width = sizes if kernel[1] > 1 else (sizes[0], 1)
    x = torch.randn(2, 3, height, width, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(6, 1, *kernel, dtype=torch.float64)
    copies = torch.eye(3, dtype=torch.float64).repeat(1, 2)

    def obvious(x: Tensor, weight: Tensor) -> Tensor:
        pads = tuple(dilation * (size // 2) for size in kernel)
        return functional.conv2d(x.repeat(1, 2, 1, 1), weight, None, stride, pads, dilation, 6)

    def ours(x: Tensor, weight: Tensor) -> Tensor:
        return fan(x, copies, [weight], [dilation], stride)[0]

    results = []
    for compute in (ours, obvious):
        a, b = x.clone().requires_grad_(), weight.clone().requires_grad_()
        out = compute(a, b)
        results.append((out, *torch.autograd.grad(out.square().sum(), (a, b))))
    for mine, expected in zip(*results, strict=True):
        torch.testing.assert_close(mine, expected)
    if dilation == stride == 1:
        wide = x.repeat(1, 2, 1, 1)
        torch.testing.assert_close(depthwise(wide, weight), results[1][0])


@settings(deadline=None, max_examples=30)
@given(
    length=st.integers(1, 12),
    taps=st.sampled_from((3, 5)),
    dilation=st.sampled_from((1, 2)),
    stride=st.sampled_from((1, 2)),
)
def test_windows_times_a_kernel_are_the_convolution(length: int, taps: int, dilation: int, stride: int) -> None:
    # a part of an image of more channels, as the supernet hands it over
    whole = torch.randn(2, 6, length, 1, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(4, 3, taps, dtype=torch.float64)

    def ours(x: Tensor, weight: Tensor) -> Tensor:
        rows = windows(x[:, 3:], taps, dilation, stride) @ weight.permute(2, 1, 0).reshape(-1, 4)
        return rows.view(2, -1, 4).transpose(1, 2)

    def obvious(x: Tensor, weight: Tensor) -> Tensor:
        return functional.conv1d(x[:, 3:, :, 0], weight, None, stride, dilation * (taps // 2), dilation)

    results = []
    for compute in (ours, obvious):
        a, b = whole.clone().requires_grad_(), weight.clone().requires_grad_()
        out = compute(a, b)
        results.append((out, *torch.autograd.grad(out.square().sum(), (a, b))))
    for mine, expected in zip(*results, strict=True):
        torch.testing.assert_close(mine, expected)


@pytest.mark.parametrize("window", [(3, 3), (3, 1)])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_average_pool_is_that_of_torch(window: tuple[int, int], size: int) -> None:
    x = torch.randn(2, 3, size, size if window[1] > 1 else 1, dtype=torch.float64)
    results = []
    for pool in (
        average_pool,
        lambda a, sizes: functional.avg_pool2d(a, sizes, 1, [k // 2 for k in sizes], count_include_pad=False),
    ):
        a = x.clone(memory_format=torch.channels_last).requires_grad_()
        out = pool(a, window)
        results.append((out, *torch.autograd.grad(out.square().sum(), a)))
    for mine, expected in zip(*results, strict=True):
        torch.testing.assert_close(mine, expected)


def test_an_architecture_step_computes_no_gradient_of_a_kernel(
    spec_of: SpecOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    taps = darts_kernels._taps

    def counted(*given: Any) -> Tensor:
        calls.append(1)
        return taps(*given)

    monkeypatch.setattr(darts_kernels, "_taps", counted)
    supernet = DARTS_CELL.relax(spec_of(2, "point"), SMALL)
    x = torch.randn(2, *spec_of(2, "point").input_shape)
    parameters = list(supernet.architecture_parameters().values())
    torch.autograd.grad(supernet(x).square().sum(), parameters)
    assert not calls
    torch.autograd.grad(supernet(x).square().sum(), [*parameters, *supernet.weight_parameters()])
    assert calls


@pytest.mark.parametrize("mixing", ["softmax", "simplex", "double_softmax"])
def test_mixtures_are_distributions(spec_of: SpecOf, mixing: Any) -> None:
    supernet = DARTS_CELL.relax(spec_of(1, "point"), Relaxation(4, True, mixing, 8, 3))
    groups, weights = supernet.simplices(), supernet.mixture()
    assert list(groups) == ["normal.alpha", "normal.beta", "reduce.alpha", "reduce.beta"] == list(weights)
    for name, parameter in supernet.architecture_parameters().items():
        assert parameter.dtype == torch.float32
        assert groups[name].shape == parameter.shape == weights[name].shape
        assert not weights[name].requires_grad
    for kind in ("normal", "reduce"):
        torch.testing.assert_close(weights[f"{kind}.alpha"].sum(dim=1), torch.ones(14))
        by_node = torch.zeros(4).index_add_(0, torch.tensor([node for _, node in EDGES]), weights[f"{kind}.beta"])
        torch.testing.assert_close(by_node, torch.ones(4))
    if mixing != "softmax":
        # no edge is stronger than another at its node: max pools of both inputs everywhere
        decoded = DARTS_CELL.decode(supernet)
        assert decoded.normal == decoded.reduce == tuple(Gene("max_pool_3x3", source) for source in (0, 1)) * 4
    apart = {id(parameter) for parameter in supernet.weight_parameters()}
    own = {id(parameter) for parameter in supernet.architecture_parameters().values()}
    assert not apart & own
    assert apart | own == {id(parameter) for parameter in supernet.parameters()}


@pytest.mark.parametrize("place", [(0, 4), (3, 0), (13, 7), (6, 1)])
def test_gradient_of_a_mixture_weight_is_the_finite_difference(spec_of: SpecOf, place: tuple[int, int]) -> None:
    spec = spec_of(2, "point")
    torch.manual_seed(1)
    supernet = DARTS_CELL.relax(spec, SMALL).double()
    x = torch.randn(2, *spec.input_shape, dtype=torch.float64)

    def loss() -> Tensor:
        total: Tensor = supernet(x).square().sum()
        return total

    for name, where in (("normal.alpha", place), ("reduce.beta", place[:1])):
        parameter = supernet.architecture_parameters()[name]
        (gradient,) = torch.autograd.grad(loss(), parameter)
        ends_of = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter[where] += sign * 1e-5
                ends_of.append(float(loss()))
                parameter[where] -= sign * 1e-5
        assert (ends_of[0] - ends_of[1]) / 2e-5 == pytest.approx(float(gradient[where]), rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("dims", [1, 2])
def test_at_a_corner_it_is_the_discrete_cell(plain: ModuleType, dims: int) -> None:
    torch.manual_seed(2)
    ours = DARTS_CELL.relax(TASKS["ninapro" if dims == 2 else "satellite"].spec, Relaxation(1, True, "simplex", 4, 3))
    theirs = plain.PlainSupernet(TASKS["ninapro" if dims == 2 else "satellite"].spec, ours.relaxation)
    plain.copy_weights(ours, theirs)
    # pools have a batch norm in the supernet only, so the cell is one without pools
    genes = DARTS_V2[0]
    alpha, beta = torch.zeros(14, 8), torch.zeros(14)
    cell = DiscreteCell(dims, genes, 12, 12, 4, halve=False, stride=1)
    cell.pre_0.load_state_dict(theirs.cells[0].pre_0.state_dict(), strict=False)
    cell.pre_1.load_state_dict(theirs.cells[0].pre_1.state_dict(), strict=False)
    for position, gene in enumerate(genes):
        row, column = EDGES.index((gene.input, position // 2)), OPERATIONS.index(gene.operation)
        alpha[row, column] = beta[row] = 1
        shared = theirs.cells[0].edges[row].operations[column]
        target = cell.operations[position]
        layers = target if isinstance(target, torch.nn.Identity) else target.get_submodule("0")
        layers.load_state_dict(shared.state_dict(), strict=False)
    x = torch.randn(3, 12, *[9] * dims)
    flat = (x.unsqueeze(3) if dims == 1 else x).contiguous(memory_format=torch.channels_last).relu()
    rows = ours.rows
    out = ours.cells[0](flat, flat, (alpha * beta.unsqueeze(1))[rows], beta[rows])
    torch.testing.assert_close(out.squeeze(3) if dims == 1 else out, cell(x, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_every_task(task: str) -> None:
    spec = TASKS[task].spec
    torch.manual_seed(0)
    supernet = DARTS_CELL.relax(spec, SMALL)
    x = torch.randn(2, spec.input_shape[0], *[min(size, 19) for size in spec.input_shape[1:]])
    out = supernet(x)
    assert out.shape == ((2, spec.output.channels, *x.shape[2:]) if ends.is_dense(spec) else (2, spec.output.channels))
    out.square().sum().backward()
    for parameter in supernet.parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.isfinite().all())
    decoded = DARTS_CELL.decode(supernet)
    DARTS_CELL.build(decoded, spec)
    assert set(supernet.kinds) == ({"normal"} if ends.is_dense(spec) else {"normal", "reduce"})


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 40])
@pytest.mark.parametrize("dims", [1, 2])
def test_every_size(plain: ModuleType, spec_of: SpecOf, dims: int, size: int) -> None:
    ours, theirs = pair(plain, spec_of(dims, "point"), SMALL)
    x = torch.randn(3, 2, *[size] * dims, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-9)


def test_counting_and_copying(spec_of: SpecOf) -> None:
    spec = spec_of(2, "point")
    supernet = DARTS_CELL.relax(spec, SMALL)
    measured = cost.measure(supernet, spec)
    assert measured.macs > 0
    assert measured.parameters == sum(parameter.numel() for parameter in supernet.parameters())
    other = DARTS_CELL.relax(spec, SMALL)
    other.load_state_dict(supernet.state_dict())
    x = torch.randn(2, *spec.input_shape)
    assert torch.equal(supernet(x), other(x))


def test_the_generator_decides_the_start(spec_of: SpecOf) -> None:
    starts = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        supernet = DARTS_CELL.relax(spec_of(1, "point"), Relaxation(4, True, "softmax", 8, 3))
        starts.append(np.concatenate([parameter.detach().flatten().numpy() for parameter in supernet.parameters()]))
    assert np.array_equal(starts[0], starts[1])
    assert not np.array_equal(starts[0], starts[2])


def test_relaxations_are_checked() -> None:
    with pytest.raises(RunError, match="mixing 'hard' is none of softmax, simplex, double_softmax"):
        Relaxation(mixing="hard")  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(RunError, match="width 12 is no multiple of 8, twice the 4 partial channels"):
        Relaxation(width=12)
    with pytest.raises(RunError, match="cells 2 at least 3"):
        Relaxation(cells=2)
