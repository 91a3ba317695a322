"""What a network costs: parameters, multiply-adds, and the work that budgets are planned with."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from nas360.baselines import ends
from nas360.baselines.device import owned_randomness
from nas360.seeding import derive
from nas360.task import TaskSpec

TRAFFIC = 64
"""Multiply-adds in the time that one number of a layer's output takes to be written and read again.

Norms and activations do hardly any arithmetic, yet a narrow network spends most of its time in them. Fitted to
training steps of Wide ResNets of widths 1 to 4 on two cores of a Xeon, 1D and 2D, where it lies between 40 and 100.
With it, a core of a Xeon of 2023 does 30 to 80e9 multiply-adds a second in Wide ResNets, networks of DARTS cells and
the supernet of these; half of that where a sample is as small as Satellite's.
"""


START = 1_000_000
"""Multiply-adds in the time that it takes to start an operation, whatever it computes; what small samples cost most.

Fitted to networks of DARTS cells on Satellite, 290 to 670 operations, where an operation of a training step takes some
100 microseconds of a core of a Xeon beside its work.
"""

TRAINING = 3
"""A training step costs three forward passes: one forward, two backward."""


@dataclass(frozen=True)
class Cost:
    """Cost of one network on one sample.

    Attributes:
        parameters: numbers that are learnt.
        macs: multiply-adds of a forward pass, in convolutions, linear layers and attention; norms, activations,
            biases and additions do not count, as is usual.
        outputs: numbers that the operations of a forward pass write, those of functions between the layers too.
        output_shape: shape of the network's output for one sample.
        operations: of a forward pass, views not counted.
    """

    parameters: int
    macs: int
    outputs: int
    output_shape: tuple[int, ...]
    operations: int = 0

    @property
    def work(self) -> int:
        """Cost of a forward pass in multiply-adds, with memory traffic turned into such."""
        return self.macs + TRAFFIC * self.outputs

    def training_step(self, batch_size: int) -> int:
        """Cost of a training step in multiply-adds."""
        return TRAINING * (self.work * batch_size + START * self.operations)

    def prediction(self, n: int, batch_size: int) -> int:
        """Cost of predicting n samples in multiply-adds."""
        return self.work * n + START * self.operations * math.ceil(n / batch_size)


def count_parameters(network: nn.Module) -> int:
    """Numbers that are learnt."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def measure(network: nn.Module, spec: TaskSpec) -> Cost:
    """Count on a copy without storage: nothing is computed, the network and torch's generator stay as they are.

    Args:
        network: takes (n, *spec.input_shape); `ends.TaskModel` for the shape of predictions.
        spec: the task.
    """
    hollow = copy.deepcopy(network).to("meta").eval()
    sample = torch.empty(1, *spec.input_shape, device="meta")
    with torch.no_grad(), _Counter() as counter:
        result = hollow(sample)
    # a multiply-add is two floating-point operations
    return Cost(
        count_parameters(network), counter.flops // 2, counter.written, tuple(result.shape[1:]), counter.operations
    )


class _Counter(TorchDispatchMode):
    """Counts floating-point operations by torch's own formulas, and the numbers that are written; a view writes none.

    torch's `FlopCounterMode` counts the former by module too, which takes longer than all else.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.formulas = FlopCounterMode(display=False).flop_registry
        self.flops = self.written = self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = self.formulas.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        aliases = [returned.alias_info for returned in func._schema.returns]
        if all(alias is None or alias.is_write for alias in aliases):
            self.operations += 1
            self.written += sum(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result


def of(build: Callable[[], nn.Module], spec: TaskSpec) -> Cost:
    """Cost of a task's network, a sample.

    Args:
        build: makes the network, (n, *spec.input_shape) → (n, outputs) or (n, outputs, *space); what it draws from
            torch's generator is drawn from nobody.
        spec: the task.
    """
    with owned_randomness(derive(0, "measure"), torch.device("cpu")):
        network = build()
    return measure(ends.TaskModel(network, spec), spec)
