"""Any model of timm, for images with one answer a sample."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import timm
import torch
from torch import nn

from nas360.baselines import ends
from nas360.baselines.spaces.base import take_fields
from nas360.errors import RunError, UnknownNameError
from nas360.task import TaskSpec


@dataclass(frozen=True)
class TimmArchitecture:
    """The name of a timm model, trained from scratch."""

    name: str

    def __post_init__(self) -> None:
        # a tag after the name ("resnet18.a1_in1k") chooses pretrained weights, which are not used here
        if not timm.is_model(self.name):
            near = difflib.get_close_matches(self.name, timm.list_models(), n=5, cutoff=0.5)
            hint = f" Nearest: {', '.join(near)}." if near else ""
            raise UnknownNameError(
                f"timm has no model {self.name!r}.{hint} `python -c 'import timm; print(timm.list_models())'` lists all"
            )

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class TimmModels:
    """The space of one timm model, with the task's input channels and outputs.

    Never pretrained. Models that are made for one image size (vision transformers) are told the task's size.

    Attributes:
        name: timm's name of the model.
    """

    name: str

    @property
    def id(self) -> str:
        """Always `timm`: the model's name is in the architecture."""
        return "timm"

    def default(self, spec: TaskSpec) -> TimmArchitecture:
        """The model."""
        return TimmArchitecture(self.name)

    def build(self, architecture: TimmArchitecture, spec: TaskSpec) -> nn.Module:
        """The network; see `Space.build`."""
        if reason := self.refusal(spec):
            raise RunError(f"timm:{architecture.name} {reason}")
        settings: dict[str, Any] = {}
        config = timm.get_pretrained_cfg(architecture.name)
        if config is not None and config.fixed_input_size:
            settings["img_size"] = spec.input_shape[1:]
        try:
            network: nn.Module = timm.create_model(
                architecture.name,
                pretrained=False,
                in_chans=spec.input_shape[0],
                num_classes=spec.output.channels,
                **settings,
            )
            _try(network, spec)
        except (RuntimeError, AssertionError, ValueError, TypeError, IndexError) as cause:
            raise RunError(
                f"timm:{architecture.name} cannot take the inputs of {spec.id}, (channels, height, width) = "
                f"{spec.input_shape}: {type(cause).__name__}: {cause}. "
                f"Take a model for small images, for instance timm:resnet18"
            ) from cause
        return network

    def refusal(self, spec: TaskSpec) -> str | None:
        """Images with one answer a sample only."""
        if spec.spatial_dims != 2 or ends.is_dense(spec):
            shape = "signals" if spec.spatial_dims == 1 else "images with one answer a position"
            return f"serves images (2D) with one answer a sample, and {spec.id} has {shape}; use wrn"
        return None

    def narrower(self, architecture: TimmArchitecture) -> tuple[TimmArchitecture, ...]:
        """None: a timm model has the width that its name says."""
        return ()

    def to_json(self, architecture: TimmArchitecture) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(architecture)

    def from_json(self, content: Mapping[str, Any]) -> TimmArchitecture:
        """The architecture that `to_json` wrote; see `Space.from_json`."""
        return TimmArchitecture(**take_fields(content, "timm", name=str))


def _try(network: nn.Module, spec: TaskSpec) -> None:
    """Run one input through the network, so that a size which it cannot take shows before any data is read.

    Raises:
        ValueError: when the output is not one vector of the task's outputs a sample; or whatever the model raises.
    """
    network.eval()
    with torch.no_grad():
        shape = tuple(network(torch.zeros(1, *spec.input_shape)).shape)
    network.train()
    if shape != (1, spec.output.channels):
        raise ValueError(f"output of shape {shape}, not {(1, spec.output.channels)}")
