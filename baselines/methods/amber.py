"""`amber`: AMBER's layers searched by ENAS, for 1D tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from nas360.baselines.algorithms.base import Search
from nas360.baselines.algorithms.enas import REFERENCE_UPDATE, Enas
from nas360.baselines.method import Method
from nas360.baselines.methods.wrn import batch
from nas360.baselines.recipe import Optimiser, Recipe
from nas360.baselines.spaces.amber_layers import AMBER_LAYERS
from nas360.task import TaskSpec


def search_recipe(spec: TaskSpec) -> Recipe:
    """Of the shared weights: Adam at its usual 0.001, constant; epochs do not count, `Enas` has its own measure."""
    return Recipe(Optimiser("adam", lr=1e-3), epochs=1, batch_size=500)


def recipe(spec: TaskSpec) -> Recipe:
    """Of the network that is found: Adam at 0.001, constant, 100 epochs.

    The reference adds 5e-7 times the squared kernels to the loss, which is a decay of 1e-6; here it is on all
    parameters, norms and fully connected layers included. The bound on kernels is the network's (`AmberNetwork`).
    """
    return Recipe(Optimiser("adam", lr=1e-3, weight_decay=1e-6), epochs=100, batch_size=512)


OVERRIDES: Mapping[str, Callable[[Recipe], Recipe]] = {
    "ecg": batch(512),
    "satellite": batch(1024),
    "deepsea": batch(128),
}

SEARCH = Search(Enas(), search_recipe, {"satellite": lambda recipe: replace(recipe, batch_size=2000)})


def reference_update(method: Method) -> Method:
    """With the controller's updates as the NAS-Bench-360 code makes them; see `REFERENCE_UPDATE`."""
    return replace(method, search=replace(SEARCH, algorithm=Enas(update=REFERENCE_UPDATE)))


METHOD = Method(
    id="amber",
    name="AMBER",
    title="AMBER: twelve layers of convolutions and pools, searched by ENAS (1D)",
    space=AMBER_LAYERS,
    recipe=recipe,
    overrides=OVERRIDES,
    search=SEARCH,
    variants={"reference_update": reference_update},
    reference="Zhang et al. 2021, AMBER; Pham et al. 2018, ENAS; Tu et al. 2021, NAS-Bench-360, table 2",
)
"""A search is 300 episodes of 500 steps and 100 scored children (paper: 24 hours on a V100 at most).

Differences from the NAS-Bench-360 code: see `AmberLayers`, `Enas` (what is found is the best child of the last look,
not the best of all that were ever scored) and `PolicyUpdate` (the baseline takes the present episode in, and passes
end early; the variant `amber:reference_update` does neither). Besides, every random draw has a seed; a search ends with
its episodes, not by the clock.
"""
