"""DenseNAS's probabilities are called what they are: labels of what a supernet prefers name what is found."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from nas360.baselines.algorithms.dense_nas import TRIMS
from nas360.baselines.methods import densenas
from nas360.baselines.spaces.base import labelling
from nas360.baselines.spaces.dense_block_labels import trim_of
from nas360.baselines.spaces.dense_block_routes import random_route
from nas360.baselines.spaces.dense_block_table import Trim
from nas360.baselines.values import plain
from nas360.errors import RunError
from nas360.loaders import TASKS

SPACE = densenas.SPACE


@pytest.mark.parametrize("trim", TRIMS[-4:])
@pytest.mark.parametrize("task", ["ecg", "satellite", "cosmic"])
def test_labels_name_what_is_found(task: str, trim: Trim) -> None:
    spec = TASKS[task].spec
    label = labelling(SPACE, spec, {"trim": plain(trim)})
    assert label is not None
    supernet = SPACE.supernet(spec, trim, 0.9)
    (edges, _), (layers, candidates) = label("beta"), label("alpha")
    assert (len(layers), len(candidates)) == supernet.alpha.shape
    assert (len(edges),) == supernet.beta.shape
    assert len(set(edges)) == len(edges) and len(set(layers)) == len(layers)
    route = random_route(supernet.table, np.random.default_rng(7))
    with torch.no_grad():
        supernet.beta[list(route)] = 20.0
    path = [edges[place].partition(" → ") for place in route]
    assert path[0][0] == "stem" and path[-1][2] == "output"
    assert all(before[2] == after[0] for before, after in pairwise(path))
    assert [int(step[2]) for step in path[:-1]] == [block.width for block in SPACE.decode(supernet).blocks]


def test_a_layer_that_is_switched_off_is_the_one_that_its_label_names() -> None:
    spec, trim = TASKS["satellite"].spec, Trim(16, 3)
    label = labelling(SPACE, spec, {"trim": plain(trim)})
    assert label is not None
    rows, candidates = label("alpha")
    widths = [SPACE.table(spec).channels(number) for number in SPACE.table(spec).kept(trim)]
    supernet = SPACE.supernet(spec, trim, 0.9)
    for row, name in enumerate(rows):
        with torch.no_grad():
            supernet.alpha.copy_(torch.tensor([1.0, 0.0]).expand(len(rows), 2))
            whole = supernet.layer_counts()
            supernet.alpha[row, candidates.index("skip")] = 2.0
        fewer = [width for width, a, b in zip(widths, whole, supernet.layer_counts(), strict=True) if b < a]
        assert fewer == [int(name.split()[1].rstrip(","))]


def test_without_the_task_there_are_no_labels_and_damage_is_told() -> None:
    spec = TASKS["ecg"].spec
    assert labelling(SPACE, None, {}) is None
    label = labelling(SPACE, spec, {"trim": {"width": "x"}})
    assert label is not None
    with pytest.raises(RunError, match="the trim of a search is"):
        label("alpha")
    with pytest.raises(RunError, match="no architecture parameter 'gamma'; alpha or beta"):
        SPACE.labels_on(spec, {}, "gamma")
    assert trim_of({}) == Trim()
