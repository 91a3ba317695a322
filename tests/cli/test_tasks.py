"""`nas360 tasks` and the task's side of `nas360 info`."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from nas360.cli import app
from nas360.cli.tasks import _COLUMNS as COLUMNS
from nas360.cli.tasks import show_task
from nas360.cli.tasks import tasks as list_tasks
from nas360.errors import UnknownNameError
from nas360.loaders import TASKS
from nas360.task import TaskSpec

KEYS = {"id", "name", "spatial_dims", "input_shape", "output", "metric", "direction", "splits"}


def _train_size(spec: TaskSpec) -> str:
    return f"{'' if spec.splits_exact else '≈'}{spec.splits['train']:,}"


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_table_has_one_line_for_each_task_at_any_width(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    ran = CliRunner().invoke(app, ["tasks"])
    assert ran.exit_code == 0
    rows = [line.split() for line in ran.stdout.splitlines() if line.strip()]
    assert [row[0] for row in rows if row[0] in TASKS] == list(TASKS)
    for row in rows:
        if row[0] in TASKS:
            spec = TASKS[row[0]].spec
            assert _train_size(spec) in row
            assert row[row.index(spec.metric) + 1] == {"lower": "↓", "higher": "↑"}[spec.direction]


@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 100, 121, 123, 126, 200])
def test_a_narrow_terminal_shows_fewer_columns_and_says_so(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    terminal = Console(file=shown, width=width, force_terminal=True, color_system=None, legacy_windows=False)
    monkeypatch.setattr("nas360.cli.tasks.console", terminal)
    list_tasks()
    lines = re.sub("\x1b.*?m", "", shown.getvalue()).splitlines()
    rows = [line.split() for line in lines]
    assert [row[0] for row in rows if row and row[0] in TASKS] == list(TASKS)
    (heading,) = [row for row in rows if row[:1] == ["id"]]
    hidden = [name for name in COLUMNS if name not in heading]
    told = " ".join(" ".join(row) for row in rows)
    assert ("Not shown" in told) == bool(hidden)
    assert all(f"{name}," in told or f"{name}." in told for name in hidden)
    assert {"id", "metric"} <= set(heading)
    for task in TASKS.values():
        (row,) = [row for row in rows if row[:1] == [task.spec.id]]
        assert task.spec.metric in row
        if "train" in heading:
            assert _train_size(task.spec) in row
    if width >= 40:
        assert max(map(len, lines)) <= width
    if width >= 80:
        assert {"train", "validation", "test"} <= set(heading)
    if width >= 126:
        assert not hidden


def test_json_is_a_list_of_all_that_is_known() -> None:
    ran = CliRunner().invoke(app, ["tasks", "--json"])
    assert ran.exit_code == 0
    listed = json.loads(ran.stdout)
    assert [entry["id"] for entry in listed] == list(TASKS)
    for entry in listed:
        assert set(entry) >= KEYS
        assert entry == TASKS[entry["id"]].spec.public()


@pytest.mark.parametrize("name", list(TASKS))
def test_show_as_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_task(name, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert set(shown) >= KEYS
    assert shown["id"] == name


@pytest.mark.parametrize("name", list(TASKS))
def test_show_tells_everything_a_reader_needs(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show_task(name, as_json=False)
    shown = capsys.readouterr().out
    spec = TASKS[name].spec
    assert all(len(line) <= 80 for line in shown.splitlines())
    joined = "".join(shown.split())  # wrapping moves blanks only
    for text in (
        spec.name,
        spec.metric,
        spec.licence,
        spec.citation,
        *(f"{size:,}" for size in spec.splits.values()),
        *(item.reference for item in spec.differences),
        *(part for source in spec.sources for part in (source.filename, source.url, source.sha256 or source.md5 or "")),
        *(source.manual for source in spec.sources),
    ):
        assert "".join(text.split()) in joined


def test_square_brackets_are_no_markup(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = TASKS["ecg"].spec.model_copy(
        update={"licence": "[bold red]licence[/] [link=x]y[/link]", "summary": "[/]"}
    )
    monkeypatch.setattr("nas360.loaders.ecg.TASK", replace(TASKS["ecg"], spec=hostile))
    show_task("ecg", as_json=False)
    shown = capsys.readouterr().out
    assert "[bold red]licence[/] [link=x]y[/link]" in shown
    assert "[/]." in shown


def test_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'darcy_flow'"):
        show_task("darcyflow", as_json=False)
