"""AMBER's space: kernels against torch, children against networks of their own, sharing, drawings."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas360.baselines import cost, nd
from nas360.baselines.spaces import amber_kernels as kernels
from nas360.baselines.spaces.amber_architecture import OPERATIONS, AmberArchitecture
from nas360.baselines.spaces.amber_layers import AMBER_LAYERS, AmberLayers
from nas360.baselines.spaces.amber_network import MAX_NORM, AmberNetwork, operation, reductions
from nas360.baselines.spaces.amber_shared import AmberShared, Normed
from nas360.baselines.spaces.layered import Child
from nas360.errors import RunError
from nas360.loaders import TASKS
from nas360.task import TaskSpec

SpecOf = Callable[[int, str], TaskSpec]
SMALL = AmberLayers(layers=4)


def child_of(architecture: AmberArchitecture) -> Child:
    return Child(tuple(map(OPERATIONS.index, architecture.operations)), architecture.skips)


def children(spec: TaskSpec, n: int, space: AmberLayers = AMBER_LAYERS) -> list[Child]:
    return [child_of(space.sample(spec, np.random.default_rng(seed))) for seed in range(n)]


def in_time(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer of (n, channels, length) on a time-major signal."""
    out: Tensor = layer(x.permute(1, 2, 0))
    return out.permute(2, 0, 1)


@pytest.mark.parametrize("length", [1, 2, 3, 12, 46])
@pytest.mark.parametrize(("kernel", "dilation"), [(8, 1), (4, 1), (8, 10), (4, 10), (1, 1)])
def test_convolutions_in_time_are_those_of_torch_with_their_gradients(length: int, kernel: int, dilation: int) -> None:
    torch.manual_seed(0)
    layer = nd.conv(1, 3, 5, kernel, dilation=dilation).double()
    (parameter,) = layer.parameters()
    x = torch.randn(length, 2, 3, dtype=torch.float64, requires_grad=True)
    weight = parameter.detach().permute(2, 1, 0).clone().requires_grad_()
    theirs, ours = in_time(layer, x), kernels.convolve(x, weight, dilation)
    torch.testing.assert_close(ours, theirs)
    gradient = torch.randn_like(ours)
    of_theirs = torch.autograd.grad(theirs, (x, parameter), gradient)
    of_ours = torch.autograd.grad(ours, (x, weight), gradient)
    torch.testing.assert_close(of_ours[0], of_theirs[0])
    torch.testing.assert_close(of_ours[1], of_theirs[1].permute(2, 1, 0))


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 46])
@pytest.mark.parametrize("name", ["max", "avg", "tiles"])
def test_pools_in_time_are_those_of_torch_with_their_gradients(length: int, name: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(length, 2, 3, requires_grad=True)
    layers = {"max": nd.max_pool(1, 4), "avg": nd.avg_pool(1, 4), "tiles": nd.max_of_tiles(1, 4)}
    mine: dict[str, Callable[[Tensor], Tensor]]
    mine = {"max": kernels.max_pool, "avg": kernels.avg_pool, "tiles": lambda x: kernels.max_of_tiles(x, 4)}
    theirs, ours = in_time(layers[name], x), mine[name](x)
    torch.testing.assert_close(ours, theirs)
    gradient = torch.randn_like(ours)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, gradient)[0] for y in (ours, theirs)))


def test_pools_of_even_kernels_by_hand() -> None:
    x = torch.tensor([[[1.0, 5.0, 2.0, 0.0, 3.0]]])
    assert nd.max_pool(1, 4)(x)[0, 0].tolist() == [5, 5, 5, 3, 3]
    # of positions t - 1 … t + 2, those that there are
    assert nd.avg_pool(1, 4)(x)[0, 0].tolist() == [pytest.approx(v) for v in (8 / 3, 2, 2.5, 5 / 3, 1.5)]
    assert nd.max_of_tiles(1, 4)(x)[0, 0].tolist() == [5, 3]
    with pytest.raises(ValueError, match="stride 2 of a pooling with an even kernel must be 1"):
        nd.max_pool(1, 4, stride=2)


def test_of_equal_neighbours_the_first_takes_the_gradient() -> None:
    x = torch.tensor([2.0, 2.0, 1.0]).view(3, 1, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(kernels.max_pool(x), x, torch.tensor([1.0, 10.0, 100.0]).view(3, 1, 1))
    assert gradient.flatten().tolist() == [11, 100, 0]


def test_dropout_leaves_out_its_share_and_keeps_the_expectation() -> None:
    torch.manual_seed(0)
    x = torch.full((101, 99, 101), 2.0, requires_grad=True)
    out = kernels.dropout(x, 0.1)
    zero = out == 0
    assert float(zero.float().mean()) == pytest.approx(0.1, abs=0.001)
    assert sorted(set(out.detach()[~zero].tolist())) == [pytest.approx(2 / 0.9, rel=1e-4)]
    assert float(out.detach().mean()) == pytest.approx(2, abs=0.003)
    # neighbours, which share random bits, are left out independently of one another
    both = (zero.flatten()[1:] & zero.flatten()[:-1]).float().mean()
    assert float(both) == pytest.approx(0.01, abs=0.0005)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(gradient * x.detach(), out.detach())
    torch.manual_seed(0)
    assert torch.equal(kernels.dropout(x, 0.1), out)


@pytest.mark.parametrize("length", range(1, 13))
@pytest.mark.parametrize("name", OPERATIONS)
def test_no_operation_is_blind_at_any_length(name: str, length: int) -> None:
    torch.manual_seed(0)
    layer = operation(name, 1, 32, length).eval()
    first, second = (layer(torch.randn(1, 32, length)) for _ in range(2))
    assert (first != second).any(dim=1).all(), "an output position that no input reaches is a constant"


def as_in(network: AmberNetwork, shared: AmberShared, child: Child) -> None:
    """Copy a network's weights into its place among the shared ones."""

    def copy(normed: Normed, layer: nn.Module) -> None:
        modules = list(layer.modules())
        (kernel,) = (one.get_parameter("weight") for one in modules if nd.is_conv(one))
        (norm,) = (one for one in modules if nd.is_batch_norm(one))
        normed.weight.copy_(kernel.permute(2, 1, 0))
        normed.scale.copy_(norm.get_parameter("weight"))
        normed.shift.copy_(norm.get_parameter("bias"))

    with torch.no_grad():
        copy(shared.stem, network.stem)
        for layer, token in enumerate(child.operations):
            if OPERATIONS[token] != "identity":
                copy(shared.operations[layer][token], network.operations[layer])  # type: ignore[index]  # a list
            if layer:
                shared.norms[layer].load_state_dict(
                    {
                        name: network.norms[layer].get_parameter(old)
                        for name, old in (("scale", "weight"), ("shift", "bias"))
                    }
                )
        for name, reduction in network.reductions.items():
            copy(shared.reductions[name], reduction)  # type: ignore[arg-type]  # a Normed
        shared.hidden.load_state_dict(network.hidden.state_dict())
        shared.answer.load_state_dict(network.answer.state_dict())


@pytest.mark.parametrize("task", ["ecg", "satellite", "deepsea"])
@pytest.mark.parametrize("seed", range(3))
def test_a_child_is_the_network_of_its_choices(task: str, seed: int) -> None:
    torch.manual_seed(seed)
    spec = TASKS[task].spec
    child = children(spec, seed + 1)[seed]
    network: Any = AMBER_LAYERS.alone(child, spec, 4)
    for module in network.modules():  # norms that do nothing at first would hide a wrong place
        if nd.is_batch_norm(module):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    network.constrain()
    shared = AMBER_LAYERS.share(spec, 4)
    as_in(network, shared, child)
    shared.dropout, shared.child, network.dropout.p = 0.0, child, 0.0
    # in float32 twelve norms make of a rounding that some pool or ReLU falls otherwise
    x = torch.randn(6, *spec.input_shape, dtype=torch.float64, requires_grad=True)
    ours, theirs = shared.double()(x), network.double()(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    first, second = (torch.autograd.grad(y[:, 0].square().sum(), x)[0] for y in (ours, theirs))
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("length", [33, 46])
def test_what_children_share_changes_no_number(length: int, spec_of: SpecOf) -> None:
    torch.manual_seed(0)
    spec = spec_of(1, "point").model_copy(update={"input_shape": (2, length)})
    shared = SMALL.share(spec, 4).eval()
    start = Child((0, 4, 5, 2), ((), (0,), (0, 1), (2,)))
    # alike up to the last operation, up to the last skips, equal, and others
    some = [start, start._replace(operations=(0, 4, 5, 6)), start._replace(skips=((), (0,), (0, 1), ())), start]
    some += children(spec, 20, SMALL)
    x = torch.randn(5, *spec.input_shape)
    with torch.no_grad():
        together = shared.outputs(x, some)
        for child, output in zip(some, together, strict=True):
            shared.child = child
            assert torch.equal(shared(x), output)
    assert len({tuple(output.flatten().tolist()) for output in together}) >= 20


def test_gradients_reach_what_the_child_uses_and_nothing_else(spec_of: SpecOf) -> None:
    shared = SMALL.share(spec_of(1, "point"), 4)
    shared.child = Child((0, 6, 4, 3), ((), (), (0,), ()))
    shared(torch.randn(4, *spec_of(1, "point").input_shape)).square().sum().backward()
    used = {name.rsplit(".", 1)[0] for name, value in shared.named_parameters() if value.grad is not None}
    assert used == {
        *("stem", "operations.0.0", "operations.2.4", "operations.3.3", "norms.1", "norms.2", "norms.3"),
        *("reductions.0_1", "reductions.0_2", "reductions.1_2", "reductions.2_3", "hidden", "answer"),
    }


def test_what_is_reduced_is_what_is_asked_for() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        skips = AMBER_LAYERS.sample(TASKS["ecg"].spec, rng).skips
        wanted = set()
        for layer in range(1, 12):
            for source in {*skips[layer], layer - 1}:
                wanted |= {(source, stage) for stage in range(source // 3 + 1, layer // 3 + 1)}
        assert set(reductions(skips)) == wanted
        assert len(reductions(skips)) == len(wanted)


def test_kernels_are_bound_in_every_pass() -> None:
    spec = TASKS["satellite"].spec
    network: Any = AMBER_LAYERS.build(AmberArchitecture(("conv_8",) * 4, ((),) * 4, width=4), spec)
    kernel = network.operations[0][0][1].weight
    with torch.no_grad():
        kernel.mul_(10)
        kernel[0, 0] = 0.01
    direction = kernel.detach() / kernel.detach().norm(dim=2, keepdim=True)
    out = network(torch.randn(3, 1, 46))
    norms = kernel.detach().norm(dim=2)
    assert float(norms.max()) == pytest.approx(MAX_NORM, abs=1e-5)
    assert float(norms[0, 0]) == pytest.approx(0.01 * 8**0.5)
    torch.testing.assert_close(kernel.detach() / norms[:, :, None], direction)
    # one pass more changes nothing, nor does it keep the first one from its gradients
    network(torch.randn(3, 1, 46))
    out.sum().backward()
    assert kernel.grad is not None


def test_parameters_of_a_network_by_hand() -> None:
    spec = TASKS["ecg"].spec
    skips = ((), (0,), (), (0,))
    network = AMBER_LAYERS.build(
        AmberArchitecture(("conv_8", "identity", "max_pool_4", "conv_4"), skips, width=2), spec
    )
    stem, layers = 8 * 1 * 2 + 4, 8 * 2 * 2 + 4 + 8 * 8 + 16 + 4 * 16 * 16 + 32
    norms = 2 * (4 + 8 + 16)
    # layer 0 goes to stages 1 to 3 for layer 3; layers 1 and 2 to the next as its input
    brought = (2 * 4 + 8 + 4 * 8 + 16 + 8 * 16 + 32) + (4 * 8 + 16) + (8 * 16 + 32)
    ends = (16 * 16 * 100 + 100) + (100 * 4 + 4)
    assert cost.count_parameters(network) == stem + layers + norms + brought + ends


def test_the_published_width_doubles_the_children_s() -> None:
    spec = TASKS["ecg"].spec
    final = AMBER_LAYERS.architecture(children(spec, 1)[0])
    assert (final.width, final.hidden, final.dropout) == (64, 100, 0.1)
    assert AMBER_LAYERS.layout.layers == 12
    assert AMBER_LAYERS.share(spec, 32).hidden.in_features == 256 * 16
    assert AMBER_LAYERS.share(spec, 32).hidden.out_features == 925


def test_drawn_architectures_are_uniform() -> None:
    rng, spec = np.random.default_rng(0), TASKS["ecg"].spec
    drawn = [AMBER_LAYERS.sample(spec, rng) for _ in range(300)]
    share = np.mean([sum(map(len, one.skips)) / 66 for one in drawn])
    assert share == pytest.approx(0.5, abs=0.02)
    counts = np.bincount([OPERATIONS.index(name) for one in drawn for name in one.operations], minlength=7)
    np.testing.assert_allclose(counts / counts.sum(), 1 / 7, atol=0.03)


@pytest.mark.parametrize(("dims", "kind", "reason"), [(2, "point", "signals"), (1, "real", "one answer a sample")])
def test_tasks_it_cannot_serve(dims: int, kind: str, reason: str, spec_of: SpecOf) -> None:
    spec = spec_of(dims, kind)
    assert reason in str(AMBER_LAYERS.refusal(spec))
    with pytest.raises(RunError, match=reason):
        AMBER_LAYERS.build(AMBER_LAYERS.default(spec), spec)
    with pytest.raises(RunError, match=reason):
        AMBER_LAYERS.share(spec, 4)


def test_it_serves_the_paper_s_tasks() -> None:
    assert [name for name, task in TASKS.items() if AMBER_LAYERS.refusal(task.spec) is None] == [
        *("ecg", "satellite", "deepsea"),
    ]


FOUR: dict[str, Any] = {"operations": ("identity",) * 4, "skips": ((), (0,), (0, 1), ())}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"operations": ("identity",) * 3}, "3 layers of an AMBER network are no multiple of 4"),
        ({"operations": ("identity",) * 3 + ("conv_5",)}, "operation 'conv_5' is none of conv_8"),
        ({"skips": ((), ())}, "2 lists of skips for 4 layers"),
        ({"skips": ((), (1,), (), ())}, r"skips \(1,\) of layer 1"),
        ({"skips": ((), (), (1, 0), ())}, r"skips \(1, 0\) of layer 2"),
        ({"skips": ((), (), (0, 0), ())}, r"skips \(0, 0\) of layer 2"),
        ({"skips": ((), (), (-1,), ())}, r"skips \(-1,\) of layer 2"),
        ({"width": 0}, "width 0 and hidden width 100"),
        ({"dropout": 1.0}, "dropout 1.0 is not a probability"),
    ],
)
def test_bad_architectures(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        AmberArchitecture(**{**FOUR, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"skips": [[], ["0"], [], []]}, r"skips \['0'\] are not a list of whole numbers"),
        ({"skips": [[], [False], [], []]}, r"skips \[False\] are not a list of whole numbers"),
        ({"skips": [0, 0, 0, 0]}, "skips 0 are not a list"),
        ({"operations": [1, 2, 3, 4]}, "are not all names"),
        ({"width": "64"}, "width is '64', not int"),
    ],
)
def test_foreign_json(changes: dict[str, Any], message: str) -> None:
    content = json.loads(json.dumps(AMBER_LAYERS.to_json(AmberArchitecture(**FOUR))))
    assert AMBER_LAYERS.from_json(content) == AmberArchitecture(**FOUR)
    with pytest.raises(RunError, match=message):
        AMBER_LAYERS.from_json({**content, **changes})


def test_names_for_people() -> None:
    assert str(AmberArchitecture(**FOUR)) == "AMBER iiii with 3 skips, width 64"
    assert str(AmberArchitecture((*OPERATIONS, "conv_8"), ((),) * 8)) == "AMBER CcDdmaiC with 0 skips, width 64"


def test_a_picture_holds_no_sign_that_xml_cannot() -> None:
    root = ElementTree.fromstring(AMBER_LAYERS.draw(AmberArchitecture(**FOUR), "a\x00\x1bb"))
    assert "a??b" in [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_picture_shows_every_layer_and_every_skip() -> None:
    for seed, name in itertools.product(range(3), ("", "a & b <script>alert(1)</script>")):
        architecture = AMBER_LAYERS.sample(TASKS["ecg"].spec, np.random.default_rng(seed))
        root = ElementTree.fromstring(AMBER_LAYERS.draw(architecture, name))
        space = "{http://www.w3.org/2000/svg}"
        boxes = [one for one in root.iter(f"{space}rect") if one.get("class") == "box"]
        arches = [one for one in root.iter(f"{space}path") if "q" in str(one.get("d")) and one.get("marker-end")]
        assert len(boxes) == 14
        assert len(arches) == sum(map(len, architecture.skips))
        assert not list(root.iter(f"{space}script"))
        shown = [text.text for text in root.iter(f"{space}text")]
        assert (name in shown) == bool(name)
        height = float(str(root.get("height")))
        tops = [float(str(one.get("y"))) for one in boxes]
        assert 0 < min(tops) and max(tops) + 44 < height


def test_no_skip_lies_on_another_in_a_picture() -> None:
    everything = tuple(tuple(range(layer)) for layer in range(12))
    for skips in (everything, AMBER_LAYERS.sample(TASKS["ecg"].spec, np.random.default_rng(1)).skips):
        root = ElementTree.fromstring(AMBER_LAYERS.draw(AmberArchitecture(("identity",) * 12, skips)))
        flat: dict[int, list[tuple[int, int]]] = {}
        for path in root.iter("{http://www.w3.org/2000/svg}path"):
            # M begin base V side q … H end q … V base
            if found := re.fullmatch(r"M(\d+) \d+V(\d+)q0 (-\d+) \d+ -\d+H(\d+)q.*", str(path.get("d"))):
                begin, side, bend, end = map(int, found.groups())
                flat.setdefault(side + bend, []).append((begin, end))
        assert sum(map(len, flat.values())) == sum(map(len, skips))
        for lines in flat.values():
            lines.sort()
            assert all(before[1] < after[0] for before, after in itertools.pairwise(lines))
