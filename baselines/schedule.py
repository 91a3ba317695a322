"""Learning-rate schedules: pure functions of the step, so that a resumed run needs no state of theirs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from nas360.errors import RunError


class Schedule(Protocol):
    """Gives the factor on the recipe's learning rate."""

    def factor(self, step: int, steps_per_epoch: int, steps: int) -> float:
        """The factor for one step.

        Args:
            step: index of the step, 0 ≤ step < steps.
            steps_per_epoch: steps that one pass over the data takes.
            steps: steps of the whole training.

        Returns:
            A number in [0, 1].
        """
        ...


@dataclass(frozen=True)
class Constant:
    """Always 1."""

    def factor(self, step: int, steps_per_epoch: int, steps: int) -> float:
        """See `Schedule.factor`."""
        return 1.0


@dataclass(frozen=True)
class MultiStep:
    """Falls by `gamma` when a share of the epochs is done; constant within an epoch.

    Attributes:
        milestones: shares of the training, rising, in (0, 1).
        gamma: factor at each milestone.

    Example:
        >>> schedule = MultiStep((0.3, 0.6, 0.8), gamma=0.2)
        >>> [round(schedule.factor(epoch, 1, 200), 3) for epoch in (0, 59, 60, 119, 120, 160)]
        [1.0, 1.0, 0.2, 0.2, 0.04, 0.008]
    """

    milestones: tuple[float, ...]
    gamma: float

    def __post_init__(self) -> None:
        if not all(0 < milestone < 1 for milestone in self.milestones) or list(self.milestones) != sorted(
            set(self.milestones)
        ):
            raise RunError(f"milestones {self.milestones} are not rising shares of the training in (0, 1)")
        if not 0 < self.gamma <= 1:
            raise RunError(f"gamma {self.gamma} is not in (0, 1]")

    def factor(self, step: int, steps_per_epoch: int, steps: int) -> float:
        """See `Schedule.factor`."""
        epochs = math.ceil(steps / steps_per_epoch)
        epoch = step // steps_per_epoch
        # rounded before it is cut, for 0.29 * 100 is a little below 29; never before the first epoch is done
        passed = sum(epoch >= max(1, math.floor(round(milestone * epochs, 9))) for milestone in self.milestones)
        return float(self.gamma**passed)


@dataclass(frozen=True)
class Cosine:
    """Rises linearly, then falls along half a cosine, step by step.

    Attributes:
        warmup: share of the training that rises, in [0, 1).
        final: factor at the end, in [0, 1].
        by_epoch: whether it is constant within an epoch.

    Example:
        >>> [round(Cosine(warmup=0.5).factor(step, 1, 8), 2) for step in range(8)]
        [0.25, 0.5, 0.75, 1.0, 1.0, 0.85, 0.5, 0.15]
        >>> [Cosine(by_epoch=True).factor(step, 2, 4) for step in range(4)]
        [1.0, 1.0, 0.5, 0.5]
    """

    warmup: float = 0.0
    final: float = 0.0
    by_epoch: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1:
            raise RunError(f"warm-up {self.warmup} is not a share of the training in [0, 1)")
        if not 0 <= self.final <= 1:
            raise RunError(f"final factor {self.final} is not in [0, 1]")

    def factor(self, step: int, steps_per_epoch: int, steps: int) -> float:
        """See `Schedule.factor`."""
        if self.by_epoch:
            step, steps = step // steps_per_epoch, math.ceil(steps / steps_per_epoch)
        rising = math.floor(self.warmup * steps)
        if step < rising:
            return (step + 1) / rising
        progress = (step - rising) / max(1, steps - rising)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class Polynomial:
    """Rises exponentially over some steps, then falls to 0 as a power of what is left, step by step.

    Source: Chen et al. 2017 (DeepLabv3), section 4.1, for the fall.

    Attributes:
        power: of the share of steps that is left, above 0; 1 falls linearly.
        warmup_steps: steps that rise, at most a tenth of the training.
        start: factor of the first step, in (0, 1].

    Example:
        >>> schedule = Polynomial(power=1.0, warmup_steps=2, start=0.01)
        >>> [round(schedule.factor(step, 1, 20), 2) for step in (0, 1, 2, 11, 19)]
        [0.01, 0.1, 1.0, 0.5, 0.06]
    """

    power: float = 0.9
    warmup_steps: int = 0
    start: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.power < math.inf:
            raise RunError(f"power {self.power} is not a finite number above 0")
        if self.warmup_steps < 0:
            raise RunError(f"{self.warmup_steps} warm-up steps are fewer than 0")
        if not 0 < self.start <= 1:
            raise RunError(f"factor {self.start} of the first step is not in (0, 1]")

    def factor(self, step: int, steps_per_epoch: int, steps: int) -> float:
        """See `Schedule.factor`."""
        rising = min(self.warmup_steps, steps // 10)
        if step < rising:
            return float(self.start ** (1 - step / rising))
        return float((1 - (step - rising) / max(1, steps - rising)) ** self.power)
