"""How commands speak: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.text import Text


def visible(text: str) -> str:
    r"""A text with what steers a terminal, or cannot be seen, written out; line ends are kept.

    Messages quote names and lines out of files of strangers, which could move the cursor or turn the writing round.

    Example:
        >>> print(visible("red \x1b[31m, back \r, right to left \u202e"))
        red \x1b[31m, back \r, right to left \u202e
    """
    return _written_out(text, lambda sign: sign.encode("unicode_escape").decode())


def plain(text: object) -> str:
    """A text of strangers on one line, for a terminal or for JSON: what `visible` writes out is a question mark."""
    return "".join(sign if sign.isprintable() else "?" for sign in str(text))


def _written_out(text: str, write: Callable[[str], str]) -> str:
    return "".join(sign if sign.isprintable() or sign == "\n" else write(sign) for sign in text)


class _Careful(Console):
    """A console on which every text is `visible`, whoever prints it; rich itself leaves most codes in."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a text of a string with markup."""
        # before rich leaves carriage returns out without a trace
        return super().render_str(visible(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Make pieces of anything that can be printed; rich's own codes are apart from the text."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)


console = _Careful()
"""For results that a person reads."""

errors = _Careful(stderr=True)
"""For errors, warnings and progress."""


def print_json(content: Any) -> None:
    """Write strict JSON to standard output, plain, as programs read it."""
    import typer

    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
    # JSON leaves in what a terminal may obey too, but has a way to write it
    typer.echo(_written_out(text, lambda sign: json.dumps(sign)[1:-1]))


def warn(message: str) -> None:
    """Show a warning on standard error."""
    from rich.markup import escape

    errors.print(f"[yellow]warning[/]: {escape(message)}", highlight=False, soft_wrap=True)


def progress_bars(*, of_bytes: bool = False, console: Console = errors) -> Progress:
    """A progress display that is not begun: description, bar, count, time left. Silent where there is no terminal.

    Args:
        of_bytes: count bytes, and show how many come a second.
        console: by default standard error.
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
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *counts,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=False,
        disable=not console.is_terminal,
    )


@contextmanager
def progress(*, of_bytes: bool = False) -> Iterator[Progress]:
    """`progress_bars` on standard error while a block runs."""
    with progress_bars(of_bytes=of_bytes, console=errors) as begun:
        yield begun


def one_bar_a_step(bars: Progress, prefix: str = "") -> Callable[..., None]:
    """A listener `(step, done, total=None)` that gives every step a bar of its own when it is first heard of.

    Args:
        bars: from `progress`.
        prefix: stands before the names of the steps.
    """
    known: dict[str, Any] = {}

    def report(step: str, done: int, total: int | None = None) -> None:
        if step not in known:
            known[step] = bars.add_task(f"{prefix}{step}", total=total)
        bars.update(known[step], completed=done, total=total)

    return report
