"""A rung: which trials reported there, and which of them is to be promoted next, in O(log n) a report."""

from __future__ import annotations

import heapq
import math


class Rung:
    """Reports of one rung, and the best floor(n / eta) of them.

    Order is by error, then by the trial's number: of two equal errors the trial that was drawn first is the better one,
    whichever reported first. An infinite error counts among the n and is never promoted.

    The best are one heap with the worst on top, the rest another with the best on top; a report moves at most two
    entries between them.

    Attributes:
        eta: one in so many is promotable.
        errors: trial → error, in order of arrival; infinite for a failure.
    """

    def __init__(self, eta: int) -> None:
        self.eta = eta
        self.errors: dict[int, float] = {}
        self._promoted: set[int] = set()
        self._best: list[tuple[float, int]] = []  # negated
        self._is_best: set[int] = set()
        self._rest: list[tuple[float, int]] = []
        # all of the best that may be promoted; also such as have been, or have fallen out, until they come up
        self._waiting: list[tuple[float, int]] = []

    def report(self, trial: int, error: float) -> None:
        """Take a report.

        Args:
            trial: that has not reported here before.
            error: lower is better; no NaN.
        """
        self.errors[trial] = error
        if self._best and (-error, -trial) > self._best[0]:
            worst_error, worst = heapq.heapreplace(self._best, (-error, -trial))
            self._is_best.remove(-worst)
            heapq.heappush(self._rest, (-worst_error, -worst))
            self._wait(error, trial)
        else:
            heapq.heappush(self._rest, (error, trial))
        if len(self.errors) // self.eta > len(self._best):
            error, trial = heapq.heappop(self._rest)
            heapq.heappush(self._best, (-error, -trial))
            self._wait(error, trial)

    def _wait(self, error: float, trial: int) -> None:
        self._is_best.add(trial)
        if error < math.inf:
            heapq.heappush(self._waiting, (error, trial))

    def promotable(self) -> int | None:
        """The best trial among the best floor(n / eta) that has not been promoted; None if there is none."""
        while self._waiting:
            trial = self._waiting[0][1]
            if trial in self._is_best and trial not in self._promoted:
                return trial
            heapq.heappop(self._waiting)
        return None

    def promote(self, trial: int) -> None:
        """Mark a trial as promoted."""
        self._promoted.add(trial)

    @property
    def promoted(self) -> frozenset[int]:
        """All that have been promoted."""
        return frozenset(self._promoted)
