"""The software and the machine that made a result, filled in by code rather than by hand."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

GIB = 1 << 30

LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*$"
Line = Annotated[str, Field(max_length=1000, pattern=LINE)]
"""Text of one line: no control character (a terminal would obey it) and no mark that turns the direction of writing."""

Name = Annotated[Line, Field(min_length=1)]
Amount = Annotated[float, Field(ge=0)]


class Record(BaseModel):
    """A part of a result file: frozen, strict about types, without unknown keys, NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)


class Device(Record):
    """Accelerators of one kind.

    Attributes:
        name: as the driver gives it.
        count: how many of them the run could use.
        memory_gb: memory of each, in GiB.
    """

    name: Name
    count: int = Field(ge=1, le=100_000)
    memory_gb: Amount | None = None


class Environment(Record):
    """Where a result was computed.

    Attributes:
        python: version of Python.
        os: system, release and machine.
        cpu: name of the processor, with the number of cores that the run could use.
        ram_gb: main memory, in GiB.
        devices: accelerators; empty for a run on the processor.
        cuda: version of CUDA that torch was built for, when a run could use it.
        torch: version, or None where it is not installed. Likewise the three below.
        deterministic: whether the same command repeats the result bit by bit on such a machine.
        precision: of the forward pass: `"float32"`, `"bfloat16"`, …
    """

    python: Name
    os: Name
    cpu: Name
    ram_gb: Amount | None
    devices: Annotated[tuple[Device, ...], Field(strict=False)] = ()
    cuda: Name | None = None
    torch: Name | None
    datasets: Name | None
    huggingface_hub: Name | None
    numpy: Name | None
    deterministic: bool
    precision: Name


class Package(Record):
    """The nas360 that wrote a result.

    Attributes:
        version: its version.
        git_commit: the commit of its checkout; None for an installed package.
        dirty: whether the checkout's files differed from that commit.
    """

    version: Name
    git_commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    dirty: bool | None = None


def collect_environment(
    *, device: Literal["cpu", "cuda"] | None = None, deterministic: bool | None = None, precision: str = "float32"
) -> Environment:
    """The environment of this process.

    Loads neither torch nor datasets: versions come from the installed packages' metadata; where the caller has torch
    loaded already, it tells of the accelerators, and its own version with the build (`2.15.0+cu132`).

    Args:
        device: what the run uses; `"cpu"` leaves accelerators out. None lists whatever is there.
        deterministic: whether results repeat bit by bit; None asks torch whether it was told to use deterministic
            algorithms only.
        precision: of the forward pass.
    """
    torch: Any = sys.modules.get("torch")
    on_cuda = torch is not None and device != "cpu" and torch.cuda.is_available()
    if deterministic is None:
        deterministic = torch is not None and bool(torch.are_deterministic_algorithms_enabled())
    return Environment(
        python=platform.python_version(),
        os=_line(f"{platform.system()} {platform.release()} {platform.machine()}"),
        cpu=_cpu(),
        ram_gb=_ram_gb(),
        devices=_devices(torch) if on_cuda else (),
        cuda=str(torch.version.cuda) if on_cuda and torch.version.cuda else None,
        torch=_version("torch") if torch is None else str(torch.__version__),
        datasets=_version("datasets"),
        huggingface_hub=_version("huggingface_hub"),
        numpy=_version("numpy"),
        deterministic=deterministic,
        precision=precision,
    )


def collect_package() -> Package:
    """The version of this nas360, with its commit when it runs from a git checkout of its own."""
    folder = Path(__file__).resolve().parent
    own = Path(__file__).resolve().name
    # a wheel may be installed inside a checkout of something else, whose commit says nothing about nas360
    if _git(folder, "ls-files", "--error-unmatch", own) is None:
        return Package(version=_version("nas360") or "0.0.0")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return Package(
        version=_version("nas360") or "0.0.0",
        git_commit=_git(folder, "rev-parse", "HEAD"),
        dirty=None if changed is None else changed != "",
    )


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _line(text: str) -> str:
    """Text of the system as a `Name`: its first printable 200 characters."""
    return "".join(sign for sign in text if sign.isprintable()).strip()[:200] or "unknown"


def _cpu() -> str:
    name = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(":")[2] for line in lines if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_line(name or platform.machine())}, {cores} cores"


def _ram_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, 1)
    except (AttributeError, ValueError, OSError):  # systems without sysconf, or without these names
        return None


def _devices(torch: Any) -> tuple[Device, ...]:
    kinds: dict[tuple[str, float], int] = {}
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        kind = (_line(str(properties.name)), round(properties.total_memory / GIB, 1))
        kinds[kind] = kinds.get(kind, 0) + 1
    return tuple(Device(name=name, count=count, memory_gb=memory) for (name, memory), count in kinds.items())
