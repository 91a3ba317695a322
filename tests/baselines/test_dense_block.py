"""The DenseNAS space: networks, their cost, architectures as values, random ones, pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import nn

from nas360.baselines import cost, nd
from nas360.baselines.methods.densenas import SPACE
from nas360.baselines.spaces.dense_block import DENSE_BLOCK, DenseBlock
from nas360.baselines.spaces.dense_block_architecture import ChainBlock, DenseBlockArchitecture
from nas360.baselines.spaces.dense_block_cost import network_macs
from nas360.baselines.spaces.dense_block_drawing import MOST, draw
from nas360.baselines.spaces.dense_block_network import BasicBlock
from nas360.baselines.spaces.dense_block_sampling import Sampling
from nas360.baselines.spaces.dense_block_supernet import DenseBlockSupernet
from nas360.baselines.spaces.dense_block_table import Stage, Table, Trim
from nas360.errors import RunError
from nas360.loaders import TASKS
from nas360.task import TaskSpec

SpecOf = Callable[[int, str], TaskSpec]
KINDS = [(dims, kind) for dims in (1, 2) for kind in ("point", "multilabel", "real", "mask")]
TINY = Table(3, (Stage((4, 5), 1), Stage((6, 8), 2, 2)))
FLAT = Table(3, (Stage((4, 5), 1), Stage((6, 8), 2)))


def table(kind: str) -> Table:
    return FLAT if kind in ("real", "mask") else TINY


def space(spec: TaskSpec, **changes: Any) -> DenseBlock:
    return DenseBlock(tables={spec.id: table(spec.id.split("_")[1])}, **changes)


@pytest.mark.parametrize(("dims", "kind"), KINDS)
def test_multiply_adds_and_parameters_are_those_that_are_counted(dims: int, kind: str, spec_of: SpecOf) -> None:
    spec = spec_of(dims, kind)
    for seed in range(3):
        architecture = space(spec).sample(spec, np.random.default_rng(seed))
        found = cost.of(lambda one=architecture: DENSE_BLOCK.build(one, spec), spec)  # type: ignore[misc]  # a default
        assert network_macs(architecture, spec) == found.macs
        assert DENSE_BLOCK.parameters(architecture, spec) == found.parameters


@pytest.mark.parametrize("task", ["ninapro", "cosmic", "satellite", "deepsea"])
def test_multiply_adds_at_the_tasks_own_sizes(task: str) -> None:
    spec = TASKS[task].spec
    architecture = SPACE.narrower(SPACE.default(spec))[1]
    assert network_macs(architecture, spec) == cost.of(lambda: SPACE.build(architecture, spec), spec).macs


def test_the_longest_route_with_every_layer(spec_of: SpecOf) -> None:
    spec = TASKS["cifar100"].spec
    blocks = tuple(
        ChainBlock(block.width, 1 + block.layers, SPACE.table(spec).stages[block.stage].stride if new else 1)
        for block, new in zip(SPACE.table(spec).blocks, (1, 0, 0) * 2 + (1, 0, 0, 0) + (1, 0, 0), strict=True)
    )
    architecture = DenseBlockArchitecture(32, blocks)
    assert sum(block.layers for block in blocks) == 13 + 90
    with torch.device("meta"):
        found = cost.measure(SPACE.build(architecture, spec), spec)
    assert (network_macs(architecture, spec), SPACE.parameters(architecture, spec)) == (found.macs, found.parameters)


def path_and_network(spec: TaskSpec, seed: int) -> tuple[DenseBlockSupernet, nn.Module]:
    """A supernet whose probabilities are all on one path, drawn at random, and that path's network, weights shared."""
    torch.manual_seed(seed)
    own = space(spec)
    supernet = own.supernet(spec, Trim(), 0.9)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        supernet.beta.copy_(torch.from_numpy(rng.normal(size=len(supernet.beta)) * 1000))
        supernet.alpha.copy_(torch.from_numpy(rng.normal(size=supernet.alpha.shape) * 1000))
    network = own.build(own.decode(supernet), spec)
    blocks: list[nn.Module] = []
    block, first, beta = -1, [0], supernet.mixture()["beta"].tolist()
    for one in supernet.table.blocks:
        first.append(first[-1] + one.layers)
    while block < len(supernet.table.blocks):
        place = max(supernet.leaving[block + 1], key=beta.__getitem__)
        block = supernet.table.edges[place].target
        if block == len(supernet.table.blocks):
            blocks.append(supernet.classifiers[str(supernet.table.edges[place].source)])
            continue
        blocks.append(supernet.heads[supernet.place[place]])
        layers = supernet.layers[block]
        assert isinstance(layers, nn.ModuleList)
        for number, layer in enumerate(layers):
            if bool(supernet.alpha[first[block] + number, 0] > supernet.alpha[first[block] + number, 1]):
                blocks.append(layer)
    # batch norms of the network learn scale and shift besides, 1 and 0 at first
    convolutions = [module for module in network.modules() if nd.is_conv(module) or isinstance(module, nn.Linear)]
    shared = [
        module
        for part in (supernet.stem, *blocks)
        for module in part.modules()
        if nd.is_conv(module) or isinstance(module, nn.Linear)
    ]
    for mine, theirs in zip(convolutions, shared, strict=True):
        mine.load_state_dict(theirs.state_dict())
    return supernet, network


@pytest.mark.parametrize(("dims", "kind"), KINDS)
def test_a_network_is_the_path_that_was_scored(dims: int, kind: str, spec_of: SpecOf) -> None:
    spec = spec_of(dims, kind)
    for seed in range(3):
        supernet, network = path_and_network(spec, seed)
        x = torch.randn(3, *spec.input_shape)
        torch.testing.assert_close(network(x), supernet(x), rtol=1e-4, atol=1e-5)


def test_defaults_are_the_shortest_and_widest_routes() -> None:
    assert str(SPACE.default(TASKS["cifar100"].spec)) == "32 → 64 → 112x4/2 → 176x9/2 → 224x4"
    assert str(SPACE.default(TASKS["cosmic"].spec)) == "16 → 32x2 → 56x4"
    assert str(SPACE.default(TASKS["ecg"].spec)) == "32 → 64x2/2 → 112x4/2"


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(7,), (8,), (7, 8)])
def test_a_basic_block_by_hand(stride: int, shape: tuple[int, ...]) -> None:
    """Against the textbook form, with a projection of stride 2 in its convolution."""
    dims = len(shape)
    block = BasicBlock(dims, 3, 5, stride)
    x = torch.randn(4, 3, *shape)
    first, second = (block.get_submodule(f"change.{n}") for n in (0, 3))
    projection = nd.conv(dims, 3, 5, 1, stride=stride)
    (inner,) = (module for module in block.shortcut.modules() if nd.is_conv(module))
    projection.load_state_dict(inner.state_dict())
    norm = nd.batch_norm(dims, 5, eps=1e-3)
    expected = (norm(second(norm(first(x)).relu())) + norm(projection(x))).relu()
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)
    assert block(x).shape[2:] == tuple(-(-size // stride) for size in shape)


def test_narrow_strided_supernets_survive_their_backward_pass(spec_of: SpecOf) -> None:
    spec = spec_of(2, "point").model_copy(update={"input_shape": (3, 60, 60)})
    narrow = DenseBlock(tables={spec.id: Table(4, (Stage((8,), 0, 2), Stage((9, 14), 0, 2)))})
    network = narrow.supernet(spec, Trim(), 0.9).to(memory_format=torch.channels_last)
    x = torch.randn(8, 3, 60, 60).contiguous(memory_format=torch.channels_last)
    for _ in range(5):
        network(x).sum().backward()
    assert all(weight.grad is not None and bool(weight.grad.isfinite().all()) for weight in network.weight_parameters())


def test_dense_tasks_keep_their_size(spec_of: SpecOf) -> None:
    spec = spec_of(2, "real")
    with pytest.raises(RunError, match="no stage of its table may halve"):
        DenseBlock(tables={spec.id: TINY}).default(spec)
    with pytest.raises(RunError, match="32 → 8/2 halves the size"):
        DENSE_BLOCK.build(DenseBlockArchitecture(32, (ChainBlock(8, 1, 2),)), spec)


def test_architectures_pass_through_json_and_others_do_not() -> None:
    architecture = DenseBlockArchitecture(3, (ChainBlock(4), ChainBlock(6, 3, 2)))
    stored = json.loads(json.dumps(SPACE.to_json(architecture)))
    assert stored["blocks"][1] == {"width": 6, "layers": 3, "stride": 2}
    assert SPACE.from_json(stored) == architecture
    for content, message in (
        ({"stem": 3}, "missing blocks"),
        ({"stem": 3, "blocks": []}, "0 blocks"),
        ({"stem": True, "blocks": []}, "stem is True"),
        ({"stem": 3, "blocks": [7]}, "block 0 is 7, not an object"),
        ({"stem": 3, "blocks": [{"width": 4, "layers": 1}]}, "missing stride"),
        ({"stem": 3, "blocks": [{"width": 4, "layers": 0, "stride": 1}]}, "0 layers"),
    ):
        with pytest.raises(RunError, match=message):
            SPACE.from_json(content)


def test_random_networks_vary_in_widths_depth_and_length() -> None:
    spec = TASKS["cifar100"].spec
    drawn = [SPACE.sample(spec, np.random.default_rng(seed)) for seed in range(60)]
    widths = {tuple(block.width for block in one.blocks) for one in drawn}
    assert len(widths) > 30
    assert {len(one.blocks) for one in drawn} >= {4, 5, 6}
    # a layer's chance of being there is the same for few and many: no one in the middle alone
    layers = [block.layers - 1 for one in drawn for block in one.blocks if 128 <= block.width <= 176]
    assert min(layers) <= 2
    assert max(layers) >= 13
    same = SPACE.sample(spec, np.random.default_rng(3)), SPACE.sample(spec, np.random.default_rng(3))
    assert same[0] == same[1]


def test_the_references_routes_never_vary() -> None:
    own = replace(SPACE, sampling=Sampling("reference"))
    for task, widths in (("cifar100", (64, 112, 176, 224)), ("ecg", (64, 112)), ("cosmic", (32, 56))):
        spec = TASKS[task].spec
        drawn = [own.sample(spec, np.random.default_rng(seed)) for seed in range(20)]
        assert {tuple(block.width for block in one.blocks) for one in drawn} == {widths}
        assert len({one.blocks[-1].layers for one in drawn}) > 1
    with pytest.raises(RunError, match="none of walk, reference"):
        Sampling("straight")  # type: ignore[arg-type]  # the fault


def test_random_networks_keep_within_the_size() -> None:
    spec = TASKS["cifar100"].spec
    small = replace(SPACE, size=2_000_000, slack=1_000_000)
    drawn = [SPACE.parameters(small.sample(spec, np.random.default_rng(seed)), spec) for seed in range(10)]
    assert max(drawn) <= 3_000_000
    default = SPACE.parameters(SPACE.default(spec), spec)
    drawn = [SPACE.parameters(SPACE.sample(spec, np.random.default_rng(seed)), spec) for seed in range(40)]
    assert 3_000_000 < max(drawn) <= default + 1_000_000
    tight = DenseBlock(tables={spec.id: TINY}, size=1, slack=0)
    with pytest.raises(RunError, match="has at most 1 parameters"):
        tight.sample(spec, np.random.default_rng(0))


def test_pictures_have_a_bar_a_layer_and_hold_any_text() -> None:
    architecture = DenseBlockArchitecture(3, (ChainBlock(4), ChainBlock(6, 3, 2)))
    picture = draw(architecture, "<script>alert('x')</script> & \x00")
    root = ElementTree.fromstring(picture)
    assert not [element for element in root.iter() if element.tag.endswith("script")]
    bars = [element for element in root.iter() if element.get("class") == "bar"]
    # the stem, one head, and a head with two layers; heights go with widths
    assert len(bars) == 1 + 1 + 3
    heights = [float(bar.get("height", 0)) for bar in bars]
    assert heights[-1] == max(heights)
    assert heights[0] / heights[-1] == pytest.approx(3 / 6, abs=0.01)
    lefts = [float(bar.get("x", 0)) for bar in bars]
    assert lefts == sorted(lefts)
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert [text for text in texts if text in ("3", "4", "6", "/2")] == ["3", "4", "/2", "6"]
    assert SPACE.draw(architecture) == SPACE.draw(architecture)


def test_a_picture_of_a_monstrous_network_stays_small() -> None:
    # a file may name any number
    architecture = SPACE.from_json({"stem": 10**400, "blocks": [{"width": 1, "layers": 10**30, "stride": 1}]})
    picture = draw(architecture)
    ElementTree.fromstring(picture)
    assert picture.count('class="bar"') == 1 + MOST
    assert f"&#215;{10**30}" in picture
