"""What the splits of a dataset share: equal and almost equal rows, groups, and how far their labels differ.

`audit.json`, as `audit` gives it (plain JSON; equal data gives an equal audit, whatever the order of rows in a split):

- `task`, `content_sha256` (the data that it is of), `schema_version`, `settings`.
- `exact_duplicates`: `inputs` (columns compared); `within`: split → `rows`, `repeats` (rows whose input stands before
  in the split), `conflicting` (those of them that do not all have one label), `examples`; `across`: "test in train" →
  `rows` of the first, `found` (those whose input is in the second), `share`, `conflicting`, `examples`. An example is a
  pair of ids.
- `near_duplicates`: "test in train" → `compared` rows of the first, `rows` it has, `found`, `share`, `interval_95`
  (Clopper and Pearson; null where all rows were compared), `views` (how many in which view), `examples` (ids and
  correlation). "train in train" is what to hold the others against: series and maps that are smooth resemble each other
  without being copies. Rows that are the same bytes are not counted.
- `group_overlap`: column → `must_be_apart`, and "test in train" → `values` of the first, `common` ones, `rows` of the
  first that have one, `share`, `examples`.
- `label_shift`: `distribution` of each split, and "test and train" → see `label_shift.compare`.
- `summary`: the figures that matter most, as nested tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas360.errors import UserError
from nas360.files import write_json, write_text
from nas360.loaders import TASKS
from nas360.loaders.base import Column
from nas360.loaders.data import TaskData
from nas360.loaders.repository.exact_duplicates import Digests, Repeats, digests, repeats_across, repeats_within
from nas360.loaders.repository.label_shift import compare, distribution, summarise
from nas360.loaders.repository.manifest import read_manifest
from nas360.loaders.repository.near_duplicates import (
    Inputs,
    Pair,
    Settings,
    View,
    find_near_duplicates,
    sample_rows,
    views,
)
from nas360.loaders.repository.texts import AUDIT, texts
from nas360.registry import did_you_mean
from nas360.seeding import derive
from nas360.task import Dense, SplitName, TaskSpec

SCHEMA_VERSION = 1
EXAMPLES = 5
PAIRS: tuple[tuple[SplitName, SplitName], ...] = (("test", "train"), ("validation", "train"), ("test", "validation"))
"""Splits that are compared: rows of the first are looked for in the second."""

NOT_INPUTS = frozenset({"y", "ignore"})

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class _Split:
    """One split in the order of its ids."""

    ids: list[str]
    order: npt.NDArray[np.int64]
    x: Digests
    y: Digests
    inputs: Inputs


def audit(
    data: TaskData,
    columns: Sequence[str] = (),
    settings: Settings | None = None,
    report: Report = lambda step, done, total: None,
) -> dict[str, Any]:
    """Measure what the splits of a dataset share.

    Args:
        data: the dataset.
        columns: columns whose values are compared across splits; by default all that look like keys of groups.
        settings: of the search for near duplicates.
        report: told of the progress: what, done, total.

    Returns:
        The audit, as plain JSON values; see the head of this file.

    Raises:
        DatasetError: the repository is not whole.
        UserError: it has no such column.
    """
    chosen = settings or Settings()
    types = data.loader.columns
    keys = _chosen_keys(types, columns)
    inputs = input_columns(types)
    splits = _splits(data, inputs, chosen, report)
    found: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "task": data.spec.id,
        "content_sha256": data.content_hash,
        "settings": {name: value for name, value in asdict(chosen).items() if name != "block_bytes"},
        "exact_duplicates": _exact(splits, sorted(inputs)),
        "near_duplicates": _near(splits, views(data.spec, inputs), chosen, report),
        "group_overlap": {key: _overlap(data, key) for key in keys},
        "label_shift": _shift(data),
    }
    found["summary"] = _summary(found, data.spec)
    report("labels and groups", 1, 1)
    return found


def write_audit(folder: Path, found: Mapping[str, Any]) -> list[str]:
    """Put an audit into its repository, and on the repository's card.

    Manifest and data are not touched.

    Args:
        folder: the repository.
        found: what `audit` found of it.

    Returns:
        Names of the files that were written.
    """
    manifest = read_manifest(folder)
    write_json(folder / AUDIT, found)
    write_text(folder / "README.md", texts(TASKS[manifest.task], manifest, found)["README.md"])
    return [AUDIT, "README.md"]


def input_columns(columns: Mapping[str, Column]) -> dict[str, Column]:
    """The columns that a model's input is made from: `x`, or else all of numbers that are more than one a row."""
    if "x" in columns:
        return {"x": columns["x"]}
    return {
        name: column
        for name, column in columns.items()
        if column.shape and column.dtype != "string" and not column.names and name not in NOT_INPUTS
    }


def group_columns(columns: Mapping[str, Column]) -> list[str]:
    """The columns that may tie rows together: texts and whole numbers, one a row, that are neither id nor label."""
    return [
        name
        for name, column in columns.items()
        if name not in ("id", "y")
        and not column.shape
        and (column.dtype == "string" or bool(column.names) or np.issubdtype(column.numpy_dtype, np.integer))
    ]


def _chosen_keys(columns: Mapping[str, Column], wanted: Sequence[str]) -> list[str]:
    for name in wanted:
        if name not in columns or columns[name].shape:
            single = [known for known, column in columns.items() if not column.shape]
            raise UserError(
                f"the dataset has no column {name!r} with one value a row.{did_you_mean(name, single)} "
                f"It has {', '.join(single)}"
            )
    return list(wanted) or group_columns(columns)


def _splits(
    data: TaskData, inputs: Mapping[str, Column], settings: Settings, report: Report
) -> dict[SplitName, _Split]:
    made: dict[SplitName, _Split] = {}
    for name in data.manifest.splits:
        rows = data.rows(name)
        order = np.argsort(rows.ids, kind="stable")
        values = {column: rows.column(column) for column in inputs}
        x = digests(values, len(rows))[order]
        y = digests({"y": rows.column("y")}, len(rows))[order]
        ids = rows.ids[order].tolist()
        made[name] = _Split(ids, order, x, y, Inputs(values, inputs, order, x, settings))
        report("read", len(made), len(data.manifest.splits))
    return made


def _exact(splits: Mapping[SplitName, _Split], inputs: list[str]) -> dict[str, Any]:
    within, across = {}, {}
    for name, split in splits.items():
        repeats = repeats_within(split.x, split.y)
        within[name] = {
            "rows": len(split.ids),
            "repeats": len(repeats.rows),
            "conflicting": int(repeats.conflicting.sum()),
            "examples": _examples(split, split, repeats),
        }
    for one, other in PAIRS:
        first, second = splits[one], splits[other]
        repeats = repeats_across(first.x, first.y, second.x, second.y)
        across[f"{one} in {other}"] = {
            "rows": len(first.ids),
            "found": len(repeats.rows),
            "share": _share(len(repeats.rows), len(first.ids)),
            "conflicting": int(repeats.conflicting.sum()),
            "examples": _examples(first, second, repeats),
        }
    return {"inputs": inputs, "within": within, "across": across}


def _examples(first: _Split, second: _Split, repeats: Repeats) -> list[list[str]]:
    shown = zip(repeats.rows[:EXAMPLES].tolist(), repeats.partners[:EXAMPLES].tolist(), strict=True)
    return [[first.ids[row], second.ids[partner]] for row, partner in shown]


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


def _near(
    splits: Mapping[SplitName, _Split], looks: tuple[View, ...], settings: Settings, report: Report
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    pairs: tuple[tuple[SplitName, SplitName], ...] = (*PAIRS, ("train", "train"))
    for one, other in pairs:
        first, second = splits[one], splits[other]
        rows = sample_rows(len(first.ids), settings, one)
        hits = find_near_duplicates(first.inputs, rows, second.inputs, looks, settings)
        best = sorted(hits, key=lambda pair: (-round(pair.correlation, 6), pair.query))[:EXAMPLES]
        found[f"{one} in {other}"] = {
            "rows": len(first.ids),
            "compared": len(rows),
            "found": len(hits),
            "share": _share(len(hits), len(rows)),
            "interval_95": None if len(rows) == len(first.ids) else _interval(len(hits), len(rows)),
            "views": _views(hits),
            "examples": [
                {
                    "ids": [first.ids[pair.query], second.ids[pair.reference]],
                    "correlation": round(pair.correlation, 6),
                    **({"view": pair.view} if pair.view else {}),
                }
                for pair in best
            ],
        }
        report("near duplicates", len(found), len(pairs))
    return found


def _views(hits: Iterable[Pair]) -> dict[str, int]:
    names = [pair.view or "as it is" for pair in hits]
    return {name: names.count(name) for name in sorted(set(names))}


def _interval(found: int, n: int) -> list[float]:
    """95 % interval of a share by Clopper and Pearson."""
    from scipy.stats import binomtest

    interval = binomtest(found, n).proportion_ci(0.95, "exact")
    return [round(float(interval.low), 6), round(float(interval.high), 6)]


def _overlap(data: TaskData, key: str) -> dict[str, Any]:
    values = {name: data.rows(name).column(key).astype(str) for name in data.manifest.splits}
    found: dict[str, Any] = {"must_be_apart": key in data.spec.apart}
    for one, other in PAIRS:
        own = np.unique(values[one])
        common = np.intersect1d(own, values[other])
        rows = int(np.isin(values[one], common).sum())
        found[f"{one} in {other}"] = {
            "values": len(own),
            "common": len(common),
            "rows": rows,
            "share": _share(rows, len(values[one])),
            "examples": common[:EXAMPLES].tolist(),
        }
    return found


def _shift(data: TaskData) -> dict[str, Any]:
    spec, kept = data.spec, {}
    for name in data.manifest.splits:
        rows = data.rows(name)
        group = rows.column(spec.group) if spec.group is not None else None
        kept[name] = summarise(rows.column("y"), spec, group)
    found: dict[str, Any] = {"distribution": {name: distribution(part, spec) for name, part in kept.items()}}
    for one, other in PAIRS:
        rng = derive(0, "audit", "label_shift", one, other)
        found[f"{one} and {other}"] = compare(kept[one], kept[other], spec, rng)
    return found


def _summary(found: Mapping[str, Any], spec: TaskSpec) -> dict[str, Any]:
    exact, near = found["exact_duplicates"], found["near_duplicates"]
    label = "same_input_other_label"
    summary: dict[str, Any] = {
        "rows_also_in": {
            pair: {"found": part["found"], "share": part["share"], label: part["conflicting"]}
            for pair, part in exact["across"].items()
        },
        "repeated_rows": {split: part["repeats"] for split, part in exact["within"].items()},
        "near_duplicates": {
            pair: {"compared": part["compared"], "found": part["found"], "share": part["share"]}
            for pair, part in near.items()
        },
        "shared_values": {
            key: {pair: value["common"] for pair, value in part.items() if pair != "must_be_apart"}
            for key, part in found["group_overlap"].items()
        },
        "label_shift": {
            pair: _shift_figure(part, spec) for pair, part in found["label_shift"].items() if pair != "distribution"
        },
    }
    return {name: part for name, part in summary.items() if part}


def _shift_figure(part: Mapping[str, Any], spec: TaskSpec) -> dict[str, Any]:
    names: tuple[str, ...] = ("total_variation", "by_chance_95_percent", "labels_that_differ", "largest_difference")
    if isinstance(spec.output, Dense):
        names = ("standardised_difference", "p_value")
    return {name: part[name] for name in names if name in part}


def conflicts(found: Mapping[str, Any]) -> list[str]:
    """What in an audit a person should look at, in words: leaks that the task's protocol forbids first."""
    told = []
    for key, part in found["group_overlap"].items():
        for pair, value in part.items():
            if part["must_be_apart"] and pair != "must_be_apart" and value["common"]:
                told.append(f"{value['common']:,} values of {key} are on both sides ({pair}), which must not be")
    for pair, part in found["exact_duplicates"]["across"].items():
        if part["found"]:
            told.append(
                f"{part['found']:,} of {part['rows']:,} rows have the same input on the other side ({pair}); "
                f"{part['conflicting']:,} of them with another label"
            )
    return told
