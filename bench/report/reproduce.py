"""What somebody needs to do the runs of a report again: commands, data, machines and software."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from nas360.bench.place import Stored
from nas360.bench.report.blocks import Block, Code, Note, Section, Table
from nas360.bench.report.runs import Run, Runs
from nas360.bench.report.words import ABSENT, counted, in_order, listed, seeds, task_name
from nas360.loaders import TASKS
from nas360.results import ResultFile

HASH = 16
"""Digits of a hash that are shown; the result files have all."""

MAX_RUNS = 8
"""That are named as those of an environment."""


def commands(runs: Runs) -> Section:
    """The benchmark's own command, and that of every run with a result."""
    blocks: list[Block] = []
    if runs.stored is not None:
        blocks.append(Code((bench_command(runs.stored, runs.folder),), "The whole benchmark"))
    lines = [
        file.method.command for run in runs.all if (file := run.result) is not None and file.method.command is not None
    ]
    if lines:
        blocks.append(Code(tuple(dict.fromkeys(lines)), "Run by run"))
        blocks.append(
            Note(
                "On the CPU, equal commands give equal predictions with equal numbers of threads and equal software. "
                "A folder after --data holds the data set of that hash; nas360 prepare makes it."
            )
        )
    return Section("commands", "Commands", tuple(blocks))


def bench_command(stored: Stored, folder: Path) -> str:
    """What to type to do a benchmark again."""
    grid, settings = stored.grid, stored.grid.settings
    # of paths only the last part: the rest would tell of a user's machine
    words = ["nas360", "bench", folder.resolve().name, "--methods", ",".join(grid.methods)]
    words += ["--tasks", ",".join(grid.tasks), "--seeds", ",".join(map(str, grid.seeds)), "--budget", settings.budget]
    if settings.max_steps is not None:
        words += ["--max-steps", str(settings.max_steps)]
    words += ["--synthetic"] if settings.synthetic else []
    words += ["--data", Path(settings.data).name] if settings.data is not None else []
    return shlex.join([*words, "--device", settings.device, "--threads", str(settings.threads)])


def datasets(runs: Runs) -> Section:
    """Each content of each data set that results are on."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs.finished:
        row = run.row
        if row is None:
            continue
        data = row.dataset
        key = (
            row.task,
            data.repo,
            "local" if data.revision is None else data.revision[:HASH],
            data.provenance,
            str(data.version),
            f"{data.n:,}",
            data.content_sha256[:HASH],
        )
        groups.setdefault(key, []).append(run)
    tasks = in_order((task for task, *_ in groups), TASKS)
    rows = [
        (task_name(task), *key[1:], str(len(found)))
        for task in tasks
        for key, found in groups.items()
        if key[0] == task
    ]
    if not rows:
        return Section("data", "Data sets", ())
    header = ("Task", "Data set", "Revision", "Provenance", "Protocol", "Units\nscored", "Hash of the content", "Runs")
    words = frozenset({0, 1, 2, 3, 6})
    blocks: list[Block] = [Table(header, tuple(rows), texts=words)]
    mixed = [
        TASKS[task].spec.name for task in tasks if task in TASKS and len({k[6] for k in groups if k[0] == task}) > 1
    ]
    if mixed:
        blocks.append(Note(f"Results on several contents of the data: {', '.join(mixed)}. They do not compare.", True))
    return Section("data", "Data sets", tuple(blocks))


def environments(runs: Runs) -> Section:
    """Machines and software, each kind once."""
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs.all:
        if run.result is not None:
            groups.setdefault(tuple(_environment(run.result).items()), []).append(run)
    ordered = sorted(groups.items(), key=lambda one: -len(one[1]))
    blocks: list[Block] = []
    for number, (facts, found) in enumerate(ordered, start=1):
        which = (
            "all runs" if len(groups) == 1 else f"{counted(len(found), 'run')}: {listed([*map(str, found)], MAX_RUNS)}"
        )
        title = "" if len(groups) == 1 else f"Environment {number}"
        blocks.append(Table(("", ""), (("of", which), *facts), title, frozenset({0, 1})))
    return Section("environments", "Machines and software", tuple(blocks))


def _environment(file: ResultFile) -> dict[str, str]:
    package, found = file.nas360, file.environment
    commit = "" if package.git_commit is None else f", commit {package.git_commit[:12]}"
    facts = {"nas360": f"{package.version}{commit}{' with changes of its own' if package.dirty else ''}"}
    if found is None:
        return {**facts, "machine": ABSENT}
    devices = [
        f"{device.count} × {device.name}" + ("" if device.memory_gb is None else f", {device.memory_gb:g} GiB")  # noqa: RUF001
        for device in found.devices
    ]
    libraries = {
        "torch": found.torch,
        "datasets": found.datasets,
        "huggingface_hub": found.huggingface_hub,
        "numpy": found.numpy,
    }
    return {
        **facts,
        "processor": found.cpu,
        "memory": ABSENT if found.ram_gb is None else f"{found.ram_gb:g} GiB",
        "accelerators": "; ".join(devices) or "none",
        **({"CUDA": found.cuda} if found.cuda else {}),
        "system": found.os,
        "Python": found.python,
        "libraries": _versions(libraries),
        "precision": found.precision,
        "repeats itself to the bit": "yes" if found.deterministic else "no",
    }


def _versions(libraries: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {version}" for name, version in libraries.items() if version)


def notes(runs: Runs, methods: Sequence[str]) -> Section:
    """What the results say of themselves: how a shortened budget differs from the method's recipe, for instance."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for run in runs.finished:
        if run.row is not None and run.row.notes:
            found.setdefault((run.task, run.method, run.row.notes), []).append(run.seed)
    rows = [
        (task_name(task), method, seeds(found[key]), key[2])
        for task in in_order((task for task, _, _ in found), TASKS)
        for method in methods
        for key in found
        if key[:2] == (task, method)
    ]
    header = ("Task", "Method", "Seeds", "Notes")
    blocks = (Table(header, tuple(rows), texts=frozenset({0, 1, 2, 3})),) if rows else ()
    return Section("notes", "How the runs differ from the recipes", blocks)


def sections(runs: Runs, methods: Sequence[str]) -> Sequence[Section]:
    """All of them, in order."""
    return notes(runs, methods), commands(runs), datasets(runs), environments(runs)
