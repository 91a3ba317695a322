"""Tables of the DenseNAS space: which blocks there are, which may feed which, and what routes are chosen."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas360.baselines.methods.densenas import SPACE
from nas360.baselines.spaces.dense_block_cost import sizes
from nas360.baselines.spaces.dense_block_routes import architecture_of, best_route, random_route
from nas360.baselines.spaces.dense_block_table import LONG, SHORT, Stage, Table, Trim
from nas360.errors import RunError
from nas360.loaders import TASKS


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Small tables of any form."""
    stage = st.builds(
        Stage,
        st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple),
        st.integers(0, 2),
        st.sampled_from([1, 2]),
    )
    stages = draw(st.lists(stage, min_size=1, max_size=3))
    return Table(draw(st.integers(1, 4)), tuple(stages), reach=draw(st.integers(1, 10)))


def routes(table: Table) -> list[tuple[int, ...]]:
    """All routes from stem to end, by walking; the blocks on the left first."""
    done: list[tuple[int, ...]] = []
    open_routes: list[tuple[tuple[int, ...], int]] = [((), -1)]
    while open_routes:
        route, block = open_routes.pop(0)
        if block == len(table.blocks):
            done.append(route)
            continue
        open_routes += [
            ((*route, place), edge.target) for place, edge in enumerate(table.edges) if edge.source == block
        ]
    return done


@given(tables())
def test_edges_lead_onward_by_at_most_a_stage_and_to_the_nearest_blocks(table: Table) -> None:
    end = len(table.blocks)
    stage = {-1: -1, **{n: block.stage for n, block in enumerate(table.blocks)}, end: len(table.stages)}
    leaving = Counter(edge.source for edge in table.edges)
    assert set(leaving) == set(range(-1, end)), "every block leads on"
    assert max(leaving.values()) <= table.reach
    for edge in table.edges:
        assert 0 < edge.target - edge.source <= table.reach
        assert stage[edge.target] - stage[edge.source] in (0, 1)
        crosses = edge.target < end and stage[edge.target] > stage[edge.source]
        assert edge.stride == (table.stages[stage[edge.target]].stride if crosses else 1)


@given(tables())
def test_every_block_lies_on_a_route_unless_out_of_reach(table: Table) -> None:
    reached = {table.edges[place].target for route in routes(table) for place in route}
    wide = max(len(stage.widths) for stage in table.stages)
    if table.reach > 2 * wide:
        assert reached == set(range(len(table.blocks) + 1))
    assert len(table.blocks) in reached


@given(tables(), st.randoms(use_true_random=False))
def test_the_best_route_is_that_of_brute_force(table: Table, random: object) -> None:
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]  # hypothesis' own generator
    probabilities = rng.random(len(table.edges)).tolist()
    best = max(routes(table), key=lambda route: math.prod(probabilities[place] for place in route))
    assert best_route(table, probabilities) == best


def test_equal_routes_go_to_the_blocks_that_come_first() -> None:
    table = Table(2, (Stage((2, 3), 0), Stage((4, 5), 0)), reach=10)
    # all ways of equal length are as likely, and short ones likelier: 0 before 1, 2 before 3
    found = best_route(table, [0.5] * len(table.edges))
    assert [table.edges[place].target for place in found] == [0, 2, 4]
    # impossible edges are never taken where there is another way
    blocked = [0.0 if edge.target in (0, 2) else 0.5 for edge in table.edges]
    assert [table.edges[place].target for place in best_route(table, blocked)] == [1, 3, 4]


def test_random_routes_take_every_way_as_often() -> None:
    table = Table(2, (Stage((2, 3), 0), Stage((4, 5), 0)))
    rng = np.random.default_rng(0)
    seen = Counter(random_route(table, rng) for _ in range(4000))
    assert set(seen) == set(routes(table))
    ways = Counter(edge.source for edge in table.edges)
    for route, count in seen.items():
        expected = 4000 * math.prod(1 / ways[table.edges[place].source] for place in route)
        # five standard errors
        assert abs(count - expected) < 5 * math.sqrt(expected)


# spatial sizes (the shorter side) of stem and stages, widths and layers, as published
PUBLISHED = {
    "cifar100": ([32, 32, 16, 8, 8], "long"),
    "spherical": ([60, 30, 15, 15, 15], "long"),
    "ninapro": ([16, 16, 8, 4, 4], "long"),
    "fsd50k": ([96, 48, 24, 12, 12], "long"),
    "darcy_flow": ([85, 85, 85], "short"),
    "psicov": ([128, 128, 128], "short"),
    "cosmic": ([128, 128, 128], "half"),
    "ecg": ([1000, 500, 250], "short"),
    # the published sizes, 24, 12, 6 and 3, are those behind a stem of stride 2
    "satellite": ([46, 23, 12, 6, 6], "long"),
    "deepsea": ([1000, 500, 250], "short"),
}


@pytest.mark.parametrize("task", TASKS)
def test_tables_are_the_published_ones(task: str) -> None:
    spec = TASKS[task].spec
    table = SPACE.table(spec)
    expected, kind = PUBLISHED[task]
    halvings = itertools.accumulate((stage.stride == 2 for stage in table.stages), initial=0)
    assert [min(sizes(spec, n)) for n in halvings] == expected
    form = [(stage.widths, stage.layers) for stage in table.stages]
    long = [((48, 56, 64), 0), ((72, 96, 112), 5), ((128, 144, 160, 176), 15), ((192, 208, 224), 5)]
    short = [((48, 56, 64), 1), ((72, 96, 112), 5)]
    half = [((24, 28, 32), 1), ((36, 48, 56), 5)]
    assert form == {"long": long, "short": short, "half": half}[kind]
    assert table.stem == (16 if kind == "half" else 32)


def test_the_published_tables_have_so_many_connections() -> None:
    # by hand: 3 from the stem; 5+4+3 from the first stage; 6+5+4; 6+5+4+3; 3+2+1 from the last, the end included
    assert len(LONG.edges) == 3 + 12 + 15 + 18 + 6
    assert len(SHORT.edges) == 3 + 12 + 6


@given(tables(), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_a_trimmed_table_stands_for_blocks_of_the_whole(table: Table, width: int, layers: int, blocks: int) -> None:
    trim = Trim(width, layers, blocks)
    small, kept = table.trimmed(trim), table.kept(trim)
    assert len(kept) == len(small.blocks) == len(set(kept))
    assert list(kept) == sorted(kept)
    for block, number in zip(small.blocks, kept, strict=True):
        whole = table.blocks[number]
        assert (block.stage, block.halvings) == (whole.stage, whole.halvings)
        assert block.width == math.ceil(whole.width / width)
        assert block.layers == min(whole.layers, layers)
    assert table.trimmed(Trim()) == table


def test_architectures_of_routes() -> None:
    table = Table(2, (Stage((2, 3), 1, 2), Stage((4,), 2)))
    route = best_route(table, [0.1 if edge.target == 0 else 0.9 for edge in table.edges])
    assert str(architecture_of(table, route, [9, 1, 2])) == "2 → 3x2/2 → 4x3"


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(RunError, match=r"widths \(\) of a stage"):
        Stage((), 1)
    with pytest.raises(RunError, match="stride 3"):
        Stage((2,), 1, 3)
    with pytest.raises(RunError, match="a table needs a stem"):
        Table(0, (Stage((2,), 1),))
    with pytest.raises(RunError, match="every value must be at least 1"):
        Trim(0)
