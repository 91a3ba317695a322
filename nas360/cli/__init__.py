"""The command line: a table of commands, each loaded when it is called.

`nas360 --help` reads this table alone, so that it loads nothing heavy. A command is a function in its own file.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nas360.cli.output import errors
from nas360.errors import Nas360Error

COMMANDS = {
    "demo": ("nas360.cli.demo:demo", "Go the whole way once, on true data that is made here, in two to four minutes."),
    "tasks": ("nas360.cli.tasks:tasks", "List the ten tasks."),
    "methods": ("nas360.cli.methods:methods", "List the methods."),
    "info": ("nas360.cli.info:info", "Show a task, or a method on a task: parameters, multiply-adds, shapes."),
    "prepare": (
        "nas360.cli.prepare:prepare",
        "Make a dataset repository from raw files, a generator, or a synthetic twin.",
    ),
    "verify": ("nas360.cli.verify:verify", "Find all that is wrong with a dataset repository."),
    "audit": ("nas360.cli.audit:audit", "Measure what a dataset's splits share: duplicates, groups, label shift."),
    "publish": ("nas360.cli.publish:publish", "Publish a dataset repository on the Hugging Face Hub."),
    "run": ("nas360.cli.run:run", "Search, train, predict and score: a method on a task, to a result file."),
    "bench": ("nas360.cli.bench:bench", "Run methods on tasks with seeds, here or on a cluster, and rank the results."),
    "bench status": ("nas360.cli.bench_status:status", "Show how far a benchmark is."),
    "show": ("nas360.cli.show:show", "Show a run: how far it is, how its search went, what it found."),
    "evaluate": ("nas360.cli.evaluate:evaluate", "Score a predictions file."),
    "format": ("nas360.cli.format:format_", "Show what a predictions file of a task must hold, with an example."),
    "dummy": ("nas360.cli.dummy:dummy", "Write a valid predictions file of a constant predictor."),
    "validate": ("nas360.cli.validate:validate", "Find all that is wrong with result files."),
    "leaderboard": (
        "nas360.cli.leaderboard:leaderboard",
        "Rank methods: median rank, improvement, performance profile.",
    ),
    "report": ("nas360.cli.report:report", "Write one page about all runs in a folder, with pictures."),
    "submit": ("nas360.cli.submit:submit", "Offer results to the leaderboard, checked and scored again."),
    "rescore": ("nas360.cli.rescore:rescore", "Compute scores again from stored predictions, and show what moved."),
    "cards": ("nas360.cli.cards:cards", "Print the tasks' cards, check them against the specs, or write them anew."),
}

EPILOG = """Examples:

  nas360 prepare darcy_flow --generate --train 90 --test 10

  nas360 run wrn --task darcy_flow --budget small

  nas360 evaluate runs/wrn/darcy_flow/seed0/predictions.npz --task darcy_flow

  nas360 leaderboard --panel paper
"""


_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EMFILE}
"""Errors of files that a user can mend: no space, no permission, a file in the place of a folder, too many open."""


class _Interruption(BaseException):
    """A KeyboardInterrupt that typer does not see: it would leave, or go on after an inner command, without a word."""


class LazyGroup(TyperGroup):
    """A group whose members are names and summaries until one is called; then that one is imported."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, summary) in COMMANDS.items():
            self.add_command(_command(name, _not_loaded, help=summary), name)

    def invoke(self, ctx: Any) -> Any:
        """Perform the command; an interruption reaches `main`."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as cause:
            raise _Interruption(*cause.args) from cause

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Replace the stand-in by the real command when it is called; its name may be two words."""
        if " ".join(args[:2]) in COMMANDS:
            args = [" ".join(args[:2]), *args[2:]]
        name, found, rest = super().resolve_command(ctx, args)
        if found is not None and name in COMMANDS:
            module, _, attribute = COMMANDS[name][0].partition(":")
            found = _command(name, getattr(importlib.import_module(module), attribute))
        return name, found, rest


def _command(name: str, function: Callable[..., None], **settings: Any) -> Any:
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    single.command(name, context_settings={"help_option_names": ["-h", "--help"]}, **settings)(function)
    return typer.main.get_command(single)


def _not_loaded() -> None:
    """Stands for a command of which only the name and the summary are wanted."""


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from nas360 import __version__

        typer.echo(f"nas360 {__version__}")
        raise typer.Exit


@app.callback()
def _nas360(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """NAS-Bench-360: ten diverse tasks, the paper's methods as baselines, and a leaderboard that checks results."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process.

    Exit codes: 0 fine, 1 our fault, 2 the user's, 130 interrupted.

    Args:
        arguments: what follows the program's name; by default taken from `sys.argv`. `--debug` may stand anywhere.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or os.environ.get("NAS360_DEBUG", "") not in ("", "0")
    given = [item for item in given if item != "--debug"]
    try:
        app(args=given, prog_name="nas360")
    except Nas360Error as error:
        if debug:
            raise
        errors.print(f"[bold red]error[/]: {_escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, _Interruption) as stop:
        errors.print(_escape(str(stop) or "interrupted"), highlight=False, soft_wrap=True)
        sys.exit(130)
    except BrokenPipeError:
        # the reader of a pipe left, as `nas360 tasks | head` does; nothing more can be said on it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
            place = f": {error.filename}" if error.filename else ""
            reason = f"{error.strerror}{place}. What was finished is kept; mend that and run again"
            errors.print(f"[bold red]error[/]: {_escape(reason)}", highlight=False, soft_wrap=True)
            sys.exit(2)
        errors.print(
            f"[bold red]internal error[/]: {_escape(f'{type(error).__name__}: {error}')}\n"
            "This is a fault of nas360. Run again with --debug to see where, and please report it.",
            highlight=False,
            soft_wrap=True,
        )
        sys.exit(1)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
