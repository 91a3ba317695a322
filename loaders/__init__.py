"""The ten tasks, in the paper's order: specs, and loaders from the official raw files."""

from __future__ import annotations

from nas360.loaders.base import Task
from nas360.registry import Registry

TASKS: Registry[Task] = Registry(
    "task",
    {
        "cifar100": "nas360.loaders.cifar100:TASK",
        "spherical": "nas360.loaders.spherical:TASK",
        "ninapro": "nas360.loaders.ninapro:TASK",
        "fsd50k": "nas360.loaders.fsd50k:TASK",
        "darcy_flow": "nas360.loaders.darcy_flow:TASK",
        "psicov": "nas360.loaders.psicov:TASK",
        "cosmic": "nas360.loaders.cosmic:TASK",
        "ecg": "nas360.loaders.ecg:TASK",
        "satellite": "nas360.loaders.satellite:TASK",
        "deepsea": "nas360.loaders.deepsea:TASK",
    },
)

__all__ = ["TASKS", "Task"]
