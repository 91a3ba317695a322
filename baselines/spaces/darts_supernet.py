"""The DARTS supernet: all candidates on all edges at once, as few and as large steps as can be.

It computes what one module per candidate and edge computes (`tests/benchmarks/plain_supernet.py`, the yardstick of
`bench_supernet.py`). Where the time of that one goes, one core of a Xeon of 2023, ninapro's shape, batch 32: PROFILE

What is done here instead:

- The edges that leave a cell's inputs are computed together, then those that leave node 0, and so on: four rounds of
  8, 3, 2, 1 edges. ReLU, max pool and average pool of a source are the same for all its edges, and computed once.
- Everything lies channels-last, which the CPU's convolutions and pools want. Depthwise convolutions have backward
  passes of their own (`darts_kernels`).
- All that is linear up to a node's sum (1×1 convolution, batch norm, mixture, edge weight, sum, bypass, skip, channel
  shuffle) is one product for each candidate, with means and variances from the covariance of its input.

Edges are kept in the order of the rounds, `ROUNDS`; architecture parameters are in the order of `EDGES`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas360.baselines import ends, nd
from nas360.baselines.spaces.base import Relaxation
from nas360.baselines.spaces.darts_genotypes import EDGES, NODES, OPERATIONS
from nas360.baselines.spaces.darts_kernels import depthwise, image, matrix, moments, replicate, shuffled
from nas360.baselines.spaces.darts_network import STEM, reductions
from nas360.task import TaskSpec

ROUNDS = ((0, 1), (2,), (3,), (4,))
"""Sources whose edges are computed together; each goes to every node that comes after it."""

ROWS = tuple(
    EDGES.index((source, node)) for sources in ROUNDS for source in sources for node in range(max(0, source - 1), NODES)
)
"""The rows of `EDGES` in the order of the rounds."""

CONVOLUTIONS = {
    "sep_conv_3x3": (3, 1, 2),
    "sep_conv_5x5": (5, 1, 2),
    "dil_conv_3x3": (3, 2, 1),
    "dil_conv_5x5": (5, 2, 1),
}
"""Kernel, dilation, and number of (ReLU, depthwise, 1×1, batch norm) in turn."""

CHUNK = 64
"""Channels that are computed together: 1×1 convolutions of several edges are one product of a matrix of blocks, whose
zeros cost more than they save when it is larger."""

EPS, MOMENTUM = 1e-5, 0.1


class Norms(nn.Module):
    """Running means and variances of batch norms without scale and shift, and their use on linear images.

    Args:
        channels: number of all of them.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def scale_shift(
        self, rows: int, stats: tuple[Tensor, Tensor] | None, weight: Tensor, start: int
    ) -> tuple[Tensor, Tensor]:
        """Scale and shift that normalise x @ weight.

        Args:
            rows: of x.
            stats: mean and covariance of x; None takes the running ones (evaluation).
            weight: (in, out).
            start: which of the channels these are.

        Returns:
            two of (out,).
        """
        part = slice(start, start + weight.shape[1])
        if stats is None:
            mean, variance = self.mean[part], self.variance[part]
        else:
            mean = stats[0] @ weight
            # rounding can leave a little less than nothing
            variance = ((stats[1] @ weight) * weight).sum(dim=0).clamp_min(0)
            with torch.no_grad():
                self.mean[part].lerp_(mean.detach(), MOMENTUM)
                self.variance[part].lerp_(variance.detach() * (rows / max(rows - 1, 1)), MOMENTUM)
        scale = (variance + EPS).rsqrt()
        return scale, -mean * scale


class Preparation(nn.Module):
    """What a cell does to an input after its ReLU: 1×1 convolution, batch norm; as a factorised reduction, at half size.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        dims: 1 or 2, of the task.
        halve: whether to halve the size.
    """

    def __init__(self, in_channels: int, out_channels: int, dims: int, *, halve: bool) -> None:
        super().__init__()
        self.weight = _uniform(in_channels, in_channels, out_channels)
        self.dims, self.halve = dims, halve
        self.norm = nd.batch_norm(2, out_channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in, height, width) → (n, out, height', width'), both channels-last."""
        if self.halve:
            x, odd = even_odd(x, self.dims)
            half = self.weight.shape[1] // 2
            rows = torch.cat([matrix(x) @ self.weight[:, :half], matrix(odd) @ self.weight[:, half:]], dim=1)
        else:
            rows = matrix(x) @ self.weight
        out: Tensor = self.norm(image(rows, sizes(x)))
        return out


def _uniform(fan_in: int, *shape: int) -> nn.Parameter:
    """As torch starts a convolution's weight."""
    bound = 1 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


class SupernetCell(nn.Module):
    """One cell with all its candidates.

    Args:
        dims: 1 or 2, of the task; the features are images in any case (a signal has width 1).
        before_last: channels of the cell before the last.
        last: channels of the last cell.
        width: channels of a node.
        parts: K of the partial channels.
        halve: whether the older input is twice as large as the newer.
        reduce: whether this is a reduction cell.
    """

    def __init__(
        self, dims: int, before_last: int, last: int, width: int, parts: int, *, halve: bool, reduce: bool
    ) -> None:
        super().__init__()
        self.dims, self.width, self.through, self.reduce = dims, width, width // parts, reduce
        self.pre_0 = Preparation(before_last, width, dims, halve=halve)
        self.pre_1 = Preparation(last, width, dims, halve=False)
        c = self.through
        self.depthwise, self.pointwise, self.norms = nn.ParameterDict(), nn.ParameterDict(), nn.ModuleDict()
        for name, (kernel, _, stages) in CONVOLUTIONS.items():
            for stage in range(stages):
                taps = (kernel, kernel if dims == 2 else 1)
                self.depthwise[f"{name}_{stage}"] = _uniform(math.prod(taps), len(EDGES), c, *taps)
                self.pointwise[f"{name}_{stage}"] = _uniform(c, len(EDGES), c, c)
                self.norms[f"{name}_{stage}"] = Norms(len(EDGES) * c)
        for name in ("max_pool_3x3", "avg_pool_3x3"):
            self.norms[name] = Norms(len(EDGES) * c)
        if reduce:
            self.pointwise["skip_connect"] = _uniform(c, 2 * NODES, c, c)
            self.norms["skip_connect"] = Norms(2 * NODES * c)
        place = functional.one_hot(shuffled(width, parts), width).float()
        # rows of the mixed channels and of those that pass by, and where the shuffle puts them
        self.register_buffer("place_mixed", place[:c], persistent=False)
        self.register_buffer("place_past", place[c:], persistent=False)

    place_mixed: Tensor
    place_past: Tensor

    def forward(self, before_last: Tensor, last: Tensor, mixture: Tensor, edges: Tensor) -> Tensor:
        """The cell's output.

        Args:
            before_last: (n, before_last, *space'), after ReLU, channels-last.
            last: (n, last, *space), the same.
            mixture: (14, 8), the weight of every candidate in its node's sum, rows as `ROWS`.
            edges: (14,), the weight of every edge.

        Returns:
            (n, 4 · width, *ceil(space / stride)), channels-last.
        """
        source = torch.cat([self.pre_0(before_last), self.pre_1(last)], dim=1)
        start, done = 0, []
        waiting: Tensor | None = None
        for sources in ROUNDS:
            nodes = NODES - max(0, sources[0] - 1)
            count = len(sources) * nodes
            weights = mixture[start : start + count], edges[start : start + count]
            # a reduction cell's inputs are twice as large as its nodes
            out, shape = self._round(source, start, nodes, *weights, stride=2 if self.reduce and start == 0 else 1)
            out = out if waiting is None else waiting + out
            node, waiting = out.split([self.width, out.shape[1] - self.width], dim=1)
            done.append(node)
            source = image(node, shape)
            start += count
        return image(torch.cat(done, dim=1), shape)

    def _round(
        self, source: Tensor, start: int, nodes: int, mixture: Tensor, edges: Tensor, *, stride: int
    ) -> tuple[Tensor, tuple[int, int, int]]:
        """What one round's sources add to the nodes after them.

        Args:
            source: (n, sources · width, height, width), channels-last.
            start: the round's first edge.
            nodes: how many nodes it adds to.
            mixture: (sources · nodes, 8) weights of candidates.
            edges: (sources · nodes,) weights of edges.
            stride: 1 or 2.

        Returns:
            (positions, nodes · width), and the sizes (n, height', width') of these positions.
        """
        c, width, sources = self.through, self.width, source.shape[1] // self.width
        columns = matrix(source).unflatten(1, (sources, width))
        through = columns[:, :, :c].flatten(1)
        active = image(through.relu(), sizes(source))
        # max pool, average pool and the candidates with weights: all into the mixed channels
        total = self._convolutions(active, start, nodes, mixture, stride)
        total = self._pools(image(through, sizes(source)), total, start, nodes, mixture, stride)
        skips = mixture[:, OPERATIONS.index("skip_connect")].view(sources, nodes)
        betas = edges.view(sources, nodes)
        if stride == 2:
            even, odd = even_odd(active, self.dims)
            shape = sizes(even)
            total = self._reduced_skip(torch.cat([matrix(even), matrix(odd)], dim=1), total, start, nodes, mixture)
            out = total if c == width else total @ _blocks(self.place_mixed, nodes)
            if c < width:
                past = image(columns[:, :, c:].flatten(1), sizes(source))
                past = functional.max_pool2d(past, _window(2, self.dims), 2, ceil_mode=True)
                out = torch.addmm(out, matrix(past), _spread(betas, self.place_past))
            return out, shape
        skipped = _spread(skips, self.place_mixed)
        passed = skipped if c == width else torch.cat(
            [skipped.unflatten(0, (sources, c)), _spread(betas, self.place_past).unflatten(0, (sources, width - c))],
            dim=1,
        ).flatten(0, 1)  # fmt: skip
        if c < width:
            total = total @ _blocks(self.place_mixed, nodes)
        return torch.addmm(total, matrix(source), passed), sizes(source)

    def _convolutions(self, active: Tensor, start: int, nodes: int, mixture: Tensor, stride: int) -> Tensor:
        """(n, sources · c, height, width) after ReLU → (positions', nodes · c), the candidates with kernels."""
        c, sources = self.through, active.shape[1] // self.through
        count = sources * nodes
        copies = torch.kron(torch.eye(sources, device=active.device), replicate(c, nodes, active.device))
        to_node = replicate(nodes * c, sources, active.device).T
        copies, to_node = copies.to(active.dtype), to_node.to(active.dtype)
        size = max(1, CHUNK // c)
        total: Tensor | None = None
        for first in range(0, count, size):
            chunk = slice(first, min(first + size, count))
            part = slice(chunk.start * c, chunk.stop * c)
            rows = slice(start + chunk.start, start + chunk.stop)
            wide = image(matrix(active) @ copies[:, part], sizes(active))
            # a dilated kernel of stride 2 meets every other position only
            coarse = wide if stride == 1 else wide[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)
            for name, (_, dilation, stages) in CONVOLUTIONS.items():
                x = depthwise(wide, self._taps(f"{name}_0", rows), stride=stride) if dilation == 1 else depthwise(
                    coarse, self._taps(f"{name}_0", rows), dilation=2 if stride == 1 else 1
                )  # fmt: skip
                if stages == 2:
                    weight, shift = self._normalised(f"{name}_0", matrix(x), rows)
                    x = image(torch.addmm(shift, matrix(x), weight).relu_(), sizes(x))
                    x = depthwise(x, self._taps(f"{name}_1", rows))
                weight, shift = self._normalised(f"{name}_{stages - 1}", matrix(x), rows)
                total = _mix(total, matrix(x), weight, shift, mixture[chunk, OPERATIONS.index(name)], to_node[part])
        assert total is not None  # there is at least one chunk
        return total

    def _taps(self, name: str, rows: slice) -> Tensor:
        return self.depthwise[name][rows].flatten(0, 1).unsqueeze(1)

    def _normalised(self, name: str, x: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """Weight (edges · c, edges · c) and shift of 1×1 convolution and batch norm of x (positions, edges · c)."""
        return self._norm(name, x, _blocks_of(self.pointwise[name][rows]), rows.start)

    def _norm(
        self, name: str, x: Tensor, weight: Tensor, start: int, stats: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        norms = self.norms[name]
        assert isinstance(norms, Norms)  # all of them are
        if self.training and stats is None:
            stats = moments(x)
        scale, shift = norms.scale_shift(x.shape[0], stats if self.training else None, weight, start * self.through)
        return weight * scale, shift

    def _pools(self, x: Tensor, total: Tensor, start: int, nodes: int, mixture: Tensor, stride: int) -> Tensor:
        """Both pools of (n, sources · c, height, width), added to `total`."""
        window, pad = _window(3, self.dims), _window(3, self.dims, 1, 0)
        pools = (
            functional.max_pool2d(x, window, stride, pad),
            functional.avg_pool2d(x, window, stride, pad, count_include_pad=False),
        )
        c, sources = self.through, x.shape[1] // self.through
        copies = torch.kron(torch.eye(sources, device=x.device), replicate(c, nodes, x.device)).to(x.dtype)
        to_node = replicate(nodes * c, sources, x.device).T.to(x.dtype)
        for name, pool in zip(("max_pool_3x3", "avg_pool_3x3"), pools, strict=True):
            weight, shift = self._norm(name, matrix(pool), copies, start)
            total = _mix(total, matrix(pool), weight, shift, mixture[:, OPERATIONS.index(name)], to_node)
        return total

    def _reduced_skip(self, x: Tensor, total: Tensor, start: int, nodes: int, mixture: Tensor) -> Tensor:
        """The factorised reductions of (positions', even and odd · sources · c), added to `total`."""
        c = self.through
        sources = x.shape[1] // (2 * c)
        weight = self.pointwise["skip_connect"].view(sources, nodes, c, c).permute(0, 2, 1, 3)
        even, odd = weight.clone(), weight.clone()
        even[..., c // 2 :] = 0
        odd[..., : c // 2] = 0
        eye = torch.eye(sources, device=x.device, dtype=x.dtype)[:, None, :, None]
        blocks = [(half.reshape(sources, c, 1, nodes * c) * eye).reshape(sources * c, -1) for half in (even, odd)]
        name = "skip_connect"
        scaled, shift = self._norm(name, x, torch.cat(blocks), start)
        to_node = replicate(nodes * c, sources, x.device).T.to(x.dtype)
        return _mix(total, x, scaled, shift, mixture[:, OPERATIONS.index(name)], to_node)


def _mix(total: Tensor | None, x: Tensor, weight: Tensor, shift: Tensor, mixture: Tensor, to_node: Tensor) -> Tensor:
    """total + ((x @ weight + shift) · the edges' mixture weights) @ to_node, as one product over the positions.

    Args:
        total: (positions, out) or None.
        x: (positions, in).
        weight: (in, edges · c).
        shift: (edges · c,).
        mixture: (edges,).
        to_node: (edges · c, out), which node each edge goes to.
    """
    wide = mixture.repeat_interleave(shift.shape[0] // mixture.shape[0])
    both = (torch.cat([weight, shift.unsqueeze(0)]) * wide) @ to_node
    out = torch.addmm(both[-1], x, both[:-1])
    return out if total is None else total + out


def _blocks_of(parts: Tensor) -> Tensor:
    """(count, in, out) → (count · in, count · out), with the parts along the diagonal."""
    count = parts.shape[0]
    eye = torch.eye(count, device=parts.device, dtype=parts.dtype)
    return (parts.unsqueeze(2) * eye[:, None, :, None]).flatten(2).flatten(0, 1)


def _blocks(part: Tensor, count: int) -> Tensor:
    """The same part `count` times along the diagonal."""
    return torch.kron(torch.eye(count, device=part.device, dtype=part.dtype), part)


def _spread(weights: Tensor, place: Tensor) -> Tensor:
    """(sources, nodes), (channels, width) → (sources · channels, nodes · width): place, times the pair's weight."""
    return torch.kron(weights, place)


def sizes(x: Tensor) -> tuple[int, int, int]:
    """(n, height, width) of (n, channels, height, width)."""
    return x.shape[0], x.shape[2], x.shape[3]


def _window(size: int, dims: int, *otherwise: int) -> tuple[int, int]:
    """A pool's window, or with (a, b) its padding: (size, size), in 1D (size, 1)."""
    along, across = otherwise or (size, 1)
    return (along, along) if dims == 2 else (along, across)


def even_odd(x: Tensor, dims: int) -> tuple[Tensor, Tensor]:
    """Every other position, and those one further along every dimension of the task; zeros beyond the end.

    Returns:
        two of (n, channels, ceil(height / 2), ceil(width / 2)), channels-last.
    """
    across = dims - 1
    even = x[:, :, ::2, ::2]
    odd = functional.pad(x, (0, across, 0, 1))[:, :, 1::2, across::2]
    return tuple(half.contiguous(memory_format=torch.channels_last) for half in (even, odd))  # type: ignore[return-value]  # two


class DartsSupernet(nn.Module):
    """A `Supernet` of the DARTS cell space.

    Architecture parameters, with rows as `EDGES` and columns as `OPERATIONS`: `normal.alpha` (14, 8) and, with edge
    normalisation, `normal.beta` (14,); the same for `reduce`, but in dense tasks, which have no reduction cells.

    Weights start as torch starts convolutions. Everything is computed in the parameters' precision, also under
    autocast: variances from covariances need it.

    Args:
        spec: the task.
        relaxation: how the choices are mixed.
    """

    def __init__(self, spec: TaskSpec, relaxation: Relaxation) -> None:
        super().__init__()
        self.relaxation, self.dims = relaxation, spec.spatial_dims
        width, parts = relaxation.width, relaxation.partial_channels
        self.stem = nn.Sequential(ends.stem(spec, STEM * width), nd.batch_norm(self.dims, STEM * width))
        self.reducing = reductions(relaxation.cells, dense=ends.is_dense(spec))
        before_last, last, halve = STEM * width, STEM * width, False
        self.cells = nn.ModuleList()
        for index in range(relaxation.cells):
            reduce = index in self.reducing
            width *= 2 if reduce else 1
            self.cells.append(SupernetCell(self.dims, before_last, last, width, parts, halve=halve, reduce=reduce))
            before_last, last, halve = last, NODES * width, reduce
        self.head = ends.head(spec, last)
        self.kinds = ("normal", "reduce") if self.reducing else ("normal",)
        self.architecture = nn.ParameterDict()
        for kind in self.kinds:
            self.architecture[f"{kind}_alpha"] = nn.Parameter(self._start(torch.full((len(EDGES), 8), 1 / 8)))
            if relaxation.edge_normalisation:
                inputs = torch.tensor([node + 2.0 for _, node in EDGES])
                self.architecture[f"{kind}_beta"] = nn.Parameter(self._start(1 / inputs))
        self.register_buffer("rows", torch.tensor(ROWS), persistent=False)

    rows: Tensor

    def _start(self, uniform: Tensor) -> Tensor:
        if self.relaxation.mixing == "simplex":
            return uniform
        if self.relaxation.mixing == "double_softmax":
            return torch.ones_like(uniform)
        return 1e-3 * torch.randn_like(uniform)

    def weight_parameters(self) -> list[nn.Parameter]:
        """All parameters but those of the architecture."""
        apart = {id(parameter) for parameter in self.architecture.values()}
        return [parameter for parameter in self.parameters() if id(parameter) not in apart]

    def architecture_parameters(self) -> dict[str, nn.Parameter]:
        """`normal.alpha`, `normal.beta`, `reduce.alpha`, `reduce.beta`, as far as they exist."""
        return {name.replace("_", "."): parameter for name, parameter in self.architecture.items()}

    def simplices(self) -> dict[str, Tensor]:
        """Alphas: one simplex an edge. Betas: one a node; with `double_softmax` one in all, as in the reference."""
        device = self.rows.device
        edge = torch.arange(len(EDGES), device=device)
        node = torch.tensor([node for _, node in EDGES], device=device)
        if self.relaxation.mixing == "double_softmax":
            node = torch.zeros_like(node)
        return {
            name: edge.unsqueeze(1).repeat(1, len(OPERATIONS)) if name.endswith("alpha") else node
            for name in self.architecture_parameters()
        }

    def _weights(self, kind: str) -> tuple[Tensor, Tensor]:
        """(14, 8) weights of the candidates on their edge and (14,) of the edges at their node, as `EDGES`."""
        alpha = self.architecture[f"{kind}_alpha"]
        if not self.relaxation.edge_normalisation:
            beta = alpha.new_ones(len(EDGES))
        else:
            beta = self.architecture[f"{kind}_beta"]
        if self.relaxation.mixing == "simplex":
            return alpha, beta
        if self.relaxation.edge_normalisation:
            beta = torch.cat([part.softmax(dim=0) for part in beta.split([node + 2 for node in range(NODES)])])
        return alpha.softmax(dim=1), beta

    def mixture(self) -> dict[str, Tensor]:
        """The weights that the forward pass mixes with; see `Supernet.mixture`."""
        names = self.architecture_parameters()
        return {
            f"{kind}.{letter}": weight.detach().clone()
            for kind in self.kinds
            for letter, weight in zip(("alpha", "beta"), self._weights(kind), strict=True)
            if f"{kind}.{letter}" in names
        }

    def edge_mixture(self) -> dict[str, Tensor]:
        """Kind of cell → (14, 8) weights of candidates in their node's sum, detached; what `decode_cell` reads."""
        out = {}
        for kind in self.kinds:
            alpha, beta = self._weights(kind)
            out[kind] = (alpha * beta.unsqueeze(1)).detach()
        return out

    def forward(self, x: Tensor) -> Tensor:
        """(n, *spec.input_shape) → (n, outputs), or (n, outputs, *space) for a dense task."""
        with torch.autocast(x.device.type, enabled=False):
            features = self.stem(x.to(self.rows.device, self.architecture["normal_alpha"].dtype))
            if self.dims == 1:
                features = features.unsqueeze(3)
            last = features.contiguous(memory_format=torch.channels_last)
            weights = {}
            for kind in self.kinds:
                alpha, beta = self._weights(kind)
                weights[kind] = (alpha * beta.unsqueeze(1))[self.rows], beta[self.rows]
            active = before = last.relu()
            for index, cell in enumerate(self.cells):
                last = cell(before, active, *weights["reduce" if index in self.reducing else "normal"])
                if index + 1 < len(self.cells):
                    before, active = active, last.relu()
            out: Tensor = self.head(last.squeeze(3) if self.dims == 1 else last)
            return out
