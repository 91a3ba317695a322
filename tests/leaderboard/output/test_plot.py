"""The pictures: what they show, that no text overlaps another or is cut, that equal boards give equal files."""

from __future__ import annotations

import itertools
import struct
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas360.errors import MissingExtraError, UnknownNameError, UserError
from nas360.leaderboard.board import Board, rank
from nas360.leaderboard.output.plot import KINDS, MAX_LINES, pictures, plot, plot_profile
from nas360.leaderboard.output.plot_cost import MAX_LINES as MAX_COST_LINES
from nas360.leaderboard.output.plot_critical_difference import MAX_LINES as MAX_COMPLETE
from nas360.leaderboard.output.plot_critical_difference import cliques
from nas360.leaderboard.output.plot_style import listing, logarithmic_ticks
from nas360.leaderboard.sources import load_panel
from nas360.leaderboard.stats.statistics import CostPoint, Statistics, analyse
from nas360.leaderboard.table import build_table
from nas360.results import ResultFile
from nas360.task import TaskSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

pytest.importorskip("matplotlib")

Shown = tuple[Board, Statistics]


@pytest.fixture(scope="module")
def paper_board(paper: Mapping[str, ResultFile], specs: Mapping[str, TaskSpec]) -> Shown:
    board = rank(build_table(paper, specs))
    return board, analyse(board, 20)


@pytest.fixture(scope="module")
def published(specs: Mapping[str, TaskSpec]) -> Shown:
    board = rank(build_table(load_panel("published"), specs))
    return board, analyse(board, 20)


@pytest.fixture(scope="module")
def crowd(
    specs: Mapping[str, TaskSpec], make_file: Callable[..., ResultFile], make_row: Callable[..., dict[str, Any]]
) -> Shown:
    """Twenty methods with long names and costs, some without a cost, some without a task, one that failed."""
    generator = np.random.default_rng(0)
    files = {}
    for index in range(20):
        rows = []
        for task, spec in specs.items():
            if index in (7, 13) and task in ("ecg", "deepsea"):
                continue
            score = 0.3 * float(np.exp(0.05 * index + 0.1 * generator.standard_normal()))
            row = make_row(task, 1 - score if spec.direction == "higher" else score)
            row["architecture"] = {"space": "a space", "params": int(10 ** generator.uniform(5, 8))}
            hours = float(10 ** generator.uniform(-1, 2)) if index % 5 else None
            row["cost"] = {"search_seconds": 0.0, "train_seconds": 1.0, "gpu_hours": hours}
            rows.append(row)
        if index == 19:
            rows[0] = make_row("cifar100", None)
        name = f"Method {index}: wide words with W and M, all {'very ' * (index % 4)}wide"
        files[str(index)] = make_file(f"m{index}", rows, display_name=name[:40])
    board = rank(build_table(files, specs))
    return board, analyse(board, 20)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """The figures that were written."""
    from matplotlib.figure import Figure

    figures: list[Figure] = []
    write = Figure.savefig

    def remember(self: Figure, *arguments: Any, **settings: Any) -> None:
        figures.append(self)
        write(self, *arguments, **settings)

    monkeypatch.setattr(Figure, "savefig", remember)
    yield figures


def _texts(figure: Figure) -> dict[str, Any]:
    """What can be read in a figure → its box, in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    canvas: Any = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        canvas.draw()
        hidden = {id(text) for axes in figure.axes for text in _ticks_outside(axes)}
        return {
            f"{number}: {text.get_text()}": text.get_window_extent(canvas.get_renderer())
            for number, text in enumerate(figure.findobj(Text))
            if text.get_visible() and text.get_text().strip() and id(text) not in hidden
        }


def _ticks_outside(axes: Any) -> list[Any]:
    """Labels that matplotlib keeps but does not draw: of axes switched off, and of ticks beyond the ends."""
    found = []
    for axis, (low, high) in ((axes.xaxis, sorted(axes.get_xlim())), (axes.yaxis, sorted(axes.get_ylim()))):
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not axes.axison or not low <= tick.get_loc() <= high:
                found += [tick.label1, tick.label2]
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["paper_board", "published", "crowd"])
def test_no_text_overlaps_another_or_is_cut(
    name: str, kind: str, request: pytest.FixtureRequest, drawn: list[Figure], tmp_path: Path
) -> None:
    board, statistics = request.getfixturevalue(name)
    if kind == "cost" and not any(statistics.costs.values()):
        pytest.skip(f"no costs in {name}")
    plot(kind, board, statistics, tmp_path / "a.png")
    (figure,) = drawn
    found = _texts(figure)
    assert len(found) > 5
    width, height = figure.bbox.width, figure.bbox.height
    for text, box in found.items():
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, text
    for (one, box), (two, other) in itertools.combinations(found.items(), 2):
        across = min(box.x1, other.x1) - max(box.x0, other.x0)
        along = min(box.y1, other.y1) - max(box.y0, other.y0)
        # boxes are as high as the tallest letter that the font could have there
        assert across < 1 or along < 3, (one, two)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_equal_boards_give_equal_files(suffix: str, kind: str, crowd: Shown, tmp_path: Path) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    plot(kind, *crowd, first)
    plot(kind, *crowd, second)
    content = first.read_bytes()
    assert content == second.read_bytes()
    assert b"<dc:date>" not in content and b"CreationDate" not in content
    assert content.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix])
    if suffix == ".png":
        width, height = struct.unpack(">II", content[16:24])
        assert width > 1200 < 2.2 * height


def test_lines_and_points_differ_without_colour(crowd: Shown, drawn: list[Figure], tmp_path: Path) -> None:
    board, statistics = crowd
    plot("profile", board, statistics, tmp_path / "a.png")
    plot("cost", board, statistics, tmp_path / "b.png")
    profile, cost = drawn
    for legend, count in ((profile.axes[0].get_legend(), MAX_LINES), (cost.legends[0], 20)):
        lines: list[Any] = list(cast("Any", legend).get_lines())
        looks = {
            (
                str(line._dash_pattern),  # what `get_linestyle` calls "--" for all patterns
                line.get_marker(),
                line.get_markeredgecolor() == "black" and line.get_color() != "black",
            )
            for line in lines
        }
        assert len(lines) == len(looks) == count


def test_of_many_complete_lines_the_best_are_drawn(
    specs: Mapping[str, TaskSpec], make_file: Any, make_row: Any, drawn: list[Figure], tmp_path: Path
) -> None:
    rows = [
        (k, [make_row(task, 0.3 + k / 1000) for task in ("cifar100", "spherical")]) for k in range(MAX_COMPLETE + 3)
    ]
    board = rank(
        build_table({f"{k}": make_file(f"m{k}", found) for k, found in rows}, specs, ["cifar100", "spherical"])
    )
    told = plot("critical-difference", board, analyse(board, 1), tmp_path / "a.png")
    assert "3 more are left out" in told
    text = "\n".join(_texts(drawn[0]))
    assert f"Shown: the best {MAX_COMPLETE}." in text
    assert f"m{MAX_COMPLETE}" not in text


def test_the_diagram_is_of_complete_lines_and_says_so(paper_board: Shown, drawn: list[Figure], tmp_path: Path) -> None:
    plot("critical-difference", *paper_board, tmp_path / "a.svg")
    text = "\n".join(_texts(drawn[0]))
    assert "CD = 1.93" in text  # 2.728 · √(5 · 6 / (6 · 10)), Demšar's table 5
    assert "10 tasks of the 5 methods that ran all of them" in text
    assert "Left out, without a value on every task: AMBER, Auto-DeepLab" in text
    # ranks among the five, by hand from the paper's Table 2
    for label in ("DARTS (GAEA)  2.00", "DenseNAS (random)  2.80", "WRN-16-4  3.35", "3.35  WRN-16-4 (ASHA)"):
        assert label in text
    assert "AMBER " not in text.replace("task: AMBER", "")


@given(
    ranks=st.lists(st.integers(2, 40).map(lambda twice: twice / 2), min_size=1, max_size=9).map(sorted),
    distance=st.floats(0, 12),
)
def test_bars_join_exactly_what_lies_within_the_distance(ranks: list[float], distance: float) -> None:
    bars = cliques(ranks, distance)
    for one, two in itertools.combinations(range(len(ranks)), 2):
        together = any(first <= one and two <= last for first, last in bars)
        if abs(ranks[two] - ranks[one] - distance) > 1e-6:
            assert together == (ranks[two] - ranks[one] <= distance)
    for bar, other in itertools.permutations(bars, 2):
        assert not (other[0] <= bar[0] and bar[1] <= other[1])


def test_costs_are_drawn_with_their_front(crowd: Shown, drawn: list[Figure], tmp_path: Path) -> None:
    board, statistics = crowd
    plot("cost", board, statistics, tmp_path / "a.png")
    for axes, kind in zip(drawn[0].axes, ("gpu_hours", "parameters"), strict=True):
        lines: list[Any] = [line.get_xydata().tolist() for line in cast("Any", axes.lines)]
        known = {(point.cost, point.error) for point in statistics.costs[kind].values() if np.isfinite(point.error)}
        assert {tuple(points[0]) for points in lines if len(points) == 1} == known
        (stairs,) = [points for points in lines if len(points) > 1]
        on_front = [statistics.costs[kind][line] for line in statistics.pareto[kind]]
        assert [cost for cost, _ in stairs[:-1]] == [point.cost for point in on_front]
    text = "\n".join(_texts(drawn[0]))
    assert "Hollow: over fewer than 10 tasks" in text
    assert "Without GPU-hours: Method" in text


def test_many_costs_leave_some_out(crowd: Shown, tmp_path: Path) -> None:
    board, statistics = crowd
    standings = tuple(
        replace(board.standings[k % 20], line=replace(board.standings[0].line, id=f"x{k}")) for k in range(30)
    )
    points = {f"x{k}": CostPoint(1.0 + k, 2.0 + k, 10) for k in range(30)}
    many = replace(statistics, costs={"gpu_hours": points}, pareto={"gpu_hours": ("x0",)})
    told = plot("cost", replace(board, standings=standings), many, tmp_path / "a.png")
    assert f"{30 - MAX_COST_LINES} more are left out" in told


def test_nothing_to_draw_is_told(crowd: Shown, specs: Mapping[str, TaskSpec], tmp_path: Path) -> None:
    board, statistics = crowd
    for costs in (
        {},
        {"gpu_hours": {"m1": CostPoint(0.0, 1.0, 10)}},
        {"gpu_hours": {"m1": CostPoint(1.0, np.inf, 10)}},
    ):
        with pytest.raises(UserError, match="no cost to draw"):
            plot("cost", board, replace(statistics, costs=costs, pareto={}), tmp_path / "a.png")
    with pytest.raises(UserError, match="no critical difference to draw"):
        plot("critical-difference", board, replace(statistics, friedman=None), tmp_path / "a.png")
    with pytest.raises(UserError, match="needs statistics"):
        plot("cost", board, None, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_files_and_kinds_are_paired() -> None:
    one, two = Path("a.png"), Path("b.svg")
    assert pictures([], []) == []
    assert pictures([one, two], []) == [(one, "profile", True), (two, "profile", True)]
    assert pictures([one, two], ["cost"]) == [(one, "cost", True), (two, "cost", True)]
    assert pictures([one, two], ["cost", "profile"]) == [(one, "cost", True), (two, "profile", True)]
    assert [(str(path), kind, named) for path, kind, named in pictures([Path("d/a.b.png")], ["all"])] == [
        (f"d/a.b-{kind}.png", kind, False) for kind in KINDS
    ]
    with pytest.raises(UnknownNameError, match=r"no picture 'profil'\. Did you mean 'profile'"):
        pictures([one], ["profil"])
    with pytest.raises(UserError, match="2 --plot-kind for 3 --plot"):
        pictures([one, two, Path("c.pdf")], ["cost", "profile"])
    with pytest.raises(UserError, match="--plot-kind cost without --plot"):
        pictures([], ["cost"])
    with pytest.raises(UserError, match=r"a\.png would be drawn into twice"):
        pictures([one, one], ["cost", "profile"])
    with pytest.raises(UserError, match=r"a plot is written as \.png, \.svg, \.pdf"):
        pictures([one, Path("a.gif")], [])


@given(low=st.floats(1e-6, 1e12), factor=st.floats(1.5, 1e9))
def test_ticks_are_few_and_lie_on_the_axis(low: float, factor: float) -> None:
    ticks = logarithmic_ticks(low, low * factor)
    assert len(ticks) <= 7
    assert ticks == sorted(ticks)
    assert all(low <= tick <= low * factor for tick in ticks)
    assert ticks or factor < 2.01  # between 5 and 10 there is none


def test_lists_of_names_end() -> None:
    text = listing("Left out: ", [f"name {index}" for index in range(30)], 60)
    assert text.endswith("name 11 and 18 more")
    assert max(map(len, text.splitlines())) <= 60


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [r"$x^$ \frac{", "_hidden", "中文 <b>&amp;", "$"])
def test_names_are_no_formulas_in_a_picture(
    name: str, kind: str, crowd: Shown, drawn: list[Figure], tmp_path: Path
) -> None:
    board, statistics = crowd
    first = replace(board.standings[0], line=replace(board.standings[0].line, name=name))
    plot(kind, replace(board, standings=(first, *board.standings[1:])), statistics, tmp_path / "a.svg")
    assert any(name in text for text in _texts(drawn[0]))


@pytest.mark.parametrize("worst", [0.0, 1e-6, 0.5, 100.0])
def test_any_spread_of_errors_can_be_drawn(
    worst: float, specs: Mapping[str, TaskSpec], make_file: Any, make_row: Any, tmp_path: Path
) -> None:
    files = {name: make_file(name, [make_row("cifar100", score)]) for name, score in [("a", worst), ("b", 0.5)]}
    table = build_table(files, specs)
    for tau_max in (1.01, 4.0, 1e6):
        assert plot_profile(rank(table, tau_max=tau_max), tmp_path / "a.png") == 0


def test_too_many_lines_are_told(specs: Mapping[str, TaskSpec], make_file: Any, make_row: Any, tmp_path: Path) -> None:
    files = {str(k): make_file(f"m{k}", [make_row("ecg", 0.5 + k / 100)]) for k in range(MAX_LINES + 3)}
    assert plot_profile(rank(build_table(files, specs)), tmp_path / "a.png") == 3


def test_a_picture_needs_its_suffix_and_something_to_draw(
    paper_board: Shown, specs: Mapping[str, TaskSpec], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"a plot is written as \.png, \.svg, \.pdf"):
        plot_profile(paper_board[0], tmp_path / "a.gif")
    with pytest.raises(UserError, match="nothing to draw"):
        plot_profile(rank(build_table({}, specs)), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_extra_is_named(
    paper_board: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nas360\[plots\]'"):
        plot_profile(paper_board[0], tmp_path / "a.png")
