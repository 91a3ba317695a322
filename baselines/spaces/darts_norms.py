"""Batch norms behind 1×1 convolutions as changes of the convolutions' weights, with backward passes written out.

The mean and the covariance of a matrix's rows give mean and variance of every linear image of them, so that nothing
but the matrix itself has to be read. On small images most of a supernet's time would go into starting the many small
steps that this takes; matrices whose norms are due at the same moment share them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

EPS, MOMENTUM = 1e-5, 0.1
"""Of batch norms, as torch's own."""


class Norms(nn.Module):
    """Running means and variances of batch norms without scale and shift.

    Args:
        shape: (channels,), or (candidates, channels) for several candidates whose channels follow each other.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))

    def part(self, start: int, stop: int) -> Running:
        """Those of some of the channels, as views."""
        return Running(self.mean[..., start:stop], self.variance[..., start:stop], self.training)


@dataclass
class Running:
    """Running statistics of some channels.

    Attributes:
        mean: (channels,) or (candidates, channels) or `by_source`, changed in training.
        variance: the same.
        training: whether to normalise by the batch, and to learn from it.
    """

    mean: Tensor
    variance: Tensor
    training: bool

    def operations(self, start: int, count: int) -> Running:
        """Those of some of the candidates."""
        return Running(self.mean[start : start + count], self.variance[start : start + count], self.training)

    def by_source(self, sources: int) -> Running:
        """(candidates, edges · channels) as (sources, candidates, edges of each source · channels), views."""
        if sources == 1:
            return self
        mean, variance = (each.view(each.shape[0], sources, -1).transpose(0, 1) for each in (self.mean, self.variance))
        return Running(mean, variance, self.training)

    def learn(self, mean: Tensor, variance: Tensor, rows: int) -> None:
        """Move towards the statistics of a batch.

        Args:
            mean: as many numbers as in `mean`.
            variance: the same, of the batch as it is.
            rows: of the batch.
        """
        self.mean.lerp_(mean.view(self.mean.shape), MOMENTUM)
        self.variance.lerp_((variance * (rows / max(rows - 1, 1))).view(self.variance.shape), MOMENTUM)


BLOCK = 32
"""Columns of one product: blocks of several edges are multiplied as one dense matrix with zeros, as long as that costs
no more than the memory it reads."""


def pack(weight: Tensor, matrices: int = 1) -> Tensor:
    """(count, in, out) → (groups, several · in, several · out), parts along diagonals; (in, out) → (1, in, out).

    Args:
        weight: of convolutions.
        matrices: how many matrices they are for, equally many for each in turn; no group is of two of them.
    """
    if weight.ndim == 2:
        return weight.unsqueeze(0)
    count, inputs, outputs = weight.shape
    each = count // matrices
    several = max(part for part in range(1, each + 1) if each % part == 0 and (part == 1 or part * outputs <= BLOCK))
    if several == 1:
        return weight
    groups = count // several
    out = weight.new_zeros(groups, several, inputs, several, outputs)
    out.diagonal(dim1=1, dim2=3).copy_(weight.view(groups, several, inputs, outputs).permute(0, 2, 3, 1))
    return out.view(groups, several * inputs, several * outputs)


def unpack(gradient: Tensor, shape: torch.Size) -> Tensor:
    """The parts of a gradient of `pack`."""
    if gradient.shape == shape:
        return gradient
    if len(shape) == 2:
        return gradient[0]
    count, inputs, outputs = shape
    groups = gradient.shape[0]
    grid = gradient.view(groups, count // groups, inputs, count // groups, outputs)
    return grid.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2).reshape(shape)


CACHED = 512 * 1024
"""Numbers of a matrix that are worked on at a time, where several steps follow each other: 1 MiB in single precision,
which a core's own cache holds, so that only the first step waits for memory."""


def blocks(x: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Rows of matrices with equally many of them, in parts of equal size but the last."""
    rows = x.shape[0]
    size = max(1, torch.get_num_threads() * CACHED // x.shape[1]) if x.device.type == "cpu" else rows
    if size >= rows:
        yield (x, *others)
        return
    for start in range(0, rows, size):
        yield tuple(whole[start : start + size] for whole in (x, *others))


def grouped(x: Tensor, groups: int) -> Tensor:
    """(rows, groups · k) → (groups, rows, k), a view."""
    return x.unsqueeze(0) if groups == 1 else x.view(x.shape[0], groups, -1).transpose(0, 1)


def add_product(out: Tensor, x: Tensor, weight: Tensor, *, first: bool = False) -> None:
    """Add x @ weight to `out`, or put it there if it is the first; weight is (groups, in, out), parts of a diagonal."""
    if weight.shape[0] == 1:
        out.addmm_(x, weight[0], beta=0 if first else 1)
    else:
        grouped(out, weight.shape[0]).baddbmm_(grouped(x, weight.shape[0]), weight, beta=0 if first else 1)


class Normal:
    """Weight and shift of batch norms behind products, and the way back.

    Args:
        xs: matrices of equal shape, (rows, in).
        weight: (in, out) for one matrix; or (count, in / count · matrices, …), blocks along a diagonal, equally many
            for each matrix in turn.
        running: of the out channels.

    Attributes:
        weight: (groups, in, out), packed; equally many groups for each matrix.
        scaled: (groups, in, out), with the norm's scale.
        shift: (groups, out).
    """

    def __init__(self, xs: Sequence[Tensor], weight: Tensor, running: Running) -> None:
        self.shape, self.matrices = weight.shape, len(xs)
        self.weight = pack(weight, len(xs))
        groups, _, outputs = self.weight.shape
        self.rows, self.training = xs[0].shape[0], running.training
        if running.training:
            self.mean, covariance = self._moments(xs)
            covariance.baddbmm_(self.mean.transpose(1, 2), self.mean, alpha=-1)
            self.image = torch.bmm(covariance, self.weight)
            # rounding can leave a little less than nothing
            variance = (self.image * self.weight).sum(dim=1).clamp_min_(0)
            self.centre = torch.bmm(self.mean, self.weight)[:, 0]
            running.learn(self.centre, variance, self.rows)
        else:
            self.centre = running.mean.reshape(groups, outputs).clone()
            variance = running.variance.reshape(groups, outputs)
        self.scale = (variance + EPS).rsqrt_()
        self.scaled = self.weight * self.scale.unsqueeze(1)
        self.shift = (self.centre * self.scale).neg_()

    def _moments(self, xs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """(groups, 1, in) means, and (groups, in, in) mean products."""
        groups, inputs, _ = self.weight.shape
        each = groups // len(xs)
        totals, products = xs[0].new_zeros(len(xs), 1, xs[0].shape[1]), xs[0].new_zeros(groups, inputs, inputs)
        for place, x in enumerate(xs):
            total, product = totals[place], products[place * each : (place + 1) * each]
            for (part,) in blocks(x):
                total.addmm_(part.new_ones(1, part.shape[0]), part, alpha=1 / self.rows)
                parts = grouped(part, each)
                product.baddbmm_(parts.transpose(1, 2), parts, alpha=1 / self.rows)
        return totals.view(groups, 1, inputs), products

    def back(
        self, to_scaled: Tensor, to_shift: Tensor, *, learn: bool
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Gradients from those of `scaled` and `shift`.

        Args:
            to_scaled: (groups, in, out).
            to_shift: (groups, out).
            learn: whether the weight's gradient is wanted.

        Returns:
            the weight's, in its own shape; then, for rows x, theirs is x @ the second, (groups, in, in), plus the
            third, (matrices, in): None where the statistics are not the batch's.
        """
        scale = self.scale.unsqueeze(1)
        if not self.training:
            return unpack(to_scaled * scale, self.shape) if learn else None, None, None
        to_scale = torch.addcmul((to_scaled * self.weight).sum(dim=1), to_shift, self.centre, value=-1)
        to_centre = (to_shift * self.scale).neg_().unsqueeze(1)
        to_variance = self.scale.pow(3).mul_(-0.5).mul_(to_scale).unsqueeze(1)
        transposed = self.weight.transpose(1, 2)
        to_covariance = torch.bmm(self.weight * to_variance, transposed)
        to_mean = torch.bmm(to_centre, transposed).baddbmm_(self.mean, to_covariance, alpha=-2)
        to_weight = None
        if learn:
            whole = (to_scaled * scale).addcmul_(self.image, to_variance, value=2)
            to_weight = unpack(whole.baddbmm_(self.mean.transpose(1, 2), to_centre), self.shape)
        return to_weight, to_covariance.mul_(2 / self.rows), (to_mean / self.rows).view(self.matrices, -1)
