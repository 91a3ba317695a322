from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nas360 import __version__
from nas360.cli import COMMANDS, main

NAS360 = [sys.executable, "-m", "nas360"]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*NAS360, *arguments], capture_output=True, text=True)


def test_version() -> None:
    assert _run("--version").stdout == f"nas360 {__version__}\n"


def test_help_names_every_command_with_examples_and_loads_nothing_heavy() -> None:
    found = _run("--help")
    assert found.returncode == 0
    assert all(name in found.stdout for name in COMMANDS)
    assert "Examples" in found.stdout
    code = "import sys; from nas360.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print([name for name in ('numpy', 'pydantic', 'torch', 'datasets') if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.endswith("[]\n")


def test_help_is_quick() -> None:
    """At most 0.3 s, by the best of five, on a machine that does other things too."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        _run("--help")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.6


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str) -> None:
    found = _run(command, "--help")
    assert found.returncode == 0, found.stderr
    assert "Examples" in found.stdout
    assert f"nas360 {command}" in found.stdout


def test_a_misspelt_command_is_answered_with_the_nearest() -> None:
    found = _run("leaderbord")
    assert found.returncode == 2
    assert "Did you mean 'leaderboard'" in found.stderr


def test_an_error_of_the_user_is_one_message_without_a_traceback() -> None:
    found = _run("info", "egc")
    assert found.returncode == 2
    assert found.stdout == ""
    assert "Did you mean 'ecg'" in found.stderr
    assert "Traceback" not in found.stderr
    assert "Traceback" in _run("--debug", "info", "egc").stderr
    assert "Traceback" in _run("info", "egc", "--debug").stderr


def test_a_fault_of_ours_leaves_with_1_and_says_how_to_see_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import nas360.cli.tasks

    def broken() -> None:
        raise ZeroDivisionError("deep inside")

    monkeypatch.setattr(nas360.cli.tasks, "tasks", broken)
    with pytest.raises(SystemExit) as caught:
        main(["tasks"])
    assert caught.value.code == 1
    assert "Run again with --debug" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError, match="deep inside"):
        main(["tasks", "--debug"])


def test_a_reader_that_leaves_early_is_no_error() -> None:
    found = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m nas360 info ecg --json | head -1"],
        capture_output=True,
        text=True,
    )
    assert found.returncode in (0, 141)
    assert "Traceback" not in found.stderr
    assert "internal error" not in found.stderr


def test_prepare_says_where_from(tmp_path: Path) -> None:
    found = _run("prepare", "ecg", "--out", str(tmp_path / "x"))
    assert found.returncode == 2
    assert "--raw DIR (official raw files) or --synthetic" in found.stderr
    found = _run("prepare", "ecg", "--generate", "--out", str(tmp_path / "x"))
    assert "cannot be generated" in found.stderr
    assert not list(tmp_path.iterdir())


def test_prepare_writes_a_twin_and_tells(tmp_path: Path) -> None:
    found = _run("prepare", "ecg", "--synthetic", "--out", str(tmp_path / "ecg"), "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == json.loads((tmp_path / "ecg" / "manifest.json").read_text())
    assert "this data is synthetic" in found.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"ecg", ".ecg.lock"}


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 2), (errno.EACCES, 2), (errno.EIO, 1)])
def test_what_the_machine_lacks_is_told_as_the_users_to_mend(
    number: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full() -> None:
        raise OSError(number, os.strerror(number), "/somewhere/[bold]file")

    monkeypatch.setattr("nas360.cli.tasks.tasks", full)
    with pytest.raises(SystemExit) as left:
        main(["tasks"])
    assert left.value.code == code
    told = capsys.readouterr().err
    assert os.strerror(number) in told
    assert "/somewhere/[bold]file" in told
    assert ("fault of nas360" in told) == (code == 1)
