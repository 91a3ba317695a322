"""Ratio of the plain supernet's time and memory to ours, a bilevel step: forward and backward for the weights, forward
and backward for the architecture, cross-entropy, batch 32.

Run by hand: `python tests/benchmarks/bench_supernet.py [--profile] [--threads N …]`, with 1 and 2 threads unless told
otherwise. Both run in turn in one process; printed are medians, of wall clock and of processor time (which other
processes on the machine change less), the greatest difference of outputs, and peak memory, each in a process of its
own. With several threads the wall clock alone counts: threads that wait for each other take processor time too.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas360.baselines.spaces.base import Relaxation
from nas360.baselines.spaces.darts_cell import DARTS_CELL
from nas360.loaders import TASKS

TASK_NAMES = ("ninapro", "ecg")
ROUNDS, BATCH = 3, 32


@functools.cache
def plain_module() -> Any:
    """The yardstick beside this file."""
    path = Path(__file__).with_name("plain_supernet.py")
    spec = importlib.util.spec_from_file_location("plain_supernet", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parts(network: Any) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Weights and architecture parameters of either supernet."""
    if hasattr(network, "weight_parameters"):
        return network.weight_parameters(), list(network.architecture_parameters().values())
    architecture = [*network.alpha.values(), *network.beta.values()]
    apart = {id(parameter) for parameter in architecture}
    return [parameter for parameter in network.parameters() if id(parameter) not in apart], architecture


def step(network: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """One bilevel step without its updates: the gradients of the architecture."""
    weights, architecture = parts(network)
    torch.autograd.grad(functional.cross_entropy(network(x), y), weights)
    return torch.autograd.grad(functional.cross_entropy(network(x), y), architecture)


def batch(task: str) -> tuple[Tensor, Tensor]:
    """Noise in the task's shape, and labels."""
    spec = TASKS[task].spec
    return torch.randn(BATCH, *spec.input_shape), torch.randint(spec.output.channels, (BATCH,))


def make(which: str, task: str) -> nn.Module:
    """One of the two supernets, at the published sizes."""
    spec = TASKS[task].spec
    return DARTS_CELL.relax(spec, Relaxation()) if which == "ours" else plain_module().PlainSupernet(spec, Relaxation())


def peak_memory(which: str, task: str, threads: int) -> float:
    """Peak resident MiB of two steps in a process of its own."""
    command = [sys.executable, __file__, "--memory", which, task, "--threads", str(threads)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def compare(task: str, *, profile: bool, threads: int) -> None:
    """Print the ratios of one task."""
    torch.manual_seed(0)
    ours, plain = make("ours", task), make("plain", task)
    plain_module().copy_weights(ours, plain)
    x, y = batch(task)
    walls: dict[str, list[float]] = {"ours": [], "plain": []}
    cpus: dict[str, list[float]] = {"ours": [], "plain": []}
    with torch.no_grad():
        difference = float((ours(x) - plain(x)).abs().max())
    for turn in range(ROUNDS + 1):
        for name, network in (("ours", ours), ("plain", plain)):
            began, used = time.perf_counter(), time.process_time()
            step(network, x, y)
            if turn:
                walls[name].append(time.perf_counter() - began)
                cpus[name].append(time.process_time() - used)
    wall, cpu = ({name: statistics.median(of[name]) for name in of} for of in (walls, cpus))
    memory = {name: peak_memory(name, task, threads) for name in walls}
    print(  # noqa: T201  # a command
        f"{task}, threads {threads}: "
        f"wall {wall['plain']:.2f} s / {wall['ours']:.2f} s = {wall['plain'] / wall['ours']:.2f}, "
        f"processor {cpu['plain']:.2f} s / {cpu['ours']:.2f} s = {cpu['plain'] / cpu['ours']:.2f}, "
        f"peak memory {memory['plain']:.0f} / {memory['ours']:.0f} MiB, outputs differ by {difference:.1e}"
    )
    if profile:
        for name, network in (("plain", plain), ("ours", ours)):
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
                step(network, x, y)
            print(name, seen.key_averages().table(sort_by="self_cpu_time_total", row_limit=16))  # noqa: T201


def main() -> None:
    """Print all ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true", help="where the time of both goes")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads[0])
    if options.memory:
        which, task = options.memory
        network, (x, y) = make(which, task), batch(task)
        for _ in range(2):
            step(network, x, y)
        # not getrusage: a child inherits its parent's greatest size
        (line,) = (row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM"))
        print(float(line.split()[1]) / 1024)  # noqa: T201
        return
    for threads in options.threads:
        torch.set_num_threads(threads)
        for task in TASK_NAMES:
            compare(task, profile=options.profile, threads=threads)
    if not torch.cuda.is_available():
        print("no GPU here: the ratio on one was not measured")  # noqa: T201


if __name__ == "__main__":
    main()
