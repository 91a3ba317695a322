"""`nas360 leaderboard`."""

from __future__ import annotations

import io
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas360.cli.output import console, print_json, warn

if TYPE_CHECKING:
    from nas360.leaderboard.board import Board
    from nas360.leaderboard.output.render import View
    from nas360.leaderboard.stats.statistics import Statistics
    from nas360.results import ResultFile


class Format(StrEnum):
    """How a leaderboard is written."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"
    latex = "latex"
    html = "html"


_BY_SUFFIX = {
    ".json": Format.json,
    ".csv": Format.csv,
    ".md": Format.markdown,
    ".tex": Format.latex,
    ".html": Format.html,
    ".htm": Format.html,
}


def leaderboard(
    results: Annotated[
        list[Path] | None, typer.Argument(help="Result files, or folders that hold some, to set beside the panel.")
    ] = None,
    panel: Annotated[str, typer.Option(help="Published numbers to compare with: paper, published, or none.")] = "paper",
    tasks: Annotated[str, typer.Option(help="Rank on these tasks only: ids, with commas.")] = "",
    methods: Annotated[str, typer.Option(help="Show these methods only: names, with commas.")] = "",
    baseline: Annotated[
        str | None, typer.Option(help="The method that improvement refers to; wrn, where it is ranked, by default.")
    ] = None,
    include: Annotated[
        str,
        typer.Option(
            help="Also rank other conditions: small, smoke, partial, generated, synthetic, faulty, with commas; or all."
        ),
    ] = "",
    per_task: Annotated[bool, typer.Option("--per-task", help="Show the score on every task as well.")] = False,
    stability: Annotated[
        bool, typer.Option("--stability", help="Show how ranks move when one task or one method is left out.")
    ] = False,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Show wins and tests of every pair of methods (Wilcoxon, Holm).")
    ] = False,
    draws: Annotated[
        int, typer.Option(help="Draws of the bootstrap behind intervals and tie groups; 0 leaves both out.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    format_: Annotated[
        Format | None, typer.Option("--format", help="By default table, or what the name in --out ends in.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of the screen.")] = None,
    plot: Annotated[
        list[Path] | None, typer.Option(help="Draw a picture into this .png, .svg or .pdf; may be repeated.")
    ] = None,
    plot_kind: Annotated[
        list[str] | None,
        typer.Option(
            help="profile (the default), critical-difference, cost, or all three, whose names are then added to the "
            "file's. Repeated, one for each --plot."
        ),
    ] = None,
    tau_max: Annotated[float, typer.Option(help="Where the area below the profile ends.")] = 4.0,
) -> None:
    """Rank methods: median rank with its uncertainty, improvement over a baseline, performance profile.

    Results that were made with the full budget on the official data rank, and so do published numbers. Results of
    a smaller budget, or on partial, generated or synthetic data, are shown below with the place they would have;
    --include ranks them too. Methods that share a letter in the column of tie groups are not told apart by these
    tasks and seeds.

    Examples:
    nas360 leaderboard

    nas360 leaderboard runs/ --per-task

    nas360 leaderboard runs/wrn --tasks darcy_flow --include small,generated --plot profile.png

    nas360 leaderboard --panel published --out page.html --plot board.pdf --plot-kind all

    nas360 leaderboard --panel none my_results/ --baseline my_method --format csv --out board.csv
    """
    from nas360.leaderboard.board import rank
    from nas360.leaderboard.output.plot import pictures
    from nas360.leaderboard.output.render import View
    from nas360.leaderboard.sources import load_files, load_panel
    from nas360.leaderboard.table import MARKS, build_table
    from nas360.loaders import TASKS

    wanted = pictures(plot or [], plot_kind or [])
    foreign: list[Path] = []
    files = {**load_panel(panel), **load_files(results or [], foreign)}
    if foreign:
        warn(_passed_over(foreign))
    table = build_table(files, {name: task.spec for name, task in TASKS.items()}, _names(tasks), _names(methods))
    included = list(MARKS) if _names(include) == ["all"] else _names(include)
    board = rank(table, baseline, included, tau_max)
    statistics = _statistics(board, draws, seed)
    form = Format.json if as_json else format_ or (_BY_SUFFIX.get(out.suffix.lower()) if out else None) or Format.table
    _write(board, files, form, out, View(statistics, per_task, stability, pairs))
    _warn(board)
    for path, kind, named in wanted:
        _draw(board, statistics, path, kind, named)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _passed_over(paths: list[Path], shown: int = 3) -> str:
    # a file's name may hold anything, the codes that steer a terminal too
    names = ["".join(sign if sign.isprintable() else "?" for sign in str(path)) for path in paths[:shown]]
    more = f" and {len(paths) - shown} more" if len(paths) > shown else ""
    what = "1 JSON file that is no result file" if len(paths) == 1 else f"{len(paths)} JSON files that are no results"
    return f"passed over {what}: {', '.join(names)}{more}"


def _statistics(board: Board, draws: int, seed: int) -> Statistics:
    from nas360.leaderboard.stats.statistics import analyse

    if draws:
        return analyse(board, draws, seed)
    # all but what the bootstrap tells
    return replace(analyse(board, 1, seed), draws=0, rank_interval={}, mean_rank_interval={}, tie_group={})


def _write(board: Board, files: dict[str, ResultFile], form: Format, out: Path | None, view: View) -> None:
    from nas360.files import write_json, write_text
    from nas360.leaderboard.output.render import to_csv, to_json, to_latex, to_markdown, to_rich

    if form is Format.json:
        content = to_json(board, files, view.statistics)
        write_json(out, content) if out else print_json(content)
        return
    if form is Format.table:
        from rich.console import Console

        target = Console(file=io.StringIO(), width=120) if out else console
        for part in to_rich(board, view):
            target.print(part, crop=False)  # what is wider than the terminal wraps, and is not lost
        if out and isinstance(target.file, io.StringIO):
            write_text(out, target.file.getvalue())
        return
    if form is Format.csv:
        text = to_csv(board, view.statistics)
    elif form is Format.latex:
        text = to_latex(board, view)
    elif form is Format.html:
        from nas360.leaderboard.page import page

        assert view.statistics is not None  # _statistics always gives some
        text = page(board, view.statistics)
    else:
        text = to_markdown(board, view)
    write_text(out, text) if out else typer.echo(text, nl=False)


def _draw(board: Board, statistics: Statistics, path: Path, kind: str, named: bool) -> None:
    from nas360.errors import MissingExtraError, UserError
    from nas360.leaderboard.output.plot import plot

    try:
        left_out = plot(kind, board, statistics, path)
    except MissingExtraError:
        raise
    except UserError as nothing:
        # of all kinds, some may have nothing to show; that is a fault only where the user named the kind
        if named:
            raise
        warn(str(nothing))
    else:
        if left_out:
            warn(left_out)


def _warn(board: Board) -> None:
    for warning in board.table.warnings:
        warn(warning)
    if board.unranked:
        marks = sorted({mark for entry in board.unranked for mark in entry.line.marks} | set(board.included))
        warn(
            f"not ranked: {', '.join(entry.line.id for entry in board.unranked[:5])}"
            + (f" and {len(board.unranked) - 5} more" if len(board.unranked) > 5 else "")
            + f". --include {','.join(marks)} ranks them too"
        )
    if not board.standings and not board.unranked:
        warn("no results to show: name result files, another --panel, or other --tasks and --methods")
    elif board.standings and board.baseline is None:
        warn("there is no ranked 'wrn' to compare with, so improvement is left out; name another by --baseline")
