"""Result files: what is accepted, what is refused and how it is said, and that old files load for ever."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from nas360.errors import ResultError
from nas360.loaders import TASKS
from nas360.results import (
    PublishedRow,
    ResultFile,
    SeedRow,
    check_against_spec,
    collect_environment,
    collect_package,
    digest,
    json_schema,
    load_result,
    save_result,
)

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "results"
OLD_FILES = sorted(path.name for path in FIXTURES.glob("*.json"))
FULL: dict[str, Any] = json.loads((FIXTURES / "v1.0-full.json").read_text(encoding="utf-8"))
PAPER: dict[str, Any] = json.loads((FIXTURES / "v1.0-paper.json").read_text(encoding="utf-8"))


def _write(folder: Path, content: Any) -> Path:
    path = folder / "result.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _changed(change: Callable[[dict[str, Any]], object], base: dict[str, Any] = FULL) -> dict[str, Any]:
    content = copy.deepcopy(base)
    change(content)
    content["digest"] = None  # so that the change itself is judged
    return content


@pytest.mark.parametrize("name", OLD_FILES)
def test_every_old_file_loads_and_survives_a_round_trip(name: str, tmp_path: Path) -> None:
    result = load_result(FIXTURES / name)
    save_result(tmp_path / name, result)
    again = load_result(tmp_path / name)
    assert again.model_copy(update={"digest": None}) == result.model_copy(update={"digest": None})
    first = (tmp_path / name).read_bytes()
    save_result(tmp_path / name, again)
    assert (tmp_path / name).read_bytes() == first


def test_the_fixtures_cover_every_field() -> None:
    assert len(OLD_FILES) >= 4
    seen: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            seen.update(key for key, member in value.items() if member not in (None, "", [], {}))
            for member in value.values():
                walk(member)
        elif isinstance(value, list):
            for member in value:
                walk(member)

    for name in OLD_FILES:
        walk(json.loads((FIXTURES / name).read_text(encoding="utf-8")))
    schema = json_schema()
    fields = {key for part in [schema, *schema["$defs"].values()] for key in part.get("properties", {})}
    assert fields <= seen


def test_written_digests_are_those_of_the_content() -> None:
    stored = [json.loads((FIXTURES / name).read_text(encoding="utf-8")) for name in OLD_FILES]
    with_digest = [content for content in stored if content.get("digest")]
    assert with_digest
    for content in with_digest:
        assert content["digest"] == digest(content)


def test_an_edited_file_is_noticed(tmp_path: Path) -> None:
    content = copy.deepcopy(FULL)
    content["results"][0]["score"] = 0.9
    with pytest.raises(ResultError, match="changed after it was written"):
        load_result(_write(tmp_path, content))


def test_reordering_and_blanks_are_no_edit(tmp_path: Path) -> None:
    turned = dict(reversed(FULL.items()))
    path = tmp_path / "result.json"
    path.write_text(json.dumps(turned, indent=7, ensure_ascii=True), encoding="utf-8")
    assert load_result(path) == load_result(FIXTURES / "v1.0-full.json")


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "misspelt key": (lambda c: c["results"][0].update(scor=1), r"/results/0/scor: unknown key; did you mean 'score'\?"),
    "foreign key": (lambda c: c.update(leaderboard_place=1), r"/leaderboard_place: unknown key; remove it"),
    "missing key": (lambda c: c["results"][1].pop("seed"), r"/results/1/seed: missing, but required"),
    "text for a number": (
        lambda c: c["results"][0].update(score="0.5"),
        r"/results/0/score: .*valid number; it is '0.5'",
    ),
    "truth for a number": (
        lambda c: c["results"][0].update(seed=True),
        r"/results/0/seed: .*valid integer; it is True",
    ),
    "negative seed": (lambda c: c["results"][0].update(seed=-1), r"/results/0/seed: .*greater than or equal to 0"),
    "huge count": (
        lambda c: c["results"][0]["dataset"].update(n=10**300),
        r"/results/0/dataset/n: .*it is 1000.*\.\.\.",
    ),
    "number for a time": (lambda c: c.update(created=5), r"/created: must be a time as ISO 8601"),
    "time without a zone": (lambda c: c.update(created="2026-01-31T12:00:00"), r"/created: .*timezone"),
    "no rows": (lambda c: c.update(results=[]), r"/results: must not be empty"),
    "rows that are none": (lambda c: c.update(results=[1]), r"/results/0: must be an object"),
    "rows not in a list": (lambda c: c.update(results={}), r"/results: must be a list"),
    "percent for a fraction": (
        lambda c: c["results"][0].update(score=61.25),
        r"/results/0/score: score is 61.25, outside of the metric's range \[0, 1\]; percent, .*Then give 0.6125",
    ),
    "validation percent": (lambda c: c["results"][0].update(validation_score=60), r"validation_score is 60, outside"),
    "ok without score": (lambda c: c["results"][0].update(score=None), r"status is 'ok' and score is None"),
    "score of a failure": (
        lambda c: c["results"][0].update(status="oom", failure={"stage": "train", "message": ""}),
        r"status is 'oom' and score is 0.6125",
    ),
    "failure without a reason": (
        lambda c: c["results"][0].update(status="timeout", score=None),
        r"status is 'timeout'; `failure`",
    ),
    "ok without parameters": (lambda c: c["results"][0].update(architecture=None), r"architecture is null"),
    "unknown cost without a reason": (
        lambda c: c["results"][0]["cost"].update(train_seconds=None),
        r"/results/0/cost/train_seconds: .*null without a reason",
    ),
    "the same run twice": (
        lambda c: c["results"].append(c["results"][1]),
        r"results/1 and results/2 are the same run",
    ),
    "an average among runs": (lambda c: c["results"].append(PAPER["results"][0]), r"results/2 is a published average"),
    "a run among averages": (lambda c: c["submission"].update(status="paper"), r"results/0 is a seed row"),
    "both at once": (lambda c: c["results"][0].update(PAPER["results"][0]), r"/results/0/seed: does not belong here"),
    "no environment": (lambda c: c.pop("environment"), r"environment is missing"),
    "no rules": (lambda c: c.update(rules=None), r"rules are missing"),
    "chosen on test": (lambda c: c["rules"].update(test_used_for_selection=True), r"does not allow; .*track 'open'"),
    "chosen on nothing": (
        lambda c: c["results"][1].update(validation_score=None),
        r"results/1/validation_score is missing",
    ),
    "escape sequence": (
        lambda c: c["method"].update(display_name="\x1b[2J"),
        r"/method/display_name: must be one line",
    ),
    "turned writing": (lambda c: c["tags"].append("a\u202eb"), r"/tags/2: must be one line"),
    "name with a path": (lambda c: c["method"].update(name="../x"), r"/method/name: must be lower-case letters"),
    "script for an address": (
        lambda c: c["method"].update(code_url="javascript:alert(1)"),
        r"/method/code_url: must be an address",
    ),
    "short hash": (lambda c: c["results"][0]["dataset"].update(content_sha256="abc"), r"must be a SHA-256"),
    "branch for a commit": (lambda c: c["results"][0]["dataset"].update(revision="main"), r"must be a commit"),
    "half a surrogate pair": (
        lambda c: c["results"][0]["extra_metrics"].update(x="\ud800"),
        r"half of a surrogate pair",
    ),
    "deep genotype": (
        lambda c: c["results"][0]["architecture"].update(genotype=json.loads("[" * 80 + "]" * 80)),
        r"/results/0/architecture/genotype: is nested deeper than 64 levels",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, tmp_path: Path) -> None:
    change, message = REFUSED[case]
    with pytest.raises(ResultError, match=message):
        load_result(_write(tmp_path, _changed(change)))


def test_merged_validation_data_gives_no_validation_score(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["rules"]["val_merged_into_train"] = True
        content["results"][1]["validation_score"] = None

    assert load_result(_write(tmp_path, _changed(change))).rules is not None


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["results"][0]["score"] = "x"
        content["results"][1]["seed"] = None
        content["method"]["nmae"] = 1
        del content["run_id"]

    with pytest.raises(ResultError, match="not a valid result file") as caught:
        load_result(_write(tmp_path, _changed(change)))
    message = str(caught.value)
    for place in ("/results/0/score", "/results/1/seed", "/method/nmae", "/run_id"):
        assert place in message
    assert "must not be empty" not in message  # rows are there, if bad ones


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("{", "not JSON"),
        ("[]", "a result file is a JSON object, this is a list"),
        ("{}", "schema_version is None"),
        ('{"schema_version": "9.0"}', "schema_version is '9.0'; this nas360 reads '1.0'"),
        ('{"a": 1, "a": 2}', "stands twice"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ("[" * 100_000, "nested too deeply|not JSON"),
    ],
)
def test_what_is_no_result_file(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ResultError, match=message):
        load_result(path)


def test_a_number_that_overflows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    text = json.dumps(_changed(lambda content: None))
    path.write_text(text.replace('"score": 0.6125', '"score": 1e999'), encoding="utf-8")
    with pytest.raises(ResultError, match=r"1e999|/results/0/score: .*finite number"):
        load_result(path)


def test_a_large_file_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with path.open("wb") as stream:
        stream.truncate(1 << 30)  # sparse: reading it would take memory and time that the size check saves
    with pytest.raises(ResultError, match="1,024 MiB, more than the 1 MiB"):
        load_result(path)


def test_what_cannot_be_loaded_is_not_written(tmp_path: Path) -> None:
    result = load_result(FIXTURES / "v1.0-full.json")
    row = result.results[0].model_copy(update={"extra_metrics": {"x": "y" * (1 << 20)}})
    with pytest.raises(ResultError, match=r"would be 1\.0 MiB"):
        save_result(tmp_path / "result.json", result.model_copy(update={"results": (row,)}))
    assert not list(tmp_path.iterdir())


def test_a_secret_is_not_written_and_the_run_is_not_lost(tmp_path: Path) -> None:
    token = "hf_" + "a1B2c3D4" * 4  # of the form of a token, and none
    result = load_result(FIXTURES / "v1.0-full.json")
    method = result.method.model_copy(update={"command": f"HF_TOKEN={token} nas360 run wrn --task ecg"})
    save_result(tmp_path / "result.json", result.model_copy(update={"method": method}))
    assert token not in (tmp_path / "result.json").read_text(encoding="utf-8")
    command = load_result(tmp_path / "result.json").method.command
    assert command is not None
    assert command.endswith("[removed] nas360 run wrn --task ecg")


def test_a_standard_error_stands_beside_a_score() -> None:
    row = FULL["results"][0]
    stderr = {"value": 0.01, "method": "bootstrap over records"}
    assert SeedRow.model_validate({**row, "score_stderr": stderr}).score_stderr is not None
    failed = {**row, "status": "failed", "score": None, "failure": {"stage": "train", "message": "loss"}}
    for change, base, message in (
        ({"value": -0.01, "method": "x"}, row, "greater than or equal to 0"),
        ({"value": 0.01}, row, "Field required"),
        (0.01, row, "valid dictionary or instance"),
        (stderr, failed, "score_stderr stands beside a score alone"),
    ):
        with pytest.raises(ValidationError, match=message):
            SeedRow.model_validate({**base, "score_stderr": change})


def test_nan_is_refused_in_code_too() -> None:
    row = FULL["results"][0]
    with pytest.raises(ValidationError, match="finite number"):
        SeedRow.model_validate({**row, "score": float("nan")})
    with pytest.raises(ValidationError, match="finite number"):
        SeedRow.model_validate({**row, "extra_metrics": {"a": [float("inf")]}})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_content_is_a_result_error_or_a_result(data: st.DataObject, tmp_path: Path) -> None:
    """Any value anywhere: never another exception than ours, and messages that a terminal can print."""
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    )
    content = copy.deepcopy(data.draw(st.sampled_from([FULL, PAPER])))
    place: Any = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(anything)
        break
    content["digest"] = data.draw(st.sampled_from([None, content.get("digest")]))
    path = tmp_path / "result.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    try:
        load_result(path)
    except ResultError as error:
        assert len(str(error).encode()) < 10_000


def test_schema_names_and_closes_every_object() -> None:
    schema = json_schema()
    json.dumps(schema, allow_nan=False)
    assert schema["properties"]["schema_version"]["const"] == "1.0"
    for part in [schema, *(part for part in schema["$defs"].values() if part.get("type") == "object")]:
        assert part["additionalProperties"] is False


def _rows(name: str) -> list[SeedRow | PublishedRow]:
    return list(load_result(FIXTURES / name).results)


def test_good_rows_agree_with_the_registry() -> None:
    for name in OLD_FILES:
        for row in _rows(name):
            assert check_against_spec(row, TASKS[row.task].spec) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": {"id": "accuracy"}}, "metric/id is 'accuracy', the task's is 'macro_f1_by_record'"),
        ({"metric": {"lower_is_better": True}}, "metric/lower_is_better is True"),
        ({"metric": {"unit": "percent"}}, "metric/unit is 'percent', the task's is 'fraction'"),
        ({"metric": {"max": 100.0}, "score": 61.25}, "score is 61.25, outside of the task's [0, 1]; percent"),
        ({"metric": {"max": None}}, "metric/max is None, the task's is 1.0"),
        ({"dataset": {"version": 2}}, "dataset/version is 2, this nas360 has protocol 1"),
        ({"dataset": {"n": 852}, "n_missing": 2}, "dataset/n is 852, the official test split has 853 records"),
        ({"n_missing": 0}, "n_evaluated 850 + n_missing 0 is not dataset/n 853"),
    ],
)
def test_rows_that_contradict_the_registry(change: dict[str, Any], message: str) -> None:
    row = copy.deepcopy(FULL["results"][0])
    for key, value in change.items():
        row[key] = {**row[key], **value} if isinstance(value, dict) else value
    faults = check_against_spec(SeedRow.model_validate(row), TASKS["ecg"].spec)
    assert any(message in fault for fault in faults), faults


def test_where_only_the_references_size_is_known_another_one_is_no_contradiction() -> None:
    row = copy.deepcopy(FULL["results"][0])
    row["dataset"]["n"], row["n_missing"] = 852, 2
    spec = TASKS["ecg"].spec
    assert len(check_against_spec(SeedRow.model_validate(row), spec)) == 1
    assert not check_against_spec(SeedRow.model_validate(row), spec.model_copy(update={"splits_exact": False}))


def test_the_environment_is_collected_without_heavy_imports() -> None:
    code = (
        "import sys; from nas360.results import collect_environment; e = collect_environment(); "
        "print([m for m in ('torch', 'datasets', 'pandas') if m in sys.modules], e.torch is not None, e.devices)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True ()"


def test_the_environment_is_that_of_this_process() -> None:
    environment = collect_environment(device="cpu", deterministic=True, precision="bfloat16")
    assert environment.python == ".".join(map(str, sys.version_info[:3]))
    assert (environment.devices, environment.deterministic, environment.precision) == ((), True, "bfloat16")
    assert environment.ram_gb is None or environment.ram_gb > 0.1
    package = collect_package()
    assert package.git_commit is None or package.dirty is not None


def test_torch_tells_its_own_version_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "__version__", "2.15.0+cu132")
    assert collect_environment(device="cpu").torch == "2.15.0+cu132"


def test_a_built_result_takes_lists_and_is_immutable() -> None:
    result = load_result(FIXTURES / "v1.0-full.json")
    built = ResultFile.model_validate({**result.model_dump(by_alias=True), "results": list(result.results)})
    assert built == result
    with pytest.raises(ValidationError, match="frozen"):
        built.run_id = "other"
