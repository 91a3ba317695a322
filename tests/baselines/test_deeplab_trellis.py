"""Auto-DeepLab: paths, architectures as values, discrete networks."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from nas360.baselines import cost
from nas360.baselines.spaces.darts_genotypes import Cell, Gene, cell_of
from nas360.baselines.spaces.deeplab_architecture import NODES, PLAIN_CELL, DeeplabArchitecture
from nas360.baselines.spaces.deeplab_network import PathCell
from nas360.baselines.spaces.deeplab_parts import Preparation, Pyramid, resize
from nas360.baselines.spaces.deeplab_paths import Transition, Trellis
from nas360.baselines.spaces.deeplab_trellis import DEEPLAB_TRELLIS
from nas360.errors import RunError
from nas360.loaders import TASKS

DENSE = ("darcy_flow", "psicov", "cosmic")
SMALL = DeeplabArchitecture((4, 8, 4), PLAIN_CELL, width=2)


def paths(trellis: Trellis) -> list[tuple[int, ...]]:
    """All paths, by trying everything."""
    every = itertools.product(range(trellis.levels), repeat=trellis.layers)
    return [path for path in every if all(abs(a - b) <= 1 for a, b in itertools.pairwise((0, *path)))]


def product(trellis: Trellis, path: tuple[int, ...], weights: np.ndarray[Any, Any]) -> float:
    steps = enumerate(itertools.pairwise((0, *path)))
    return float(np.prod([weights[trellis.transitions.index(Transition(layer, *step))] for layer, step in steps]))


def test_the_published_trellis() -> None:
    trellis = Trellis(12, 4)
    # 2 + 3 + 4 + 9 · 4 cells
    assert sum(len(trellis.reached(layer)) for layer in range(12)) == 45
    # and of each a step from every level of the layer before that is no further than one away
    assert len(trellis.transitions) == 2 + 5 + 8 + 9 * 10
    assert trellis.sources(0, 1) == (0,)
    assert trellis.sources(5, 3) == (2, 3)
    assert trellis.sources(5, 1) == (0, 1, 2)


@settings(deadline=None)
@given(layers=st.integers(1, 6), levels=st.integers(1, 4), seed=st.integers(0, 2**32), zeros=st.booleans())
def test_the_strongest_path_is_that_of_trying_all(layers: int, levels: int, seed: int, zeros: bool) -> None:
    trellis = Trellis(layers, levels)
    rng = np.random.default_rng(seed)
    weights = rng.random(len(trellis.transitions))
    if zeros:
        weights *= rng.random(len(weights)) < 0.7
    best = max(product(trellis, path, weights) for path in paths(trellis))
    found = trellis.strongest(weights)
    trellis.check(found)
    assert product(trellis, found, weights) == pytest.approx(best, rel=1e-12)


def test_ties_stay_and_end_finest() -> None:
    trellis = Trellis(4, 3)
    equal = np.ones(len(trellis.transitions))
    assert trellis.strongest(equal) == (0, 0, 0, 0)
    # the end at level 2 wins; it can be reached by waiting early or late, and a path waits as late as it can
    ends_coarse = [1 + (step.layer == 3 and step.target == 2) for step in trellis.transitions]
    assert trellis.strongest(np.array(ends_coarse)) == (1, 2, 2, 2)


@pytest.mark.parametrize("bad", [np.ones(3), np.full(6, np.nan), np.full(6, -1.0)])
def test_weights_are_checked(bad: np.ndarray[Any, Any]) -> None:
    with pytest.raises(RunError, match="are not 6 finite numbers ≥ 0, one a transition"):
        Trellis(2, 2).strongest(bad)


def test_sampled_paths_are_uniform() -> None:
    trellis = Trellis(4, 3)
    every, rng = paths(trellis), np.random.default_rng(0)
    counts = dict.fromkeys(every, 0)
    for _ in range(100 * len(every)):
        counts[trellis.sample(rng)] += 1
    # 100 expected, standard deviation 10
    assert 60 < min(counts.values()) <= max(counts.values()) < 140


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_json_both_ways(seed: int, half: int) -> None:
    architecture = DEEPLAB_TRELLIS.sample(TASKS["cosmic"].spec, np.random.default_rng(seed))
    architecture = replace(architecture, width=2 * half)
    assert DEEPLAB_TRELLIS.from_json(json.loads(json.dumps(DEEPLAB_TRELLIS.to_json(architecture)))) == architecture
    assert str(architecture).endswith(f"of {2 * half}")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=11) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    ),
    st.sampled_from(("path", "cell", "width")),
)
def test_foreign_json_is_refused_or_is_an_architecture(value: Any, field: str) -> None:
    content = {**DEEPLAB_TRELLIS.to_json(SMALL), field: value}
    try:
        architecture = DEEPLAB_TRELLIS.from_json(content)
    except RunError:
        return
    assert DEEPLAB_TRELLIS.to_json(architecture) == content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": []}, "the path has no layers"),
        ({"path": [8, 32]}, "layer 1 of the path has stride 32, and after stride 8 there can be 4, 8, 16"),
        ({"path": [16]}, "layer 0 of the path has stride 16, and after stride 4 there can be 4, 8"),
        ({"path": [4, 6]}, "layer 1 of the path has stride 6, none of 4, 8, 16, 32"),
        ({"path": [4, 4.0]}, r"4\.0 in path is no stride"),
        ({"path": [True]}, "True in path is no stride"),
        ({"cell": [["skip_connect", 0]] * 8}, "the layers' cell has 8 genes, not 10"),
        ({"cell": [["none", 0], ["skip_connect", 1]] * 5}, "operation 'none' of gene 0"),
        ({"cell": [["skip_connect", 0], ["skip_connect", 0]] * 5}, "node 0 of the layers' cell takes input 0 twice"),
        ({"cell": [0] * 10}, "not a DeepLab architecture: 0 in cell is not"),
        ({"width": 3}, "width 3 is not an even number"),
        ({"layers": 3}, "unknown layers"),
    ],
)
def test_faults_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        DEEPLAB_TRELLIS.from_json({**DEEPLAB_TRELLIS.to_json(SMALL), **change})


@pytest.mark.parametrize("task", TASKS)
def test_dense_images_are_served_and_all_else_refused(task: str) -> None:
    spec = TASKS[task].spec
    reason = DEEPLAB_TRELLIS.refusal(spec)
    if task in DENSE:
        assert reason is None
        return
    assert reason is not None
    with pytest.raises(RunError, match=rf"one value a position, and {task} has .* with one answer a sample; use wrn"):
        DEEPLAB_TRELLIS.build(SMALL, spec)


@pytest.mark.parametrize("task", DENSE)
def test_every_task_builds_and_learns(task: str) -> None:
    spec = TASKS[task].spec
    network = DEEPLAB_TRELLIS.build(SMALL, spec)
    assert cost.measure(network, spec).output_shape == (1, *spec.input_shape[1:])
    network(torch.randn(2, spec.input_shape[0], 21, 34)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


@settings(deadline=None, max_examples=15)
@given(height=st.integers(1, 70), width=st.integers(1, 70), seed=st.integers(0, 2**32))
def test_any_size_gives_a_value_a_position_and_padding_is_that_of_zeros(height: int, width: int, seed: int) -> None:
    spec = TASKS["cosmic"].spec
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    architecture = replace(DEEPLAB_TRELLIS.sample(spec, rng), width=2)
    network = DEEPLAB_TRELLIS.build(architecture, spec).eval()
    x = torch.randn(2, 1, height, width)
    coarsest = max(architecture.path)
    by_hand = functional.pad(x, (0, -width % coarsest, 0, -height % coarsest))
    with torch.no_grad():
        out, padded = network(x), network(by_hand)
    assert out.shape == x.shape
    torch.testing.assert_close(out, padded[..., :height, :width])
    if (height, width) != tuple(by_hand.shape[2:]):
        assert padded.shape == by_hand.shape


def test_each_operation_stands_with_the_input_of_its_gene() -> None:
    # at the last node the stronger gene has the higher input; the reference gives the skip to node 1 and the pool to 5
    pairs = ["max_pool_3x3 1, skip_connect 0"] * 4 + ["skip_connect 5, max_pool_3x3 1"]
    cell = PathCell(cell_of(", ".join(pairs)), 3, 3, 3).eval()
    with torch.no_grad():
        for prepare in (cell.pre_0, cell.pre_1):
            prepare.weight.copy_(torch.eye(3))
    a, b = torch.rand(2, 3, 7, 7), torch.rand(2, 3, 7, 7)
    out = cell(a, b, (7, 7)).chunk(NODES, dim=1)
    scale = (1 + 1e-5) ** -0.5
    pooled = functional.max_pool2d(b * scale, 3, 1, 1)
    for node in range(4):
        torch.testing.assert_close(out[node], pooled + a * scale)
    torch.testing.assert_close(out[4], out[3] + pooled)


def test_a_cell_written_out() -> None:
    torch.manual_seed(0)
    genes: Cell = tuple(
        Gene(operation, source)
        for operation, source in (
            ("sep_conv_3x3", 1), ("dil_conv_5x5", 0), ("avg_pool_3x3", 2), ("sep_conv_5x5", 0), ("skip_connect", 3),
            ("dil_conv_3x3", 2), ("skip_connect", 0), ("sep_conv_3x3", 4), ("max_pool_3x3", 5), ("dil_conv_3x3", 1),
        )
    )  # fmt: skip
    cell = PathCell(genes, 4, 6, 2)
    before, last = torch.randn(3, 4, 16, 12), torch.randn(3, 6, 4, 3)

    def prepared(layer: Preparation, x: Tensor) -> Tensor:
        # at the cell's size, 1×1, norm
        x = functional.interpolate(x, (8, 6), mode="bilinear", align_corners=False)
        y = torch.einsum("nihw,io->nohw", x, layer.weight)
        return (y - y.mean((0, 2, 3), keepdim=True)) / (y.var((0, 2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()

    states = [prepared(cell.pre_0, before), prepared(cell.pre_1, last)]
    for node in range(NODES):
        states.append(
            sum((cell.operations[2 * node + i](states[genes[2 * node + i].input]) for i in (0, 1)), torch.zeros(()))
        )
    torch.testing.assert_close(cell(before, last, (8, 6)), torch.cat(states[2:], dim=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sizes", [((8, 12), (4, 6)), ((8, 8), (2, 2)), ((3, 5), (6, 10)), ((4, 4), (16, 16))])
def test_resizing_keeps_constants_and_slopes(sizes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    (height, width), target = sizes
    assert bool((resize(torch.full((1, 1, height, width), 3.0), *target) == 3).all())

    # centres of positions in units of the whole image
    def slope(size: int) -> Tensor:
        return (torch.arange(size) + 0.5) / size

    ramp = slope(height)[:, None] + 2 * slope(width)
    expected = slope(target[0])[:, None] + 2 * slope(target[1])
    out = resize(ramp[None, None], *target)[0, 0]
    factor = max(1, target[0] // height)
    # at the border there is nothing beyond to interpolate with
    inner = slice(factor, -factor if factor > 1 else None), slice(factor, -factor if factor > 1 else None)
    torch.testing.assert_close(out[inner], expected[inner])


def test_halving_takes_both_ways_alike() -> None:
    x = torch.randn(2, 3, 8, 6)
    torch.testing.assert_close(resize(x, 4, 3), functional.adaptive_avg_pool2d(x, (4, 3)))
    torch.testing.assert_close(resize(x, 4, 3), functional.interpolate(x, (4, 3), mode="bilinear", align_corners=False))
    assert resize(x, 8, 6) is x


def test_a_preparation_may_resize_before_or_after_its_product() -> None:
    torch.manual_seed(0)
    layer = Preparation(3, 4, affine=True)
    for size in ((12, 8), (6, 4), (24, 16)):
        x = torch.randn(2, 3, 12, 8)
        product_first = torch.einsum("nihw,io->nohw", x, layer.weight)
        expected = layer.norm(resize(product_first, *size))
        torch.testing.assert_close(layer(x, *size), expected, rtol=1e-4, atol=1e-5)


def test_a_pyramid_sees_as_far_as_its_dilations() -> None:
    torch.manual_seed(0)
    pyramid = Pyramid(2, 3, (2, 5), affine=True).eval()
    assert pyramid.out_channels == 12
    with torch.no_grad():
        for parameter in pyramid.parameters():
            # no ReLU is to be shut
            parameter.abs_()
    x = torch.rand(1, 2, 15, 15, requires_grad=True)
    out = pyramid(x)
    assert out.shape == (1, 12, 15, 15)
    for part, reach in ((0, 0), (1, 2), (2, 5)):
        (gradient,) = torch.autograd.grad(out[0, 3 * part : 3 * part + 3, 7, 7].square().sum(), x, retain_graph=True)
        seen = {abs(int(row) - 7) for row in gradient.abs().sum((0, 1, 3)).nonzero().flatten()}
        assert seen == {0, reach}
    (gradient,) = torch.autograd.grad(out[0, 9:, 7, 7].sum(), x)
    assert bool((gradient[0, 0] == gradient[0, 0, 0, 0]).all())


def test_dropout_is_for_training_alone_and_norms_learn_a_scale() -> None:
    torch.manual_seed(0)
    network = DEEPLAB_TRELLIS.build(SMALL, TASKS["cosmic"].spec)
    x = torch.randn(2, 1, 16, 16)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
    torch.testing.assert_close(network(x[:1]), network(x)[:1])
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.5, 0.1]
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert {(norm.affine, norm.eps, norm.momentum) for norm in norms} == {(True, 1e-5, 0.1)}


def test_channels_are_the_references() -> None:
    network = DEEPLAB_TRELLIS.build(DeeplabArchitecture((4, 8, 16, 32), PLAIN_CELL), TASKS["cosmic"].spec)
    shapes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    assert shapes["network.early.0.0.weight"] == (64, 1, 3, 3)
    assert shapes["network.late.0.weight"] == (128, 64, 3, 3)
    assert [shapes[f"network.cells.{layer}.pre_0.weight"] for layer in range(4)] == [
        (64, 32), (128, 64), (160, 128), (320, 256),
    ]  # fmt: skip
    # pyramid 5 · 256 to 256; the third layer's 5 · 128 to 48; decoder from both
    assert shapes["network.pyramid.1.0.weight"] == (256, 1280, 1, 1)
    assert shapes["network.narrow.0.weight"] == (48, 640, 1, 1)
    assert shapes["network.decoder.0.0.weight"] == (256, 304, 3, 3)


def test_narrower_ones_keep_path_and_cell() -> None:
    default = DEEPLAB_TRELLIS.default(TASKS["cosmic"].spec)
    assert default.width == 32
    assert DEEPLAB_TRELLIS.narrower(default) == tuple(replace(default, width=width) for width in (16, 8, 4, 2))
    assert DEEPLAB_TRELLIS.narrower(replace(default, width=2)) == ()


@given(st.integers(0, 2**32), st.integers(1, 30))
@settings(deadline=None, max_examples=20)
def test_pictures_show_the_path_and_survive_any_name(seed: int, layers: int) -> None:
    from xml.etree import ElementTree

    rng = np.random.default_rng(seed)
    architecture = DeeplabArchitecture(tuple(4 << level for level in Trellis(layers, 4).sample(rng)), PLAIN_CELL)
    name = "a <script>&\x00 name"
    picture = DEEPLAB_TRELLIS.draw(architecture, name)
    assert picture == DEEPLAB_TRELLIS.draw(architecture, name)
    root = ElementTree.fromstring(picture)
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert texts[0] == "a <script>&? name"
    assert texts.count("sep conv 3") == 10
    lines = [element for element in root.iter() if element.get("class") == "path"]
    steps = sorted((int(line.get("d", "").split("L")[0][1:].split()[0]), line.get("d", "")) for line in lines)
    assert len(steps) == layers
    # one line goes on where the other ended, and rows are 58 apart
    places = [tuple(map(int, part.split())) for _, d in steps for part in d[1:].split("L")]
    assert places[1:-1:2] == places[2::2]
    assert [(y - places[0][1]) // 58 for _, y in places[1::2]] == list(architecture.levels)
    width, height = int(root.get("width", 0)), int(root.get("height", 0))
    assert all(0 < x < width and 0 < y < height for x, y in places)
