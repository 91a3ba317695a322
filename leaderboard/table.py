"""From result files to one error a method and task.

A *line* of the table is one method under one set of conditions. Conditions that a rank must not mix (the budget,
where the data came from, another version, a paper's number against a run of one's own) make lines of their own, with
a mark.

The value of a cell: replicates of a seed are averaged, then the seeds, then the mean score becomes an error (lower is
better for every task), which is rounded to the decimals that the paper prints, so that what a reader of the paper
sees as equal ties. A seed that never ended well counts as an infinite error, and so does the mean over seeds that has
one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nas360.errors import ResultError, UnknownNameError, first_faults
from nas360.leaderboard.validation.names import skeleton
from nas360.registry import did_you_mean
from nas360.results import Method, PublishedRow, ResultFile, SeedRow, check_against_spec
from nas360.task import TaskSpec

FloatArray = npt.NDArray[np.float64]

MARKS = ("small", "smoke", "partial", "generated", "synthetic", "faulty")
"""Conditions under which a line is shown but does not rank, unless asked for."""

FAULTY = "faulty"
"""Tag of a file, and mark of its lines, for numbers that are not the task's metric on the test data, whatever their
source says; the rows' notes tell why."""

MAX_NAME = 40


@dataclass(frozen=True)
class Line:
    """One method under one set of conditions.

    Attributes:
        id: unique in a table: the method's name, with the conditions behind an `@` where there are any.
        name: for people: the display name, unless it is too long for a table, shows nothing, or looks like that of
            another method; a method that the panel has is called as the panel calls it.
        method: from the first file that has the line.
        paper: whether its numbers were published rather than run.
        marks: which of `MARKS` hold.
    """

    id: str
    name: str
    method: Method
    paper: bool
    marks: tuple[str, ...]

    def ranks(self, include: Iterable[str]) -> bool:
        """Whether the line is ranked when the marks in `include` are let in."""
        return set(self.marks) <= set(include)


@dataclass(frozen=True)
class Cell:
    """One line's value on one task.

    Attributes:
        error: lower is better, ≥ 0, rounded to the task's published decimals; infinite when a seed failed.
        score: mean over seeds in the metric's own direction; None when a seed failed.
        std: spread over seeds (ddof 1; a paper's as printed); None for one seed.
        n_seeds: how many seeds.
        n_failed: how many of them have no score.
        notes: of the rows.
        seeds: error of each seed, not rounded, infinite for one that failed; empty for a paper's average.
        gpu_hours: mean over the runs that state it; None where none does. `parameters` likewise.
        sources: where the number is from: what a paper's row names, or the runs and who stands for them.
    """

    error: float
    score: float | None
    std: float | None
    n_seeds: int
    n_failed: int = 0
    notes: tuple[str, ...] = ()
    seeds: tuple[float, ...] = ()
    gpu_hours: float | None = None
    parameters: float | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """All lines and cells.

    Attributes:
        specs: task id → spec, in the benchmark's order, of the tasks that the table is about.
        lines: in order of first appearance.
        cells: (line id, task id) → value; absent where the line did not run the task.
        warnings: what a reader should know, one sentence each.
    """

    specs: Mapping[str, TaskSpec]
    lines: tuple[Line, ...]
    cells: Mapping[tuple[str, str], Cell]
    warnings: tuple[str, ...] = ()

    def errors(self, lines: Sequence[Line]) -> FloatArray:
        """Errors, float64 (lines, tasks): NaN where a line did not run a task, infinite where it failed."""
        missing = Cell(error=math.nan, score=None, std=None, n_seeds=0)
        values = [[self.cells.get((line.id, task), missing).error for task in self.specs] for line in lines]
        return np.asarray(values, dtype=np.float64).reshape(len(lines), len(self.specs))


@dataclass
class _Group:
    """What was collected for one cell: the scores of each (seed, fold), and a paper's number."""

    scores: dict[tuple[int, int | None], list[float | None]] = field(default_factory=dict)
    published: list[PublishedRow] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    content: set[str] = field(default_factory=set)
    gpu_hours: list[float] = field(default_factory=list)
    parameters: list[int] = field(default_factory=list)
    sources: dict[str, None] = field(default_factory=dict)


_Key = tuple[str, bool, str, tuple[str, ...]]  # name, paper, version, marks


def build_table(
    files: Mapping[str, ResultFile],
    specs: Mapping[str, TaskSpec],
    tasks: Sequence[str] = (),
    methods: Sequence[str] = (),
) -> Table:
    """Collect result files into a table.

    Args:
        files: where it came from → its content.
        specs: every known task, in the benchmark's order.
        tasks: ids of the tasks to keep; empty keeps all. The table keeps the benchmark's order.
        methods: names (or line ids) of the methods to keep; empty keeps all.

    Raises:
        ResultError: rows contradict the specs, or the same run stands twice; every fault in one message.
        UnknownNameError: no such task or method.
    """
    for task in tasks:
        if task not in specs:
            raise UnknownNameError(_unknown_task(task, specs))
    kept = {name: specs[name] for name in specs if not tasks or name in tasks}
    groups: dict[tuple[_Key, str], _Group] = {}
    first_method: dict[_Key, Method] = {}
    faults: list[str] = []
    warnings: list[str] = []
    seen: dict[tuple[object, ...], str] = {}
    for source, content in files.items():
        for index, row in enumerate(content.results):
            if row.task not in specs:
                faults.append(f"{source}: results/{index}/task: {_unknown_task(row.task, specs)}")
                continue
            found = check_against_spec(row, specs[row.task])
            if found:
                faults += [f"{source}: results/{index}/{fault}" for fault in found]
                continue
            if row.task not in kept:
                continue
            if row.split != "test" or row.config != "default":
                warnings.append(
                    f"{source}: results/{index} is on {row.task}, config {row.config!r}, split {row.split!r}; "
                    "only the test split of the default config ranks, so it is left out"
                )
                continue
            key = _line_key(content, row)
            run = (*key, *row.key)
            if run in seen:
                faults.append(
                    f"{source}: results/{index} is the same run as one in {seen[run]} "
                    f"({content.method.name}, {row.task}, {_which(row)}); keep one of the two"
                )
                continue
            seen[run] = source
            first_method.setdefault(key, content.method)
            _add(groups.setdefault((key, row.task), _Group()), row, content)
    if faults:
        raise ResultError("\n".join(first_faults(faults)))
    lines = _name_lines(first_method)
    if methods:
        lines = _select(lines, methods)
    cells: dict[tuple[str, str], Cell] = {}
    for (key, task), group in groups.items():
        if key not in lines:
            continue
        cells[lines[key].id, task] = _cell(group, kept[task])
        if len(group.content) > 1:
            warnings.append(
                f"{lines[key].id} on {task}: its seeds ran on {len(group.content)} different contents of the data "
                "(see dataset/content_sha256); their mean mixes them"
            )
    return Table(kept, tuple(lines.values()), cells, tuple(warnings))


def _unknown_task(task: str, specs: Mapping[str, TaskSpec]) -> str:
    return f"unknown task {task!r}.{did_you_mean(task, specs)} Known: {', '.join(specs)}"


def _line_key(content: ResultFile, row: SeedRow | PublishedRow) -> _Key:
    marks: list[str] = [row.budget] if row.budget != "full" else []
    if isinstance(row, SeedRow) and row.dataset.provenance != "official":
        marks.append(row.dataset.provenance)
    if FAULTY in content.tags:
        marks.append(FAULTY)
    return (content.method.name, isinstance(row, PublishedRow), content.method.version, tuple(marks))


def _which(row: SeedRow | PublishedRow) -> str:
    if isinstance(row, PublishedRow):
        return "published"
    fold = "" if row.fold is None else f", fold {row.fold}"
    return f"seed {row.seed}, replicate {row.replicate}{fold}"


def _add(group: _Group, row: SeedRow | PublishedRow, content: ResultFile) -> None:
    if row.notes:
        group.notes[row.notes] = None
    group.sources[row.published.source if isinstance(row, PublishedRow) else _run_source(content)] = None
    if isinstance(row, PublishedRow):
        group.published.append(row)
    else:
        group.scores.setdefault((row.seed, row.fold), []).append(row.score)
        group.content.add(row.dataset.content_sha256)
        if row.cost.gpu_hours is not None:
            group.gpu_hours.append(row.cost.gpu_hours)
        if row.architecture is not None:
            group.parameters.append(row.architecture.params)


def _run_source(content: ResultFile) -> str:
    submission = content.submission
    return (
        f"run {content.run_id} by {submission.submitter}, {submission.status.replace('_', '-')}, "
        f"{content.created:%Y-%m-%d}, nas360 {content.nas360.version}"
    )


def _cell(group: _Group, spec: TaskSpec) -> Cell:
    notes, sources = tuple(group.notes), tuple(group.sources)
    if group.published:
        row = group.published[0].published
        error = spec.rounded_error(row.mean)
        return Cell(error, row.mean, row.std, row.n_seeds, notes=notes, gpu_hours=row.gpu_hours, sources=sources)
    means: list[float] = []
    failed = 0
    for replicates in group.scores.values():
        scores = [score for score in replicates if score is not None]  # a failed run that was repeated well is mended
        if scores:
            means.append(math.fsum(scores) / len(scores))
        else:
            failed += 1
    n_seeds = len(group.scores)
    seeds = (*(spec.error(value) for value in means), *[math.inf] * failed)
    costs = (_mean(group.gpu_hours), _mean(group.parameters))
    if failed:
        return Cell(math.inf, None, None, n_seeds, failed, notes, seeds, *costs, sources)
    mean = math.fsum(means) / n_seeds
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in means) / (n_seeds - 1)) if n_seeds > 1 else None
    return Cell(spec.rounded_error(mean), mean, std, n_seeds, 0, notes, seeds, *costs, sources)


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _name_lines(methods: Mapping[_Key, Method]) -> dict[_Key, Line]:
    """Ids that tell lines apart with as few marks as needed, whatever the order of the files."""
    published = {name for name, paper, _, _ in methods if paper}
    shown = _shown_names(methods)
    versions: dict[tuple[str, bool], set[str]] = {}
    for name, paper, version, _ in methods:
        versions.setdefault((name, paper), set()).add(version)
    lines: dict[_Key, Line] = {}
    for key, method in methods.items():
        name, paper, version, marks = key
        conditions = list(marks)
        if not paper and name in published and not marks:
            conditions.append("own")
        if len(versions[name, paper]) > 1:
            conditions.append(version)
        suffix = ",".join(conditions)
        lines[key] = Line(
            id=f"{name}@{suffix}" if conditions else name,
            name=f"{shown[key]} ({', '.join(conditions)})" if conditions else shown[key],
            method=method,
            paper=paper,
            marks=marks,
        )
    return lines


def _shown_names(methods: Mapping[_Key, Method]) -> dict[_Key, str]:
    """What each method is called for people, before its conditions; no two methods look alike."""
    panel = {name: method.display_name for (name, paper, _, _), method in methods.items() if paper}
    shown: dict[_Key, str] = {}
    alike: dict[str, set[str]] = {}
    for key, method in methods.items():
        wished = panel.get(key[0]) or method.display_name or key[0]
        shown[key] = wished if len(wished) <= MAX_NAME and skeleton(wished) else key[0]
        alike.setdefault(skeleton(shown[key]), set()).add(key[0])
    return {
        key: key[0] if key[0] not in panel and len(alike[skeleton(name)]) > 1 else name for key, name in shown.items()
    }


def _select(lines: Mapping[_Key, Line], wanted: Sequence[str]) -> dict[_Key, Line]:
    known = {line.method.name for line in lines.values()} | {line.id for line in lines.values()}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise UnknownNameError(
            f"no result of method {', '.join(map(repr, unknown))}. The results given have: {', '.join(sorted(known))}"
        )
    return {key: line for key, line in lines.items() if line.method.name in wanted or line.id in wanted}
