"""GPUs as slots: one run each, on a made-up list of devices."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nas360.bench import attempt, slots
from nas360.bench.attempt import Job, perform
from nas360.bench.slots import slot, visible_devices


def test_no_device_is_lent_twice_at_a_time(tmp_path: Path) -> None:
    lent: Counter[str | None] = Counter()
    lock, most = threading.Lock(), Counter[str | None]()

    def use(_: int) -> None:
        with slot(("0", "1"), folder=tmp_path) as device:
            with lock:
                lent[device] += 1
                most[device] = max(most[device], lent[device])
            time.sleep(0.01)
            with lock:
                lent[device] -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(8)))
    assert most == {"0": 1, "1": 1}


def test_without_devices_there_is_nothing_to_wait_for() -> None:
    with slot(()) as device:
        assert device is None


def test_who_does_not_want_one_any_more_gets_none(tmp_path: Path) -> None:
    with slot(("0",), folder=tmp_path) as first, slot(("0",), lambda: False, tmp_path) as second:
        assert (first, second) == ("0", None)


@pytest.mark.parametrize("given", ["", "-1", "-1,0"])
def test_hidden_devices_are_not_used(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(slots.VISIBLE, given)
    assert visible_devices() == ()


def test_a_run_sees_its_own_device_alone(
    job_of: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(attempt, "visible_devices", lambda: ("5", "7"))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    code = (
        "import os, sys, time; from pathlib import Path; time.sleep(1); "
        "Path(sys.argv[1]).write_text(os.environ['CUDA_VISIBLE_DEVICES'])"
    )
    jobs = [job_of(name, code, gpu=True) for name in ("one", "two")]
    with ThreadPoolExecutor(2) as pool:
        assert [ending.kind for ending in pool.map(perform, jobs)] == ["done", "done"]
    assert {job.result.read_text() for job in jobs} == {"5", "7"}
