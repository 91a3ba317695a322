"""Grids: what is asked for, what can be run of it, what two calls on one folder come to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas360.bench.board import JSON
from nas360.bench.grid import Grid, Settings, pairs, paper_methods, parse_names, parse_seeds
from nas360.bench.place import DATA, STORED, Place, Stored, agree
from nas360.errors import RunError, UnknownNameError, UserError
from nas360.leaderboard.sources import BENCHMARK, BESIDE_RUNS
from nas360.loaders import TASKS

SETTINGS = Settings(budget="smoke", threads=1)


def grid(methods: str = "wrn", tasks: str = "ecg", seeds: tuple[int, ...] = (0,), **changes: Any) -> Grid:
    settings = SETTINGS.model_copy(update=changes)
    return Grid(methods=tuple(methods.split()), tasks=tuple(tasks.split()), seeds=seeds, settings=settings)


def test_the_methods_of_the_paper_are_its_seven() -> None:
    assert sorted(paper_methods()) == ["amber", "autodl", "densenas", "densenas_random", "gaea", "wrn", "wrn_asha"]


def test_the_whole_benchmark_leaves_out_what_is_not_applicable_and_says_so() -> None:
    whole = Grid(methods=paper_methods(), tasks=tuple(TASKS), seeds=(0,), settings=SETTINGS)
    found, few = pairs(whole)
    # five methods on ten tasks, Auto-DeepLab on the three dense ones, AMBER on the three of one dimension
    assert len(found) == len(set(found)) == 5 * 10 + 3 + 3
    assert few == {"autodl": 3, "amber": 3}
    dense = {task for method, task in found if method == "autodl"}
    assert dense == {name for name in TASKS if TASKS[name].spec.output.kind == "dense"}


def test_nothing_left_is_refused_with_the_reason() -> None:
    with pytest.raises(UserError, match=r"amber cannot run on cifar100.*Tasks that it can run on: ecg"):
        pairs(grid("amber", "cifar100"))


@pytest.mark.parametrize(("methods", "tasks", "said"), [("wrm", "ecg", "wrn"), ("wrn", "egc", "ecg")])
def test_misspelt_names_are_answered_with_the_nearest(methods: str, tasks: str, said: str) -> None:
    with pytest.raises(UnknownNameError, match=said):
        pairs(grid(methods, tasks))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_seeds_are_read_as_they_are_written(seeds: list[int]) -> None:
    assert parse_seeds(",".join(map(str, seeds))) == tuple(dict.fromkeys(seeds))


@given(st.integers(0, 10**6), st.integers(0, 50))
def test_a_range_of_seeds_holds_both_ends(first: int, more: int) -> None:
    assert parse_seeds(f"{first}-{first + more}") == tuple(range(first, first + more + 1))


@pytest.mark.parametrize("text", ["", "a", "0,", "-1", "3-1", "1.5", "0-99999", "²", "0--2"])
def test_what_are_no_seeds_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="seed"):
        parse_seeds(text)


def test_all_is_everything_and_each_name_stands_once() -> None:
    assert parse_names("b,all,b", ("a", "b")) == ("b", "a")


def test_a_grid_may_grow_but_not_change() -> None:
    old = grid("wrn", "ecg ninapro", (0, 1))
    assert agree(old, old, add=False) == old
    larger = grid("gaea wrn", "ninapro ecg", (0, 1, 2))
    assert agree(larger, old, add=False).contains(larger)
    other = grid("gaea", "ecg", (0,))
    with pytest.raises(RunError, match=r"methods wrn, tasks ecg,ninapro, seeds 0,1, which is not part.*--add"):
        agree(other, old, add=False)
    both = agree(other, old, add=True)
    assert both.contains(old)
    assert both.contains(other)
    for change in ({"budget": "small"}, {"threads": 2}, {"synthetic": True}, {"max_steps": 3}, {"device": "cpu"}):
        name = next(iter(change))
        with pytest.raises(RunError, match=rf"another benchmark: {name} is"):
            agree(grid("wrn", "ecg ninapro", (0, 1), **change), old, add=True)


def test_what_is_asked_for_is_kept_in_a_file(stored_of: Callable[..., tuple[Place, Stored]]) -> None:
    place, stored = stored_of(("wrn", "gaea"), ("ecg",), (0, 7))
    assert place.read() == stored
    place.stored.write_text('{"bench_version": 2}')
    with pytest.raises(RunError, match=r"bench\.json is not in the form of this version.*finished runs are kept"):
        place.read()


def test_one_client_at_a_time(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with place.locked(), pytest.raises(RunError, match="another nas360 bench is at work"), place.locked():
        pass
    with place.locked():
        pass


def test_a_data_folder_must_hold_every_task(tmp_path: Path) -> None:
    (tmp_path / "ecg").mkdir()
    (tmp_path / "ecg" / "manifest.json").write_text("{}")
    asked = grid("wrn", "ecg ninapro", data=str(tmp_path))
    with pytest.raises(RunError, match=r"no prepared dataset of ninapro\..*nas360 prepare ninapro --out"):
        Place(tmp_path).check_data(asked)
    Place(tmp_path).check_data(grid("wrn", "ecg", data=str(tmp_path)))


def test_leaderboards_know_what_a_benchmark_keeps_beside_its_runs() -> None:
    assert {STORED, DATA, JSON} == BESIDE_RUNS
    assert BENCHMARK == STORED


@pytest.mark.parametrize("folder", ["/etc", "../other", "runs/../../x", "runs//x", "./x", "..\\x", "c:x", "runs/.."])
def test_a_run_outside_the_folder_is_refused(folder: str, stored_of: Callable[..., tuple[Place, Stored]]) -> None:
    place, stored = stored_of(seeds=(0,))
    content = stored.model_dump(mode="json")
    content["cells"][0]["folder"] = folder
    place.stored.write_text(json.dumps(content))
    with pytest.raises(RunError, match="a run's folder must be in that of the benchmark"):
        place.read()


def test_a_name_that_is_an_option_is_refused(stored_of: Callable[..., tuple[Place, Stored]]) -> None:
    place, stored = stored_of(seeds=(0,))
    content = stored.model_dump(mode="json")
    content["cells"][0]["method"] = "--out=/x"
    place.stored.write_text(json.dumps(content))
    with pytest.raises(RunError, match="begins with a dash"):
        place.read()
