"""How architecture parameters move: Adam on logits, or the exponentiated gradient on simplices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nas360.errors import RunError

MOST_ADAM, MOST_EXPONENTIATED = 0.03, 0.3
"""Learning rates of the architecture that no shortened search goes beyond.

Where it is planted which way the logits have to go, 80 steps of Adam bring the planted choice to a probability of 0.51
at 3e-4, 0.60 at 3e-3, 0.83 at 0.03 and 0.89 at 0.1: beyond, a search is all but decided by its first few batches. With
48 steps of the exponentiated gradient, the cells of two searches have a planted operation on 7 and 5 of 8 edges at 0.1,
on 7 and 6 at 0.3, but on 5 and 3 at 1.
"""

MULTIPLE_OF_LEAST = 1e-5
"""No weight of a simplex falls below this, lest it never come back."""


class Update(Protocol):
    """A rule by which architecture parameters are updated, as a value."""

    def make(self, parameters: Mapping[str, nn.Parameter], simplices: Mapping[str, Tensor]) -> torch.optim.Optimizer:
        """The optimiser.

        Args:
            parameters: by name.
            simplices: int64, in the parameters' shapes: entries with equal numbers form one simplex.
        """
        ...

    def paced(self, factor: float) -> Update:
        """The same for a search of so many times fewer steps."""
        ...


def paced_lr(lr: float, factor: float, most: float) -> float:
    """A learning rate with which the architecture can go as far in so many times fewer steps.

    Never below `lr`, nor raised beyond `most`; to three digits, for people to read.

    Example:
        >>> paced_lr(3e-4, 13.21, most=0.03), paced_lr(3e-4, 0.5, most=0.03), paced_lr(3e-4, 1e6, most=0.03)
        (0.00396, 0.0003, 0.03)
    """
    return max(lr, float(f"{min(lr * factor, most):.3g}"))


@dataclass(frozen=True)
class AdamUpdate:
    """Adam on logits, as DARTS has it (Liu et al. 2019, appendix A.1.1).

    Attributes:
        lr: learning rate.
        betas: decay rates of the averages.
        weight_decay: added to the gradient.
    """

    lr: float = 3e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 1e-3

    def make(self, parameters: Mapping[str, nn.Parameter], simplices: Mapping[str, Tensor]) -> torch.optim.Optimizer:
        """See `Update.make`."""
        return torch.optim.Adam(list(parameters.values()), self.lr, self.betas, weight_decay=self.weight_decay)

    def paced(self, factor: float) -> AdamUpdate:
        """See `Update.paced`."""
        return replace(self, lr=paced_lr(self.lr, factor, MOST_ADAM))


@dataclass(frozen=True)
class ExponentiatedUpdate:
    """Exponentiated gradient: p ← p · exp(-lr · gradient), then divided by its sum over the simplex.

    Source: Li, Khodak, Balcan and Talwalkar 2021 (Geometry-aware gradient algorithms for NAS), section 4.

    Attributes:
        lr: learning rate.
    """

    lr: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.lr < float("inf"):
            raise RunError(f"learning rate {self.lr} of the architecture is not a finite number above 0")

    def make(self, parameters: Mapping[str, nn.Parameter], simplices: Mapping[str, Tensor]) -> torch.optim.Optimizer:
        """See `Update.make`."""
        return ExponentiatedGradient(list(parameters.values()), [simplices[name] for name in parameters], self.lr)

    def paced(self, factor: float) -> ExponentiatedUpdate:
        """See `Update.paced`."""
        return replace(self, lr=paced_lr(self.lr, factor, MOST_EXPONENTIATED))


class ExponentiatedGradient(torch.optim.Optimizer):
    """See `ExponentiatedUpdate`. It has no state beside the parameters.

    Args:
        parameters: positive; they need not be normalised before the first step.
        simplices: int64 of each parameter's shape; entries with equal numbers form one simplex.
        lr: learning rate.
    """

    def __init__(self, parameters: list[nn.Parameter], simplices: list[Tensor], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})
        self._simplices = dict(zip(parameters, simplices, strict=True))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("the exponentiated gradient takes no closure")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    moved = exponentiated(parameter, parameter.grad, self._simplices[parameter], group["lr"])
                    parameter.copy_(moved)
        return None


def exponentiated(values: Tensor, gradient: Tensor, simplices: Tensor, lr: float) -> Tensor:
    """One step of the exponentiated gradient.

    Args:
        values: positive, of any shape.
        gradient: of the same shape.
        simplices: int64, of the same shape; which simplex each entry belongs to.
        lr: learning rate.

    Returns:
        Values of the same shape that sum to 1 over each simplex; none is below about 1e-5.
    """
    flat = simplices.to(values.device).flatten()
    n = int(flat.max()) + 1
    exponent = (-lr * gradient).flatten()
    # the sum over a simplex undoes a constant factor, so that its greatest exponent may be taken off: nothing overflows
    greatest = torch.full((n,), -torch.inf, dtype=exponent.dtype, device=exponent.device)
    greatest = greatest.scatter_reduce(0, flat, exponent, "amax")
    moved = values.flatten() * torch.exp(exponent - greatest[flat])
    moved = _normalised(moved, flat, n).clamp_min(MULTIPLE_OF_LEAST)
    return _normalised(moved, flat, n).view_as(values)


def _normalised(values: Tensor, simplices: Tensor, n: int) -> Tensor:
    sums = torch.zeros(n, dtype=values.dtype, device=values.device).index_add_(0, simplices, values)
    return values / sums[simplices]
