"""Scoring stored predictions again: what holds, what moved, what is a fault, and what a written file keeps."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas360.errors import UserError
from nas360.files import sha256_file
from nas360.leaderboard.sources import load_files
from nas360.leaderboard.submission import entries, rescore
from nas360.leaderboard.submission.entries import safe_name, stated_path, write_content
from nas360.leaderboard.submission.rank_moves import rank_moves
from nas360.leaderboard.submission.rescore import Rescored, Scorer, data_places, differs, write_moved
from nas360.loaders import TASKS
from nas360.results import Predictions, load_result

MakeRun = Callable[..., Path]


def change(path: Path, index: int = 0, **changes: Any) -> None:
    """Change a row of a result file as somebody would who knows the digest."""
    content = json.loads(path.read_text())
    content["results"][index] |= changes
    write_content(path, content)


def score_all(*places: Path, scorer: Scorer | None = None) -> list[Rescored]:
    return rescore.rescore(load_files(places), scorer or Scorer())


def test_scores_that_hold(scored_run: MakeRun) -> None:
    path = scored_run(seeds=(0, 1))
    found = score_all(path)
    assert [(one.outcome, one.seed, one.difference) for one in found] == [("same", 0, 0.0), ("same", 1, 0.0)]


@pytest.mark.parametrize(("off", "outcome"), [(1e-5, "moved"), (-1e-5, "moved"), (9e-7, "same"), (0.0, "same")])
def test_the_tolerance(scored_run: MakeRun, off: float, outcome: str) -> None:
    path = scored_run()
    stated = json.loads(path.read_text())["results"][0]["score"]
    change(path, score=stated + off)
    (found,) = score_all(path)
    assert found.outcome == outcome
    assert found.new == stated
    assert found.difference == pytest.approx(-off, abs=1e-12)


def test_tampered_predictions_are_a_fault(scored_run: MakeRun) -> None:
    path = scored_run()
    file = path.parent / "predictions-seed0.npz"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    (found,) = score_all(path)
    assert found.outcome == "fault"
    assert "these are not the predictions that were scored" in found.reason


def test_predictions_of_another_number_or_format_or_with_other_units_are_a_fault(scored_run: MakeRun) -> None:
    stated = json.loads(scored_run().read_text())["results"][0]["predictions"]
    for name, changes, reason in [
        ("n", {"predictions": stated | {"n": 7}}, "holds 120 predictions, the row's predictions/n is 7"),
        (
            "format",
            {"predictions": stated | {"format": "csv"}},
            "ends in '.npz', the row's predictions/format is 'csv'",
        ),
        ("units", {"n_evaluated": 119, "n_missing": 1}, "has 120 .*the row's n_evaluated is 119"),
    ]:
        path = scored_run(name)
        change(path, **changes)
        (found,) = score_all(path)
        assert found.outcome == "fault"
        assert re.search(reason, found.reason)


def test_predictions_that_do_not_fit_the_task_are_a_fault(scored_run: MakeRun) -> None:
    from nas360.predictions import write_predictions

    path = scored_run()
    file = path.parent / "predictions-seed0.npz"
    write_predictions(file, ["a", "b"], np.array([0, 99]))
    stated = json.loads(path.read_text())["results"][0]["predictions"]
    change(path, predictions=stated | {"sha256": sha256_file(file), "n": 2})
    (found,) = score_all(path)
    assert found.outcome == "fault"
    assert "ids missing" in found.reason


def test_large_predictions_are_not_read(scored_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    path = scored_run()
    monkeypatch.setattr(rescore, "MAX_PREDICTIONS", 100)
    monkeypatch.setattr(rescore, "sha256_file", lambda file: pytest.fail("it was read"))
    (found,) = score_all(path)
    assert found.outcome == "fault" and "more than the 100 that any task needs" in found.reason


def test_what_cannot_be_scored_says_why(scored_run: MakeRun, repository: Path) -> None:
    gone, other, without = scored_run("gone"), scored_run("other"), scored_run("without")
    (gone.parent / "predictions-seed0.npz").unlink()
    dataset = json.loads(other.read_text())["results"][0]["dataset"]
    change(other, dataset=dataset | {"content_sha256": "a" * 64})
    change(without, predictions=None)
    fixtures = repository / "tests/fixtures/results"
    reasons = {
        gone: "its predictions are not there",
        other: r"the row was scored on aaaaaaaaaaaa…; name that data with --data",
        without: "the row states no predictions",
        fixtures / "v1.0-minimal.json": r"the run ended without a score \(oom\)",
        fixtures / "v1.0-paper.json": "a published number, without predictions",
    }
    for path, reason in reasons.items():
        found = score_all(path)[0]
        assert found.outcome == "unscored" and found.new is None
        assert re.search(reason, found.reason), found.reason


def test_data_that_is_not_there_is_no_fault_of_the_row(scored_run: MakeRun) -> None:
    path = scored_run()
    dataset = json.loads(path.read_text())["results"][0]["dataset"]
    change(path, dataset=dataset | {"provenance": "official"})
    (found,) = score_all(path)  # no data of the task in this session's folders, and no network
    assert found.outcome == "unscored" and "neither in" in found.reason
    # until somebody names the data
    assert score_all(path, scorer=Scorer(["synthetic"]))[0].outcome == "same"


def test_data_is_found_in_what_is_named(tmp_path: Path, scored_run: MakeRun) -> None:
    scored_run()
    from nas360.loaders.data import load_task

    folder = load_task("satellite", "synthetic").folder
    shutil.copytree(folder, tmp_path / "all" / "satellite")
    named = str(tmp_path / "all" / "satellite")
    assert data_places([str(tmp_path / "all")]) == {"satellite": named}
    assert data_places([named]) == {"satellite": named}
    assert data_places(["lab/ecg@main", "ecg=lab/other", f"satellite={named}"]) == {
        "ecg": "lab/ecg@main",
        "satellite": named,
    }
    assert data_places(["synthetic"]) == dict.fromkeys(TASKS, "synthetic")
    for wrong in ("lab/nothing", str(tmp_path / "absent"), str(tmp_path / "run-1"), "egc"):
        with pytest.raises(UserError, match="no dataset of a task is there"):
            data_places([wrong])


def test_a_tolerance_that_is_none_is_refused() -> None:
    for tolerance in (float("nan"), -1.0, float("inf")):
        with pytest.raises(UserError, match="must be a finite number, 0 or more"):
            Scorer([], tolerance)


def _moved_metric(monkeypatch: pytest.MonkeyPatch, factor: float = 0.5) -> None:
    """As if the metric had been mended: it now gives another number."""
    from dataclasses import replace

    import nas360.evaluate

    true = nas360.evaluate.evaluate

    def mended(*arguments: Any) -> Any:
        found = true(*arguments)
        return replace(found, score=found.score * factor, extra={**found.extra, "new_metric": 0.25})

    monkeypatch.setattr(nas360.evaluate, "evaluate", mended)


def test_writing_changes_score_extra_metrics_package_note_and_digest_alone(
    scored_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, held = scored_run("moved", seeds=(0, 1), notes="two seeds"), scored_run("held")
    change(moved, 1, predictions=None, notes="a note")
    before, untouched = json.loads(moved.read_text()), held.read_bytes()
    _moved_metric(monkeypatch)
    found = score_all(moved)
    assert [one.outcome for one in found] == ["moved", "unscored"]
    assert write_moved(found) == [str(moved)]
    after = json.loads(moved.read_text())
    old, new = before["results"][0], after["results"][0]
    assert new["score"] == old["score"] / 2
    assert new["extra_metrics"] == {**old["extra_metrics"], "new_metric": 0.25}
    assert new["notes"] == f"Re-scored by nas360 {after['nas360']['version']}; the score was {old['score']!r}."
    assert after["digest"] != before["digest"]
    allowed = {"score", "extra_metrics", "notes"}
    assert {key for key in old if old[key] != new[key]} <= allowed and old.keys() == new.keys()
    assert after["results"][1] == before["results"][1]
    assert list(before) == list(after)
    assert {key for key in before if before[key] != after[key]} == {"results", "nas360", "digest"}
    assert load_result(moved).digest == after["digest"]
    assert held.read_bytes() == untouched
    # what was written holds: a second time nothing moves and nothing is written
    again = score_all(moved)
    assert again[0].outcome == "same" and write_moved(again) == []


def test_a_file_with_a_fault_is_let_be(scored_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    path = scored_run(seeds=(0, 1))
    (path.parent / "predictions-seed1.npz").write_bytes(b"something else")
    before = path.read_bytes()
    _moved_metric(monkeypatch)
    found = score_all(path)
    assert [one.outcome for one in found] == ["moved", "fault"]
    assert write_moved(found) == [] and path.read_bytes() == before


def test_a_long_note_makes_room_for_the_new_one(scored_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    path = scored_run()
    change(path, notes="x" * 20_000)
    _moved_metric(monkeypatch)
    write_moved(score_all(path))
    notes = load_result(path).results[0].notes
    assert len(notes) == 20_000 and "Re-scored by nas360" in notes[-100:]


def test_ranks_that_change(scored_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    good = scored_run("good", wrong=0.2, method={"name": "good"})
    bad = scored_run("bad", wrong=0.5, method={"name": "bad"})
    change(good, predictions=None)
    files = load_files([good, bad])
    specs = {name: task.spec for name, task in TASKS.items()}
    assert rank_moves(files, rescore.rescore(files, Scorer()), specs) == []
    _moved_metric(monkeypatch, 0.1)
    moves = rank_moves(files, rescore.rescore(files, Scorer()), specs)
    assert [(move.line.partition("@")[0], move.old_place, move.new_place, move.new_median) for move in moves] == [
        ("bad", 2, 1, 1.0),
        ("good", 1, 2, 2.0),
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(JSON, JSON)
def test_differing_is_symmetric_and_nothing_differs_from_itself(a: Any, b: Any) -> None:
    assert differs(a, b) == differs(b, a)
    assert not differs(a, json.loads(json.dumps(a)), 0.0)


def test_a_whole_number_too_large_for_a_float_differs_and_does_not_raise() -> None:
    assert differs(10**400, 0.5) and differs(0.5, -(10**400)) and not differs(10**400, 10**400)


@given(st.text(), st.text())
def test_safe_names_are_one_step_of_a_path_everywhere_and_differ(a: str, b: str) -> None:
    made = safe_name(a)
    assert made == made.lower() and 1 <= len(made) <= 100
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-")
    assert made[0] not in ".-" and made[-1] != "." and made != ".."
    assert made.partition(".")[0] not in ("con", "nul", "aux", "prn", "com1", "lpt9")
    assert (a == b) == (made == safe_name(b))


@pytest.mark.parametrize(
    "path",
    ["../secret.npz", "/etc/passwd", "a/../../b.npz", "C:\\windows\\x.npz", "..\\x.npz", "link.npz", "links/x.npz"],
)
def test_paths_that_lead_elsewhere_are_faults(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.npz").write_bytes(b"secret")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "link.npz").symlink_to(tmp_path / "secret.npz")
    (folder / "links").symlink_to(tmp_path, target_is_directory=True)
    stated = Predictions.model_construct(path=path, format="npz", sha256="a" * 64, n=1)
    with pytest.raises(UserError, match=r"leads out of|goes through a link"):
        stated_path(folder / "result.json", stated)


def test_names_of_stored_predictions_come_from_their_content() -> None:
    def name(form: str) -> str:
        return entries.stored_name(Predictions(path="x", format=form, sha256="a" * 64, n=1))

    assert name("npz") == "predictions/" + "a" * 64 + ".npz"
    assert name("../../x") == "predictions/" + "a" * 64
