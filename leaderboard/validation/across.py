"""What is wrong with result files taken together: runs and names that stand twice, code and data that are mixed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from nas360.faults import Fault, make, show
from nas360.leaderboard.table import FAULTY
from nas360.leaderboard.validation.names import skeleton
from nas360.rules import at, is_published, row_key, rows_of
from nas360.schema_faults import MAX_ROWS
from nas360.task import TaskSpec

_Place = tuple[str, str]  # file, pointer


@dataclass(frozen=True)
class Summary:
    """What the checks across files need of one file; small, for it travels between processes.

    Attributes:
        file: its path.
        run_id: of the file, as the two that follow; None where it is missing or no text.
        method: its name.
        version: of the method.
        display_name: of the method.
        commit: of the method's code.
        runs: (what tells a run from all others on a leaderboard, index of its row, what to call it).
        data: (task, protocol, content hash, index) of the rows on whole official data.
        tasks: of the rows that may rank.
        predictions: ((task, hash of the predictions), index, seed) of the rows that state some and may rank;
            after a few steps, or on a few units, equal predictions are no wonder.
    """

    file: str
    run_id: str | None
    method: str | None
    version: str | None
    display_name: str | None
    commit: str | None
    runs: tuple[tuple[tuple[object, ...], int, str], ...]
    data: tuple[tuple[str, int, str, int], ...]
    tasks: frozenset[str]
    predictions: tuple[tuple[tuple[str, str], int, object], ...]


def summarise(file: str, content: Any, specs: Mapping[str, TaskSpec]) -> Summary:
    """The summary of a parsed file, of which any part may be missing or wrong."""
    name, version = _text(content, "method", "name"), _text(content, "method", "version")
    tags = at(content, "tags")
    faulty = isinstance(tags, list) and FAULTY in tags
    runs: list[tuple[tuple[object, ...], int, str]] = []
    data: list[tuple[str, int, str, int]] = []
    tasks: set[str] = set()
    predictions: list[tuple[tuple[str, str], int, object]] = []
    for index, row in enumerate(rows_of(content)[:MAX_ROWS]):
        key = row_key(row)
        if key is None or key[0] not in specs:
            continue
        task, config, split, budget = map(str, key[:4])
        if (config, split) != ("default", "test"):
            continue  # it never ranks, so that nothing is counted twice
        provenance = None if is_published(row) else _text(row, "dataset", "provenance")
        runs.append(
            ((name, is_published(row), version, provenance, faulty, *key), index, f"{name}, {task}, {_which(key)}")
        )
        if budget == "full" and provenance in (None, "official"):
            tasks.add(task)
        content_hash, protocol = _text(row, "dataset", "content_sha256"), at(row, "dataset", "version")
        predicted = _text(row, "predictions", "sha256")
        if predicted is not None and budget == "full" and provenance == "official":
            predictions.append(((task, predicted), index, at(row, "seed")))
        if provenance == "official" and content_hash is not None and isinstance(protocol, int):
            data.append((task, protocol, content_hash, index))
    return Summary(
        file=file,
        run_id=_text(content, "run_id"),
        method=name,
        version=version,
        display_name=_text(content, "method", "display_name"),
        commit=_text(content, "method", "code_commit"),
        runs=tuple(runs),
        data=tuple(data),
        tasks=frozenset(tasks),
        predictions=tuple(predictions),
    )


def _text(content: Any, *path: str) -> str | None:
    value = at(content, *path)
    return value if isinstance(value, str) else None


def _which(key: tuple[object, ...]) -> str:
    if len(key) == 4:
        return "published"
    return f"seed {key[4]}, replicate {key[5]}" + ("" if key[6] is None else f", fold {key[6]}")


def across(summaries: Iterable[Summary], specs: Mapping[str, TaskSpec]) -> Iterator[Fault]:
    """Faults between files, and between rows whatever file they stand in; each stands at the later of the two."""
    summaries = list(summaries)
    yield from _runs_twice(summaries)
    yield from _names(summaries)
    yield from _mixed_code(summaries)
    yield from _mixed_data(summaries)
    yield from _same_predictions(summaries)
    yield from _missing_tasks(summaries, specs)


def _at(place: _Place, fault: Fault) -> Fault:
    return replace(fault, file=place[0], pointer=place[1])


def _runs_twice(summaries: list[Summary]) -> Iterator[Fault]:
    seen: dict[tuple[object, ...], str] = {}
    for summary in summaries:
        for key, index, name in summary.runs:
            first = seen.setdefault(key, summary.file)
            if first != summary.file:
                fault = make("E060", "", f"is the same run as one in {show(first)} ({name})", "keep one of the two")
                yield _at((summary.file, f"/results/{index}"), fault)


def _repeated(
    summaries: list[Summary], key: Callable[[Summary], str | None], value: Callable[[Summary], str | None]
) -> Iterator[tuple[Summary, Summary]]:
    """Pairs of equal key and other value: the first with the key, and a later one."""
    seen: dict[str, Summary] = {}
    for summary in summaries:
        name = key(summary)
        if name is not None:
            first = seen.setdefault(name, summary)
            if value(first) != value(summary):
                yield first, summary


def _names(summaries: list[Summary]) -> Iterator[Fault]:
    for first, second in _repeated(summaries, lambda one: one.run_id, lambda one: one.file):
        fault = make("W020", "", f"{show(first.file)} has this run_id too", "give each run its own", second.run_id)
        yield _at((second.file, "/run_id"), fault)
    folded: tuple[tuple[str, Callable[[Summary], str | None]], ...] = (
        ("", lambda one: one.file),
        ("/run_id", lambda one: one.run_id),
    )
    for pointer, name_of in folded:
        for first, second in _repeated(summaries, lambda one, of=name_of: _folded(of(one)), name_of):  # type: ignore[misc]  # mypy infers no type for a lambda's default
            name = name_of(first)
            rule = f"differs from {show(name)} by case alone"
            yield _at((second.file, pointer), make("W013", "", rule, "rename one", name_of(second)))
    for first, second in _repeated(
        summaries, lambda one: skeleton(one.display_name) if one.display_name else None, lambda one: one.method
    ):
        rule = f"reads like the name of the method {show(first.method)}"
        fault = make("W012", "", rule, "give the method a name of its own", second.display_name)
        yield _at((second.file, "/method/display_name"), fault)


def _folded(name: str | None) -> str | None:
    return None if name is None else PurePath(name).as_posix().casefold()


def _mixed_code(summaries: list[Summary]) -> Iterator[Fault]:
    stated = [one for one in summaries if one.commit is not None and one.method is not None]
    for first, second in _repeated(stated, lambda one: f"{one.method}\n{one.version}", lambda one: one.commit):
        rule = f"other code than in {show(first.file)}, for the same version {show(second.version)} of the method"
        fault = make("W014", "", rule, "run all from one commit, or give each a version", second.commit)
        yield _at((second.file, "/method/code_commit"), fault)


def _mixed_data(summaries: list[Summary]) -> Iterator[Fault]:
    first: dict[tuple[str, int], tuple[str, str]] = {}
    for summary in summaries:
        told: set[str] = set()
        for task, protocol, content, index in summary.data:
            known, file = first.setdefault((task, protocol), (content, summary.file))
            if known != content and task not in told:
                told.add(task)
                rule = f"the content of {task} is not the one in {show(file)}; official data has one"
                fault = make("W015", "", rule, "run `nas360 verify` on both, and run anew on the right one", content)
                yield _at((summary.file, f"/results/{index}/dataset/content_sha256"), fault)


def _same_predictions(summaries: list[Summary]) -> Iterator[Fault]:
    """Two runs of other seeds, or of other methods, that predict the same to the last bit."""
    first: dict[tuple[str, str], tuple[Summary, int, object]] = {}
    for summary in summaries:
        for key, index, seed in summary.predictions:
            known, place, other = first.setdefault(key, (summary, index, seed))
            if (known.method, other) != (summary.method, seed):
                where = f"of results/{place}" + ("" if known is summary else f" in {show(known.file)}")
                rule = f"the predictions are those {where} ({show(known.method)}, seed {show(other)})"
                fault = make("W024", "", rule, "look for a copied file, or a seed that nothing depends on", key[1])
                yield _at((summary.file, f"/results/{index}/predictions/sha256"), fault)


def _missing_tasks(summaries: list[Summary], specs: Mapping[str, TaskSpec]) -> Iterator[Fault]:
    lines: dict[tuple[str, str | None], list[Summary]] = {}
    for summary in summaries:
        if summary.method is not None and summary.tasks:
            lines.setdefault((summary.method, summary.version), []).append(summary)
    for (method, _), members in lines.items():
        missing = [task for task in specs if not any(task in one.tasks for one in members)]
        if missing:
            rule = f"{show(method)} has no result on {', '.join(missing)}, and so stands as partial"
            yield _at((members[0].file, "/results"), make("W004", "", rule, "add the tasks, as rows or files"))
