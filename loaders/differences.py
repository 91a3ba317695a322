"""Deviations from the reference that several tasks share, stated once."""

from __future__ import annotations

from nas360.task import Difference

TEST_READ_ONCE = Difference(
    reference="final training has the test set in the place of the validation set and scores it again and again; "
    "nothing written says whether the last or the best epoch is in the published table",
    ours="the test set is read once, after the last epoch of final training",
    reason="a number that was chosen on the test set is not a test result",
)
"""How every task of the reference is retrained and scored."""
