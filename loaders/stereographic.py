"""Planar images onto a sphere that is turned at will, by stereographic projection (Cohen et al., 2018, section 5.2).

The image lies on the plane that touches the unit sphere at its south pole. A point of the sphere has the value that
the image has where the line from the centre of projection, just above the north pole, through that point meets the
plane.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from nas360.loaders.base import Array

CENTRE = 2.001  # height of the centre of projection above the plane; at 2 the north pole itself would have no image
HALF_WIDTH = (
    1.5  # the image covers [-1.5, 1.5]² of the plane: a little more than the southern hemisphere at its corners
)
WEIGHT_STEPS = 4096
"""Parts of a pixel that a position is rounded to.

Weights that are whole numbers make all sums of pixels exact, so that an evenly coloured patch stays even, and the last
bit of a processor's sine does not decide which way a value is rounded.
"""


@cache
def sphere_grid(bandwidth: int) -> Array:
    """Unit vectors of the grid of Driscoll and Healy (1994).

    Args:
        bandwidth: b.

    Returns:
        (3, 2b, 2b) float64, read-only; x, y and z of the point at colatitude πj/2b (rows; the first is the north pole,
        the last stops short of the south pole) and longitude πk/b (columns).
    """
    steps = np.arange(2 * bandwidth)
    colatitude, longitude = np.meshgrid(np.pi * steps / (2 * bandwidth), np.pi * steps / bandwidth, indexing="ij")
    ring = np.sin(colatitude)
    points = np.stack([ring * np.cos(longitude), ring * np.sin(longitude), np.cos(colatitude)])
    points.flags.writeable = False
    return points


def uniform_quaternion(rng: np.random.Generator) -> Array:
    """A rotation drawn evenly from all rotations of space, as a unit quaternion (4,) float64, real part first.

    Four independent normal numbers have no preferred direction, so that their direction is even on the sphere of unit
    quaternions, and with it the rotation (Shoemake, 1992).
    """
    values = rng.standard_normal(4)
    quaternion: Array = values / np.sqrt((values * values).sum())
    return quaternion


def rotation_matrices(quaternions: Array) -> Array:
    """Unit quaternions (n, 4), real part first, to matrices (n, 3, 3) that turn column vectors; float64."""
    w, x, y, z = quaternions.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def image_positions(rotations: Array, bandwidth: int, height: int, width: int) -> tuple[Array, Array]:
    """Where the turned grid points lie in the image.

    Args:
        rotations: (n, 3, 3) float64.
        bandwidth: of the grid.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Returns:
        Row and column, (n, 4b²) float64, in pixels; (0, 0) is the centre of the first pixel. x points along the rows'
        numbers, y along the columns'. Minus infinity is a point without a position: the centre of projection lies
        outside of the sphere, so that its lines pass by points around the north pole before they meet the far side.
    """
    px, py, pz = sphere_grid(bandwidth).reshape(3, -1)
    # sums in a fixed order, where a matrix product may depend on how many images are done together
    x, y, z = (r[:, 0, None] * px + r[:, 1, None] * py + r[:, 2, None] * pz for r in np.moveaxis(rotations, 1, 0))
    scale = CENTRE / (CENTRE - 1 - z) / (2 * HALF_WIDTH)
    row, column = (x * scale + 0.5) * height - 0.5, (y * scale + 0.5) * width - 0.5
    row[z > 1 / (CENTRE - 1)] = -np.inf  # beyond the circle where the lines touch the sphere
    return row, column


def project(images: Array, rotations: Array, bandwidth: int) -> Array:
    """Images on the sphere: each grid point is turned, projected onto the plane, and read there.

    Positions between pixels are interpolated bilinearly between the four pixels around; what lies outside of the image
    is 0. Each result is stretched to 0…255 by its minimum and maximum over all channels, and rounded; one that is the
    same everywhere becomes 0. An image's result does not depend on the others.

    Args:
        images: (n, channels, height, width) uint8.
        rotations: (n, 3, 3) float64, one for each image.
        bandwidth: b.

    Returns:
        (n, channels, 2b, 2b) uint8; rows are colatitudes and columns longitudes, see `sphere_grid`.
    """
    n, channels, height, width = images.shape
    row, column = image_positions(rotations, bandwidth, height, width)
    seen = (row > -1) & (row < height) & (column > -1) & (column < width)
    image = np.nonzero(seen)[0]
    top, down = _cell(row[seen])
    left, right = _cell(column[seen])
    # a frame of zeros, so that the pixels around any seen position are there; channels last, to be read together
    padded = np.pad(images.transpose(0, 2, 3, 1), ((0, 0), (1, 1), (1, 1), (0, 0))).reshape(-1, channels)
    first = (image * (height + 2) + top + 1) * (width + 2) + left + 1
    values = np.zeros((n, row.shape[1], channels))
    values[seen] = sum(
        (weight_row * weight_column)[:, None] * padded[first + step_row * (width + 2) + step_column]
        for step_row, weight_row in ((0, WEIGHT_STEPS - down), (1, down))
        for step_column, weight_column in ((0, WEIGHT_STEPS - right), (1, right))
    )
    low = values.min(axis=(1, 2), keepdims=True)
    span = values.max(axis=(1, 2), keepdims=True) - low
    stretched = np.rint((values - low) * 255 / np.where(span > 0, span, 1)).astype(np.uint8)
    return np.ascontiguousarray(stretched.transpose(0, 2, 1)).reshape(n, channels, 2 * bandwidth, 2 * bandwidth)


def _cell(position: Array) -> tuple[Array, Array]:
    """The pixel before each position, and how far behind its centre the position is, in steps of a weight."""
    before = np.floor(position)
    return before.astype(np.int64), np.rint((position - before) * WEIGHT_STEPS)
