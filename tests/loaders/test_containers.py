"""What synthetic twins are packed in: read by other programs, and the same bytes at any time."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Callable

import numpy as np
import pytest
import scipy.io

from nas360.loaders.synthetic.containers import mat5, tar, tar_gz

FILES = {"b/two": b"2" * 700, "a": b"", "b/one": bytes(range(256))}
ARRAYS = {"x": np.arange(6, dtype=np.uint8).reshape(2, 3), "y": np.array([[1.5]])}


@pytest.mark.parametrize("write", [tar, tar_gz])
def test_archives_hold_the_files_in_their_order(write: Callable[[dict[str, bytes]], bytes]) -> None:
    with tarfile.open(fileobj=io.BytesIO(write(FILES))) as archive:
        members = archive.getmembers()
        found = {member.name: stream.read() for member in members if (stream := archive.extractfile(member))}
    assert list(found.items()) == list(FILES.items())
    assert {(member.uid, member.gid, member.uname, member.mtime) for member in members} == {(0, 0, "", 0)}


@pytest.mark.parametrize("compressed", [False, True])
def test_matlab_files_hold_the_arrays(compressed: bool) -> None:
    # the documentation admits a stream, the type stubs do not
    found = scipy.io.loadmat(io.BytesIO(mat5(ARRAYS, compressed=compressed)))  # type: ignore[arg-type]
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(found[name], values, strict=True)


def test_the_time_changes_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    def written() -> list[bytes]:
        return [tar(FILES), tar_gz(FILES), mat5(ARRAYS), mat5(ARRAYS, compressed=True)]

    now = written()
    monkeypatch.setattr(time, "time", lambda: 1.0)
    monkeypatch.setattr(time, "asctime", lambda *_: "Thu Jan  1 00:00:01 1970")
    assert written() == now
