"""The DARTS space: architectures as values, discrete networks, pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nas360.baselines import cost, ends
from nas360.baselines.drop_path import DropPath, set_drop_path
from nas360.baselines.spaces import darts_genotypes as genotypes
from nas360.baselines.spaces.darts_cell import DARTS_CELL
from nas360.baselines.spaces.darts_drawing import draw, draw_cell
from nas360.baselines.spaces.darts_genotypes import EDGES, OPERATIONS, DartsArchitecture, Gene, decode_cell, known
from nas360.baselines.spaces.darts_operations import FactorizedReduction, operation
from nas360.errors import RunError, UnknownNameError
from nas360.loaders import TASKS
from nas360.task import TaskSpec

SpecOf = Callable[[int, str], TaskSpec]


@st.composite
def architectures(draw_from: st.DrawFn) -> DartsArchitecture:
    rng = np.random.default_rng(draw_from(st.integers(0, 2**32)))
    return replace(
        DARTS_CELL.sample(TASKS["ecg"].spec, rng),
        cells=draw_from(st.integers(1, 30)),
        width=2 * draw_from(st.integers(1, 40)),
        auxiliary=draw_from(st.booleans()),
    )


@given(architectures())
def test_json_both_ways(architecture: DartsArchitecture) -> None:
    text = json.dumps(DARTS_CELL.to_json(architecture))
    assert DARTS_CELL.from_json(json.loads(text)) == architecture
    assert str(architecture)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    ),
    st.sampled_from(("normal", "reduce", "cells", "width", "auxiliary")),
)
def test_foreign_json_is_refused_or_is_an_architecture(value: Any, field: str) -> None:
    content = {**DARTS_CELL.to_json(known("DARTS_V2")), field: value}
    try:
        architecture = DARTS_CELL.from_json(content)
    except RunError:
        return
    assert DARTS_CELL.to_json(architecture) == content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normal": []}, "normal cell has 0 genes, not 8"),
        ({"normal": [["none", 0]] * 8}, "operation 'none' of gene 0 of the normal cell is none of max_pool_3x3"),
        ({"reduce": [["skip_connect", 0], ["skip_connect", 2]] * 4}, r"input 2 of gene 1 .* not in 0 … 1"),
        ({"normal": [["skip_connect", 1], ["skip_connect", 1]] * 4}, "node 0 of the normal cell takes input 1 twice"),
        ({"normal": [["skip_connect", True]] * 8}, "is not \\[operation, input\\]"),
        ({"width": 7}, "width 7 is not an even number"),
        ({"cells": 0}, "0 cells are fewer than 1"),
        ({"cells": True}, "cells is True, not int"),
        ({"depth": 3}, "unknown depth"),
    ],
)
def test_faults_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        DARTS_CELL.from_json({**DARTS_CELL.to_json(known("DARTS_V2")), **change})


def test_unknown_genotypes_are_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown genotype 'darts_v3'\. Did you mean 'DARTS_V2'\?"):
        known("darts_v3")


def test_known_cells_cost_what_the_papers_and_the_reference_say() -> None:
    # CIFAR-100 with 20 cells of width 36: 557 million multiply-adds were counted in the reference's network
    spec = TASKS["cifar100"].spec
    measured = cost.measure(DARTS_CELL.build(known("PC_DARTS_CIFAR10"), spec), spec)
    assert round(measured.macs / 1e6) == 557
    # 3.3 and 3.6 million parameters with ten classes (Liu et al. 2019, Xu et al. 2020); 90 more classes of 576 features
    assert measured.parameters - 90 * 577 == pytest.approx(3.6e6, abs=0.05e6)
    second = cost.measure(DARTS_CELL.build(known("DARTS_V2"), spec), spec)
    assert second.parameters - 90 * 577 == pytest.approx(3.35e6, abs=0.05e6)


def test_equal_weights_give_max_pools_of_the_inputs() -> None:
    assert decode_cell(np.ones((14, 8))) == tuple(Gene("max_pool_3x3", source) for source in (0, 1)) * 4


@given(st.integers(0, 2**32))
def test_decoding_hangs_on_order_alone(seed: int) -> None:
    weights = np.random.default_rng(seed).random((14, 8))
    cell = decode_cell(weights)
    assert decode_cell(np.exp(3 * weights)) == cell == decode_cell(weights**3 - 7)
    # however strong, `none` is never chosen
    assert decode_cell(weights + 100 * np.eye(8)[0]) == cell


@given(st.integers(0, 2**32))
def test_decoding_finds_a_planted_cell(seed: int) -> None:
    cell = genotypes.sample_cell(np.random.default_rng(seed))
    weights = np.full((14, 8), 0.1)
    for position, gene in enumerate(cell):
        weights[EDGES.index((gene.input, position // 2)), OPERATIONS.index(gene.operation)] = 1 - 0.1 * (position % 2)
    assert decode_cell(weights) == cell


@pytest.mark.parametrize("bad", [np.ones((8, 14)), np.full((14, 8), np.nan)])
def test_no_mixture_no_cell(bad: np.ndarray[Any, Any]) -> None:
    with pytest.raises(RunError, match="is not 14 edges by 8 operations of finite weights"):
        decode_cell(bad)


def test_samples_are_uniform() -> None:
    rng = np.random.default_rng(0)
    cells = [genotypes.sample_cell(rng) for _ in range(4000)]
    last = [(cell[6].input, cell[7].input) for cell in cells]
    pairs, counts = np.unique(last, axis=0, return_counts=True)
    assert len(pairs) == 10
    # 400 expected, standard deviation 19
    assert 310 < counts.min() <= counts.max() < 490
    operations = [gene.operation for cell in cells for gene in cell]
    shares = np.array([operations.count(name) for name in OPERATIONS]) / len(operations)
    assert shares[0] == 0
    assert np.abs(shares[1:] - 1 / 7).max() < 0.01


@settings(deadline=None, max_examples=60)
@given(
    dims=st.sampled_from((1, 2)),
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    name=st.sampled_from(OPERATIONS),
    stride=st.sampled_from((1, 2)),
)
def test_every_operation_gives_the_ceiling(dims: int, sizes: tuple[int, int], name: str, stride: int) -> None:
    x = torch.randn(2, 4, *sizes[:dims])
    out = operation(name, dims, 4, stride, affine=True)(x)
    assert tuple(out.shape) == (2, 4, *(-(-size // stride) for size in sizes[:dims]))
    assert bool(out.isfinite().all())


@pytest.mark.parametrize("dims", [1, 2])
def test_a_factorised_reduction_sees_every_diagonal_position(dims: int) -> None:
    layer = FactorizedReduction(dims, 2, 4, affine=True).eval()
    x = torch.rand(1, 2, *[7] * dims, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    diagonal = x.grad[0, 0]
    assert all(bool(diagonal[(index,) * dims] != 0) for index in range(7))


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "none"])
def test_a_signal_is_an_image_of_height_one(name: str) -> None:
    line, flat = operation(name, 1, 4, 1, affine=True), operation(name, 2, 4, 1, affine=True)
    with torch.no_grad():
        for target, source in zip(flat.parameters(), line.parameters(), strict=True):
            if target.ndim == 4:
                target.zero_()
                # the middle row of a square kernel
                target[:, :, target.shape[2] // 2] = source
    x = torch.randn(3, 4, 13)
    torch.testing.assert_close(flat(x.unsqueeze(2)).squeeze(2), line(x))


@pytest.mark.parametrize("task", TASKS)
def test_every_task_builds_and_learns(task: str) -> None:
    spec = TASKS[task].spec
    network = DARTS_CELL.build(DartsArchitecture(*genotypes.DARTS_V2, cells=3, width=2), spec)
    # full size costs nothing without storage; gradients are taken on a cut-out
    space = spec.input_shape[1:] if ends.is_dense(spec) else ()
    assert cost.measure(network, spec).output_shape == (spec.output.channels, *space)
    x = torch.randn(2, spec.input_shape[0], *[min(size, 21) for size in spec.input_shape[1:]])
    network(x).square().sum().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in network.parameters())


def test_narrower_ones_are_cheaper() -> None:
    for task in ("satellite", "ninapro"):
        spec = TASKS[task].spec
        chain = (DARTS_CELL.default(spec), *DARTS_CELL.narrower(DARTS_CELL.default(spec)))
        work = [cost.measure(DARTS_CELL.build(one, spec), spec).work for one in chain]
        assert len(work) == 5
        assert work == sorted(work, reverse=True)
    assert DARTS_CELL.narrower(chain[-1]) == ()


def test_drop_path_keeps_the_expectation() -> None:
    torch.manual_seed(0)
    layer = DropPath()
    layer.drop_probability = 0.3
    out = layer(torch.ones(20000, 1, 2))
    assert out.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    # standard error 0.005
    assert float(out.mean()) == pytest.approx(1, abs=0.02)
    assert bool((out[:, :, 0] == out[:, :, 1]).all())
    assert bool((layer.eval()(torch.ones(9, 1)) == 1).all())


def test_drop_path_leaves_identities(spec_of: SpecOf) -> None:
    skips = genotypes.cell_of("skip_connect 0, skip_connect 1, " * 4)
    spec = spec_of(2, "real")
    network = DARTS_CELL.build(DartsArchitecture(skips, skips, cells=3, width=2), spec)
    assert not [module for module in network.modules() if isinstance(module, DropPath)]
    network = DARTS_CELL.build(DartsArchitecture(*genotypes.DARTS_V2, cells=3, width=2), spec)
    set_drop_path(network, 0.25)
    found = [module.drop_probability for module in network.modules() if isinstance(module, DropPath)]
    # six of the normal cell's eight genes are no skips
    assert found == [0.25] * (3 * 6)
    with pytest.raises(RunError, match=r"drop path 1 is not a probability in \[0, 1\)"):
        set_drop_path(network, 1)


def test_auxiliary_head(spec_of: SpecOf) -> None:
    spec = spec_of(1, "point")
    architecture = DartsArchitecture(*genotypes.DARTS_V2, cells=6, width=4, auxiliary=True)
    network = ends.TaskModel(DARTS_CELL.build(architecture, spec), spec)
    network(torch.randn(2, *spec.input_shape))
    extra = network.auxiliary()
    assert extra is not None
    assert extra.shape == (2, 3)
    network.eval()(torch.randn(2, *spec.input_shape))
    assert network.auxiliary() is None
    with pytest.raises(RunError, match="auxiliary head cannot"):
        DARTS_CELL.build(architecture, spec_of(1, "real"))


def test_batch_norms_are_torchs_own(spec_of: SpecOf) -> None:
    network = DARTS_CELL.build(known("PC_DARTS_CIFAR10", cells=3, width=2), spec_of(2, "point"))
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert {(norm.momentum, norm.eps, norm.affine) for norm in norms} == {(0.1, 1e-5, True)}


@given(st.integers(0, 2**32))
def test_pictures_have_no_overlaps(seed: int) -> None:
    picture = draw_cell(genotypes.sample_cell(np.random.default_rng(seed)), "a <title> & more")
    found = re.findall(r'class="box" x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"', picture)
    boxes = [tuple(map(int, box)) for box in found]
    boxes += [(int(x) - 18, int(y) - 18, 36, 36) for x, y in re.findall(r'<circle cx="(\d+)" cy="(\d+)"', picture)]
    assert len(boxes) == 2 + 8 + 4 + 1
    apart = [
        a[0] + a[2] <= b[0] or b[0] + b[2] <= a[0] or a[1] + a[3] <= b[1] or b[1] + b[3] <= a[1]
        for position, a in enumerate(boxes)
        for b in boxes[:position]
    ]
    assert all(apart)
    # lines down and right from a source to a box cross no box on their way
    for x, top, y, end in ((int(v) for v in g) for g in re.findall(r'd="M(\d+) (\d+)V(\d+)H(\d+)"', picture)):
        for left, upper, width, height in boxes:
            assert not (left < x < left + width and max(top, upper) < min(y, upper + height))
            assert not (upper < y < upper + height and max(x, left) < min(end, left + width))


def test_pictures_are_the_same_each_time_and_well_formed() -> None:
    from xml.etree import ElementTree

    architecture = known("DARTS_V2")
    assert draw(architecture) == draw(architecture)
    texts = [
        element.text for element in ElementTree.fromstring(draw(architecture)).iter() if element.tag.endswith("text")
    ]
    # five and one in the normal cell, three and five in the other
    assert [texts.count(label) for label in ("sep conv 3", "dil conv 3", "skip", "max pool 3")] == [5, 1, 2 + 3, 5]
