"""`nas360 info` for methods."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nas360.cli import main
from nas360.cli.info import describe
from nas360.errors import RunError


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    with pytest.raises(SystemExit, match=r"\d") as left:
        main(list(arguments))
    shown = capsys.readouterr()
    return int(left.value.code or 0), shown.out, shown.err


@pytest.mark.parametrize(
    ("method", "task", "macs", "output_shape"),
    [
        ("wrn", "cifar100", 392_635_392, [100]),
        ("wrn", "darcy_flow", 19_817_886_000, [85, 85]),
        ("wrn", "ecg", 311_345_024, [4]),
        ("resnet1d", "ecg", 500_288_512, [4]),
        ("timm:resnet18", "cifar100", 37_062_656, [100]),
    ],
)
def test_a_method_on_a_task(
    method: str, task: str, macs: int, output_shape: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown, told = call(capsys, "info", method, "--task", task, "--json")
    assert code == 0, told
    found = json.loads(shown)
    assert {"method", "task", "parameters", "macs", "input_shape", "output_shape", "recipe"} <= set(found)
    assert (found["method"], found["task"], found["macs"]) == (method, task, macs)
    assert found["output_shape"] == output_shape
    assert found["recipe"]["epochs"] == 200


def test_people_get_thousands_and_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, told = call(capsys, "info", "wrn", "--task", "cifar100")
    assert code == 0, told
    assert "2,772,020" in shown
    assert "392,635,392" in shown
    assert "milestones" in shown


@pytest.mark.parametrize(
    ("method", "task"), [("wrn", "darcy_flow"), ("resnet1d", "ecg"), ("timm:resnet18", "cifar100"), ("gaea", "ecg")]
)
def test_people_get_lines_that_fit_and_no_python(method: str, task: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, told = call(capsys, "info", method, "--task", task)
    assert code == 0, told
    for sign in ("{", "}", "'name'", "True", "None", "\\["):
        assert sign not in shown
    assert "      lr                  0." in shown
    assert ("nesterov            yes" in shown) == (method != "gaea")
    values = [line for line in shown.splitlines() if line.startswith("  ") and "reference" not in line]
    assert len(values) > 15
    assert max(map(len, values)) <= 80


def test_a_task_is_shown_as_a_task(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, told = call(capsys, "info", "darcy_flow", "--json")
    assert code == 0, told
    assert json.loads(shown)["id"] == "darcy_flow"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("wrn",), "wrn is a method: say on which task"),
        (("darcy_flow", "--task", "ecg"), "darcy_flow is a task"),
        (("nonsense",), "'nonsense' is neither a task"),
        (("wrn", "--task", "nonsense"), "unknown task 'nonsense'"),
        (("resnet1d", "--task", "cifar100"), "Tasks that it can run on: ecg, satellite, deepsea"),
        (("timm:resnet18", "--task", "ecg"), "timm:resnet18 cannot run on ecg"),
        (("gaea:nonsense", "--task", "ecg"), "unknown variant 'nonsense' of gaea. Known: gaea:double_softmax"),
        (("ecg", "--architecture", "DARTS_V2"), "ecg is a task, which has no --architecture"),
        (("gaea", "--task", "ecg", "--architecture", "DARTS_V3"), "Did you mean 'DARTS_V2'?"),
        (("wrn", "--task", "ecg", "--architecture", "DARTS_V2"), "'DARTS_V2' is no file"),
    ],
)
def test_user_errors(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, told = call(capsys, "info", *arguments)
    assert (code, shown) == (2, ""), told
    assert message in " ".join(told.split())


def test_a_searched_method_says_what_its_search_learns() -> None:
    shown = describe("gaea", "ninapro")
    assert shown["architecture_shapes"] == {
        **{"normal.alpha": [14, 8], "normal.beta": [14]},
        **{"reduce.alpha": [14, 8], "reduce.beta": [14]},
    }
    assert shown["architecture_parameters"] == 252
    assert shown["supernet_parameters"] > 100_000
    # no reduction cells, and so none of their parameters, where every position wants a value
    assert describe("gaea", "psicov")["architecture_parameters"] == 126
    assert describe("darts", "ninapro")["architecture_parameters"] == 224
    assert describe("darts_random", "ninapro")["supernet_parameters"] == 0
    assert "search" not in describe("wrn", "ninapro")


@pytest.mark.parametrize("whole", [True, False], ids=["a run's file", "the architecture alone"])
def test_a_given_architecture_is_the_one_that_is_counted(whole: bool, tmp_path: Path) -> None:
    named = describe("gaea", "fsd50k", "DARTS_V2")
    assert named["architecture"]["width"] == 16, "a name gets the task's width"
    content = {"space": "darts_cell", "architecture": named["architecture"], "parameters": 1, "macs": 2}
    path = tmp_path / "architecture.json"
    path.write_text(json.dumps(content if whole else named["architecture"]))
    again = describe("darts", "fsd50k", str(path))
    assert (again["parameters"], again["macs"]) == (named["parameters"], named["macs"])
    assert again["parameters"] != describe("gaea", "fsd50k")["parameters"]
    path.write_text(json.dumps({**content, "space": "wide_resnet"}))
    with pytest.raises(RunError, match="is of the space 'wide_resnet', where gaea has 'darts_cell'"):
        describe("gaea", "fsd50k", str(path))
    path.write_text("[1]")
    with pytest.raises(RunError, match="holds no JSON object"):
        describe("gaea", "fsd50k", str(path))


def test_describing_draws_no_random_number() -> None:
    import torch

    before = torch.get_rng_state()
    assert describe("wrn", "satellite") == describe("wrn", "satellite")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_table_of_methods_loads_no_torch() -> None:
    program = "import sys, nas360.baselines.method as m; print(len(m.METHODS), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "False"
