"""Small compiled pieces: coverage of a voxel, sampling of grids, and the shapes that are tested voxel by voxel."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import inner, kernel
from implantflow.geometry import FloatArray

Float32Array = NDArray[np.float32]


@inner
def ramp(distance: float, width: float) -> float:
    """Share of a voxel of ``width`` inside a surface at ``distance`` (negative inside)."""
    return min(max(0.5 - distance / width, 0.0), 1.0)


@inner
def row_of(matrix: FloatArray, row: int, x: float, y: float, z: float) -> float:
    """One coordinate of a (4, 4) ``matrix`` applied to a point."""
    return float(matrix[row, 0] * x + matrix[row, 1] * y + matrix[row, 2] * z + matrix[row, 3])


@inner
def inside_grid(x: float, y: float, z: float, nk: int, nj: int, ni: int) -> bool:
    """Whether the index (x, y, z) = (i, j, k) has all eight voxels around it."""
    return 0.0 <= x < ni - 1.001 and 0.0 <= y < nj - 1.001 and 0.0 <= z < nk - 1.001


@inner
def trilinear(grid: NDArray[np.generic], x: float, y: float, z: float) -> float:
    """Value at index (x, y, z) = (i, j, k), which must lie inside the grid."""
    i, j, k = int(x), int(y), int(z)
    u, v, w = x - i, y - j, z - k
    a = (grid[k, j, i] * (1.0 - u) + grid[k, j, i + 1] * u) * (1.0 - v)
    a += (grid[k, j + 1, i] * (1.0 - u) + grid[k, j + 1, i + 1] * u) * v
    b = (grid[k + 1, j, i] * (1.0 - u) + grid[k + 1, j, i + 1] * u) * (1.0 - v)
    b += (grid[k + 1, j + 1, i] * (1.0 - u) + grid[k + 1, j + 1, i + 1] * u) * v
    return float(a * (1.0 - w) + b * w)


@inner
def bilinear(image: Float32Array, channel: int, x: float, y: float) -> float:
    """Value of a channel of (J, I, C) at index (x, y) = (i, j), which must lie inside the image."""
    i, j = int(x), int(y)
    u, v = x - i, y - j
    low = image[j, i, channel] * (1.0 - u) + image[j, i + 1, channel] * u
    return float(
        low * (1.0 - v) + (image[j + 1, i, channel] * (1.0 - u) + image[j + 1, i + 1, channel] * u) * v
    )


@inner
def cylinder_share(cylinders: FloatArray, x: float, y: float, z: float, width: float) -> float:
    """Share of a voxel that capped cylinders fill."""
    best = 0.0
    for m in range(cylinders.shape[0]):
        px, py, pz = x - cylinders[m, 0], y - cylinders[m, 1], z - cylinders[m, 2]
        along = px * cylinders[m, 3] + py * cylinders[m, 4] + pz * cylinders[m, 5]
        if along < -width or along > cylinders[m, 6] + width:
            continue
        off = px * px + py * py + pz * pz - along * along
        if off > (cylinders[m, 7] + width) ** 2:
            continue
        mantle = math.sqrt(max(off, 0.0)) - cylinders[m, 7]
        best = max(best, ramp(max(mantle, -along, along - cylinders[m, 6]), width))
    return best


@inner
def lattice_distance(lattice: Float32Array, per_mm: float, x: float, y: float, z: float) -> float:
    """Signed distance (mm) to the lattice at a place of the build frame, from the table of one cell.

    ``lattice`` (N + 1, N + 1, N + 1) repeats its first plane at its end; ``per_mm`` is one over the cell's edge.
    """
    n = lattice.shape[0] - 1
    x, y, z = x * per_mm, y * per_mm, z * per_mm
    return trilinear(lattice, (x - math.floor(x)) * n, (y - math.floor(y)) * n, (z - math.floor(z)) * n)


@kernel
def sample_regions(
    solid: NDArray[np.int16],
    dense: NDArray[np.int16],
    origin: FloatArray,
    spacing: float,
    low: FloatArray,
    step: float,
    out: NDArray[np.uint8],
) -> None:
    """Region at the nodes of a grid from ``low`` in steps of ``step`` (build frame): 0 outside, 1 porous, 2 dense."""
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                a, b, c = (
                    (low[0] + step * i - origin[0]) / spacing,
                    (low[1] + step * j - origin[1]) / spacing,
                    (low[2] + step * k - origin[2]) / spacing,
                )
                if (
                    inside_grid(a, b, c, solid.shape[0], solid.shape[1], solid.shape[2])
                    and trilinear(solid, a, b, c) < 0.0
                ):
                    out[k, j, i] = 2 if trilinear(dense, a, b, c) < 0.0 else 1
