"""GPUs as slots: each is lent to one run at a time, on this machine, whoever asks."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

VISIBLE = "CUDA_VISIBLE_DEVICES"

POLL_SECONDS = 0.2


def visible_devices() -> tuple[str, ...]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them; none without CUDA."""
    given = os.environ.get(VISIBLE)
    if given is not None:
        names = [name.strip() for name in given.split(",")]
        # CUDA reads the list up to the first entry that is none
        ends = [number for number, name in enumerate(names) if name in ("", "-1")]
        names = names[: ends[0]] if ends else names
        if not names:
            return ()
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return tuple(names[:count]) if given is not None else tuple(map(str, range(count)))


@contextmanager
def slot(
    devices: Sequence[str], wanted: Callable[[], bool] = lambda: True, folder: Path | None = None
) -> Iterator[str | None]:
    """One of the devices, for nobody else while the block runs; waits until one is free.

    A slot is a lock on a file, which falls when its process ends, however it ends. So threads, processes and workers
    of a cluster on one machine share its GPUs without knowing of each other.

    Args:
        devices: names.
        wanted: asked while waiting; no device is lent once it says no.
        folder: where the locks are.

    Yields:
        The name; None where there are no devices, or none is wanted any more.
    """
    if not devices:
        yield None
        return
    place = folder or Path(tempfile.gettempdir()) / f"nas360-gpus-{os.getuid() if hasattr(os, 'getuid') else 'all'}"
    place.mkdir(parents=True, exist_ok=True)
    while wanted():
        for device in devices:
            lock = FileLock(place / f"{device.replace('/', '-')}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield device
            finally:
                lock.release()
            return
        time.sleep(POLL_SECONDS)
    yield None
