"""What rows and files must obey beyond the types of their fields.

The rules read a parsed file (dicts and lists) and the models of `nas360.schema` alike: the models apply them when they
are made, the validator applies them to files of which some part does not fit, so that every fault comes at once. What
is missing or of a wrong type is passed over here, for the schema tells of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from nas360.faults import Fault, make, show, step
from nas360.task import TaskSpec
from nas360.values import show_range, unit_hint

_NO_MEMBERS: Mapping[str, Any] = MappingProxyType({})
STATUSES = ("ok", "failed", "timeout", "oom")


def members(node: Any) -> Mapping[str, Any]:
    """What stands in an object, by key; nothing where it is none. A model has all its fields."""
    if isinstance(node, dict):
        return node
    return vars(node) if isinstance(node, BaseModel) else _NO_MEMBERS


def has(node: Any, key: str) -> bool:
    """Whether an object has a key."""
    return key in members(node)


def at(node: Any, *path: str) -> Any:
    """The value at a path of keys; None where there is none."""
    for key in path:
        node = members(node).get(key)
    return node


def number(value: Any) -> float | None:
    """A finite float64; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if math.isfinite(converted) else None


def count(value: Any) -> int | None:
    """A count; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def is_published(row: Any) -> bool:
    """Whether a row is a published average."""
    return "published" in members(row)


def rows_of(content: Any) -> Sequence[Any]:
    """A file's rows; none where there is no list of them."""
    rows = at(content, "results")
    return rows if isinstance(rows, list | tuple) else ()


def row_faults(row: Any) -> Iterator[Fault]:
    """What is wrong within one row. Pointers begin at the row."""
    if is_published(row):
        yield from _out_of_stated_range(row, "/published/mean", "published.mean", at(row, "published", "mean"))
        return
    own = members(row)
    status = own.get("status", "ok")
    if status in STATUSES:
        yield from _status_faults(own, str(status))
    yield from _out_of_stated_range(row, "/score", "score", own.get("score"))
    yield from _out_of_stated_range(row, "/validation_score", "validation_score", own.get("validation_score"))
    if "score" in own and own["score"] is None and own.get("score_stderr") is not None:
        yield make("E034", "/score_stderr", "score_stderr stands beside a score alone; this row has none", "remove it")


def _status_faults(row: Mapping[str, Any], status: str) -> Iterator[Fault]:
    well = status == "ok"
    score = row.get("score")
    if "score" in row and well != (score is not None):
        yield make(
            "E030",
            "/score",
            f"status is {status!r} and score is {show(score)}; a score stands exactly where the status is 'ok'",
            "give the score, or the status that the run ended with and the score null",
            score,
        )
    if well == (row.get("failure") is not None):
        yield make(
            "E031",
            "/failure",
            f"status is {status!r}; `failure` {{stage, message}} stands exactly where it is not 'ok'",
            "remove `failure`" if well else "give `failure`",
        )
    if well and "architecture" in row and row["architecture"] is None:
        yield make(
            "E032",
            "/architecture",
            "architecture is null; a row with a score gives at least its space and number of parameters",
            "give `architecture`",
            None,
        )


def _out_of_stated_range(row: Any, pointer: str, name: str, value: Any) -> Iterator[Fault]:
    metric = members(at(row, "metric"))
    low, high, score = number(metric.get("min")), metric.get("max"), number(value)
    if score is None or low is None or (high is not None and number(high) is None):
        return
    yield from _out_of_range(pointer, name, score, "the metric's range", (low, high), str(metric.get("unit")))


def _out_of_range(
    pointer: str, name: str, score: float, whose: str, bounds: tuple[float, float | None], unit: str
) -> Iterator[Fault]:
    low, high = bounds
    if score < low or (high is not None and score > high):
        yield make(
            "E033",
            pointer,
            f"{name} is {score:g}, outside of {whose} {show_range(low, high)}",
            unit_hint(score, unit, high) or "give the score in the metric's unit",
            score,
        )


def cost_faults(cost: Any) -> Iterator[Fault]:
    """What is wrong within a row's `cost`. Pointers begin at it."""
    times = ("search_seconds", "train_seconds")
    own = members(cost)
    if own.keys() >= set(times) and own.get("reason") is None:
        for name in times:
            if own[name] is None:
                yield make(
                    "E035",
                    f"/{name}",
                    f"{name} is null without a reason",
                    "give the time, or say why in `reason`",
                    None,
                )


def row_key(row: Any) -> tuple[object, ...] | None:
    """What tells a row from the others of its file; None where a part of it is of a wrong type."""
    own = members(row)
    texts = (own.get("task"), own.get("config", "default"), own.get("split", "test"), own.get("budget"))
    if not all(isinstance(text, str) for text in texts):
        return None
    if is_published(row):
        return texts
    seed, replicate, fold = own.get("seed"), own.get("replicate", 0), own.get("fold")
    if count(seed) is None or count(replicate) is None or (fold is not None and count(fold) is None):
        return None
    return (*texts, seed, replicate, fold)


def file_faults(content: Any) -> Iterator[Fault]:
    """What is wrong with the parts of a file taken together."""
    status = at(content, "submission", "status")
    paper = status == "paper"
    rows = rows_of(content)
    if isinstance(status, str):
        yield from _mixed_kinds(rows, status)
    keys: dict[tuple[object, ...], int] = {}
    for index, row in enumerate(rows):
        key = row_key(row)
        first = index if key is None else keys.setdefault((is_published(row), *key), index)
        if first != index:
            yield make(
                "E036",
                f"/results/{index}",
                f"results/{first} and results/{index} are the same run {key}",
                "give one of them, or number `replicate`",
            )
    if paper or not isinstance(status, str):
        return
    for name, verb in (("environment", "is"), ("rules", "are")):
        if at(content, name) is None:
            yield make(
                "E038" if name == "environment" else "E039",
                f"/{name}",
                f"{name} {verb} missing; only files of status 'paper' may leave {'it' if verb == 'is' else 'them'} out",
                f"give `{name}`",
            )
    if at(content, "submission", "track") == "standard":
        yield from _standard_faults(at(content, "rules"), rows)


def _mixed_kinds(rows: Sequence[Any], status: str) -> Iterator[Fault]:
    paper = status == "paper"
    for index, row in enumerate(rows):
        if is_published(row) != paper and isinstance(row, dict | BaseModel):
            yield make(
                "E037",
                f"/results/{index}",
                f"results/{index} is {'a seed row' if paper else 'a published average'}, but submission/status is "
                f"{show(status)}; averages stand in files of status 'paper', and nothing else does",
                "give one row a seed, or move averages to a file of their own",
            )
            return  # one wrong status would have every row told


def _standard_faults(rules: Any, rows: Sequence[Any]) -> Iterator[Fault]:
    for rule in ("test_used_for_selection", "seeds_tuned"):
        if at(rules, rule) is True:
            yield make(
                "E040",
                f"/rules/{rule}",
                f"rules/{rule} is true, which the standard track does not allow",
                "submit to the track 'open'",
                True,
            )
    if at(rules, "val_merged_into_train") is not False:
        return  # the final model has seen the validation split, so a score on it would mislead
    for index, row in enumerate(rows):
        own = members(row)
        well = own.get("status", "ok") == "ok"
        if well and isinstance(row, dict | BaseModel) and not is_published(row) and own.get("validation_score") is None:
            yield make(
                "E041",
                f"/results/{index}/validation_score",
                f"results/{index}/validation_score is missing; "
                "the standard track demands it of a model that was trained on train alone",
                "give it, or submit to the track 'open'",
            )


def spec_faults(row: Any, spec: TaskSpec) -> Iterator[Fault]:
    """What a row says otherwise than the registry's spec of its task. Pointers begin at the row."""
    low, high = spec.bounds
    stated: tuple[tuple[str, str, Any], ...] = (
        ("E051", "id", spec.metric),
        ("E052", "unit", spec.unit),
        ("E053", "lower_is_better", spec.direction == "lower"),
        ("E054", "min", low),
        ("E054", "max", high),
    )
    own = members(row)
    metric = members(own.get("metric"))
    for code, name, wanted in stated:
        found = metric.get(name, wanted)
        if found != wanted:
            fix = f"give {wanted!r}, and the score in it" if name == "unit" else f"give {wanted!r}"
            yield make(code, f"/metric/{name}", f"metric/{name} is {show(found)}, the task's is {wanted!r}", fix, found)
    places = [("/published/mean", at(row, "published", "mean"))]
    if not is_published(row):
        places = [("/score", own.get("score")), ("/validation_score", own.get("validation_score"))]
    for pointer, value in places:
        score = number(value)
        if score is not None:
            name = "score" if pointer != "/validation_score" else "validation_score"
            yield from _out_of_range(pointer, name, score, "the task's", (low, high), spec.unit)
    if not is_published(row):
        yield from _dataset_faults(own, spec)


def _dataset_faults(row: Mapping[str, Any], spec: TaskSpec) -> Iterator[Fault]:
    dataset = members(row.get("dataset"))
    version, n = count(dataset.get("version")), count(dataset.get("n"))
    if version is not None and version != spec.protocol:
        yield make(
            "E055",
            "/dataset/version",
            f"dataset/version is {version}, this nas360 has protocol {spec.protocol}; they are not comparable",
            "run on the data of this protocol",
            version,
        )
    split = row.get("split", "test")
    official = spec.splits.get(split) if isinstance(split, str) else None  # type: ignore[call-overload]  # any text may stand there
    whole = dataset.get("provenance") == "official" and row.get("config", "default") == "default"
    if n is not None and official is not None and spec.splits_exact and whole and n != official:
        yield make(
            "E056",
            "/dataset/n",
            f"dataset/n is {n:,}, the official {split} split has {official:,} {spec.unit_of_split}s; "
            "data that is not whole has the provenance 'partial'",
            "mark it as 'partial', or use all of it",
            n,
        )
    done, missing = count(row.get("n_evaluated")), count(row.get("n_missing"))
    well = row.get("status", "ok") == "ok"
    if well and n is not None and done is not None and missing is not None and done + missing != n:
        yield make(
            "E057",
            "/n_evaluated",
            f"n_evaluated {done:,} + n_missing {missing:,} is not dataset/n {n:,}",
            "correct the one that is wrong",
            done,
        )


_ADDRESS = re.compile(
    r"://(?:[^\s/:@'\"<>]{0,200}:(?![*<$])[^\s/@'\"<>]{1,200}@"  # https://name:password@host
    r"|[A-Za-z0-9_-]{20,200}@)"  # https://token@host
)
_SECRETS = (
    re.compile(r"\bhf_[A-Za-z0-9]{16,}"),  # Hugging Face
    re.compile(r"\b(gh[opsur]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})"),  # GitHub
    re.compile(r"\bglpat-[A-Za-z0-9_-]{16,}"),  # GitLab
    re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b"),  # Amazon
    re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"),  # providers of models
    re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"),
    _ADDRESS,
    re.compile(
        r"(?<![A-Za-z0-9])"
        r"((password|passwd|secret|api[_-]?key|(access|auth|hf|wandb)[_-](token|key|api[_-]key))="
        r"|--(password|passwd|secret|api[_-]?key|(access[_-]|auth[_-]|hf[_-])?token) )"
        r"['\"]?(?![$<{*])[^\s'\"]{8,200}",
        re.IGNORECASE,
    ),
)
_MARKS: tuple[str, ...] = (
    *("hf_", "ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_", "glpat-", "akia", "asia", "sk-", "private key"),
    *("passw", "secret", "api", "token", "_key", "-key"),
)
_RARE = "kghpi"  # of the letters of the marks, those that are met least in result files


def _any_of(marks: Sequence[str]) -> tuple[re.Pattern[str], ...]:
    """Patterns that together find every mark: a few passes from one rare letter to the next, not one a mark."""
    around: dict[str, list[str]] = {}
    for mark in marks:
        letter = next((rare for rare in _RARE if rare in mark), mark[0])
        before, _, after = mark.partition(letter)
        behind = f"(?<={re.escape(before + letter)})" if before else ""
        around.setdefault(letter, []).append(behind + re.escape(after))
    return tuple(re.compile(f"{letter}(?:{'|'.join(ways)})") for letter, ways in around.items())


_MARKED = _any_of(_MARKS)
_ESCAPED = re.compile(r"\\(?:u00[0-7]|/)")  # of JSON, for signs of ASCII: it can hide any mark
_SHORTEST = 8
_QUICK = re.compile("|".join((*_MARKS, "://")), re.IGNORECASE)

_Trail = tuple[Any, object] | None
"""The way to a value: that to what holds it, and its key there. Pointers are made of it for what is told only."""


def may_hold_secret(text: str) -> bool:
    """A quick look at the whole text of a file: False where there is no secret for certain."""
    if _ESCAPED.search(text) or _ADDRESS.search(text):
        return True
    lowered = text.lower()
    return any(marks.search(lowered) for marks in _MARKED)


def has_secret(text: str) -> bool:
    """Whether a text holds what looks like a token, a key, or an address with a password."""
    return _QUICK.search(text) is not None and any(form.search(text) for form in _SECRETS)


def hide_secrets(content: Any) -> Any:
    """JSON content with every secret replaced by `[removed]`."""
    if isinstance(content, str):
        return _without_secrets(content)
    if isinstance(content, dict):
        return {hide_secrets(key): hide_secrets(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [hide_secrets(value) for value in content]
    return content


def _without_secrets(text: str) -> str:
    for _ in range(3):  # what is left of one may look like another
        if not has_secret(text):
            return text
        for form in _SECRETS:
            text = form.sub("://[removed]@" if form is _ADDRESS else "[removed]", text)
    return "[removed]" if has_secret(text) else text


def secret_faults(content: Any) -> Iterator[Fault]:
    """Secrets in any text of a parsed file. Their values are not shown."""
    waiting: list[tuple[_Trail, Any]] = [(None, content)]  # no recursion, for foreign files nest deeply
    while waiting:
        trail, node = waiting.pop()
        if isinstance(node, str):
            if len(node) >= _SHORTEST and has_secret(node):
                yield _secret(trail)
        elif isinstance(node, dict):
            for key, value in node.items():
                if len(key) >= _SHORTEST and has_secret(key):
                    yield _secret(trail)  # of the object, for a pointer to the key would show it
                elif isinstance(value, str | dict | list):
                    waiting.append(((trail, key), value))
        elif isinstance(node, list):
            waiting += [((trail, index), value) for index, value in enumerate(node)]


def _secret(trail: _Trail) -> Fault:
    pointer = ""
    while trail is not None:
        trail, key = trail
        pointer = step(key) + pointer
    return make(
        "E043",
        pointer,
        "holds what looks like a token, a key, or an address with a password (not shown)",
        "revoke it, for whoever has read the file has it; then remove it",
    )
