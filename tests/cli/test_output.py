"""What strangers wrote into files reaches the terminal as text alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from nas360.cli import main
from nas360.cli.output import console, errors, plain, print_json, visible, warn
from nas360.errors import RawDataError
from nas360.loaders.satellite import CSV

HOSTILE = "red \x1b[31m, back \r, cleared \x9b2J, turned \u202e \u2066, hidden \u200b, [bold]no markup[/]"
SHOWN = r"red \x1b[31m, back \r, cleared \x9b2J, turned \u202e \u2066, hidden \u200b, [bold]no markup[/]"


def test_errors_show_codes_and_do_not_send_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for raised, status in ((RawDataError(HOSTILE), 2), (ValueError(HOSTILE), 1), (KeyboardInterrupt(HOSTILE), 130)):

        def fail(raised: BaseException = raised) -> None:
            raise raised

        monkeypatch.setattr("nas360.cli.tasks.tasks", fail)
        with pytest.raises(SystemExit) as left:
            main(["tasks"])
        assert left.value.code == status
        assert SHOWN in capsys.readouterr().err


def test_warnings_and_tables_do_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    warn(f"{HOSTILE}\nsecond line")
    assert capsys.readouterr().err == f"warning: {SHOWN}\nsecond line\n"
    for cell in (escape(HOSTILE), Text(HOSTILE.replace("\r", "")), Text("plain", style="red")):
        table = Table("column")
        table.add_row(cell)
        for out in (console, errors):
            out.print(table)
    found = capsys.readouterr()
    assert r"\x1b[31m" in found.out
    assert all(sign.isprintable() or sign == "\n" for sign in found.out + found.err)


def test_a_line_of_a_raw_file_cannot_steer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in CSV:
        (tmp_path / name).write_text("1,\x1b]0;title\x07" + ",0.5" * 45 + "\n")
    with pytest.raises(SystemExit):
        main(["prepare", "satellite", "--raw", str(tmp_path), "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert r"invalid value '\x1b]0;title\x07'" in error
    assert "\x1b]" not in error


@given(st.text(st.characters(codec=None)))
def test_visible_is_printable_and_leaves_printable_text(text: str) -> None:
    shown = visible(text)
    assert all(line.isprintable() for line in shown.split("\n"))
    assert visible(shown) == shown
    assert shown.count("\n") == text.count("\n")
    if text.isprintable():
        assert shown == text
    assert plain(text).isprintable()
    assert len(plain(text)) == len(text)


@given(st.text(st.characters(codec=None)))
def test_json_stays_the_same_json(text: str) -> None:
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.echo", lines.append)
        print_json({"text": text})
    assert json.loads(lines[0]) == json.loads(json.dumps({"text": text}))
    assert all(line.isprintable() for line in lines[0].split("\n"))
