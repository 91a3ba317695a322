"""The stand-alone metric.py: the package's numbers, without the package."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from nas360.errors import PredictionsError
from nas360.evaluate import References, evaluate, reference_columns
from nas360.loaders import TASKS
from nas360.metric_script import metric_script
from nas360.predictions import Predictions, write_predictions
from nas360.task import TaskSpec

Array = npt.NDArray[Any]
# one task for each metric
TASKS_BY_METRIC = list({task.spec.metric: name for name, task in TASKS.items()}.values())
one_of_each_metric = pytest.mark.parametrize("task", TASKS_BY_METRIC)


def case(spec: TaskSpec, seed: int, n: int = 9) -> tuple[References, Any]:
    """Random references and predictions of a task, with ties."""
    rng = np.random.default_rng(seed)
    ids, columns = [f"{spec.id}/{row}" for row in range(n)], {}
    y: Any
    values: Any
    if spec.output.kind == "point":
        y, values = rng.integers(0, spec.output.channels, n), rng.integers(0, spec.output.channels, n)
        if spec.group:
            columns[spec.group] = np.array([f"record {label}" for label in y])
    elif spec.output.kind == "multilabel":
        y = (rng.random((n, spec.output.channels)) < 0.5).astype(np.uint8)
        values = rng.integers(0, 5, y.shape) / 4
    elif spec.output.target == "mask":
        y = (rng.random((n, *spec.prediction_shape)) < 0.3).astype(np.uint8)
        values = rng.integers(0, 17, y.shape) / 16
        columns["ignore"] = (rng.random(y.shape) < 0.1).astype(np.uint8)
    elif -1 in spec.prediction_shape:
        y = [rng.uniform(3, 15, (size, size)) for size in rng.integers(20, 40, n)]
        values = [one + rng.normal(size=one.shape).round(1) for one in y]
    else:
        y = rng.normal(size=(n, *spec.prediction_shape))
        values = y + rng.normal(size=y.shape)
    return References(ids, y, columns), values


def loaded(spec: TaskSpec) -> ModuleType:
    """The script as a module, under a name that is not the package's."""
    module = ModuleType("metric_of_a_dataset")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(compile(metric_script(spec), "metric.py", "exec"), module.__dict__)
    return module


def write_references(path: Path, references: References, part: slice) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = [np.asarray(one).tolist() for one in references.y[part]]
    columns = {name: column[part].tolist() for name, column in references.columns.items()}
    pq.write_table(pa.table({"id": references.ids[part], "y": plain, "unread": ["x"] * len(plain)} | columns), path)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "metric.py", *arguments], cwd=folder, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("task", list(TASKS))
def test_the_script_stands_alone_and_states_its_task(task: str) -> None:
    spec = TASKS[task].spec
    text = metric_script(spec)
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert "nas360" not in imported
    assert imported - set(sys.stdlib_module_names) == {"numpy", "pyarrow"}
    at_the_top = {str(node.module) if isinstance(node, ast.ImportFrom) else node.names[0].name
                  for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)}  # fmt: skip
    assert "pyarrow" not in at_the_top
    module = loaded(spec)
    assert (module.TASK, module.METRIC) == (spec.id, spec.metric)
    assert module.LOWER_IS_BETTER is (spec.direction == "lower")
    assert module.EXPECTED_SHAPE == spec.prediction_shape
    assert module.COLUMNS == reference_columns(spec)


@one_of_each_metric
def test_the_script_has_no_undefined_or_unused_name(task: str, tmp_path: Path) -> None:
    (tmp_path / "metric.py").write_text(metric_script(TASKS[task].spec))
    ruff = [str(Path(sys.executable).with_name("ruff")), "check", "--isolated", "--no-cache", "--select", "F,E9"]
    found = subprocess.run([*ruff, "metric.py"], cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


@one_of_each_metric
def test_the_script_computes_the_package_s_numbers(task: str) -> None:
    spec = TASKS[task].spec
    module = loaded(spec)
    for seed in range(8):
        references, values = case(spec, seed)
        expected = evaluate(Predictions(tuple(references.ids), values), references, spec)
        order = np.random.default_rng(seed).permutation(len(references))
        ids = [references.ids[row] for row in order]
        columns = {keyword: references.columns[name] for keyword, name in module.COLUMNS.items()}
        shuffled = [values[row] for row in order]
        found = module.compute(shuffled, references.y, ids, references.ids, **columns)
        assert found == {"score": expected.score, "n": expected.n} | dict(expected.extra)
        assert module.compute(values, references.y, **columns) == found
        accumulator = module.accumulator()
        for start in range(0, len(references), 4):
            part = slice(start, start + 4)
            parts = {keyword: column[part] for keyword, column in columns.items()}
            accumulator.update(values[part], references.y[part], **parts)
        assert accumulator.compute() == found


@one_of_each_metric
def test_the_command_line_prints_the_package_s_score(task: str, tmp_path: Path) -> None:
    spec = TASKS[task].spec
    references, values = case(spec, 5, n=6)
    (tmp_path / "metric.py").write_text(metric_script(spec))
    (tmp_path / "data").mkdir()
    write_references(tmp_path / "data" / "test-00000-of-00002.parquet", references, slice(0, 4))
    write_references(tmp_path / "data" / "test-00001-of-00002.parquet", references, slice(4, None))
    expected = evaluate(Predictions(tuple(references.ids), values), references, spec)
    suffix = ".npz" if task == "cosmic" else ".json"
    write_predictions(tmp_path / f"p{suffix}", references.ids[::-1], values[::-1])
    found = run(tmp_path, f"p{suffix}")
    assert found.stderr == ""
    assert json.loads(found.stdout) == {"score": expected.score, "n": expected.n} | dict(expected.extra)


def test_the_command_line_reads_npz_without_ids_and_named_references(tmp_path: Path) -> None:
    spec = TASKS["psicov"].spec
    references, values = case(spec, 6, n=4)
    (tmp_path / "metric.py").write_text(metric_script(spec))
    write_references(tmp_path / "elsewhere.parquet", references, slice(None))
    write_predictions(tmp_path / "p.npz", references.ids, values)
    found = run(tmp_path, "p.npz", "--references", "elsewhere.parquet")
    expected = evaluate(Predictions(None, values), references, spec)
    assert json.loads(found.stdout)["score"] == expected.score


def test_references_as_the_dataset_writer_stores_them(tmp_path: Path) -> None:
    import datasets

    spec = TASKS["darcy_flow"].spec
    references, values = case(spec, 7, n=3)
    features = datasets.Features(
        {"id": datasets.Value("string"), "y": datasets.Array2D(spec.prediction_shape, "float32")}
    )
    y = np.asarray(references.y, dtype=np.float32)
    table = datasets.Dataset.from_dict({"id": list(references.ids), "y": y}, features=features)
    table.to_parquet(str(tmp_path / "test.parquet"))
    (tmp_path / "metric.py").write_text(metric_script(spec))
    np.save(tmp_path / "p.npy", values)
    found = run(tmp_path, "p.npy", "--references", "test.parquet")
    expected = evaluate(Predictions(None, values), References(references.ids, y), spec)
    assert json.loads(found.stdout)["score"] == expected.score


def test_faults_are_told_without_a_traceback(tmp_path: Path) -> None:
    spec = TASKS["ecg"].spec
    references, _ = case(spec, 0)
    (tmp_path / "metric.py").write_text(metric_script(spec))
    (tmp_path / "p.json").write_text('{"predictions": {"ecg/0": 7, "else": 1.5}}')
    found = run(tmp_path, "p.json")
    assert found.returncode == 2
    assert "no data/test-*.parquet" in found.stderr
    write_references(tmp_path / "r.parquet", references, slice(None))
    found = run(tmp_path, "p.json", "--references", "r.parquet")
    assert (found.returncode, found.stdout) == (2, "")
    for fault in ("ids missing: 'ecg/1'", "does not have: 'else'", "not whole numbers", "classes outside 0 to 3"):
        assert fault in found.stderr
    assert "Traceback" not in found.stderr
    other, _ = case(TASKS["cifar100"].spec, 0)
    write_references(tmp_path / "other.parquet", other, slice(None))
    found = run(tmp_path, "p.json", "--references", "r.parquet", "other.parquet")
    assert found.returncode == 2
    assert "other.parquet: the references have no column 'record_id'" in found.stderr
    assert len(found.stderr.splitlines()) == 1
    (tmp_path / "deep.json").write_text("[" + "[]," * 2_000_000 + "[]]")
    found = run(tmp_path, "deep.json", "--references", "r.parquet")
    assert found.returncode == 2
    assert "would unpack to" in found.stderr
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    found = run(tmp_path, "p.json", "--references", "broken.parquet")
    assert found.returncode == 2
    assert "the references cannot be read" in found.stderr


def test_ids_need_reference_ids() -> None:
    spec = TASKS["cifar100"].spec
    module = loaded(spec)
    with pytest.raises(module.PredictionsError, match="ids were given without reference_ids"):
        module.compute([1], [1], ids=["a"])
    assert module.PredictionsError is not PredictionsError


def test_class_names_of_the_dataset_enter_the_script() -> None:
    spec = TASKS["satellite"].spec
    assert "'field of maize'" in metric_script(spec, ("field of maize", *(f"crop {row}" for row in range(23))))
