"""Losses against hand-computed values and second implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas360.baselines.losses import make_loss


def test_relative_l2_by_hand() -> None:
    y = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    output = torch.tensor([[3.0, 3.0], [1.0, 2.0]])
    # 1/5 + 1/2: a sum over the batch, not a mean
    assert float(make_loss("relative_l2")(output, y, None)) == pytest.approx(0.7)


@settings(deadline=None)
@given(seed=st.integers(0, 100), scale=st.floats(0.1, 10))
def test_relative_l2_has_no_unit(seed: int, scale: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    y, output = torch.randn(3, 4, 5, generator=rng), torch.randn(3, 4, 5, generator=rng)
    loss = make_loss("relative_l2")
    torch.testing.assert_close(loss(output * scale, y * scale, None), loss(output, y, None))
    expected = sum(np.linalg.norm(o - t) / np.linalg.norm(t) for o, t in zip(output.numpy(), y.numpy(), strict=True))
    assert float(loss(output, y, None)) == pytest.approx(expected, rel=1e-5)


@settings(deadline=None)
@given(seed=st.integers(0, 100))
def test_masked_positions_do_not_count(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    output, noise = torch.randn(2, 6, generator=rng), torch.randn(2, 6, generator=rng)
    y = (torch.rand(2, 6, generator=rng) < 0.5).float()
    weight = (torch.rand(2, 6, generator=rng) < 0.5).float()
    loss = make_loss("masked_binary_cross_entropy")
    torch.testing.assert_close(loss(output + noise * (1 - weight), y, weight), loss(output, y, weight))
    p = 1 / (1 + np.exp(-output.numpy().astype(np.float64)))
    each = -(y.numpy() * np.log(p) + (1 - y.numpy()) * np.log(1 - p))
    kept = each[weight.numpy() > 0]
    assert float(loss(output, y, weight)) == pytest.approx(kept.mean() if kept.size else 0.0, rel=1e-4, abs=1e-6)


def test_all_masked_is_zero_with_zero_gradient() -> None:
    output = torch.randn(2, 3, requires_grad=True)
    loss = make_loss("masked_binary_cross_entropy")(output, torch.ones(2, 3), torch.zeros(2, 3))
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert float(loss.detach()) == 0
    assert output.grad is not None
    assert not output.grad.any()


def test_no_weight_is_all_weight() -> None:
    output, y = torch.randn(2, 3), torch.ones(2, 3)
    for name in ("masked_binary_cross_entropy", "mean_squared_error"):
        loss = make_loss(name)
        torch.testing.assert_close(loss(output, y, None), loss(output, y, torch.ones(2, 3)))


def test_cross_entropies_at_zero_logits() -> None:
    assert float(make_loss("cross_entropy")(torch.zeros(5, 4), torch.arange(5) % 4, None)) == pytest.approx(np.log(4))
    assert float(make_loss("binary_cross_entropy")(torch.zeros(5, 4), torch.ones(5, 4), None)) == pytest.approx(
        np.log(2)
    )


def test_label_smoothing_spreads_the_label() -> None:
    output, y = torch.randn(6, 4), torch.arange(6) % 4
    uniform = -output.log_softmax(dim=1).mean()
    hard = make_loss("cross_entropy")(output, y, None)
    soft = make_loss("cross_entropy", label_smoothing=0.1)(output, y, None)
    torch.testing.assert_close(soft, 0.9 * hard + 0.1 * uniform)
