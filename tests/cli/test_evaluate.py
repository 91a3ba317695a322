"""`nas360 evaluate`, `format` and `dummy` as a user calls them."""

from __future__ import annotations

import io
import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas360.cli import main
from nas360.cli.format import describe
from nas360.evaluate import References, evaluate
from nas360.loaders import TASKS
from nas360.predictions import FORMATS, read_predictions

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic ECG dataset."""
    from nas360.loaders.prepare import prepare

    raw, out = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("repo") / "ecg"
    TASKS["ecg"].write_synthetic(raw, 0)
    prepare(TASKS["ecg"], raw, out)
    return out


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run the command line in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run


def test_dummy_then_evaluate(call: Call, repo: Path, tmp_path: Path) -> None:
    code, out, _ = call("dummy", "ecg", "--data", repo)
    assert (code, out.strip()) == (0, "ecg-dummy.npz")
    code, out, err = call("evaluate", "ecg-dummy.npz", "--task", "ecg", "--data", repo, "--json")
    assert code == 0
    result = json.loads(out)
    assert set(result) >= {"task", "split", "n", "metric", "score", "error", "extra", "provenance"}
    assert (result["task"], result["split"], result["metric"]) == ("ecg", "test", "macro_f1_by_record")
    assert result["error"] == 1 - result["score"]
    assert result["provenance"] == "synthetic"
    assert "does not compare with published ones" in err
    code, out, err = call("evaluate", "ecg-dummy.npz", "--task", "ecg", "--data", repo)
    assert code == 0
    assert "macro F1 by record" in out
    assert f"{result['score']:.4f}" in out
    assert "official: 853" in out
    assert [path.name for path in tmp_path.iterdir()] == ["ecg-dummy.npz"]


def test_the_command_that_dummy_shows_scores_its_file(call: Call, repo: Path) -> None:
    code, _, told = call("dummy", "ecg", "--data", repo, "--split", "train", "--out", "my predictions.json")
    assert code == 0
    program, *arguments = shlex.split(told.partition("Score them: ")[2])
    assert program == "nas360"
    code, shown, _ = call(*arguments, "--json")
    assert (code, json.loads(shown)["split"]) == (0, "train")


def test_dummy_of_another_split_as_json(call: Call, repo: Path) -> None:
    code, out, _ = call("dummy", "ecg", "--data", repo, "--split", "validation", "--out", "p.json", "--json")
    assert code == 0
    written = json.loads(out)
    assert (written["split"], written["file"]) == ("validation", "p.json")
    assert len(read_predictions("p.json")) == written["n"]
    assert call("evaluate", "p.json", "--task", "ecg", "--data", repo, "--split", "validation")[0] == 0


def test_a_bad_file_is_one_message_with_all_faults(call: Call, repo: Path, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"predictions": {"else": 7, "[red]other[/red]": 1.5}}')
    code, out, err = call("evaluate", "p.json", "--task", "ecg", "--data", repo)
    assert (code, out) == (2, "")
    for part in ("4 faults", "ids missing", "'else', '[red]other[/red]'", "not whole numbers", "outside 0 to 3"):
        assert part in err
    assert "nas360 format ecg" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "p.npz", "--task", "egc"), "Did you mean 'ecg'"),
        (("evaluate", "absent.npz", "--task", "ecg"), "absent.npz: there is no such file"),
        (("evaluate", ".", "--task", "ecg"), ".: is not a file"),
        (("evaluate", os.devnull, "--task", "ecg"), f"{os.devnull}: is not a file"),
        (("evaluate", "empty.json", "--task", "ecg", "--split", "val"), "unknown split 'val'"),
        (("dummy", "ecg", "--split", "val"), "unknown split 'val'"),
        (("dummy", "ecg", "--out", "p.csv"), "written as .npz or .json"),
        (("format", "egc"), "Did you mean 'ecg'"),
    ],
)
def test_what_is_given_wrong_is_told(call: Call, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "empty.json").touch()
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_an_empty_file_is_told(call: Call, repo: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.json").touch()
    code, _, err = call("evaluate", "empty.json", "--task", "ecg", "--data", repo)
    assert code == 2
    assert "empty.json: is empty (0 bytes)" in err


@pytest.mark.parametrize("task", list(TASKS))
def test_format_shows_an_example_of_every_format(call: Call, task: str) -> None:
    code, out, _ = call("format", task, "--json")
    assert code == 0
    content = json.loads(out)
    assert content == describe(TASKS[task].spec)
    assert content["task"] == task
    assert {".json", ".npz", ".parquet", ".h5"} <= set(content["formats"]) <= set(FORMATS)
    code, out, _ = call("format", task)
    assert code == 0
    for example in content["formats"].values():
        assert all(line in out for line in example["example"].splitlines())


@pytest.mark.parametrize("task", ["ecg", "fsd50k", "darcy_flow", "psicov", "cosmic"])
def test_the_code_that_format_shows_writes_files_that_evaluate(task: str, call: Call, tmp_path: Path) -> None:
    import h5py
    import numpy
    import pyarrow.parquet

    spec, rng = TASKS[task].spec, np.random.default_rng(0)
    shape = tuple(40 if size < 0 else size for size in spec.prediction_shape)
    ids = ["id-1", "id-2"]
    values = np.array([1, 0]) if spec.output.kind == "point" else rng.random((2, *shape))
    y: Any = values > 0.5 if spec.output.kind != "point" and task in ("fsd50k", "cosmic") else values
    columns = {"record_id": np.array(["a", "b"]), "ignore": np.zeros(values.shape)}
    true = References(ids, list(y * 10) if -1 in spec.prediction_shape else y, columns)
    names: dict[str, Any] = {"numpy": numpy, "pyarrow": pyarrow, "values": values, "ids": ids}
    names |= {"map_1": values[0], "map_2": values[1]}
    for suffix, example in describe(spec)["formats"].items():
        file = tmp_path / f"predictions{suffix}"
        if suffix == ".h5":
            with h5py.File(file, "w") as names["file"]:
                exec(example["example"], names)
                if -1 in spec.prediction_shape:
                    exec(example["example"].replace("1", "2"), names)
        elif suffix in (".npz", ".npy", ".parquet"):
            exec(example["example"], names)
        else:
            continue
        assert evaluate(read_predictions(file), true, spec).n == 2


def test_the_text_that_format_shows_reads_as_two_predictions(tmp_path: Path) -> None:
    formats = describe(TASKS["ecg"].spec)["formats"]
    for line in io.StringIO(formats[".json"]["example"]):
        (tmp_path / "p.json").write_text(line)
        assert len(read_predictions(tmp_path / "p.json")) == 2
    (tmp_path / "p.csv").write_text(formats[".csv"]["example"])
    assert read_predictions(tmp_path / "p.csv").ids == ("id-1", "id-2")
