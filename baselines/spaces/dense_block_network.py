"""Networks of the DenseNAS space: ResNet basic blocks in a chain."""

from __future__ import annotations

from torch import Tensor, nn

from nas360.baselines import ends, nd
from nas360.baselines.spaces.dense_block_architecture import DenseBlockArchitecture
from nas360.task import TaskSpec

EPS = 1e-3
"""Of every batch norm of the space, as the reference's."""


class BasicBlock(nn.Module):
    """3-convolution, batch norm, ReLU, 3-convolution, batch norm; plus the input; ReLU.

    Where width or size change, the input goes through a 1×1 convolution with batch norm.

    Source: He et al. 2016 (Deep Residual Learning), section 4.2, with the projections of option B.

    Args:
        spatial_dims: 1 or 2.
        in_width: channels of the input.
        width: channels of the output.
        stride: of the first convolution and the projection, 1 or 2.
        affine: whether batch norms learn a scale and a shift.
    """

    def __init__(self, spatial_dims: int, in_width: int, width: int, stride: int = 1, *, affine: bool = True) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nd.conv(spatial_dims, in_width, width, 3, stride=stride),
            nd.batch_norm(spatial_dims, width, affine=affine, eps=EPS),
            nn.ReLU(inplace=True),
            nd.conv(spatial_dims, width, width, 3),
            nd.batch_norm(spatial_dims, width, affine=affine, eps=EPS),
        )
        self.shortcut: nn.Module = nn.Identity()
        if in_width != width or stride != 1:
            self.shortcut = nn.Sequential(
                nd.conv(spatial_dims, in_width, width, 1, stride=stride),
                nd.batch_norm(spatial_dims, width, affine=affine, eps=EPS),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_width, *space) → (n, width, *ceil(space / stride))."""
        total: Tensor = self.change(x) + self.shortcut(x)
        return total.relu_()


def stem(spec: TaskSpec, width: int, *, affine: bool = True) -> nn.Sequential:
    """3-convolution, batch norm, ReLU: (n, *spec.input_shape) → (n, width, *space)."""
    return nn.Sequential(
        ends.stem(spec, width), nd.batch_norm(spec.spatial_dims, width, affine=affine, eps=EPS), nn.ReLU(inplace=True)
    )


class DenseBlockBody(nn.Sequential):
    """Stem and blocks: (n, *spec.input_shape) → (n, out_channels, *space')."""

    def __init__(self, architecture: DenseBlockArchitecture, spec: TaskSpec) -> None:
        super().__init__(stem(spec, architecture.stem))
        width = architecture.stem
        for block in architecture.blocks:
            layers = nn.Sequential(BasicBlock(spec.spatial_dims, width, block.width, block.stride))
            for _ in range(block.layers - 1):
                layers.append(BasicBlock(spec.spatial_dims, block.width, block.width))
            self.append(layers)
            width = block.width
        self.out_channels = width
        nd.kaiming_fan_out(self)
