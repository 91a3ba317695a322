"""From a trained network to predictions."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from nas360.baselines.failure import TrainingError
from nas360.baselines.feed import to_device
from nas360.baselines.watch import Silent, Watcher
from nas360.loaders.base import Preprocessing
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
) -> npt.NDArray[Any]:
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
        unit.

    Raises:
        TrainingError: an output is not finite.
    """
    watcher = watcher or Silent()
    batches = Batches(rows, preprocessing, batch_size)
    found: list[Tensor] = []
    finite = torch.ones((), dtype=torch.bool, device=device)
    model.eval()
    with torch.inference_mode(), torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        for number, batch in enumerate(batches):
            output = model(to_device(batch, device).x)
            finite &= output.isfinite().all()
            found.append(_as_predictions(output, spec))
            watcher.step(number + 1, len(batches), "predict")
    if not bool(finite):
        raise TrainingError(
            "predict",
            "the trained network gives outputs that are not finite. Lower the recipe's learning rate, or set clip_norm",
        )
    return torch.cat(found).cpu().numpy()


def _as_predictions(output: Tensor, spec: TaskSpec) -> Tensor:
    if isinstance(spec.output, Point):
        return output.argmax(dim=1)
    if isinstance(spec.output, MultiLabel) or (isinstance(spec.output, Dense) and spec.output.target == "mask"):
        return output.float().sigmoid()
    return output.float()
