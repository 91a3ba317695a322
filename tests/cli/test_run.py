"""`nas360 run` and `nas360 methods`, on a synthetic twin."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nas360.baselines.local_workers import LocalWorkers
from nas360.cli import app, main
from nas360.loaders import TASKS
from nas360.loaders.prepare import prepare
from nas360.results import load_result


@pytest.fixture(scope="module")
def ecg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic twin of ECG, prepared."""
    folder = tmp_path_factory.mktemp("ecg")
    raw, out = folder / "raw", folder / "ecg"
    TASKS["ecg"].write_synthetic(raw, 0)
    prepare(TASKS["ecg"], raw, out)
    return out


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    with pytest.raises(SystemExit, match=r"\d") as left:
        main(list(arguments))
    shown = capsys.readouterr()
    return int(left.value.code or 0), shown.out, shown.err


def test_a_run_from_the_command_line(ecg: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    common = (
        "run",
        "wrn",
        "--task",
        "ecg",
        "--data",
        str(ecg),
        "--budget",
        "smoke",
        "--device",
        "cpu",
        "--out",
        str(out),
    )
    code, shown, told = call(capsys, *common)
    assert code == 0, told
    assert "macro_f1_by_record" in shown
    assert str(out / "predictions.npz") in shown.replace("\n", "")
    assert "warning: the data of ecg is synthetic" in told
    assert "step" in told, "without a terminal there is a line a report"
    stored = load_result(out / "result.json")
    assert stored.method.command == "nas360 run wrn --task ecg --data ecg --seed 0 --budget smoke --device cpu"

    code, shown, told = call(capsys, *common, "--json")
    assert code == 0, told
    assert json.loads(shown)["run_id"] == stored.run_id, "standard output holds JSON alone"
    assert "holds this run, finished" in told

    code, shown, told = call(capsys, *common, "--seed", "1")
    assert (code, shown) == (2, ""), told
    assert "seed is 0 there, 1 was asked for" in told

    # what was written can be scored by anybody
    code, shown, told = call(
        capsys, "evaluate", str(out / "predictions.npz"), "--task", "ecg", "--data", str(ecg), "--json"
    )
    assert code == 0, told
    row = stored.results[0]
    assert json.loads(shown)["score"] == getattr(row, "score", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "wnr", "--task", "ecg"), "Did you mean 'wrn'?"),
        (("run", "wrn", "--task", "egc"), "Did you mean 'ecg'?"),
        (("run", "timm:resnet81", "--task", "cifar100"), "Nearest:"),
        (("run", "wrn", "--task", "ecg", "--data", "/nowhere/at/all"), "is not a folder"),
        # what can never run is told before the data is looked for
        (("run", "resnet1d", "--task", "cifar100", "--data", "/nowhere"), "resnet1d cannot run on cifar100"),
        (("run", "wrn", "--task", "ecg", "--data", "/nowhere", "--seed", "-1"), "seed -1 is not in the range"),
        (("run", "wrn", "--task", "ecg", "--data", "/nowhere", "--seed", str(2**63)), f"seed {2**63} is not in the"),
    ],
)
def test_user_errors_are_one_message(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown, told = call(capsys, *arguments)
    assert (code, shown) == (2, ""), told
    assert message in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--budget", "huge"), "budget 'huge' is none of full, small, smoke"),
        (("--device", "gpu"), "device 'gpu' is none of auto, cpu, cuda"),
    ],
)
def test_bad_flags(
    flags: tuple[str, ...], message: str, ecg: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    code, _, told = call(capsys, "run", "wrn", "--task", "ecg", "--data", str(ecg), "--out", str(out), *flags)
    assert code == 2, told
    assert message in told
    assert "the data of ecg is synthetic" not in told, "nothing is said of data before the flags are right"
    assert not out.exists()


def test_workers_share_the_threads_and_only_trials(
    ecg: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    asked: list[dict[str, Any]] = []

    def never(*arguments: Any, **options: Any) -> SimpleNamespace:
        asked.append(options)
        if options["executor"] is not None:
            # its processes are started when they are needed
            assert options["executor"].submit(os.getpid).result() != os.getpid()
        return SimpleNamespace(results=())

    monkeypatch.setattr("nas360.baselines.run.run", never)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: asked.append({"threads": number}))
    common = ("run", "wrn_asha", "--task", "ecg", "--data", str(ecg), "--device", "cpu", "--out", str(tmp_path))
    assert call(capsys, *common)[0] == 0
    assert (asked[0]["executor"], asked[0]["trial_threads"], asked[0]["trial_seconds"]) == (None, 8, None)
    assert call(capsys, *common, "--workers", "3", "--trial-seconds", "90")[0] == 0
    assert isinstance(asked[1]["executor"], LocalWorkers)
    assert (asked[1]["trial_threads"], asked[1]["trial_seconds"]) == (2, 90.0)
    assert call(capsys, *common, "--workers", "2", "--threads", "1")[0] == 0
    assert asked[2] == {"threads": 1} and asked[3]["trial_threads"] == 1
    for method in ("gaea", "wrn"):
        code, _, told = call(capsys, "run", method, "--task", "ecg", "--data", str(ecg), "--workers", "2")
        assert code == 2 and f"such as wrn_asha's; {method} has none. Leave --workers out" in told
    assert len(asked) == 4


def test_an_interruption_says_how_to_go_on(
    ecg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(lines: object, report: object) -> None:
        raise KeyboardInterrupt

    common: tuple[str, ...] = (
        "run",
        "wrn",
        "--task",
        "ecg",
        "--data",
        str(ecg),
        "--budget",
        "smoke",
        "--device",
        "cpu",
    )
    common = (*common, "--max-steps", "2", "--out", str(tmp_path / "run"))
    with monkeypatch.context() as patch:
        patch.setattr("nas360.cli.live._Lines.report", stop)
        code, shown, told = call(capsys, *common)
    assert (code, shown) == (130, "")
    assert told.splitlines()[-1] == "stopped; go on with --resume"
    code, shown, told = call(capsys, *common, "--resume")
    assert code == 0, told


def test_an_interruption_of_any_command_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nas360.cli.methods.methods", stop)
    code, shown, told = call(capsys, "methods")
    assert (code, shown, told) == (130, "", "interrupted\n")


def test_an_interruption_inside_a_command_of_a_command_ends_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nas360.cli.prepare.prepare", stop)
    monkeypatch.setattr("nas360.cli.demo._command", lambda *arguments: app(args=["prepare"], standalone_mode=False))
    code, _, told = call(capsys, "demo", "--out", str(tmp_path))
    assert (code, told) == (130, "interrupted\n")


def test_methods(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, told = call(capsys, "methods", "--json")
    assert code == 0, told
    found = {entry["id"]: entry for entry in json.loads(shown)}
    assert found["wrn"]["tasks"] == list(TASKS)
    assert found["resnet1d"]["tasks"] == ["ecg", "satellite", "deepsea"]
    code, shown, told = call(capsys, "methods")
    assert code == 0, told
    assert "timm:NAME" in shown
