"""The equation behind Darcy Flow: its random coefficient, its discretisation, and a solver.

    -∇·(a ∇u) = 1 on the unit square, u = 0 on its boundary,

with a coefficient a that is 12 where a Gaussian random field is not negative and 3 elsewhere (Li et al. 2021, Fourier
Neural Operator for Parametric Partial Differential Equations, section 5.2). The field has the covariance (-Δ + 9)^-2
with Neumann conditions. The nodes of a grid of S×S, with spacing 1/(S-1), take the field's values as they stand; the
published MATLAB script moves them from cell centres to nodes by splines, which smears the steps of the coefficient.

The discretisation is the five-point one in flux form, with the arithmetic mean of the two nodes on each face: second
order for smooth coefficients. It is solved by conjugate gradients. The preconditioner inverts the Laplacian L by two
sine transforms; since 3 L ≤ A ≤ 12 L, about 25 iterations suffice for every grid and every such coefficient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from nas360.errors import Nas360Error, UserError

FloatField = npt.NDArray[np.float64]

ALPHA = 2.0
TAU = 3.0
HIGH = 12.0
LOW = 3.0
TOLERANCE = 1e-10
_LEAST_TOLERANCE = 1e-12
_MAX_ITERATIONS = 2000


@dataclass(frozen=True)
class Solution:
    """What `solve` gives.

    Attributes:
        values: u at the nodes, (S, S) float64, zero on the boundary.
        residual: ‖f - A u‖₂ / ‖f‖₂ over the inner nodes, computed anew from `values`.
        iterations: steps of conjugate gradients.
    """

    values: FloatField
    residual: float
    iterations: int


def gaussian_field(size: int, rng: np.random.Generator) -> FloatField:
    """Draw from N(0, (-Δ + τ²)^-α) with Neumann conditions, by its cosine expansion.

    The recipe of the data's authors: independent normals times S τ^(α-1) (π²|k|² + τ²)^(-α/2) are the coefficients of
    the orthonormal cosine basis of the grid; the constant is left out.

    Args:
        size: nodes S along an axis.
        rng: draws the S² normals.

    Returns:
        The field, (S, S) float64, mean zero over the grid.
    """
    k = np.arange(size, dtype=np.float64)
    squared = np.pi**2 * (k[:, None] ** 2 + k[None, :] ** 2) + TAU**2
    coefficients = rng.standard_normal((size, size)) * (size * TAU ** (ALPHA - 1) * squared ** (-ALPHA / 2))
    coefficients[0, 0] = 0.0
    field: FloatField = scipy.fft.idctn(coefficients, type=2, norm="ortho", overwrite_x=True)
    return field


def coefficient(size: int, rng: np.random.Generator) -> FloatField:
    """Draw a coefficient: 12 where a Gaussian field is ≥ 0, else 3; (S, S) float64."""
    return np.where(gaussian_field(size, rng) >= 0, HIGH, LOW)


def solve(a: npt.ArrayLike, source: npt.ArrayLike = 1.0, tolerance: float = TOLERANCE) -> Solution:
    """Solve -∇·(a ∇u) = f with u = 0 on the boundary of the unit square.

    Args:
        a: coefficient at the nodes, (S, S) with S ≥ 3, positive. The boundary nodes enter by the outermost faces.
        source: f, a number or its values at the nodes, (S, S); those on the boundary are not used.
        tolerance: relative residual at which to stop, at least 1e-12.

    Returns:
        The solution at the nodes.

    Raises:
        UserError: when the coefficient is not a square field of positive numbers, the source is not finite or of
            another shape, or the tolerance is out of reach.
        Nas360Error: when the iteration does not reach the tolerance.
    """
    field = np.asarray(a, dtype=np.float64)
    if field.ndim != 2 or field.shape[0] != field.shape[1] or field.shape[0] < 3:
        raise UserError(f"coefficient has shape {field.shape}; a square of at least 3x3 nodes was expected")
    # written so that NaN fails too
    if not (np.isfinite(field).all() and (field > 0).all()):
        raise UserError("coefficient must be finite and positive at every node")
    size = len(field)
    inner = size - 2
    given = np.asarray(source, dtype=np.float64)
    if given.shape not in ((), field.shape) or not np.isfinite(given).all():
        raise UserError(f"source has shape {given.shape}; a finite number or {field.shape} of them was expected")
    if not tolerance >= _LEAST_TOLERANCE:
        raise UserError(f"tolerance {tolerance}: must be at least {_LEAST_TOLERANCE:g}, which rounding allows")
    f = np.array(np.broadcast_to(given, field.shape)[1:-1, 1:-1])
    norm = math.sqrt(_dot(f, f))
    values = np.zeros(field.shape)
    if norm == 0.0:
        return Solution(values, 0.0, 0)
    # solved for a source of norm one, which keeps the residuals within single precision's range
    f /= norm
    system = _System(field)

    u = np.zeros((inner, inner))
    residual = f.copy()
    direction = np.zeros((size, size))  # its zero rim is the boundary condition
    moving = direction[1:-1, 1:-1]
    image = np.empty_like(u)
    scratch = np.empty_like(u)
    product = 0.0
    for iteration in range(1, _MAX_ITERATIONS + 1):
        preconditioned = system.precondition(residual)
        before, product = product, _dot(residual, preconditioned)
        if iteration > 1:
            moving *= product / before
        moving += preconditioned
        system.apply(direction, image)
        np.multiply(moving, image, out=scratch)
        step = product / float(scratch.sum())
        np.multiply(moving, step, out=scratch)
        u += scratch
        np.multiply(image, step, out=scratch)
        residual -= scratch
        if _dot(residual, residual) <= tolerance**2:
            break
    values[1:-1, 1:-1] = u
    # the recurrence drifts from the true residual, and a promise must be about the true one
    np.subtract(f, system.apply(values, image), out=residual)
    true = math.sqrt(_dot(residual, residual))
    if not true <= 10 * tolerance:
        raise Nas360Error(f"the solver stopped at a relative residual of {true:.1e} after {iteration} steps")
    # the system is the equation's times h², which spares its operator a pass
    values *= norm / (size - 1) ** 2
    return Solution(values, true, iteration)


class _System:
    """The scaled matrix h² A of one coefficient, and the inverse of h² L as its preconditioner."""

    def __init__(self, a: FloatField) -> None:
        size = len(a)
        self._rows = (a[1:, 1:-1] + a[:-1, 1:-1]) / 2
        self._columns = (a[1:-1, 1:] + a[1:-1, :-1]) / 2
        self._row_flux = np.empty_like(self._rows)
        self._column_flux = np.empty_like(self._columns)
        eigenvalues = 4 * np.sin(np.pi * np.arange(1, size - 1) / (2 * (size - 1))) ** 2
        # two unscaled transforms of type 1 multiply by (2 (S-1))²
        scale = (2.0 * (size - 1)) ** 2
        # single precision halves the time; that the preconditioner is only that exact costs no iteration
        self._inverse = (1 / ((eigenvalues[:, None] + eigenvalues[None, :]) * scale)).astype(np.float32)
        self._work = np.empty_like(self._inverse)

    def apply(self, u: FloatField, out: FloatField) -> FloatField:
        """Write h² A u to `out`, (S-2, S-2); `u` is (S, S) with a zero rim."""
        np.subtract(u[1:, 1:-1], u[:-1, 1:-1], out=self._row_flux)
        self._row_flux *= self._rows
        np.subtract(u[1:-1, 1:], u[1:-1, :-1], out=self._column_flux)
        self._column_flux *= self._columns
        np.subtract(self._row_flux[:-1], self._row_flux[1:], out=out)
        out += self._column_flux[:, :-1]
        out -= self._column_flux[:, 1:]
        return out

    def precondition(self, residual: FloatField) -> npt.NDArray[Any]:
        """(h² L)^-1 of the residual, in single precision."""
        # residuals fall far below one, but stay far above what float32 flushes to zero
        np.copyto(self._work, residual, casting="same_kind")
        transformed: npt.NDArray[Any] = scipy.fft.dstn(self._work, type=1, overwrite_x=True)
        transformed *= self._inverse
        result: npt.NDArray[Any] = scipy.fft.dstn(transformed, type=1, overwrite_x=True)
        return result


def _dot(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    # not by BLAS: its result depends on the number of threads, and a sample must not
    return float(np.einsum("ij,ij->", a, b, dtype=np.float64))
