"""Publishing on a loopback Hub: what arrives there, what is refused, and what is said."""

from __future__ import annotations

import logging
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nas360.errors import DatasetError, HubError, UserError
from nas360.loaders import TASKS
from nas360.loaders.repository.manifest import read_manifest
from nas360.loaders.repository.publish import Publication, publish
from nas360.loaders.repository.verify import Fault

if TYPE_CHECKING:
    from tests.hub_server import Answer, Hub, Request

TASK = TASKS["cifar100"]
REPO = "my-lab/cifar100"
SECRET = "hf_loopbackWriteTokenOfTests"
Repo = Callable[[str], Path]


@pytest.fixture
def folder(tmp_path: Path, synthetic_repo: Repo) -> Path:
    """A prepared repository that the test may change."""
    return Path(shutil.copytree(synthetic_repo("cifar100"), tmp_path / "cifar100"))


@pytest.fixture
def unverified(monkeypatch: pytest.MonkeyPatch) -> list[Fault]:
    """Verification, which takes seconds, finds what the test puts into this list."""
    faults: list[Fault] = []
    monkeypatch.setattr("nas360.loaders.repository.verify.verify", lambda folder, quick=False, report=None: faults)
    return faults


def _content(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def _writes(hub: Hub) -> list[str]:
    """Requests that change something."""
    return [f"{one.method} {one.path}" for one in hub.requests if one.method != "GET" and "validate" not in one.path]


def test_what_is_published_is_the_folder_and_the_tag_names_it(hub: Hub, folder: Path) -> None:
    done = publish(TASK, folder, REPO, tag="v1.0.0")
    repo = hub.dataset(REPO)
    found = repo.files()
    assert found.pop(".gitattributes")
    assert found == _content(folder)
    assert done.commit is not None and done.commit.changed
    assert repo.refs["refs/heads/main"] == repo.refs["refs/tags/v1.0.0"] == done.commit.oid
    assert sorted(done.uploaded) == sorted(found)
    assert done.files == {path: len(content) for path, content in found.items()}
    assert not repo.private
    commit = repo.commits[done.commit.oid]
    assert {path for path, file in commit.files.items() if file.lfs} == {p for p in found if p.endswith(".parquet")}
    assert "cifar100 v1.0.0" in commit.title and "synthetic" in commit.title
    assert any("synthetic" in warning for warning in done.warnings)


def test_the_same_again_makes_no_commit(hub: Hub, folder: Path, unverified: list[Fault]) -> None:
    first = publish(TASK, folder, REPO, tag="v1.0.0")
    before = dict(hub.dataset(REPO).refs)
    hub.requests.clear()
    again = publish(TASK, folder, REPO, tag="v1.0.0")
    assert hub.dataset(REPO).refs == before
    assert again.commit is not None and first.commit is not None
    assert (again.commit.changed, again.commit.oid, again.uploaded) == (False, first.commit.oid, ())
    assert _writes(hub) == ["POST /api/repos/create"]
    # and a tag can still be set later
    assert publish(TASK, folder, REPO, tag="v1.0.1").tag == "v1.0.1"
    assert hub.dataset(REPO).refs["refs/tags/v1.0.1"] == first.commit.oid


def test_only_what_differs_is_sent_and_what_would_be_read_as_data_goes(
    hub: Hub, folder: Path, unverified: list[Fault]
) -> None:
    from tests.hub_server import Commit, File

    publish(TASK, folder, REPO)
    repo = hub.dataset(REPO)
    left = {"data/train-00007-of-00008.parquet": File(b"old", lfs=True), "picture.png": File(b"by hand")}
    head = repo.commits[repo.refs["refs/heads/main"]]
    repo.commit("refs/heads/main", Commit({**head.files, **left}, "by hand", repo.find("main")))
    (folder / "CHANGELOG.md").write_text("other\n")
    done = publish(TASK, folder, REPO)
    assert done.uploaded == ("CHANGELOG.md",)
    assert done.deleted == ("data/train-00007-of-00008.parquet",)
    found = repo.files()
    assert found.pop("picture.png") and found.pop(".gitattributes")
    assert found == _content(folder)


def test_a_pull_request_leaves_main_alone_and_needs_no_right_to_write(
    hub: Hub, folder: Path, unverified: list[Fault]
) -> None:
    from tests.hub_server import Repo

    repo = hub.repos[f"datasets/{REPO}"] = Repo(REPO, "dataset")
    hub.foreign.add("my-lab")
    main = repo.files()
    with pytest.raises(HubError, match=r"the token may not do this .*hf auth login.* open a pull request"):
        publish(TASK, folder, REPO)
    done = publish(TASK, folder, REPO, create_pr=True, message="a better card")
    assert done.commit is not None and done.commit.revision == "refs/pr/1"
    assert done.commit.pull_request == f"{hub.url}/datasets/{REPO}/discussions/1"
    assert repo.files() == main
    assert repo.files("refs/pr/1") == main | _content(folder)
    assert repo.commits[done.commit.oid].title == "a better card"


def test_a_tag_is_never_moved(hub: Hub, folder: Path, unverified: list[Fault]) -> None:
    publish(TASK, folder, REPO, tag="v1.0.0")
    tagged = hub.dataset(REPO).refs["refs/tags/v1.0.0"]
    (folder / "CHANGELOG.md").write_text("other\n")
    hub.requests.clear()
    with pytest.raises(
        HubError, match=r"has a tag v1\.0\.0 already, .* with other content \(CHANGELOG\.md\).*new --tag"
    ):
        publish(TASK, folder, REPO, tag="v1.0.0")
    assert _writes(hub) == ["POST /api/repos/create"]  # which says that it is there
    assert set(hub.dataset(REPO).refs.values()) == {tagged}


@pytest.mark.parametrize("tag", ["", "a b", "../x", "v1..0", "main", "v1.lock", "-v", "v1/0", "v1\n"])
def test_names_that_are_no_tags(folder: Path, tag: str) -> None:
    with pytest.raises(UserError, match="cannot be a tag"):
        publish(TASK, folder, REPO, tag=tag, dry_run=True)


@pytest.mark.parametrize(
    "repo", ["cifar100", "a/b/c", "a/..", "../b", "a/b.git", "a/b--c", "a/b\n", "a b/c", "a/é", ""]
)
def test_names_that_are_no_repositories(folder: Path, repo: str) -> None:
    with pytest.raises(UserError, match=r"is not the name of a repository.*OWNER/NAME"):
        publish(TASK, folder, repo, dry_run=True)


def test_tag_and_pull_request_exclude_each_other(folder: Path) -> None:
    with pytest.raises(UserError, match="Merge the pull request, then publish the same folder with --tag"):
        publish(TASK, folder, REPO, tag="v1.0.0", create_pr=True)


def test_private_is_made_so_or_refused(hub: Hub, folder: Path, unverified: list[Fault]) -> None:
    assert publish(TASK, folder, REPO, private=True).private
    assert hub.dataset(REPO).private
    assert publish(TASK, folder, REPO).private  # said once, it stays
    hub.dataset(REPO).private = False
    hub.requests.clear()
    with pytest.raises(UserError, match="is there already and public, so --private cannot hold"):
        publish(TASK, folder, REPO, private=True)
    assert _writes(hub) == ["POST /api/repos/create"]


def test_what_verify_faults_is_refused_and_what_it_warns_of_is_told(
    hub: Hub, folder: Path, unverified: list[Fault]
) -> None:
    unverified += [Fault("error", "rows", "train has a row too many"), Fault("warning", "drift", "the card is old")]
    with pytest.raises(DatasetError, match=r"not published:\n- train has a row too many \(rows\)$"):
        publish(TASK, folder, REPO)
    assert hub.requests == []
    del unverified[0]
    assert "the card is old (drift)" in publish(TASK, folder, REPO).warnings


def test_a_changed_byte_of_data_is_refused(hub: Hub, folder: Path) -> None:
    file = folder / read_manifest(folder).splits["test"].files[0].path
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=r"is not as it must be, so it is not published:\n.*file_sha256"):
        publish(TASK, folder, REPO)
    assert hub.requests == []


def test_files_that_are_not_of_the_dataset_stay_here(hub: Hub, folder: Path, unverified: list[Fault]) -> None:
    for stranger in (".env", ".data.lock", ".staging/x.parquet", "notes.txt", "data/.train.tmp.parquet", "cifar100.py"):
        (folder / stranger).parent.mkdir(exist_ok=True)
        (folder / stranger).write_text("private")
    publish(TASK, folder, REPO)
    assert b"private" not in hub.dataset(REPO).files().values()
    assert not any(request.body.count(b"cHJpdmF0ZQ") for request in hub.requests if "/commit/" in request.path)


def test_a_link_is_refused_since_it_could_name_any_file(
    hub: Hub, folder: Path, tmp_path: Path, unverified: list[Fault]
) -> None:
    (tmp_path / "key").write_text("secret")
    (folder / "LICENSE").symlink_to(tmp_path / "key")
    with pytest.raises(DatasetError, match="LICENSE is a link"):
        publish(TASK, folder, REPO)
    assert hub.requests == []


def test_another_task_no_dataset_and_a_lost_file(folder: Path, tmp_path: Path, unverified: list[Fault]) -> None:
    with pytest.raises(DatasetError, match="holds the task 'cifar100', not 'ecg'"):
        publish(TASKS["ecg"], folder, REPO, dry_run=True)
    with pytest.raises(DatasetError, match="is not a folder"):
        publish(TASK, tmp_path / "nowhere", REPO, dry_run=True)
    (folder / "metric.py").unlink()
    with pytest.raises(DatasetError, match=r"lacks metric\.py"):
        publish(TASK, folder, REPO, dry_run=True)


@pytest.mark.parametrize("repo", [None, "nas360/other", "NAS360/cifar100"])
def test_the_official_namespace_takes_official_data_only(folder: Path, repo: str | None) -> None:
    with pytest.raises(DatasetError, match=r"is synthetic, .*nas360/ holds official data only.*--repo OWNER/NAME"):
        publish(TASK, folder, repo, dry_run=True)


def test_a_dry_run_asks_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch, unverified: list[Fault]) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    done = publish(TASK, folder, REPO, tag="v1.0.0", dry_run=True)
    assert done.dry_run and done.commit is None
    assert set(done.uploaded) == set(done.files) == set(_content(folder))


def test_without_a_login_it_is_said_how_to_log_in(
    hub: Hub, folder: Path, unverified: list[Fault], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=r"nobody is logged in at .*`hf auth login`.*HF_TOKEN"):
        publish(TASK, folder, REPO)
    monkeypatch.setenv("HF_TOKEN", "hf_with a\tgap")
    with pytest.raises(HubError, match="holds spaces or signs") as caught:
        publish(TASK, folder, REPO)
    assert "gap" not in "".join(traceback.format_exception(caught.value))
    assert hub.requests == []


def test_offline_is_said(folder: Path, unverified: list[Fault]) -> None:
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        publish(TASK, folder, REPO)


def _echo(status: int) -> Callable[[Request], Answer]:
    """An answer that repeats all that came, as careless proxies do."""

    def answer(request: Request) -> Answer:
        from tests.hub_server import Answer

        text = f"no: {dict(request.headers)}"
        return Answer(status, text.encode(), {"Content-Type": "text/plain", "X-Error-Message": text})

    return answer


PLACES = ("repos/create", "revision/main", "/refs", "/tree/", "/preupload/", "/batch", "/commit/", "/tag/")


@pytest.mark.parametrize(
    ("where", "status", "match"),
    [
        *((where, 0, r"no connection .*Check the network and HF_ENDPOINT") for where in PLACES),
        # the client does not look at the answer to a tag
        *((where, 200, r"its answer is none of a Hub") for where in PLACES if where != "/tag/"),
        *((where, 403, r"the token may not do this.*hf auth login") for where in PLACES),
        ("/commit/", 401, r"the token is not accepted.*hf auth login"),
        ("/commit/", 404, r"not found .*Check the name"),
        ("/commit/", 409, r"changed by somebody else at the same moment.*Run again"),
        ("/commit/", 418, r"its answer is none of a Hub \(HTTP 418"),
        ("/refs", 429, r"too many requests .*Wait"),
        ("/preupload/", 503, r"the Hub is in trouble \(HTTP 503"),
    ],
)
def test_every_failure_is_one_message_without_the_token(
    hub: Hub,
    folder: Path,
    unverified: list[Fault],
    where: str,
    status: int,
    match: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits between its attempts
    _log_everything(monkeypatch, caplog)
    hub.fail(where, _echo(status))
    with pytest.raises(HubError, match=match) as caught:
        publish(TASK, folder, REPO, tag="v1.0.0")
    assert REPO in str(caught.value) and "\n" not in str(caught.value)
    assert any(request.token == SECRET for request in hub.requests)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in "".join(capfd.readouterr())
    # the answer's headers, where this Hub repeats the token, are logged by the HTTP library itself
    assert SECRET not in "".join(str(one.getMessage()) for one in caplog.records if "httpcore" not in one.name)


def _log_everything(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_DEBUG", True)
    client = logging.getLogger("huggingface_hub")
    monkeypatch.setattr(client, "propagate", True)
    monkeypatch.setattr(client, "level", logging.DEBUG)
    client.manager._clear_cache()  # type: ignore[attr-defined]  # levels are cached, and the patch goes round setLevel
    caplog.set_level(logging.DEBUG)


def test_the_token_is_in_no_log_of_a_success(
    hub: Hub,
    folder: Path,
    unverified: list[Fault],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    _log_everything(monkeypatch, caplog)
    done = publish(TASK, folder, REPO, tag="v1.0.0")
    assert "curl -X POST" in caplog.text and "httpcore" in caplog.text
    assert SECRET not in caplog.text + "".join(capfd.readouterr()) + repr(done)


def test_what_was_uploaded_before_a_failure_is_not_uploaded_again(
    hub: Hub, folder: Path, unverified: list[Fault]
) -> None:
    hub.fail("/commit/", _echo(0))
    with pytest.raises(HubError, match="run again; what is uploaded is kept"):
        publish(TASK, folder, REPO)
    assert sum(request.method == "PUT" for request in hub.requests) == 3
    assert set(hub.dataset(REPO).files()) == {".gitattributes"}
    hub.heal()
    hub.requests.clear()
    publish(TASK, folder, REPO)
    assert not any(request.method == "PUT" for request in hub.requests)
    assert set(hub.dataset(REPO).files()) == {".gitattributes", *_content(folder)}


def test_a_password_in_the_address_is_not_shown(
    hub: Hub, folder: Path, unverified: list[Fault], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", hub.url.replace("//", "//me:planted@"))
    hub.fail("revision/main", _echo(418))
    with pytest.raises(HubError, match=r"at http://127\.0\.0\.1:") as caught:
        publish(TASK, folder, REPO)
    assert "planted" not in "".join(traceback.format_exception(caught.value))


def test_a_commit_of_somebody_else_in_between_is_not_overwritten(
    hub: Hub, folder: Path, unverified: list[Fault]
) -> None:
    from tests.hub_server import Commit, File

    def meanwhile(request: Request) -> Answer:
        hub.heal()
        repo = hub.dataset(REPO)
        repo.commit("refs/heads/main", Commit({"theirs": File(b"theirs")}, "theirs", repo.find("main")))
        return hub.answer(request)

    hub.fail("preupload", meanwhile)
    with pytest.raises(HubError, match=r"changed by somebody else .*A commit has happened since"):
        publish(TASK, folder, REPO)
    assert hub.dataset(REPO).files() == {"theirs": b"theirs"}
    assert publish(TASK, folder, REPO).commit is not None


def test_what_is_told_is_json(hub: Hub, folder: Path, unverified: list[Fault]) -> None:
    import json

    done = publish(TASK, folder, REPO, tag="v1.0.0")
    assert isinstance(done, Publication)
    told = json.loads(json.dumps(done.public(), allow_nan=False))
    assert told["commit"] == hub.dataset(REPO).find("v1.0.0")
    assert told["endpoint"] == hub.url and told["repo"] == REPO and told["tag"] == "v1.0.0"
