"""`nas360 submit` as a user calls it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nas360.cli import main

if TYPE_CHECKING:
    from tests.hub_server import Hub

Run = Callable[..., tuple[int, str, str]]
MakeRun = Callable[..., Path]
REPO = "lab/results"
SECRET = "hf_loopbackWriteTokenOfTests"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in an empty folder: exit code, output, errors."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def command(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        assert SECRET not in shown.out + shown.err
        return int(left.value.code or 0), shown.out, shown.err

    return command


@pytest.fixture
def there(hub: Hub) -> Hub:
    from tests.hub_server import Repo

    hub.repos[f"datasets/{REPO}"] = Repo(REPO, "dataset")
    hub.foreign.add("lab")
    return hub


def test_a_pull_request(there: Hub, run: Run, scored_run: MakeRun) -> None:
    path = scored_run()
    code, out, err = run("submit", path.parent, "--to", REPO)
    assert code == 0
    assert f"pull request {there.url}/datasets/{REPO}/discussions/1" in out
    # all that was sent was shown, and nothing was sent that was not
    sent = set(there.dataset(REPO).files("refs/pr/1")) - {".gitattributes"}
    assert len(sent) == 2 and all(name in err for name in sent)
    assert not list(Path().iterdir())


def test_json_says_what_was_done(there: Hub, run: Run, scored_run: MakeRun) -> None:
    code, out, _ = run("submit", scored_run(seeds=(0, 1)), "--to", REPO, "--json")
    told = json.loads(out)
    assert code == 0 and told["submitted"] and told["revision"] == "refs/pr/1" and told["next"] is None
    assert set(told["files"]) == set(there.dataset(REPO).files("refs/pr/1")) - {".gitattributes"}
    assert [row["outcome"] for row in told["rows"]] == ["same", "same"]


def test_a_dry_run_writes_the_folder_and_the_next_command_sends_it(
    there: Hub, run: Run, scored_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    code, out, _ = run("submit", scored_run(), "--to", REPO, "--dry-run", "--data", "synthetic")
    assert code == 0 and there.requests == []
    command = out.strip().splitlines()[-1].strip()
    assert command == f"nas360 submit submission --to {REPO} --data synthetic"
    monkeypatch.setenv("HF_TOKEN", SECRET)
    code, _, _ = run(*shlex.split(command)[1:])
    assert code == 0
    sent = there.dataset(REPO).files("refs/pr/1")
    for file in (one for one in Path("submission").rglob("*") if one.is_file()):
        assert sent[file.relative_to("submission").as_posix()] == file.read_bytes()


def test_without_a_network_the_ready_folder_is_written(hub: Hub, run: Run, scored_run: MakeRun) -> None:
    hub.stop()
    code, out, err = run("submit", scored_run(), "--to", REPO, "--out", "my entries")
    assert code == 2 and "no connection" in err and "Traceback" not in err
    assert f"nas360 submit 'my entries' --to {REPO}" in out
    assert Path("my entries/results/my_method/run-1/result.json").is_file()


@pytest.mark.parametrize("off", ["HF_TOKEN", "HF_HUB_OFFLINE"])
def test_nobody_logged_in_or_offline(
    there: Hub, run: Run, scored_run: MakeRun, off: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    if off == "HF_TOKEN":
        monkeypatch.delenv("HF_TOKEN")
    else:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, out, err = run("submit", scored_run(), "--to", REPO, "--json")
    told = json.loads(out)
    assert code == 2 and off in err and not told["submitted"] and off in told["error"]
    assert told["next"] == f"nas360 submit submission --to {REPO}" and Path("submission/results").is_dir()


def test_a_refused_pull_request(there: Hub, run: Run, scored_run: MakeRun) -> None:
    from tests.hub_server import Answer

    there.fail("POST .*/commit/", Answer(403, b'{"error": "no"}'))
    code, out, err = run("submit", scored_run(), "--to", REPO)
    assert code == 2 and "the token may not do this" in err
    assert "nothing was sent" in out and Path("submission").is_dir()


def test_no_pr_commits_to_main(there: Hub, run: Run, scored_run: MakeRun) -> None:
    path = scored_run()
    code, _, err = run("submit", path, "--to", REPO, "--no-pr")
    assert code == 2 and "may not do this" in err  # the repository is somebody else's
    there.foreign.clear()
    code, out, _ = run("submit", path, "--to", REPO, "--no-pr")
    assert code == 0 and out.strip().splitlines()[-1].startswith(f"commit {there.url}/datasets/{REPO}/commit/")
    code, out, _ = run("submit", path, "--to", REPO)
    assert code == 0 and "holds these entries already; nothing was sent" in out


def test_what_is_wrong_is_told_and_nothing_is_written(there: Hub, run: Run, scored_run: MakeRun) -> None:
    path = scored_run()
    (path.parent / "predictions-seed0.npz").write_bytes(b"[red]else[/red]")
    for arguments, message in [
        ((path,), "these are not the predictions that were scored"),
        ((path, "--to", "nonsense"), "is not the name of a repository"),
        ((path, "--predictions", "x", "--no-predictions"), "exclude each other"),
        ((path, "--data", "nowhere"), "no dataset of a task is there"),
        (("absent.json",), "no such file or folder"),
    ]:
        code, out, err = run("submit", "--to", REPO, *arguments)
        assert (code, out) == (2, "") and message in err
    assert there.requests == [] and not list(Path().iterdir())


def test_without_predictions(there: Hub, run: Run, scored_run: MakeRun) -> None:
    code, out, err = run("submit", scored_run(), "--to", REPO, "--no-predictions", "--json")
    assert code == 0 and "could not be re-scored: its predictions are left out" in " ".join(err.split())
    assert len(json.loads(out)["files"]) == 1
