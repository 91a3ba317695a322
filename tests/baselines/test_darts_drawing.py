"""Drawings of DARTS cells: any title is text, what a task does not use is not drawn, and lines part at dots alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas360.baselines.spaces.base import Drawn, DrawnOnTask, Labelled
from nas360.baselines.spaces.darts_cell import DARTS_CELL
from nas360.baselines.spaces.darts_drawing import draw, draw_cell
from nas360.baselines.spaces.darts_genotypes import EDGES, OPERATIONS, known, sample_cell
from nas360.errors import RunError
from nas360.task import TaskSpec

SVG = "{http://www.w3.org/2000/svg}"


def texts(picture: str) -> list[str]:
    """All labels of a drawing, in order; a label's parts are joined."""
    return ["".join(element.itertext()) for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]


@given(st.text(st.characters(codec=None), max_size=40))
def test_any_name_is_text_and_titles_the_document(name: str) -> None:
    root = ElementTree.fromstring(draw(known("DARTS_V2"), name))
    shown = "".join(sign if sign.isprintable() else "?" for sign in name)
    assert root.findtext(f"{SVG}title") == (shown or str(known("DARTS_V2")))
    labels = [element.text for element in root.iter(f"{SVG}text")]
    assert (labels[0] == shown) == bool(name)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg", "title", "defs", "marker", "path", "rect", "g", "text", "tspan", "circle",
    }  # fmt: skip


def test_a_dense_task_has_no_reduction_cell(spec_of: Callable[..., TaskSpec]) -> None:
    architecture = known("DARTS_V2")
    both, one = (DARTS_CELL.draw_on(spec_of(2, kind), architecture, "a") for kind in ("point", "real"))
    assert both == DARTS_CELL.draw(architecture, "a")
    assert {"normal cell", "reduction cell"} <= set(texts(both))
    assert "reduction cell" not in texts(one)
    height = {len(texts(picture)): int(ElementTree.fromstring(picture).attrib["height"]) for picture in (one, both)}
    assert sorted(height) == [1 + 16, 1 + 2 * 16]
    assert height[33] == 2 * height[17] - 44  # the line of the name stands once


@given(st.integers(0, 2**32))
def test_lines_part_at_dots_and_nowhere_else(seed: int) -> None:
    cell = sample_cell(np.random.default_rng(seed))
    picture = draw_cell(cell)
    dots = re.findall(r'class="dot" cx="(\d+)" cy="(\d+)"', picture)
    # n lines from one source part n - 1 times
    assert len(dots) == 8 - len({gene.input for gene in cell})
    corners = re.findall(r'd="M(\d+) \d+V(\d+)H\d+"', picture)
    assert set(dots) < set(corners)


def test_the_space_names_its_mixtures() -> None:
    assert isinstance(DARTS_CELL, Labelled) and isinstance(DARTS_CELL, Drawn) and isinstance(DARTS_CELL, DrawnOnTask)
    rows, columns = DARTS_CELL.labels("normal.alpha")
    assert (len(rows), columns) == (len(EDGES), OPERATIONS)
    assert rows[:3] == ("c(k-2) → 0", "c(k-1) → 0", "c(k-2) → 1")
    assert rows[-1] == "2 → 3"
    assert DARTS_CELL.labels("reduce.beta") == (rows, ("weight of the edge",))
    with pytest.raises(RunError, match=r"no architecture parameter 'normal\.gamma'"):
        DARTS_CELL.labels("normal.gamma")
