"""Ratio of the plain supernet's time to ours, an iteration of the DenseNAS search: forward and backward for the weights
with drawn layers on four parts of a batch, forward and backward for the architecture with all of them on the fifth.

Run by hand: `python tests/benchmarks/bench_dense_block.py [--threads N]`. Both run in turn in one process; printed are
medians, of wall clock and of processor time (which other processes on the machine hardly change), and the greatest
difference of outputs, drawn and mixed.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nas360.baselines.methods.densenas import SPACE
from nas360.baselines.spaces.dense_block_supernet import DenseBlockSupernet
from nas360.baselines.spaces.dense_block_table import Trim
from nas360.loaders import TASKS

TASK_NAMES = ("ninapro", "ecg")
ROUNDS, PART, TEMPERATURE = 3, 8, 0.9


@functools.cache
def plain_module() -> Any:
    """The yardstick beside this file."""
    path = Path(__file__).with_name("plain_dense_block.py")
    spec = importlib.util.spec_from_file_location("plain_dense_block", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def batch(task: str, rows: int) -> tuple[Tensor, Tensor]:
    """Noise in the task's shape, and labels."""
    spec = TASKS[task].spec
    x = torch.randn(rows, *spec.input_shape)
    x = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
    return x, torch.randint(spec.output.channels, (rows,))


def our_iteration(network: DenseBlockSupernet, choices: list[bool], few: Any, many: Any) -> None:
    """As `alternating` does it: the gradients that are asked for, and no others."""
    network.mix()
    torch.autograd.grad(functional.cross_entropy(network(few[0]), few[1]), [network.alpha, network.beta])
    network.choices = choices
    loss = functional.cross_entropy(network(many[0]), many[1])
    torch.autograd.grad(loss, network.weight_parameters(), allow_unused=True)


def plain_iteration(network: Any, choices: list[bool], few: Any, many: Any) -> None:
    """All gradients each time."""
    for drawn, (x, y) in ((None, few), (choices, many)):
        network.choices = drawn
        network.zero_grad()
        functional.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped


def compare(task: str) -> None:
    """Print the ratios of one task."""
    torch.manual_seed(0)
    spec = TASKS[task].spec
    ours = SPACE.supernet(spec, Trim(), TEMPERATURE)
    plain = plain_module().PlainSupernet(spec, SPACE.table(spec), TEMPERATURE)
    plain_module().copy_weights(ours, plain)
    networks: dict[str, Any] = {"ours": ours, "plain": plain}
    if spec.spatial_dims == 2:
        for network in networks.values():
            network.to(memory_format=torch.channels_last)
    few, many = batch(task, PART), batch(task, 4 * PART)
    walls: dict[str, list[float]] = {"ours": [], "plain": []}
    cpus: dict[str, list[float]] = {"ours": [], "plain": []}
    ours.draw(uniform=True)
    drawn, differences = ours.choices, []
    assert drawn is not None
    for choices in (drawn, None):
        ours.choices = plain.choices = choices
        with torch.no_grad():
            differences.append(float((ours(few[0]) - plain(few[0])).abs().max()))
    for turn in range(ROUNDS + 1):
        ours.draw(uniform=True)
        choices = ours.choices
        assert choices is not None
        for name, iterate in (("ours", our_iteration), ("plain", plain_iteration)):
            began, used = time.perf_counter(), time.process_time()
            iterate(networks[name], choices, few, many)
            if turn:
                walls[name].append(time.perf_counter() - began)
                cpus[name].append(time.process_time() - used)
    wall, cpu = ({name: statistics.median(of[name]) for name in of} for of in (walls, cpus))
    print(  # noqa: T201  # a command
        f"{task}: wall {wall['plain']:.2f} s / {wall['ours']:.2f} s = {wall['plain'] / wall['ours']:.2f}, "
        f"processor {cpu['plain']:.2f} s / {cpu['ours']:.2f} s = {cpu['plain'] / cpu['ours']:.2f}, "
        f"outputs differ by {differences[0]:.1e} drawn and {differences[1]:.1e} mixed"
    )


def main() -> None:
    """Print all ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    for task in TASK_NAMES:
        compare(task)
    if not torch.cuda.is_available():
        print("no GPU here: the ratio on one was not measured")  # noqa: T201


if __name__ == "__main__":
    main()
