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
def crossed_squares(grid: NDArray[np.int16], k: int, window: IntArray) -> tuple[IntArray, IntArray]:
    """Squares of the window that a contour may cross somewhere between the planes k and k + 1 of the grid.

    The border of the window is made positive: a square at it may be crossed where it is all negative.
    Returns first square of each row (J,), columns of the squares.
    """
    i0, i1, j0, j1 = window
    rows, columns = j1 - j0, i1 - i0
    begin = np.zeros(rows + 1, np.int64)
    squares = np.empty(rows * columns, np.int64)
    n = 0
    for j in range(rows):
        left = _negative(grid, k, j + j0, i0)
        for i in range(columns):
            right = _negative(grid, k, j + j0, i + i0 + 1)
            border = j == 0 or j == rows - 1 or i == 0 or i == columns - 1
            if left + right > 0 and (left + right < 8 or border):
                squares[n] = i
                n += 1
            left = right
        begin[j + 1] = n
    return begin, squares[:n].copy()


@kernel
def _negative(grid: NDArray[np.int16], k: int, j: int, i: int) -> int:
    """How many of the nodes (k, j), (k, j + 1) and of those above them are negative, in column i."""
    here = (grid[k, j, i] < 0) + (grid[k, j + 1, i] < 0)
    return int(here + (grid[k + 1, j, i] < 0) + (grid[k + 1, j + 1, i] < 0))


@kernel
def _refined(
    grid: NDArray[np.int16],
    k: int,
    w: float,
    window: IntArray,
    begin: IntArray,
    squares: IntArray,
    fine: int,
    out: FloatArray,
) -> None:
    """Values between two planes, bilinear on nodes ``fine`` times denser, of the crossed squares only.

    The outermost nodes are made positive, so that every contour closes: the window must reach beyond the solid.
    """
    i0, _, j0, _ = window
    rows, columns = out.shape
    for j in range(begin.shape[0] - 1):
        for m in range(begin[j], begin[j + 1]):
            i = squares[m]
            a, b = _between(grid, k, w, j + j0, i + i0), _between(grid, k, w, j + j0, i + i0 + 1)
            c, d = _between(grid, k, w, j + j0 + 1, i + i0), _between(grid, k, w, j + j0 + 1, i + i0 + 1)
            for s in range(fine + 1):
                u = s / fine
                low = a if s == 0 else (b if s == fine else a * (1.0 - u) + b * u)
                high = c if s == 0 else (d if s == fine else c * (1.0 - u) + d * u)
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
def _between(grid: NDArray[np.int16], k: int, w: float, j: int, i: int) -> float:
    """Value at a node's column, a share ``w`` of the way from plane k to the next."""
    return float(grid[k, j, i] * (1.0 - w) + grid[k + 1, j, i] * w)


@kernel
def _linked(values: FloatArray, begin: IntArray, squares: IntArray, fine: int, follow: IntArray) -> IntArray:
    """:func:`~implantflow.build.stamp_kernels.next_crossing` for the crossed squares only."""
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
    k: int,
    w: float,
    begin: IntArray,
    squares: IntArray,
    origin: FloatArray,
    spacing: float,
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
    """Contours of the dense region between two planes of the grid in units: x, y, starts; metal on the left.

    ``k``, ``w``: the plane below and the share of the way to the next. ``begin``, ``squares``: where a contour may be
    (:func:`crossed_squares`). ``window``: i0, i1, j0, j1, the nodes of the grid to cover; ``fine`` squares are drawn
    for each of its squares.
    ``factors``, ``centre`` (3,): the contour is drawn larger by these about that place.
    ``refined`` (J, I), ``follow`` (2 J I,), all -1 and left so : working memory for the fine nodes.
    """
    _refined(grid, k, w, window, begin, squares, fine, refined)
    heads = _linked(refined, begin, squares, fine, follow)
    step = spacing / fine
    points, starts, shift = trace_periodic(refined, follow, heads, step)
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
