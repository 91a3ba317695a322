"""Ratio of the plain children's time to ours: a weight step, a look at validation, and both as an episode has them.

Run by hand: `python tests/benchmarks/bench_amber.py [--device cuda] [--threads N]`. Children are those that an
untrained controller draws. A weight step is a pass forward and back and a step of Adam, each on another child. A look
scores children on the same rows. Both kinds run in turn in one process; printed are medians of processor time (which
other processes on the machine hardly change), or of wall clock on a GPU. An episode is 500 weight steps and a look of
100 children; its validation rows are as many as the task has.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas360.baselines.algorithms.controller import Controller, ControllerSettings
from nas360.baselines.spaces.amber_layers import AMBER_LAYERS, DROPOUT, LAYERS, SHARED_HIDDEN, SHARED_WIDTH
from nas360.baselines.spaces.layered import Child
from nas360.loaders import TASKS

BATCHES = {"cpu": {"ecg": 32, "satellite": 256}, "cuda": {"ecg": 500, "satellite": 2000}}
STEPS, SCORED, ROUNDS = 10, 100, 1
EPISODE_STEPS = 500
FULL_BATCH = {"ecg": 500, "satellite": 2000}


@functools.cache
def plain_module() -> Any:
    """The yardstick beside this file."""
    path = Path(__file__).with_name("plain_amber.py")
    spec = importlib.util.spec_from_file_location("plain_amber", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Time of one call."""
    if device.type == "cpu":
        began = time.process_time()
        work()
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def train(network: nn.Module, run: Callable[[Child], Tensor], children: list[Child], y: Tensor, adam: Any) -> None:
    """One weight step on every child in turn."""
    network.train()
    for child in children:
        adam.zero_grad(set_to_none=True)
        functional.cross_entropy(run(child), y).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        adam.step()


def compare(task: str, device: torch.device) -> None:
    """Print the ratios of one task."""
    torch.manual_seed(0)
    spec, rows = TASKS[task].spec, BATCHES[device.type][task]
    ours: Any = AMBER_LAYERS.share(spec, SHARED_WIDTH).to(device)
    plain: Any = plain_module().PlainShared(spec, LAYERS, SHARED_WIDTH, SHARED_HIDDEN, DROPOUT).to(device)
    plain_module().copy_weights(ours, plain)
    draws = torch.Generator().manual_seed(0)
    children = Controller(AMBER_LAYERS.layout, ControllerSettings()).draw(SCORED, draws).children()
    children.sort(key=lambda child: tuple(zip(*child, strict=True)))
    x = torch.randn(rows, *spec.input_shape, device=device)
    y = torch.randint(spec.output.channels, (rows,), device=device)
    optimisers = {"ours": torch.optim.Adam(ours.parameters()), "plain": torch.optim.Adam(plain.parameters())}

    def run_ours(child: Child) -> Tensor:
        ours.child = child
        out: Tensor = ours(x)
        return out

    def run_plain(child: Child) -> Tensor:
        out: Tensor = plain(x, child)
        return out

    def look(which: str) -> list[Tensor]:
        with torch.no_grad():
            if which == "plain":
                return [plain.eval()(x, child) for child in children]
            ours.eval()
            return [one for first in range(0, SCORED, 25) for one in ours.outputs(x, children[first : first + 25])]

    with torch.no_grad():
        apart = max(float((a - b).abs().max()) for a, b in zip(look("ours"), look("plain"), strict=True))
    some = children[:: SCORED // STEPS][:STEPS]
    steps: dict[str, list[float]] = {"ours": [], "plain": []}
    looks: dict[str, list[float]] = {"ours": [], "plain": []}
    for turn in range(ROUNDS + 1):
        for name, network, run in (("ours", ours, run_ours), ("plain", plain, run_plain)):
            work = functools.partial(train, network, run, some, y, optimisers[name])
            spent, looked = seconds(work, device) / STEPS, seconds(functools.partial(look, name), device)
            if turn:
                steps[name].append(spent)
                looks[name].append(looked)
    step, one = ({name: statistics.median(of[name]) for name in of} for of in (steps, looks))
    n_validation = spec.rows.get("validation", spec.splits["validation"])
    share = EPISODE_STEPS * FULL_BATCH[task] / rows, n_validation / rows
    episode = {name: share[0] * step[name] + share[1] * one[name] for name in step}
    print(  # noqa: T201  # a command
        f"{task}, {rows} rows: weight step {step['plain']:.3f} s / {step['ours']:.3f} s = "
        f"{step['plain'] / step['ours']:.2f}, look of {SCORED} children {one['plain']:.2f} s / {one['ours']:.2f} s = "
        f"{one['plain'] / one['ours']:.2f}, an episode {episode['plain'] / episode['ours']:.2f}; outputs differ by "
        f"{apart:.1e}"
    )


def main() -> None:
    """Print all ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--tasks", nargs="+", default=["ecg", "satellite"], choices=tuple(FULL_BATCH))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for task in options.tasks:
        compare(task, torch.device(options.device))


if __name__ == "__main__":
    main()
