"""The leaderboard of a report: its results beside the paper's, each under its conditions.

Results on made-up data are never ranked with others: they get a leaderboard of their own, without the paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from nas360.bench.report.blocks import Block, Note, Picture, Section, Table
from nas360.bench.report.drawing import can_draw, svg_of
from nas360.bench.report.looks import Looks, of_standing
from nas360.bench.report.runs import Run, Runs
from nas360.bench.report.words import counted, listed
from nas360.leaderboard.board import Board, rank
from nas360.leaderboard.output.plot_profile import MAX_LINES, plot_profile
from nas360.leaderboard.output.statistics_text import footnotes
from nas360.leaderboard.output.tables import TextTable, View, ranked_tables
from nas360.leaderboard.sources import load_panel
from nas360.leaderboard.stats.statistics import analyse
from nas360.leaderboard.table import MARKS, build_table
from nas360.loaders import TASKS
from nas360.results import ResultFile, check_against_spec

SYNTHETIC = "synthetic"

DRAWS = 1000
"""Of the bootstrap behind intervals; as `nas360 leaderboard`."""


TAUS = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0)
"""At which the profile is told in numbers."""


def ranking(runs: Runs, panel: str, known: Looks) -> tuple[Section, Section]:
    """Leaderboards and their performance profiles.

    Args:
        runs: of the report.
        panel: published numbers to compare with.
        known: how methods are drawn.
    """
    published = load_panel(panel)
    files, left_out = rankable(runs.finished)
    tables: list[Block] = [Note(text, warning=True) for text in left_out]
    profiles: list[Block] = []
    for made_up in (False, True):
        group = {name: file for name, file in files.items() if _is_synthetic(file) is made_up}
        if not group:
            continue
        board = _board(group, {} if made_up else published)
        if made_up and not profiles:
            tables.append(Note("These runs are on made-up data, so that no published number stands beside them."))
        elif made_up:
            tables.append(Note("Runs on made-up data, apart, for they compare with nothing else:"))
        elif published and any(line.marks for line in board.table.lines):
            tables.append(
                Note(
                    "Published numbers are of full runs on the official data. A result beside them whose name bears a "
                    "mark in brackets was made under other conditions: read its rank with care."
                )
            )
        tables += _tables(board, made_up)
        profiles += _profile(board, known, made_up)
    return (
        Section("leaderboard", "Leaderboard", tuple(tables)),
        Section("profile", "Performance profile", tuple(profiles)),
    )


def rankable(runs: Sequence[Run]) -> tuple[dict[str, ResultFile], list[str]]:
    """The results that a leaderboard takes, and why it does not take the others.

    Returns:
        Folder → result; and a sentence for each reason to leave some out.
    """
    files: dict[str, ResultFile] = {}
    seen: dict[object, str] = {}
    twice, wrong, others = [], [], []
    for run in runs:
        file, row = run.result, run.row
        if file is None or row is None:
            continue
        if row.task not in TASKS or check_against_spec(row, TASKS[row.task].spec):
            wrong.append(run.folder)
            continue
        if row.split != "test" or row.config != "default":
            others.append(run.folder)
            continue
        key = (file.method.name, file.method.version, file.tags, row.dataset.provenance, row.key)
        if key in seen:
            twice.append(f"{run.folder} (as {seen[key]})")
            continue
        seen[key] = run.folder
        files[run.folder] = file
    reasons = (
        (twice, "is the same run as another, with the same seed", "are the same runs as others, with the same seeds"),
        (wrong, "does not fit the task as this version has it", "do not fit their tasks as this version has them"),
        (others, "is not on the test split", "are not on the test split"),
    )
    told = [
        f"{counted(len(places), 'result')} {one if len(places) == 1 else many}, and left out: {listed(places, 5)}."
        for places, one, many in reasons
        if places
    ]
    return files, told


def _is_synthetic(file: ResultFile) -> bool:
    return any(getattr(getattr(row, "dataset", None), "provenance", "") == SYNTHETIC for row in file.results)


def _board(own: Mapping[str, ResultFile], published: Mapping[str, ResultFile]) -> Board:
    tasks = {row.task for file in own.values() for row in file.results}
    specs = {name: task.spec for name, task in TASKS.items()}
    table = build_table({**published, **own}, specs, [name for name in specs if name in tasks])
    # of the panels nothing bears a mark but what rests on a fault, which stays unranked
    marks = {mark for line in table.lines if not line.paper for mark in line.marks}
    return rank(table, include=[mark for mark in MARKS if mark in marks])


def _tables(board: Board, made_up: bool) -> Iterator[Block]:
    statistics = analyse(board, DRAWS, 0)
    view = View(statistics, per_task=True)
    for table in ranked_tables(board, view):
        yield as_block(replace(table, title=f"{table.title}, made-up data") if made_up else table)
    for note in [*footnotes(board, view), *board.table.warnings]:
        yield Note(note)


def as_block(table: TextTable) -> Table:
    """A table of the leaderboard as one of a report."""
    rows = tuple(tuple(row) for row in table.rows)
    return Table(tuple(table.header), rows, table.title, best=table.best)


def _values(board: Board) -> Table:
    """The profile at some τ."""
    rows = [
        (standing.line.name, *(f"{100 * standing.profile(tau):.0f} %" for tau in TAUS)) for standing in board.standings
    ]
    return Table(("Share of tasks with τ ≤", *(f"{tau:g}" for tau in TAUS)), tuple(rows))


def _profile(board: Board, known: Looks, made_up: bool) -> Iterator[Block]:
    if not board.standings:
        return
    n = len(board.table.specs)
    title = f"Performance profile over {counted(n, 'task')}{', made-up data' if made_up else ''}"
    table = _values(board)
    left_out = max(0, len(board.standings) - MAX_LINES)
    if can_draw():
        svg = svg_of(lambda path: plot_profile(board, path, lambda standing: of_standing(known, standing)))
        yield Picture(svg, title, (table,))
        if left_out:
            yield Note(f"The picture has the {MAX_LINES} of the largest area, the table also the other {left_out}.")
    else:
        yield replace(table, title=title)
    dotted = "; dotted: published" if any(standing.line.paper for standing in board.standings) else ""
    yield Note(
        "The share of tasks on which a method's error is at most τ times the best of the methods shown; further left "
        f"and higher is better{dotted}. Of few tasks it says little, and another method in it can change the order of "
        "the others."
    )
