"""The validator on submissions: good ones pass without a word, and every planted fault is found by its code."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from nas360.errors import ResultError
from nas360.fault_codes import CODES
from nas360.leaderboard.sources import load_files
from nas360.leaderboard.table import build_table
from nas360.leaderboard.validation.check import check_file, check_files
from nas360.leaderboard.validation.constant import constant_score
from nas360.loaders import TASKS
from nas360.results import digest, load_result
from nas360.task import TaskSpec

SPECS: Mapping[str, TaskSpec] = {name: task.spec for name, task in TASKS.items()}
TOKEN = "hf_" + "a1B2c3D4" * 4  # of the form of a token, and none
Content = dict[str, Any]


def _good(number: int) -> Content:
    """A submission of which nothing can be said: all tasks, official data, everything filled in."""
    rng = random.Random(number)
    rows: list[Content] = []
    for spec in SPECS.values():
        for seed in range(rng.randint(1, 2)):
            low = 0.55 if spec.direction == "higher" else 2.0 if spec.unit in ("percent", "angstrom") else 0.01
            high = {"percent": 60.0, "angstrom": 3.9}.get(spec.unit, 0.9)
            n = spec.splits["test"]
            seconds = round(rng.uniform(100, 90_000), 1)
            rows.append(
                {
                    "task": spec.id,
                    "metric": {
                        "id": spec.metric,
                        "lower_is_better": spec.direction == "lower",
                        "unit": spec.unit,
                        "min": spec.bounds[0],
                        "max": spec.bounds[1],
                    },
                    "budget": "full",
                    "dataset": {
                        "repo": spec.repo,
                        "revision": "ab" * 20,
                        "version": spec.protocol,
                        "content_sha256": "cd" * 32,
                        "n": n,
                        "provenance": "official",
                    },
                    "seed": seed,
                    "score": round(rng.uniform(low, high), rng.randint(3, 9)),
                    "validation_score": round(rng.uniform(low, high), 4),
                    "n_evaluated": n,
                    "n_missing": 0,
                    "predictions": {
                        "path": f"predictions/{spec.id}.npz",
                        "format": "npz",
                        "sha256": f"{number:060x}{len(rows):04x}",
                        "n": n,
                    },
                    "architecture": {"space": "cells", "params": rng.randint(10, 10**8), "genotype": {"ops": [1, "x"]}},
                    "cost": {
                        "search_seconds": seconds,
                        "train_seconds": seconds,
                        "gpu_hours": round(2 * seconds / 3600, 4),
                        "epochs": 200.0,
                    },
                }
            )
    content: Content = {
        "schema_version": "1.0",
        "run_id": f"run-{number}",
        "created": "2026-01-31T12:00:00Z",
        "submission": {
            "submitter": rng.choice(["Ada Lovelace", "Ångström lab", "研究室", "Лаборатория"]),
            "contact": "ada@example.org",
            "relationship": "author",
            "track": "standard",
            "status": "self_reported",
        },
        "method": {
            "name": f"method_{number}",
            "display_name": rng.choice(
                [f"β-DARTS {number}", f"Method [{number}]", f"Naïve № {number}", f"DARTS+ {number}"]
            ),
            "version": "1",
            "search_space": "cells",
            "search_algorithm": "random search",
            "pretrained": False,
            "external_data": False,
            "reference_url": "https://example.org/paper",
            "code_url": "https://example.org/code@v1",
            "code_commit": "12" * 20,
            "command": "nas360 run m --api_key=$KEY --password <yours> --task ecg",
        },
        "nas360": {"version": "0.1.0"},
        "results": rows,
        "environment": {
            "python": "3.11.0",
            "os": "Linux",
            "cpu": "a cpu",
            "ram_gb": 64.0,
            "devices": [{"name": "a gpu", "count": 1}],
            "torch": "2.9",
            "datasets": "4.8",
            "huggingface_hub": "1.30",
            "numpy": "2.0",
            "deterministic": True,
            "precision": "float32",
        },
        "rules": {"test_used_for_selection": False, "val_merged_into_train": False, "seeds_tuned": False},
        "notes": "the password of success; skip-connections, task-specific; see a@b.c",
    }
    content["digest"] = digest(content)
    return content


Change = Callable[[Content, Content], object]  # (file, one of its rows)


def _uncertain_failure(row: Content) -> None:
    row.update(status="oom", score=None, failure={"stage": "train", "message": "no memory"}, validation_score=None)
    row.update(score_stderr={"value": 0.1, "method": "bootstrap"})


# code, pointer (`*` is the row's), what is done; every change is to a row of its own or to a part that no other touches
PLANTED: dict[str, tuple[str, str, Change]] = {
    "row key missing": ("E020", "*/seed", lambda c, r: r.pop("seed")),
    "row key misspelt": ("E021", "*/scor", lambda c, r: r.update(scor=1)),
    "file key unknown": ("E021", "/rank", lambda c, r: c.update(rank=1)),
    "text for a number": ("E022", "*/n_missing", lambda c, r: r.update(n_missing="0")),
    "negative seed": ("E023", "*/seed", lambda c, r: r.update(seed=-1)),
    "unknown budget": ("E024", "*/budget", lambda c, r: r.update(budget="huge")),
    "branch for a commit": ("E025", "*/dataset/revision", lambda c, r: r["dataset"].update(revision="main")),
    "address": ("E025", "/method/reference_url", lambda c, r: c["method"].update(reference_url="javascript:alert(1)")),
    "escape sequence": ("E025", "/method/search_space", lambda c, r: c["method"].update(search_space="\x1b[2J")),
    "no submitter": ("E026", "/submission/submitter", lambda c, r: c["submission"].update(submitter="")),
    "no zone": ("E027", "/created", lambda c, r: c.update(created="2026-01-31T12:00:00")),
    "half a pair": ("E028", "*/extra_metrics/x", lambda c, r: r.update(extra_metrics={"x": "\ud800"})),
    "deep genotype": (
        "E010",
        "*/architecture/genotype",
        lambda c, r: r["architecture"].update(genotype=json.loads("[" * 70 + "]" * 70)),
    ),
    "ok without score": ("E030", "*/score", lambda c, r: r.update(score=None)),
    "failure beside a score": ("E031", "*/failure", lambda c, r: r.update(failure={"stage": "x", "message": "y"})),
    "no architecture": ("E032", "*/architecture", lambda c, r: r.update(architecture=None)),
    "percent for a fraction": ("E033", "*/score", lambda c, r: r.update(score=1e6 + 1 if r["metric"]["max"] else -1)),
    "validation out of range": ("E033", "*/validation_score", lambda c, r: r.update(validation_score=-0.5)),
    "error of no score": (
        "E034",
        "*/score_stderr",
        lambda c, r: _uncertain_failure(r),
    ),
    "unknown cost": ("E035", "*/cost/search_seconds", lambda c, r: r["cost"].update(search_seconds=None)),
    "no environment": ("E038", "/environment", lambda c, r: c.pop("environment")),
    "no rules": ("E039", "/rules", lambda c, r: c.pop("rules")),
    "chosen on test": (
        "E040",
        "/rules/test_used_for_selection",
        lambda c, r: c.setdefault("rules", {}).update(test_used_for_selection=True),
    ),
    "no validation score": ("E041", "*/validation_score", lambda c, r: r.update(validation_score=None)),
    "a token in the command": ("E043", "/method/command", lambda c, r: c["method"].update(command=f"run --t {TOKEN}")),
    "a password in an address": (
        "E043",
        "/method/code_url",
        lambda c, r: c["method"].update(code_url="https://ada:hunter2@example.org/x"),
    ),
    "predictions elsewhere": (
        "E044",
        "*/predictions/path",
        lambda c, r: r["predictions"].update(path="../../etc/passwd"),
    ),
    "unknown task": ("E050", "*/task", lambda c, r: r.update(task="no_such_task")),
    "another metric": ("E051", "*/metric/id", lambda c, r: r["metric"].update(id="accuracy")),
    "another unit": ("E052", "*/metric/unit", lambda c, r: r["metric"].update(unit="furlong")),
    "another direction": (
        "E053",
        "*/metric/lower_is_better",
        lambda c, r: r["metric"].update(lower_is_better=not r["metric"]["lower_is_better"]),
    ),
    "other bounds": ("E054", "*/metric/max", lambda c, r: r["metric"].update(max=1e7)),
    "another protocol": ("E055", "*/dataset/version", lambda c, r: r["dataset"].update(version=7)),
    "counts": ("E057", "*/n_evaluated", lambda c, r: r.update(n_evaluated=r["n_evaluated"] - 1)),
    "synthetic": ("W001", "*/dataset/provenance", lambda c, r: r["dataset"].update(provenance="synthetic")),
    "smoke": ("W002", "*/budget", lambda c, r: r.update(budget="smoke")),
    "validation split": (
        "W003",
        "*/config",
        lambda c, r: r.update(config="full"),
    ),
    "no time": ("W008", "*/cost/train_seconds", lambda c, r: r["cost"].update(train_seconds=0)),
    "hours": ("W009", "*/cost/gpu_hours", lambda c, r: r["cost"].update(gpu_hours=5e6)),
    "future": ("W010", "/created", lambda c, r: c.update(created="2226-01-31T12:00:00Z")),
    "device name": ("W011", "/run_id", lambda c, r: c.update(run_id="aux." + c["run_id"])),
    "look-alike": ("W012", "/method/display_name", lambda c, r: c["method"].update(display_name="G\u0410EA")),
    "dirty": ("W014", "/nas360/dirty", lambda c, r: c["nas360"].update(dirty=True)),
    "not pinned": ("W017", "*/dataset/revision", lambda c, r: r["dataset"].update(revision=None)),
    "nothing to learn": ("W018", "*/architecture/params", lambda c, r: r["architecture"].update(params=0)),
    "missing units": (
        "W019",
        "*/n_missing",
        lambda c, r: r.update(n_missing=1, n_evaluated=r["n_evaluated"] - 1),
    ),
}
# what may follow from a planted fault, besides its own code
FOLLOWS = {"E052": {"E033"}, "E050": {"W004"}, "E020": {"W004"}, "W001": {"W004"}, "W002": {"W004"}}
FOLLOWS |= {"W008": {"W009"}, "W003": {"W004"}, "E023": {"W004"}, "E024": {"W004"}}


def _write(path: Path, content: Content) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _plant(content: Content, names: list[str], rng: random.Random) -> list[tuple[str, str]]:
    rows = rng.sample(range(len(content["results"])), len(names))
    expected = []
    for name, index in zip(names, rows, strict=True):
        code, pointer, change = PLANTED[name]
        change(content, content["results"][index])
        expected.append((f"NAS360-{code}", pointer.replace("*", f"/results/{index}")))
    content["digest"] = digest(content)
    return expected


def test_every_planted_fault_is_found_and_good_submissions_raise_no_alarm(tmp_path: Path) -> None:
    rng = random.Random(0)
    paths, expected = [], {}
    names = list(PLANTED)
    for number in range(200):
        content = _good(number)
        path = tmp_path / f"{number}.json"
        if number % 2:
            # each at least once, the others by chance; two that touch the same part of a file are not combined
            chosen = [names[number // 2 % len(names)]]
            for other in rng.sample(names, rng.randint(0, 2)):
                part = [PLANTED[name][1] for name in chosen]
                if PLANTED[other][1] not in part and not (
                    "rules" in other + chosen[0] or "chosen" in other + chosen[0] or "validation" in other + chosen[0]
                ):
                    chosen.append(other)
            expected[str(path)] = _plant(content, chosen, rng)
        paths.append(_write(path, content))
    found: dict[str, list[tuple[str, str]]] = {str(path): [] for path in paths}
    for fault in check_files(paths, SPECS):
        found[fault.file].append((fault.code, fault.pointer))
    for path in paths:
        planted = expected.get(str(path), [])
        told = found[str(path)]
        assert set(planted) <= set(told), (path.name, planted, told)
        allowed = {code for code, _ in planted}
        allowed |= {f"NAS360-{code}" for known in planted for code in FOLLOWS.get(known[0][-4:], set())}
        assert {code for code, _ in told} <= allowed, (path.name, planted, told)
    assert {code for known in expected.values() for code, _ in known} == {
        f"NAS360-{code}" for code, _, _ in PLANTED.values()
    }


@pytest.mark.parametrize("name", PLANTED)
def test_errors_are_what_the_leaderboard_refuses_and_warnings_are_not(name: str, tmp_path: Path) -> None:
    content = _good(1)
    ((code, _),) = _plant(content, [name], random.Random(1))
    path = _write(tmp_path / "a.json", content)
    if "-E" in code:
        with pytest.raises(ResultError, match=r"a\.json"):
            build_table(load_files([path]), SPECS)
    else:
        build_table(load_files([path]), SPECS)


def test_one_row_may_have_faults_of_every_kind_at_once(tmp_path: Path) -> None:
    content = _good(2)
    row = content["results"][0]
    row |= {"scor": 1, "score": 1e9, "seed": "0", "validation_score": -1, "n_missing": 5}
    row["metric"]["unit"] = "fraction"
    row["cost"] |= {"search_seconds": None, "gpu_hours": -1}
    content["run_id"] = "a/b"
    faults = {(fault.code[-4:], fault.pointer) for fault in check_file(_write(tmp_path / "a.json", content), SPECS)}
    assert faults >= {
        ("E021", "/results/0/scor"),
        ("E033", "/results/0/score"),
        ("E022", "/results/0/seed"),
        ("E033", "/results/0/validation_score"),
        ("E057", "/results/0/n_evaluated"),
        ("E052", "/results/0/metric/unit"),
        ("E035", "/results/0/cost/search_seconds"),
        ("E023", "/results/0/cost/gpu_hours"),
        ("E025", "/run_id"),
        ("E042", "/digest"),
    }


def test_a_secret_is_told_and_never_shown(tmp_path: Path) -> None:
    secrets = [TOKEN, "ghp_" + "x" * 36, "https://ada:hunter2@example.org/x", "AKIA" + "ABCD1234" * 2]
    secrets += ["password=correcthorse", "--token abcdefgh1234", "https://" + "t" * 30 + "@example.org"]
    for secret in secrets:
        for place in ("command", "display_name", "code_url", "nonsense"):
            content = _good(3)
            content["method"][place] = f"{secret}"
            content["results"][0]["architecture"]["genotype"] = {secret: [secret]}
            content["results"][1][secret] = 1
            path = _write(tmp_path / "a.json", content)
            faults = check_file(path, SPECS)
            told = [fault.pointer for fault in faults if fault.code == "NAS360-E043"]
            assert {f"/method/{place}", "/results/0/architecture/genotype", "/results/1"} <= set(told), secret
            assert not any(secret in str(fault.public()) for fault in faults)
            with pytest.raises(ResultError, match="not a valid result file") as caught:
                load_result(path)
            assert secret not in str(caught.value)


def test_an_escaped_secret_is_found(tmp_path: Path) -> None:
    content = _good(3)
    content["method"]["command"] = TOKEN
    text = json.dumps(content).replace("hf_", "\\u0068f_")
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    assert "NAS360-E043" in {fault.code for fault in check_file(tmp_path / "a.json", SPECS)}
    with pytest.raises(ResultError, match="token"):
        load_result(tmp_path / "a.json")


def test_the_same_run_in_two_files(tmp_path: Path) -> None:
    one, two = _good(4), _good(4)
    two["run_id"] = "Run-4"
    two["method"]["code_commit"] = "34" * 20
    two["results"] = two["results"][:1]
    two["results"][0]["dataset"]["content_sha256"] = "99" * 32
    two["digest"] = digest(two)
    paths = [_write(tmp_path / "a.json", one), _write(tmp_path / "A.json", two)]
    found = {(fault.code[-4:], fault.pointer) for fault in check_files(paths, SPECS) if fault.file == str(paths[1])}
    assert found == {
        ("E060", "/results/0"),
        ("W013", ""),
        ("W013", "/run_id"),
        ("W014", "/method/code_commit"),
        ("W015", "/results/0/dataset/content_sha256"),
    }
    with pytest.raises(ResultError, match="same run"):
        build_table(load_files(paths), SPECS)
    assert check_files([paths[0], paths[0], paths[0]], SPECS) == []


def test_a_name_that_looks_like_anothers(tmp_path: Path) -> None:
    one, two = _good(5), _good(6)
    one["method"]["display_name"], two["method"]["display_name"] = "PACE", "\u0420\u0410\u0421\u0415"  # all Cyrillic
    for content in (one, two):
        content["digest"] = digest(content)
    paths = [_write(tmp_path / f"{index}.json", content) for index, content in enumerate((one, two))]
    ((code, pointer),) = [(fault.code, fault.pointer) for fault in check_files(paths, SPECS)]
    assert (code, pointer) == ("NAS360-W012", "/method/display_name")


@pytest.mark.parametrize("name", ["\u00a0", "\u200b\u00ad", "\u3164", "\u2800 "])
def test_a_name_that_shows_nothing(name: str, tmp_path: Path) -> None:
    content = _good(5)
    content["method"]["display_name"] = name
    content["digest"] = digest(content)
    (fault,) = check_file(_write(tmp_path / "a.json", content), SPECS)
    assert (fault.code, fault.pointer) == ("NAS360-W012", "/method/display_name")
    assert "shows nothing" in fault.rule


def test_the_same_predictions_twice(tmp_path: Path) -> None:
    one, two, three = _good(7), _good(7), _good(8)
    one["results"] = [one["results"][0]]
    row = copy.deepcopy(one["results"][0])
    again = copy.deepcopy(row)
    again["replicate"] = 1  # the same seed once more gives the same, as it should
    row["seed"] = 5
    one["results"] += [again, row]
    two["run_id"], two["results"] = "run-7b", [{**copy.deepcopy(row), "seed": 6}]
    three["results"] = [copy.deepcopy(again)]
    paths = []
    for name, content in (("a", one), ("b", two), ("c", three)):
        content["digest"] = digest(content)
        paths.append(_write(tmp_path / f"{name}.json", content))
    found = [(fault.file, fault.pointer) for fault in check_files(paths, SPECS) if fault.code == "NAS360-W024"]
    assert found == [
        (str(paths[0]), "/results/2/predictions/sha256"),
        (str(paths[1]), "/results/0/predictions/sha256"),
        (str(paths[2]), "/results/0/predictions/sha256"),
    ]
    # a few steps, or a few units, easily end in one class for all
    for name, content in (("a", one), ("b", two), ("c", three)):
        for row in content["results"]:
            row["budget"] = "smoke"
        _write(tmp_path / f"{name}.json", content)
    assert "NAS360-W024" not in {fault.code for fault in check_files(paths, SPECS)}


def test_tasks_may_stand_in_several_files(tmp_path: Path) -> None:
    content = _good(7)
    paths = []
    for index, row in enumerate(content["results"]):
        part = {**copy.deepcopy(content), "results": [row], "run_id": f"run-{index}"}
        part["digest"] = digest(part)
        paths.append(_write(tmp_path / f"{index}.json", part))
    assert check_files(paths, SPECS) == []
    last = content["results"][-1]["task"]
    fewer = [path for path, row in zip(paths, content["results"], strict=True) if row["task"] != last]
    (fault,) = check_files(fewer, SPECS)
    assert fault.code == "NAS360-W004"
    assert last in fault.rule


def test_constants_are_those_of_constant_predictors() -> None:
    """Against the metrics themselves: no labels make the best constant worse than what the spec promises."""
    import numpy as np

    from nas360.metrics import METRICS

    rng = np.random.default_rng(0)
    told = {}
    for spec in SPECS.values():
        constant = constant_score(spec)
        told[spec.metric] = constant is not None
        if constant is None or spec.output.kind != "point":
            continue
        n = spec.output.channels
        for _ in range(5):
            y = rng.choice(n, size=400, p=rng.dirichlet(np.ones(n) * rng.uniform(0.2, 50)))
            columns = {"groups": np.arange(400)} if "record" in spec.metric else {}
            best = min(spec.error(METRICS[spec.metric](np.full(400, c), y, n, **columns)["score"]) for c in range(n))
            assert best <= spec.error(constant.score) + 1e-12
    assert told == {
        "zero_one_error": True,
        "macro_map": False,
        "relative_l2": True,
        "mae8": True,
        "cosmic_fnr": False,
        "macro_f1_by_record": True,
        "macro_auroc": True,
    }


@pytest.mark.parametrize(("task", "score", "worse"), [("cifar100", 99.0, False), ("cifar100", 99.01, True)])
def test_worse_than_a_constant(task: str, score: float, worse: bool, tmp_path: Path) -> None:
    content = _good(8)
    row = next(row for row in content["results"] if row["task"] == task)
    row["score"] = score
    content["digest"] = digest(content)
    codes = [fault.code for fault in check_file(_write(tmp_path / "a.json", content), SPECS)]
    assert codes == (["NAS360-W005"] if worse else [])


def test_every_code_that_is_used_is_in_the_table_and_the_reverse(repository: Path) -> None:
    import re

    used = set()
    for path in [*(repository / "nas360").glob("*.py"), *(repository / "leaderboard" / "validation").glob("*.py")]:
        if path.name != "fault_codes.py":
            used |= {f"NAS360-{code}" for code in re.findall(r'"([EW]\d{3})"', path.read_text(encoding="utf-8"))}
    assert used == set(CODES)
    for meaning in CODES.values():
        assert all(text and text[-1] == "." for text in (meaning.why, meaning.fix))


def test_the_published_panels_have_no_errors(repository: Path) -> None:
    from nas360.leaderboard.validation.places import check_places

    report = check_places([repository / "leaderboard" / "results" / name for name in ("paper", "published")], SPECS)
    assert report.n_errors == 0
    assert len(report.files) >= 14
