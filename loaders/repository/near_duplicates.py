"""Rows that are almost those of another split: a copy with noise, another contrast, or mirrored.

Two rows are near duplicates when their Pearson correlation over all their values is at least `Settings.threshold`
(0.99: what they do not share is a seventh of a row's own variation) and they are not the same bytes. To find such pairs
among 10⁶ rows, every row, centred and of unit length, is projected on `Settings.dimensions` random directions of signs
(Johnson and Lindenstrauss; Achlioptas 2003), which changes 1 - correlation by a factor that is mostly within 1.3 and
in one pair of 100,000 above 3. A sample of one split's rows is compared with every row of the other one by products of
these short vectors; pairs that are within three times the distance are computed in full, for each row at most
`Settings.candidates` of them, the nearest in the projection: where very many rows resemble each other, a row's only
near duplicate can be missed among those that are almost as near. Rows of different sizes are compared by means over a
grid of blocks.

All sums are of whole numbers below 2²⁴, which float32 holds exactly, so that the result depends neither on the size of
blocks nor on the linear algebra library. A row whose values are all equal has no correlation and is never a near
duplicate. Shifts in time or place are not looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from nas360.files import MIB
from nas360.loaders.base import Array, Column
from nas360.seeding import derive
from nas360.task import TaskSpec

Index = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float64]
Sketches = npt.NDArray[np.int16]

_LENGTH = 4000
"""Length of a sketch: the product of two is below 2²⁴."""

_SLACK = 3.0
"""How much larger 1 - correlation may look in the projection than it is.

It is the ratio of two squared lengths, each of which the projection changes, and so about an F-distributed factor: with
64 dimensions one in 100,000 is above 3."""

_LONG = 24
_GRID = {0: _LONG, 1: 256, 2: 32}


@dataclass(frozen=True)
class Settings:
    """How near duplicates are looked for.

    Attributes:
        threshold: the least correlation of near duplicates.
        sample: rows of the one split that are compared with all of the other; all, where it has no more.
        dimensions: random directions.
        candidates: rows that are compared in full, for each row of the sample, at most.
        seed: of the sample and the directions.
        block_bytes: memory for one block of products or of rows; the result does not depend on it.
    """

    threshold: float = 0.99
    sample: int = 2000
    dimensions: int = 64
    candidates: int = 16
    seed: int = 0
    block_bytes: int = 64 * MIB


@dataclass(frozen=True)
class View:
    """A way to look at a row before it is compared.

    Attributes:
        name: for the report; empty for the row as it is.
        turn: from rows (n, *shape) to rows of the same shape.
    """

    name: str
    turn: Callable[[Array], Array]


AS_IT_IS = View("", lambda rows: rows)


def views(spec: TaskSpec, columns: Mapping[str, Column]) -> tuple[View, ...]:
    """The views that mean the same for a task's inputs, by the form of its inputs."""
    if len(columns) != 1 or next(iter(columns.values())).ragged:
        return (AS_IT_IS,)
    (column,) = columns.values()
    if spec.spatial_dims == 2 and len(column.shape) >= 2:
        return (AS_IT_IS, View("mirrored left to right", lambda rows: rows[..., ::-1]))
    if column.dtype == "uint8" and len(column.shape) == 2:
        # bases stand in an order in which the complement is the reverse
        return (AS_IT_IS, View("reverse complement", lambda rows: rows[..., ::-1, ::-1]))
    return (AS_IT_IS,)


@dataclass(frozen=True)
class Pair:
    """Two near duplicates, by their rows in the order that was given.

    Attributes:
        query: row of the first split.
        reference: row of the second one.
        correlation: of all their values.
        view: name of the view of the first one in which they agree.
    """

    query: int
    reference: int
    correlation: float
    view: str


class Inputs:
    """The inputs of one split, as they are stored.

    Args:
        values: column → array (n, *shape), or an object array (n,) where sizes vary.
        columns: their types.
        order: the rows in the order that everything here counts them by, (n,).
        digests: a hash of each row's bytes, in that order, uint64 (n,).
        settings: how they are looked at.
    """

    def __init__(
        self,
        values: Mapping[str, Array],
        columns: Mapping[str, Column],
        order: Index,
        digests: npt.NDArray[np.uint64],
        settings: Settings,
    ) -> None:
        self._values, self.columns, self._settings = dict(values), dict(columns), settings
        self.order, self.digests = order, digests

    def __len__(self) -> int:
        return len(self.order)

    @cached_property
    def sketches(self) -> Sketches:
        """Sketches of all rows, (n, d), in the given order."""
        found = np.concatenate(
            [self._sketch(rows, AS_IT_IS) for rows in self._blocks()] or [np.empty((0, 1), np.int16)]
        )
        ordered: Sketches = found[self.order]
        return ordered

    def sketches_of(self, rows: Index, view: View) -> Sketches:
        """Sketches of some rows in a view, (len(rows), d)."""
        stored = self.order[rows]
        step = self.rows_a_block()
        parts = [self._sketch(stored[start : start + step], view) for start in range(0, len(stored), step)]
        return np.concatenate(parts)

    def full(self, rows: Index, view: View = AS_IT_IS) -> list[list[Array]]:
        """For each row its columns' values in a view."""
        stored = self.order[rows]
        return [[np.asarray(view.turn(values[row])) for values in self._values.values()] for row in stored.tolist()]

    def grid_vectors(self, rows: Index, view: View) -> Vectors:
        """What the sketches are made of, (len(rows), d), of unit length or zero."""
        return self._vectors(self.order[rows], view)

    def rows_a_block(self) -> int:
        """Rows that are looked at together."""
        return max(1, self._settings.block_bytes // (8 * 8 * sum(_length(column) for column in self.columns.values())))

    def _blocks(self) -> Iterator[slice]:
        step = self.rows_a_block()
        for start in range(0, len(self), step):
            yield slice(start, min(start + step, len(self)))

    def _vectors(self, rows: slice | Index, view: View) -> Vectors:
        parts = [
            unit(_flat(view.turn(self._values[name][rows]), column))[:, : _length(column)]
            for name, column in self.columns.items()
        ]
        return parts[0] if len(parts) == 1 else unit(np.concatenate(parts, axis=1), centre=False)

    def _sketch(self, rows: slice | Index, view: View) -> Sketches:
        vectors = self._vectors(rows, view)
        if vectors.shape[1] > self._settings.dimensions:
            scale = 2**23 / np.sqrt(vectors.shape[1])
            whole = np.rint(vectors * scale).astype(np.float32)
            vectors = unit((whole @ _signs(vectors.shape[1], self._settings)).astype(np.float64), centre=False)
        return np.rint(vectors * _LENGTH).astype(np.int16)


@lru_cache(maxsize=4)
def _signs(length: int, settings: Settings) -> npt.NDArray[np.float32]:
    """The random directions, (length, dimensions), each value 1 or -1."""
    rng = derive(settings.seed, "near_duplicates", "directions")
    drawn = rng.integers(0, 2, (length, settings.dimensions), dtype=np.int8)
    return (2 * drawn - 1).astype(np.float32)


def _length(column: Column) -> int:
    """Numbers that a row's column is compared by."""
    return int(np.prod(_grid(column) if column.ragged else [size or 0 for size in column.shape]))


def _grid(column: Column) -> tuple[int, ...]:
    long = sum(size is None or size > _LONG for size in column.shape)
    cells = _GRID.get(long, 10)
    return tuple(cells if size is None or size > _LONG else size for size in column.shape)


def _flat(values: Array, column: Column) -> Vectors:
    """Rows as vectors, (n, length) float64; rows whose sizes vary by their means over a grid of blocks."""
    if column.ragged:
        values = np.stack([_block_means(value, _grid(column)) for value in values])
    return np.ascontiguousarray(values, dtype=np.float64).reshape(len(values), -1)


def _block_means(value: Array, grid: tuple[int, ...]) -> Vectors:
    """Means over a grid of blocks that are as equal as they can be; a block of no length takes the value it falls on.

    Args:
        value: any shape without an empty axis; one with an empty axis gives zeros.
        grid: blocks along each axis.
    """
    if not value.size:
        return np.zeros(grid)
    means: Vectors = np.asarray(value, dtype=np.float64)
    for axis, cells in enumerate(grid):
        edges = np.arange(cells + 1) * means.shape[axis] // cells
        sizes = np.maximum(np.diff(edges), 1)
        shape = [1] * means.ndim
        shape[axis] = cells
        means = np.add.reduceat(means, edges[:-1], axis=axis) / sizes.reshape(shape)
    return means


def unit(vectors: Vectors, centre: bool = True) -> Vectors:
    """Rows of mean zero (if wanted) and length one; zeros where a row does not vary.

    Args:
        vectors: (n, d), changed in place.
        centre: subtract each row's mean.

    Returns:
        The same array.
    """
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    vectors /= np.where(largest > 0, largest, 1)  # so that no square overflows
    if centre:
        vectors -= vectors.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    # rounding leaves a little of a row whose values are all equal
    flat = lengths <= 1e-7 * np.sqrt(max(1, vectors.shape[1]))
    vectors /= np.where(flat, 1, lengths)
    vectors[flat[:, 0]] = 0
    return vectors


def sample_rows(n: int, settings: Settings, split: str) -> Index:
    """The rows of a split that are compared, ascending: all, or a seeded draw."""
    if n <= settings.sample:
        return np.arange(n)
    rng = derive(settings.seed, "near_duplicates", "sample", split)
    return np.sort(rng.choice(n, settings.sample, replace=False))


def find_near_duplicates(
    queries: Inputs, rows: Index, references: Inputs, looks: Sequence[View], settings: Settings
) -> list[Pair]:
    """For each row that has near duplicates in the other split, the one that correlates most of those compared.

    Args:
        queries: the split that the rows are of.
        rows: rows of it, (m,).
        references: the split that is searched; the same object searches a split for a row's relatives in it.
        looks: views of the queries.
        settings: how.

    Returns:
        The pairs, ordered by query.
    """
    best: dict[int, Pair] = {}
    floor = 1 - _SLACK * (1 - settings.threshold)
    for view in looks:
        sketches = queries.sketches_of(rows, view)
        found = _candidates(sketches, queries.digests[rows], references, floor, settings)
        for which, reference, correlation in _confirm(queries, rows, references, found, view, settings):
            query = int(rows[which])
            if query not in best or correlation > best[query].correlation:
                best[query] = Pair(query, reference, correlation, view.name)
    return [best[query] for query in sorted(best)]


def _candidates(
    sketches: Sketches, digests: npt.NDArray[np.uint64], references: Inputs, floor: float, settings: Settings
) -> tuple[Index, Index]:
    """For each query the rows with the largest products, but not those of the same bytes.

    Returns:
        Query (as a number into `sketches`) and reference of each pair, by query, then by falling product, then by
        reference.
    """
    n_queries, step, start = len(sketches), 256, 0
    largest_step = max(1, settings.block_bytes // (4 * max(1, n_queries)))
    limits = np.full(n_queries, floor * _LENGTH**2, dtype=np.float32)
    left = sketches.astype(np.float32)
    which, where = np.empty(0, np.int64), np.empty(0, np.int64)
    values = np.empty(0, np.float32)
    # the first blocks are small, since only after them there are limits that keep most rows out
    while start < len(references):
        block = references.sketches[start : start + min(step, largest_step)].astype(np.float32)
        products = left @ block.T
        query, column = np.nonzero(products > limits[:, None])
        other = digests[query] != references.digests[start + column]
        query, column = query[other], column[other]
        if len(query):
            which = np.concatenate([which, query])
            where = np.concatenate([where, start + column])
            values = np.concatenate([values, products[query, column]])
            order = np.lexsort((where, -values, which))
            which, where, values = which[order], where[order], values[order]
            first = np.searchsorted(which, np.arange(n_queries))
            rank = np.arange(len(which)) - first[which]
            full = rank == settings.candidates - 1
            limits[which[full]] = values[full]
            kept = rank < settings.candidates
            which, where, values = which[kept], where[kept], values[kept]
        start += len(block)
        step *= 2
    return which, where


def _confirm(
    queries: Inputs, rows: Index, references: Inputs, found: tuple[Index, Index], view: View, settings: Settings
) -> Iterator[tuple[int, int, float]]:
    """Those candidates that reach the threshold on all values: query, reference, correlation."""
    which, where = found
    step = queries.rows_a_block()
    for start in range(0, len(which), step):
        part, there = which[start : start + step], where[start : start + step]
        exact = correlations(queries, rows[part], references, there, view)
        for hit in np.flatnonzero(exact >= settings.threshold).tolist():
            yield int(part[hit]), int(there[hit]), float(exact[hit])


def correlations(queries: Inputs, rows: Index, references: Inputs, others: Index, view: View) -> Vectors:
    """Correlation of pairs of rows over all their values, (n,): the mean over their columns that vary.

    Rows of different sizes are compared by the means over their blocks.
    """
    left, right = queries.grid_vectors(rows, view), references.grid_vectors(others, AS_IT_IS)
    on_grid: Vectors = np.einsum("ij,ij->i", left, right)
    if not any(column.ragged for column in queries.columns.values()):
        return on_grid
    for number, (one, other) in enumerate(zip(queries.full(rows, view), references.full(others), strict=True)):
        if all(mine.shape == yours.shape and mine.size for mine, yours in zip(one, other, strict=True)):
            on_grid[number] = float(np.sum(_join(one) * _join(other)))
    return on_grid


def _join(values: list[Array]) -> Vectors:
    """Columns of one row as one vector of unit length, (1, d)."""
    parts = [unit(np.array(value, dtype=np.float64).reshape(1, -1)) for value in values]
    return unit(np.concatenate(parts, axis=1), centre=False)
