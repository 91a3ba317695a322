"""The Auto-DeepLab supernet: the numbers of the plain one, laws of its weights, what decoding makes of them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas360.baselines import cost
from nas360.baselines.spaces.darts_genotypes import OPERATIONS, Gene, sample_cell
from nas360.baselines.spaces.deeplab_architecture import EDGES, NODES
from nas360.baselines.spaces.deeplab_cell import ROWS, TrellisCell
from nas360.baselines.spaces.deeplab_network import PathCell
from nas360.baselines.spaces.deeplab_paths import Transition, Trellis
from nas360.baselines.spaces.deeplab_supernet import TrellisRelaxation, TrellisSupernet
from nas360.baselines.spaces.deeplab_trellis import DEEPLAB_TRELLIS
from nas360.errors import RunError
from nas360.loaders import TASKS
from nas360.task import TaskSpec

SpecOf = Callable[[int, str], TaskSpec]
SMALL = TrellisRelaxation(layers=3, levels=3, width=2)
FINE = TrellisRelaxation(layers=2, levels=2, width=2)


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    """tests/benchmarks/plain_deeplab.py."""
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "plain_deeplab.py"
    spec = importlib.util.spec_from_file_location("plain_deeplab", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["plain_deeplab"] = module
    spec.loader.exec_module(module)
    return module


def supernet(relaxation: TrellisRelaxation, spec: TaskSpec = TASKS["cosmic"].spec, seed: int = 0) -> TrellisSupernet:
    """In float64, its architecture parameters far from each other."""
    torch.manual_seed(seed)
    made = DEEPLAB_TRELLIS.relax(spec, relaxation).double()
    with torch.no_grad():
        for parameter in made.architecture_parameters().values():
            parameter.copy_(
                torch.rand_like(parameter) if relaxation.mixing == "simplex" else torch.randn_like(parameter)
            )
    return made


@pytest.mark.parametrize(
    "relaxation",
    [
        SMALL,
        replace(SMALL, choice="successors", checkpointing=True),
        TrellisRelaxation(layers=3, levels=4, width=2),
        TrellisRelaxation(layers=1, levels=2, width=2),
        TrellisRelaxation(layers=2, levels=1, width=36),
    ],
    ids=str,
)
def test_the_same_numbers_as_one_module_an_operation_and_edge(plain: ModuleType, relaxation: TrellisRelaxation) -> None:
    ours = supernet(relaxation)
    theirs = plain.PlainTrellis(ours).double()
    plain.copy_weights(ours, theirs)
    x = torch.randn(2, 1, 37, 21, dtype=torch.float64)
    out, expected = ours(x), theirs(x)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-10)
    gradient = torch.randn_like(out)
    out.backward(gradient)
    expected.backward(gradient)
    for name in ("alpha", "beta"):
        parameter, other = getattr(ours.mixed, name), getattr(theirs, name)
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-7, atol=1e-9)
    for name, mine in ours.mixed.cells.items():
        with torch.no_grad():
            for parameter in mine.parameters():
                assert parameter.grad is not None
                parameter.data = parameter.grad
        for target, value in plain.matching(mine, theirs.cells[name]):
            torch.testing.assert_close(target.grad, value.detach(), rtol=1e-6, atol=1e-8)


def test_evaluation_by_running_statistics(plain: ModuleType) -> None:
    ours = supernet(SMALL)
    theirs = plain.PlainTrellis(ours).double()
    plain.copy_weights(ours, theirs)
    for _ in range(2):
        x = torch.randn(3, 1, 16, 32, dtype=torch.float64)
        ours(x), theirs(x)
    ours.eval(), theirs.eval()
    # the plain one repeats the older input and so takes its variance over more rows, with another n / (n - 1)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0.05, atol=0.05)
    torch.testing.assert_close(ours(x[:1]), ours(x)[:1], rtol=0, atol=1e-10)


def test_checkpointing_changes_no_number() -> None:
    kept, anew = (supernet(replace(SMALL, checkpointing=on)) for on in (False, True))
    x = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    for _ in range(2):
        gradients = []
        for made in (kept, anew):
            loss = made(x).square().sum()
            gradients.append(torch.autograd.grad(loss, list(made.parameters())))
        assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    # running statistics have seen the batch once, not twice
    state, other = kept.state_dict(), anew.state_dict()
    assert list(state) == list(other)
    assert all(torch.equal(value, other[name]) for name, value in state.items())


def test_checkpointing_keeps_less() -> None:
    def kept(on: bool) -> int:
        made = supernet(replace(SMALL, checkpointing=on))
        count = 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal count
            count += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            made(torch.randn(2, 1, 64, 64, dtype=torch.float64))
        return count

    assert kept(True) < 0.4 * kept(False)


@pytest.mark.parametrize("choice", ["predecessors", "successors"])
@pytest.mark.parametrize("mixing", ["softmax", "simplex"])
def test_mixtures_are_distributions(choice: Any, mixing: Any) -> None:
    relaxation = TrellisRelaxation(layers=5, levels=4, width=2, choice=choice, mixing=mixing)
    made = DEEPLAB_TRELLIS.relax(TASKS["cosmic"].spec, relaxation)
    groups, weights = made.simplices(), made.mixture()
    beta = f"{'into' if choice == 'predecessors' else 'out_of'}_5x4.beta"
    assert list(groups) == ["cell.alpha", beta] == list(weights) == list(made.architecture_parameters())
    steps = relaxation.trellis.transitions
    for name, parameter in made.architecture_parameters().items():
        assert parameter.dtype == torch.float32
        assert groups[name].shape == parameter.shape == weights[name].shape
        assert not weights[name].requires_grad
        torch.testing.assert_close(weights[name].sum(dim=1), torch.ones(len(parameter)))
        rows, columns = DEEPLAB_TRELLIS.labels(name)
        assert (len(rows), len(columns)) == parameter.shape
    # as many weights as transitions, one simplex a row, and what is no transition is by itself
    shown, numbers = weights[beta] > 0, groups[beta]
    assert int(shown.sum()) == len(steps)
    assert [len(set(numbers[row][shown[row]].tolist())) for row in range(len(shown))] == [1] * len(shown)
    assert len(set(numbers.flatten().tolist())) == len(shown) + int((~shown).sum())
    apart = {id(parameter) for parameter in made.weight_parameters()}
    own = {id(parameter) for parameter in made.architecture_parameters().values()}
    assert not apart & own
    assert apart | own == {id(parameter) for parameter in made.parameters()}


def test_a_weight_far_below_another_is_no_zero_by_zero() -> None:
    made = supernet(FINE)
    with torch.no_grad():
        made.mixed.beta.copy_(torch.linspace(-2000, 2000, made.mixed.beta.numel()).view(-1, 3))
    assert all(bool(weights.isfinite().all()) for weights in made.mixture().values())


@pytest.mark.parametrize("choice", ["predecessors", "successors"])
def test_gradient_of_a_transition_is_the_finite_difference(choice: Any) -> None:
    made = supernet(replace(SMALL, choice=choice))
    x = torch.randn(2, 1, 16, 16, dtype=torch.float64)

    def loss() -> Tensor:
        total: Tensor = made(x).square().sum()
        return total

    gradients = torch.autograd.grad(loss(), list(made.architecture_parameters().values()))
    for parameter, gradient in zip(made.architecture_parameters().values(), gradients, strict=True):
        for place in [int(index) for index in gradient.flatten().abs().argsort()[[-1, len(gradient) // 2]]]:
            flat, values = parameter.data.view(-1), []
            for sign in (1, -1):
                flat[place] += sign * 1e-6
                values.append(float(loss().detach()))
                flat[place] -= sign * 1e-6
            difference = (values[0] - values[1]) / 2e-6
            assert difference == pytest.approx(float(gradient.flatten()[place]), rel=1e-4, abs=1e-6)


def test_a_common_factor_of_a_levels_inputs_changes_nothing() -> None:
    # why weights over predecessors lose nothing against weights over successors, in the middle of the trellis
    torch.manual_seed(0)
    cell = TrellisCell(4, (4, 8), 4, checkpointing=False).double()
    after = TrellisCell(None, (20,), 2, checkpointing=False).double()
    before, lasts = (
        torch.rand(2, 4, 8, 8).double(),
        [torch.rand(2, 4, 16, 16).double(), torch.rand(2, 8, 8, 8).double()],
    )
    mixture = torch.rand(20, 8).double()
    outs = []
    for factor in (1.0, 0.3):
        level = factor * torch.tensor([0.25, 0.75]).double()
        middle = cell(before, lasts, (8, 8), mixture, level)
        outs.append(after(None, [middle.relu()], (8, 8), mixture, torch.ones(1).double()))
    torch.testing.assert_close(outs[0], outs[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_a_planted_path_and_cell_are_decoded(seed: int) -> None:
    rng = np.random.default_rng(seed)
    path, cell = Trellis(12, 4).sample(rng), sample_cell(rng, NODES)
    made = DEEPLAB_TRELLIS.relax(TASKS["cosmic"].spec, TrellisRelaxation(width=2))
    steps = {Transition(layer, *step) for layer, step in enumerate(zip((0, *path), path, strict=False))}
    with torch.no_grad():
        planted = torch.tensor([5.0 * (step in steps) for step in Trellis(12, 4).transitions])
        made.mixed.beta.view(-1)[made.mixed.places] = planted
        made.mixed.alpha.zero_()
        # however strong, `none` is never chosen
        made.mixed.alpha[:, 0] = 9
        for position, gene in enumerate(cell):
            row, column = EDGES.index((gene.input, position // 2)), OPERATIONS.index(gene.operation)
            made.mixed.alpha[row, column] = 8 - position % 2
    found = DEEPLAB_TRELLIS.decode(made)
    assert found.levels == path
    assert found.cell == cell
    assert found.width == 32


@pytest.mark.parametrize("choice", ["predecessors", "successors"])
def test_equal_weights_favour_no_level(choice: Any) -> None:
    made = DEEPLAB_TRELLIS.relax(TASKS["cosmic"].spec, TrellisRelaxation(width=2, choice=choice, mixing="simplex"))
    # ties stay at the finest; of equal operations the first is taken
    found = DEEPLAB_TRELLIS.decode(made)
    assert found.path == (4,) * 12
    assert found.cell == tuple(Gene("max_pool_3x3", source) for source in (0, 1)) * NODES
    # a little more weight anywhere decides where the path goes
    coarsest = max(
        (index for index, step in enumerate(made.relaxation.trellis.transitions) if step.target == step.source == 3),
    )
    with torch.no_grad():
        made.mixed.beta.view(-1)[made.mixed.places[coarsest]] += 0.01
    assert DEEPLAB_TRELLIS.decode(made).path[-2:] == (32, 32)


def test_at_a_corner_it_is_the_discrete_cell(plain: ModuleType) -> None:
    torch.manual_seed(2)
    ours = TrellisCell(6, (6,), 4, checkpointing=False)
    theirs = plain.PlainCell(ours)
    with torch.no_grad():
        for target, value in plain.matching(ours, theirs):
            target.copy_(value)
    # pools have a batch norm in the supernet only, so the cell is one without pools; stronger genes have higher inputs
    rng = np.random.default_rng(0)
    names = [name for name in OPERATIONS[3:]]
    genes: tuple[Gene, ...] = ()
    for node in range(NODES):
        inputs = sorted(rng.choice(node + 2, 2, replace=False).tolist(), reverse=True)
        genes += tuple(Gene(names[int(rng.integers(len(names)))], source) for source in inputs)
    cell = PathCell(genes, 6, 6, 4)
    assert ours.pre_before is not None
    with torch.no_grad():
        cell.pre_0.weight.copy_(ours.pre_before.weight)
        cell.pre_1.weight.copy_(ours.pre_lasts[0].get_parameter("weight"))
    alpha = torch.zeros(20, 8)
    for position, gene in enumerate(genes):
        row, column = EDGES.index((gene.input, position // 2)), OPERATIONS.index(gene.operation)
        alpha[row, column] = 1
        shared = theirs.edges.get_submodule(f"{gene.input}_{position // 2}.{column}")
        if not isinstance(cell.operations[position], nn.Identity):
            cell.operations[position].load_state_dict(shared.state_dict(), strict=False)
    before, last = torch.rand(3, 6, 9, 8), torch.rand(3, 6, 9, 8)
    out = ours(before, [last], (9, 8), alpha[list(ROWS)], torch.ones(1))
    torch.testing.assert_close(out, cell(before, last, (9, 8)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("task", ["darcy_flow", "psicov", "cosmic"])
@pytest.mark.parametrize("size", [(1, 1), (19, 33)])
def test_every_task_and_size(task: str, size: tuple[int, int]) -> None:
    spec = TASKS[task].spec
    torch.manual_seed(0)
    made = DEEPLAB_TRELLIS.relax(spec, FINE)
    out = made(torch.randn(2, spec.input_shape[0], *size))
    assert out.shape == (2, 1, *size)
    out.square().sum().backward()
    for parameter in made.parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.isfinite().all())
    DEEPLAB_TRELLIS.build(replace(DEEPLAB_TRELLIS.decode(made), width=2), spec)


def test_labels_say_where_a_transition_leads() -> None:
    rows, columns = DEEPLAB_TRELLIS.labels("into_12x4.beta")
    assert rows[:3] == ("layer 1, stride 4", "layer 1, stride 8", "layer 2, stride 4")
    assert (len(rows), columns) == (45, ("from finer", "from the same", "from coarser"))
    rows, columns = DEEPLAB_TRELLIS.labels("out_of_3x2.beta")
    assert rows == tuple(
        f"layer {layer}, stride {stride}" for layer, stride in ((0, 4), (1, 4), (1, 8), (2, 4), (2, 8))
    )
    assert columns[2] == "to coarser"
    for name in ("beta", "into_0x4.beta", "into_12x9.beta", "normal.alpha"):
        with pytest.raises(RunError, match=r"no architecture parameter '.*'; cell\.alpha, or into_LxK\.beta"):
            DEEPLAB_TRELLIS.labels(name)


def test_other_tasks_are_refused(spec_of: SpecOf) -> None:
    for dims, kind in ((1, "real"), (2, "point")):
        with pytest.raises(RunError, match=r"deeplab_trellis is for images .* with one value a position"):
            DEEPLAB_TRELLIS.relax(spec_of(dims, kind), FINE)


def test_counting_and_copying() -> None:
    spec = TASKS["darcy_flow"].spec
    made = DEEPLAB_TRELLIS.relax(spec, FINE)
    measured = cost.measure(made, spec)
    assert measured.output_shape == (1, 85, 85)
    assert measured.parameters == sum(parameter.numel() for parameter in made.parameters())
    other = DEEPLAB_TRELLIS.relax(spec, FINE)
    other.load_state_dict(made.state_dict())
    x = torch.randn(2, 3, 24, 24)
    assert torch.equal(made(x), other(x))


def test_the_generator_decides_the_start() -> None:
    starts = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made = DEEPLAB_TRELLIS.relax(TASKS["cosmic"].spec, FINE)
        starts.append(torch.cat([parameter.detach().flatten() for parameter in made.parameters()]))
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


def test_narrower_relaxations_cost_less_and_less() -> None:
    spec = TASKS["darcy_flow"].spec
    chain = (SMALL, *SMALL.narrower())
    assert chain[1:] == (TrellisRelaxation(layers=3, levels=2, width=2),)
    work = [cost.measure(DEEPLAB_TRELLIS.relax(spec, one), spec).work for one in chain]
    assert work == sorted(set(work), reverse=True)
    full = TrellisRelaxation(checkpointing=True, choice="successors")
    sizes = [(one.layers, one.levels, one.width) for one in (full, *full.narrower())]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 4
    assert all(one.checkpointing and one.choice == "successors" for one in full.narrower())


def test_relaxations_are_checked() -> None:
    with pytest.raises(RunError, match="mixing 'double_softmax' is none of softmax, simplex"):
        TrellisRelaxation(mixing="double_softmax")  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(RunError, match="choice 'both' is none of predecessors, successors"):
        TrellisRelaxation(choice="both")  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(RunError, match="5 levels of resolution are not 1 to 4"):
        TrellisRelaxation(levels=5)
    with pytest.raises(RunError, match="width 3 an even number"):
        TrellisRelaxation(width=3)
