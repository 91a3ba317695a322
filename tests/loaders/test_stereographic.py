"""The projection against a slow one that is written from the geometry, not from its formula."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import kstest

from nas360.loaders.stereographic import (
    CENTRE,
    HALF_WIDTH,
    project,
    rotation_matrices,
    sphere_grid,
    uniform_quaternion,
)
from nas360.seeding import derive

Array = np.ndarray[Any, np.dtype[Any]]
BANDWIDTH = 30
IDENTITY = np.eye(3)[None]


def _images(n: int, size: int = 32, seed: int = 0) -> Array:
    return derive(seed, "images").integers(0, 256, (n, 3, size, size)).astype(np.uint8)


def _rotations(n: int, seed: int = 0) -> Array:
    rng = derive(seed, "rotations")
    return rotation_matrices(np.stack([uniform_quaternion(rng) for _ in range(n)]))


def _slow(image: Array, rotation: Array, bandwidth: int) -> Array:
    """One image, point by point: the far meeting of a line with the sphere, and the area rule of interpolation."""
    channels, height, width = image.shape
    found = np.zeros((channels, 2 * bandwidth, 2 * bandwidth))
    centre = np.array([0.0, 0.0, CENTRE - 1])
    for j in range(2 * bandwidth):
        for k in range(2 * bandwidth):
            beta, alpha = math.pi * j / (2 * bandwidth), math.pi * k / bandwidth
            point = rotation @ [
                math.sin(beta) * math.cos(alpha),
                math.sin(beta) * math.sin(alpha),
                math.cos(beta),
            ]
            ray = point - centre
            if point @ ray < 0:  # the line enters the sphere here; it meets the plane after it has left it again
                continue
            on_plane = centre + ray * (-1 - centre[2]) / ray[2]
            row = (on_plane[0] + HALF_WIDTH) / (2 * HALF_WIDTH) * height - 0.5
            column = (on_plane[1] + HALF_WIDTH) / (2 * HALF_WIDTH) * width - 0.5
            for r in (math.floor(row), math.floor(row) + 1):
                for c in (math.floor(column), math.floor(column) + 1):
                    if 0 <= r < height and 0 <= c < width:
                        found[:, j, k] += image[:, r, c] * (1 - abs(row - r)) * (1 - abs(column - c))
    stretched: Array = (found - found.min()) * 255 / max(np.ptp(found), 1e-9)
    return stretched


def _on_sphere(row: float, column: float, size: int) -> Array:
    """Where a position of the image lies on the unturned sphere: the lower meeting of its line with the sphere."""
    plane = np.array([(row + 0.5) / size, (column + 0.5) / size]) * 2 * HALF_WIDTH - HALF_WIDTH
    start, ray = np.array([0, 0, CENTRE - 1]), np.array([*plane, -CENTRE])
    a, b, c = ray @ ray, 2 * start @ ray, start @ start - 1
    point: Array = start + ray * (-b + math.sqrt(b * b - 4 * a * c)) / (2 * a)
    assert math.isclose(point @ point, 1)
    return point


def test_the_grid_is_that_of_driscoll_and_healy() -> None:
    points = sphere_grid(BANDWIDTH)
    np.testing.assert_allclose((points**2).sum(axis=0), 1)
    np.testing.assert_allclose(points[:, 0], np.array([0, 0, 1])[:, None].repeat(60, axis=1), atol=1e-15)
    np.testing.assert_allclose(points[:, 30, 15], [0, 1, 0], atol=1e-15)  # a quarter round the equator
    assert points[2, -1].max() < math.cos(math.pi * 58.9 / 60)  # the last row is one step before the south pole
    assert points[2, -1].min() > -1


@pytest.mark.parametrize("case", range(4))
def test_equals_a_slow_projection_from_the_geometry(case: int) -> None:
    image = _images(1, 8 if case == 3 else 32, case)
    rotation = IDENTITY if case == 0 else _rotations(1, case)
    # positions are rounded to 1/4096 of a pixel, which moves a value by less than 255 · 2 / 4096 / 2
    difference = np.abs(project(image, rotation, BANDWIDTH)[0] - _slow(image[0], rotation[0], BANDWIDTH))
    assert difference.max() < 0.5 + 0.07


def test_unturned_the_picture_lies_around_the_south_pole() -> None:
    x = project(np.full((1, 3, 32, 32), 200, np.uint8), IDENTITY, BANDWIDTH)[0]
    # the sides end at |q| = 1.5, that is a colatitude of 106 degrees; the corners at 2.12, 87 degrees
    assert (x[:, 36:] == 255).all()
    assert not x[:, :29].any()
    assert set(np.flatnonzero(x[0, 29])) <= {7, 8, 22, 23, 37, 38, 52, 53}  # the corners, every quarter of the way
    np.testing.assert_array_equal(x, np.roll(x, 15, axis=2))
    np.testing.assert_array_equal(x[..., 1:], x[..., :0:-1])


def test_the_picture_is_there_once() -> None:
    """Unturned, the grid's pole lies right under the centre of projection, on the line to the image's middle."""
    x = project(_images(1), IDENTITY, BANDWIDTH)
    assert not x[:, :, 0].any()


def test_seen_from_inside_the_picture_is_not_mirrored() -> None:
    """Rows go along x, columns along y: seen from the centre of projection, where z points to the eye, x × y = z."""
    image = np.zeros((1, 3, 32, 32), np.uint8)
    image[:, 0, 26, 15:17] = 255  # lower edge: x
    image[:, 1, 15:17, 26] = 255  # right edge: y
    x = project(image, IDENTITY, BANDWIDTH)[0]
    columns = [np.unravel_index(x[channel].argmax(), x[channel].shape)[1] for channel in (0, 1)]
    assert columns == [0, 15]


@pytest.mark.parametrize("steps", [1, 7, 30])
def test_turning_about_the_axis_shifts_longitudes(steps: int) -> None:
    image = _images(1)
    turn = Rotation.from_euler("z", math.pi * steps / BANDWIDTH).as_matrix()
    shifted = np.roll(project(image, IDENTITY, BANDWIDTH), -steps, axis=3)
    turned = project(image, turn[None], BANDWIDTH)
    assert np.abs(turned.astype(int) - shifted).max() <= 1  # a position on the edge of a step may round either way


@pytest.mark.parametrize(("axis", "degrees"), [("x", 90), ("y", 90), ("x", 180), ("y", 137), ("z", 45)])
@pytest.mark.parametrize("pixel", [(16, 16), (6, 9), (25, 20), (1, 30)])
def test_a_bright_pixel_moves_where_the_rotation_takes_it(axis: str, degrees: int, pixel: tuple[int, int]) -> None:
    size = 33
    image = np.zeros((1, 3, size, size), np.uint8)
    image[0, :, *pixel] = 255
    turn = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    bandwidth = 90  # fine enough that some grid point lies near the pixel's centre
    x = project(image, turn[None], bandwidth)[0, 0]
    brightest = sphere_grid(bandwidth)[:, *np.unravel_index(x.argmax(), x.shape)]
    # grid points are turned to where they are read, so the picture is turned back
    expected = turn.T @ _on_sphere(*pixel, size)
    pixel_angle = 2 * HALF_WIDTH / size
    assert math.acos(min(1.0, float(brightest @ expected))) < pixel_angle / 2
    away = np.arccos(np.clip(np.tensordot(expected, sphere_grid(bandwidth), 1), -1, 1)) > 2 * pixel_angle
    assert not x[away].any()


@pytest.mark.parametrize("portion", [1, 3, 10])
def test_an_image_does_not_depend_on_the_others(portion: int) -> None:
    images, rotations = _images(10), _rotations(10)
    together = project(images, rotations, BANDWIDTH)
    parts = [
        project(images[start : start + portion], rotations[start : start + portion], BANDWIDTH)
        for start in range(0, 10, portion)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), together)


def test_the_channels_are_stretched_together() -> None:
    image = np.empty((1, 3, 32, 32), np.uint8)
    image[0] = np.array([100, 50, 10])[:, None, None]
    x = project(image, _rotations(1), BANDWIDTH)[0]
    # an even picture stays even: its three colours keep their ratio, and the brightest becomes white
    assert [set(channel[channel > 0]) >= {value} for channel, value in zip(x, (255, 128, 26), strict=True)] == [
        True
    ] * 3
    assert x.reshape(3, -1).max(axis=1).tolist() == [255, 128, 26]  # 127.5 goes to the even number
    assert x.min() == 0


def test_a_black_image_stays_black() -> None:
    x = project(np.zeros((2, 3, 32, 32), np.uint8), _rotations(2), BANDWIDTH)
    assert x.shape == (2, 3, 60, 60)
    assert x.dtype == np.uint8
    assert x.flags.c_contiguous
    assert not x.any()


def test_matrices_are_those_of_scipy() -> None:
    rng = derive(0, "quaternions")
    quaternions = np.stack([uniform_quaternion(rng) for _ in range(50)])
    np.testing.assert_allclose(
        rotation_matrices(quaternions), Rotation.from_quat(quaternions, scalar_first=True).as_matrix(), atol=1e-14
    )


def test_rotations_are_even_over_all_rotations() -> None:
    n = 20_000
    matrices = _rotations(n)
    np.testing.assert_allclose(np.linalg.det(matrices), 1)
    entries = matrices.reshape(n, 9)
    # under the even (Haar) distribution the mean is 0, and entries are uncorrelated with variance 1/3
    np.testing.assert_allclose(entries.mean(axis=0), 0, atol=5 * math.sqrt(1 / 3 / n))
    np.testing.assert_allclose(entries.T @ entries / n, np.eye(9) / 3, atol=5 * math.sqrt(1 / 3 / n))
    # each turned axis is even on the sphere, whose zones are as large as they are high (Archimedes)
    for entry in entries.T:
        assert kstest(entry, "uniform", args=(-1, 2)).pvalue > 1e-4
    # the angle has the density (1 - cos θ) / π
    angles = np.arccos(np.clip((np.trace(matrices, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert kstest(angles, lambda angle: (angle - np.sin(angle)) / math.pi).pvalue > 1e-4
