"""Ratio of the training loop's throughput to a bare loop over the same network and batch that is in memory already.

Run by hand: `python tests/benchmarks/bench_train.py`. The bare loop has no data, log, checkpoint, schedule or check.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from nas360.baselines import ends
from nas360.baselines.checkpoint import Checkpoints
from nas360.baselines.feed import to_device
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.runlog import RunLog
from nas360.baselines.spaces.wide_resnet import WIDE_RESNET, WideResNetArchitecture
from nas360.baselines.train import Keeping, Training

CPU = torch.device("cpu")
STEPS = 40


def toys() -> Any:
    """The toy tasks of the tests."""
    path = Path(__file__).resolve().parents[1] / "baselines" / "conftest.py"
    spec = importlib.util.spec_from_file_location("toys", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Print steps a second of both loops and their ratio, for signals and images."""
    made = toys()
    for dims in (1, 2):
        data = made.ToyData(dims, "point", {"train": 512, "validation": 16, "test": 16})
        recipe = Recipe(Optimiser("sgd", lr=0.01), epochs=100, batch_size=64)

        def network(data: Any = data) -> ends.TaskModel:
            return ends.TaskModel(WIDE_RESNET.build(WideResNetArchitecture(width=2), data.spec), data.spec)

        with tempfile.TemporaryDirectory() as folder:
            log = RunLog(Path(folder) / "log.jsonl")
            log.start({"identity": {}})
            training = Training(
                network(), data.spec, data.rows("train"), data.preprocessing("train"), recipe, STEPS, 0, CPU, 10,
                Keeping(Checkpoints(Path(folder)), log),
            )  # fmt: skip
            began = time.perf_counter()
            training.run()
            ours = STEPS / (time.perf_counter() - began)
        model = network().to(memory_format=torch.channels_last)
        batch = to_device(data.preprocessing("train")(data.rows("train").take(np.arange(64)), None), CPU)
        optimiser = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
        began = time.perf_counter()
        for _ in range(STEPS):
            optimiser.zero_grad()
            functional.cross_entropy(model(batch.x), batch.y).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
        bare = STEPS / (time.perf_counter() - began)
        sys.stdout.write(f"{dims}D: {ours:.1f} steps/s, bare loop {bare:.1f} steps/s, ratio {ours / bare:.2f}\n")


if __name__ == "__main__":
    main()
