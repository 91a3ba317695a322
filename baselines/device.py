"""Where a run computes, in what precision, and who owns torch's random numbers meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import numpy as np
import torch

from nas360.baselines.recipe import Precision
from nas360.errors import RunError

DeviceName = Literal["auto", "cpu", "cuda"]


def choose_device(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: `cpu`, `cuda`, or `auto`: CUDA where there is a GPU, else the CPU.

    Raises:
        RunError: the name is another, or CUDA was asked for and there is none.
    """
    if name not in get_args(DeviceName):
        raise RunError(f"device {name!r} is none of {', '.join(get_args(DeviceName))}")
    if name == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda
        reason = (
            f"torch {torch.__version__} finds no GPU" if built else f"torch {torch.__version__} is built without CUDA"
        )
        raise RunError(f"--device cuda was asked for, but {reason}. Use --device cpu, or auto to take what there is")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def autocast_dtype(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The type that matrix products are computed in; None is float32 without autocast.

    bfloat16 has float32's range, so that no loss scaling is needed. `auto` takes it on GPUs that have it in hardware.

    Example:
        >>> autocast_dtype("auto", torch.device("cpu")) is None
        True
    """
    if precision == "bfloat16":
        return torch.bfloat16
    if precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return None


@contextmanager
def owned_randomness(rng: np.random.Generator, device: torch.device) -> Iterator[None]:
    """Let torch draw from a generator of our own in this block, and give the global one back as it was.

    Layers and dropout know no other source than torch's global generator; so it is lent to one owner at a time.

    Args:
        rng: gives the seed.
        device: whose generator is lent beside the CPU's.

    Example:
        >>> with owned_randomness(np.random.default_rng(0), torch.device("cpu")):
        ...     first = torch.rand(3)
        >>> with owned_randomness(np.random.default_rng(0), torch.device("cpu")):
        ...     bool((torch.rand(3) == first).all())
        True
    """
    devices = [device.index if device.index is not None else 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(rng.integers(2**63)))
        yield


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """State of torch's generators, for a checkpoint."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Set torch's generators; a state from another kind of device restores what both have."""
    torch.set_rng_state(state["cpu"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
