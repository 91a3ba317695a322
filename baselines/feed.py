"""Batches for training: each a pure function of the seed and the step, so that a run can be taken up at any step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nas360.loaders.ahead import ahead
from nas360.loaders.base import Array, Batch, Preprocessing
from nas360.loaders.data import SplitRows
from nas360.seeding import derive


@dataclass(frozen=True)
class Tensors:
    """A batch on the device; see `Batch` for shapes."""

    x: Tensor
    y: Tensor
    weight: Tensor | None


def to_device(batch: Batch, device: torch.device) -> Tensors:
    """Move a batch; images are laid out channels-last, which is faster for convolutions on CPU and GPU alike."""

    def move(array: Array) -> Tensor:
        # torch shares memory with the array, and has no read-only tensors
        tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
        if device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(device, non_blocking=True)

    x = move(batch.x)
    if x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    return Tensors(x, move(batch.y), None if batch.weight is None else move(batch.weight))


@dataclass(frozen=True)
class Feed:
    """The training batches of a run.

    Epoch e visits the rows in the order `derive(seed, "shuffle", e)` draws and leaves out a partial last batch; step
    s is augmented by `derive(seed, "augment", e, s)`.

    Attributes:
        rows: training rows.
        preprocessing: from rows to a batch.
        batch_size: rows a step, at most as many as there are.
        seed: of the run.
        name: tells several feeds of one run apart: their orders and augmentations are independent.
        index: the rows to use, int64; None uses all.
    """

    rows: SplitRows
    preprocessing: Preprocessing
    batch_size: int
    seed: int
    name: str = ""
    index: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.rows) if self.index is None else len(self.index)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches that the rows give."""
        return len(self) // self.batch_size

    def steps(self, start: int, stop: int) -> Iterator[Batch]:
        """The batches of steps start ≤ s < stop, the next ones made while one is used."""
        epoch, order = -1, np.empty(0, dtype=np.int64)
        names = (self.name,) if self.name else ()

        def make(step: int) -> Batch:
            nonlocal epoch, order
            now, position = divmod(step, self.steps_per_epoch)
            if now != epoch:
                epoch, order = now, derive(self.seed, "shuffle", *names, now).permutation(len(self))
                order = order if self.index is None else self.index[order]
            index = order[position * self.batch_size : (position + 1) * self.batch_size]
            return self.preprocessing(self.rows.take(index), derive(self.seed, "augment", *names, now, step))

        # one thread alone, so that `epoch` and `order` have one user
        return ahead(make, range(start, stop))
