"""How far from a decision the mixtures of a supernet are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from nas360.baselines.spaces.base import Supernet


def entropies(supernet: Supernet) -> dict[str, float]:
    """Mean entropy of each architecture parameter's simplices, as a share of the greatest possible, in [0, 1].

    Simplices of one entry have nothing to decide and do not count; where there are no others it is 0.
    """
    found, simplices = {}, supernet.simplices()
    for name, weights in supernet.mixture().items():
        groups, flat = simplices[name].flatten().cpu(), weights.double().flatten().cpu()
        sizes = torch.bincount(groups)
        none = torch.zeros(len(sizes), dtype=torch.float64)
        # an update's simplex may span several mixtures (the reference's edge weights); it counts as one
        flat = flat / none.index_add(0, groups, flat)[groups]
        sums = none.index_add(0, groups, -torch.special.xlogy(flat, flat))
        several = sizes > 1
        found[name] = float((sums[several] / sizes[several].double().log()).mean()) if bool(several.any()) else 0.0
    return found
