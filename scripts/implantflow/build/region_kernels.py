"""Compiled contours of the dense region, one layer of its stored distance grid at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from implantflow.build.mesh_kernels import quantise_loops
from implantflow.build.stamp_kernels import link_square, simplify, trace_periodic
from implantflow.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@kernel
def _mixed(
    grid: NDArray[np.int16], k: int, w: float, window: IntArray
) -> tuple[FloatArray, IntArray, IntArray]:
    """Values of one plane on the window's nodes, and the squares of each row that a contour may cross.

    Squares of one sign hold none; those at the border of the window count, since the border is made positive.
    Returns values (J, I), first square of each row (J,), columns of the squares.
    """
    i0, i1, j0, j1 = window
    values = np.empty((j1 - j0 + 1, i1 - i0 + 1))
    for j in range(j0, j1 + 1):
        for i in range(i0, i1 + 1):
            values[j - j0, i - i0] = grid[k, j, i] * (1.0 - w) + grid[k + 1, j, i] * w
    rows, columns = values.shape[0] - 1, values.shape[1] - 1
    begin = np.zeros(rows + 1, np.int64)
    squares = np.empty(rows * columns, np.int64)
    n = 0
    for j in range(rows):
        border = j == 0 or j == rows - 1
        left = (values[j, 0] < 0.0) + (values[j + 1, 0] < 0.0)
        for i in range(columns):
            right = (values[j, i + 1] < 0.0) + (values[j + 1, i + 1] < 0.0)
            if border or i == 0 or i == columns - 1 or 0 < left + right < 4:
                squares[n] = i
                n += 1
            left = right
        begin[j + 1] = n
    return values, begin, squares[:n]


@kernel
def _refined(values: FloatArray, begin: IntArray, squares: IntArray, fine: int, out: FloatArray) -> None:
    """Bilinear values on nodes ``fine`` times denser, of the squares of :func:`_mixed` only.

    The outermost nodes are made positive, so that every contour closes: the window must reach beyond the solid.
    """
    rows, columns = out.shape
    for j in range(begin.shape[0] - 1):
        for m in range(begin[j], begin[j + 1]):
            i = squares[m]
            for s in range(fine + 1):
                u = s / fine
                low = values[j, i] if s == 0 else values[j, i] * (1.0 - u) + values[j, i + 1] * u
                high = values[j + 1, i] if s == 0 else values[j + 1, i] * (1.0 - u) + values[j + 1, i + 1] * u
                if s == fine:
                    low, high = values[j, i + 1], values[j + 1, i + 1]
                column = i * fine + s
                edge = column == 0 or column == columns - 1
                for r in range(fine + 1):
                    v = r / fine
                    value = low if r == 0 else (high if r == fine else low * (1.0 - v) + high * v)
                    row = j * fine + r
                    if edge or row == 0 or row == rows - 1:
                        value = max(value, 1.0)
                    out[row, column] = value


@kernel
def _linked(values: FloatArray, begin: IntArray, squares: IntArray, fine: int, follow: IntArray) -> IntArray:
    """:func:`~implantflow.build.stamp_kernels.next_crossing` for the squares of :func:`_mixed` only."""
    heads = np.empty(2 * squares.shape[0] * fine * fine, np.int64)
    count = 0
    for j in range(begin.shape[0] - 1):
        for r in range(fine):
            for m in range(begin[j], begin[j + 1]):
                for s in range(fine):
                    count = link_square(values, j * fine + r, squares[m] * fine + s, follow, heads, count)
    return heads[:count]


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
    refined: FloatArray,
    follow: IntArray,
) -> tuple[IntArray, IntArray, IntArray]:
    """Contours of the dense region at height ``z`` of the grid in units: x, y, starts; metal on the left.

    ``window``: i0, i1, j0, j1, the nodes of the grid to cover; ``fine`` squares are drawn for each of its squares.
    ``factors``, ``centre`` (3,): the contour is drawn larger by these about that place.
    ``refined`` (J, I), ``follow`` (2 J I,), all -1 and left so : working memory for the fine nodes.
    """
    k = min(max(int((z - origin[2]) / spacing), 0), grid.shape[0] - 2)
    w = min(max((z - origin[2]) / spacing - k, 0.0), 1.0)
    coarse, begin, squares = _mixed(grid, k, w, window)
    values = refined
    _refined(coarse, begin, squares, fine, values)
    heads = _linked(values, begin, squares, fine, follow)
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
