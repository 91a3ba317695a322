"""A report tells what the folders of runs hold, and nothing that is in them can act."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from nas360.baselines.spaces.darts_cell import DARTS_CELL
from nas360.baselines.spaces.darts_genotypes import known
from nas360.bench.report import drawing
from nas360.bench.report.blocks import Code, Page, Section
from nas360.bench.report.html import to_html
from nas360.bench.report.looks import looks
from nas360.bench.report.make import make_report
from nas360.bench.report.markdown import to_markdown
from nas360.bench.report.runs import read_runs
from nas360.errors import RunError
from nas360.leaderboard.board import rank
from nas360.leaderboard.output.render import to_markdown as board_markdown
from nas360.leaderboard.output.tables import View
from nas360.leaderboard.sources import load_panel
from nas360.leaderboard.stats.statistics import analyse
from nas360.leaderboard.table import build_table
from nas360.loaders import TASKS
from nas360.results import ResultFile, save_result

HOSTILE = "<script>alert(1)</script> | `x` **b** [a](javascript:alert(1)) \u202e <img src=x onerror=alert(1)> $x$"

Make = Callable[..., Path]


def write_log(folder: Path, name: str, identity: Any, *entries: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in ({"identity": identity}, *entries)))


@pytest.fixture
def make(repository: Path, tmp_path: Path) -> Make:
    """(method, task, seed, score, folder, **changes of the row) → the folder of a run that is over."""
    template = json.loads((repository / "tests/fixtures/results/v1.0-full.json").read_text())
    template["submission"]["track"] = "open"

    def run(
        method: str = "wrn", task: str = "ecg", seed: int = 0, score: float | None = 0.5, folder: str = "", **row: Any
    ) -> Path:
        spec, place = TASKS[task].spec, tmp_path / (folder or f"runs/{method}/{task}/seed{seed}")
        identity = {"method": method, "task": task, "seed": seed, "budget": "small"}
        losses = [{"step": n, "epoch": n / 2, "loss": 1 / n, "lr": 0.1, "validation": None} for n in (1, 2, 3)]
        write_log(place, "log.jsonl", identity, *losses)
        found = {
            "task": task,
            "metric": {
                "id": spec.metric,
                "lower_is_better": spec.direction == "lower",
                "unit": spec.unit,
                "min": spec.bounds[0],
                "max": spec.bounds[1],
            },
            "budget": "small",
            "dataset": {
                "repo": task,
                "revision": None,
                "version": spec.protocol,
                "content_sha256": "a" * 64,
                "n": 10,
                "provenance": row.pop("provenance", "partial"),
            },
            "seed": seed,
            "score": score,
            "n_evaluated": 0 if score is None else 10,
            "n_missing": 10 if score is None else 0,
            "architecture": {"space": "wide_resnet", "params": 1000, "macs": 2_000_000},
            "cost": {"search_seconds": 0.0, "train_seconds": 10.0 * (seed + 1), "peak_mem_mb": 100.0},
            **row,
        }
        method_record = {"name": method, "command": f"nas360 run {method} --task {task} --seed {seed}"}
        record = {**template["method"], "display_name": None, "search_algorithm": None, **method_record}
        content = {
            **template,
            "run_id": f"{method}-{task}-{seed}",
            "method": record,
            "results": [found],
            "digest": None,
        }
        save_result(place / "result.json", ResultFile.model_validate({**content, "tags": []}))
        return place

    return run


def searched(place: Path, seed: int = 0) -> None:
    """The log of a search, and what it found."""
    identity = {"method": "gaea", "task": "ecg", "seed": seed, "budget": "small", "search": {"steps": 4}}
    entries = [{"step": n, "epoch": n / 4, "loss": 2 / n, "validation_error": 0.9 / n, "seconds": n} for n in (1, 2)]
    write_log(place, "search.jsonl", identity, *entries)
    content = {
        "space": "darts_cell",
        "architecture": DARTS_CELL.to_json(known("DARTS_V2")),
        "parameters": 12345,
        "macs": 678,
        "search": {"algorithm": "gaea", "steps": 4, "seconds": 2.0, "facts": {}},
    }
    (place / "architecture.json").write_text(json.dumps(content))


class Strict(HTMLParser):
    """What a page holds that could act or load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.acting: list[tuple[str, str]] = []
        self.pictures: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            text = value or ""
            own = text.startswith(("#", "data:,", "data:image/svg+xml;base64,"))
            if name.startswith("on") or name == "style" or (name in ("href", "src", "action", "srcset") and not own):
                self.acting.append((name, text))
            if text.startswith("data:image/svg+xml;base64,"):
                self.pictures.append(base64.b64decode(text.partition(",")[2]).decode())

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def strict(page: str) -> Strict:
    found = Strict()
    found.feed(page)
    return found


def rows_of(text: str, title: str) -> list[list[str]]:
    """Cells of the Markdown table below a title."""
    lines = text[text.index(title) :].split("\n\n")[1].splitlines()
    return [[cell.strip().replace("\\", "") for cell in line.strip("| ").split(" | ")] for line in lines[2:]]


def test_the_leaderboard_is_the_one_that_the_leaderboard_command_gives(make: Make, tmp_path: Path) -> None:
    places = [make("wrn", task, seed, 0.5 + seed / 10) for task in ("ecg", "ninapro") for seed in (0, 1)]
    places.append(make("my_method", "ecg", 0, 0.8))
    files = {**load_panel("paper"), **read_all(places)}
    board = rank(
        build_table(files, {n: t.spec for n, t in TASKS.items()}, ["ecg", "ninapro"]), include=["small", "partial"]
    )
    expected = board_markdown(board, View(analyse(board, 1000, 0), per_task=True))
    text = to_markdown(make_report(tmp_path))
    for title in ("Leaderboard over 2 tasks", "Scores: mean ± spread over seeds"):
        assert rows_of(text, f"**{title}**") == rows_of(expected, f"**{title}**")
    assert "small, partial" in text and "read its rank with care" in text
    own = make_report(tmp_path, "none")
    assert "DenseNAS" not in to_markdown(own)


def read_all(places: list[Path]) -> dict[str, ResultFile]:
    from nas360.results import load_result

    return {str(place): load_result(place / "result.json") for place in places}


def test_made_up_data_never_stands_beside_other_data(make: Make, tmp_path: Path) -> None:
    make("wrn", "ecg", provenance="synthetic")
    alone = to_markdown(make_report(tmp_path))
    assert "GAEA" not in alone and "no published number stands beside them" in alone
    make("gaea", "ecg", score=0.7)
    both = to_markdown(make_report(tmp_path))
    tables = [part for part in both.split("\n\n") if part.startswith("| Method | Rank")]
    assert len(tables) == 2
    assert "synthetic" not in tables[0] and "(small, partial)" in tables[0] and "AMBER" in tables[0]
    assert "synthetic" in tables[1] and "AMBER" not in tables[1]


def test_costs_are_means_over_seeds_and_sums_over_runs(make: Make, tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        make("wrn", "ecg", seed)
    text = to_markdown(make_report(tmp_path))
    assert rows_of(text, "**Of one run") == [["ECG", "wrn", "3", "0", "20 s", "-", "1,000", "2.00 M", "100"]]
    assert rows_of(text, "**Of all runs together**") == [["wrn", "3", "0", "60 s", "-"]]


def test_runs_that_are_not_well_are_told_and_stop_nothing(make: Make, tmp_path: Path) -> None:
    make("wrn", "ecg", 0)
    make("wrn", "ecg", 1, None, status="oom", failure={"stage": "train", "message": "no memory"}, architecture=None)
    make("wrn", "ecg", 0, 0.6, folder="copy")  # the same run again
    make("wrn", "ecg", 2, 0.9, n_evaluated=10, split="validation")
    damaged = make("gaea", "ecg", 0)
    (damaged / "result.json").write_text("{")
    write_log(tmp_path / "runs/gaea/ecg/seed1", "log.jsonl", {"method": "gaea", "task": "ecg", "seed": 1})
    given_up = tmp_path / "runs/gaea/ecg/seed2"
    given_up.mkdir()
    attempt = {"reason": "time limit", "message": "longer than 60 s", "when": "2026-11-22T10:00:00+00:00"}
    (given_up / "failures.jsonl").write_text(f"{json.dumps(attempt)}\n{json.dumps(attempt)}\ncut sho")
    (tmp_path / "data" / "ecg").mkdir(parents=True)
    states = {run.folder: run.state for run in read_runs(tmp_path).all}
    assert states == {
        "copy": "finished",
        "runs/gaea/ecg/seed0": "unreadable",
        "runs/gaea/ecg/seed1": "unfinished",
        "runs/gaea/ecg/seed2": "failed",
        "runs/wrn/ecg/seed0": "finished",
        "runs/wrn/ecg/seed1": "failed",
        "runs/wrn/ecg/seed2": "finished",
    }
    text = to_markdown(make_report(tmp_path)).replace("\\", "")
    failed = rows_of(text, "## Failures")
    assert [row[0] for row in failed] == ["gaea on ecg, seed 0", "gaea on ecg, seed 2", "wrn on ecg, seed 1"]
    assert failed[0][2].startswith("result.json: not JSON")
    assert failed[1][1:3] == ["time limit after 2 attempts, 2026-11-22T10:00:00+00:00", "longer than 60 s"]
    assert failed[2][1:3] == ["oom (stage train)", "no memory"]
    assert "1 run has no result yet and is not counted" in text
    assert "1 result is the same run as another, with the same seed, and left out: runs/wrn/ecg/seed0 (as copy)" in text
    assert "1 result is not on the test split, and left out: runs/wrn/ecg/seed2" in text
    assert str(tmp_path) not in text, "a report is for others, to whom a machine's folders say nothing"


def test_what_a_benchmark_waits_for_and_how_to_do_it_again(make: Make, tmp_path: Path) -> None:
    make("wrn", "ecg", 0)
    settings = {"budget": "small", "max_steps": 50, "data": "/home/me/my data", "device": "cpu", "threads": 1}
    cells = [
        {"method": "wrn", "task": "ecg", "seed": seed, "folder": f"runs/wrn/ecg/seed{seed}", "work": 1.0}
        for seed in (0, 1)
    ]
    grid = {"methods": ["wrn"], "tasks": ["ecg"], "seeds": [0, 1], "settings": settings}
    (tmp_path / "bench.json").write_text(json.dumps({"bench_version": 1, "grid": grid, "cells": cells}))
    text = to_markdown(make_report(tmp_path))
    assert "| runs | 1 finished, 1 waiting |" in text
    assert (
        f"\nnas360 bench {tmp_path.name} --methods wrn --tasks ecg --seeds 0,1 --budget small --max-steps 50 "
        "--data 'my data' --device cpu --threads 1\n"
    ) in text
    assert "\nnas360 run wrn --task ecg --seed 0\n" in text
    (tmp_path / "bench.json").write_text("{}")
    assert "what was asked for is not known" in to_markdown(make_report(tmp_path))


def test_nothing_that_runs_hold_can_act(make: Make, tmp_path: Path) -> None:
    place = make("gaea", "ecg", 0, notes=HOSTILE.replace("\u202e", ""))
    searched(place)
    (place / "architecture.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>evil()</script></svg>')
    content = json.loads((place / "result.json").read_text())
    content["method"] |= {"command": HOSTILE.replace("\u202e", ""), "version": "</style><script>"}
    content["environment"]["cpu"] = "<script>alert(2)</script>"
    content["results"][0]["dataset"]["repo"] = "<b onclick=alert(3)>"
    content.pop("digest")
    (place / "result.json").write_text(json.dumps(content))
    strange = {"method": HOSTILE, "task": HOSTILE, "seed": 10**400, "budget": []}
    write_log(tmp_path / "runs" / "<b>", "log.jsonl", strange, {"step": 1, "epoch": 1e300, "loss": 1e300})
    write_log(tmp_path / "runs" / "x", "log.jsonl", strange, {"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25})
    write_log(
        tmp_path / "runs" / "y", "log.jsonl", {"method": "\ud800", "task": "ecg", "seed": 0}, {"step": 1, "loss": 1}
    )
    page = make_report(tmp_path)
    found = strict(to_html(page))
    assert found.acting == []
    assert not found.tags & {"script", "iframe", "object", "embed", "base", "form", "link"} - {"link"}
    assert found.tags <= {
        *("html", "head", "meta", "title", "link", "style", "body", "header", "nav", "main", "section", "h1", "h2"),
        *("h3", "p", "a", "table", "thead", "tbody", "tr", "th", "td", "div", "figure", "figcaption", "img", "bdi"),
        *("br", "pre", "code", "details", "summary"),
    }
    assert "".join(found.words).count("alert(1)") > 3, "it is shown all the same"
    assert not [sign for word in found.words for sign in word if not sign.isprintable() and sign != "\n"]
    for picture in found.pictures:
        root = ElementTree.fromstring(picture)
        assert not [one for one in root.iter() if one.tag.rpartition("}")[2] in ("script", "foreignObject", "image")]
        assert "evil" not in picture
    text = to_markdown(page)
    outside = re.sub(r"(?s)\n(`{3,})\n.*?\n\1", "", text)
    assert not re.search(r"(?m)(?<!\\)<|(?<!\\)(?<!^)>", outside)
    assert not re.search(r"(?<!\\)\]\(", outside)
    assert "\u202e" not in text


def test_code_in_markdown_ends_where_it_ends() -> None:
    page = Page(
        "t",
        "l",
        (
            Section(
                "c",
                "Commands",
                (
                    Code(
                        ("a ```` b", "``` c"),
                    ),
                ),
            ),
        ),
    )
    assert to_markdown(page).endswith("\n`````\na ```` b\n``` c\n`````\n")


def test_pictures_are_drawn_here_and_methods_keep_their_colours(make: Make, tmp_path: Path) -> None:
    searched(make("gaea", "ecg", 0))
    for method, task in (("wrn", "ecg"), ("wrn", "ninapro"), ("gaea", "ninapro")):
        make(method, task)
    page = strict(to_html(make_report(tmp_path)))
    profile, ecg, ninapro, cells = page.pictures
    colour = {name: str(look["color"]).lower() for name, look in looks(["wrn", "gaea"]).items()}
    assert colour["wrn"] != colour["gaea"]
    for picture in (profile, ecg, ninapro):
        for one in colour.values():
            assert f"stroke: {one}" in picture
    assert "sep conv 3" in cells and "gaea on ecg, seed 0" in cells
    assert to_html(make_report(tmp_path)) == to_html(make_report(tmp_path)), "equal runs give equal pages"


def test_looks_tell_methods_apart() -> None:
    every = looks([f"m{n}" for n in range(40)])
    assert len({(look["color"], str(look["linestyle"])) for look in every.values()}) == 40


def test_curves_in_numbers_take_the_place_of_pictures(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched(make("gaea", "ecg", 3), 3)
    rows = rows_of(to_markdown(make_report(tmp_path)), "**ECG**")
    assert rows == [
        ["search: validation error", "gaea", "3", "2", "0.9", "0.45", "0.45"],
        ["search: loss", "gaea", "3", "2", "2", "1", "1"],
        ["training: loss", "gaea", "3", "3", "1", "0.3333", "0.3333"],
    ]
    for name in ("ranking", "curves", "make"):
        monkeypatch.setattr(f"nas360.bench.report.{name}.can_draw", lambda: False)
    bare = to_html(make_report(tmp_path))
    assert "0.3333" in bare and "nas360[plots]" in bare
    assert drawing.can_draw()


def test_a_candidates_curve_is_the_best_so_far(make: Make, tmp_path: Path) -> None:
    place = make("darts_random", "ecg")
    entries = [
        {"step": n, "candidate": n, "validation_error": error, "architecture": {"a": 1}}
        for n, error in enumerate((0.5, 0.7, None, 0.3), start=1)
    ]
    write_log(place, "search.jsonl", {"method": "darts_random", "task": "ecg", "seed": 0}, *entries)
    rows = rows_of(to_markdown(make_report(tmp_path)), "**ECG**")
    assert rows[0] == ["search: best candidate's error", "darts_random", "0", "3", "0.5", "0.3", "0.3"]


def test_folders_without_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no such folder"):
        read_runs(tmp_path / "none")
    with pytest.raises(RunError, match="holds no runs"):
        read_runs(tmp_path)


def test_the_summary_says_where_it_ran_only_where_that_is_known(make: Make, tmp_path: Path) -> None:
    cost = {"search_seconds": 60.0, "train_seconds": 60.0}
    for hours, told in ((None, "| 2.0 min |"), (0.0, "| 2.0 min, on processors alone |"), (1.5, "| 2.0 min, 1.50 GPU")):
        make("wrn", "ecg", cost=cost if hours is None else {**cost, "gpu_hours": hours})
        assert told in to_markdown(make_report(tmp_path))


def test_candidates_of_all_searches_stand_at_their_steps(make: Make, tmp_path: Path) -> None:
    from nas360.bench.report.curves import QUANTITIES, _curves

    (candidates,) = [quantity for quantity in QUANTITIES if quantity.running]
    for method, more in (("darts_random", {}), ("wrn_asha", {"epoch": 0.5})):
        entry = {"step": 7, "candidate": 0, "validation_error": 0.5, **more}
        write_log(make(method, "ecg"), "search.jsonl", {"method": method, "task": "ecg", "seed": 0}, entry)
    points = [curve.points for curve in _curves(read_runs(tmp_path).all, candidates)]
    assert points == [((7.0, 0.5),), ((7.0, 0.5),)]
