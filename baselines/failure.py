"""The failure that is a finding: a method that gives no predictions, by its own doing."""

from __future__ import annotations

from nas360.errors import RunError


class TrainingError(RunError):
    """A training or its network went out of all bounds; the same seed would do so again.

    Args:
        stage: `"train"` or `"predict"`.
        message: what happened, and what to do.
    """

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage

    def __reduce__(self) -> tuple[type[TrainingError], tuple[str, str]]:
        # exceptions pickle by their `args`, which have no stage
        return type(self), (self.stage, str(self))
