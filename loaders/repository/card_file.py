"""The cards in `dataset_cards/`: prose by hand between generated blocks, each of which stands between two comments."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from difflib import unified_diff
from importlib import resources
from pathlib import Path

from nas360.errors import UserError
from nas360.loaders.repository.card_blocks import BLOCKS, Facts

_BEGIN = re.compile(r"^<!-- generated:(\w+) -->$")
_END = "<!-- end -->"
_LINES, _LINE = 20, 200  # of a diff


@dataclass(frozen=True)
class Part:
    """A stretch of a card: prose where `name` is empty, else the block of that name. Without the comments."""

    name: str
    text: str


def card_folder() -> Path:
    """Where the cards stand: `dataset_cards/` of a checkout, or inside an installed package."""
    return Path(str(resources.files("nas360.dataset_cards")))


def read_card(task: str, folder: Path | None = None) -> str:
    """The text of a task's card.

    Raises:
        UserError: there is none, or it is not UTF-8.
    """
    path = (folder or card_folder()) / f"{task}.md"
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as cause:
        raise UserError(f"{path}: there is no such card. Write one, with the headings of the other cards") from cause
    except UnicodeDecodeError as cause:
        raise UserError(f"{path}: not UTF-8 (byte {cause.start}). Save it as UTF-8") from cause


def split_front_matter(text: str) -> tuple[str, str]:
    """The front matter's YAML, and what follows it."""
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    return (found[1], text[found.end() :]) if found else ("", text)


def parse(body: str, source: str) -> list[Part]:
    """A card's body as prose and blocks, in order; `join` undoes it.

    Args:
        body: what follows the front matter.
        source: names the card in messages.

    Raises:
        UserError: a block is not closed, closed without being open, stands twice, or has a name that is not known.
    """
    parts: list[Part] = []
    held: list[str] = []
    open_block = ""

    def close() -> None:
        if open_block or any(held):
            parts.append(Part(open_block, "\n".join(held).strip("\n")))
        held.clear()

    for number, line in enumerate(body.split("\n"), 1):
        begin = _BEGIN.match(line)
        if begin is None and line != _END:
            held.append(line)
            continue
        name = begin[1] if begin else ""
        if begin and open_block:
            fault = f"block {name!r} begins inside block {open_block!r}; set {_END} before it"
        elif begin and name not in BLOCKS:
            fault = f"block {name!r} is not known; the blocks are {', '.join(BLOCKS)}"
        elif begin and any(part.name == name for part in parts):
            fault = f"block {name!r} stands twice; remove one"
        elif not begin and not open_block:
            fault = f"{_END} closes no block; remove it"
        else:
            close()
            open_block = name
            continue
        raise UserError(f"{source}: line {number} of the text: {fault}")
    if open_block:
        raise UserError(f"{source}: block {open_block!r} is not closed; set {_END} behind it")
    close()
    return parts


def join(parts: Collection[Part]) -> str:
    """A card's body of its parts."""
    texts = [f"<!-- generated:{part.name} -->\n{part.text}\n{_END}" if part.name else part.text for part in parts]
    return "\n\n".join(texts) + "\n"


def fill(parts: Collection[Part], make: Callable[[str], str]) -> list[Part]:
    """The same parts with every block made anew, and those that are missing at their place.

    Args:
        parts: of a card.
        make: from the name of a block to its text.
    """
    filled = [Part(part.name, make(part.name)) if part.name else part for part in parts]
    order = list(BLOCKS)
    for place in reversed(range(len(order))):
        if any(part.name == order[place] for part in filled):
            continue
        later = [number for number, part in enumerate(filled) if part.name in order[place + 1 :]]
        at = 0 if place == 0 else later[0] if later else len(filled)
        filled.insert(at, Part(order[place], make(order[place])))
    return filled


def renewed(facts: Facts, text: str, source: str) -> str:
    """A card's text with all blocks as they must be."""
    front, body = split_front_matter(text)
    parts = fill(parse(body, source), lambda name: BLOCKS[name](facts))
    return (f"---\n{front}\n---\n\n" if front else "") + join(parts)


def drift(facts: Facts, text: str, source: str) -> dict[str, str]:
    """What differs between a card and what would be written: name of the block → the lines, as a short diff.

    Returns:
        The blocks that differ, in their order; under `layout` what is neither block nor prose: blank lines around.
    """
    old = {part.name: part.text for part in parse(split_front_matter(text)[1], source) if part.name}
    new = {name: make(facts) for name, make in BLOCKS.items()}
    found = {name: _diff(old.get(name), wanted) for name, wanted in new.items() if old.get(name) != wanted}
    if not found and renewed(facts, text, source) != text:
        found["layout"] = "blank lines around the blocks are not as they are written"
    return found


def _diff(old: str | None, new: str) -> str:
    if old is None:
        return "the block is missing"
    lines = list(unified_diff(old.split("\n"), new.split("\n"), "card", "spec", n=0, lineterm=""))[2:]
    shown = [line if len(line) <= _LINE else f"{line[:_LINE]}…" for line in lines[:_LINES]]
    return "\n".join(shown + ([f"… {len(lines) - _LINES} more lines"] if len(lines) > _LINES else []))


def readme_body(facts: Facts) -> str:
    """What follows the front matter in a dataset repository's README: the card, without the comments, with `facts`.

    Raises:
        UserError: the task has no card, or a faulty one.
    """
    _, body = split_front_matter(read_card(facts.spec.id))
    parts = fill(parse(body, f"{facts.spec.id}.md"), lambda name: BLOCKS[name](facts))
    return "\n\n".join(part.text for part in parts) + "\n"


def sections(task: str) -> dict[str, str]:
    """Heading → text, of a card's prose."""
    _, body = split_front_matter(read_card(task))
    prose = "\n\n".join(part.text for part in parse(body, f"{task}.md") if not part.name)
    found = re.split(r"^## (.+)$", prose, flags=re.MULTILINE)
    return {heading.strip(): text.strip() for heading, text in zip(found[1::2], found[2::2], strict=True)}
