"""Pictures of searches: every weight is in its panel, what does not fit is told, and equal runs give equal files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from nas360.baselines.history import History
from nas360.baselines.plot_search import MAX_LINES, panels, plot_search
from nas360.baselines.reports import Entry, Log
from nas360.baselines.spaces.darts_cell import DARTS_CELL
from nas360.errors import RunError, UserError

pytest.importorskip("matplotlib")

HOSTILE = "$x^{ <b>&amp; \x1b[31m _y"


def cells(reports: int = 4, kinds: tuple[str, ...] = ("normal", "reduce")) -> list[Entry]:
    """Reports of a search over DARTS cells: on every edge one operation gains weight."""
    inputs = np.repeat([2, 3, 4, 5], [2, 3, 4, 5])
    found = []
    for step in range(1, reports + 1):
        alpha = np.full((14, 8), 1 / 8) + step / 100 * (np.eye(14, 8, k=0) - 1 / 8)
        weights = {"alpha": alpha, "beta": 1 / inputs}
        mixture = {f"{kind}.{name}": value for kind in kinds for name, value in weights.items()}
        entropy = {name: 1 - step / 50 for name in mixture}
        found.append(Entry(step, step / 2, 1 / step, 0.1, 50 / step, 1.0, entropy=entropy, mixture=mixture))
    return found


def history(*entries: Entry, training: tuple[Entry, ...] = ()) -> History:
    logs = [Log({"identity": {}}, tuple(part)) if part else None for part in (entries, training)]
    return History(Path("run"), logs[0], logs[1], None, None)


def texts(path: Path) -> list[str]:
    """What stands in an SVG picture; matplotlib writes texts as comments beside their outlines."""
    return re.findall(r"<!-- (.*?) -->", path.read_text())


def test_tensors_of_a_kind_share_panels() -> None:
    entries = cells()
    normal, reduce = panels(entries, DARTS_CELL.labels)
    assert (normal.name, reduce.name) == ("normal", "reduce")
    assert (len(normal.rows), len(normal.columns)) == (14, 9)
    assert normal.single == (False,) * 8 + (True,)
    assert normal.rows[4] == "0 → 1" and normal.columns[3] == "skip_connect"
    np.testing.assert_allclose(normal.epochs, [0.5, 1.0, 1.5, 2.0])
    for time, entry in enumerate(entries):
        np.testing.assert_array_equal(normal.values[time, :, :8], entry.mixture["normal.alpha"])
        np.testing.assert_array_equal(normal.values[time, :, 8], entry.mixture["normal.beta"])


def test_numbers_stand_for_labels_and_leading_dimensions_are_rows() -> None:
    weights = np.arange(12.0).reshape(2, 3, 2) / 12
    (found,) = panels([Entry(1, mixture={"gates": weights}), Entry(2)])
    assert (found.name, found.rows, found.columns) == ("gates", tuple("012345"), ("gates 0", "gates 1"))
    assert found.epochs.tolist() == [1.0], "steps where there are no epochs; a report without a mixture is passed over"
    np.testing.assert_array_equal(found.values[0], weights.reshape(6, 2))
    assert panels([]) == []


def test_mixtures_that_change_or_belong_to_other_labels_are_refused() -> None:
    first, other = Entry(1, mixture={"a.x": np.ones((2, 2))}), Entry(2, mixture={"a.x": np.ones((2, 3))})
    with pytest.raises(RunError, match=r"mixture 'a\.x' at step 2 is not of the shape \(2, 2\)"):
        panels([first, other])
    with pytest.raises(RunError, match=r"mixture 'a\.x' at step 3 is not of the shape"):
        panels([first, Entry(3, mixture={"a.y": np.ones((2, 2))})])
    with pytest.raises(RunError, match=r"'normal\.alpha' has 2 rows of 2, not 14 of 8"):
        panels([Entry(1, mixture={"normal.alpha": np.ones((2, 2))})], DARTS_CELL.labels)
    with pytest.raises(RunError, match=r"no architecture parameter 'a\.x'"):
        panels([first], DARTS_CELL.labels)


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_equal_runs_give_equal_files(suffix: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    entries = [Entry(step, validation=1 / step, mixture={"a.x": np.eye(3) / step}) for step in (1, 2)]
    for path in paths:
        assert plot_search(history(*entries), path, "a run") == ""
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_picture_names_all_that_it_shows(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    training = (Entry(10, 1.0, 2.0, validation=90.0), Entry(20, 2.0, 1.0, validation=80.0))
    plot_search(history(*cells(2), training=training), path, HOSTILE, DARTS_CELL.labels)
    found = [text.strip() for text in texts(path)]
    rows, columns = DARTS_CELL.labels("normal.alpha")
    assert [found.count(row) for row in rows] == [2] * 14
    assert [found.count(column) for column in (*columns, "weight of the edge")] == [2] * 9
    for title in ("search: validation error, best 25", "search: loss", "training: loss", "training: validation"):
        assert found.count(title) == 1
    assert ElementTree.parse(path).getroot().tag.endswith("svg")
    assert "\x1b" not in path.read_text()


def test_candidates_stand_with_their_errors(tmp_path: Path) -> None:
    errors = [0.5, None, 0.25, 0.75]
    entries = [Entry(4 * n + 4, validation=error, candidate=n) for n, error in enumerate(errors)]
    assert plot_search(history(*entries), tmp_path / "a.svg", "random") == ""
    found = texts(tmp_path / "a.svg")
    assert "validation error of candidates, best 0.25" in found
    assert any("could not be trained" in text for text in found)
    # all failed
    assert plot_search(history(entries[1]), tmp_path / "b.svg", "random") == ""
    assert "validation error of candidates" in texts(tmp_path / "b.svg")


def test_what_does_not_fit_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas360.baselines.plot_search.MAX_PANELS", 9)
    weights = np.random.default_rng(0).dirichlet(np.ones(MAX_LINES + 3), size=9 + 5)
    weights[:, 4] = 0
    told = plot_search(history(Entry(1, mixture={"big": weights})), tmp_path / "a.svg", "big")
    assert told == "left out of the picture: 5 rows of big; 3 columns of big, those of the least weights"
    found = texts(tmp_path / "a.svg")
    assert sum(text.startswith(" big ") for text in found) == MAX_LINES
    assert " big 4" not in found


def test_there_may_be_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing to draw, for run has no report yet"):
        plot_search(history(), tmp_path / "a.svg", "")
    with pytest.raises(UserError, match=r"written as \.png, \.svg, \.pdf"):
        plot_search(history(*cells()), tmp_path / "a.gif", "")
    assert not list(tmp_path.iterdir())


def test_a_single_report_is_to_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    for reports in (1, 4):
        plot_search(history(*cells(reports)), tmp_path / "a.svg", "a run", DARTS_CELL.labels)
    for figure, marked in zip(drawn, (True, False), strict=True):
        # the best error has its ring in any case
        lines = [line for part in figure.subfigs for axes in part.axes for line in axes.lines if len(line.get_xdata())]
        lines = [line for line in lines if line.get_markersize() < 10]
        assert len(lines) > 2 * 14 * 9
        assert {line.get_marker() not in ("None", None) for line in lines} == {marked}


def test_legends_are_beside_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Any] = []

    def lay_out(figure: Figure, *_: Any, **__: Any) -> None:
        figure.draw_without_rendering()
        drawn.append(figure)

    monkeypatch.setattr(Figure, "savefig", lay_out)
    plot_search(history(*cells()), tmp_path / "a.svg", "a run", DARTS_CELL.labels)
    (figure,) = drawn
    parts = figure.subfigs
    axes = [one for part in parts for one in part.axes if one.axison]
    legends = [legend for part in parts for legend in part.legends] + [one.legend_ for one in axes if one.legend_]
    assert len(legends) == 3
    for legend in legends:
        box = legend.get_window_extent()
        assert not any(box.overlaps(one.get_window_extent()) for one in axes)
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
