"""Recipes: how a network is trained, as values that are checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from nas360.baselines.schedule import Constant, Schedule
from nas360.baselines.values import plain
from nas360.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor
    from torch.optim import Optimizer

OptimiserName = Literal["sgd", "adam", "adamw"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Optimiser:
    """An optimiser and its settings.

    Attributes:
        name: `sgd`, `adam`, or `adamw` (decay apart from the gradient).
        lr: learning rate before the schedule's factor.
        momentum: of SGD; unused by the others.
        nesterov: whether SGD looks ahead; it needs momentum.
        weight_decay: on every parameter, batch norms included, as the reference does.
        betas: decay rates of Adam's averages.
    """

    name: OptimiserName
    lr: float
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        if self.name not in get_args(OptimiserName):
            raise RunError(f"optimiser {self.name!r} is none of {', '.join(get_args(OptimiserName))}")
        if not 0 < self.lr < float("inf"):
            raise RunError(f"learning rate {self.lr} is not a finite number above 0")
        if not 0 <= self.momentum < 1:
            raise RunError(f"momentum {self.momentum} is not in [0, 1)")
        if self.nesterov and self.momentum == 0:
            raise RunError("Nesterov's look-ahead needs momentum above 0; set nesterov=False")
        if not 0 <= self.weight_decay < float("inf"):
            raise RunError(f"weight decay {self.weight_decay} is not a finite number ≥ 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise RunError(f"betas {self.betas} are not both in [0, 1)")

    def make(self, parameters: Iterable[Tensor]) -> Optimizer:
        """The torch optimiser over `parameters`."""
        from torch import optim

        if self.name == "sgd":
            return optim.SGD(
                parameters, self.lr, momentum=self.momentum, weight_decay=self.weight_decay, nesterov=self.nesterov
            )
        kind = optim.Adam if self.name == "adam" else optim.AdamW
        return kind(parameters, self.lr, betas=self.betas, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        optimiser: the optimiser.
        epochs: passes over the training rows.
        batch_size: rows a step. The last, partial batch of an epoch is left out (rows are shuffled anew each epoch).
        schedule: factor on the learning rate.
        clip_norm: greatest l2 norm of the whole gradient; None does not clip.
        label_smoothing: share of a class label that is spread over all classes (cross-entropy only).
        ema_decay: decay of an exponential average of the weights, by step, which then makes the predictions; None: no
            average.
        drop_path: greatest probability with which a branch is left out for a sample, in networks that have `DropPath`;
            in epoch e of E it is drop_path · e / E, from 0 on.
        auxiliary_weight: of the loss at an auxiliary head, in networks that have one.
        precision: `auto` computes in bfloat16 where a GPU does so fast, else in float32.
    """

    optimiser: Optimiser
    epochs: int
    batch_size: int
    schedule: Schedule = field(default_factory=Constant)
    clip_norm: float | None = None
    label_smoothing: float = 0.0
    ema_decay: float | None = None
    drop_path: float = 0.0
    auxiliary_weight: float = 0.0
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise RunError(f"epochs {self.epochs} and batch size {self.batch_size} must both be at least 1")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise RunError(f"gradient norm {self.clip_norm} to clip at is not above 0; None does not clip")
        if not 0 <= self.label_smoothing < 1:
            raise RunError(f"label smoothing {self.label_smoothing} is not in [0, 1)")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise RunError(f"decay of the weights' average {self.ema_decay} is not in (0, 1); None takes no average")
        if not 0 <= self.drop_path < 1:
            raise RunError(f"drop path {self.drop_path} is not a probability in [0, 1)")
        if not 0 <= self.auxiliary_weight < float("inf"):
            raise RunError(f"weight {self.auxiliary_weight} of the auxiliary loss is not a finite number ≥ 0")
        if self.precision not in get_args(Precision):
            raise RunError(f"precision {self.precision!r} is none of {', '.join(get_args(Precision))}")

    def public(self) -> dict[str, Any]:
        """The recipe as plain JSON values; the schedule says its name.

        Example:
            >>> Recipe(Optimiser("adam", lr=0.1), epochs=2, batch_size=4).public()["schedule"]
            {'name': 'Constant'}
        """
        shown: dict[str, Any] = plain(self)
        del shown["name"]
        # its name says all; the class is the same for each
        shown["optimiser"] = plain(vars(self.optimiser))
        return shown
