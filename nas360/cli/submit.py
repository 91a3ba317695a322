"""`nas360 submit`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from nas360.cli.output import console, errors, plain, print_json, progress, warn
from nas360.errors import HubError, ResultError, UserError, first_faults
from nas360.hub import OFFICIAL_NAMESPACE

if TYPE_CHECKING:
    from nas360.hub import Commit
    from nas360.leaderboard.submission.submit import Submission

FOLDER = Path("submission")
"""Where entries are written that could not be sent, when no place is named."""


def submit(
    results: Annotated[list[Path], typer.Argument(metavar="RESULT…", help="Result files, or folders that hold some.")],
    predictions: Annotated[
        list[Path] | None,
        typer.Option("--predictions", help="A predictions file that a result states; found by its hash. Repeatable."),
    ] = None,
    bare: Annotated[
        bool, typer.Option("--no-predictions", help="Leave out the predictions that lie beside the results.")
    ] = False,
    to: Annotated[
        str, typer.Option("--to", metavar="OWNER/NAME", help="Dataset repository on the Hub that holds the results.")
    ] = f"{OFFICIAL_NAMESPACE}/results",
    pull_request: Annotated[
        bool, typer.Option("--pr/--no-pr", help="Open a pull request, or commit to main at once.")
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, and write the ready folder; send nothing. Needs no login.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Write the ready folder here.  \\[default: submission, if it is not sent]"
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Data to re-score with: a dataset folder, a folder of such, or a Hub repository. Repeatable.  "
            "\\[default: where `nas360 evaluate` looks]"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was submitted as JSON.")] = False,
) -> None:
    """Offer results to the leaderboard by a pull request, after checking them and scoring their predictions again.

    The predictions that lie beside a result go with it, so that everybody can score them again. All files are listed
    before anything is sent. Without a network the ready folder is written, and the command to send it is shown.

    Examples:
    nas360 submit runs/wrn/ecg/seed0 --dry-run

    nas360 submit runs/my_method --data datasets/

    nas360 submit result.json --predictions predictions.npz --to my-lab/results
    """
    from nas360.hub import check_repo_id
    from nas360.leaderboard.submission.rescore import Scorer
    from nas360.leaderboard.submission.send import send, write_folder
    from nas360.leaderboard.submission.submit import prepare

    check_repo_id(to)
    if bare and predictions:
        raise UserError("--predictions and --no-predictions exclude each other. Give one of them")
    scorer = Scorer(data or [])
    with progress() as bar:
        task = bar.add_task("scoring")
        ready = prepare(
            results,
            scorer,
            predictions or [],
            attach=not bare,
            report=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for warning in first_faults(ready.warnings):  # --json has all
        warn(warning)
    _list_files(ready, to)
    folder, done, failure = out, None, None
    if dry_run or out is not None:
        folder = folder or FOLDER
        write_folder(ready, folder)
    if not dry_run:
        try:
            _quiet_client()
            done = send(ready, to, pull_request)
        except HubError as error:
            failure = error
            folder = folder or FOLDER
            try:
                write_folder(ready, folder)
            except ResultError as second:
                raise HubError(f"{error}\nThe ready folder is not written either: {second}") from error
    command = None if done is not None or folder is None else _next(folder, to, pull_request, data or [])
    if as_json:
        print_json(_public(ready, to, done, folder, command, failure))
    else:
        _show(ready, to, done, folder, command)
    if failure is not None:
        raise failure


def _quiet_client() -> None:
    """No bars of the Hub's client where there is no terminal to draw them."""
    if not errors.is_terminal:
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()


def _next(folder: Path, to: str, pull_request: bool, data: list[str]) -> str:
    words = ["nas360", "submit", str(folder), "--to", to, *([] if pull_request else ["--no-pr"])]
    return shlex.join([*words, *(word for place in data for word in ("--data", place))])


def _list_files(ready: Submission, to: str) -> None:
    """All that would be public, before anything is sent."""
    errors.print(f"for {escape(to)}, public when it is sent:", highlight=False, soft_wrap=True)
    for name, size in ready.sizes.items():
        errors.print(f"  {size:>14,}  {escape(name)}", highlight=False, soft_wrap=True)


def _show(ready: Submission, to: str, done: Commit | None, folder: Path | None, command: str | None) -> None:
    from rich.table import Table
    from rich.text import Text

    title = "1 entry" if len(ready.results) == 1 else f"{len(ready.results)} entries"
    table = Table("method", "task", "seed", "score", "re-scored", title=title, title_justify="left")
    for row in ready.rescored:
        again = "yes" if row.outcome == "same" else f"no: {row.reason}"
        seed = "" if row.seed is None else str(row.seed)
        score = "none" if row.old is None else f"{row.old:.6g}"
        table.add_row(Text(row.method), row.task, seed, score, Text(plain(again)))
    console.print(table)
    lines = []
    if folder is not None:
        lines.append(f"written to {escape(plain(folder))}")
    if done is not None and not done.changed:
        lines.append(f"{escape(to)} holds these entries already; nothing was sent")
    elif done is not None and done.pull_request is not None:
        lines.append(f"pull request {escape(done.pull_request)}")
    elif done is not None:
        lines.append(f"commit {escape(done.url)}")
    if done is None:
        lines.append("nothing was sent; send it with:")
        lines.append(f"  {escape(plain(command))}")
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def _public(
    ready: Submission, to: str, done: Commit | None, folder: Path | None, command: str | None, failure: HubError | None
) -> dict[str, Any]:
    from nas360.hub import endpoint

    return {
        "repo": to,
        "endpoint": endpoint(),
        "submitted": done is not None,
        "changed": done.changed if done else None,
        "pull_request": done.pull_request if done else None,
        "revision": done.revision if done else None,
        "commit": done.oid if done else None,
        "url": done.url if done else None,
        "folder": None if folder is None else str(folder),
        "next": command,
        "error": None if failure is None else str(failure),
        "files": dict(ready.sizes),
        "rows": [row.public() for row in ready.rescored],
        "warnings": list(ready.warnings),
    }
