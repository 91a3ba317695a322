"""`nas360 validate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from nas360.cli.output import console, plain, print_json

if TYPE_CHECKING:
    from nas360.faults import Fault
    from nas360.leaderboard.validation.places import Report


class Format(StrEnum):
    """How faults are told."""

    rich = "rich"
    json = "json"
    github = "github"


_MAX_SHOWN = 200


def validate(
    results: Annotated[
        list[Path] | None, typer.Argument(metavar="FILES|DIR", help="Result files, or folders that hold some.")
    ] = None,
    format_: Annotated[
        Format, typer.Option("--format", help="rich for people, json for programs, github for annotations in CI.")
    ] = Format.rich,
    explain: Annotated[str | None, typer.Option(metavar="CODE", help="Say what a code means, and leave.")] = None,
    codes: Annotated[bool, typer.Option("--codes", help="List all codes, and leave.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of result files, and leave.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes for many files.")] = 2,
) -> None:
    """Find everything that is wrong with result files, at once.

    Each fault has a code, a JSON pointer, the value, the rule and what to do. Errors keep a file off the leaderboard;
    warnings are for a person to judge. Exit code: 0 without errors, 2 with any.

    Examples:
    nas360 validate runs/wrn/ecg/seed0/result.json

    nas360 validate runs/ --format github

    nas360 validate --explain NAS360-E033

    nas360 validate --schema > result.schema.json
    """
    if explain is not None:
        _explain(explain)
    elif codes:
        _list_codes(format_)
    elif schema:
        from nas360.results import json_schema

        print_json(json_schema())
    else:
        _validate(results or [], format_, workers)


def _validate(places: list[Path], format_: Format, workers: int) -> None:
    from nas360.errors import UserError
    from nas360.leaderboard.validation.places import check_places
    from nas360.loaders import TASKS

    if not places:
        raise UserError("nothing to validate. Name result files, or folders that hold some")
    report = check_places(places, {name: task.spec for name, task in TASKS.items()}, workers)
    if format_ is Format.json:
        print_json(
            {
                "files": len(report.files),
                "errors": report.n_errors,
                "warnings": len(report.faults) - report.n_errors,
                "passed_over": [plain(str(path)) for path in report.foreign],
                "faults": [{**fault.public(), "file": plain(fault.file)} for fault in report.faults],
            }
        )
    elif format_ is Format.github:
        from nas360.leaderboard.validation.github import github_lines

        for line in github_lines(report.faults):
            typer.echo(line)
        typer.echo(_summary(report))
    else:
        _print(report)
    if report.n_errors:
        raise typer.Exit(2)


def _summary(report: Report) -> str:
    n_warnings = len(report.faults) - report.n_errors
    passed = f", passed over {_count(len(report.foreign), 'other JSON file')}" if report.foreign else ""
    return (
        f"{_count(len(report.files), 'file')}: {_count(report.n_errors, 'error')}, "
        f"{_count(n_warnings, 'warning')}{passed}"
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _print(report: Report) -> None:
    file = None
    shown = sorted(report.faults, key=lambda fault: fault.severity)[:_MAX_SHOWN]
    kept = {id(fault) for fault in shown}  # errors before warnings, where there are too many for a screen
    for fault in report.faults:
        if id(fault) not in kept:
            continue
        if fault.file != file:
            file = fault.file
            console.print(f"[bold]{escape(plain(file))}[/]", highlight=False, soft_wrap=True)
        _print_fault(fault)
    if len(report.faults) > len(shown):
        console.print(f"and {len(report.faults) - len(shown):,} more; --format json has them all", highlight=False)
    console.print(f"[bold]{_summary(report)}[/]", highlight=False)


def _print_fault(fault: Fault) -> None:
    colour = "red" if fault.severity == "error" else "yellow"
    place = plain(fault.pointer) or "the file"
    value = f" = {plain(fault.value)}" if fault.value else ""
    lines = [
        f"  [{colour}]{fault.severity}[/] [bold]{fault.code}[/] {escape(place + value)}",
        f"    {escape(plain(fault.rule))}",
    ]
    if fault.fix:
        lines.append(f"    → {escape(plain(fault.fix))}")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _explain(code: str) -> None:
    from nas360.errors import UnknownNameError
    from nas360.fault_codes import CODES, PREFIX
    from nas360.registry import did_you_mean

    name = code.upper() if code.upper().startswith(PREFIX) else PREFIX + code.upper()
    if name not in CODES:
        raise UnknownNameError(f"unknown code {code!r}.{did_you_mean(name, CODES)} `nas360 validate --codes` lists all")
    meaning = CODES[name]
    console.print(f"[bold]{name}[/] ({_severity(name)}): {escape(meaning.title)}", highlight=False)
    for label, text in (("why", meaning.why), ("fix", meaning.fix)):
        console.print(f"  {label}: {escape(text)}", highlight=False, soft_wrap=True)


def _severity(code: str) -> str:
    from nas360.fault_codes import PREFIX

    return "error" if code.removeprefix(PREFIX).startswith("E") else "warning"


def _list_codes(format_: Format) -> None:
    from nas360.fault_codes import CODES

    if format_ is Format.json:
        listed: list[dict[str, Any]] = [
            {"code": code, "severity": _severity(code), **meaning._asdict()} for code, meaning in CODES.items()
        ]
        print_json(listed)
        return
    from rich import box
    from rich.table import Table

    table = Table("code", "severity", "what", box=box.SIMPLE_HEAD, pad_edge=False)
    for code, meaning in CODES.items():
        colour = "red" if _severity(code) == "error" else "yellow"
        table.add_row(code, f"[{colour}]{_severity(code)}[/]", escape(meaning.title))
    console.print(table)
