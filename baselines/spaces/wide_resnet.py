"""Wide ResNets, for signals and images, for one answer a sample and for one a position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor, nn

from nas360.baselines import ends, nd
from nas360.baselines.spaces.base import take_fields
from nas360.errors import RunError
from nas360.task import TaskSpec


@dataclass(frozen=True)
class WideResNetArchitecture:
    """WRN-depth-width.

    Attributes:
        depth: layers with weights along the longest path, 6 n + 4 for n blocks a group; 16 has two.
        width: factor on the three groups' widths 16, 32, 64.
        dropout: probability, between the two convolutions of a block.
    """

    depth: int = 16
    width: int = 4
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.depth < 10 or (self.depth - 4) % 6:
            raise RunError(f"depth {self.depth} of a Wide ResNet is not 6 n + 4 with n ≥ 1; take 10, 16, 22, 28, …")
        if self.width < 1:
            raise RunError(f"width {self.width} of a Wide ResNet is below 1")
        if not 0 <= self.dropout < 1:
            raise RunError(f"dropout {self.dropout} is not a probability in [0, 1)")

    def __str__(self) -> str:
        dropout = f" with dropout {self.dropout:g}" if self.dropout else ""
        return f"WRN-{self.depth}-{self.width}{dropout}"


class Block(nn.Module):
    """Pre-activation residual block: BN-ReLU-3-BN-ReLU-(dropout)-3, and a shortcut.

    Where the widths differ, the shortcut is a 1×1 convolution of the *pre-activated* input (and carries the stride).
    """

    def __init__(self, spatial_dims: int, in_width: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm_1 = nd.batch_norm(spatial_dims, in_width)
        self.conv_1 = nd.conv(spatial_dims, in_width, width, 3, stride=stride)
        self.norm_2 = nd.batch_norm(spatial_dims, width)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv_2 = nd.conv(spatial_dims, width, width, 3)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nd.conv(spatial_dims, in_width, width, 1, stride=stride) if in_width != width else None

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_width, *space) → (n, width, *ceil(space / stride))."""
        active: Tensor = self.relu(self.norm_1(x))
        change: Tensor = self.conv_2(self.dropout(self.relu(self.norm_2(self.conv_1(active)))))
        return change + (x if self.shortcut is None else self.shortcut(active))


class WideResNet:
    """The space of Wide ResNets.

    One definition for 1D and 2D. Strides of the three groups are 1, 2, 2 with global average pooling for one answer a
    sample; all strides are 1 and the last layer is applied at every position for a dense task. Convolutions start
    Kaiming-normal (fan-out), batch norms at 1 and 0, biases at 0.

    Differences from the NAS-Bench-360 reference: pooling is global everywhere (the reference pools only the upper
    left 8×8 of Spherical's 15×15 map); no unused layers; for 1D tasks the reference takes another network, see
    `resnet1d`.

    Source: Zagoruyko and Komodakis 2016 (Wide Residual Networks), table 1 and figure 1; pre-activation after He et
        al. 2016.
    """

    id = "wide_resnet"

    def default(self, spec: TaskSpec) -> WideResNetArchitecture:
        """WRN-16-4 without dropout, whatever the task."""
        return WideResNetArchitecture()

    def build(self, architecture: WideResNetArchitecture, spec: TaskSpec) -> nn.Module:
        """The network; see `Space.build`."""
        dims = spec.spatial_dims
        body = nn.Sequential(ends.stem(spec, 16))
        width = 16
        for base, stride in zip((16, 32, 64), (1, 1, 1) if ends.is_dense(spec) else (1, 2, 2), strict=True):
            for position in range((architecture.depth - 4) // 6):
                wide = base * architecture.width
                body.append(Block(dims, width, wide, stride if position == 0 else 1, architecture.dropout))
                width = wide
        body.extend([nd.batch_norm(dims, width), nn.ReLU(inplace=True)])
        network = ends.assemble(body, width, spec)
        nd.kaiming_fan_out(body)
        return network

    def refusal(self, spec: TaskSpec) -> str | None:
        """Nothing is refused."""
        return None

    def narrower(self, architecture: WideResNetArchitecture) -> tuple[WideResNetArchitecture, ...]:
        """Halved widths, down to 1."""
        widths = [width for width in (16, 8, 4, 2, 1) if width < architecture.width]
        return tuple(replace(architecture, width=width) for width in widths)

    def to_json(self, architecture: WideResNetArchitecture) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(architecture)

    def from_json(self, content: Mapping[str, Any]) -> WideResNetArchitecture:
        """The architecture that `to_json` wrote; see `Space.from_json`."""
        return WideResNetArchitecture(**take_fields(content, "Wide ResNet", depth=int, width=int, dropout=(float, int)))


WIDE_RESNET = WideResNet()
