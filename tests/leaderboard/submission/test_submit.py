"""Entries: checked, scored again, laid out under safe names, offered to a Hub on this machine, and read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nas360.errors import HubError, ResultError, UserError
from nas360.leaderboard.sources import load_files
from nas360.leaderboard.submission import submit
from nas360.leaderboard.submission.entries import write_content
from nas360.leaderboard.submission.rescore import Scorer, rescore
from nas360.leaderboard.submission.send import description, send, title, write_folder
from nas360.leaderboard.submission.submit import Submission, prepare
from nas360.leaderboard.validation.check import check_files
from nas360.loaders import TASKS
from nas360.results import load_result

if TYPE_CHECKING:
    from tests.hub_server import Hub, Repo

MakeRun = Callable[..., Path]
REPO = "lab/results"


@pytest.fixture
def there(hub: Hub) -> Repo:
    """An empty repository of results, in which the token may not write, as a submitter finds it."""
    from tests.hub_server import Repo

    hub.repos[f"datasets/{REPO}"] = made = Repo(REPO, "dataset")
    hub.foreign.add("lab")
    return made


def change(path: Path, index: int = 0, **changes: Any) -> None:
    content = json.loads(path.read_text())
    content["results"][index] |= changes
    write_content(path, content)


def ready(*places: Path, **options: Any) -> Submission:
    return prepare(places, Scorer(), **options)


def test_from_a_run_to_a_pull_request_and_back(hub: Hub, there: Repo, scored_run: MakeRun, tmp_path: Path) -> None:
    from huggingface_hub import snapshot_download

    made = ready(scored_run(seeds=(0, 1)))
    done = send(made, REPO)
    assert done.pull_request == f"{hub.url}/datasets/{REPO}/discussions/1"
    assert done.revision == "refs/pr/1" and done.changed
    assert set(there.files("main")) == {".gitattributes"}  # main is as it was
    folder = Path(snapshot_download(REPO, repo_type="dataset", revision="refs/pr/1", local_dir=tmp_path / "back"))
    found = load_files([folder])
    (content,) = found.values()
    assert content.submission.status == "rescored"
    assert [fault for fault in check_files(map(Path, found), _specs()) if fault.severity == "error"] == []
    # and a maintainer's check of the pull request gives the same scores
    assert [row.outcome for row in rescore(found, Scorer())] == ["same", "same"]
    commit = there.commits[there.refs["refs/pr/1"]]
    assert commit.title == "my_method: 2 results on 1 task"


def _specs() -> dict[str, Any]:
    return {name: task.spec for name, task in TASKS.items()}


def test_the_layout_and_that_no_path_of_the_machine_is_published(scored_run: MakeRun, tmp_path: Path) -> None:
    path = scored_run()
    made = ready(path)
    sha = load_result(path).results[0].predictions.sha256  # type: ignore[union-attr]
    assert list(made.files) == [
        "results/my_method/run-1/result.json",
        f"results/my_method/run-1/predictions/{sha}.npz",
    ]
    written = write_folder(made, tmp_path / "out")
    assert sorted(file for file in (tmp_path / "out").rglob("*") if file.is_file()) == sorted(written)
    assert {str(file.relative_to(tmp_path / "out")): file.stat().st_size for file in written} == made.sizes
    entry = json.loads(written[0].read_text())
    old = json.loads(path.read_text())
    assert entry["results"][0]["predictions"]["path"] == f"predictions/{sha}.npz"
    assert entry["submission"] == old["submission"] | {"status": "rescored"}
    assert {key for key in entry if entry[key] != old[key]} == {"submission", "results", "digest"}
    assert str(tmp_path) not in written[0].read_text()
    assert write_folder(made, tmp_path / "out") == written  # a second time nothing changes
    # the written folder is itself a submission, and the same one
    assert {**ready(tmp_path / "out").sizes} == made.sizes


def test_json_predictions_are_not_taken_for_results(scored_run: MakeRun, tmp_path: Path) -> None:
    write_folder(ready(scored_run(suffix=".json")), tmp_path / "out")
    foreign: list[Path] = []
    assert len(load_files([tmp_path / "out"], foreign)) == 1 and foreign == []


def test_two_results_in_one_submission(there: Repo, scored_run: MakeRun) -> None:
    made = ready(scored_run("a"), scored_run("b", "cifar100"))
    send(made, REPO)
    assert {name for name in there.files("refs/pr/1") if name.endswith(".json")} == {
        "results/my_method/a/result.json",
        "results/my_method/b/result.json",
    }
    assert title(made) == "my_method: 2 results on 2 tasks"


def test_the_same_file_named_twice_stands_once(scored_run: MakeRun) -> None:
    path = scored_run()
    assert ready(path, path.parent, path).files == ready(path).files


def test_two_runs_of_one_id_are_refused(scored_run: MakeRun) -> None:
    first, second = scored_run("a"), scored_run("b", seeds=(5,))
    content = json.loads(second.read_text())
    write_content(second, content | {"run_id": "a"})
    with pytest.raises(ResultError, match=r"(?s)not submitted.*'?a'?"):
        ready(first, second)


def test_a_score_that_its_predictions_do_not_give_is_refused(scored_run: MakeRun) -> None:
    path = scored_run(seeds=(0, 1))
    stated = load_result(path).results[1].score  # type: ignore[union-attr]
    assert stated is not None
    change(path, 1, score=stated + 1e-5)
    with pytest.raises(
        ResultError, match=r"1 error\n.*results/1: the score is .* but the predictions give .*, 1e-05 away"
    ):
        ready(path)
    change(path, 1, score=stated + 5e-7)
    assert all(row.outcome == "same" for row in ready(path).rescored)


def test_every_error_is_told_at_once(scored_run: MakeRun) -> None:
    tampered, wrong = scored_run("a", seeds=(0, 1)), scored_run("b", "cifar100")
    for file in tampered.parent.glob("*.npz"):
        file.write_bytes(b"something else")
    change(wrong, score=99.5)
    with pytest.raises(ResultError) as raised:
        ready(tampered, wrong)
    text = str(raised.value)
    assert "not submitted: 3 errors" in text
    assert text.count("these are not the predictions that were scored") == 2 and "the score is 99.5" in text


def test_results_that_break_the_schema_are_refused_with_all_faults(scored_run: MakeRun, tmp_path: Path) -> None:
    path = scored_run()
    path.write_text(path.read_text().replace('"seed": 0', '"seed": -1'))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "result.json").write_text("{}")
    with pytest.raises(ResultError) as raised:
        ready(path, tmp_path / "other")
    assert "run-1" in str(raised.value) and "other" in str(raised.value)


def test_foreign_json_beside_results_is_passed_over_and_told(scored_run: MakeRun) -> None:
    path = scored_run()
    (path.parent / "settings.json").write_text('{"a": 1}')
    made = ready(path.parent)
    assert len(made.results) == 1 and any("settings.json" in warning for warning in made.warnings)
    assert not any("settings" in name for name in made.files)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no result files below this folder"):
        ready(tmp_path)


def test_predictions_are_found_by_their_hash(scored_run: MakeRun, tmp_path: Path) -> None:
    path = scored_run(seeds=(0, 1))
    moved = [file.rename(tmp_path / f"somewhere{number}.npz") for number, file in enumerate(path.parent.glob("*.npz"))]
    assert all(row.outcome == "same" for row in ready(path, predictions=moved).rescored)
    (tmp_path / "wrong.npz").write_bytes(b"else")
    with pytest.raises(ResultError, match=r"wrong\.npz: no row has predictions of this content"):
        ready(path, predictions=[*moved, tmp_path / "wrong.npz"])
    with pytest.raises(UserError, match="there is no such file"):
        ready(path, predictions=[tmp_path / "absent.npz"])


def test_what_was_not_scored_again_says_so(scored_run: MakeRun) -> None:
    path = scored_run(seeds=(0, 1))
    content = json.loads(path.read_text())
    write_content(path, content | {"submission": content["submission"] | {"status": "rescored"}})
    made = ready(path, attach=False)
    assert list(made.files) == ["results/my_method/run-1/result.json"]
    assert made.results[0].submission.status == "self_reported"
    assert any("'rescored' could not be confirmed" in warning for warning in made.warnings)
    assert sum("could not be re-scored" in warning for warning in made.warnings) == 2
    # one row without predictions keeps the whole entry from the status
    (path.parent / "predictions-seed1.npz").unlink()
    made = ready(path)
    assert made.results[0].submission.status == "self_reported" and len(made.files) == 2
    assert "| no |" in description(made) and "| yes |" in description(made)


def test_predictions_that_cannot_be_scored_for_want_of_data_go_along_marked(scored_run: MakeRun) -> None:
    path = scored_run()
    dataset = json.loads(path.read_text())["results"][0]["dataset"]
    change(path, dataset=dataset | {"content_sha256": "a" * 64})
    made = ready(path)
    assert len(made.files) == 2 and made.results[0].submission.status == "self_reported"
    assert any("name that data with --data" in warning for warning in made.warnings)


@pytest.mark.parametrize("method", ["timm:resnet18", "nul", "a.", "con.x", "x" * 100])
def test_hostile_names_stay_in_the_folder(scored_run: MakeRun, tmp_path: Path, method: str) -> None:
    path = scored_run(run_id="CON", method={"name": method})
    try:
        made = ready(path)
    except ResultError:  # the validator may refuse such a name altogether
        return
    root = tmp_path / "out"
    for file in write_folder(made, root):
        assert file.resolve().is_relative_to(root.resolve() / "results")
    for name in made.files:
        for step in name.split("/"):
            assert step not in (".", "..") and not set(step) & set('<>:"|?*\\') and step[-1] not in ". "
            assert step.partition(".")[0].lower() not in ("con", "nul")


@pytest.mark.parametrize("name", ["../../etc", "/etc", "a/b", "..", "a\\b"])
def test_names_with_steps_are_no_names(scored_run: MakeRun, name: str) -> None:
    path = scored_run()
    content = json.loads(path.read_text())
    for changed in ({"run_id": name}, {"method": content["method"] | {"name": name}}):
        path.write_text(json.dumps({key: value for key, value in (content | changed).items() if key != "digest"}))
        with pytest.raises(ResultError, match="not submitted"):
            ready(path)


def test_a_link_among_the_predictions_is_not_published(scored_run: MakeRun, tmp_path: Path) -> None:
    path = scored_run()
    file = path.parent / "predictions-seed0.npz"
    file.symlink_to(file.rename(tmp_path / "elsewhere.npz"))
    with pytest.raises(ResultError, match="goes through a link"):
        ready(path)


def test_an_entry_that_is_there_is_not_sent_again_nor_replaced(
    hub: Hub, there: Repo, scored_run: MakeRun, tmp_path: Path
) -> None:
    hub.foreign.clear()
    path = scored_run()
    assert send(ready(path), REPO, create_pr=False).pull_request is None
    head = there.find("main")
    again = send(ready(path), REPO)
    assert not again.changed and again.oid == head and "refs/pr/1" not in there.refs
    content = json.loads(path.read_text())
    write_content(path, content | {"notes": "another"})
    with pytest.raises(ResultError, match=r"other content under results/my_method/run-1/result\.json"):
        send(ready(path), REPO)
    # the same run under another id would stand twice on the board
    write_content(path, content | {"run_id": "run-2"})
    with pytest.raises(
        ResultError, match=r"has these runs already: my_method 1 on satellite, seed 0, replicate 0 \(res"
    ):
        send(ready(path), REPO)
    assert there.find("main") == head
    # a new seed of the same method is welcome
    assert send(ready(scored_run("run-3", seeds=(3,))), REPO).pull_request


def test_a_commit_to_main_does_not_pass_over_one_that_came_between(hub: Hub, there: Repo, scored_run: MakeRun) -> None:
    from tests.hub_server import Answer, Commit, File, Request

    def somebody_else(request: Request) -> Answer:
        hub.heal()
        before = there.find("main")
        there.commit("refs/heads/main", Commit({"README.md": File(b"new")}, "another", before))
        return hub.answer(request)

    hub.foreign.clear()
    hub.fail("POST .*/preupload/", somebody_else)
    with pytest.raises(HubError, match="changed by somebody else"):
        send(ready(scored_run()), REPO, create_pr=False)
    assert set(there.files()) == {"README.md"}


def test_a_folder_with_another_entry_is_let_be(scored_run: MakeRun, tmp_path: Path) -> None:
    path, out = scored_run(), tmp_path / "out"
    write_folder(ready(path), out)
    kept = (out / "results/my_method/run-1/result.json").read_bytes()
    content = json.loads(path.read_text())
    write_content(path, content | {"notes": "another"})
    with pytest.raises(ResultError, match=r"other content under results/my_method/run-1/result\.json"):
        write_folder(ready(path), out)
    assert (out / "results/my_method/run-1/result.json").read_bytes() == kept
    (tmp_path / "links" / "results").mkdir(parents=True)
    (tmp_path / "links" / "results" / "my_method").symlink_to(out / "results" / "my_method")
    with pytest.raises(ResultError, match="no plain file"):
        write_folder(ready(path), tmp_path / "links")


def test_a_refused_pull_request_is_told_without_the_token(hub: Hub, there: Repo, scored_run: MakeRun) -> None:
    from tests.hub_server import WRITE_TOKEN, Answer

    hub.fail("POST .*/commit/", Answer(403, f'{{"error": "not you, {WRITE_TOKEN}"}}'.encode()))
    with pytest.raises(HubError, match="may not do this") as raised:
        send(ready(scored_run()), REPO)
    assert WRITE_TOKEN not in str(raised.value)


def test_a_repository_that_is_not_there_is_told(hub: Hub, scored_run: MakeRun) -> None:
    with pytest.raises(HubError, match="not found"):
        send(ready(scored_run()), "lab/absent")
    assert hub.repos == {}
    with pytest.raises(UserError, match="OWNER/NAME"):
        send(ready(scored_run("b")), "nonsense")


def test_a_submission_is_bounded(scored_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    path = scored_run(seeds=(0, 1))
    monkeypatch.setattr(submit, "MAX_TOTAL", 1000)
    with pytest.raises(ResultError, match="Submit method by method"):
        ready(path)
    monkeypatch.setattr(submit, "MAX_PREDICTIONS", 10)
    with pytest.raises(UserError, match="more than the 10 that any task needs"):
        ready(path, predictions=list(path.parent.glob("*.npz")))
    monkeypatch.undo()
    monkeypatch.setattr(submit, "MAX_FILES", 2)
    with pytest.raises(ResultError, match="3 files"):
        ready(path)


def test_the_description_holds_no_text_of_the_submitter(scored_run: MakeRun) -> None:
    evil = "[click](http://evil) <img src=x> | @everyone"
    path = scored_run(notes=evil, tags=[evil], method={"display_name": evil})
    text = description(ready(path)) + title(ready(path))
    assert "evil" not in text and "everyone" not in text
    assert text.count("`my_method`") == 1


def test_what_changed_after_it_was_scored_is_not_sent(there: Repo, scored_run: MakeRun, tmp_path: Path) -> None:
    path = scored_run()
    made = ready(path)
    (path.parent / "predictions-seed0.npz").write_bytes(b"something else")
    with pytest.raises(ResultError, match="changed after it was scored"):
        send(made, REPO)
    with pytest.raises(ResultError, match="changed after it was scored"):
        write_folder(made, tmp_path / "out")
    assert "refs/pr/1" not in there.refs
    assert not list((tmp_path / "out").rglob("*.npz"))


def test_a_compact_file_near_the_limit_stays_readable(scored_run: MakeRun, tmp_path: Path) -> None:
    path = scored_run()
    genotype = [[number] for number in range(30_000)]  # indented, this is more than the limit
    content = json.loads(path.read_text())
    content["results"][0]["architecture"]["genotype"] = genotype
    del content["digest"]
    path.write_text(json.dumps(content, separators=(",", ":")))
    (entry, _) = write_folder(ready(path), tmp_path / "out")
    assert load_result(entry).results[0].architecture.genotype == genotype  # type: ignore[union-attr]


def test_the_data_of_a_task_is_opened_once(scored_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    import nas360.loaders.data

    paths = [scored_run(f"{task}{seed}", task, (seed,)) for seed in range(2) for task in ("satellite", "cifar100")]
    opened, true = [], nas360.loaders.data.load_task

    def counted(task: str, source: Any = None) -> Any:
        opened.append(task)
        return true(task, source)

    monkeypatch.setattr(nas360.loaders.data, "load_task", counted)
    done: list[tuple[int, int]] = []
    made = prepare(paths, Scorer(), report=lambda *progress: done.append(progress))
    assert sorted(opened) == ["cifar100", "satellite"] and done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    # whatever the order of scoring, the entries keep the order of the call
    assert [row.file for row in made.rescored] == list(map(str, paths))


def test_a_name_that_steers_the_terminal_does_not(scored_run: MakeRun) -> None:
    path = scored_run("evil\x1b[2J", run_id="run-1", seeds=(0, 1))
    assert not any("\x1b" in warning for warning in ready(path, attach=False).warnings)
    for file in path.parent.glob("*.npz"):
        file.write_bytes(b"else")
    with pytest.raises(ResultError, match=r"2 errors\n  - .*evil\?\[2J") as raised:
        ready(path)
    assert "\x1b" not in str(raised.value)
