"""What the statistics of a board say, as sentences and tables: what is not told apart, and what ranks hang on."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nas360.leaderboard.board import Board
from nas360.leaderboard.output.tables import ABSENT, Fits, TextTable, View, area_ends, range_text, rank_text, spread
from nas360.leaderboard.stats.bootstrap import MIN_COMMON
from nas360.leaderboard.stats.statistics import Statistics
from nas360.task import TaskSpec

MAX_NAMES = 8
"""In one sentence; of more, their number is told."""


def footnotes(board: Board, view: View) -> list[str]:
    """What a reader of the tables must know, one sentence or two each."""
    notes = []
    if any(standing.partial for standing in board.standings):
        notes.append("* over the tasks that the method ran; one that it did not run adds nothing to the area.")
    if board.standings:
        ends = " and ".join(f"{end:g}" for end in area_ends(board))
        notes.append(f"Area below the performance profile, up to {ends} times the best error; 1 is best everywhere.")
    if view.statistics is not None and board.standings:
        notes += statements(board, view.statistics)
    let_in = [mark for mark in board.included if any(mark in standing.line.marks for standing in board.standings)]
    if let_in:
        notes.append(f"Ranked although their conditions differ: results marked {', '.join(let_in)}.")
    return notes


def statements(board: Board, statistics: Statistics) -> list[str]:
    """How far the ranks of a board can be trusted.

    Returns:
        What intervals are, which methods are not separable, the resolution floor, the policy for missing tasks; those
        of them that there is something to say about.
    """
    notes = []
    names = {standing.line.id: standing.line.name for standing in board.standings}
    if statistics.rank_interval:
        notes.append(
            f"95 % interval of the median rank: bootstrap over tasks and seeds, {statistics.draws:,} draws, "
            f"seed {statistics.seed}."
        )
    if len(statistics.tie_group) > 1 and len(board.table.specs) < MIN_COMMON:
        notes.append(f"Not separable: fewer than {MIN_COMMON} tasks are too few to tell any two methods apart.")
    elif len(statistics.tie_group) > 1:
        notes.append(not_separable(names, statistics.tie_group))
    if statistics.friedman is not None:
        test, distance = statistics.friedman, statistics.nemenyi_distance
        p = "< 0.001" if test.p < 0.001 else f"= {test.p:.3f}"
        floor = (
            ""
            if distance is None
            else f"mean ranks closer than {distance:.2f} are not told apart (Nemenyi distance, alpha 0.05); "
        )
        notes.append(
            f"Resolution: with {test.n_tasks} tasks and the {test.n_methods} methods that ran all of them, {floor}"
            f"Friedman test p {p}."
        )
    elif len(board.table.specs) > 1 and len(names) > 1:
        notes.append("Resolution: not known, for fewer than three methods ran every task.")
    if statistics.policy:
        notes.append(f"Missing tasks: {statistics.policy[0].lower()}{statistics.policy[1:]}")
    return notes


def not_separable(names: Mapping[str, str], groups: Mapping[str, str]) -> str:
    """Which methods share a letter.

    Args:
        names: line id → name.
        groups: line id → letters.

    Example:
        >>> not_separable({"x": "X", "y": "Y", "z": "Z"}, {"x": "a", "y": "ab", "z": "b"})
        'Not separable (they share a letter): a: X, Y; b: Y, Z.'
    """
    members: dict[str, list[str]] = {}
    for line, name in names.items():
        for letter in re.findall(r"[a-z]\d*", groups.get(line, "")):
            members.setdefault(letter, []).append(name)
    together = {letter: found for letter, found in members.items() if len(found) > 1}
    if not together:
        return "All methods are told apart: no two share a letter."
    if any(len(found) == len(groups) for found in together.values()):
        return f"Not separable: none of the {len(groups)} methods is told apart from any other."
    return f"Not separable (they share a letter): {'; '.join(f'{k}: {_some(v)}' for k, v in together.items())}."


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def stability_tables(board: Board, statistics: Statistics, fits: Fits | None) -> list[TextTable]:
    """How median ranks move when one task or one method is left out."""
    if len(board.table.specs) < 2 and len(board.standings) < 2:
        return []
    names = {standing.line.id: standing.line.name for standing in board.standings}
    rows = []
    for standing in board.standings:
        line = standing.line.id
        by_task = {task: ranks[line] for task, ranks in statistics.without_task.items() if line in ranks}
        by_method = {
            names.get(other, other): ranks[line]
            for other, ranks in statistics.without_method.items()
            if other != line and line in ranks
        }
        rows.append(
            [
                standing.line.name,
                rank_text(standing.median_rank),
                *_moved(standing.median_rank, by_task),
                *_moved(standing.median_rank, by_method),
            ]
        )
    header = ["Method", "Median\nrank", "Without\none task", "Moved most by", "Without\none method", "Moved most by"]
    found = [TextTable("Stability: median rank when one is left out", header, rows, (5, 3))]

    def make(specs: list[TaskSpec], title: str) -> TextTable:
        cells = [
            [
                standing.line.name,
                *(_rank(statistics.without_task.get(spec.id, {}).get(standing.line.id)) for spec in specs),
            ]
            for standing in board.standings
        ]
        return TextTable(title, ["Method", *(spec.name for spec in specs)], cells)

    title = "Median rank without the task"
    return found + spread(list(board.table.specs.values()), make, title, f"{title}, continued", fits)


def _rank(rank: float | None) -> str:
    return ABSENT if rank is None else rank_text(rank)


def _moved(rank: float, without: Mapping[str, float]) -> list[str]:
    """The range of ranks, and what moves the rank furthest: the first of several."""
    if not without:
        return [ABSENT, ABSENT]
    low, high = min(without.values()), max(without.values())
    furthest = max(without, key=lambda name: abs(without[name] - rank))
    text = rank_text(low) if low == high else range_text(low, high)
    return [text, furthest if without[furthest] != rank else "none"]


def pair_table(board: Board, statistics: Statistics, most: int | None = None) -> list[TextTable]:
    """Every pair of methods: wins, and Wilcoxon's test with Holm's correction; the surest differences first.

    Args:
        board: the leaderboard.
        statistics: of the same board.
        most: how many pairs are shown; None shows all.
    """
    if not statistics.pairs:
        return []
    names = {standing.line.id: standing.line.name for standing in board.standings}
    ordered = sorted(statistics.pairs, key=lambda pair: (pair.p_holm, pair.p))
    rows = [
        [
            f"{names.get(pair.a, pair.a)} : {names.get(pair.b, pair.b)}",
            str(pair.n_tasks),
            f"{pair.wins_a}:{pair.ties}:{pair.wins_b}",
            _share(statistics.win_rate.get(pair.a, {}).get(pair.b)),
            # without a task in common there is no test, whose p would be 1
            _p(pair.p) if pair.n_tasks else ABSENT,
            _p(pair.p_holm) if pair.n_tasks else ABSENT,
        ]
        for pair in ordered[:most]
    ]
    header = ["Pair", "Tasks", "Wins : ties\n: losses", "Win\nrate", "Wilcoxon\np", "Holm\np"]
    title = "Pairs of methods over the tasks that both ran"
    if len(rows) < len(ordered):
        title += f": the {len(rows)} surest of {len(ordered):,}, all in other formats"
    return [TextTable(title, header, rows, (1,))]


def _share(rate: float | None) -> str:
    return ABSENT if rate is None else f"{100 * rate:.0f}%"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
