from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.fft
import scipy.sparse as sp
import scipy.sparse.linalg

from nas360.errors import Nas360Error, UserError
from nas360.loaders import darcy_pde
from nas360.loaders.darcy_pde import coefficient, gaussian_field, solve
from nas360.loaders.raw.matfile import read_mat

Field = npt.NDArray[np.float64]
SIZES = (22, 43, 85)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def relative(found: Field, expected: Field) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def sparse_solution(a: Field, source: Field) -> Field:
    """A second implementation: the divergence form from incidence matrices, solved directly."""
    n = len(a)
    here, there = sp.eye_array(n - 1, n), sp.eye_array(n - 1, n, k=1)
    difference, mean = there - here, (there + here) / 2
    eye = sp.eye_array(n)
    rows, columns = sp.kron(difference, eye), sp.kron(eye, difference)
    on_rows, on_columns = np.asarray(sp.kron(mean, eye) @ a.ravel()), np.asarray(sp.kron(eye, mean) @ a.ravel())
    matrix = rows.T @ sp.diags_array(on_rows) @ rows + columns.T @ sp.diags_array(on_columns) @ columns
    inside = np.zeros((n, n), bool)
    inside[1:-1, 1:-1] = True
    keep = np.flatnonzero(inside)
    solution = np.zeros(n * n)
    system = sp.csc_array(sp.csr_array(matrix)[keep][:, keep])
    solution[keep] = scipy.sparse.linalg.spsolve(system, source.ravel()[keep] / (n - 1) ** 2)
    return solution.reshape(n, n)


def manufactured(n: int) -> tuple[Field, Field, Field]:
    """Coefficient, source and solution of a smooth problem without symmetry, worked out by hand.

    u = sin(πx) sin(2πy), a = 2 + x + y²/2 + xy, so that f = a 5π² u - a_x u_x - a_y u_y.
    """
    x, y = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n), indexing="ij")
    u = np.sin(np.pi * x) * np.sin(2 * np.pi * y)
    a = 2 + x + y**2 / 2 + x * y
    u_x = np.pi * np.cos(np.pi * x) * np.sin(2 * np.pi * y)
    u_y = 2 * np.pi * np.sin(np.pi * x) * np.cos(2 * np.pi * y)
    return a, 5 * np.pi**2 * a * u - (1 + y) * u_x - (y + x) * u_y, u


def test_smooth_solutions_are_met_with_second_order() -> None:
    errors = []
    for n in (16, 31, 61, 121, 241):
        a, f, u = manufactured(n)
        errors.append(np.abs(solve(a, f).values - u).max())
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert (orders >= 1.9).all(), orders
    assert (orders <= 2.1).all(), orders


def test_poisson_has_its_known_maximum() -> None:
    # the torsion function of the unit square: u(1/2, 1/2) = 0.07367135… by its double sine series
    k = np.arange(1, 400, 2)
    signs = (-1.0) ** ((k - 1) // 2)
    series = 16 / np.pi**4 * np.sum(np.outer(signs / k, signs / k) / (k[:, None] ** 2 + k**2))
    assert series == pytest.approx(0.0736713, abs=1e-6)
    assert solve(np.ones((201, 201))).values[100, 100] == pytest.approx(series, rel=1e-4)


@pytest.mark.parametrize("size", [3, 4, 22, 61])
def test_a_sparse_direct_solution_is_the_same(size: int, rng: np.random.Generator) -> None:
    a = np.exp(rng.normal(0, 1.5, (size, size)))  # contrasts of a thousand, far beyond the task's four
    f = rng.normal(size=(size, size))
    assert relative(solve(a, f).values, sparse_solution(a, f)) < 1e-8
    b = coefficient(size, rng)
    assert relative(solve(b).values, sparse_solution(b, np.ones_like(b))) < 1e-9


@pytest.mark.parametrize("size", [22, 85, 211, 421])
def test_the_residual_is_small_and_iterations_do_not_grow(size: int, rng: np.random.Generator) -> None:
    a = coefficient(size, rng)
    solution = solve(a)
    # told by the second implementation's matrix, row by row in plain flux form
    u = solution.values * (size - 1) ** 2
    east, south = (a[:, 1:] + a[:, :-1]) / 2 * np.diff(u, axis=1), (a[1:] + a[:-1]) / 2 * np.diff(u, axis=0)
    inner = -(np.diff(east, axis=1)[1:-1] + np.diff(south, axis=0)[:, 1:-1])
    told = np.linalg.norm(inner - 1) / (size - 2)
    assert told <= 1e-8
    assert solution.residual == pytest.approx(told, rel=1e-2, abs=1e-11)
    assert solution.iterations <= 32


@pytest.mark.parametrize("size", SIZES)
def test_maximum_principle(size: int, rng: np.random.Generator) -> None:
    u = solve(coefficient(size, rng)).values
    assert (u[1:-1, 1:-1] > 0).all()
    assert all((edge == 0).all() for edge in (u[0], u[-1], u[:, 0], u[:, -1]))
    # between the solutions for the constant extremes, whose energies bound its own
    low, high = (solve(np.full((size, size), value)).values.sum() for value in (12.0, 3.0))
    assert low < u.sum() < high


@pytest.mark.parametrize("size", SIZES)
def test_symmetries_of_the_square(size: int, rng: np.random.Generator) -> None:
    a, f = coefficient(size, rng), rng.normal(size=(size, size))
    u = solve(a, f).values
    for turn in (np.transpose, np.flipud, np.fliplr, np.rot90):
        assert relative(solve(turn(a), turn(f)).values, turn(u)) < 1e-8


@pytest.mark.parametrize("factor", [1e-30, 0.25, 1e30])
def test_scaling(factor: float, rng: np.random.Generator) -> None:
    a = coefficient(43, rng)
    u = solve(a).values
    assert relative(solve(factor * a).values, u / factor) < 1e-9
    assert relative(solve(a, factor).values, u * factor) < 1e-9


def test_linear_in_the_source_and_self_adjoint(rng: np.random.Generator) -> None:
    a = coefficient(43, rng)
    f, g = np.zeros((2, 43, 43))
    f[1:-1, 1:-1], g[1:-1, 1:-1] = rng.normal(size=(2, 41, 41))
    u, v = solve(a, f).values, solve(a, g).values
    assert relative(solve(a, 2 * f - g).values, 2 * u - v) < 1e-8
    assert np.sum(u * g) == pytest.approx(np.sum(v * f), rel=1e-7)


def test_no_source_no_flow() -> None:
    assert not solve(np.ones((9, 9)), 0.0).values.any()


@pytest.mark.parametrize(
    ("a", "options", "message"),
    [
        (np.ones((4, 5)), {}, r"shape \(4, 5\); a square"),
        (np.ones((2, 2)), {}, "at least 3x3"),
        (np.ones(9), {}, "a square"),
        (np.full((5, 5), np.nan), {}, "finite and positive"),
        (np.zeros((5, 5)), {}, "finite and positive"),
        (np.ones((5, 5)), {"source": np.ones((4, 4))}, r"source has shape \(4, 4\)"),
        (np.ones((5, 5)), {"source": np.inf}, "a finite number"),
        (np.ones((5, 5)), {"tolerance": 0.0}, "tolerance 0.0: must be at least"),
        (np.ones((5, 5)), {"tolerance": np.nan}, "tolerance nan: must be at least"),
    ],
)
def test_impossible_problems_are_refused(a: Field, options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        solve(a, **options)


def test_a_solve_that_does_not_converge_says_so(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setattr(darcy_pde, "_MAX_ITERATIONS", 3)
    with pytest.raises(Nas360Error, match=r"stopped at a relative residual of .* after 3 steps"):
        solve(coefficient(43, rng))


def test_the_field_has_the_published_spectrum() -> None:
    size, draws = 24, 400
    rng = np.random.default_rng(0)
    spectra = [scipy.fft.dctn(gaussian_field(size, rng), norm="ortho") for _ in range(draws)]
    k = np.arange(size)
    # the recipe's factor with α = 2 and τ = 3 written out
    deviation = size * 3.0 / (np.pi**2 * (k[:, None] ** 2 + k**2) + 9.0)
    normals = np.array(spectra) / deviation
    assert np.abs(normals[:, 0, 0]).max() < 1e-12  # the constant is left out
    rest = normals.reshape(draws, -1)[:, 1:]
    # 230,000 normals: mean and variance are known to a standard error of 0.002 and 0.003
    assert rest.mean() == pytest.approx(0, abs=0.01)
    assert rest.var() == pytest.approx(1, abs=0.015)
    # each mode by itself: a chi-squared variable of 400 degrees of freedom, deviation 0.07
    assert rest.var(axis=0) == pytest.approx(np.ones(rest.shape[1]), abs=0.4)
    correlation = np.corrcoef(rest[:, :30].T)
    assert np.abs(correlation[~np.eye(30, dtype=bool)]).max() < 0.25


def test_the_coefficient_takes_both_values_about_equally(rng: np.random.Generator) -> None:
    draws = np.stack([coefficient(43, rng) for _ in range(200)])
    assert set(np.unique(draws)) == {3.0, 12.0}
    assert (draws == 12).mean() == pytest.approx(0.5, abs=0.05)


def test_equal_generators_draw_equal_fields() -> None:
    first, second = (coefficient(43, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first != coefficient(43, np.random.default_rng(4))).any()


@pytest.mark.parametrize(("name", "samples"), [("smooth1", range(0, 16, 4)), ("smooth2", range(0, 8, 2))])
def test_an_independent_simulation_gives_the_same_solutions(real_data: Path, name: str, samples: range) -> None:
    path = real_data / "darcy" / f"piececonst_r421_N1024_{name}.mat"
    a, u = read_mat(path, "coeff"), read_mat(path, "sol")
    for index in samples:
        # 1e-4 is owed; what single precision of the file leaves is reached
        assert relative(solve(a[index]).values, u[index].astype(np.float64)) < 1e-6
