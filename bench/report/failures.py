"""Which runs of a report did not end well, and why."""

from __future__ import annotations

from nas360.bench.report.blocks import Note, Section, Table
from nas360.bench.report.runs import Run, Runs
from nas360.bench.report.words import ABSENT, counted

MAX_REASON = 600
"""Of a reason, in characters."""


def failures(runs: Runs) -> Section:
    """A line for each run that failed, was given up, or cannot be read; and how many are not at an end."""
    rows = [(str(run), *_reason(run), run.folder) for run in runs.all if run.state in ("failed", "unreadable")]
    blocks: list[Note | Table] = []
    if rows:
        header = ("Run", "What", "Reason", "Folder")
        blocks.append(Table(header, tuple(rows), texts=frozenset(range(len(header)))))
        blocks.append(
            Note(
                "A run that failed by the method's own doing has a result file that says so, and counts as an infinite "
                "error; one that was given up, or cannot be read, does not count."
            )
        )
    elif runs.finished:
        blocks.append(Note("None of the runs failed."))
    open_ends = [run for run in runs.all if run.state in ("unfinished", "waiting")]
    if open_ends:
        has, have = ("has", "is") if len(open_ends) == 1 else ("have", "are")
        blocks.append(
            Note(f"{counted(len(open_ends), 'run')} {has} no result yet and {have} not counted.", warning=True)
        )
    return Section("failures", "Failures", tuple(blocks))


def _reason(run: Run) -> tuple[str, str]:
    if run.fault:
        return "its files cannot be read", _cut(run.fault)
    row = run.row
    if row is not None and row.failure is not None:
        return f"{row.status} (stage {row.failure.stage})", _cut(row.failure.message)
    if run.given_up is None:
        return ABSENT, ABSENT
    told = run.given_up
    again = f" after {told.attempts:,} attempts" if told.attempts > 1 else ""
    return f"{told.kind}{again}, {told.when}", _cut(told.reason) or ABSENT


def _cut(text: str) -> str:
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON - 1]}…"
