"""`timm:NAME`: any model of timm, from scratch, under the Wide ResNet's recipe, so that networks alone are compared."""

from __future__ import annotations

from nas360.baselines.method import Method
from nas360.baselines.methods.wrn import OVERRIDES, recipe
from nas360.baselines.spaces.timm_models import TimmArchitecture, TimmModels


def make(name: str) -> Method:
    """The method of a timm model.

    Raises:
        UnknownNameError: timm has no such model; with the nearest names.
    """
    TimmArchitecture(name)
    return Method(
        id=f"timm:{name}",
        name=name,
        title=f"{name} of timm, not pretrained (2D tasks with one answer a sample)",
        space=TimmModels(name),
        recipe=recipe,
        overrides=OVERRIDES,
        reference="Wightman 2019, PyTorch Image Models",
    )
