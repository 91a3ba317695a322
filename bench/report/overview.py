"""The first part of a report: what was run, how far it is, under which conditions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from nas360.bench.report.blocks import Block, Note, Section, Table
from nas360.bench.report.runs import STATES, Run, Runs
from nas360.bench.report.words import ABSENT, counted, duration, in_order, listed, seeds, task_name, total
from nas360.loaders import TASKS


def overview(runs: Runs, methods: Sequence[str]) -> Section:
    """Counts, conditions, and a table of methods and tasks.

    Args:
        runs: of the report.
        methods: in the order of the report.
    """
    every = runs.all
    tasks = in_order((run.task for run in every if run.task), TASKS)
    blocks: list[Block] = [Note(text, warning=True) for text in runs.warnings]
    blocks.append(_facts(runs, methods, tasks))
    if any(run.state != "finished" for run in every) or len(every) > len(methods) * len(tasks):
        blocks.append(_matrix(every, methods, tasks))
    return Section("summary", "Summary", tuple(blocks))


def _facts(runs: Runs, methods: Sequence[str], tasks: Sequence[str]) -> Table:
    every = runs.all
    counts = Counter(run.state for run in every)
    rows = [run.row for run in runs.finished]
    files = [run.result for run in every if run.result is not None]
    facts = {
        "runs": ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state]),
        "methods": f"{len(methods)}: {listed(methods)}" if methods else ABSENT,
        "tasks": f"{len(tasks)}: {listed([task_name(one) for one in tasks])}",
        "seeds": seeds(run.seed for run in every if run.seed),
        "budget": _conditions([row.budget for row in rows if row is not None]),
        "data": _conditions([row.dataset.provenance for row in rows if row is not None]),
    }
    if files:
        first, last = min(file.created for file in files), max(file.created for file in files)
        facts["results made"] = f"{first:%Y-%m-%d}" + (f" to {last:%Y-%m-%d}" if first.date() != last.date() else "")
        spent = total((row.cost.search_seconds or 0) + (row.cost.train_seconds or 0) for row in rows if row is not None)
        gpu = total(row.cost.gpu_hours for row in rows if row is not None)
        where = "" if gpu is None else f", {gpu:,.2f} GPU hours" if gpu else ", on processors alone"
        facts["searched and trained"] = duration(spent) + where
    return Table(("", ""), tuple((name, value or ABSENT) for name, value in facts.items()), texts=frozenset({0, 1}))


def _conditions(found: Sequence[str]) -> str:
    counts = Counter(found)
    if len(counts) == 1:
        return found[0]
    return ", ".join(f"{name} ({counted(n, 'run')})" for name, n in sorted(counts.items()))


def _matrix(runs: Sequence[Run], methods: Sequence[str], tasks: Sequence[str]) -> Table:
    cells: dict[tuple[str, str], Counter[str]] = {}
    for run in runs:
        cells.setdefault((run.method, run.task), Counter())[run.state] += 1

    def text(method: str, task: str) -> str:
        counts = cells.get((method, task))
        if not counts:
            return ""
        whole = f"{counts['finished']}/{counts.total()}"
        rest = [f"{counts[state]} {state}" for state in STATES[1:] if counts[state]]
        return "\n".join([whole, *rest])

    return Table(
        ("Method", *(task_name(task) for task in tasks)),
        tuple((method, *(text(method, task) for task in tasks)) for method in methods),
        "Runs that are finished, of all that there are or were asked for",
    )
