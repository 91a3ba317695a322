"""`nas360 verify`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from nas360.cli.output import console, one_bar_a_step, print_json, progress


def verify(
    source: Annotated[
        str, typer.Argument(metavar="DIR_OR_REPO", help="Folder of a dataset repository, or ORG/NAME[@REVISION].")
    ],
    quick: Annotated[
        bool, typer.Option("--quick", help="Decode some rows of each file only, and do not compute the content hash.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the faults as a JSON list.")] = False,
) -> None:
    """Find all that is wrong with a dataset repository, at once.

    Files and hashes, columns and rows, ids, labels, groups that must be in one split, card, metric.py, and whether
    load_dataset reads every split. Exit code: 0 without errors (warnings are for a person to judge), 2 with any.

    Examples:
    nas360 verify data/ecg

    nas360 verify data/ecg --quick --json

    nas360 verify nas360/ecg@v1.0.0
    """
    from nas360.loaders.repository.repositories import find_repository
    from nas360.loaders.repository.verify import verify as find_faults

    folder, _ = find_repository(source)
    with progress() as bars:
        report = one_bar_a_step(bars)
        faults = find_faults(folder, quick, report)
    n_errors = sum(fault.severity == "error" for fault in faults)
    if as_json:
        print_json([fault.public() for fault in faults])
    else:
        if faults:
            console.print(_table(faults))
        n_warnings = len(faults) - n_errors
        console.print(
            f"[bold]{escape(source)}[/]: {n_errors} error{'' if n_errors == 1 else 's'}, {n_warnings} "
            f"warning{'' if n_warnings == 1 else 's'}",
            highlight=False,
            soft_wrap=True,
        )
    if n_errors:
        raise typer.Exit(2)


def _table(faults: list[Any]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table("severity", "code", "what", box=box.SIMPLE_HEAD, pad_edge=False)
    colours = {"error": "red", "warning": "yellow"}
    for fault in sorted(faults, key=lambda fault: str(fault.severity)):
        table.add_row(f"[{colours[fault.severity]}]{fault.severity}[/]", escape(fault.code), escape(fault.message))
    return table
