"""`nas360 cards`: the cards in `dataset_cards/` against what they are made from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas360.cli.output import errors, print_json


def cards(
    tasks: Annotated[
        list[str] | None,
        typer.Argument(help="Tasks; `nas360 tasks` lists them.  \\[default: all]"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the cards with what would be written; exit with 2 on a difference.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Write the generated blocks into the cards. Only in a checkout.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --check: print the differences as JSON.")] = False,
) -> None:
    """Print the cards of tasks, check that their generated blocks are up to date, or write these.

    A card is prose by hand and, between two comments each, blocks that are made from the task's spec and columns. What
    a dataset repository shows as its README is the same card, made for what that copy holds.

    Examples:
    nas360 cards ecg

    nas360 cards --check

    nas360 cards ecg --write
    """
    from nas360.errors import UserError
    from nas360.files import write_text
    from nas360.loaders import TASKS
    from nas360.loaders.repository.card_blocks import Facts
    from nas360.loaders.repository.card_file import card_folder, drift, read_card, renewed

    if check and write:
        raise UserError("--check and --write exclude each other: the first changes nothing")
    if as_json and not check:
        raise UserError("--json shows what --check finds; give --check too")
    facts = {name: Facts.of(TASKS[name]) for name in (tasks or TASKS)}
    folder = card_folder()
    if write and not in_checkout(folder):
        raise UserError(
            f"the cards in {folder} belong to an installed package. Get the source of nas360 to change them"
        )
    found = {}
    for name, known in facts.items():
        text = read_card(name, folder)
        new = renewed(known, text, f"{name}.md")
        if check:
            found[name] = drift(known, text, f"{name}.md")
        elif not write:
            typer.echo(new)
        elif new != text:
            write_text(folder / f"{name}.md", new)
            errors.print(f"wrote {name}.md", highlight=False)
    if not check:
        return
    faults = {name: blocks for name, blocks in found.items() if blocks}
    if as_json:
        print_json(found)
    else:
        for name, blocks in faults.items():
            for block, difference in blocks.items():
                typer.echo(f"{name}.md, {block}:\n{difference}")
    if faults:
        count = sum(len(blocks) for blocks in faults.values())
        raise UserError(
            f"{count} block{'s differ' if count != 1 else ' differs'} from what spec and columns give, in "
            f"{', '.join(f'{name}.md' for name in faults)}. Write them: nas360 cards {' '.join(faults)} --write"
        )
    errors.print(f"{len(found)} cards are up to date", highlight=False)


def in_checkout(folder: Path) -> bool:
    """Whether the cards are those of a source checkout, not of an installed package."""
    return (folder.resolve().parent / "pyproject.toml").is_file()
