"""Tie groups: letters that lines share exactly when they cannot be told apart."""

from __future__ import annotations

import string

import numpy as np
import numpy.typing as npt


def letter(index: int) -> str:
    """A name that cannot be misread beside others: `a` … `z`, then `a1` … `z1`, and so on.

    Example:
        >>> letter(1), letter(27)
        ('b', 'b1')
    """
    round_, place = divmod(index, 26)
    return string.ascii_lowercase[place] + (str(round_) if round_ else "")


def tie_groups(separable: npt.NDArray[np.bool_]) -> list[str]:
    """Letters of each line, the compact letter display (Piepho, 2004).

    Two lines share a letter exactly when they are not separable. A letter is a set of lines of which no two are
    separable; sets are made greedily, each around the first pair that shares none yet, so that there are few.

    Args:
        separable: (lines, lines), symmetric, in the order of the table; the diagonal is not looked at.

    Example:
        >>> tie_groups(np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], dtype=bool))
        ['a', 'ab', 'b']
    """
    n = len(separable)
    alike = ~separable
    np.fill_diagonal(alike, True)
    covered = np.zeros_like(alike)
    letters: list[list[str]] = [[] for _ in range(n)]
    count = 0
    for first in range(n):
        while True:
            open_ = np.flatnonzero(alike[first] & ~covered[first])
            if not open_.size:
                break
            # the farthest one, for between it and the first there are mostly others that are alike to both
            members = [first] if open_[-1] == first else [first, int(open_[-1])]
            possible = np.all(alike[members], axis=0)
            for line in range(n):
                if possible[line] and line not in members:
                    members.append(line)
                    possible &= alike[line]
            covered[np.ix_(members, members)] = True
            for line in members:
                letters[line].append(letter(count))
            count += 1
    return ["".join(own) for own in letters]
