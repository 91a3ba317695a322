"""The score that needs no data: what a constant prediction gives on a task, as far as the task's spec alone tells it.

Where the exact number depends on the test labels, a bound stands here that holds for every possible set of labels. A
score beyond it is worse than the best constant for certain; one on this side of it may be so too, which only
`nas360 dummy` with `nas360 evaluate` on the data can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nas360.task import Point, TaskSpec


@dataclass(frozen=True)
class Constant:
    """What a constant prediction reaches.

    Attributes:
        score: in the metric's own direction; the best constant is at least as good as this.
        why: how it follows, for a message.
    """

    score: float
    why: str


def _majority(spec: TaskSpec) -> Constant:
    n = _classes(spec)
    return Constant(100 * (1 - 1 / n), f"the most frequent of {n} classes has a share of at least 1/{n}")


def _macro_f1(spec: TaskSpec) -> Constant:
    n = _classes(spec)
    # the most frequent class with share p ≥ 1/n has F1 = 2p / (1 + p), which grows with p; all others have 0
    return Constant(2 / (n * (n + 1)), f"the most frequent of {n} classes alone has an F1 of at least 2/{n + 1}")


def _classes(spec: TaskSpec) -> int:
    return spec.output.n_classes if isinstance(spec.output, Point) else spec.output.channels


_BY_METRIC: Mapping[str, Callable[[TaskSpec], Constant]] = {
    "zero_one_error": _majority,
    "macro_f1_by_record": _macro_f1,
    "macro_auroc": lambda spec: Constant(0.5, "equal scores for all samples order no pair"),
    "relative_l2": lambda spec: Constant(1.0, "zero everywhere leaves exactly the norm of the target"),
    # counted distances lie in (0, 8] Å, so that 4 Å everywhere is never wrong by more than 4 Å
    "mae8": lambda spec: Constant(4.0, "4 Å everywhere is at most 4 Å from any distance up to 8 Å"),
}
"""Not here: macro mAP, whose constant is the mean prevalence of the labels, which only the data tells; and a false
negative rate alone, which a constant brings to 0, so that no score is worse for lack of false alarms."""


def constant_score(spec: TaskSpec) -> Constant | None:
    """What a constant prediction scores at least; None where the spec does not tell.

    Args:
        spec: the task.

    Example:
        >>> from nas360.loaders import TASKS
        >>> constant_score(TASKS["cifar100"].spec).score
        99.0
        >>> constant_score(TASKS["fsd50k"].spec) is None
        True
    """
    rule = _BY_METRIC.get(spec.metric)
    return rule(spec) if rule is not None else None


def is_worse(spec: TaskSpec, score: float) -> Constant | None:
    """The constant, where a score is worse than it at the published precision; else None."""
    constant = constant_score(spec)
    if constant is None or round(spec.error(score), spec.decimals) <= round(spec.error(constant.score), spec.decimals):
        return None
    return constant
