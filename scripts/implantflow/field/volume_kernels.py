"""Compiled sums over the field along vertical lines."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.field.cell_kernels import gyroid_value, strut_distance2
from implantflow.field.jit import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@kernel
def grid_value(
    grid: NDArray[np.int16], origin: FloatArray, spacing: float, x: float, y: float, z: float
) -> float:
    """Trilinear value, in the grid's steps, at one point; clamped at the border of the grid."""
    nk, nj, ni = grid.shape
    fx = min(max((x - origin[0]) / spacing, 0.0), ni - 1.000001)
    fy = min(max((y - origin[1]) / spacing, 0.0), nj - 1.000001)
    fz = min(max((z - origin[2]) / spacing, 0.0), nk - 1.000001)
    i, j, k = int(fx), int(fy), int(fz)
    u, v, w = fx - i, fy - j, fz - k
    low = (grid[k, j, i] * (1.0 - u) + grid[k, j, i + 1] * u) * (1.0 - v)
    low += (grid[k, j + 1, i] * (1.0 - u) + grid[k, j + 1, i + 1] * u) * v
    high = (grid[k + 1, j, i] * (1.0 - u) + grid[k + 1, j, i + 1] * u) * (1.0 - v)
    high += (grid[k + 1, j + 1, i] * (1.0 - u) + grid[k + 1, j + 1, i + 1] * u) * v
    return float(low * (1.0 - w) + high * w)


@kernel
def is_metal(
    strut_cell: bool,
    segments: FloatArray,
    bin_starts: IntArray,
    members: IntArray,
    bins: int,
    cell_mm: float,
    level: float,
    x: float,
    y: float,
    z: float,
) -> bool:
    """Is the unclipped lattice metal here? ``level``: strut radius (mm) or the gyroid's iso level."""
    if strut_cell:
        d2 = strut_distance2(segments, bin_starts, members, bins, x / cell_mm, y / cell_mm, z / cell_mm)
        return d2 * cell_mm * cell_mm < level * level
    return gyroid_value(cell_mm, level, 1.0, x, y, z) < 0.0


@kernel
def classify_columns(
    starts: IntArray,
    heights: FloatArray,
    shape: tuple[int, int],
    origin: FloatArray,
    step: float,
    bottom: float,
    dense: NDArray[np.int16],
    dense_origin: FloatArray,
    dense_spacing: float,
    strut_cell: bool,
    segments: FloatArray,
    bin_starts: IntArray,
    members: IntArray,
    bins: int,
    cell_mm: float,
    level: float,
    labels: NDArray[np.uint8],
    counts: IntArray,
) -> None:
    """Class of the nodes at bottom + k*step inside each column's solid spans.

    ``labels`` (K, J, I) gets 1 porous void, 2 porous metal, 3 dense, where it has any layers (K may be 0, then
    only ``counts`` (4,) is summed). ``dense`` with no nodes means that nothing is dense.
    """
    nj, ni = shape
    for j in range(nj):
        y = origin[1] + j * step
        for i in range(ni):
            x = origin[0] + i * step
            line = j * ni + i
            m = starts[line]
            while m + 1 < starts[line + 1]:
                k0 = max(math.ceil((heights[m] - bottom) / step), 0)
                k1 = math.ceil((heights[m + 1] - bottom) / step) - 1
                for k in range(k0, k1 + 1):
                    z = bottom + k * step
                    kind = 1
                    if dense.shape[0] > 0 and grid_value(dense, dense_origin, dense_spacing, x, y, z) < 0.0:
                        kind = 3
                    elif is_metal(strut_cell, segments, bin_starts, members, bins, cell_mm, level, x, y, z):
                        kind = 2
                    counts[kind] += 1
                    if k < labels.shape[0]:
                        labels[k, j, i] = kind
                m += 2
