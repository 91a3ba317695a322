"""What a configuration of hyper-parameters means for the network and for its training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from nas360.baselines.recipe import Optimiser
from nas360.errors import RunError

OPTIMISER = ("lr", "momentum", "weight_decay")
"""Hyper-parameters of the optimiser; all others are fields of the architecture, such as dropout."""


def architecture_of(architecture: Any, configuration: Mapping[str, Any]) -> Any:
    """The architecture with what the configuration says of it.

    Raises:
        RunError: it has no such field.
    """
    own = {name: value for name, value in configuration.items() if name not in OPTIMISER}
    try:
        return replace(architecture, **own)
    except TypeError as cause:
        known = ", ".join((*OPTIMISER, *vars(architecture)))
        raise RunError(f"hyper-parameters {', '.join(configuration)}: only {known} can be tuned ({cause})") from cause


def optimiser_of(optimiser: Optimiser, configuration: Mapping[str, Any]) -> Optimiser:
    """The optimiser with what the configuration says of it.

    Momentum of Adam is the decay rate of its first average, which is that of past gradients as SGD's momentum is.
    Nesterov's look-ahead is off without momentum, as in the reference.
    """
    own = {name: value for name, value in configuration.items() if name in OPTIMISER}
    momentum = own.pop("momentum", None)
    if momentum is None:
        return replace(optimiser, **own)
    if optimiser.name == "sgd":
        return replace(optimiser, momentum=momentum, nesterov=optimiser.nesterov and momentum > 0, **own)
    return replace(optimiser, betas=(momentum, optimiser.betas[1]), **own)


def default_of(names: Iterable[str], optimiser: Optimiser, architecture: Any) -> dict[str, Any]:
    """The configuration that changes neither the optimiser nor the architecture.

    Args:
        names: of the hyper-parameters.
        optimiser: of the recipe.
        architecture: the space's default.

    Example:
        >>> default_of(["lr", "momentum"], Optimiser("adamw", lr=0.003, betas=(0.8, 0.99)), None)
        {'lr': 0.003, 'momentum': 0.8}
    """
    known = {
        "lr": optimiser.lr,
        "momentum": optimiser.momentum if optimiser.name == "sgd" else optimiser.betas[0],
        "weight_decay": optimiser.weight_decay,
    }
    try:
        return {name: known[name] if name in known else getattr(architecture, name) for name in names}
    except AttributeError as cause:
        raise RunError(f"hyper-parameters {', '.join(names)}: {cause}. Tune what the architecture has") from cause


def told(configuration: Mapping[str, Any]) -> str:
    """A configuration in words.

    Example:
        >>> told({"lr": 0.0123456, "dropout": 0.3})
        'lr 0.01235, dropout 0.3'
    """
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in configuration.items()
    )
