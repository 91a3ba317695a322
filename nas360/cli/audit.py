"""`nas360 audit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape

from nas360.cli.output import console, errors, one_bar_a_step, print_json, progress, warn


def audit(
    source: Annotated[
        str, typer.Argument(metavar="DIR_OR_REPO", help="Folder of a dataset repository, or ORG/NAME[@REVISION].")
    ],
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            help="Column whose values are compared across splits; repeatable.  \\[default: all that look like keys]",
        ),
    ] = None,
    write: Annotated[
        bool | None,
        typer.Option(
            "--write/--no-write",
            help="Write audit.json and the card's section.  \\[default: into a folder, not for a Hub repository]",
        ),
    ] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", min=0.5, max=1.0, help="Least correlation of near duplicates.")
    ] = 0.99,
    sample: Annotated[
        int, typer.Option("--sample", min=1, help="Rows of a split that near duplicates are looked for of.")
    ] = 2000,
    as_json: Annotated[bool, typer.Option("--json", help="Print the audit as JSON.")] = False,
) -> None:
    """Measure what the splits of a dataset share: equal and almost equal rows, groups, and label shift.

    The audit is written into the repository as audit.json and shown on its card; manifest and data stay as they are.
    Near duplicates are looked for from a seeded sample of rows, so their shares come with an interval.

    Examples:
    nas360 audit data/ecg

    nas360 audit data/ninapro --columns subject --columns repetition --no-write --json

    nas360 audit nas360/cifar100
    """
    from nas360.errors import UserError
    from nas360.loaders.data import load_task
    from nas360.loaders.repository.audit import audit as measure
    from nas360.loaders.repository.audit import conflicts, write_audit
    from nas360.loaders.repository.manifest import read_manifest
    from nas360.loaders.repository.near_duplicates import Settings
    from nas360.loaders.repository.repositories import find_repository

    folder, own = find_repository(source)
    if write and not own:
        raise UserError(f"{source} is on the Hub and cannot be written to. Leave --write out, or give a folder")
    with progress() as bars:
        report = one_bar_a_step(bars)
        data = load_task(read_manifest(folder).task, folder)
        found = measure(data, columns or (), Settings(threshold=threshold, sample=sample), report)
    if own and write is not False:
        errors.print(f"wrote {escape(', '.join(write_audit(folder, found)))}", highlight=False)
    for told in conflicts(found):
        warn(told)
    if as_json:
        print_json(found)
        return
    console.print(_table(found["summary"]))


def _table(summary: Mapping[str, Any]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table("check", "where", "figures", box=box.SIMPLE_HEAD, pad_edge=False)
    for check, part in summary.items():
        for where, figures in part.items():
            shown = (
                ", ".join(f"{name} {value}" for name, value in figures.items())
                if isinstance(figures, Mapping)
                else str(figures)
            )
            table.add_row(escape(check.replace("_", " ")), escape(where), escape(shown.replace("_", " ")))
    return table
