"""Updates of architecture parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nas360.baselines.algorithms.updates import (
    MOST_ADAM,
    MOST_EXPONENTIATED,
    AdamUpdate,
    ExponentiatedUpdate,
    exponentiated,
)
from nas360.errors import RunError

FLOATS = st.floats(-50, 50, allow_nan=False, width=32)


@given(
    rows=st.integers(1, 5),
    entries=st.integers(1, 6),
    lr=st.floats(1e-3, 10),
    data=st.data(),
)
def test_the_simplex_is_kept_and_the_step_is_the_closed_form(
    rows: int, entries: int, lr: float, data: st.DataObject
) -> None:
    draw = st.lists(FLOATS, min_size=rows * entries, max_size=rows * entries)
    gradient = torch.tensor(data.draw(draw), dtype=torch.float64).reshape(rows, entries)
    start = torch.tensor(data.draw(draw), dtype=torch.float64).abs().reshape(rows, entries) + 0.1
    groups = torch.arange(rows)[:, None].expand(rows, entries)
    moved = exponentiated(start, gradient, groups, lr)
    assert torch.allclose(moved.sum(dim=1), torch.ones(rows, dtype=torch.float64))
    assert (moved > 0.9e-5).all()
    logits = np.log(start.numpy()) - lr * gradient.numpy()
    closed = np.exp(logits - logits.max(axis=1, keepdims=True))
    closed = np.maximum(closed / closed.sum(axis=1, keepdims=True), 1e-5)
    np.testing.assert_allclose(moved.numpy(), closed / closed.sum(axis=1, keepdims=True), rtol=1e-9)


def test_simplices_of_different_sizes_do_not_see_each_other() -> None:
    values = torch.tensor([0.5, 0.5, 0.25, 0.25, 0.5])
    groups = torch.tensor([0, 0, 1, 1, 1])
    moved = exponentiated(values, torch.tensor([0.0, 10.0, 0.0, 0.0, 0.0]), groups, 0.1)
    np.testing.assert_allclose(moved[:2], [1 / (1 + np.exp(-1)), 1 - 1 / (1 + np.exp(-1))], rtol=1e-6)
    np.testing.assert_allclose(moved[2:], values[2:])


def test_a_constant_added_to_the_gradient_of_a_simplex_changes_nothing() -> None:
    rng = torch.Generator().manual_seed(0)
    values = torch.rand(4, 8, generator=rng, dtype=torch.float64)
    gradient = torch.randn(4, 8, generator=rng, dtype=torch.float64)
    groups = torch.arange(4)[:, None].expand(4, 8)
    one = exponentiated(values, gradient, groups, 0.1)
    other = exponentiated(values, gradient + torch.tensor([[1e3], [-1e3], [7.0], [0.0]]), groups, 0.1)
    np.testing.assert_allclose(one, other, rtol=1e-9)


def test_the_optimiser_minimises_a_linear_loss_to_the_best_corner() -> None:
    weights = nn.Parameter(torch.full((2, 3), 1 / 3))
    groups = {"alpha": torch.arange(2)[:, None].expand(2, 3)}
    optimiser = ExponentiatedUpdate(0.5).make({"alpha": weights}, groups)
    cost = torch.tensor([[3.0, 1.0, 2.0], [0.5, 4.0, 0.6]])
    for _ in range(200):
        optimiser.zero_grad()
        (weights * cost).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimiser.step()
    assert weights.argmax(dim=1).tolist() == [1, 0]
    assert weights[0, 1] > 0.99
    assert optimiser.state_dict()["state"] == {}


def test_what_has_no_gradient_stays() -> None:
    weights = nn.Parameter(torch.tensor([0.2, 0.8]))
    ExponentiatedUpdate().make({"a": weights}, {"a": torch.zeros(2, dtype=torch.int64)}).step()
    assert weights.tolist() == pytest.approx([0.2, 0.8])


def test_adam_is_torchs() -> None:
    first, second = (nn.Parameter(torch.tensor([1.0, -1.0])) for _ in range(2))
    mine = AdamUpdate(lr=0.1).make({"a": first}, {})
    torchs = torch.optim.Adam([second], 0.1, (0.5, 0.999), weight_decay=1e-3)
    for parameter, optimiser in ((first, mine), (second, torchs)):
        (parameter**2).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimiser.step()
    assert torch.equal(first, second)


@pytest.mark.parametrize("lr", [0.0, -1.0, float("inf"), float("nan")])
def test_a_learning_rate_that_cannot_be_is_refused(lr: float) -> None:
    with pytest.raises(RunError, match=r"learning rate .* of the architecture"):
        ExponentiatedUpdate(lr)


@pytest.mark.parametrize(
    ("update", "most"), [(AdamUpdate(lr=3e-4), MOST_ADAM), (ExponentiatedUpdate(lr=0.01), MOST_EXPONENTIATED)]
)
def test_fewer_steps_are_larger_ones_up_to_a_limit(update: AdamUpdate | ExponentiatedUpdate, most: float) -> None:
    assert update.paced(1.0) == update.paced(0.1) == update
    assert update.paced(4.0) == replace(update, lr=round(4 * update.lr, 6))
    assert update.paced(1e6) == replace(update, lr=most)
    # what a method asks for itself is not taken back
    own = replace(update, lr=2 * most)
    assert own.paced(1e6) == own


@pytest.mark.parametrize("update", [AdamUpdate(lr=3e-4), ExponentiatedUpdate(lr=0.01)])
def test_a_paced_update_goes_as_far_in_fewer_steps(update: AdamUpdate | ExponentiatedUpdate) -> None:
    def chance(update: AdamUpdate | ExponentiatedUpdate, steps: int) -> float:
        """Of the better of two choices, whose gradients differ by a little and are noisy."""
        simplex = isinstance(update, ExponentiatedUpdate)
        entries = nn.Parameter(torch.full((2,), 0.5 if simplex else 0.0))
        optimiser = update.make({"a": entries}, {"a": torch.zeros(2, dtype=torch.int64)})
        draw = torch.Generator().manual_seed(0)
        for _ in range(steps):
            entries.grad = torch.tensor([-0.3, 0.3]) + 0.1 * torch.randn(2, generator=draw)
            optimiser.step()
        return float((entries if simplex else entries.softmax(dim=0))[0].detach())

    whole, short, paced = chance(update, 2000), chance(update, 100), chance(update.paced(20), 100)
    assert whole > 0.7
    assert short < whole - 0.1
    assert paced == pytest.approx(whole, abs=0.05)
