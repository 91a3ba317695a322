"""The contract of every space, and the sizes of its networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nas360.baselines import cost, ends
from nas360.baselines.device import owned_randomness
from nas360.baselines.losses import make_loss
from nas360.baselines.method import METHODS, Method, get_method
from nas360.baselines.spaces.resnet1d import RESNET1D, ResNet1dArchitecture
from nas360.baselines.spaces.timm_models import TimmArchitecture
from nas360.baselines.spaces.wide_resnet import WIDE_RESNET, WideResNetArchitecture
from nas360.errors import RunError, UnknownNameError
from nas360.loaders import TASKS
from nas360.task import TaskSpec

CPU = torch.device("cpu")
MEMBERS = (*METHODS, "timm:resnet10t")
SpecOf = Callable[[int, str], TaskSpec]


@pytest.fixture(params=MEMBERS)
def method(request: pytest.FixtureRequest) -> Method:
    return get_method(request.param)


@pytest.fixture(params=[(dims, kind) for dims in (1, 2) for kind in ("point", "multilabel", "real", "mask")], ids=str)
def spec(request: pytest.FixtureRequest, spec_of: SpecOf) -> TaskSpec:
    dims, kind = request.param
    return spec_of(dims, kind)


@pytest.fixture(params=[(dims, kind) for dims in (1, 2) for kind in ("point", "real")], ids=str)
def short_spec(request: pytest.FixtureRequest, spec_of: SpecOf) -> TaskSpec:
    dims, kind = request.param
    return spec_of(dims, kind)


def build(method: Method, spec: TaskSpec, seed: int = 0) -> torch.nn.Module:
    """The method's cheapest network, since only the form is looked at."""
    architectures = (method.space.default(spec), *method.space.narrower(method.space.default(spec)))
    with owned_randomness(np.random.default_rng(seed), CPU):
        return method.space.build(architectures[-1], spec)


def test_every_supported_task_is_served_and_every_other_refused(method: Method, spec: TaskSpec) -> None:
    if not method.supports(spec):
        with pytest.raises(RunError, match=f"{method.id} cannot run on {spec.id}"):
            method.check(spec)
        with pytest.raises(RunError, match="use wrn"):
            build(method, spec)
        return
    method.check(spec)
    model = ends.TaskModel(build(method, spec), spec)
    x = torch.randn(4, *spec.input_shape)
    out = model(x)
    expected = spec.input_shape[1:] if ends.is_dense(spec) else (spec.output.channels,)
    assert tuple(out.shape) == (4, *expected)
    assert out.dtype == torch.float32
    y = torch.zeros(4, dtype=torch.int64) if spec.output.kind == "point" else torch.ones(4, *expected)
    make_loss(spec.loss)(out, y, None).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == [], "parameters that no gradient reaches are never learnt"


def test_same_seed_same_weights_and_the_global_generator_is_left_alone(method: Method, short_spec: TaskSpec) -> None:
    spec = short_spec
    if not method.supports(spec):
        pytest.skip("refused")
    before = torch.get_rng_state()
    first, again, other = build(method, spec).state_dict(), build(method, spec).state_dict(), build(method, spec, 1)
    assert bool((torch.get_rng_state() == before).all())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], value) for name, value in other.state_dict().items())


def test_architectures_pass_through_json(method: Method, short_spec: TaskSpec) -> None:
    spec = short_spec
    space = method.space
    default = space.default(spec)
    for architecture in (default, *space.narrower(default)):
        stored = json.loads(json.dumps(space.to_json(architecture), allow_nan=False))
        assert space.from_json(stored) == architecture
    with pytest.raises(RunError, match=r"missing .*; unknown nonsense"):
        space.from_json({"nonsense": 1})
    for content in ([], None, 3, "text", [["stem", 3]]):
        with pytest.raises(RunError, match="is no object"):
            space.from_json(content)  # type: ignore[arg-type]  # a file may hold any value


def test_narrower_architectures_cost_less_and_less(method: Method, short_spec: TaskSpec) -> None:
    spec = short_spec
    if not method.supports(spec):
        pytest.skip("refused")
    default = method.space.default(spec)
    sizes = [
        cost.measure(method.space.build(architecture, spec), spec).work
        for architecture in (default, *method.space.narrower(default))
    ]
    assert sizes == sorted(set(sizes), reverse=True)


# multiply-adds in millions, measured on the reference implementation
REFERENCE_MMACS = {
    ("wrn", "cifar100"): 393,
    ("wrn", "spherical"): 1380,
    ("wrn", "ninapro"): 319,
    ("wrn", "fsd50k"): 3765,
    ("wrn", "darcy_flow"): 19818,
    ("wrn", "psicov"): 45068,
    ("wrn", "cosmic"): 44936,
    ("resnet1d", "ecg"): 500,
    ("resnet1d", "satellite"): 23,
    ("resnet1d", "deepsea"): 502,
}


@pytest.mark.parametrize(("name", "task"), REFERENCE_MMACS, ids=str)
def test_multiply_adds_are_those_of_the_reference(name: str, task: str) -> None:
    spec, method = TASKS[task].spec, METHODS[name]
    measured = cost.measure(ends.TaskModel(method.space.build(method.space.default(spec), spec), spec), spec)
    assert round(measured.macs / 1e6) == REFERENCE_MMACS[name, task]
    expected = spec.input_shape[1:] if ends.is_dense(spec) else (spec.output.channels,)
    assert measured.output_shape == expected


def wrn_parameters(depth: int, width: int, channels: int, outputs: int, taps: int) -> int:
    """Counted by hand: `taps` weights a pair of channels in a kernel of 3 in every dimension."""
    total, inside = channels * 16 * taps, 16
    for group in (16 * width, 32 * width, 64 * width):
        for _ in range((depth - 4) // 6):
            total += 2 * inside + 2 * group  # the scales and shifts of two norms
            total += taps * (inside * group + group * group)
            total += inside * group if inside != group else 0  # the shortcut
            inside = group
    return total + 2 * inside + inside * outputs + outputs


@pytest.mark.parametrize(("depth", "width"), [(16, 4), (16, 1), (10, 2), (28, 10)])
def test_parameters_of_wide_resnets(depth: int, width: int) -> None:
    for task, taps in (("cifar100", 9), ("deepsea", 3), ("cosmic", 9)):
        spec = TASKS[task].spec
        with torch.device("meta"):
            network = WIDE_RESNET.build(WideResNetArchitecture(depth, width), spec)
        by_hand = wrn_parameters(depth, width, spec.input_shape[0], spec.output.channels, taps)
        assert cost.count_parameters(network) == by_hand
    # WRN-28-10 on CIFAR-100 is printed as 36.5M in its paper, WRN-16-4 as 2.8M
    assert round(wrn_parameters(28, 10, 3, 10, 9) / 1e6, 1) == 36.5
    assert round(wrn_parameters(16, 4, 3, 10, 9) / 1e6, 1) == 2.7


def test_the_reference_s_third_block_is_an_option() -> None:
    spec = TASKS["ecg"].spec
    x = torch.randn(2, *spec.input_shape)
    with owned_randomness(np.random.default_rng(0), CPU):
        ours = RESNET1D.build(ResNet1dArchitecture(), spec).eval()
    with owned_randomness(np.random.default_rng(0), CPU):
        theirs = RESNET1D.build(ResNet1dArchitecture(residual="reference"), spec).eval()
    ours_state, theirs_state = ours.state_dict(), theirs.state_dict()
    assert all(torch.equal(ours_state[name], theirs_state[name]) for name in theirs_state)
    body, their_body = ours.get_submodule("body"), theirs.get_submodule("body")
    two = body[:2](x)  # type: ignore[index]  # a Sequential
    change = body[2].change(two)  # type: ignore[index]  # a Sequential of blocks
    torch.testing.assert_close(body(x), (change + two).relu())
    torch.testing.assert_close(their_body(x), change.relu())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WideResNetArchitecture(depth=17), "depth 17 of a Wide ResNet is not 6 n"),
        (lambda: WideResNetArchitecture(width=0), "width 0 of a Wide ResNet"),
        (lambda: WideResNetArchitecture(dropout=1.0), "dropout 1.0 is not a probability"),
        (lambda: WIDE_RESNET.from_json({"depth": 16, "width": True, "dropout": 0}), "width is True, not int"),
        (lambda: ResNet1dArchitecture(widths=(0, 1, 1)), "are not three numbers"),
        (lambda: RESNET1D.from_json({"widths": [64, 128, "x"], "residual": "every_block"}), "not three whole numbers"),
        (lambda: RESNET1D.from_json({"widths": [64, 128, 128], "residual": "no"}), "residual 'no' is none of"),
    ],
)
def test_bad_architectures(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        make()


def test_dropout_acts_in_training_alone() -> None:
    spec = TASKS["satellite"].spec
    network = WIDE_RESNET.build(WideResNetArchitecture(width=1, dropout=0.5), spec)
    x = torch.randn(8, *spec.input_shape)
    with torch.no_grad():
        network.train()
        assert not torch.equal(network(x), network(x))
        network.eval()
        assert torch.equal(network(x), network(x))


def test_timm_models_are_told_the_size_of_small_images(spec_of: SpecOf) -> None:
    spec = TASKS["cifar100"].spec
    vit = get_method("timm:vit_tiny_patch16_224")
    assert tuple(vit.space.build(vit.space.default(spec), spec)(torch.zeros(1, 3, 32, 32)).shape) == (1, 100)
    # smaller than one patch of 16
    spec = spec_of(2, "point")
    with pytest.raises(
        RunError, match=r"timm:vit_tiny_patch16_224 cannot take the inputs of toy_point_2d.*\(2, 12, 9\)"
    ):
        vit.space.build(vit.space.default(spec), spec)


def test_an_unknown_timm_model_is_answered_with_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"timm has no model 'resnet81'\. Nearest: .*resnet18"):
        get_method("timm:resnet81")
    with pytest.raises(UnknownNameError, match="timm has no model ''"):
        TimmArchitecture("")


def test_unknown_methods_are_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown method 'resnet1'\. Did you mean 'resnet1d'\?.*timm:NAME"):
        get_method("resnet1")


def test_counting_leaves_the_network_as_it_is() -> None:
    spec = TASKS["satellite"].spec
    network = WIDE_RESNET.build(WideResNetArchitecture(width=1), spec)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = cost.measure(network, spec)
    assert first == cost.measure(network, spec)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_multiply_adds_and_outputs_by_hand() -> None:
    spec = TASKS["satellite"].spec
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(46, 10), torch.nn.ReLU(), torch.nn.Linear(10, 24))
    measured = cost.measure(network, spec)
    assert measured.macs == 46 * 10 + 10 * 24
    # flattening is a view, which writes nothing
    assert measured.outputs == 10 + 10 + 24
    assert measured.parameters == 46 * 10 + 10 + 10 * 24 + 24
    assert measured.work == measured.macs + cost.TRAFFIC * measured.outputs
