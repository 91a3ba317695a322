"""Drop path: a branch of a network is left out for some samples, more of them as training goes on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas360.errors import RunError


class DropPath(nn.Module):
    """In training, zeroes a whole sample with `drop_probability` and scales the others up: the expectation is kept.

    Source: Larsson et al. 2017 (FractalNet), as in DARTS' evaluation network.
    """

    drop_probability: float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """(n, …) → (n, …)."""
        if not self.training or self.drop_probability == 0:
            return x
        kept = 1 - self.drop_probability
        mask = torch.empty(x.shape[0], *[1] * (x.ndim - 1), dtype=x.dtype, device=x.device).bernoulli_(kept)
        return x * mask / kept


def set_drop_path(network: nn.Module, probability: float) -> None:
    """Set the probability of every drop path in the network; a training loop raises it from 0, step by step.

    Raises:
        RunError: the probability is not in [0, 1).
    """
    if not 0 <= probability < 1:
        raise RunError(f"drop path {probability} is not a probability in [0, 1)")
    for module in network.modules():
        if isinstance(module, DropPath):
            module.drop_probability = probability
