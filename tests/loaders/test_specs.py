"""What every task's spec owes, and the paper's facts stated a second time."""

from __future__ import annotations

import hashlib
import json
import re
from importlib import resources
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from nas360.loaders import TASKS
from nas360.loaders.deepsea import KINDS, LABELS, label_indices
from nas360.task import SPLITS, TaskSpec

# id: name, dimensions, sum of the splits, kind, outputs, digits in Table 2, unit, direction: Tables 1 and 2 of the
# paper. Where the tables round (51K, 330K windows, 250K) the sizes are those of the publishers' files.
PAPER: dict[str, tuple[str, int, int, str, int, int, str, str]] = {
    "cifar100": ("CIFAR-100", 2, 60_000, "point", 100, 2, "percent", "lower"),
    "spherical": ("Spherical", 2, 60_000, "point", 100, 2, "percent", "lower"),
    "ninapro": ("NinaPro", 2, 3_956, "point", 18, 2, "percent", "lower"),
    "fsd50k": ("FSD50K", 2, 51_197, "multilabel", 200, 2, "fraction", "higher"),
    "darcy_flow": ("Darcy Flow", 2, 1_100, "dense", 1, 3, "ratio", "lower"),
    "psicov": ("PSICOV", 2, 3_606, "dense", 1, 2, "angstrom", "lower"),
    "cosmic": ("Cosmic", 2, 5_250, "dense", 1, 2, "percent", "lower"),
    "ecg": ("ECG", 1, 8_528, "point", 4, 2, "fraction", "higher"),
    "satellite": ("Satellite", 1, 1_000_000, "point", 24, 2, "percent", "lower"),
    "deepsea": ("DeepSEA", 1, 223_643, "multilabel", 36, 2, "fraction", "higher"),
}
# the Wide ResNet row of Table 2, in the unit of the task
PUBLISHED = {
    "cifar100": 23.35,
    "spherical": 85.77,
    "ninapro": 6.78,
    "fsd50k": 0.08,
    "darcy_flow": 0.073,
    "psicov": 3.84,
    "cosmic": 51.76,
    "ecg": 0.57,
    "satellite": 15.49,
    "deepsea": 0.60,
}
# publishers that offer nothing better; the list may only become shorter
PLAIN_HTTP = {"http://deep.cs.umsl.edu/pdnet/train-data.tar.gz"}

every_task = pytest.mark.parametrize("spec", [task.spec for task in TASKS.values()], ids=list(TASKS))


def test_order_is_the_papers() -> None:
    assert list(TASKS) == list(PAPER)


@every_task
def test_paper_facts(spec: TaskSpec) -> None:
    name, dims, size, kind, outputs, decimals, unit, direction = PAPER[spec.id]
    assert (spec.name, spec.spatial_dims, sum(spec.splits.values())) == (name, dims, size)
    assert (spec.output.kind, spec.output.channels) == (kind, outputs)
    assert (spec.decimals, spec.unit, spec.direction) == (decimals, unit, direction)


@every_task
def test_published_score_is_within_bounds_and_precision(spec: TaskSpec) -> None:
    score = PUBLISHED[spec.id]
    low, high = spec.bounds
    assert low <= score <= (float("inf") if high is None else high)
    assert round(score, spec.decimals) == score
    assert spec.rounded_error(score) == pytest.approx(score if spec.direction == "lower" else 1 - score)


@every_task
def test_prediction_has_the_form_of_the_output(spec: TaskSpec) -> None:
    if spec.output.kind == "point":
        assert spec.prediction_shape == ()
    elif spec.output.kind == "multilabel":
        assert spec.prediction_shape == (spec.output.n_labels,)
    else:
        assert spec.prediction_shape in (spec.input_shape[1:], (-1,) * spec.spatial_dims)


@every_task
def test_loss_fits_the_output(spec: TaskSpec) -> None:
    losses = {
        "point": {"cross_entropy"},
        "multilabel": {"binary_cross_entropy"},
        "real": {"relative_l2", "mean_squared_error"},
        "mask": {"masked_binary_cross_entropy"},
    }
    kind = spec.output.target if spec.output.kind == "dense" else spec.output.kind
    assert spec.loss in losses[kind]


@every_task
def test_spec_is_found_under_its_id(spec: TaskSpec) -> None:
    assert TASKS[spec.id].spec is spec
    assert spec.repo == f"nas360/{spec.id}"
    # messages and tables form the plural by an s
    assert not spec.unit_of_split.endswith(("s", "x", "ch", "sh", "y"))


def test_repositories_and_names_are_unique() -> None:
    specs = [task.spec for task in TASKS.values()]
    assert len({spec.repo for spec in specs}) == len({spec.name for spec in specs}) == len(specs)


@every_task
def test_final_training_never_has_test(spec: TaskSpec) -> None:
    alone = {"fsd50k", "deepsea"}
    assert spec.final_training == (("train",) if spec.id in alone else ("train", "validation"))
    assert set(spec.rows) <= set(SPLITS)


@every_task
def test_class_names_are_unique_and_plain(spec: TaskSpec) -> None:
    assert len(set(spec.class_names)) == len(spec.class_names)
    assert all(name == name.strip() and name.isprintable() and name for name in spec.class_names)


@every_task
def test_sources(spec: TaskSpec) -> None:
    nothing = {hashlib.sha256(b"").hexdigest(), hashlib.md5(b"").hexdigest()}
    assert spec.sources
    assert len({source.filename for source in spec.sources}) == len(spec.sources)
    for source in spec.sources:
        address = urlsplit(source.url)
        assert address.scheme == "https" or source.url in PLAIN_HTTP
        assert "." in address.netloc
        assert not re.search(r"\s", source.url)
        assert Path(source.filename).name == source.filename
        assert not nothing & {source.sha256, source.md5}
        assert source.size_bytes or not (source.sha256 or source.md5), "a hash is given without the size"


def test_exceptions_for_plain_http_are_in_use() -> None:
    assert PLAIN_HTTP <= {source.url for task in TASKS.values() for source in task.spec.sources}


@every_task
def test_differences_say_something(spec: TaskSpec) -> None:
    assert spec.differences
    for item in spec.differences:
        for text in (item.reference, item.ours, item.reason):
            assert text == text.strip()
            assert not text.endswith(".")
            assert text
    assert len({item.reference for item in spec.differences}) == len(spec.differences)


@every_task
def test_citation_is_bibtex(spec: TaskSpec) -> None:
    depth, entries, start = 0, [], 0
    for position, character in enumerate(spec.citation):
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
        if character == "}" and depth == 0:
            entries.append(spec.citation[start : position + 1].strip())
            start = position + 1
    assert depth == 0
    assert spec.citation[start:].strip() == ""
    keys = []
    for entry in entries:
        head = re.fullmatch(r"@(article|inproceedings|techreport)\{([a-z]+\d{4}[a-z0-9]*), .*\}", entry, re.DOTALL)
        assert head, entry
        keys.append(head[2])
        for field in ("title", "author", "year"):
            assert f"{field}={{" in entry, (field, entry)
        year = re.search(r"year=\{(\d{4})\}", entry)
        assert year
        assert year[1] in head[2]
    assert keys
    assert len(set(keys)) == len(keys)


def test_every_task_has_prose_and_no_prose_is_left_over() -> None:
    cards = {
        Path(str(item)).stem for item in resources.files("nas360.dataset_cards").iterdir() if str(item).endswith(".md")
    }
    assert cards == set(TASKS)


@every_task
def test_json_round_trip(spec: TaskSpec) -> None:
    assert TaskSpec.model_validate_json(json.dumps(spec.public(), allow_nan=False)) == spec


@every_task
def test_unknown_fields_are_refused(spec: TaskSpec) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        TaskSpec.model_validate({**spec.public(), "colour": "blue"})
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "another"


def test_deepsea_labels_follow_the_rule() -> None:
    indices = label_indices()
    assert len(indices) == len(LABELS) == 36
    assert all(a < b for a, b in pairwise(indices))
    assert sum(number for _, _, number, _ in KINDS) == 919
    # the shares of the kinds, by largest remainder, are what the rule takes from each
    quotas = [36 * number / 919 for _, _, number, _ in KINDS]
    counts = [int(quota) for quota in quotas]
    while sum(counts) < 36:
        counts[max(range(3), key=lambda kind: quotas[kind] - counts[kind])] += 1
    assert counts == [wanted for _, _, _, wanted in KINDS]
    for (_, first, number, wanted), (label_first, label_last) in zip(KINDS, ((0, 5), (5, 32), (32, 36)), strict=True):
        block = [index - first for index in indices[label_first:label_last]]
        assert block[-1] == number - 1
        gaps = [b - a for a, b in pairwise([-1, *block])]
        assert len(block) == wanted
        assert max(gaps) - min(gaps) <= 1
    assert all(name.split("|")[1] == "DNase" for name in LABELS[:5])
    assert all(re.match(r"H\d", name.split("|")[1]) for name in LABELS[32:])


def test_deepsea_labels_are_the_bundles(real_data: Path) -> None:
    lines = (real_data / "deepsea" / "deepsea_train" / "features.txt").read_text(encoding="utf-8").splitlines()
    features = [line.split("\t")[1] for line in lines]
    assert [features[index] for index in label_indices()] == list(LABELS)


def test_fsd50k_labels_are_the_vocabulary(real_data: Path) -> None:
    table = (real_data / "fsd50k" / "FSD50K.ground_truth" / "vocabulary.csv").read_text(encoding="utf-8")
    assert [line.split(",")[1] for line in table.splitlines()] == list(TASKS["fsd50k"].spec.class_names)
