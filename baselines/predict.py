"""From a trained network to predictions."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nas360.baselines.failure import TrainingError
from nas360.baselines.feed import to_device
from nas360.baselines.watch import Silent, Watcher
from nas360.loaders.base import Array, Preprocessing
from nas360.loaders.data import Batches, SplitRows
from nas360.task import Dense, MultiLabel, Point, TaskSpec


def predict(
    model: nn.Module,
    rows: SplitRows,
    preprocessing: Preprocessing,
    spec: TaskSpec,
    device: torch.device,
    batch_size: int,
    watcher: Watcher | None = None,
    dtype: torch.dtype | None = None,
) -> Array | list[Array]:
    """Predictions for every row, in order, in the form of a predictions file.

    Args:
        model: gives logits or values in the task's unit; is set to evaluation mode.
        rows: what to predict.
        preprocessing: from rows to inputs; called without a generator, so nothing is augmented.
        spec: the task.
        device: where.
        batch_size: rows at a time.
        watcher: is told.
        dtype: of autocast; None is float32.

    Returns:
        int64 (n,) classes; float32 (n, labels) or (n, *space) probabilities; float32 (n, *space) values in the task's
        unit, or a list of maps where their sizes vary. Where a row has several inputs, the outputs (logits, values) are
        averaged over them first.

    Raises:
        TrainingError: an output is not finite.
    """
    watcher = watcher or Silent()
    # maps of different sizes are padded to the largest of their batch, and padding is seen: each stands alone
    batches = Batches(rows, preprocessing, 1 if -1 in spec.prediction_shape else batch_size)
    found: list[Tensor] = []
    sizes: list[Array] = []
    at_a_time = batch_size * math.prod(spec.input_shape)
    finite = torch.ones((), dtype=torch.bool, device=device)
    model.eval()
    with torch.inference_mode(), torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        for number, batch in enumerate(batches):
            x = to_device(batch, device).x
            # what a row is made of differs in number and size; the network sees no more at once than in training
            parts = torch.split(x, max(1, at_a_time // x[0].numel()))
            output = torch.cat([model(part).float() for part in parts])
            finite &= output.isfinite().all()
            predicted = _as_predictions(output if batch.row is None else _mean_by_row(output, batch.row), spec)
            found += [predicted] if batch.sizes is None else list(predicted)
            sizes += [] if batch.sizes is None else list(batch.sizes)
            watcher.step(number + 1, len(batches), "predict")
    if not bool(finite):
        raise TrainingError(
            "predict",
            "the trained network gives outputs that are not finite. Lower the recipe's learning rate, or set clip_norm",
        )
    if sizes:
        maps = zip(found, sizes, strict=True)
        return [one[tuple(slice(int(side)) for side in size)].cpu().numpy() for one, size in maps]
    return torch.cat(found).cpu().numpy()


def _mean_by_row(output: Tensor, row: npt.NDArray[np.int64]) -> Tensor:
    index = torch.from_numpy(row).to(output.device)
    n = int(row[-1]) + 1
    counts = torch.bincount(index, minlength=n).to(output.dtype)
    total = torch.zeros((n, *output.shape[1:]), dtype=output.dtype, device=output.device)
    return total.index_add_(0, index, output) / counts.view(n, *[1] * (output.ndim - 1))


def _as_predictions(output: Tensor, spec: TaskSpec) -> Tensor:
    if isinstance(spec.output, Point):
        return output.argmax(dim=1)
    if isinstance(spec.output, MultiLabel) or (isinstance(spec.output, Dense) and spec.output.target == "mask"):
        return output.float().sigmoid()
    return output.float()


_SAMPLED_ROWS = 32


def inputs_a_row(rows: SplitRows, preprocessing: Preprocessing, spec: TaskSpec) -> float:
    """How many inputs of `spec.input_shape` a row is worth, on average, when it is predicted.

    A clip has many windows, and a large map is worth several crops. Judged from some rows, evenly spaced.
    """
    sample = np.unique(np.linspace(0, len(rows) - 1, _SAMPLED_ROWS).astype(np.int64))
    values = sum(preprocessing(rows.take([row]), None).x.size for row in sample)
    return values / (len(sample) * math.prod(spec.input_shape))
