"""Ratio of the plain Auto-DeepLab supernet's time to ours, a bilevel step: forward and backward for the weights, then
for the architecture; and the memory that a backward pass needs.

Run by hand: `python tests/benchmarks/bench_deeplab.py [--threads N] [--batch N] [--rounds N]`. Both run in turn in one
process, at the published sizes; printed are medians of wall clock and of processor time (which other processes on the
machine hardly change), and the greatest difference of outputs.

Memory is counted, for 128 × 128 and a batch of 1 and of 2, from the tensors that are kept for the backward pass (each
storage once); what a batch of 8 keeps follows by a straight line. With checkpointing the inside of one cell comes on
top while it is computed anew. Weights, their momenta and gradients are small beside it. The supernet computes in
float32 also under bfloat16 autocast, so that the figures hold there too.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from nas360.baselines.spaces.deeplab_cell import TrellisCell
from nas360.baselines.spaces.deeplab_supernet import TrellisRelaxation, TrellisSupernet
from nas360.baselines.spaces.deeplab_trellis import DEEPLAB_TRELLIS
from nas360.loaders import TASKS

TASK_NAMES = ("darcy_flow", "cosmic")
GIB = 2**30


def plain_module() -> ModuleType:
    """The yardstick beside this file."""
    path = Path(__file__).with_name("plain_deeplab.py")
    spec = importlib.util.spec_from_file_location("plain_deeplab", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["plain_deeplab"] = module
    spec.loader.exec_module(module)
    return module


def step(network: nn.Module, architecture: list[nn.Parameter], x: Tensor) -> None:
    """One bilevel step without its updates."""
    apart = {id(parameter) for parameter in architecture}
    weights = [parameter for parameter in network.parameters() if id(parameter) not in apart]
    for parameters in (weights, architecture):
        torch.autograd.grad(network(x).square().mean(), parameters)


def compare(task: str, batch: int, rounds: int) -> None:
    """Print the ratios of one task."""
    plain, spec = plain_module(), TASKS[task].spec
    torch.manual_seed(0)
    ours: TrellisSupernet = DEEPLAB_TRELLIS.relax(spec, TrellisRelaxation())
    theirs = plain.PlainTrellis(ours)
    plain.copy_weights(ours, theirs)
    both = {
        "ours": (ours, list(ours.architecture_parameters().values())),
        "plain": (theirs.to(memory_format=torch.channels_last), [theirs.alpha, theirs.beta]),
    }
    x = torch.randn(batch, *spec.input_shape)
    with torch.no_grad():
        difference = float((ours(x) - theirs(x)).abs().max())
    walls: dict[str, list[float]] = {name: [] for name in both}
    used: dict[str, list[float]] = {name: [] for name in both}
    for turn in range(rounds + 1):
        for name, (network, architecture) in both.items():
            began, before = time.perf_counter(), time.process_time()
            step(network, architecture, x)
            if turn:
                walls[name].append(time.perf_counter() - began)
                used[name].append(time.process_time() - before)
    wall, cpu = ({name: statistics.median(of[name]) for name in of} for of in (walls, used))
    print(  # noqa: T201  # a command
        f"{task}, batch {batch}: "
        f"wall {wall['plain']:.2f} s / {wall['ours']:.2f} s = {wall['plain'] / wall['ours']:.2f}, "
        f"processor {cpu['plain']:.2f} s / {cpu['ours']:.2f} s = {cpu['plain'] / cpu['ours']:.2f}, "
        f"outputs differ by {difference:.1e}"
    )


def kept(relaxation: TrellisRelaxation, batch: int) -> tuple[int, int]:
    """Bytes that a forward pass keeps at 128 × 128, and those of the cell that keeps most."""
    network = DEEPLAB_TRELLIS.relax(TASKS["cosmic"].spec, relaxation)
    seen: set[int] = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    cells: list[int] = [0]
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            # lest another tensor takes its place
            alive.append(tensor)
            cells[-1] += storage.nbytes()
        return tensor

    for module in network.modules():
        if isinstance(module, TrellisCell):
            module.register_forward_pre_hook(lambda *_: cells.append(0))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(torch.randn(batch, 1, 128, 128))
    return sum(cells), max(cells[1:])


def memory() -> None:
    """Print what a batch of 8 at 128 × 128 needs."""
    plain_of, cell_of = [part for part in zip(*(kept(TrellisRelaxation(), batch) for batch in (1, 2)), strict=True)]
    again_of, _ = zip(*(kept(TrellisRelaxation(checkpointing=True), batch) for batch in (1, 2)), strict=True)

    def eight(one_two: tuple[int, ...]) -> float:
        one, two = one_two
        return (one + 7 * (two - one)) / GIB

    print(  # noqa: T201  # a command
        f"128 by 128, batch 8, scaled from 1 and 2: kept for the backward pass {eight(plain_of):.2f} GiB; with "
        f"checkpointing {eight(again_of):.2f} GiB and {eight(cell_of):.2f} GiB for one cell at a time = "
        f"{eight(again_of) + eight(cell_of):.2f} GiB (allowed: 16)"
    )


def main() -> None:
    """Print all ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    memory()
    for task in TASK_NAMES:
        compare(task, options.batch, options.rounds)
    if not torch.cuda.is_available():
        print("no GPU here: neither time nor memory was measured on one")  # noqa: T201


if __name__ == "__main__":
    main()
