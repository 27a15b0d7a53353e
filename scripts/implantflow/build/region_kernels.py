"""Compiled contours of the dense region, one layer of its stored distance grid at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.build.mesh_kernels import quantise_loops
from implantflow.build.stamp_kernels import all_cells, next_crossing, simplify, trace_periodic
from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@kernel
def layer_values(
    grid: NDArray[np.int16],
    origin: FloatArray,
    spacing: float,
    z: float,
    window: IntArray,
    fine: int,
) -> FloatArray:
    """Trilinear values (in the grid's steps) at height ``z`` on nodes ``fine`` times denser than the grid's.

    ``window``: i0, i1, j0, j1, the nodes of the grid to cover. The outermost fine nodes are made positive, so
    that every contour closes; the window must therefore reach beyond the solid.
    """
    k = min(max(int((z - origin[2]) / spacing), 0), grid.shape[0] - 2)
    w = min(max((z - origin[2]) / spacing - k, 0.0), 1.0)
    i0, i1, j0, j1 = window
    ni = (i1 - i0) * fine + 1
    nj = (j1 - j0) * fine + 1
    out = np.empty((nj, ni))
    for j in range(j0, j1 + 1):
        for i in range(i0, i1 + 1):
            value = grid[k, j, i] * (1.0 - w) + grid[k + 1, j, i] * w
            out[(j - j0) * fine, (i - i0) * fine] = value
    for j in range(0, nj, fine):
        for i in range(0, ni - 1, fine):
            for s in range(1, fine):
                u = s / fine
                out[j, i + s] = out[j, i] * (1.0 - u) + out[j, i + fine] * u
    for j in range(0, nj - 1, fine):
        for s in range(1, fine):
            v = s / fine
            for i in range(ni):
                out[j + s, i] = out[j, i] * (1.0 - v) + out[j + fine, i] * v
    for i in range(ni):
        out[0, i] = max(out[0, i], 1.0)
        out[nj - 1, i] = max(out[nj - 1, i], 1.0)
    for j in range(nj):
        out[j, 0] = max(out[j, 0], 1.0)
        out[j, ni - 1] = max(out[j, ni - 1], 1.0)
    return out


@kernel
def dense_loops(
    grid: NDArray[np.int16],
    origin: FloatArray,
    spacing: float,
    z: float,
    window: IntArray,
    fine: int,
    chord: float,
    unit: float,
    area2_min: int,
    factors: FloatArray,
    centre: FloatArray,
) -> tuple[IntArray, IntArray, IntArray]:
    """Contours of the dense region at height ``z`` of the grid in units: x, y, starts; metal on the left.

    ``factors``, ``centre`` (3,): the contour is drawn larger by these about that place.
    """
    values = layer_values(grid, origin, spacing, z, window, fine)
    follow = np.full(2 * values.size, -1, np.int64)
    heads = next_crossing(values, all_cells(values), follow)
    step = spacing / fine
    points, starts, shift = trace_periodic(values, follow, heads, step)
    few = np.empty_like(points)
    few_start = np.zeros_like(starts)
    filled = 0
    for c in range(starts.shape[0] - 1):
        keep = simplify(points[starts[c] : starts[c + 1]], shift[c], chord)
        for a in range(keep.shape[0]):
            few[filled, 0] = points[starts[c] + keep[a], 0] + origin[0] + window[0] * spacing
            few[filled, 1] = points[starts[c] + keep[a], 1] + origin[1] + window[2] * spacing
            filled += 1
        few_start[c + 1] = filled
    for axis in range(2):
        # Not "times one": an unscaled build must keep its last digit.
        if factors[axis] != 1.0:
            for p in range(filled):
                few[p, axis] = centre[axis] + factors[axis] * (few[p, axis] - centre[axis])
    return quantise_loops(few[:filled], few_start, unit, area2_min)
