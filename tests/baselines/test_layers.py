"""nd.py and ends.py: sizes, dimensions, units."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nas360.baselines import ends, nd
from nas360.loaders.base import OutputScale
from nas360.task import TaskSpec

ROOT = Path(__file__).resolve().parents[2]
SpecOf = Callable[[int, str], TaskSpec]


def test_no_other_file_names_a_layer_of_fixed_dimension() -> None:
    layer = re.compile(r"\b(Conv|BatchNorm|MaxPool|AvgPool|AdaptiveAvgPool|ConstantPad|ConvTranspose|Dropout)[123]d\b")
    files = sorted((ROOT / "baselines").rglob("*.py"))
    named = [str(path) for path in files if path.name != "nd.py" and layer.search(path.read_text(encoding="utf-8"))]
    assert len(files) > 10
    assert named == []


@settings(deadline=None)
@given(
    dims=st.sampled_from((1, 2)),
    size=st.integers(5, 17),
    kernel=st.integers(1, 8),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
)
def test_same_padding_gives_the_ceiling_of_size_over_stride(
    dims: int, size: int, kernel: int, stride: int, dilation: int
) -> None:
    layer = nd.conv(dims, 2, 3, kernel, stride=stride, dilation=dilation)
    out = layer(torch.zeros(1, 2, *[size + dim for dim in range(dims)]))
    assert tuple(out.shape) == (1, 3, *[-(-(size + dim) // stride) for dim in range(dims)])


def test_an_even_kernel_pads_one_more_at_the_end() -> None:
    layer = nd.conv(1, 1, 1, 4)
    with torch.no_grad():
        layer.get_parameter("1.weight").fill_(1.0)
        impulse = torch.zeros(1, 1, 9)
        impulse[0, 0, 4] = 1.0
        reached = layer(impulse)[0, 0].nonzero().flatten().tolist()
    # output o sees inputs o-1 … o+2
    assert reached == [2, 3, 4, 5]


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_signal_is_an_image_of_height_one(size: int, stride: int) -> None:
    line, image = nd.conv(1, 2, 3, 1, stride=stride), nd.conv(2, 2, 3, 1, stride=stride)
    with torch.no_grad():
        image.get_parameter("weight").copy_(line.get_parameter("weight").unsqueeze(2))
    x = torch.randn(2, 2, size)
    torch.testing.assert_close(line(x), image(x.unsqueeze(2)).squeeze(2))
    for pool in (nd.max_pool, nd.avg_pool):
        wide = torch.nn.functional.pad(x.unsqueeze(2), (0, 0, 0, 0))
        torch.testing.assert_close(pool(1, 3, stride=stride)(x), pool(2, 3, stride=stride)(wide).squeeze(2))
    torch.testing.assert_close(nd.global_pool()(x), x.mean(dim=2))
    torch.testing.assert_close(nd.global_pool("max")(x.unsqueeze(2)), x.amax(dim=2))


def test_kaiming_start() -> None:
    layer = nn.Sequential(nd.conv(2, 64, 128, 3, bias=True), nd.batch_norm(2, 128), nn.Linear(128, 10))
    nd.kaiming_fan_out(layer)
    weight = layer.get_parameter("0.weight").detach()
    # 73,728 draws: the standard deviation is known to about 0.3 %
    assert float(weight.std()) == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert not layer.get_parameter("0.bias").any()
    assert bool((layer.get_parameter("1.weight") == 1).all())
    assert not layer.get_parameter("2.bias").any()


class Shifts(nn.Module):
    """Returns its input, and notes the sizes it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: tuple[int, ...] = ()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = tuple(x.shape[2:])
        return x


@pytest.mark.parametrize("sizes", [(5,), (8,), (5, 7), (8, 4), (1, 1)])
@pytest.mark.parametrize("crop", [True, False])
def test_padding_to_a_multiple(sizes: tuple[int, ...], crop: bool) -> None:
    network = Shifts()
    x = torch.randn(2, 3, *sizes)
    y = ends.Padded(network, 4, crop=crop)(x)
    padded = tuple(-(-size // 4) * 4 for size in sizes)
    assert network.seen == padded
    assert tuple(y.shape[2:]) == (sizes if crop else padded)
    corner = y[tuple([slice(None), slice(None), *[slice(size) for size in sizes]])]
    torch.testing.assert_close(corner, x, rtol=0, atol=0)
    assert float(y.sum()) == pytest.approx(float(x.sum()), abs=1e-4)


@pytest.mark.parametrize("dims", [1, 2])
def test_output_is_in_the_unit_and_shape_of_the_task(dims: int, spec_of: SpecOf) -> None:
    spec = spec_of(dims, "real")
    space = spec.input_shape[1:]
    rng = np.random.default_rng(0)
    scale = OutputScale(rng.random((1, *space), dtype=np.float32), rng.random((1, *space), dtype=np.float32))
    network = nd.conv(dims, 2, 1, 1)
    model = ends.TaskModel(network, spec, scale)
    x = torch.randn(3, *spec.input_shape)
    out = model(x).detach().numpy()
    assert out.shape == (3, *space)
    assert out.dtype == np.float32
    expected = network(x).detach().numpy()[:, 0] * scale.scale[0] + scale.shift[0]
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
    # what is fitted to the data is not stored with the weights
    assert set(model.state_dict()) == {"network.weight"}


def test_a_dense_task_of_several_channels_keeps_them(spec_of: SpecOf) -> None:
    spec = spec_of(2, "real")
    wide = spec.model_copy(update={"output": spec.output.model_copy(update={"channels": 4})})
    model = ends.TaskModel(ends.head(wide, 2), wide)
    assert tuple(model(torch.zeros(3, *wide.input_shape)).shape) == (3, 4, *wide.input_shape[1:])


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize(("width", "bias"), [(4, False), (9, True)])
def test_a_strided_pointwise_convolution_is_torchs(dims: int, width: int, bias: bool) -> None:
    torch.manual_seed(0)
    layer = nd.conv(dims, 4, width, 1, stride=2, bias=bias)
    second = (nn.Conv1d if dims == 1 else nn.Conv2d)(4, width, 1, stride=2, bias=bias)
    second.load_state_dict(layer.state_dict())
    x = torch.randn(2, 4, *(9, 6)[:dims])
    torch.testing.assert_close(layer(x), second(x))


def test_narrow_strided_pointwise_convolutions_do_not_crash() -> None:
    # in a process of its own: with the stride in the convolution, torch 2.15 ends with a segmentation fault here
    program = """
import torch
from nas360.baselines import nd
for narrow, wide in ((4, 8), (8, 9), (8, 16)):
    layer = nd.conv(2, narrow, wide, 1, stride=2).to(memory_format=torch.channels_last)
    for _ in range(20):
        x = torch.randn(32, narrow, 60, 60).to(memory_format=torch.channels_last).requires_grad_()
        layer(x).square().mean().backward()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
