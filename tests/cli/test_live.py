"""How a run is watched: lines that a log can hold, and a screen that shows what was told and leaves nothing behind."""

from __future__ import annotations

import io
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas360.baselines.watch import Report, Watcher
from nas360.cli.live import ASCII_BLOCKS, BLOCKS, draw_curve, watching
from nas360.cli.output import errors

Console = type(errors)
"""A console as the command line has it."""

HOSTILE = "[bold]red[/] \x1b[31m"


def search(step: int, steps: int, error: float | None, **shown: str) -> Report:
    return Report(step, steps, step / 4, 1.5, 0.1, error, 2.0 * step, "search", shown)


def perform(watcher: Watcher) -> None:
    """A search that validates after every second step, then a training, then predictions."""
    watcher.note(f"planned {HOSTILE}")
    for step in range(1, 7):
        watcher.step(step, 6, "search")
        if step % 2 == 0:
            watcher.step(1, 2, "predict")
            watcher.step(2, 2, "predict")
            watcher.report(search(step, 6, 1 / step, entropy=f"alpha {1 / step:.2f}", architecture=f"found {step}"))
    for step in range(1, 5):
        watcher.step(step, 4, "train")
    watcher.report(Report(4, 4, 2.0, 0.25, 0.1, None, 8.0))
    watcher.step(3, 3, "predict")


def lines() -> list[str]:
    stream = io.StringIO()
    with watching(Console(file=stream, width=80)) as watcher:
        perform(watcher)
    return stream.getvalue().splitlines()


class Screen:
    """A terminal that knows what a live display sends: text, up, clear the line, colours, cursor on and off."""

    def __init__(self, sent: str) -> None:
        self.rows, self.row, self.column, self.cursor = [""], 0, 0, True
        for text, control in re.findall(r"([^\x1b\r\n]+)|(\x1b\[[0-9;?]*[A-Za-z]|\r|\n)", sent):
            if text:
                row = self.rows[self.row].ljust(self.column)
                self.rows[self.row] = row[: self.column] + text + row[self.column + len(text) :]
                self.column += len(text)
            elif control == "\r":
                self.column = 0
            elif control == "\n":
                self.row, self.column = self.row + 1, 0
                self.rows += [""] * (self.row + 1 - len(self.rows))
            elif control.endswith("A"):
                self.row -= int(control[2:-1])
                assert self.row >= 0, "above what was written"
            elif control.endswith("K"):
                self.rows[self.row] = ""
            elif control in ("\x1b[?25l", "\x1b[?25h"):
                self.cursor = control.endswith("h")
            else:
                assert control.endswith("m"), control

    @property
    def shown(self) -> list[str]:
        return [row.rstrip() for row in self.rows if row.strip()]


def screen(width: int = 100) -> Screen:
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=True, width=width, height=30, color_system=None, _environ={"TERM": "xterm"}
    )
    with watching(console) as watcher:
        perform(watcher)
    return Screen(stream.getvalue())


def test_without_a_terminal_there_is_a_line_a_report() -> None:
    assert lines() == [
        r"planned [bold]red[/] \x1b[31m",
        "search: step 2/6, epoch 0.50, loss 1.5000, validation error 0.5000, entropy alpha 0.50, 4 s, 8 s left",
        "search: step 4/6, epoch 1.00, loss 1.5000, validation error 0.2500, entropy alpha 0.25, 8 s, 4 s left",
        "search: step 6/6, epoch 1.50, loss 1.5000, validation error 0.1667, entropy alpha 0.17, 12 s, 0 s left",
        "search: architecture found 6",
        "train: step 4/4, epoch 2.00, loss 0.2500, 8 s, 0 s left",
    ]


def test_a_terminal_that_cannot_move_gets_the_same_lines() -> None:
    stream = io.StringIO()
    with watching(Console(file=stream, force_terminal=True, width=80, _environ={"TERM": "dumb"})) as watcher:
        perform(watcher)
    assert stream.getvalue().splitlines() == lines()


@pytest.mark.parametrize("width", [100, 50])
def test_a_terminal_ends_with_bars_and_what_was_found(width: int) -> None:
    end = screen(width)
    assert end.cursor
    text = "\n".join(end.shown)
    bars = [row.split()[0] for row in end.shown if re.search(r"\d/\d", row)]
    assert bars == ["search", "train", "predict"], "predictions that judged the search have no bar any more"
    assert [row for row in end.shown if "6/6" in row or "4/4" in row or "3/3" in row] == [
        row for row in end.shown if re.search(r"\d/\d", row)
    ]
    # the search's last report stands once, above the bars
    assert text.count("found 6") == 1 and "found 4" not in text
    assert text.index("found 6") < text.index("6/6")
    assert re.search(r"█▃▁\s+first\s+0\.5000,\s+best\s+0\.1667,\s+last\s+0\.1667", text)
    assert r"\x1b[31m" in text and "[bold]" in text


def test_an_interruption_gives_the_terminal_back() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, height=30, color_system=None, _environ={})
    with pytest.raises(KeyboardInterrupt), watching(console) as watcher:
        watcher.step(1, 6, "search")
        watcher.report(search(1, 6, math.inf, best=HOSTILE))
        raise KeyboardInterrupt
    end = Screen(stream.getvalue())
    assert end.cursor
    assert stream.getvalue().endswith("\n") or stream.getvalue().endswith("\x1b[?25h")
    assert any("1/6" in row for row in end.shown)
    assert any(r"best" in row and r"\x1b[31m" not in row and "?[31m" in row for row in end.shown)


def test_what_is_unknown_is_left_out() -> None:
    stream = io.StringIO()
    with watching(Console(file=stream, width=80)) as watcher:
        watcher.report(Report(0, 3, 0.0, math.nan, 0.1, None, 0.0, "search"))
    assert stream.getvalue() == "search: step 0/3, epoch 0.00, 0 s, 0 s left\n"


VALUES = st.lists(st.floats(), min_size=1, max_size=100)


@given(VALUES, st.integers(1, 50), st.booleans())
def test_a_curve_fits_and_is_lowest_and_highest_somewhere(values: list[float], columns: int, ascii_only: bool) -> None:
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    curve = draw_curve(values, columns, ascii_only=ascii_only)
    assert len(curve) == min(columns, len(values))
    assert set(curve) <= {*blocks, "x"}
    if len(values) <= columns:
        finite = [(value, sign) for value, sign in zip(values, curve, strict=True) if math.isfinite(value)]
        assert [sign == "x" for sign in curve] == [not math.isfinite(value) for value in values]
        if finite:
            assert min(finite)[1] == blocks[0]
            assert (max(finite)[1] == blocks[-1]) == (max(finite)[0] / 2 > min(finite)[0] / 2)
        # the curve rises where the values do
        ordered = [blocks.index(sign) for _, sign in sorted(finite, key=lambda pair: pair[0])]
        assert ordered == sorted(ordered)


def test_neighbours_share_a_column() -> None:
    assert draw_curve([0.0, 0.0, 4.0, 10.0, 8.0, 6.0], 3) == "▁██"
    assert draw_curve([1.0, math.inf, 3.0, math.nan], 2) == "▁█"
    assert draw_curve([2.0, 2.0], 9) == "▁▁"
