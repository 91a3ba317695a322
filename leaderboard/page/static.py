"""What the page shows without its script: plain tables, which the script replaces by those that sort and filter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from nas360.leaderboard.board import Board, Standing, Unranked
from nas360.leaderboard.output.tables import area_ends, percent_text, range_text, rank_text, spread_text
from nas360.leaderboard.page.content import MAX_TEXT, kind_of, metric_names
from nas360.leaderboard.page.escape import name, text
from nas360.leaderboard.stats.friedman import ALPHA
from nas360.leaderboard.stats.statistics import Statistics
from nas360.leaderboard.table import Cell
from nas360.task import TaskSpec

ABSENT = "&ndash;"


def board_table(board: Board, statistics: Statistics | None) -> str:
    """The ranking: caption, head and body of a table."""
    ends = area_ends(board)
    heads = [("Method", "name"), ("Median rank", "")]
    heads += [("95 % interval", ""), ("Ties", "")] if statistics else []
    heads += [("Mean rank", ""), ("Better", ""), *((f"Area τ≤{end:g}", "") for end in ends), ("Tasks", "")]
    head = "".join(_head(label, kind) for label, kind in heads)
    for spec in board.table.specs.values():
        arrow = "↓" if spec.direction == "lower" else "↑"
        head += (
            f'<th scope="col" class="task">{text(spec.name)}<small>{text(metric_names(spec)[1])} {arrow}</small></th>'
        )
    rows = "".join(_row(board, standing, statistics, ends) for standing in board.standings)
    empty = f'<tr><td class="empty" colspan="{len(heads) + len(board.table.specs)}">Nothing to rank.</td></tr>'
    caption = f"{len(board.standings)} methods on {len(board.table.specs)} tasks, by median rank"
    return f'<caption class="unseen">{caption}</caption><thead><tr>{head}</tr></thead><tbody>{rows or empty}</tbody>'


def _row(board: Board, standing: Standing, statistics: Statistics | None, ends: Iterable[float]) -> str:
    line = standing.line
    star = "*" if standing.partial else ""
    cells = [f'<td class="lead-number">{rank_text(standing.median_rank)}{star}</td>']
    if statistics:
        low, high = statistics.rank_interval.get(line.id, (math.nan, math.nan))
        cells.append(f"<td>{range_text(low, high)}</td>" if math.isfinite(low) else f"<td>{ABSENT}</td>")
        cells.append(f"<td>{text(statistics.tie_group[line.id]) if line.id in statistics.tie_group else ABSENT}</td>")
    gain = _percent(standing.improvement) + (star if standing.improvement is not None else "")
    cells.append(f"<td>{standing.mean_rank:.2f}{star}</td><td>{gain}</td>")
    cells += [f"<td>{standing.profile.area(end):.3f}</td>" for end in ends]
    cells.append(f"<td>on {len(standing.cells)}</td>" if standing.partial else "<td>all</td>")
    for task, spec in board.table.specs.items():
        cell = standing.cells.get(task)
        cells.append(f'<td class="task">{_score(cell, spec)}</td>' if cell else f'<td class="task none">{ABSENT}</td>')
    label = f"{name(line.name)}<small>{name(kind_of(line))}</small>"
    return f'<tr><th scope="row" class="name">{label}</th>{"".join(cells)}</tr>'


def unranked_table(board: Board) -> str:
    """Lines that do not rank, with the place that each would have; empty when there are none."""
    if not board.unranked:
        return ""
    rows = ""
    for entry in board.unranked:
        for task, cell, spec in _cells(board, entry.cells):
            place, count = entry.places[task]
            rows += (
                f'<tr><th scope="row" class="name">{name(entry.line.name)}</th><td class="text">{text(spec.name)}</td>'
                f"<td>{_score(cell, spec)}</td><td>{cell.n_seeds}</td><td>{rank_text(place)} of {count}</td></tr>"
            )
    labels = [("Method", "name"), ("Task", "text"), ("Score", ""), ("Seeds", ""), ("Would be", "")]
    head = "".join(_head(label, kind) for label, kind in labels)
    return (
        "<h3>Not ranked, for the conditions differ</h3>"
        f'<div class="scroll"><table class="narrow"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def provenance_table(board: Board) -> str:
    """Every number with its source and notes: head and body of a table."""
    rows = ""
    entries: tuple[Standing | Unranked, ...] = (*board.standings, *board.unranked)
    for entry in entries:
        for _, cell, spec in _cells(board, entry.cells):
            origin = "".join(f"<p>{name(_cut(source))}</p>" for source in cell.sources)
            origin += "".join(f'<p class="note">† {name(_cut(note))}</p>' for note in cell.notes)
            rows += (
                f'<tr><th scope="row" class="name">{name(entry.line.name)}</th><td class="text">{text(spec.name)}</td>'
                f'<td>{_score(cell, spec)}</td><td class="text wide">{origin}</td></tr>'
            )
    labels = [("Method", "name"), ("Task", "text"), ("Score", ""), ("Source and notes", "text wide")]
    head = "".join(_head(label, kind) for label, kind in labels)
    return f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"


def notes(board: Board) -> str:
    """What the table's numbers mean where they could be misread."""
    found = []
    if any(standing.partial for standing in board.standings):
        found.append(
            "* A method that did not run every task is ranked over those that it ran, and gains no area on the others."
        )
    if any(cell.notes for standing in board.standings for cell in standing.cells.values()):
        found.append("† has a note: see the method, the task, or Provenance.")
    return "".join(f"<p>{text(note)}</p>" for note in found)


def certainty(board: Board, statistics: Statistics | None) -> str:
    """What the statistics say, in sentences."""
    if statistics is None or not board.standings:
        return "<p>No statistics were computed for this page.</p>"
    parts = [
        f"The interval beside a median rank holds it in 95 % of {statistics.draws:,} bootstrap draws over tasks and "
        "seeds. Methods that share a letter under <em>Ties</em> cannot be told apart by these tasks.",
        text(statistics.policy),
    ]
    test, distance = statistics.friedman, statistics.nemenyi_distance
    if test is not None and distance is not None:
        verdict = "shows" if test.p < ALPHA else "does not show"
        parts.append(
            f"Friedman&rsquo;s test {verdict} that the {test.n_methods} methods which ran all {test.n_tasks} tasks "
            f"differ (χ² = {test.statistic:.2f}, p = {_p(test.p)}). By Nemenyi&rsquo;s test at {100 * ALPHA:.0f} %, "
            f"two of them differ when their mean ranks lie more than {distance:.2f} apart; smaller differences are not "
            "resolved by so few tasks."
        )
    return "".join(f"<p>{part}</p>" for part in parts)


def warnings(board: Board) -> str:
    """What a reader should know about the results; empty without any."""
    if not board.table.warnings:
        return ""
    items = "".join(f"<li>{name(_cut(warning))}</li>" for warning in board.table.warnings[:50])
    more = len(board.table.warnings) - 50
    return f'<h3>Warnings</h3><ul class="warnings">{items}{f"<li>and {more} more</li>" if more > 0 else ""}</ul>'


def _cells(board: Board, cells: Mapping[str, Cell]) -> Iterator[tuple[str, Cell, TaskSpec]]:
    return ((task, cells[task], spec) for task, spec in board.table.specs.items() if task in cells)


def _head(label: str, kind: str) -> str:
    return f'<th scope="col"{f" class={chr(34)}{kind}{chr(34)}" if kind else ""}>{label}</th>'


def _score(cell: Cell, spec: TaskSpec) -> str:
    mark = "<sup>†</sup>" if cell.notes else ""
    if cell.score is None:
        return f"failed{mark}"
    spread = "" if cell.std is None else f"<small>±{spread_text(cell.std, spec)}</small>"
    return f'<span class="number">{cell.score:.{spec.decimals}f}{spread}{mark}</span>'


def _percent(value: float | None) -> str:
    if value is None:
        return ABSENT
    shown = percent_text(value)
    return shown.replace("%", " %").replace("-", "&minus;").replace("∞", "&infin;")


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def _cut(value: str) -> str:
    return value if len(value) <= MAX_TEXT else f"{value[: MAX_TEXT - 1]}…"
