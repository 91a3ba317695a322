"""`resnet1d`: the network behind the paper's WRN rows on the 1D tasks."""

from __future__ import annotations

from nas360.baselines.method import Method
from nas360.baselines.methods.wrn import OVERRIDES, recipe
from nas360.baselines.spaces.resnet1d import RESNET1D

METHOD = Method(
    id="resnet1d",
    name="ResNet1D",
    title="Time-series ResNet, no search (1D; the paper's WRN on its 1D tasks)",
    space=RESNET1D,
    recipe=recipe,
    overrides=OVERRIDES,
    reference="Wang, Yan and Oates 2017, Time Series Classification; Tu et al. 2021, NAS-Bench-360, table 2",
)
"""Under the Wide ResNet's recipe, as in the reference; the third block has the shortcut that the reference leaves out.

To the end, in 10¹⁵ multiply-adds: ECG 88.6, Satellite 12.4, DeepSEA 21.6.
"""
