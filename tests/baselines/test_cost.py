"""What a network costs, in cases that can be counted by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nas360.baselines import cost, nd
from nas360.task import TaskSpec

SpecOf = Callable[[int, str], TaskSpec]


class Residual(nn.Module):
    """A 1×1 convolution, ReLU, an addition that no layer makes, and a view."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nd.conv(1, 2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x).relu() + x
        return out.flatten(1)


def test_a_case_by_hand(spec_of: SpecOf) -> None:
    counted = cost.measure(Residual(), spec_of(1, "point"))
    # two channels to two at 33 positions; convolution, ReLU and sum each write 66 numbers, the view none
    assert (counted.parameters, counted.macs, counted.outputs, counted.operations) == (4, 4 * 33, 3 * 66, 3)
    assert counted.output_shape == (66,)
    assert counted.work == 4 * 33 + cost.TRAFFIC * 3 * 66


def test_a_step_costs_its_rows_and_its_operations() -> None:
    one = cost.Cost(1, 1000, 10, (1,), 7)
    assert one.training_step(32) - one.training_step(31) == cost.TRAINING * one.work
    assert one.training_step(0) == cost.TRAINING * 7 * cost.START
    assert one.prediction(65, 32) == 65 * one.work + 3 * 7 * cost.START


def test_counting_computes_nothing_and_draws_from_nobody(spec_of: SpecOf) -> None:
    class Never(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert x.device.type == "meta"
            return x

    before = torch.get_rng_state()
    assert cost.of(lambda: nn.Sequential(Never(), nn.Flatten(), nn.Linear(66, 3)), spec_of(1, "point")).macs == 198
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("ratio", [2, 4])
def test_work_is_in_proportion_to_the_positions(ratio: int, spec_of: SpecOf) -> None:
    spec = spec_of(1, "point")
    longer = spec.model_copy(update={"input_shape": (2, ratio * 33)})
    assert cost.measure(Residual(), longer).work == ratio * cost.measure(Residual(), spec).work
