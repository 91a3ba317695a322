"""`nas360 validate`: forms of output, exit codes, folders of strangers, and texts that want to steer the reader."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nas360.cli import main
from nas360.fault_codes import CODES
from nas360.results import digest, json_schema

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "results"
FULL = FIXTURES / "v1.0-full.json"


def _run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["validate", *map(str, arguments)])
    out, err = capsys.readouterr()
    code = caught.value.code
    return (code if isinstance(code, int) else 0), out, err


def _faulty(folder: Path, name: str = "result.json", /, **changes: Any) -> Path:
    content = json.loads(FULL.read_text(encoding="utf-8"))
    content["results"][0] |= changes
    content["digest"] = digest(content)
    path = folder / name
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return path


def test_warnings_leave_with_0_and_errors_with_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = _run(capsys, FULL)
    assert code == 0
    assert "NAS360-W019 /results/0/n_missing = 3" in out
    assert "1 file: 0 errors, 2 warnings" in out
    code, out, _ = _run(capsys, _faulty(tmp_path, score=61.25), FULL)
    assert code == 2
    assert "error NAS360-E033 /results/0/score = 61.25" in out
    assert "→ percent, where a fraction is wanted? Then give 0.6125" in out


def test_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = _faulty(tmp_path, score=61.25)
    code, out, _ = _run(capsys, path, "--format", "json")
    assert code == 2
    content = json.loads(out)
    assert (content["files"], content["errors"]) == (1, 1)
    assert content["faults"][0] == {
        "severity": "error",
        "code": "NAS360-E033",
        "file": str(path),
        "pointer": "/results/0/score",
        "value": "61.25",
        "rule": "score is 61.25, outside of the metric's range [0, 1]",
        "fix": "percent, where a fraction is wanted? Then give 0.6125",
    }


def test_github_annotations_have_the_line_and_no_foreign_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = _faulty(tmp_path, "a,b:c%.json", score=61.25)
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if '"score": 61.25' in text)
    code, out, _ = _run(capsys, path, "--format", "github")
    assert code == 2
    name = str(path).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    assert out.splitlines()[0].startswith(
        f"::error file={name},line={line},title=NAS360-E033::/results/0/score = 61.25: score is 61.25, outside"
    )
    evil: dict[str, Any] = {"\n::error::x\r\x1b[2J": 1, "notes": "%0A::warning::x"}
    _, out, _ = _run(capsys, _faulty(tmp_path, **evil), "--format", "github")
    assert all(text.startswith(("::error file=", "::warning file=", "1 file")) for text in out.splitlines())
    assert "\x1b" not in out


def test_texts_of_strangers_are_shown_as_they_are(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = _faulty(tmp_path, "[red]x\x1b.json", **{"[bold]key": 1, "task": "[blink]"})
    for form in ("rich", "json", "github"):
        _, out, _ = _run(capsys, path, "--format", form)
        assert "\x1b" not in out
        assert "[bold]key" in out
        assert "[red]x" in out


def test_folders(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = tmp_path / "runs" / "m" / "seed0"
    run.mkdir(parents=True)
    shutil.copy(FULL, run / "result.json")
    (run / "architecture.json").write_text("{")
    (run / "other.json").write_text("[1, 2]")
    (run / ".hidden.json").write_text("{")
    secret = tmp_path / "secret.json"
    secret.write_text('{"schema_version": "1.0", "hidden": "treasure"}')
    (run / "link.json").symlink_to(secret)
    (tmp_path / "runs" / "loop").symlink_to(tmp_path / "runs")
    code, out, _ = _run(capsys, tmp_path / "runs")
    assert code == 0
    assert "1 file: 0 errors, 3 warnings, passed over 1 other JSON file" in out
    assert "NAS360-W022" in out
    assert "treasure" not in out
    (run / "broken.json").write_text('{"schema_version": "1.0", ')
    code, out, _ = _run(capsys, tmp_path / "runs")
    assert code == 2
    assert "NAS360-E006" in out
    code, out, _ = _run(capsys, run / "other.json")  # what is named is not passed over
    assert code == 2
    assert "NAS360-E011" in out


def test_what_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = _run(capsys, tmp_path / "absent.json", tmp_path)
    assert code == 2
    assert "NAS360-E001" in out
    assert "NAS360-E062" in out
    code, _, err = _run(capsys)
    assert code == 2
    assert "nothing to validate" in err


def test_a_bound_on_folders(tmp_path: Path) -> None:
    from nas360.leaderboard.validation.places import check_places
    from nas360.loaders import TASKS

    specs = {name: task.spec for name, task in TASKS.items()}
    for index in range(5):
        (tmp_path / f"{index}.json").write_text("{}")
    report = check_places([tmp_path], specs, max_files=3)
    assert [fault.code for fault in report.faults if fault.file == str(tmp_path)] == ["NAS360-E061"]
    assert check_places([tmp_path], specs, max_files=5).faults[0].code == "NAS360-E062"  # five, none of them a result


def test_codes_and_schema(capsys: pytest.CaptureFixture[str], repository: Path) -> None:
    code, out, _ = _run(capsys, "--codes")
    assert code == 0
    assert all(name in out for name in CODES)
    _, out, _ = _run(capsys, "--codes", "--format", "json")
    assert [entry["code"] for entry in json.loads(out)] == list(CODES)
    for name in ("NAS360-E033", "e033"):
        _, out, _ = _run(capsys, "--explain", name)
        assert "NAS360-E033 (error): score out of range" in out
    code, _, err = _run(capsys, "--explain", "E999")
    assert code == 2
    assert "unknown code 'E999'" in err
    _, out, _ = _run(capsys, "--schema")
    stored = json.loads((repository / "leaderboard" / "results" / "schema-1.0.json").read_text(encoding="utf-8"))
    assert json.loads(out) == json_schema() == stored, (
        "write it anew: nas360 validate --schema > leaderboard/results/schema-1.0.json"
    )


def test_many_files_in_two_processes_are_told_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas360.leaderboard.validation import check
    from nas360.loaders import TASKS

    specs = {name: task.spec for name, task in TASKS.items()}
    paths = [_faulty(tmp_path, f"{index}.json", seed=index, score=index / 4) for index in range(8)]
    alone = check.check_files(paths, specs)
    monkeypatch.setattr(check, "FEW_FILES", 3)
    assert check.check_files(paths, specs, workers=2) == alone
    assert sum(fault.severity == "error" for fault in alone) >= 3
