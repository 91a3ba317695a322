"""`nas360 rescore`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas360.cli.output import console, plain, print_json, progress, warn
from nas360.errors import ResultError

if TYPE_CHECKING:
    from nas360.leaderboard.submission.rank_moves import RankMove
    from nas360.leaderboard.submission.rescore import Rescored

SHOWN = 50


def rescore(
    results: Annotated[list[Path], typer.Argument(metavar="DIR…", help="Result files, or folders that hold some.")],
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Data to score with: a dataset folder, a folder of such, or a Hub repository. Repeatable.  "
            "\\[default: where `nas360 evaluate` looks]"
        ),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write the new scores into the result files; else they are only shown.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Leave with code 2 when anything moved, or lacks the predictions that it claims."),
    ] = False,
    panel: Annotated[
        str, typer.Option(help="Published numbers to rank beside the results: paper, published, or none.")
    ] = "paper",
    tolerance: Annotated[
        float, typer.Option(help="A score that differs by no more is the same, in the metric's unit.")
    ] = 1e-6,
    as_json: Annotated[bool, typer.Option("--json", help="Print every row as JSON.")] = False,
) -> None:
    """Compute all scores again from stored predictions, for instance after a metric was mended; show what moved.

    The predictions must be those of the result, by hash and number, and the data those on which it was scored, by
    their content. Rows that cannot be scored are listed with the reason. With --write a result file gets the new score
    and extra metrics, this nas360's version and a note, and nothing else of it changes.

    Examples:
    nas360 rescore runs/

    nas360 rescore entries/ --data datasets/ --write
    """
    from nas360.leaderboard.sources import load_files, load_panel
    from nas360.leaderboard.submission.rank_moves import rank_moves
    from nas360.leaderboard.submission.rescore import Scorer, to_write, write_moved
    from nas360.leaderboard.submission.rescore import rescore as score_again
    from nas360.loaders import TASKS

    foreign: list[Path] = []
    beside = load_panel(panel)
    scorer = Scorer(data or [], tolerance)
    files = load_files(results, foreign)
    with progress() as bar:
        task = bar.add_task("scoring")
        found = score_again(files, scorer, report=lambda done, total: bar.update(task, completed=done, total=total))
    moves: list[RankMove] = []
    if to_write(found):
        specs = {name: task.spec for name, task in TASKS.items()}
        try:
            moves = rank_moves(files, found, specs, beside)
        except ResultError as error:
            warn(f"no ranks, for these results cannot be ranked together: {error}")
    written = write_moved(found) if write else []
    if as_json:
        counts = Counter(row.outcome for row in found)
        print_json(
            {
                "counts": {outcome: counts[outcome] for outcome in ("same", "moved", "fault", "unscored")},
                "tolerance": tolerance,
                "rows": [row.public() for row in found],
                "ranks": [move.public() for move in moves],
                "written": written,
            }
        )
    else:
        _show(found, moves, written)
    faults = [row for row in found if row.outcome == "fault"]
    if faults:
        raise ResultError(_listed("the predictions are not those of their rows", faults))
    unfounded = [
        replace(row, reason=f"{row.reason}, but the submission's status is 'rescored'")
        for row in found
        if row.outcome == "unscored" and row.old is not None and row.predictions is None
        if files[row.file].submission.status == "rescored"
    ]
    if check and unfounded:
        raise ResultError(_listed("what is said to be re-scored cannot be", unfounded))
    moved = [row for row in found if row.outcome == "moved"]
    if check and moved:
        raise ResultError(f"{len(moved)} of {len(found)} rows moved; see above. Write them with --write")


def _listed(what: str, rows: Sequence[Rescored]) -> str:
    lines = [f"  {plain(row.file)}: results/{row.index}: {plain(row.reason)}" for row in rows[:SHOWN]]
    more = [f"  and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
    return "\n".join([f"{what}, {len(rows)} of them:", *lines, *more])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _show(found: Sequence[Rescored], moves: Sequence[RankMove], written: Sequence[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    moved = [row for row in found if row.outcome == "moved"]
    if moved:
        table = Table("method", "task", "seed", "old", "new", "difference", "also", title="moved", title_justify="left")
        for row in moved[:SHOWN]:
            numbers = [f"{row.old:.8g}", f"{row.new:.8g}", f"{row.difference:+.3g}"]
            also = Text(plain(", ".join(row.moved_extra)))
            table.add_row(Text(row.method), row.task, str(row.seed), *numbers, also)
        console.print(table)
        if len(moved) > SHOWN:
            console.print(f"and {len(moved) - SHOWN} more; --json has all", highlight=False)
    if moves:
        table = Table("method", "place", "median rank", title="ranks", title_justify="left")
        for move in moves:
            place = f"{move.old_place} → {move.new_place}"
            table.add_row(Text(plain(move.line)), place, f"{move.old_median:g} → {move.new_median:g}")
        console.print(table)
    unscored = [row for row in found if row.outcome == "unscored"]
    if unscored:
        console.print(Text(_listed("not re-scored", unscored)), soft_wrap=True)
    counts = Counter(row.outcome for row in found)
    console.print(
        f"{_count(len(found), 'row')}: {counts['same']} same, {counts['moved']} moved, "
        f"{counts['unscored']} not re-scored, {counts['fault']} with a fault; {_count(len(written), 'file')} written",
        highlight=False,
    )
