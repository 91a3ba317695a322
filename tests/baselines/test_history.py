"""Folders of runs are read as they are at any moment, and what strangers put into them is refused with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas360.baselines.history import read_history
from nas360.baselines.reports import best_candidate, mean_entropy
from nas360.baselines.runlog import RunLog
from nas360.errors import ResultError, RunError

IDENTITY = {"method": "gaea", "task": "ecg", "seed": 3, "budget": "small"}
SEARCH = {**IDENTITY, "search": {"steps": 40}}


def report(step: int, **more: Any) -> dict[str, Any]:
    """A report of a search over one edge with two operations."""
    weights = [[0.5 + step / 100, 0.5 - step / 100]]
    return {
        "step": step,
        "epoch": step / 10,
        "loss": 1 / step,
        "lr": 0.1,
        "validation_error": 0.5,
        "entropy": {"alpha": 1.0, "beta": 0.5},
        "architecture": {"step": step},
        "mixture": {"alpha": weights},
        "seconds": float(step),
        **more,
    }


def write(folder: Path, name: str, identity: Any, *entries: Any) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in ({"identity": identity}, *entries)))


def architecture(folder: Path) -> None:
    (folder / "architecture.json").write_text(json.dumps({"space": "a", "architecture": {"step": 7}, "search": None}))


def test_a_run_passes_through_its_states(tmp_path: Path, repository: Path) -> None:
    def state() -> tuple[str, int, int | None, Any]:
        history = read_history(tmp_path)
        assert history.identity["seed"] == 3
        current = history.current
        assert current is not None
        json.dumps(history.public(), allow_nan=False)
        return history.state, current.step, current.steps, history.found

    write(tmp_path, "log.jsonl", SEARCH)
    assert state() == ("begun", 0, None, None)
    write(tmp_path, "search.jsonl", SEARCH)
    assert state() == ("searching", 0, 40, None)
    write(tmp_path, "search.jsonl", SEARCH, report(10), report(20))
    assert state() == ("searching", 20, 40, {"step": 20})
    architecture(tmp_path)
    assert state() == ("training", 0, None, {"step": 7})
    RunLog(tmp_path / "log.jsonl").append({"step": 5, "epoch": 1.0, "loss": 0.3, "validation": None})
    assert state() == ("training", 5, None, {"step": 7})
    for fixture, told in (("v1.0-full.json", "finished"), ("v1.0-failed.json", "failed")):
        (tmp_path / "result.json").write_text((repository / "tests/fixtures/results" / fixture).read_text())
        assert state()[0] == told
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(ResultError, match=r"result\.json"):
        read_history(tmp_path)


def test_a_run_without_a_search(tmp_path: Path) -> None:
    write(tmp_path, "log.jsonl", {**IDENTITY, "steps": 8}, {"step": 4, "validation": 93.5})
    history = read_history(tmp_path)
    assert (history.state, history.search, history.found) == ("training", None, None)
    assert history.training is not None and history.training.steps == 8
    assert history.training.entries[0].validation == 93.5


def test_reports_come_back_as_written(tmp_path: Path) -> None:
    more = {"expected_macs": 12.5, "note": "said", "flag": True}
    write(tmp_path, "search.jsonl", SEARCH, report(10, **more), report(20, entropy=0.25, validation_error=None))
    search = read_history(tmp_path).search
    assert search is not None
    first, second = search.entries
    assert (first.step, first.epoch, first.validation, first.seconds) == (10, 1.0, 0.5, 10.0)
    assert first.measures == {"expected_macs": 12.5}
    assert (mean_entropy(first), mean_entropy(second)) == (0.75, 0.25)
    assert second.validation is None
    np.testing.assert_allclose(first.mixture["alpha"], [[0.6, 0.4]])


def test_the_best_candidate_is_the_first_of_the_best(tmp_path: Path) -> None:
    errors = [0.5, None, 0.2, 0.2]
    entries = [
        {"step": 4 * n + 4, "candidate": n, "validation_error": error, "architecture": {"n": n}}
        for n, error in enumerate(errors)
    ]
    write(tmp_path, "search.jsonl", SEARCH, *entries)
    history = read_history(tmp_path)
    assert history.search is not None
    best = best_candidate(history.search)
    assert best is not None and best.candidate == 2
    assert history.found == {"n": 2}
    write(tmp_path, "search.jsonl", SEARCH, *entries[1:2])
    history = read_history(tmp_path)
    assert history.search is not None and best_candidate(history.search) is None


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_a_line_cut_short_is_passed_over_and_written_over(tmp_path: Path, cut: int) -> None:
    write(tmp_path, "search.jsonl", SEARCH, report(10), report(20))
    path = tmp_path / "search.jsonl"
    path.write_text(path.read_text()[:-cut])
    found = read_history(tmp_path).search
    assert found is not None and [entry.step for entry in found.entries] == [10]
    # another kill may have left it so, and the search goes on
    RunLog(path).append(report(30))
    found = read_history(tmp_path).search
    assert found is not None and [entry.step for entry in found.entries] == [10, 30]
    assert [entry["step"] for entry in RunLog(path).entries()] == [10, 30]


def test_folders_that_hold_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no such folder"):
        read_history(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"neither log\.jsonl nor search\.jsonl\. Name the folder"):
        read_history(tmp_path)
    for seed in range(5):
        write(tmp_path / f"seed{seed}", "log.jsonl", IDENTITY)
    with pytest.raises(RunError, match="one of the runs in it: seed0, seed1, seed2 and 2 more"):
        read_history(tmp_path)
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(RunError, match="not a regular file"):
        read_history(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "line 2: empty"),
        ("[]", "line 2: not a report, which is an object"),
        ("{", "line 2: not JSON"),
        ('{"epoch": 1}', "line 2: not a report of this version of nas360, for it has no step"),
        ('{"step": -1}', "line 2: step is -1, not a whole number"),
        ('{"step": true}', "line 2: step is True, not a whole number"),
        ('{"step": 1e3}', r"line 2: step is 1000\.0, not a whole number"),
        ('{"step": 1, "candidate": "two"}', "line 2: candidate is 'two', not a whole number"),
        ('{"step": 1, "loss": NaN}', "line 2: holds NaN"),
        ('{"step": 1, "loss": 1e999}', "line 2: holds 1e999"),
        (f'{{"step": 1, "loss": 1{"0" * 400}}}', "line 2: loss is an enormous number, not a number"),
        ('{"step": 1, "loss": "low"}', "line 2: loss is 'low', not a number"),
        ('{"step": 1, "step": 2}', "line 2: key 'step' stands twice"),
        ('{"step": 1, "entropy": [1]}', r"line 2: entropy is \[1\], not an object"),
        ('{"step": 1, "entropy": {"a": []}}', r"line 2: entropy 'a' is \[\], not a number"),
        ('{"step": 1, "architecture": "x"}', "line 2: architecture is 'x', not an object"),
        ('{"step": 1, "mixture": {"a": 1}}', "line 2: the mixture 'a' is no array of weights"),
        ('{"step": 1, "mixture": {"a": []}}', "line 2: the mixture 'a' is no array of weights"),
        ('{"step": 1, "mixture": {"a": [[0.5], [0.5, 0.5]]}}', "line 2: the mixture 'a' is no array of at most 4"),
        ('{"step": 1, "mixture": {"a": [[0.5], 0.5]}}', "line 2: the mixture 'a' is no array of at most 4"),
        ('{"step": 1, "mixture": {"a": [[[[[0.5]]]]]}}', "line 2: the mixture 'a' is no array of at most 4"),
        ('{"step": 1, "mixture": {"a": [1.5]}}', "line 2: the mixture 'a' is no array of weights between 0 and 1"),
        ('{"step": 1, "mixture": {"a": ["0.5"]}}', "line 2: a weight of 'a' is '0.5', not a number"),
        (f'{{"step": 1, "x": {"[" * 30}{"]" * 30}}}', "line 2: nested more than 24 deep"),
        (f'{{"step": 1, "x": {"[" * 200_000}{"]" * 200_000}}}', "line 2: nested too deeply"),
        ('{"step": 2}\n{"step": 2}', "line 3: step 2 comes after step 2; they must rise"),
    ],
)
def test_foreign_reports_are_refused_with_their_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "search.jsonl").write_text(f'{{"identity": {{}}}}\n{line}\n')
    with pytest.raises(RunError, match=message):
        read_history(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"identity": {}}', "no whole line"),
        ("\n", "line 1: empty"),
        ("[]\n", "not the log of a run"),
        ('{"identity": 3}\n', "not the log of a run"),
        ('{"identity": {}, "x": NaN}\n', "line 1: holds NaN"),
    ],
)
def test_foreign_logs_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "log.jsonl").write_text(text)
    with pytest.raises(RunError, match=message):
        read_history(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", '{"architecture": []}', '{"architecture": NaN}', "["])
def test_foreign_architectures_are_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path, "log.jsonl", IDENTITY)
    (tmp_path / "architecture.json").write_text(text)
    with pytest.raises(RunError, match=r"architecture\.json"):
        read_history(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["alpha", "b"]), inner, max_size=2),
    max_leaves=8,
)
NAMES = ["step", "epoch", "loss", "validation_error", "candidate", "entropy", "mixture", "architecture", "other"]


@given(st.lists(st.dictionaries(st.sampled_from(NAMES), JSON), max_size=3))
def test_whatever_stands_in_a_log_is_told_or_refused(
    tmp_path_factory: pytest.TempPathFactory, entries: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    write(folder, "search.jsonl", SEARCH, *entries)
    try:
        history = read_history(folder)
    except RunError as refused:
        assert "search.jsonl, line" in str(refused)
    else:
        assert json.loads(json.dumps(history.public(), allow_nan=False))["search"]["steps"] == 40
