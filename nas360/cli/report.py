"""`nas360 report`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nas360.cli.output import console


class Form(StrEnum):
    """How a report is written."""

    html = "html"
    markdown = "markdown"


_SUFFIXES = {".html": Form.html, ".htm": Form.html, ".md": Form.markdown, ".markdown": Form.markdown}


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a benchmark, or any with runs in it.")],
    form: Annotated[
        Form | None, typer.Option("--format", help="By default html, or what the name in --out ends in.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file; DIR/report.html or DIR/report.md by default.")] = None,
    panel: Annotated[str, typer.Option(help="Published numbers to compare with: paper, published, or none.")] = "paper",
) -> None:
    """Write one page about all runs in a folder.

    It has the leaderboard beside the paper's methods, the performance profile, costs, learning curves, architectures,
    failures with their reasons, commands, data sets and machines. Runs are found at any depth; those that are not
    finished, or cannot be read, are told and stop nothing. The HTML file loads nothing and prints well; Markdown has
    tables in place of pictures.

    Examples:
    nas360 report runs

    nas360 report benchmark --out report.html

    nas360 report benchmark --format markdown
    """
    from rich.markup import escape

    from nas360.bench.report.html import to_html
    from nas360.bench.report.make import make_report
    from nas360.bench.report.markdown import to_markdown
    from nas360.files import write_text

    chosen = form or (_SUFFIXES.get(out.suffix.lower()) if out is not None else None) or Form.html
    path = out or folder / ("report.md" if chosen is Form.markdown else "report.html")
    page = make_report(folder, panel)
    write_text(path, to_markdown(page) if chosen is Form.markdown else to_html(page))
    console.print(escape(str(path)), highlight=False, soft_wrap=True)
