"""How a run tells of its progress, without knowing who listens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Report:
    """State of a training.

    Attributes:
        step: steps done, of `steps`.
        steps: of the whole training.
        epoch: passes over the data done; a fraction within one.
        loss: mean training loss of the steps since the last report.
        lr: learning rate of the last step.
        validation: metric on the validation split, where it was measured; of a search, the error.
        seconds: spent in the stage so far, over all resumptions.
        stage: `train` or `search`.
        shown: further lines for people, title → text, such as a search's entropy and best architecture.
    """

    step: int
    steps: int
    epoch: float
    loss: float
    lr: float
    validation: float | None
    seconds: float
    stage: str = "train"
    shown: Mapping[str, str] = field(default_factory=dict)


class Watcher(Protocol):
    """Someone who is told how a run goes on."""

    def note(self, message: str) -> None:
        """A sentence for the reader."""
        ...

    def step(self, done: int, total: int, stage: str) -> None:
        """After every step of a stage, `"search"`, `"train"` or `"predict"`; must be quick."""
        ...

    def report(self, report: Report) -> None:
        """After every report of a search or training."""
        ...


class Silent:
    """A watcher that shows nothing."""

    def note(self, message: str) -> None:
        """Nothing."""

    def step(self, done: int, total: int, stage: str) -> None:
        """Nothing."""

    def report(self, report: Report) -> None:
        """Nothing."""
