"""Compiled sums over the field along vertical lines."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from implantflow.compiled import kernel
from implantflow.field.cell_kernels import gyroid_value, strut_distance2

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@kernel
def grid_value(
    grid: NDArray[np.int16], origin: FloatArray, spacing: FloatArray, x: float, y: float, z: float
) -> float:
    """Trilinear value of a grid (spacing along x, y, z) at one point; clamped at the border of the grid."""
    nk, nj, ni = grid.shape
    fx = min(max((x - origin[0]) / spacing[0], 0.0), ni - 1.000001)
    fy = min(max((y - origin[1]) / spacing[1], 0.0), nj - 1.000001)
    fz = min(max((z - origin[2]) / spacing[2], 0.0), nk - 1.000001)
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
    sheet: bool,
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
    return gyroid_value(sheet, cell_mm, level, 1.0, x, y, z) < 0.0


@kernel
def _kind(
    dense: NDArray[np.int16],
    dense_origin: FloatArray,
    dense_spacing: FloatArray,
    strut_cell: bool,
    sheet: bool,
    segments: FloatArray,
    bin_starts: IntArray,
    members: IntArray,
    bins: int,
    cell_mm: float,
    level: float,
    x: float,
    y: float,
    z: float,
) -> int:
    """Class of a point inside the solid: 1 porous void, 2 lattice metal, 3 dense."""
    if dense.shape[0] > 0 and grid_value(dense, dense_origin, dense_spacing, x, y, z) < 0.0:
        return 3
    if is_metal(strut_cell, sheet, segments, bin_starts, members, bins, cell_mm, level, x, y, z):
        return 2
    return 1


@kernel
def label_columns(
    starts: IntArray,
    heights: FloatArray,
    origin: FloatArray,
    step: float,
    labels: NDArray[np.uint8],
    dense: NDArray[np.int16],
    dense_origin: FloatArray,
    dense_spacing: FloatArray,
    strut_cell: bool,
    sheet: bool,
    segments: FloatArray,
    bin_starts: IntArray,
    members: IntArray,
    bins: int,
    cell_mm: float,
    level: float,
) -> None:
    """Write the class of each node (K, J, I) inside the columns' solid spans; ``dense`` may have no nodes."""
    nk, nj, ni = labels.shape
    for j in range(nj):
        y = origin[1] + j * step
        for i in range(ni):
            x = origin[0] + i * step
            line = j * ni + i
            m = starts[line]
            while m + 1 < starts[line + 1]:
                k0 = max(math.ceil((heights[m] - origin[2]) / step), 0)
                k1 = min(math.ceil((heights[m + 1] - origin[2]) / step) - 1, nk - 1)
                for k in range(k0, k1 + 1):
                    labels[k, j, i] = _kind(
                        dense,
                        dense_origin,
                        dense_spacing,
                        strut_cell,
                        sheet,
                        segments,
                        bin_starts,
                        members,
                        bins,
                        cell_mm,
                        level,
                        x,
                        y,
                        origin[2] + k * step,
                    )
                m += 2


@kernel
def count_columns(
    starts: IntArray,
    heights: FloatArray,
    shape: tuple[int, int],
    origin: FloatArray,
    step: float,
    cosine: float,
    sine: float,
    counts: IntArray,
    dense: NDArray[np.int16],
    dense_origin: FloatArray,
    dense_spacing: FloatArray,
    strut_cell: bool,
    sheet: bool,
    segments: FloatArray,
    bin_starts: IntArray,
    members: IntArray,
    bins: int,
    cell_mm: float,
    level: float,
) -> None:
    """Count the classes of samples along columns of a turned frame, each column with its own offset in z.

    A point (u, v) of the turned frame is (cosine u + sine v, cosine v - sine u) in build_xyz.
    """
    nj, ni = shape
    for j in range(nj):
        v = origin[1] + j * step
        for i in range(ni):
            u = origin[0] + i * step
            x, y = cosine * u + sine * v, cosine * v - sine * u
            line = j * ni + i
            # Multiples of the golden ratio spread the offsets evenly over the columns.
            offset = (line * 0.6180339887498949) % 1.0
            m = starts[line]
            while m + 1 < starts[line + 1]:
                k0 = math.ceil(heights[m] / step - offset)
                k1 = math.ceil(heights[m + 1] / step - offset) - 1
                for k in range(k0, k1 + 1):
                    counts[
                        _kind(
                            dense,
                            dense_origin,
                            dense_spacing,
                            strut_cell,
                            sheet,
                            segments,
                            bin_starts,
                            members,
                            bins,
                            cell_mm,
                            level,
                            x,
                            y,
                            (k + offset) * step,
                        )
                    ] += 1
                m += 2
