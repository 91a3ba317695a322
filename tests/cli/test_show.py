"""`nas360 show`: what a run's folder tells, for people, for programs, and as pictures; damaged ones are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from nas360.baselines.spaces.darts_cell import DARTS_CELL
from nas360.baselines.spaces.darts_genotypes import known
from nas360.cli.show import MOST_LINES, _without_common_words

Call = Callable[..., tuple[int, str, str]]

IDENTITY = {"method": "gaea", "task": "ecg", "seed": 3, "budget": "small", "search": {"steps": 40}}
CODES = "\x1b[31m [bold]x[/] \u202e"


def architecture(name: str = "DARTS_V2") -> dict[str, Any]:
    return DARTS_CELL.to_json(known(name))


def write(folder: Path, name: str, identity: Any, *entries: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in ({"identity": identity}, *entries)))
    return folder


def searching(folder: Path, reports: int = 20, **identity: Any) -> Path:
    """A search by gradient, half way."""
    entries = [
        {
            "step": step,
            "epoch": step / 10,
            "loss": 10 / step,
            "validation_error": 1 / step,
            "entropy": {"normal.alpha": 1 - step / 40},
            "mixture": {"normal.alpha": np.full((14, 8), 1 / 8).tolist()},
            "architecture": architecture("DARTS_V2" if step > 1 else "PC_DARTS_CIFAR10"),
            "seconds": step,
        }
        for step in range(1, reports + 1)
    ]
    return write(folder, "search.jsonl", {**IDENTITY, **identity}, *entries)


def finished(folder: Path) -> Path:
    """The same, found and trained."""
    write(searching(folder), "log.jsonl", IDENTITY, {"step": 8, "epoch": 1.0, "loss": 0.75, "validation": None})
    search = {
        "algorithm": "gaea",
        "optimiser": None,
        "steps": 40,
        "seconds": 9.5,
        "facts": {"entropy": {"normal.alpha": 0.5}},
    }
    content = {
        "space": "darts_cell",
        "architecture": architecture(),
        "parameters": 12345,
        "macs": 678,
        "search": search,
    }
    (folder / "architecture.json").write_text(json.dumps(content))
    return folder


def test_a_search_half_way(call: Call, tmp_path: Path) -> None:
    code, shown, told = call("show", searching(tmp_path / "run"))
    assert (code, told) == (0, "")
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert lines[0] == "gaea on ecg, seed 3, budget small"
    assert lines[1] == f"{tmp_path / 'run'}: searching, step 20 of 40"
    assert f"search, {MOST_LINES} of 20 reports" in lines
    assert "step epoch loss error entropy architecture" in lines
    assert "1 0.10 10.0000 1.0000 0.975 PC_DARTS_CIFAR10" in lines
    assert "20 2.00 0.5000 0.0500 0.500 DARTS_V2" in lines
    assert sum(line.endswith(("DARTS_V2", "DARTS_CIFAR10")) for line in lines) == MOST_LINES
    assert lines[-1] == "best so far: DARTS_V2 20 of 36"


def test_a_run_at_its_end(call: Call, tmp_path: Path, repository: Path) -> None:
    folder = finished(tmp_path / "run")
    code, shown, _ = call("show", folder)
    assert code == 0
    assert f"{folder}: training, step 8\n" in shown
    (folder / "result.json").write_text((repository / "tests/fixtures/results/v1.0-full.json").read_text())
    code, shown, told = call("show", folder)
    assert (code, told) == (0, "")
    for part in (
        f"{folder}: finished, step 8 of 400000",
        "training, all reports",
        "architecture: DARTS_V2 20 of 36",
        "  parameters   12,345",
        "  search       algorithm gaea, steps 40, seconds 9.5, entropy normal.alpha 0.5",
        "train seconds 3600",
    ):
        assert part in shown, part
    (folder / "result.json").write_text((repository / "tests/fixtures/results/v1.0-failed.json").read_text())
    code, shown, _ = call("show", folder)
    assert code == 0
    assert "failed (stage train): out of memory?in step 3" in shown


def test_of_candidates_the_best_are_shown(call: Call, tmp_path: Path) -> None:
    errors = [None, *(1 / n for n in range(1, 12))]
    entries = [
        {"step": n + 1, "candidate": n, "validation_error": error, "architecture": architecture(), "seconds": 1.0}
        for n, error in enumerate(errors)
    ]
    code, shown, _ = call("show", write(tmp_path / "run", "search.jsonl", IDENTITY, *entries))
    assert code == 0
    assert "search, best 10 of 12 candidates" in shown
    numbers = [line.split()[0] for line in shown.splitlines() if line.rstrip().endswith("DARTS_V2 20 of 36")]
    assert numbers[:10] == [str(n) for n in range(11, 1, -1)]


def test_of_what_is_tuned_the_hyper_parameters_are_shown(call: Call, tmp_path: Path) -> None:
    identity = {**IDENTITY, "method": "wrn_asha"}
    network = {"depth": 16, "width": 4, "dropout": 0.3}
    entries: list[dict[str, Any]] = [
        {
            "step": number + 1,
            "candidate": trial,
            "rung": rung,
            "epoch": 12.0 * (rung + 1),
            "validation_error": error,
            "configuration": {"lr": 0.1 / (trial + 1), "momentum": 0.9, "weight_decay": 0.0005, "dropout": 0.3},
            "architecture": network,
            "seconds": 1.0,
        }
        for number, (trial, rung, error) in enumerate([(0, 0, 0.5), (1, 0, 0.25), (2, 0, None), (1, 1, 0.125)])
    ]
    folder = write(tmp_path / "run", "search.jsonl", identity, *entries)
    code, shown, _ = call("show", folder)
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert code == 0 and "search, best 3 of 3 candidates" in lines, "a candidate counts once, at its best"
    assert [line for line in lines if line[:1].isdigit()] == [
        "1 4 24.00 0.1250 0.05 0.9 0.0005 0.3",
        "0 1 12.00 0.5000 0.1 0.9 0.0005 0.3",
        "2 3 12.00 - 0.03333 0.9 0.0005 0.3",
    ]
    assert max(map(len, shown.splitlines()[2:])) <= 80 and "WRN-16-4" not in shown.split("best so far")[0]
    for entry in entries:
        entry["configuration"] = {f"{CODES}{number}": "x" for number in range(6)} | {"on": True}
    code, shown, _ = call("show", write(folder, "search.jsonl", identity, *entries))
    assert code == 0 and "\x1b" not in shown and "on True" in " ".join(shown.split())
    facts: dict[str, Any] = {
        "chosen": 1,
        "chosen_at_step": 40,
        "validation_error": 0.125,
        "configuration": {"lr": 0.05},
        "default": {"trial": 0, "configuration": {"lr": 0.1}, "step": 20, "validation_error": 0.5, "best_there": 0.25},
    }
    content = {"space": "wide_resnet", "architecture": network, "search": {"algorithm": "asha", "facts": facts}}
    (folder / "architecture.json").write_text(json.dumps(content))
    code, shown, _ = call("show", folder)
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "chosen validation error 0.125 at step 40: lr 0.05" in lines
    assert "default validation error 0.5 at step 20: lr 0.1" in lines
    facts["default"]["validation_error"] = None
    (folder / "architecture.json").write_text(json.dumps(content))
    assert "default      could not be trained: lr 0.1" in call("show", folder)[1]


def test_programs_read_all_of_it(call: Call, tmp_path: Path) -> None:
    code, shown, told = call("show", finished(tmp_path / "run"), "--json")
    assert (code, told) == (0, "")
    content = json.loads(shown)
    assert (content["state"], content["step"], content["result"]) == ("training", 8, None)
    assert len(content["search"]["entries"]) == content["search"]["steps"] / 2 == 20
    assert content["search"]["entries"][0]["mixture"]["normal.alpha"][13] == [1 / 8] * 8
    assert content["architecture"]["architecture"] == architecture()


def test_pictures(call: Call, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder, plot, draw = (
        searching(tmp_path / "run", reports=2, task="darcy_flow"),
        tmp_path / "a.png",
        tmp_path / "a.svg",
    )
    code, _, told = call("show", folder, "--plot", plot, "--draw", draw)
    assert (code, told) == (0, "")
    assert plot.read_bytes().startswith(b"\x89PNG")
    root = ElementTree.parse(draw).getroot()
    assert root.findtext("{http://www.w3.org/2000/svg}title") == "gaea on darcy_flow, seed 3, budget small"
    assert "reduction cell" not in draw.read_text(), "a dense task has none"
    code, _, _ = call("show", searching(folder, reports=1), "--draw", draw)
    assert code == 0
    assert "reduction cell" in draw.read_text()


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("gaea", ("--draw", "a.pdf"), "a drawing is written as .svg"),
        ("gaea", ("--plot", "a.gif"), "a plot is written as"),
        ("wrn", ("--draw", "a.svg"), "architectures of wrn cannot be drawn"),
        ("no such", ("--draw", "a.svg"), "architectures of no such cannot be drawn"),
    ],
)
def test_what_cannot_be_drawn(
    method: str, arguments: tuple[str, ...], message: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, shown, told = call("show", searching(tmp_path / "run", reports=1, method=method), *arguments)
    assert (code, shown) == (2, "")
    assert message in told
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_nothing_to_draw_yet(call: Call, tmp_path: Path) -> None:
    folder = write(tmp_path / "run", "log.jsonl", IDENTITY)
    code, shown, told = call("show", folder)
    assert (code, told) == (0, "")
    assert shown.splitlines() == ["gaea on ecg, seed 3, budget small", f"{folder}: begun"]
    for flag, message in (("--draw", "has no architecture yet"), ("--plot", "has no report yet")):
        code, _, told = call("show", folder, flag, tmp_path / "a.svg")
        assert code == 2
        assert message in told


def test_codes_of_strangers_are_shown_and_not_sent(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    searching(folder, reports=2, method=CODES, task=CODES, seed=CODES, budget=CODES)
    (folder / "architecture.json").write_text(json.dumps({"architecture": {CODES: CODES}, CODES: {CODES: [CODES]}}))
    for arguments in ((), ("--json",)):
        code, shown, told = call("show", folder, *arguments)
        assert (code, told) == (0, "")
        assert "[bold]x[/]" in shown
        assert all(sign.isprintable() or sign == "\n" for sign in shown)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}\n",
        "no JSON\n",
        f'{{"identity": {{}}}}\n{CODES}\n',
        '{"identity": {}}\n{"step": NaN}\n',
        "[" * 99999 + "\n",
    ],
)
def test_damaged_folders_are_the_users(text: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / "search.jsonl").write_text(text)
    code, shown, told = call("show", tmp_path)
    assert (code, shown) == (2, "")
    assert told.startswith(f"error: {tmp_path / 'search.jsonl'}")
    assert "Traceback" not in told and "\x1b" not in told


def test_an_architecture_of_another_version_is_told(call: Call, tmp_path: Path) -> None:
    folder = finished(tmp_path / "run")
    content = json.loads((folder / "architecture.json").read_text())
    del content["architecture"]["cells"]
    (folder / "architecture.json").write_text(json.dumps(content))
    for arguments in ((), ("--draw", tmp_path / "a.svg")):
        code, _, told = call("show", folder, *arguments)
        assert code == 2
        assert "not a DARTS architecture: missing cells" in told
        assert "of another version of nas360" in told


def test_common_words_are_left_out_as_far_as_something_is_left() -> None:
    assert _without_common_words(["A x of 20", "A y of 20"]) == ["x", "y"]
    assert _without_common_words(["A x", "A x"]) == ["A x", "A x"]
    assert _without_common_words(["A", "A x of", "A of"]) == ["A", "A x of", "A of"]
    assert _without_common_words(["A x of 20"]) == ["A x of 20"]
    assert _without_common_words([]) == []
