"""Methods: a space, a way to search it, and a recipe, under one name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nas360.baselines.algorithms.base import Search
from nas360.baselines.recipe import Recipe
from nas360.baselines.spaces.base import Space
from nas360.errors import RunError, UnknownNameError
from nas360.registry import Registry
from nas360.task import TaskSpec

TIMM = "timm:"


@dataclass(frozen=True)
class Method:
    """A method as a value.

    Attributes:
        id: name in commands and results.
        name: short name for tables.
        title: one line for people.
        space: what networks there are.
        recipe: how one is trained, for a task of which nothing is known but its spec.
        reference: paper, and where the values are from.
        overrides: task id → change of the recipe.
        search: how the space is searched; None trains its default architecture.
        final: from the architecture that was found to the one that is trained; None trains what was found.
        variants: name → change of the method, which is then called `ID:NAME`.
        numbered: name → change by a number N, which is then called `ID:NAME-N`.
        hpo: how its search tunes hyper-parameters, for results; None where none are tuned.
        version: of the method; rises when its results change.
    """

    id: str
    name: str
    title: str
    space: Space[Any]
    recipe: Callable[[TaskSpec], Recipe]
    reference: str
    overrides: Mapping[str, Callable[[Recipe], Recipe]] = field(default_factory=dict)
    search: Search | None = None
    final: Callable[[Any, TaskSpec], Any] | None = None
    variants: Mapping[str, Callable[[Method], Method]] = field(default_factory=dict)
    numbered: Mapping[str, Callable[[Method, int], Method]] = field(default_factory=dict)
    hpo: str | None = None
    version: str = "1"

    def supports(self, spec: TaskSpec) -> bool:
        """Whether the method can run on the task."""
        return self.space.refusal(spec) is None

    def check(self, spec: TaskSpec) -> None:
        """Refuse a task that the method cannot run on.

        Raises:
            RunError: with the reason, and the tasks that it can run on.
        """
        if reason := self.space.refusal(spec):
            from nas360.loaders import TASKS

            able = ", ".join(name for name, task in TASKS.items() if self.supports(task.spec))
            raise RunError(f"{self.id} cannot run on {spec.id}: it {reason}. Tasks that it can run on: {able}")

    def recipe_for(self, spec: TaskSpec) -> Recipe:
        """The recipe with the task's override."""
        recipe = self.recipe(spec)
        change = self.overrides.get(spec.id)
        return recipe if change is None else change(recipe)


METHODS: Registry[Method] = Registry(
    "method",
    {
        "wrn": "nas360.baselines.methods.wrn:METHOD",
        "resnet1d": "nas360.baselines.methods.resnet1d:METHOD",
        "wrn_asha": "nas360.baselines.methods.wrn_asha:METHOD",
        "gaea": "nas360.baselines.methods.gaea:METHOD",
        "darts": "nas360.baselines.methods.darts:METHOD",
        "darts_random": "nas360.baselines.methods.darts_random:METHOD",
        "densenas": "nas360.baselines.methods.densenas:METHOD",
        "densenas_random": "nas360.baselines.methods.densenas_random:METHOD",
        "autodl": "nas360.baselines.methods.autodl:METHOD",
        "amber": "nas360.baselines.methods.amber:METHOD",
    },
)


def get_method(name: str) -> Method:
    """The method of a name: one of `METHODS`, `ID:VARIANT` or `ID:VARIANT-N` for a variant of one, or `timm:NAME`.

    Raises:
        UnknownNameError: there is none; with the nearest name.

    Example:
        >>> get_method("wrn:wide")
        Traceback (most recent call last):
        ...
        nas360.errors.UnknownNameError: unknown variant 'wide' of wrn. Known: none
    """
    if name.startswith(TIMM):
        from nas360.baselines.methods.timm_model import make

        return make(name.removeprefix(TIMM))
    base, _, variant = name.partition(":")
    try:
        method = METHODS[base]
    except UnknownNameError as cause:
        raise UnknownNameError(f"{cause}; or timm:NAME") from cause
    if not variant and base == name:
        return method
    kind, _, number = variant.rpartition("-")
    if variant in method.variants:
        changed = method.variants[variant](method)
    elif kind in method.numbered and re.fullmatch(r"0|[1-9][0-9]{0,14}", number):
        changed = method.numbered[kind](method, int(number))
    else:
        known = [f"{base}:{one}" for one in method.variants] + [f"{base}:{one}-N" for one in method.numbered]
        raise UnknownNameError(f"unknown variant {variant!r} of {base}. Known: {', '.join(known) or 'none'}")
    shown = f"{method.name}, {variant.replace('_', ' ').replace('-', ' ')}"
    return replace(changed, id=name, name=shown, variants={}, numbered={})
