"""How commands speak: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress

console = Console()
"""For results that a person reads."""

errors = Console(stderr=True)
"""For errors, warnings and progress."""


def print_json(content: Any) -> None:
    """Write strict JSON to standard output, plain, as programs read it."""
    import typer

    typer.echo(json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False))


def warn(message: str) -> None:
    """Show a warning on standard error."""
    from rich.markup import escape

    errors.print(f"[yellow]warning[/]: {escape(message)}", highlight=False, soft_wrap=True)


@contextmanager
def progress(*, of_bytes: bool = False) -> Iterator[Progress]:
    """A progress display on standard error: description, bar, count, time left. Silent where there is no terminal.

    Args:
        of_bytes: count bytes, and show how many come a second.
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counts = [DownloadColumn(), TransferSpeedColumn()] if of_bytes else [MofNCompleteColumn()]
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *counts,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=False,
        disable=not errors.is_terminal,
    ) as bars:
        yield bars
