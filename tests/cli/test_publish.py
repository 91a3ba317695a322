from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nas360.cli import main
from nas360.loaders import TASKS
from nas360.loaders.prepare import prepare

if TYPE_CHECKING:
    from tests.hub_server import Hub

SECRET = "hf_loopbackWriteTokenOfTests"
REPO = "my-lab/cifar100"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("publish")
    TASKS["cifar100"].write_synthetic(made / "raw", 0)
    prepare(TASKS["cifar100"], made / "raw", made / "cifar100")
    return made / "cifar100"


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int | str | None, str, str]]:
    """The command in this process, without the verification, which takes seconds: exit code, output, errors."""
    monkeypatch.setattr("nas360.loaders.repository.verify.verify", lambda folder, quick=False, report=None: [])

    def command(*arguments: object) -> tuple[int | str | None, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["publish", *map(str, arguments)])
        shown = capsys.readouterr()
        return caught.value.code, shown.out, shown.err

    return command


Run = Callable[..., tuple[int, str, str]]


def test_the_commit_and_the_tag_are_shown(hub: Hub, folder: Path, run: Run) -> None:
    code, out, err = run("cifar100", folder, "--repo", REPO, "--tag", "v1.0.0")
    oid = hub.dataset(REPO).find("v1.0.0")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith(f"{REPO}: 9 of 9 files uploaded, ")
    assert out.splitlines()[1:] == [
        f"commit {hub.url}/datasets/{REPO}/commit/{oid}",
        "tag v1.0.0",
        f"read it with --data {REPO}@v1.0.0",
    ]
    code, out, _ = run("cifar100", folder, "--repo", REPO)
    assert code == 0 and out.startswith(f"{REPO}: holds these 9 files already; no commit was made\n")


def test_a_pull_request_is_shown(hub: Hub, folder: Path, run: Run) -> None:
    code, out, _ = run("cifar100", folder, "--repo", REPO, "--create-pr", "--message", "[bold]a card")
    assert code == 0
    assert f"pull request {hub.url}/datasets/{REPO}/discussions/1\n" in out
    assert out.endswith(f"read it with --data {REPO}@refs/pr/1\n")
    repo = hub.dataset(REPO)
    assert repo.commits[repo.refs["refs/pr/1"]].title == "[bold]a card"


def test_json_holds_what_was_done(hub: Hub, folder: Path, run: Run) -> None:
    code, out, _ = run("cifar100", folder, "--repo", REPO, "--private", "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["repo"], told["private"], told["changed"], told["dry_run"]) == (REPO, True, True, False)
    assert told["commit"] == hub.dataset(REPO).find("main")
    assert sorted(told["uploaded"]) == sorted(told["files"])


def test_a_dry_run_lists_the_files_and_needs_no_login(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    code, out, _ = run("cifar100", folder, "--repo", REPO, "--dry-run")
    assert code == 0
    assert "nothing was sent" in out and "data/test-00000-of-00001.parquet" in out


def test_what_the_user_can_mend_leaves_with_2(
    hub: Hub, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run("ecg", folder, "--repo", REPO)
    assert (code, out) == (2, "") and "holds the task 'cifar100', not 'ecg'" in err
    hub.stop()
    code, out, err = run("cifar100", folder, "--repo", REPO)
    assert (code, out) == (2, "") and "no connection" in err and "Traceback" not in err
    monkeypatch.delenv("HF_TOKEN")
    code, out, err = run("cifar100", folder, "--repo", REPO)
    assert (code, out) == (2, "") and "hf auth login" in err


def test_the_token_is_shown_nowhere_whatever_is_switched_on(hub: Hub, folder: Path) -> None:
    """A process of its own, with all that can be made to talk, and a Hub that repeats what it is sent."""
    from tests.hub_server import Answer, Request

    def echo(request: Request) -> Answer:
        return Answer(418, json.dumps({"error": f"no: {dict(request.headers)}"}).encode())

    hub.fail("/revision/main", echo)
    talk = {"HF_DEBUG": "1", "HF_HUB_VERBOSITY": "debug", "NAS360_DEBUG": "1", "PYTHONWARNINGS": "always"}
    arguments = ["publish", "cifar100", str(folder), "--repo", REPO, "--debug"]
    done = subprocess.run(
        [sys.executable, "-m", "nas360", *arguments], capture_output=True, text=True, env=os.environ | talk
    )
    assert done.returncode == 1  # a traceback was asked for
    assert "HubError: cannot look at" in done.stderr and "curl -X" in done.stderr
    assert any(request.token == SECRET for request in hub.requests)
    assert SECRET not in done.stdout + done.stderr


def test_a_token_cannot_be_given_where_other_users_of_the_machine_see_it(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0 and "HF_TOKEN" in out and "--token" not in out
