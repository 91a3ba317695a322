"""What a search keeps: taken up whole, or refused with what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from nas360.baselines.algorithms.base import Arena
from nas360.baselines.algorithms.progress import Progress
from nas360.errors import RunError

MakeProgress = Callable[..., Progress]


@pytest.fixture
def progress(toy: Callable[..., object], arena: Callable[..., Arena], tmp_path: Path) -> MakeProgress:
    def make(inputs: int = 3) -> Progress:
        place = arena(toy(1, "point"), 10, folder=tmp_path)
        model = nn.Linear(inputs, 2)
        parts = {"model": model, "weights": torch.optim.SGD(model.parameters(), 0.1)}
        return Progress(place, place.split()[0], parts)

    return make


def change(progress: Progress, changes: Callable[[dict[str, object]], object]) -> None:
    """Keep a state, and change the file by hand."""
    progress.keep({"episode": 4}, last=True)
    assert progress.arena.keeping is not None
    checkpoints = progress.arena.keeping.checkpoints
    state, _ = checkpoints.load(torch.device("cpu"))
    assert state is not None
    changes(state)
    checkpoints.delete()
    checkpoints.save(state)


def test_what_is_kept_is_taken_up(progress: MakeProgress) -> None:
    first, second = progress(), progress()
    first.advance()
    first.add(torch.tensor(3.0))
    first.keep({"episode": 4}, last=True)
    state = second.resume(["episode"])
    assert state is not None and state["episode"] == 4
    assert (second.step, second.loss()) == (1, 3.0)


@pytest.mark.parametrize("name", ["model", "weights", "step", "seconds", "count", "sum", "random", "episode"])
def test_a_checkpoint_that_lacks_something_is_refused(name: str, progress: MakeProgress) -> None:
    change(progress(), lambda state: state.pop(name))
    with pytest.raises(RunError, match=rf"does not fit this search \(it lacks '{name}'\).*--overwrite"):
        progress().resume(["episode"])


def test_a_checkpoint_of_another_network_is_refused(progress: MakeProgress) -> None:
    change(progress(inputs=5), lambda state: None)
    with pytest.raises(RunError, match=r"does not fit this search .*size mismatch"):
        progress().resume()


def test_a_checkpoint_of_other_values_is_refused(progress: MakeProgress) -> None:
    change(progress(), lambda state: state.update(sum=None))
    with pytest.raises(RunError, match=r"does not fit this search .*'to'"):
        progress().resume()
