"""The time-series ResNet: the network that the reference calls WRN on its 1D tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from torch import Tensor, nn

from nas360.baselines import ends, nd
from nas360.baselines.spaces.base import take_fields
from nas360.errors import RunError
from nas360.task import TaskSpec

KERNELS = (8, 5, 3)
Residual = Literal["every_block", "reference"]


@dataclass(frozen=True)
class ResNet1dArchitecture:
    """Three residual blocks of three convolutions each.

    Attributes:
        widths: channels of the blocks.
        residual: `"every_block"`, as published; or `"reference"`: a block that does not change the width adds
            nothing, which leaves the third block of the standard widths without its shortcut, as in the NAS-Bench-360
            code.
    """

    widths: tuple[int, int, int] = (64, 128, 128)
    residual: Residual = "every_block"

    def __post_init__(self) -> None:
        if len(self.widths) != 3 or min(self.widths) < 1:
            raise RunError(f"widths {self.widths} of the time-series ResNet are not three numbers ≥ 1")
        if self.residual not in get_args(Residual):
            raise RunError(f"residual {self.residual!r} is none of {', '.join(get_args(Residual))}")

    def __str__(self) -> str:
        residual = " as in the reference" if self.residual == "reference" else ""
        return f"ResNet1D-{'-'.join(map(str, self.widths))}{residual}"


class Block(nn.Module):
    """Convolutions of kernels 8, 5, 3, each with bias and batch norm, ReLU between; shortcut; ReLU.

    The shortcut is a 1×1 convolution with batch norm where the width changes, else the input itself.
    """

    def __init__(self, spatial_dims: int, in_width: int, width: int, *, identity: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_width
        for kernel in KERNELS:
            layers += [
                nd.conv(spatial_dims, channels, width, kernel, bias=True),
                nd.batch_norm(spatial_dims, width),
                nn.ReLU(inplace=True),
            ]
            channels = width
        self.change = nn.Sequential(*layers[:-1])
        self.shortcut: nn.Module | None = nn.Identity() if identity else None
        if in_width != width:
            self.shortcut = nn.Sequential(
                nd.conv(spatial_dims, in_width, width, 1, bias=True), nd.batch_norm(spatial_dims, width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_width, length) → (n, width, length)."""
        change: Tensor = self.change(x)
        return (change if self.shortcut is None else change + self.shortcut(x)).relu()


class ResNet1d:
    """The space of time-series ResNets, for 1D tasks.

    Widths 64, 128, 128; kernels 8, 5, 3 with "same" padding (the even kernel's odd zero at the end); length is kept,
    and the mean over time feeds a linear layer. A dense task gets the last layer at every position instead.

    The reference leaves out the shortcut of the third block, since it only adds one where the width changes; here
    every block has one, and `residual="reference"` gives the other. Layers start as torch starts them.

    Source: Wang, Yan and Oates 2017 (Time Series Classification from Scratch with Deep Neural Networks), section II.C.
    """

    id = "resnet1d"

    def default(self, spec: TaskSpec) -> ResNet1dArchitecture:
        """The published network."""
        return ResNet1dArchitecture()

    def build(self, architecture: ResNet1dArchitecture, spec: TaskSpec) -> nn.Module:
        """The network; see `Space.build`."""
        if reason := self.refusal(spec):
            raise RunError(f"the time-series ResNet {reason}")
        body = nn.Sequential()
        width = spec.input_shape[0]
        for wide in architecture.widths:
            body.append(Block(spec.spatial_dims, width, wide, identity=architecture.residual == "every_block"))
            width = wide
        return ends.assemble(body, width, spec)

    def refusal(self, spec: TaskSpec) -> str | None:
        """1D tasks only."""
        return None if spec.spatial_dims == 1 else "takes signals, and the task's inputs are images; use wrn"

    def narrower(self, architecture: ResNet1dArchitecture) -> tuple[ResNet1dArchitecture, ...]:
        """All widths divided by 2, 4 and 8."""
        first, second, third = architecture.widths
        return tuple(
            replace(architecture, widths=(first // by, second // by, third // by))
            for by in (2, 4, 8)
            if min(architecture.widths) >= 4 * by
        )

    def to_json(self, architecture: ResNet1dArchitecture) -> dict[str, Any]:
        """Plain JSON values."""
        return {"widths": list(architecture.widths), "residual": architecture.residual}

    def from_json(self, content: Mapping[str, Any]) -> ResNet1dArchitecture:
        """The architecture that `to_json` wrote; see `Space.from_json`."""
        fields = take_fields(content, "time-series ResNet", widths=list, residual=str)
        widths = fields["widths"]
        if len(widths) != 3 or not all(isinstance(width, int) and not isinstance(width, bool) for width in widths):
            raise RunError(f"not a time-series ResNet architecture: widths {widths!r} are not three whole numbers")
        return ResNet1dArchitecture(widths=(widths[0], widths[1], widths[2]), residual=fields["residual"])


RESNET1D = ResNet1d()
