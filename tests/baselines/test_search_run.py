"""Runs of methods that search: what they write, that test is never read in a search, and that a killed one goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas360.baselines.failure import TrainingError
from nas360.baselines.find import read_found
from nas360.baselines.method import METHODS, Method, get_method
from nas360.baselines.recipe import Optimiser
from nas360.baselines.run import run
from nas360.baselines.runlog import RunLog
from nas360.baselines.spaces.base import Drawn
from nas360.baselines.watch import Report, Silent
from nas360.errors import RunError, UnknownNameError
from nas360.loaders.data import SplitRows, TaskData
from nas360.predictions import read_predictions
from nas360.results import SeedRow, check_against_spec, load_result
from nas360.task import SplitName, TaskSpec

Toy = Callable[..., TaskData]
SpecOf = Callable[[int, str], TaskSpec]
SEARCHED = [name for name, method in METHODS.items() if method.search is not None]
VARIANTS = [f"{name}:{variant}" for name in SEARCHED for variant in METHODS[name].variants]
SMOKE: Any = {"budget": "smoke", "max_steps": 8}
KINDS = [(1, "point"), (2, "point"), (2, "real"), (1, "multilabel"), (2, "mask")]


def kind_for(method: Method, spec_of: SpecOf) -> tuple[int, str]:
    """A toy that the method can run on."""
    return next(kind for kind in KINDS if method.supports(spec_of(*kind)))


def row_of(path: Path) -> SeedRow:
    (row,) = load_result(path / "result.json").results
    assert isinstance(row, SeedRow)
    return row


class Interrupted(KeyboardInterrupt):
    """Stands for a kill."""


class Interrupter(Silent):
    """Interrupts after a step of a stage; keeps notes, steps and reports."""

    def __init__(self, stage: str = "", at: int = -1) -> None:
        self.stage, self.at = stage, at
        self.notes: list[str] = []
        self.steps: list[str] = []
        self.reports: list[Report] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def step(self, done: int, total: int, stage: str) -> None:
        assert 0 < done <= total
        self.steps.append(stage)
        if (stage, done) == (self.stage, self.at):
            raise Interrupted

    def report(self, report: Report) -> None:
        self.reports.append(report)


@pytest.mark.parametrize("name", SEARCHED)
def test_a_search_ends_in_a_trained_network(name: str, toy: Toy, spec_of: SpecOf, tmp_path: Path) -> None:
    method, watcher = METHODS[name], Interrupter()
    data = toy(*kind_for(method, spec_of))
    run(name, data, out=tmp_path, budget="smoke", device="cpu", watcher=watcher)
    row, result = row_of(tmp_path), load_result(tmp_path / "result.json")
    assert check_against_spec(row, data.spec) == []
    assert result.method.search_algorithm == method.search.algorithm.id  # type: ignore[union-attr]  # it searches
    assert row.cost.search_seconds is not None and row.cost.search_seconds > 0
    stored = json.loads((tmp_path / "architecture.json").read_text())
    found = method.space.from_json(stored["search"]["architecture"])
    trained = method.space.from_json(stored["architecture"])
    assert row.architecture is not None
    assert method.space.to_json(trained) == row.architecture.genotype
    assert stored["search"]["algorithm"] == result.method.search_algorithm
    entries = RunLog(tmp_path / "search.jsonl").entries()
    assert entries and entries[-1]["step"] == stored["search"]["steps"]
    # in this order, and nothing between
    stages = [stage for before, stage in zip(["", *watcher.steps], watcher.steps, strict=False) if stage != before]
    assert stages == ["search", "train", "predict"]
    assert watcher.reports[0].stage == "search" and watcher.reports[0].shown
    assert any("search:" in note for note in watcher.notes)
    assert "search:" in row.notes
    if isinstance(method.space, Drawn):
        assert (tmp_path / "architecture.svg").read_text().startswith("<svg")
        assert method.space.draw(found, "<b>").count("<b>") == 0
    again = run(name, data, out=tmp_path, budget="smoke", device="cpu")
    assert again == result, "a finished run is not repeated"


@pytest.mark.parametrize("name", SEARCHED)
def test_a_killed_run_ends_as_an_unbroken_one(name: str, toy: Toy, spec_of: SpecOf, tmp_path: Path) -> None:
    data = toy(*kind_for(METHODS[name], spec_of))

    def perform(folder: str, watcher: Silent, resume: bool = False) -> None:
        run(
            name, data, 3, tmp_path / folder, "smoke", "cpu", resume=resume, watcher=watcher,
            checkpoint_seconds=(0.0, 0.0),
        )  # fmt: skip

    perform("whole", Silent())
    for number, (stage, at) in enumerate([("search", 1), ("search", 5), ("train", 2), ("predict", 1)]):
        with pytest.raises(Interrupted):
            perform("cut", Interrupter(stage, at), resume=number > 0)
    watcher = Interrupter()
    perform("cut", watcher, resume=True)
    assert "search" not in watcher.steps, "a search that is over is not repeated"
    whole, cut = (tmp_path / folder for folder in ("whole", "cut"))
    values = [np.asarray(read_predictions(folder / "predictions.npz").values) for folder in (whole, cut)]
    assert np.array_equal(values[0], values[1])
    for log in ("search.jsonl", "log.jsonl"):
        entries = [[{**entry, "seconds": 0} for entry in RunLog(folder / log).entries()] for folder in (whole, cut)]
        assert entries[0] == entries[1]
    found = [json.loads((folder / "architecture.json").read_text()) for folder in (whole, cut)]
    for one in found:
        one["search"].pop("seconds")
    assert found[0] == found[1]


@pytest.mark.parametrize("name", SEARCHED)
def test_a_search_reads_no_test_row(
    name: str, toy: Toy, spec_of: SpecOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy(*kind_for(METHODS[name], spec_of))
    read: list[tuple[SplitName, ...]] = []
    rows = type(data).rows

    def watched(self: TaskData, *splits: SplitName) -> SplitRows:
        read.append(splits)
        return rows(self, *splits)

    monkeypatch.setattr(type(data), "rows", watched)
    with pytest.raises(Interrupted):
        run(name, data, out=tmp_path, budget="smoke", device="cpu", watcher=Interrupter("train", 1))
    assert ("train",) in read and ("validation",) in read
    # their number is what the budget needs to know
    monkeypatch.setattr(type(data), "rows", rows)
    before = json.loads((tmp_path / "architecture.json").read_text())["search"]
    spoilt = toy(*kind_for(METHODS[name], spec_of))
    for column in ("x", "y"):
        values = spoilt._splits["test"][column]
        values[...] = 0 if values.dtype.kind in "iu" else np.nan
    with pytest.raises(Interrupted):
        run(name, spoilt, out=tmp_path / "b", budget="smoke", device="cpu", watcher=Interrupter("train", 1))
    after = json.loads((tmp_path / "b" / "architecture.json").read_text())["search"]
    assert {**before, "seconds": 0} == {**after, "seconds": 0}


@pytest.mark.parametrize("damage", ["candidate", "identity"])
def test_what_a_log_does_not_tell_whole_is_searched_again(damage: str, toy: Toy, tmp_path: Path) -> None:
    """A candidate with an error that is no number is tried again; a log of another seed's search is begun anew."""
    data, path = toy(1, "point"), tmp_path / "search.jsonl"
    with pytest.raises(Interrupted):
        run("darts_random", data, out=tmp_path, device="cpu", watcher=Interrupter("train", 1), **SMOKE)
    header, *entries = [json.loads(line) for line in path.read_text().splitlines()]
    (tmp_path / "architecture.json").unlink()
    wrong = [header, entries[0] | {"validation_error": "x"}, *entries[1:]]
    if damage == "identity":
        wrong = [{"identity": header["identity"] | {"seed": 1}}, *({**entry, "seconds": 99} for entry in entries)]
    path.write_text("".join(json.dumps(line) + "\n" for line in wrong))
    watcher = Interrupter("train", 1)
    with pytest.raises(Interrupted):
        run("darts_random", data, out=tmp_path, device="cpu", resume=True, watcher=watcher, **SMOKE)
    assert [entry | {"seconds": 0} for entry in RunLog(path).entries()] == [entry | {"seconds": 0} for entry in entries]
    assert all(entry["seconds"] < 99 for entry in RunLog(path).entries())
    anew = "search.jsonl is of another search and is begun anew"
    assert any(anew in note for note in watcher.notes) == (damage == "identity")


def test_a_search_that_diverges_is_a_result_too(toy: Toy, tmp_path: Path) -> None:
    method, data = METHODS["gaea"], toy(1, "point")
    assert method.search is not None
    recipe = method.search.recipe

    def wild(spec: TaskSpec) -> Any:
        return replace(recipe(spec), optimiser=Optimiser("sgd", lr=1e38), epochs=2, clip_norm=None)

    wrong = replace(method, search=replace(method.search, recipe=wild))
    with pytest.raises(TrainingError, match="Lower the learning rate"):
        run(wrong, data, out=tmp_path, budget="full", device="cpu")
    row = row_of(tmp_path)
    assert (row.status, row.score, row.architecture) == ("failed", None, None)
    assert row.failure is not None and row.failure.stage == "search"
    with pytest.raises(RunError, match=r"which failed \(stage search\)"):
        run(wrong, data, out=tmp_path, budget="full", device="cpu", resume=True)


def found(**changes: object) -> str:
    """An `architecture.json` of cells that are fine, whose search is told as `changes` say."""
    space = METHODS["gaea"].space
    architecture = space.to_json(space.known["DARTS_V2"])  # type: ignore[attr-defined]  # it is `Named`
    return json.dumps({"search": {"architecture": architecture, "steps": 8, "seconds": 1, "facts": {}, **changes}})


@pytest.mark.parametrize(
    "content",
    [
        *("{}", '{"search": null}', '{"search": {"architecture": {"cells": 3}}}', '{"search": 3}', "[1, 2]", "["),
        *(found(seconds=-5), found(seconds=10**400), found(seconds="1"), found(seconds=True), found(steps=-1)),
        *(found(steps=1.5), found(steps=2**53), found(facts=[]), found(facts={"candidates": "many"})),
        *(found(facts={"candidates": -3}), found(facts={"candidates": True})),
    ],
)
def test_what_was_found_is_not_made_up(content: str, tmp_path: Path) -> None:
    path = tmp_path / "architecture.json"
    path.write_text(content)
    with pytest.raises(RunError, match=r"does not hold what a search of darts_cell found .*Delete it and go on with"):
        read_found(path, METHODS["gaea"].space)


def test_an_architecture_that_was_lost_is_found_again(toy: Toy, tmp_path: Path) -> None:
    data = toy(1, "point")
    with pytest.raises(Interrupted):
        run("gaea", data, out=tmp_path, budget="smoke", device="cpu", watcher=Interrupter("train", 1))
    (tmp_path / "architecture.json").write_text("{}")
    with pytest.raises(RunError, match="does not hold what a search of darts_cell found"):
        run("gaea", data, out=tmp_path, budget="smoke", device="cpu", resume=True)
    (tmp_path / "architecture.json").unlink()
    run("gaea", data, out=tmp_path, budget="smoke", device="cpu", resume=True)
    assert row_of(tmp_path).score is not None


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_runs_with_a_shortened_budget(name: str, toy: Toy, spec_of: SpecOf, tmp_path: Path) -> None:
    data = toy(*kind_for(get_method(name), spec_of))
    run(name, data, out=tmp_path, budget="smoke", device="cpu", max_steps=2)
    assert load_result(tmp_path / "result.json").method.name == name
    assert row_of(tmp_path).score is not None


def test_a_search_keeps_the_optimiser_that_it_needs(toy: Toy, tmp_path: Path) -> None:
    """Second order looks one step of SGD ahead; shortened budgets train by AdamW else."""
    for name, optimiser in (("darts", "adamw"), ("darts:second_order", "sgd")):
        with pytest.raises(Interrupted):
            run(name, toy(1, "point"), out=tmp_path / optimiser, budget="smoke", watcher=Interrupter("search", 1))
        header = RunLog(tmp_path / optimiser / "search.jsonl").header()
        assert header is not None
        recipe = header["identity"]["search"]["recipe"]
        assert (recipe["optimiser"]["name"], recipe["schedule"]["warmup"]) == (optimiser, 0.2)


def test_a_variant_is_a_method_of_its_own(toy: Toy, tmp_path: Path) -> None:
    run("gaea:auxiliary", toy(1, "point"), out=tmp_path, budget="smoke", device="cpu")
    result = load_result(tmp_path / "result.json")
    assert result.method.name == "gaea:auxiliary"
    row = row_of(tmp_path)
    assert row.architecture is not None and row.architecture.genotype is not None
    assert isinstance(row.architecture.genotype, dict)
    assert row.architecture.genotype["auxiliary"] is True
    with pytest.raises(UnknownNameError, match="Known: gaea:double_softmax, gaea:auxiliary"):
        run("gaea:", toy(1, "point"), out=tmp_path)


def test_too_few_rows_to_search_on(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="3 training rows and 16 validation rows are too few to search on"):
        run("gaea", toy(1, "point", train=3), out=tmp_path, budget="smoke", device="cpu")
