"""The pictures of a leaderboard, by name. Need the extra `plots`."""

from __future__ import annotations

from pathlib import Path

from nas360.errors import UnknownNameError, UserError
from nas360.leaderboard.board import Board
from nas360.leaderboard.output.plot_cost import plot_cost
from nas360.leaderboard.output.plot_critical_difference import plot_critical_difference
from nas360.leaderboard.output.plot_profile import MAX_LINES, plot_profile
from nas360.leaderboard.stats.statistics import Statistics
from nas360.pictures import check_plot
from nas360.registry import did_you_mean

__all__ = [
    "ALL",
    "KINDS",
    "MAX_LINES",
    "check_plot",
    "pictures",
    "plot",
    "plot_cost",
    "plot_critical_difference",
    "plot_profile",
]

KINDS = ("profile", "critical-difference", "cost")
ALL = "all"


def pictures(paths: list[Path], kinds: list[str]) -> list[tuple[Path, str, bool]]:
    """Which pictures go into which files.

    Args:
        paths: names that a user gave.
        kinds: of `KINDS`, or `ALL`. None draws the profile; one is drawn into every file; else one for each file.

    Returns:
        (file, kind, whether the user named this kind) of each. `ALL` makes three files of one name:
        `board.svg` stands for `board-profile.svg`, `board-critical-difference.svg`, `board-cost.svg`.

    Raises:
        UnknownNameError: no such kind.
        UserError: as many kinds as files were expected, a file would be written twice, or a suffix is not a picture's.
        MissingExtraError: matplotlib is not installed.
    """
    for kind in kinds:
        if kind not in (*KINDS, ALL):
            known = (*KINDS, ALL)
            raise UnknownNameError(f"no picture {kind!r}.{did_you_mean(kind, known)} Known: {', '.join(known)}")
    if kinds and not paths:
        raise UserError(f"--plot-kind {kinds[0]} without --plot: name the file to draw into, for instance --plot a.svg")
    if len(kinds) > 1 and len(kinds) != len(paths):
        raise UserError(
            f"{len(kinds)} --plot-kind for {len(paths)} --plot; give one kind for all files, or one for each in order"
        )
    found = []
    for index, path in enumerate(paths):
        check_plot(path)
        kind = kinds[index if len(kinds) > 1 else 0] if kinds else KINDS[0]
        if kind == ALL:
            found += [(path.with_name(f"{path.stem}-{each}{path.suffix}"), each, False) for each in KINDS]
        else:
            found.append((path, kind, True))
    twice = [str(path) for path, _, _ in found if sum(other == path for other, _, _ in found) > 1]
    if twice:
        raise UserError(f"{twice[0]} would be drawn into twice; give each picture a name of its own")
    return found


def plot(kind: str, board: Board, statistics: Statistics | None, path: Path) -> str:
    """Draw one picture.

    Args:
        kind: of `KINDS`.
        board: the leaderboard.
        statistics: of the same board; only the profile does without.
        path: ends in .png, .svg or .pdf. Equal boards give equal files.

    Returns:
        What of the board it does not show, one sentence; empty when it shows all.

    Raises:
        UserError: there is nothing to draw.
        MissingExtraError: matplotlib is not installed.
    """
    if kind == "profile":
        left_out = plot_profile(board, path)
        return f"{path} shows the methods of the largest area; {left_out} more are left out" if left_out else ""
    if statistics is None:
        raise UserError(f"{path}: the picture {kind!r} needs statistics of the board")
    if kind == "cost":
        left_out = plot_cost(board, statistics, path)
        return (
            f"{path} shows the front and the methods of the least error; {left_out} more are left out"
            if left_out
            else ""
        )
    left_out = plot_critical_difference(board, statistics, path)
    return f"{path} shows the methods of the best mean rank; {left_out} more are left out" if left_out else ""
