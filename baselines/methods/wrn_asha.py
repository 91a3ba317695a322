"""`wrn_asha`: the Wide ResNet with hyper-parameters tuned for every task, the paper's "WRN ASHA"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from nas360.baselines.algorithms.asha_tuning import AshaTuning
from nas360.baselines.algorithms.base import Search
from nas360.baselines.asha.sampling import Choice, LogUniform, SamplingSpace
from nas360.baselines.method import Method
from nas360.baselines.methods import wrn
from nas360.baselines.spaces.wide_resnet import WIDE_RESNET

SPACE = SamplingSpace(
    {
        "lr": LogUniform(1e-4, 1e-1),
        "momentum": Choice((0.0, 0.3, 0.6, 0.9)),
        "weight_decay": LogUniform(1e-5, 1e-2),
        "dropout": Choice((0.0, 0.3, 0.6)),
    }
)
"""The reference's ranges."""


def trials(number: int) -> Callable[[AshaTuning], AshaTuning]:
    """A change of the number of trials."""
    return partial(replace, trials=number)


CHANGES: Mapping[str, Callable[[AshaTuning], AshaTuning]] = {
    "cifar100": trials(28),
    "spherical": partial(replace, mode="standard"),
    "ninapro": trials(28),
    "fsd50k": trials(36),
    "darcy_flow": trials(104),
    "ecg": trials(56),
    "satellite": trials(28),
    "deepsea": trials(256),
}
"""The reference's numbers of trials; 16 on the other tasks, in the bracket that stops most of them early."""

METHOD = Method(
    id="wrn_asha",
    name="WRN ASHA",
    title="Wide ResNet 16-4; learning rate, momentum, weight decay and dropout tuned by ASHA, best on validation",
    space=WIDE_RESNET,
    recipe=wrn.recipe,
    overrides=wrn.OVERRIDES,
    search=Search(AshaTuning(SPACE, default_first=True), wrn.recipe, wrn.OVERRIDES, CHANGES),
    hpo="ASHA",
    reference="Li et al. 2018, A System for Massively Parallel Hyperparameter Tuning; Tu et al. 2021, NAS-Bench-360",
)
"""Tuning takes, in epochs (200 are a full training): CIFAR-100, NinaPro, Satellite 752; Spherical 608; FSD50K 1074;
Darcy Flow 924; PSICOV, Cosmic 494; ECG 1654; DeepSEA 2552. That is 2.5 to 13 trainings (paper: 10 to 100 GPU hours and
more).

Trials have the schedule of the full training, whose rate falls after 60 epochs for the first time, so that all rungs
but the highest (12 and 50 of 200 epochs; with 64 trials and more also 3) judge at the initial rate, as in the
reference.

Differences from the reference: trials are compared by the task's own error on validation rows that are not augmented
(the reference: loss on Darcy Flow, and recall on Cosmic, which a network that marks everything wins); Satellite is
tuned with the batch with which it is trained, 4096 (there 256); signals have the Wide ResNet too, with dropout (there
the network of `resnet1d`, whose dropout did nothing); every seed is tuned by itself, with draws of its own; trial 0 is
not drawn but `wrn` as it is, so that what is found is on validation no worse than that; whole rungs are told before
promotions, see `AshaTuning`.

With a shortened budget the optimiser is AdamW, in the trials too: learning rate, weight decay and dropout are those of
its training, and momentum is its first decay rate.
"""
