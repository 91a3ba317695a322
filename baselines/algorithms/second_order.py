"""The architecture's gradient at the weights that one more step would give, without second derivatives of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nas360.baselines.device import random_state, restore_random_state
from nas360.errors import RunError

RADIUS = 0.01
"""How far the weights are moved to either side for the difference (DARTS, section 2.3: ε = 0.01 / ‖gradient‖)."""

PASSES = 4
"""Forward and backward passes of one gradient, where first order takes 1."""


def check_optimiser(optimiser: torch.optim.Optimizer) -> None:
    """Refuse what cannot be looked ahead of.

    Raises:
        RunError: the weights' optimiser is not SGD, whose step alone is linear in the gradient.
    """
    if not isinstance(optimiser, torch.optim.SGD):
        raise RunError(
            f"second order needs the weights to be trained by sgd, not by {type(optimiser).__name__.lower()}: its step "
            f"is linear in the gradient. Change the search's recipe, or set order=1"
        )


def unrolled_gradient(
    loss: Callable[[Any], Tensor],
    model: nn.Module,
    weights: torch.optim.Optimizer,
    architecture: Sequence[Tensor],
    train: Any,
    validation: Any,
    radius: float = RADIUS,
) -> list[Tensor]:
    """Gradient of L_validation(w', a) by the architecture a, where w' = w - lr · step(w, a) is one SGD step on.

    By the chain rule it is ∇_a L_validation(w', a) - lr · ∇²_(a, w) L_train(w, a) · v, with v = ∇_w' L_validation(w',
    a). The product with v is a central difference of first derivatives at w ± ε v, ε = radius / ‖v‖. Momentum and
    weight decay are in the step as SGD has them, but neither depends on a. The step's gradient is not clipped.

    Parameters, buffers (batch norms' statistics) and optimiser are afterwards what they were before, to the bit, also
    after an error; of torch's generator as much is drawn as two passes draw.

    Args:
        loss: of a batch, by `model` as it then is; a scalar.
        model: owner of all parameters and buffers.
        weights: SGD over the weights, with the learning rate of the step to come.
        architecture: parameters to find the gradient of.
        train: the batch of the step to come.
        validation: the batch of the architecture.
        radius: l2 norm of the move to either side, above 0.

    Returns:
        Gradients in the shapes of `architecture`.

    Raises:
        RunError: the optimiser is not SGD.

    Source: Liu, Simonyan and Yang 2019 (DARTS), section 2.3, equations 7 and 8.
    """
    check_optimiser(weights)
    (group,) = weights.param_groups
    moved: list[Tensor] = group["params"]
    device = architecture[0].device
    with _given_back(model):
        start = [weight.detach().clone() for weight in moved]
        random = random_state(device)
        steps = _sgd_steps(weights, _gradients(loss(train), moved))
        _move(moved, start, steps, -group["lr"])
        both = _gradients(loss(validation), [*architecture, *moved])
        after = random_state(device)
        outer, direction = both[: len(architecture)], both[len(architecture) :]
        # a gradient of nothing moves nothing: any finite ε will do
        epsilon = radius / torch.stack([part.norm() for part in direction]).norm().clamp_min(1e-12)
        sides = []
        for sign in (1.0, -1.0):
            _move(moved, start, direction, sign * epsilon)
            # the same random numbers on either side, lest their difference be taken for the weights'
            restore_random_state(random, device)
            sides.append(_gradients(loss(train), architecture))
        restore_random_state(after, device)
    # how much of the gradient is in the step: Nesterov's has it twice, once by way of the momentum
    share = 1 + group["momentum"] * group["nesterov"]
    factor = group["lr"] * share / (2 * epsilon)
    return [first - factor * (up - down) for first, up, down in zip(outer, *sides, strict=True)]


def _gradients(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Zeros where a parameter has no part in the loss."""
    return list(torch.autograd.grad(loss, list(parameters), allow_unused=True, materialize_grads=True))


@torch.no_grad()
def _move(parameters: Sequence[Tensor], start: Sequence[Tensor], way: Sequence[Tensor], far: float | Tensor) -> None:
    for parameter, origin, direction in zip(parameters, start, way, strict=True):
        parameter.copy_(origin + far * direction)


@torch.no_grad()
def _sgd_steps(weights: torch.optim.Optimizer, gradients: Sequence[Tensor]) -> list[Tensor]:
    """What SGD would subtract, over its learning rate; its state stays."""
    (group,) = weights.param_groups
    momentum, steps = group["momentum"], []
    for parameter, gradient in zip(group["params"], gradients, strict=True):
        step = gradient + group["weight_decay"] * parameter
        buffer = weights.state[parameter].get("momentum_buffer") if parameter in weights.state else None
        gathered = step if buffer is None else momentum * buffer + step
        steps.append(step + momentum * gathered if group["nesterov"] else gathered)
    return steps


@contextmanager
def _given_back(model: nn.Module) -> Iterator[None]:
    """Gives parameters and buffers their values back at the end."""
    tensors = [*model.parameters(), *model.buffers()]
    values = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, values, strict=True):
                tensor.copy_(value)
